//! HTTP/1.1 of a publisher: read in pieces of any size it gives the same requests; what is taken
//! for a request is one to a reader who goes by the lines alone, its body is what stands behind its
//! head, and memory stays bounded.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sidewire::publish::fuzzing::{Reading, Request, requests};

/// Bytes that a head may have.
const HEAD_MAX: usize = 64 << 10;

/// Fields that are kept for the signature's check.
const SIGNATURE: [&str; 4] = [
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
    "sidewire-site",
];

fuzz_target!(|input: &[u8]| {
    let [size, cut, wire @ ..] = input else {
        return;
    };
    let body_max = [0, 16, 1_000, 1 << 20][usize::from(size % 4)];
    let bounded = |held: usize| assert!(held <= 2 * wire.len() + (300 << 10), "{held}");
    let whole = requests(std::iter::once(wire), body_max, bounded);
    let one = requests(wire.chunks(1), body_max, bounded);
    assert_eq!(one, whole, "one byte at a time");
    let torn = requests(pieces(wire, *cut).into_iter(), body_max, bounded);
    assert_eq!(torn, whole, "in pieces");
    check(wire, body_max, &whole);
});

/// Cuts `wire` into pieces of 0 to 31 bytes.
fn pieces(mut wire: &[u8], cut: u8) -> Vec<&[u8]> {
    let mut state = u32::from(cut) | 0x100;
    let mut pieces = Vec::new();
    while !wire.is_empty() {
        state = state.wrapping_mul(0x19660d).wrapping_add(0x3c6ef35f);
        let (piece, rest) = wire.split_at(wire.len().min((state >> 27) as usize));
        pieces.push(piece);
        wire = rest;
    }
    pieces
}

/// Each request follows the one before, and nothing lies between.
fn check(mut wire: &[u8], body_max: u64, reading: &Reading) {
    for request in &reading.requests {
        let (head, rest) = wire.split_at(request.end);
        let (body, rest) = rest.split_at(request.body.len());
        assert_eq!(body, request.body, "not what stands behind the head");
        assert!(body.len() as u64 <= body_max && head.len() <= HEAD_MAX);
        check_head(head, request);
        wire = rest;
    }
}

/// RFC 9112 sections 3, 5 and 6, by the lines.
fn check_head(head: &[u8], request: &Request) {
    let text: String = head.iter().map(|byte| char::from(*byte)).collect();
    let text = text.trim_start_matches("\r\n");
    let lines = text.strip_suffix("\r\n\r\n").expect("an empty line");
    let mut lines = lines.split("\r\n");
    let line: Vec<&str> = lines.next().expect("a request line").split(' ').collect();
    let [verb, target, version] = line[..] else {
        panic!("{line:?}");
    };
    assert!(!target.is_empty() && verb.chars().all(is_token), "{line:?}");
    let fields: Vec<(String, &str)> = lines
        .map(|line| {
            let (name, value) = line.split_once(':').expect("a colon");
            assert!(!name.is_empty() && name.chars().all(is_token), "{name:?}");
            let plain = |c: char| c == '\t' || (c >= ' ' && c != '\x7f');
            assert!(value.chars().all(plain), "{value:?}");
            (name.to_ascii_lowercase(), value.trim_matches([' ', '\t']))
        })
        .collect();
    let all = |name: &str| -> Vec<&str> {
        let named = fields.iter().filter(|(known, _)| known == name);
        named.map(|(_, value)| *value).collect()
    };
    let hosts = all("host").len();
    assert!(hosts == 1 || (version == "HTTP/1.0" && hosts == 0));
    assert!(version == "HTTP/1.1" || version == "HTTP/1.0");
    assert!(all("transfer-encoding").is_empty());
    match all("content-length")[..] {
        [length] => {
            assert!(length.chars().all(|c| c.is_ascii_digit()), "{length:?}");
            assert_eq!(length.parse(), Ok(request.body.len()));
        }
        [] => assert!(verb != "POST" && request.body.is_empty()),
        _ => panic!("two lengths"),
    }
    for name in SIGNATURE {
        if let [value] = all(name)[..] {
            let bytes: Vec<u8> = value.chars().map(|c| c as u8).collect();
            let kept = format!("Once({bytes:?})");
            assert!(request.signature.contains(&kept), "{name}: {value:?}");
        }
    }
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}
