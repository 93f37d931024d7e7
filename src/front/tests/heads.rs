//! Which heads are refused and why, and what of the others reaches a back end.

use std::time::Duration;

use super::{Bench, status};
use crate::config::Mode;

/// The whole request but for its last, empty line; the status; the reason, empty where hyper
/// refuses by itself.
const REFUSED: &[(&str, u16, &str)] = &[
    ("GET / HTTP/1.1\r\n", 400, "host_missing"),
    ("GET / HTTP/1.0\r\n", 400, "host_missing"),
    (
        "GET / HTTP/1.1\r\nHost: site.example\r\nHost: site.example\r\n",
        400,
        "host_repeated",
    ),
    ("GET / HTTP/1.1\r\nHost:\r\n", 400, "host_syntax"),
    ("GET / HTTP/1.1\r\nHost: a b/c@d\r\n", 400, "host_syntax"),
    (
        "GET / HTTP/1.1\r\nHost: u@site.example\r\n",
        400,
        "host_syntax",
    ),
    (
        "GET / HTTP/1.1\r\nHost: site.example:0\r\n",
        400,
        "host_syntax",
    ),
    (
        "GET / HTTP/1.1\r\nHost: site.example, b\r\n",
        400,
        "host_syntax",
    ),
    (
        "GET http://other.example/ HTTP/1.1\r\nHost: site.example\r\n",
        400,
        "host_mismatch",
    ),
    (
        "GET http://site.example:1/ HTTP/1.1\r\nHost: site.example\r\n",
        400,
        "host_mismatch",
    ),
    (
        "GET http://u@site.example/ HTTP/1.1\r\nHost: site.example\r\n",
        400,
        "host_syntax",
    ),
    ("GET http://site.example/ HTTP/1.1\r\n", 400, "host_missing"),
    (
        "GET ftp://site.example/ HTTP/1.1\r\nHost: site.example\r\n",
        400,
        "target_scheme",
    ),
    (
        "GET foo HTTP/1.1\r\nHost: site.example\r\n",
        400,
        "target_form",
    ),
    (
        "GET site.example:80 HTTP/1.1\r\nHost: site.example\r\n",
        400,
        "target_form",
    ),
    (
        "GET * HTTP/1.1\r\nHost: site.example\r\n",
        400,
        "target_form",
    ),
    (
        "get / HTTP/1.1\r\nHost: site.example\r\n",
        400,
        "method_syntax",
    ),
    (
        "G-T / HTTP/1.1\r\nHost: site.example\r\n",
        400,
        "method_syntax",
    ),
    (
        "CONNECT site.example:443 HTTP/1.1\r\nHost: site.example:443\r\n",
        405,
        "method_not_allowed",
    ),
    (
        "TRACE / HTTP/1.1\r\nHost: site.example\r\n",
        405,
        "method_not_allowed",
    ),
    (
        "GET / HTTP/1.1\r\nHost: other.example\r\n",
        421,
        "unknown_host",
    ),
    (
        "GET /.env HTTP/1.1\r\nHost: site.example\r\n",
        404,
        "denied_path",
    ),
    (
        "GET /%00 HTTP/1.1\r\nHost: site.example\r\n",
        400,
        "path_control",
    ),
    (
        "POST / HTTP/1.1\r\nHost: site.example\r\nTransfer-Encoding: gzip, chunked\r\n",
        501,
        "transfer_coding",
    ),
    (
        "POST / HTTP/1.1\r\nHost: site.example\r\nTransfer-Encoding: chunked, chunked\r\n",
        501,
        "transfer_coding",
    ),
    (
        "POST / HTTP/1.1\r\nHost: site.example\r\nTransfer-Encoding: identity\r\n\
         Transfer-Encoding: chunked\r\n",
        501,
        "transfer_coding",
    ),
    (
        "POST / HTTP/1.1\r\nHost: site.example\r\nTransfer-Encoding: chunked\r\n\
         Transfer-Encoding: chunked\r\n",
        501,
        "transfer_coding",
    ),
    (
        "POST / HTTP/1.1\r\nHost: site.example\r\nTransfer-Encoding: gzip\r\n",
        400,
        "",
    ),
    (
        "POST / HTTP/1.0\r\nHost: site.example\r\nTransfer-Encoding: chunked\r\n",
        400,
        "",
    ),
    (
        "POST / HTTP/1.1\r\nHost: site.example\r\nContent-Length: 1\r\nContent-Length: 2\r\n",
        400,
        "",
    ),
    (
        "POST / HTTP/1.1\r\nHost: site.example\r\nContent-Length: 1, 1\r\n",
        400,
        "",
    ),
    (
        "POST / HTTP/1.1\r\nHost: site.example\r\nContent-Length: -1\r\n",
        400,
        "",
    ),
    ("GET / HTTP/1.1\r\nHost: site.example\r\nA : b\r\n", 400, ""),
    (
        "GET / HTTP/1.1\r\nHost: site.example\r\nA: b\r\n c\r\n",
        400,
        "",
    ),
    (
        "POST / HTTP/1.1\r\nHost: site.example\r\nExpect: magic\r\nContent-Length: 2\r\n",
        417,
        "expectation",
    ),
    (
        "POST / HTTP/1.1\r\nHost: site.example\r\nExpect: 100-continue\r\n\
         Content-Length: 268435457\r\n",
        413,
        "body_too_large",
    ),
];

#[tokio::test(start_paused = true)]
async fn a_wrong_head_is_refused_and_the_connection_closed() {
    for (head, expected, reason) in REFUSED {
        let bench = Bench::new();
        let next = "GET /next HTTP/1.1\r\nHost: site.example\r\n\r\n";
        let (answer, took) = bench.exchange(format!("{head}\r\n{next}")).await;
        assert_eq!(status(&answer), *expected, "{head}\n{answer}");
        if !reason.is_empty() {
            assert_eq!(bench.failures(reason), 1, "{head}\n{answer}");
            assert!(answer.contains("connection: close\r\n"), "{head}\n{answer}");
        }
        assert_eq!(answer.matches("HTTP/1.").count(), 1, "{head}\n{answer}");
        assert!(took < Duration::from_secs(3), "{head}: {took:?}");
    }
}

/// The request but for `Connection: close` and its last line, and the text that reached the back
/// end up to its body.
const PASSED: &[(&str, &str)] = &[
    (
        "GET /a%20b/../c?x=%2F&y HTTP/1.1\r\nHost: Site.Example.\r\n",
        "GET /a%20b/../c?x=%2F&y\n",
    ),
    ("GET / HTTP/1.0\r\nHost: site.example\r\n", "GET /\n"),
    (
        "GET http://site.example/a HTTP/1.1\r\nHost: site.example\r\n",
        "GET /a\n",
    ),
    (
        "GET https://site.example:443?q HTTP/1.1\r\nHost: site.example\r\n",
        "GET /?q\n",
    ),
    (
        "PROPFIND / HTTP/1.1\r\nHost: site.example\r\n",
        "PROPFIND /\n",
    ),
    (
        "GET / HTTP/1.1\r\nHost: site.example\r\nAuthorization: Basic eA==\r\nX-Own: 1\r\n\
         X_Real_IP: 1.2.3.4\r\nX.Own: 2\r\nProxy: http://evil/\r\n",
        "GET /\nauthorization: Basic eA==\nx-own: 1\n",
    ),
    (
        "GET / HTTP/1.1\r\nHost: site.example\r\nX-Forwarded-For: 1.2.3.4\r\n\
         X-Forwarded-Proto: http\r\nX-Forwarded-Prefix: /x\r\nForwarded: for=1.2.3.4\r\n\
         X-Real-IP: 1.2.3.4\r\nClient-IP: 1.2.3.4\r\nCF-Connecting-IP: 1.2.3.4\r\n\
         X-Original-URL: /admin\r\nX-Accel-Redirect: /etc\r\nX-Sendfile-Type: x\r\n",
        "GET /\n",
    ),
    (
        "GET / HTTP/1.1\r\nHost: site.example\r\nConnection: x-gone, Cookie\r\nX-Gone: 1\r\n\
         Keep-Alive: 1\r\nTE: trailers\r\nTrailer: x\r\nCookie: a=1\r\nUpgrade: h2c\r\n\
         HTTP2-Settings: x\r\nProxy-Authorization: x\r\n",
        "GET /\ncookie: a=1\n",
    ),
    (
        "GET / HTTP/1.1\r\nHost: site.example\r\nCookie: a=1\r\nX-Own: 1\r\nCookie: b=2\r\n",
        "GET /\ncookie: a=1; b=2\nx-own: 1\n",
    ),
];

#[tokio::test(start_paused = true)]
async fn a_right_head_reaches_the_back_end_cleaned() {
    for (head, expected) in PASSED {
        let bench = Bench::new();
        let (answer, _) = bench
            .exchange(format!("{head}Connection: close\r\n\r\n"))
            .await;
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let rest = "length Some(0) body \norigin https site.example 192.0.2.7:5000\n";
        assert_eq!(body, format!("{expected}{rest}"), "{head}\n{answer}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_port_that_the_client_named_stays_in_the_origin() {
    let raw = "GET / HTTP/1.1\r\nHost: site.example:8443\r\nConnection: close\r\n\r\n";
    let (answer, _) = Bench::new().exchange(raw).await;
    assert!(
        answer.contains("origin https site.example:8443 "),
        "{answer}"
    );
}

#[tokio::test(start_paused = true)]
async fn what_is_larger_than_its_limit_is_refused() {
    let front = "target_max = \"1KiB\"\nheader_bytes_max = \"8KiB\"\nheaders_max = 10";
    let ask = |target: usize, field: usize, fields: usize| {
        let target = "x".repeat(target);
        let field = "y".repeat(field);
        let fields = "A: b\r\n".repeat(fields);
        format!("GET /{target} HTTP/1.1\r\nHost: site.example\r\nX: {field}\r\n{fields}\r\n")
    };
    for (raw, expected) in [
        (ask(1023, 0, 0), 200),
        (ask(1024, 0, 0), 414),
        (ask(0, 8_100, 0), 200),
        (ask(0, 8_200, 0), 431),
        (ask(0, 500_000, 0), 431),
        (ask(0, 0, 8), 200),
        (ask(0, 0, 9), 431),
    ] {
        let (answer, _) = Bench::with(front).exchange(&raw).await;
        assert_eq!(status(&answer), expected, "{} bytes", raw.len());
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_with_both_length_and_chunks_ends_its_connection() {
    for framing in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
    ] {
        let raw = format!(
            "POST / HTTP/1.1\r\nHost: site.example\r\n{framing}\r\n0\r\n\r\n\
             GET /smuggled HTTP/1.1\r\nHost: site.example\r\n\r\n"
        );
        let (answer, took) = Bench::new().exchange(raw).await;
        assert_eq!(answer.matches("HTTP/1.").count(), 1, "{answer}");
        assert!(!answer.contains("smuggled"), "{answer}");
        assert!(took < Duration::from_secs(3), "{took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_tells_a_reference_and_no_cause() {
    let ask = |accept: &str| {
        format!("GET /busy HTTP/1.1\r\nHost: site.example\r\nAccept: {accept}\r\n\r\n")
    };
    let (html, _) = Bench::new()
        .exchange(ask("text/html,application/json"))
        .await;
    let (json, _) = Bench::new().exchange(ask("application/json")).await;
    for (answer, kind) in [
        (&html, "text/html; charset=utf-8"),
        (&json, "application/json"),
    ] {
        assert_eq!(status(answer), 503);
        assert!(
            answer.contains(&format!("content-type: {kind}\r\n")),
            "{answer}"
        );
        assert!(answer.contains("cache-control: no-store\r\n"), "{answer}");
        let seconds = answer.split("retry-after: ").nth(1).unwrap();
        let seconds: u32 = seconds.split("\r\n").next().unwrap().parse().unwrap();
        assert!((3..=7).contains(&seconds), "{answer}");
        assert!(answer.contains("server: sidewire\r\n"), "{answer}");
        // The back end's failure is no reason to end the client's connection.
        assert!(!answer.contains("connection: close"), "{answer}");
        assert!(!answer.contains("secret"), "{answer}");
    }
    let (_, body) = json.split_once("\r\n\r\n").unwrap();
    let page: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(page["error"]["reference"].as_str().unwrap().len(), 32);
}

#[tokio::test(start_paused = true)]
async fn a_method_that_is_not_allowed_is_told_which_are() {
    let (answer, _) = Bench::new()
        .exchange("TRACE / HTTP/1.1\r\nHost: site.example\r\n\r\n")
        .await;
    assert!(answer.contains("allow: GET, HEAD, POST"), "{answer}");
    let (answer, _) = Bench::new()
        .exchange("OPTIONS * HTTP/1.1\r\nHost: site.example\r\n\r\n")
        .await;
    assert_eq!(status(&answer), 204);
    assert!(answer.contains("allow: GET, HEAD, POST"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_head_request_gets_no_body_even_of_a_refusal() {
    let (answer, _) = Bench::new()
        .exchange("HEAD /.env HTTP/1.1\r\nHost: site.example\r\n\r\n")
        .await;
    assert_eq!(status(&answer), 404);
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_redirecting_listener_leads_to_https_at_hosts_of_sites_alone() {
    let mut bench = Bench::new();
    bench.mode = Mode::Redirect;
    let (answer, _) = bench
        .exchange("GET /a?b=c HTTP/1.1\r\nHost: site.example:80\r\n\r\n")
        .await;
    assert_eq!(status(&answer), 308);
    assert!(
        answer.contains("location: https://site.example/a?b=c\r\n"),
        "{answer}"
    );
    let (answer, _) = bench
        .exchange("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n")
        .await;
    assert_eq!(status(&answer), 421);
}

#[tokio::test(start_paused = true)]
async fn a_back_end_cannot_change_the_protocol_unasked() {
    let (answer, _) = Bench::new()
        .exchange("GET /unasked HTTP/1.1\r\nHost: site.example\r\n\r\n")
        .await;
    assert_eq!(status(&answer), 502);
}
