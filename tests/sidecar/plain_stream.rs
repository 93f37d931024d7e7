//! Streams for pages that want no protocol: bare events over a WebSocket, and server-sent events.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use bytes::Bytes;
use http_body_util::Full;
use serde_json::json;
use sidewire::{auth::token, config::Secret};

use crate::harness::{
    http,
    sidecar::{Sidecar, Site},
    unix_now, until,
    websocket::{CLOSE, FIN, PING, PONG, frame},
};

#[tokio::test]
async fn a_plain_stream_carries_bare_events() {
    let sidecar = Sidecar::start().await;
    let mut page = sidecar
        .socket("/realtime?channel=site&channel=post%3A26")
        .await;
    until_followed(&sidecar, 2).await;
    for channel in ["site", "post:26", "post:27", "site"] {
        let event = json!({ "type": "post_meta_update", "channel": channel });
        sidecar.publisher().publish(channel, &event).await;
    }
    for channel in ["site", "post:26", "site"] {
        let expected = format!("{{\"channel\":\"{channel}\",\"type\":\"post_meta_update\"}}");
        assert_eq!(page.text().await, expected);
    }
    page.send(frame(FIN | CLOSE, &1000u16.to_be_bytes())).await;
    let closed = page.closed().await;
    assert_eq!((closed.code, closed.frames.len()), (1000, 0));
    let refused = sidecar.upgrade("localhost", "/realtime?channel=edit:1", "");
    assert_eq!(refused.await.err().unwrap().head.status, 403);
}

#[tokio::test]
async fn a_plain_stream_is_pinged_by_frames_and_must_answer_them() {
    let pings = "ping_interval = \"1100ms\"\npong_timeout = \"1s\"";
    let sidecar = Sidecar::builder().section("realtime", pings).start().await;
    let mut browser = sidecar.socket("/realtime?channel=site").await;
    let ping = browser.frame().await.unwrap().unwrap();
    assert_eq!((ping.opcode, &ping.payload[..]), (PING, &b""[..]));
    browser.send(frame(FIN | PONG, b"")).await;
    let ping = browser.frame().await.unwrap().unwrap();
    assert_eq!(ping.opcode, PING, "still connected");
    let closed = browser.closed().await;
    assert_eq!((closed.code, &*closed.reason), (1001, "no pong"));
}

#[tokio::test]
async fn a_plain_stream_ends_with_its_token() {
    let secret = "whsec_YnJvd3NlcnMsIGZvciB0aGVpciB0b2tlbnMsIDMyIGJ5dGVz";
    let site = Site::new("main", "localhost").backend(format!(
        "[site.upstream]\naddress = \"http://127.0.0.1:1\"\n\
         [[site.token_key]]\nsecret = {secret:?}"
    ));
    let sidecar = Sidecar::builder().site(site).start().await;
    let now = unix_now();
    let claims = json!({ "sub": "7", "iat": now, "exp": now + 2 }).to_string();
    let secret = Secret::parse(secret).unwrap();
    let token = token::mint("", secret.as_bytes(), &claims);
    let fields = format!("Sec-WebSocket-Protocol: sidewire, token.{token}\r\n");
    let target = "/realtime?channel=site";
    let mut page = sidecar.upgrade("localhost", target, &fields).await.unwrap();
    let closed = page.closed().await;
    assert_eq!((closed.code, &*closed.reason), (1008, "token expired"));
    assert!(unix_now() >= now + 2, "not before");
}

#[tokio::test]
async fn server_sent_events_arrive_over_http1() {
    let sidecar = Sidecar::start().await;
    let mut client = sidecar.http1().await;
    let host = sidecar.authority();
    let request = format!(
        "GET /realtime?channel=post:26 HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\n\r\n"
    );
    client.send(request).await;
    let head = client.head().await.unwrap();
    assert_eq!(head.status, 200);
    assert_eq!(head.field("content-type"), Some("text/event-stream"));
    assert_eq!(head.field("cache-control"), Some("no-store"));
    until_followed(&sidecar, 1).await;
    let mut framing = head.framing();
    let first = client.piece(&mut framing).await.unwrap().unwrap();
    let epoch = epoch_of(&String::from_utf8(first).unwrap());
    for n in 1..=2 {
        sidecar
            .publisher()
            .publish("post:26", &json!({ "n": n }))
            .await;
        let piece = client.piece(&mut framing).await.unwrap().unwrap();
        let expected = format!("id: {epoch}.{n}.post:26\ndata: {{\"n\":{n}}}\n\n");
        assert_eq!(String::from_utf8(piece).unwrap(), expected);
    }
    drop(client);
    until_followed(&sidecar, 0).await;
}

#[tokio::test]
async fn server_sent_events_arrive_over_http2() {
    let sidecar = Sidecar::start().await;
    let mut client = sidecar.http2().await;
    let request = http_request(&sidecar, "/realtime?channel=post:26");
    let response = client.send(request).await;
    assert_eq!(response.status(), 200);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    until_followed(&sidecar, 1).await;
    let mut body = response.into_body();
    let first = http::piece(&mut body).await.unwrap().unwrap();
    let epoch = epoch_of(&String::from_utf8_lossy(&first));
    for n in 1..=2 {
        sidecar
            .publisher()
            .publish("post:26", &json!({ "n": n }))
            .await;
        let piece = http::piece(&mut body).await.unwrap().unwrap();
        let expected = format!("id: {epoch}.{n}.post:26\ndata: {{\"n\":{n}}}\n\n");
        assert_eq!(piece, expected);
    }
    drop(body);
    until_followed(&sidecar, 0).await;
}

async fn until_followed(sidecar: &Sidecar, subscriptions: u64) {
    until("subscriptions", || async {
        let now = sidecar.metric("realtime_subscriptions").await;
        (now == subscriptions).then_some(())
    })
    .await;
}

fn http_request(sidecar: &Sidecar, target: &str) -> ::http::Request<Full<Bytes>> {
    ::http::Request::get(format!("https://{}{target}", sidecar.authority()))
        .header("accept", "text/event-stream")
        .body(Full::default())
        .unwrap()
}

/// The epoch of the position that a stream of `post:26` begins with.
fn epoch_of(first: &str) -> String {
    let epoch = first.strip_prefix("id: ");
    let epoch = epoch.and_then(|rest| rest.strip_suffix(".0.post:26\n\n"));
    epoch.unwrap().to_owned()
}
