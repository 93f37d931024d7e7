//! Where a plain stream stands, and whether it learns that it follows nothing any more.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use serde_json::{Value, json};

use crate::harness::{
    http::Client,
    publisher::Request,
    sidecar::Sidecar,
    token::{site, token},
    unix_now, until,
    websocket::Socket,
};

/// An event stream of these channels, and what it says first, up to an event without data.
async fn events(sidecar: &Sidecar, channels: &str, last: Option<&str>) -> (Client, String) {
    let mut client = sidecar.http1().await;
    let host = sidecar.authority();
    let last = last.map_or(String::new(), |id| format!("Last-Event-ID: {id}\r\n"));
    let request = format!(
        "GET /realtime?{channels} HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\n\
         Origin: https://{host}\r\n{last}\r\n"
    );
    client.send(request).await;
    let head = client.head().await.unwrap();
    assert_eq!(head.status, 200);
    let own = format!("https://{host}");
    assert_eq!(
        head.field("access-control-allow-origin"),
        Some(own.as_str())
    );
    let mut framing = head.framing();
    let mut said = String::new();
    while !said.ends_with("\n\n") || !said.rsplit("\n\n").nth(1).unwrap().starts_with("id: ") {
        let piece = client.piece(&mut framing).await.unwrap().unwrap();
        said.push_str(&String::from_utf8(piece).unwrap());
    }
    (client, said)
}

/// The ids that a text of events has, in order.
fn ids(text: &str) -> Vec<&str> {
    text.lines()
        .filter_map(|line| line.strip_prefix("id: "))
        .collect()
}

#[tokio::test]
async fn what_was_missed_moves_the_position_of_an_event_stream_once_all_of_it_was_sent() {
    let sidecar = Sidecar::start().await;
    let publisher = sidecar.publisher();
    let channels = "channel=post:1&channel=post:2";
    let (_, first) = events(&sidecar, channels, None).await;
    let start = ids(&first)[0].to_owned();
    for n in 1..=3 {
        for channel in ["post:1", "post:2"] {
            publisher.publish(channel, &json!(n)).await;
        }
    }
    let (_, said) = events(&sidecar, channels, Some(&start)).await;
    assert_eq!(said.matches("data: ").count(), 6, "{said}");
    assert!(!said.contains("gap"), "{said}");
    let ids = ids(&said);
    assert_eq!(ids.len(), 1, "{said}");
    assert!(ids[0].contains(".3.post:1") && ids[0].contains(".3.post:2"));
    assert!(said.ends_with(&format!("id: {}\n\n", ids[0])), "{said}");
}

#[tokio::test]
async fn what_has_no_place_in_the_channel_leaves_the_position_of_an_event_stream_alone() {
    let sidecar = Sidecar::start().await;
    let publisher = sidecar.publisher();
    let (mut client, _) = events(&sidecar, "channel=site", None).await;
    until("the subscription", || async {
        (sidecar.metric("realtime_subscriptions").await == 1).then_some(())
    })
    .await;
    let skipped = json!({ "channel": "site", "data": "now", "skip_history": true });
    publisher
        .call(Request::new("publish", skipped.to_string()))
        .await;
    while !client.read.ends_with(b"\"now\"\n\n\r\n") {
        assert!(client.fill().await.unwrap() > 0);
    }
    let said = String::from_utf8(client.read.clone()).unwrap();
    assert_eq!(ids(&said), [""; 0], "{said}");
}

/// A plain WebSocket with a token of the user 7, issued in `second`.
async fn plain(sidecar: &Sidecar, target: &str, second: u64) -> Result<Socket, u16> {
    let token = token(json!({ "sub": "7", "iat": second, "channels": ["edit:26"] }));
    let fields = format!("Sec-WebSocket-Protocol: sidewire, token.{token}\r\n");
    let opened = sidecar.upgrade("localhost", target, &fields).await;
    opened.map_err(|response| response.head.status)
}

async fn call(sidecar: &Sidecar, method: &str, body: Value) {
    let request = Request::new(method, body.to_string());
    let reply = sidecar.publisher().call(request).await;
    assert_eq!(reply, json!({ "result": {} }));
}

#[tokio::test]
async fn a_plain_stream_whose_channel_is_revoked_is_closed_and_not_let_in_again() {
    let sidecar = Sidecar::builder().site(site("")).start().await;
    let (target, issued) = ("/realtime?channel=edit:26", unix_now());
    let mut page = plain(&sidecar, target, issued).await.unwrap();
    until("the subscription", || async {
        (sidecar.metric("realtime_subscriptions").await == 1).then_some(())
    })
    .await;
    let whom = json!({ "user": "7", "channel": "edit:26" });
    call(&sidecar, "unsubscribe", whom).await;
    let closed = page.closed().await;
    assert_eq!((closed.code, &*closed.reason), (1008, "disconnected"));
    assert_eq!(plain(&sidecar, target, issued).await.err(), Some(403));
}

#[tokio::test]
async fn a_plain_stream_beyond_the_connections_of_its_user_is_told_so() {
    let sidecar = Sidecar::builder()
        .site(site(""))
        .section("realtime", "connections_per_user_max = 1")
        .start()
        .await;
    let target = "/realtime?channel=site";
    let _first = plain(&sidecar, target, unix_now()).await.unwrap();
    until("the first one", || async {
        (sidecar.metric("realtime_subscriptions").await == 1).then_some(())
    })
    .await;
    let mut second = plain(&sidecar, target, unix_now()).await.unwrap();
    let closed = second.closed().await;
    assert_eq!((closed.code, &*closed.reason), (1008, "connection limit"));
}

#[tokio::test]
async fn who_was_revoked_for_a_channel_does_not_publish_to_it() {
    let namespace = "[[site.namespace]]\nname = \"room\"\nsubscribe = \"any_token\"\n\
                     publish = \"any_token\"\nhistory_size = 5\n";
    let sidecar = Sidecar::builder().site(site(namespace)).start().await;
    let mut browser = sidecar
        .bearer(json!({ "sub": "7", "iat": unix_now() }))
        .await;
    let publish = json!({ "id": 5, "publish": { "channel": "room:1", "data": 1 } });
    let reply = browser.ask(publish.clone()).await;
    assert!(reply["publish"].is_object(), "{reply}");
    let whom = json!({ "user": "7", "channel": "room:1" });
    call(&sidecar, "unsubscribe", whom).await;
    let reply = browser.ask(publish).await;
    assert_eq!(reply["error"]["code"], 103, "{reply}");
}
