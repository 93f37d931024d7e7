//! Who may open what.

use super::*;
use crate::exchange::{self, RequestId};

const GOOD: &[(&str, &str)] = &[
    ("upgrade", "websocket"),
    ("connection", "keep-alive, Upgrade"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

fn request(target: &str, headers: &[(&str, &str)]) -> Request {
    let mut builder = http::Request::builder()
        .uri(target)
        .version(Version::HTTP_11);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    Request {
        head: builder.body(()).unwrap().into_parts().0,
        body: exchange::empty(),
        origin: Origin {
            client: "127.0.0.1:1".parse().unwrap(),
            local: "127.0.0.1:2".parse().unwrap(),
            scheme: Scheme::Https,
            host: "blog.example".into(),
            port: Some(8443),
            id: RequestId(1),
        },
    }
}

fn with(extra: &[(&'static str, &'static str)]) -> Vec<(&'static str, &'static str)> {
    [GOOD, extra].concat()
}

fn status(request: &Request) -> u16 {
    judge(request, &[]).unwrap_err().status.as_u16()
}

#[test]
fn a_good_handshake_gets_the_rfcs_accept_key() {
    let opening = judge(&request("/realtime", GOOD), &[]).unwrap();
    assert_eq!(opening.kind, Kind::Protocol);
    assert_eq!(
        opening.headers["sec-websocket-accept"],
        "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
    );
}

#[test]
fn every_part_of_the_handshake_is_needed() {
    for (left_out, expected) in [
        ("upgrade", 426),
        ("connection", 400),
        ("sec-websocket-version", 426),
        ("sec-websocket-key", 400),
    ] {
        let headers: Vec<_> = GOOD
            .iter()
            .copied()
            .filter(|(name, _)| *name != left_out)
            .collect();
        assert_eq!(
            status(&request("/realtime", &headers)),
            expected,
            "without {left_out}"
        );
    }
    let short: Vec<_> = GOOD
        .iter()
        .map(|(n, v)| {
            if *n == "sec-websocket-key" {
                (*n, "c2hvcnQ=")
            } else {
                (*n, *v)
            }
        })
        .collect();
    assert_eq!(status(&request("/realtime", &short)), 400);
    assert_eq!(
        status(&request(
            "/realtime",
            &with(&[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")])
        )),
        400,
        "two keys"
    );
    assert_eq!(
        status(&request(
            "/realtime",
            &with(&[("sec-websocket-version", "8")])
        )),
        426,
        "two versions"
    );
    let mut post = request("/realtime", GOOD);
    post.head.method = Method::POST;
    assert_eq!(status(&post), 405);
    let mut with_body = request("/realtime", GOOD);
    with_body.body = exchange::full("hello");
    assert_eq!(status(&with_body), 400);
    let mut old = request("/realtime", GOOD);
    old.head.version = Version::HTTP_10;
    assert_eq!(status(&old), 400);
}

#[test]
fn only_the_sites_own_origin_and_allowed_ones_pass() {
    let allowed = ["https://app.example".to_owned()];
    for (origin, passes) in [
        ("https://blog.example:8443", true),
        ("HTTPS://blog.example:8443", false),
        ("https://BLOG.example:8443", true),
        ("https://blog.example", false),
        ("http://blog.example:8443", false),
        ("https://evil.example:8443", false),
        ("https://blog.example:8443.evil.example", false),
        ("https://x@blog.example:8443", false),
        ("null", false),
        ("https://app.example", true),
    ] {
        let headers = [GOOD, &[("origin", origin)]].concat();
        assert_eq!(
            judge(&request("/realtime", &headers), &allowed).is_ok(),
            passes,
            "{origin}"
        );
    }
    assert!(
        judge(&request("/realtime", GOOD), &allowed).is_ok(),
        "none at all"
    );
}

#[test]
fn a_channel_in_the_query_makes_a_plain_stream() {
    let opening = judge(
        &request("/realtime?channel=site&x=1&channel=post%3A26", GOOD),
        &[],
    )
    .unwrap();
    assert_eq!(opening.kind, Kind::Plain);
    assert_eq!(opening.channels, ["site", "post:26"]);
}

#[test]
fn server_sent_events_need_a_channel_and_the_accept_header() {
    let accept = [("accept", "text/event-stream")];
    let opening = judge(&request("/realtime?channel=site", &accept), &[]).unwrap();
    assert_eq!(opening.kind, Kind::EventStream);
    assert_eq!(status(&request("/realtime", &accept)), 400);
    assert_eq!(
        status(&request(
            "/realtime?channel=site",
            &[("accept", "text/html")]
        )),
        426
    );
}

#[test]
fn parameters_belong_to_a_media_type_and_not_to_an_upgrade() {
    let accept = [("accept", "text/html, text/event-stream;q=0.9")];
    assert!(judge(&request("/realtime?channel=site", &accept), &[]).is_ok());
    for (name, expected) in [("upgrade", 426), ("connection", 400)] {
        let headers: Vec<_> = GOOD
            .iter()
            .map(|(n, v)| (*n, format!("{v}{}", if *n == name { ";x" } else { "" })))
            .collect();
        let headers: Vec<_> = headers.iter().map(|(n, v)| (*n, v.as_str())).collect();
        assert_eq!(status(&request("/realtime", &headers)), expected, "{name}");
    }
}

#[test]
fn our_subprotocol_is_echoed_and_a_token_never_is() {
    let opening = judge(
        &request(
            "/realtime?channel=site",
            &with(&[("sec-websocket-protocol", "sidewire")]),
        ),
        &[],
    )
    .unwrap();
    assert_eq!(opening.headers["sec-websocket-protocol"], "sidewire");
    let token = with(&[("sec-websocket-protocol", "sidewire, token.abc")]);
    let opening = judge(&request("/realtime?channel=site", &token), &[]).unwrap();
    assert_eq!(opening.headers["sec-websocket-protocol"], "sidewire");
    assert_eq!(opening.token.as_deref(), Some("abc"));
    // The protocol has a place of its own for it.
    assert_eq!(status(&request("/realtime", &token)), 400);
    let two = with(&[("sec-websocket-protocol", "token.abc, token.def")]);
    assert_eq!(status(&request("/realtime?channel=site", &two)), 400);
}

#[test]
fn a_plain_stream_says_from_where_it_goes_on() {
    let headers = with(&[]);
    let uri = "/realtime?channel=site&since=a%2Cb&position=1";
    let opening = judge(&request(uri, &headers), &[]).unwrap();
    assert_eq!(opening.since.as_deref(), Some("a,b"));
    assert!(opening.positions);
    let opening = judge(&request("/realtime?channel=site", &headers), &[]).unwrap();
    assert_eq!((opening.since, opening.positions), (None, false));
    let long = format!("/realtime?channel=site&since={}", "x".repeat(16_385));
    assert_eq!(status(&request(&long, &headers)), 400);
}
