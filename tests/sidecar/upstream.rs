//! A site behind another HTTP server, over TCP and over a Unix socket.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::Full;
use tokio::{net::TcpListener, sync::Notify, time::Instant};

use crate::harness::{
    directory,
    http::{self, Framing},
    origin::{Connection, Origin, echo, say},
    sidecar::{Sidecar, Site},
    within,
};

async fn in_front_of(backend: impl Into<String>) -> Sidecar {
    let site = Site::new("main", "localhost").backend(backend);
    Sidecar::builder().site(site).start().await
}

#[tokio::test]
async fn identity_is_ours_to_tell_and_hop_by_hop_fields_end_here() {
    let place = directory();
    let over_tcp = Origin::tcp(echo).await;
    let over_unix = Origin::unix(&place.path().join("origin.sock"), echo);
    for origin in [over_tcp, over_unix] {
        let sidecar = in_front_of(origin.backend()).await;
        let fields = "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: http\r\n\
                      X-Forwarded-Host: evil.example\r\nX-Forwarded-Port: 1\r\n\
                      X-Forwarded-Prefix: /evil\r\nX-Real-IP: 1.2.3.4\r\nForwarded: for=1.2.3.4\r\n\
                      Proxy: http://evil.example\r\nX_Forwarded_For: 1.2.3.4\r\n\
                      Connection: X-Private, close\r\nX-Private: 1\r\nKeep-Alive: 5\r\n\
                      Proxy-Connection: keep-alive\r\nTE: trailers\r\nProxy-Authorization: x\r\n\
                      Authorization: Basic dTpw\r\nX-Custom: kept\r\n";
        let answer = sidecar.get("/a%20b?x=%2F", fields).await;
        assert_eq!(answer.head.status, 200);
        let mut lines: Vec<String> = answer
            .text()
            .trim_end()
            .lines()
            .map(str::to_ascii_lowercase)
            .collect();
        assert_eq!(lines.remove(0), "get /a%20b?x=%2f http/1.1");
        lines.sort();
        let (host, port) = (sidecar.authority(), sidecar.port);
        let expected = [
            "authorization: basic dtpw".to_owned(),
            format!("host: {host}"),
            "x-custom: kept".into(),
            "x-forwarded-for: 127.0.0.1".into(),
            format!("x-forwarded-host: {host}"),
            format!("x-forwarded-port: {port}"),
            "x-forwarded-proto: https".into(),
            "x-real-ip: 127.0.0.1".into(),
        ];
        assert_eq!(lines, expected, "{}", origin.address);
    }
}

#[tokio::test]
async fn hop_by_hop_fields_of_the_answer_end_here() {
    let answer = "HTTP/1.1 200 OK\r\nConnection: X-Private, close\r\nX-Private: 1\r\n\
                  Keep-Alive: timeout=5\r\nProxy-Authenticate: Basic\r\nAlt-Svc: h3=\":443\"\r\n\
                  X-Accel-Redirect: /x\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Custom: kept\r\n\
                  Content-Length: 2\r\n\r\nok";
    let origin = Origin::tcp(say(answer)).await;
    let sidecar = in_front_of(origin.backend()).await;
    let mut client = sidecar.http1().await;
    let request = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", sidecar.authority());
    for _ in 0..2 {
        let answer = client.exchange(&request).await;
        assert_eq!((answer.head.status, answer.text()), (200, "ok"));
        let fields = answer.head.fields.iter().filter(|(name, _)| name != "date");
        let mut fields: Vec<String> = fields
            .map(|(name, value)| format!("{name}: {value}"))
            .collect();
        fields.sort();
        let expected = [
            "content-length: 2",
            "server: sidewire",
            "set-cookie: a=1",
            "set-cookie: b=2",
            "x-custom: kept",
        ];
        assert_eq!(fields, expected);
    }
}

#[tokio::test]
async fn both_ways_are_streamed() {
    let serve = |mut connection: Connection| async move {
        let head = connection.head().await.unwrap().to_ascii_lowercase();
        assert!(head.contains("transfer-encoding: chunked"), "{head}");
        connection.body_until("question\r\n").await;
        connection
            .say("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nanswer\r\n")
            .await;
        connection.body_until("0\r\n\r\n").await;
        connection.say("3\r\nend\r\n0\r\n\r\n").await;
    };
    let origin = Origin::tcp(serve).await;
    let sidecar = in_front_of(origin.backend()).await;
    let mut client = sidecar.http1().await;
    let host = sidecar.authority();
    let head = format!("POST / HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n");
    client.send(head + "8\r\nquestion\r\n").await;
    let head = client.head().await.unwrap();
    let mut framing = head.framing();
    let piece = client.piece(&mut framing).await.unwrap().unwrap();
    assert_eq!(piece, b"answer", "before the question has ended");
    client.send("0\r\n\r\n").await;
    assert_eq!(client.rest(framing).await, Ok(b"end".to_vec()));
}

#[tokio::test]
async fn an_answer_that_was_cut_never_looks_whole() {
    for (framing, sent) in [
        ("Content-Length: 100", "only this"),
        ("Transfer-Encoding: chunked", "9\r\nonly this\r\n"),
        ("Transfer-Encoding: chunked", "9\r\nonly this\r\n5\r\nab"),
    ] {
        let origin = Origin::tcp(say(format!("HTTP/1.1 200 OK\r\n{framing}\r\n\r\n{sent}"))).await;
        let sidecar = in_front_of(origin.backend()).await;
        let mut client = sidecar.http1().await;
        let request = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", sidecar.authority());
        client.send(request).await;
        let head = client.head().await.unwrap();
        assert_eq!(head.status, 200);
        assert!(!matches!(head.framing(), Framing::Close));
        let body = client.rest(head.framing()).await;
        let cut = body.expect_err("a body that ended regularly");
        assert!(cut.starts_with(b"only this"), "what came was passed on");

        let request = ::http::Request::get(format!("https://{}/", sidecar.authority()));
        let request = request.body(Full::<Bytes>::default()).unwrap();
        // The reset may overtake the head.
        if let Ok(response) = sidecar.http2().await.try_send(request).await {
            let cut = http::cut(response.into_body()).await;
            assert!(cut.is_some(), "{framing}: a regular end over HTTP/2");
        }
        assert_eq!(sidecar.metric("upstream_cut_responses_total").await, 2);
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_bad_gateway() {
    let free = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap();
    let place = directory();
    let nothing = place.path().join("nothing.sock");
    for address in [
        format!("http://{free}"),
        format!("unix:{}", nothing.display()),
    ] {
        let sidecar = in_front_of(format!("[site.upstream]\naddress = {address:?}")).await;
        let answer = sidecar.get("/", "").await;
        assert_eq!(answer.head.status, 502, "{address}");
        let shown = answer.text();
        assert!(
            !shown.contains("127.0.0.1") && !shown.contains("nothing.sock"),
            "{shown}"
        );
        assert!(
            sidecar
                .log()
                .contains(address.trim_start_matches("http://")),
            "the log names it"
        );
    }
}

#[tokio::test]
async fn a_server_that_says_nonsense_is_a_bad_gateway() {
    for answer in [
        "nonsense\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        "",
    ] {
        let origin = Origin::tcp(say(answer)).await;
        let sidecar = in_front_of(origin.backend()).await;
        assert_eq!(sidecar.get("/", "").await.head.status, 502, "{answer}");
    }
}

#[tokio::test]
async fn a_server_that_stays_silent_is_a_gateway_timeout() {
    let left = Arc::new(Notify::new());
    let serve = {
        let left = Arc::clone(&left);
        move |mut connection: Connection| {
            let left = Arc::clone(&left);
            async move {
                connection.head().await.unwrap();
                assert!(connection.head().await.is_none());
                left.notify_one();
            }
        }
    };
    let origin = Origin::tcp(serve).await;
    let sidecar = in_front_of(origin.backend() + "\nresponse_timeout = \"1s\"").await;
    let since = Instant::now();
    assert_eq!(sidecar.get("/", "").await.head.status, 504);
    let waited = since.elapsed();
    assert!(
        (Duration::from_millis(900)..Duration::from_secs(5)).contains(&waited),
        "{waited:?}"
    );
    within("the server to be left alone", left.notified()).await;
}

#[tokio::test]
async fn a_kept_connection_serves_the_next_request() {
    let origin = Origin::tcp(echo).await;
    let sidecar = in_front_of(origin.backend()).await;
    for _ in 0..5 {
        assert_eq!(sidecar.get("/", "").await.head.status, 200);
    }
    assert_eq!(sidecar.metric("upstream_connections_total").await, 1);
    assert_eq!(sidecar.metric("upstream_reused_total").await, 4);
}
