//! The reader alone: what it takes, what it refuses, and that how the bytes are cut is all one.

use super::{FIELDS_MAX, HEAD_MAX, Reader, head::Verb};
use crate::publish::error::Error;

const BODY_MAX: u64 = 2_000;

/// A request as it was read: head, body, and whether the connection is to be closed.
type Taken = (String, Vec<u8>, bool);

/// What is made of `pieces`: the requests, and why the next one is refused.
fn read<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Taken>, Option<Error>) {
    let mut reader = Reader::new(BODY_MAX);
    let mut taken = Vec::new();
    for piece in pieces {
        reader.room().extend_from_slice(piece);
        while !reader.is_idle() {
            match reader.advance() {
                Ok(true) => {
                    let request = reader.request().unwrap();
                    let head = format!("{:?} {:?}", request.head.call(), request.signature);
                    taken.push((head, request.body.to_vec(), request.head.close));
                    reader.next();
                }
                Ok(false) => break,
                Err(error) => return (taken, Some(error)),
            }
        }
    }
    (taken, None)
}

/// A number below `below`, from a sequence that is the same in every run.
fn random(state: &mut u64, below: usize) -> usize {
    *state = state
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1);
    (*state >> 33) as usize % below
}

fn post(fields: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST /api/publish HTTP/1.1\r\nHost: a\r\n{fields}Content-Length: {length}\r\n\r\n{body}"
    )
}

/// Why `wire` is refused, which must be at once.
fn refused(wire: &str) -> Error {
    let (taken, refusal) = read([wire.as_bytes()]);
    assert!(taken.is_empty(), "{wire:?}");
    refusal.unwrap_or_else(|| panic!("{wire:?} was not refused"))
}

fn taken(wire: &str) -> Vec<Taken> {
    let (taken, refusal) = read([wire.as_bytes()]);
    assert_eq!(refusal, None, "{wire:?}");
    taken
}

#[test]
fn however_the_bytes_are_cut_the_requests_are_the_same() {
    let good = post("webhook-id: a\r\nsidewire-SITE:b \t\r\n", "{\"a\":1}");
    let large = post("Connection: x, Close\r\n", &"z".repeat(1_999));
    let ends = [
        String::new(),
        post("", &"z".repeat(2_001)),
        "POST / HTTP/1.1\nHost: a\r\n\r\n".to_owned(),
        "POST / HTTP/1.1\r\nHost: a\r\nx : 1\r\n\r\n".to_owned(),
        "\r\nPOST / HTTP/1.1\r\n\r\r\n".to_owned(),
        format!("POST / HTTP/1.1\r\nx: {}", "y".repeat(HEAD_MAX)),
        "GET / HTTP/1.1\r\nHost: a\r\n\r\ntrailing".to_owned(),
    ];
    let mut state = 7;
    for end in &ends {
        let wire = [&good, "\r\n", &large, &good, end].concat();
        let wire = wire.as_bytes();
        let whole = read([wire]);
        assert!(whole.0.len() >= 3, "{whole:?}");
        assert_eq!(read(wire.chunks(1)), whole, "one byte at a time");
        for _ in 0..50 {
            let mut pieces = Vec::new();
            let mut rest = wire;
            while !rest.is_empty() {
                let most = [3, 300, 70_000][random(&mut state, 3)];
                let (piece, later) = rest.split_at(rest.len().min(random(&mut state, most) + 1));
                pieces.push(piece);
                rest = later;
            }
            assert_eq!(read(pieces), whole, "{end:.60}");
        }
    }
}

#[test]
fn spoilt_bytes_are_read_alike_however_they_are_cut() {
    let good = post("webhook-signature: v1,x\r\nExpect: 100-continue\r\n", "{}");
    let odd = b"\r\n\t :,\0\x7f\xff0A-+";
    let mut state = 99;
    for _ in 0..3_000 {
        let mut wire = good.repeat(2).into_bytes();
        for _ in 0..=random(&mut state, 3) {
            let at = random(&mut state, wire.len());
            wire[at] = odd[random(&mut state, odd.len())];
        }
        let whole = read([&wire[..]]);
        assert_eq!(read(wire.chunks(1)), whole);
        let cut = random(&mut state, wire.len());
        assert_eq!(read([&wire[..cut], &wire[cut..]]), whole);
    }
}

#[test]
fn the_length_of_a_body_is_told_by_one_plain_number() {
    for value in [
        "",
        "+2",
        "-2",
        "2, 2",
        "2,2",
        "0x2",
        "2 2",
        "2.0",
        "\"2\"",
        "two",
        "\u{662}",
        "18446744073709551616",
    ] {
        let wire =
            format!("POST /api/publish HTTP/1.1\r\nHost: a\r\nContent-Length: {value}\r\n\r\n{{}}");
        assert!(matches!(refused(&wire), Error::Malformed(_)), "{value:?}");
    }
    for twice in ["Content-Length: 2\r\n", "content-length: 3\r\n"] {
        assert_eq!(
            refused(&post(twice, "{}")),
            Error::Malformed("two Content-Length")
        );
    }
    assert_eq!(
        refused(&post("", &" ".repeat(2_001))),
        Error::TooLarge(BODY_MAX)
    );
    let most =
        "POST /api/publish HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n\r\n";
    assert_eq!(refused(most), Error::TooLarge(BODY_MAX));
    assert_eq!(taken(&post("", &" ".repeat(2_000)))[0].1.len(), 2_000);
    let zeros = post("", "{}").replace("Length: 2", "Length: \t002 ");
    assert_eq!(taken(&zeros)[0].1, b"{}");
    let none = "POST /api/publish HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(refused(none), Error::NoLength);
    for coding in ["chunked", "gzip, chunked", "identity", ""] {
        let coded = post(&format!("Transfer-Encoding: {coding}\r\n"), "{}");
        assert_eq!(refused(&coded), Error::NoLength, "{coding}");
        let get = format!("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: {coding}\r\n\r\n");
        assert_eq!(refused(&get), Error::NoLength, "{coding}");
    }
}

#[test]
fn a_head_that_is_not_written_as_http_is_refused() {
    for head in [
        "POST /api/publish HTTP/1.1\r\nHost: a\r\nx: 1\r\n folded\r\n\r\n",
        "POST /api/publish HTTP/1.1\r\n x: 1\r\nHost: a\r\n\r\n",
        "POST /api/publish HTTP/1.1\r\nHost: a\r\nx: 1\r2\r\n\r\n",
        "POST /api/publish HTTP/1.1\rHost: a\r\n\r\n",
        "POST /api/publish HTTP/1.1\r\nHost: a\nx: 1\r\n\r\n",
        "POST /api/publish HTTP/1.1\r\nHost : a\r\n\r\n",
        "POST /api/publish HTTP/1.1\r\nHost: a\r\nx\t: 1\r\n\r\n",
        "POST /api/publish HTTP/1.1\r\nHost: a\r\nx: 1\0\r\n\r\n",
        "POST /api/publish HTTP/1.1\r\nHost: a\r\nx: 1\u{7f}\r\n\r\n",
        "POST /api/publish HTTP/1.1\r\nHost: a\r\n: 1\r\n\r\n",
        "POST /api/publish HTTP/1.1\r\nHost: a\r\nx(y): 1\r\n\r\n",
        "POST /api/publish HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n",
        "POST /api/publish HTTP/1.1 \r\nHost: a\r\n\r\n",
        "POST  /api/publish HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /api/pub lish HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /api/publish HTTP/2.0\r\nHost: a\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\n",
        "POST /api/publish\r\n\r\n",
        "P\u{f6}ST /api/publish HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        assert!(matches!(refused(head), Error::Malformed(_)), "{head:?}");
    }
}

#[test]
fn a_host_is_named_once_and_by_http_1_0_not_at_all_if_it_likes() {
    let with = |hosts: &str, version: &str| {
        format!("POST /api/info HTTP/{version}\r\n{hosts}Content-Length: 2\r\n\r\n{{}}")
    };
    for host in ["", "localhost", "a.test:80", "[::1]:8080", "127.0.0.1"] {
        taken(&with(&format!("Host: {host}\r\n"), "1.1"));
    }
    for (hosts, version) in [
        ("", "1.1"),
        ("Host: a\r\nhost: a\r\n", "1.1"),
        ("Host: a\r\nhost: b\r\n", "1.0"),
        ("Host: a b\r\n", "1.1"),
        ("Host: a/b\r\n", "1.1"),
        ("Host: u@a\r\n", "1.1"),
    ] {
        assert!(
            matches!(refused(&with(hosts, version)), Error::Malformed(_)),
            "{hosts:?}"
        );
    }
    for version in ["1.0", "1.1"] {
        let (_, _, close) = &taken(&with("Host: a\r\n", version))[0];
        assert_eq!(*close, version == "1.0", "{version}");
    }
    assert!(taken(&with("", "1.0"))[0].2);
}

#[test]
fn a_head_is_bounded_in_bytes_and_in_fields() {
    let padded = |bytes: usize| {
        let rest = post("x: \r\n", "").len();
        post(&format!("x: {}\r\n", "y".repeat(bytes - rest)), "")
    };
    taken(&padded(HEAD_MAX));
    assert_eq!(refused(&padded(HEAD_MAX + 1)), Error::HeadTooLarge);
    assert_eq!(refused(&"\r\n".repeat(HEAD_MAX)), Error::HeadTooLarge);
    // Host and Content-Length are two of them.
    taken(&post(&"x: y\r\n".repeat(FIELDS_MAX - 2), ""));
    assert_eq!(
        refused(&post(&"x: y\r\n".repeat(FIELDS_MAX - 1), "")),
        Error::HeadTooLarge
    );
}

#[test]
fn the_target_names_a_method_of_the_api_with_or_without_scheme_and_query() {
    for (target, known) in [
        ("/api/info", true),
        ("/api/info?a=b", true),
        ("http://localhost/api/info", true),
        ("HTTPS://a:1/api/info?x", true),
        ("/api/info/", false),
        ("//api/info", false),
        ("/API/info", false),
        ("/api/%69nfo", false),
        ("/api/info#a", false),
        ("ftp://a/api/info", false),
        ("http://a?/api/info", false),
        ("http://a", false),
        ("a:80", false),
        ("*", false),
    ] {
        let head = |verb: &str| {
            format!("{verb} {target} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        };
        let call = &taken(&head("POST"))[0].0;
        let expected = if known {
            "Ok(Info)"
        } else {
            "Err(UnknownMethod)"
        };
        assert!(call.starts_with(expected), "{target}: {call}");
        let call = &taken(&head("PUT"))[0].0;
        let expected = if known {
            "Err(NotPost)"
        } else {
            "Err(UnknownMethod)"
        };
        assert!(call.starts_with(expected), "{target}: {call}");
    }
}

#[test]
fn a_body_that_nobody_reads_is_not_waited_for() {
    assert_eq!(
        refused(&post("", "{}").replace("publish", "sing")),
        Error::UnknownMethod
    );
    assert_eq!(
        refused(&post("", "{}").replace("POST", "GET")),
        Error::NotPost
    );
}

#[test]
fn one_expectation_is_met_and_of_http_1_1_alone() {
    let waits = |wire: &str| {
        let mut reader = Reader::new(BODY_MAX);
        reader.room().extend_from_slice(wire.as_bytes());
        let whole = reader.advance().unwrap();
        assert!(!whole);
        let head = reader.head().unwrap();
        assert_eq!(head.verb, Verb::Post);
        head.waits
    };
    let asking = post("Expect: 100-Continue\r\n", "{}");
    let asking = asking.strip_suffix("{}").unwrap();
    assert!(waits(asking));
    assert!(!waits(&asking.replace("HTTP/1.1", "HTTP/1.0")));
    assert!(!waits(&asking.replace("Expect", "Except")));
    for other in ["100", "", "200-ok", "100-continue, x"] {
        let wire = post(
            &format!("Expect: 100-continue\r\nExpect: {other}\r\n"),
            "{}",
        );
        assert_eq!(refused(&wire), Error::Expectation, "{other}");
    }
}

#[test]
fn memory_follows_what_has_come_and_is_given_back() {
    let mut reader = Reader::new(64 << 20);
    let head = "POST /api/batch HTTP/1.1\r\nHost: a\r\nContent-Length: 33554432\r\n\r\n";
    reader.room().extend_from_slice(head.as_bytes());
    assert!(!reader.advance().unwrap());
    let mut came = head.len();
    while !reader.advance().unwrap() {
        let room = reader.room();
        let free = room.capacity() - room.len();
        assert!(
            room.capacity() <= 2 * came + (512 << 10),
            "{} of {came}",
            room.capacity()
        );
        let more = free.min((32 << 20) + head.len() - came);
        room.resize(came + more, b' ');
        came += more;
    }
    assert_eq!(reader.request().unwrap().body.len(), 32 << 20);
    reader.room().extend_from_slice(b"POST ");
    reader.next();
    assert!(reader.held() <= 16 << 10, "{}", reader.held());
    assert!(!reader.is_idle(), "what came behind is there");
}
