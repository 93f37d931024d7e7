//! HTTP/2: the same rules, and the deadlines that hyper leaves to us.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    task::JoinHandle,
    time::Instant,
};

use super::{Bench, Event, soon};

async fn connect(bench: &Bench) -> (SendRequest<Full<Bytes>>, JoinHandle<()>) {
    let (client, server) = duplex(1 << 20);
    let served = Arc::clone(&bench.door).http2(server, bench.arrival());
    let served = bench.tasks.spawn(served);
    let (sender, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(65_535)
        .handshake(TokioIo::new(client))
        .await
        .unwrap();
    bench.tasks.spawn(async move {
        let _ = connection.await;
    });
    (sender, served)
}

async fn ask(bench: &Bench, request: http::request::Builder) -> (u16, String) {
    let (mut sender, _served) = connect(bench).await;
    let request = request.body(Full::default()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8_lossy(&body).into_owned())
}

fn get(uri: &str) -> http::request::Builder {
    http::Request::get(uri)
}

#[tokio::test(start_paused = true)]
async fn cookies_that_come_one_by_one_are_joined() {
    let mut request = get("https://site.example/a?b").header("x-forwarded-for", "1.2.3.4");
    for n in 0..150 {
        request = request.header("cookie", format!("c{n}={n}"));
    }
    let (status, body) = ask(&Bench::new(), request).await;
    assert_eq!(status, 200);
    let cookies: Vec<String> = (0..150).map(|n| format!("c{n}={n}")).collect();
    let expected = format!("GET /a?b\ncookie: {}\nlength", cookies.join("; "));
    assert!(body.starts_with(&expected), "{body}");
    assert!(body.contains("origin https site.example "), "{body}");
}

#[tokio::test(start_paused = true)]
async fn authority_and_host_must_agree_and_belong_to_a_site() {
    for (uri, host, expected, reason) in [
        ("https://site.example/", Some("site.example"), 200, ""),
        ("https://site.example:443/", Some("site.example"), 200, ""),
        (
            "https://site.example/",
            Some("other.example"),
            400,
            "host_mismatch",
        ),
        ("https://other.example/", None, 421, "unknown_host"),
        ("https://u@site.example/", None, 400, "host_syntax"),
        ("ftp://site.example/", None, 400, "target_scheme"),
        ("https://site.example/.env", None, 404, "denied_path"),
    ] {
        let bench = Bench::new();
        let mut request = get(uri);
        if let Some(host) = host {
            request = request.header("host", host);
        }
        let (status, body) = ask(&bench, request).await;
        assert_eq!(status, expected, "{uri} {host:?} {body}");
        assert!(reason.is_empty() || bench.failures(reason) == 1, "{uri}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_is_refused() {
    let bench = Bench::new();
    let (status, _) = ask(&bench, http::Request::connect("site.example:443")).await;
    assert_eq!(status, 405);
}

#[tokio::test(start_paused = true)]
async fn a_head_request_gets_a_length_and_no_body() {
    for (path, expected) in [("", 200), (".env", 404)] {
        let bench = Bench::new();
        let (mut sender, _served) = connect(&bench).await;
        let request = http::Request::head(format!("https://site.example/{path}"));
        let request = request.body(Full::default()).unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), expected);
        assert!(response.headers().contains_key("content-length"));
        let body = response.into_body().collect().await.unwrap();
        assert!(body.to_bytes().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_leaves_the_connection_open() {
    let bench = Bench::new();
    let (mut sender, _served) = connect(&bench).await;
    for (uri, expected) in [
        ("https://other.example/", 421),
        ("https://site.example/", 200),
    ] {
        let request = get(uri).body(Full::default()).unwrap();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_without_a_preface_is_given_up() {
    for first in ["", "PRI * HTTP/2.0\r\n\r\n"] {
        let bench = Bench::new();
        let began = Instant::now();
        let (mut client, server) = duplex(4096);
        let served = Arc::clone(&bench.door).http2(server, bench.arrival());
        let _served = bench.tasks.spawn(served);
        client.write_all(first.as_bytes()).await.unwrap();
        soon(client.read_to_end(&mut Vec::new())).await.unwrap();
        assert_eq!(began.elapsed().as_secs(), 30, "{first:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_without_requests_is_closed_though_pings_are_answered() {
    let bench = Bench::new();
    let (mut sender, served) = connect(&bench).await;
    tokio::time::sleep(Duration::from_secs(100)).await;
    let request = get("https://site.example/").body(Full::default()).unwrap();
    sender.send_request(request).await.unwrap();
    let began = Instant::now();
    soon(served).await.unwrap();
    let took = began.elapsed().as_secs();
    assert!((120..=128).contains(&took), "{took}");
}

#[tokio::test(start_paused = true)]
async fn a_request_under_way_is_not_idle() {
    let mut bench = Bench::new();
    let (mut sender, served) = connect(&bench).await;
    let request = get("https://site.example/wait").body(Full::default());
    let response = bench.tasks.spawn(sender.send_request(request.unwrap()));
    soon(bench.events.recv()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1000)).await;
    assert!(!served.is_finished());
    bench.release.notify_one();
    assert_eq!(response.await.unwrap().unwrap().status(), 200);
}

/// What a client is doing on the other streams of its connection makes no difference.
#[tokio::test(start_paused = true)]
async fn a_response_that_its_client_does_not_take_is_reset_alone() {
    for (method, path, behind) in [
        ("GET", "endless", Event::Dropped),
        ("POST", "long", Event::ReadToTheEnd),
    ] {
        let mut bench = Bench::new();
        let (mut sender, served) = connect(&bench).await;
        let mut busy = sender.clone();
        bench.tasks.spawn(async move {
            for _ in 0..20 {
                tokio::time::sleep(Duration::from_secs(7)).await;
                let request = get("https://site.example/").body(Full::default());
                let response = busy.send_request(request.unwrap()).await.unwrap();
                response.into_body().collect().await.unwrap();
            }
        });
        let request = http::Request::builder().method(method);
        let request = request.uri(format!("https://site.example/{path}"));
        let request = request.body(Full::default()).unwrap();
        let began = Instant::now();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(soon(bench.events.recv()).await, Some(behind));
        let took = began.elapsed().as_secs();
        assert!((60..=61).contains(&took), "{took}");
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(response.into_body().collect().await.is_err());
        assert_eq!(bench.door.metrics.stalled.get(), 1);
        assert!(!served.is_finished());
    }
}

#[tokio::test(start_paused = true)]
async fn a_response_that_its_client_takes_slowly_arrives_whole() {
    let bench = Bench::new();
    let (mut sender, _served) = connect(&bench).await;
    let request = get("https://site.example/large").body(Full::default());
    let response = sender.send_request(request.unwrap()).await.unwrap();
    let (mut body, mut length) = (response.into_body(), 0);
    while let Some(frame) = soon(body.frame()).await {
        let taken = frame.unwrap().into_data().unwrap().len();
        length += taken;
        // Half of the window, which is when it opens again, takes 50 s.
        tokio::time::sleep(Duration::from_millis(50_000 * taken as u64 / (32 << 10))).await;
    }
    assert_eq!(length, 1 << 20);
}

#[tokio::test(start_paused = true)]
async fn a_stream_of_events_may_be_quiet_for_long() {
    let bench = Bench::new();
    let (mut sender, _served) = connect(&bench).await;
    let request = get("https://site.example/realtime?channel=a").body(Full::default());
    let response = sender.send_request(request.unwrap()).await.unwrap();
    let mut body = response.into_body();
    for event in ["first", "second"] {
        let frame = soon(body.frame()).await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), event);
    }
    assert_eq!(bench.door.metrics.stalled.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stage_that_stops_says_goodbye_and_answers_what_is_under_way() {
    let mut bench = Bench::new();
    let (mut sender, served) = connect(&bench).await;
    let request = get("https://site.example/wait").body(Full::default());
    let response = bench.tasks.spawn(sender.send_request(request.unwrap()));
    soon(bench.events.recv()).await.unwrap();
    bench.tasks.stop();
    bench.release.notify_one();
    assert_eq!(response.await.unwrap().unwrap().status(), 200);
    soon(served).await.unwrap();
}
