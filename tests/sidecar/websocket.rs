//! The protocol that a browser speaks at `/realtime`: commands, answers, refusals and limits.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::harness::{
    origin::{Origin, say},
    publisher::Request,
    sidecar::{Sidecar, Site},
    until,
    websocket::{CLOSE, FIN, TEXT, frame},
};

#[tokio::test]
async fn a_browser_connects_subscribes_receives_and_unsubscribes_in_the_shape_of_the_protocol() {
    let sidecar = Sidecar::start().await;
    let mut browser = sidecar.socket("/realtime").await;

    let mut connected = browser.ask(json!({ "id": 1, "connect": {} })).await;
    let client = connected["connect"]["client"].take();
    assert_eq!(client.as_str().unwrap().len(), 36, "{client}");
    let version = concat!("sidewire ", env!("CARGO_PKG_VERSION"));
    let expected = json!({ "client": null, "version": version, "ping": 25, "pong": true });
    assert_eq!(connected, json!({ "id": 1, "connect": expected }));

    let command = json!({ "id": 2, "subscribe": { "channel": "post:26" } });
    let mut subscribed = browser.ask(command).await;
    let epoch = subscribed["subscribe"]["epoch"].take();
    assert_eq!(epoch.as_str().unwrap().len(), 16, "{epoch}");
    let expected = json!({ "recoverable": true, "positioned": true, "epoch": null, "offset": 0 });
    assert_eq!(subscribed, json!({ "id": 2, "subscribe": expected }));

    let data = json!({ "type": "post_meta_update", "meta_value": "42.50" });
    let body = json!({ "channel": "post:26", "data": data, "key": "26:price" });
    let request = Request::new("publish", body.to_string());
    let reply = sidecar.publisher().call(request).await;
    assert_eq!(reply, json!({ "result": { "offset": 1, "epoch": epoch } }));
    let publication = json!({ "data": data, "offset": 1, "tags": { "key": "26:price" } });
    let push = json!({ "push": { "channel": "post:26", "pub": publication } });
    assert_eq!(browser.message().await, push);

    let command = json!({ "id": 3, "unsubscribe": { "channel": "post:26" } });
    let reply = browser.ask(command).await;
    assert_eq!(reply, json!({ "id": 3, "unsubscribe": {} }));
    sidecar.publisher().publish("post:26", &json!(2)).await;
    // The next thing heard is this answer, and no publication.
    let reply = browser.subscribe("post:26").await;
    assert_eq!(reply["offset"], 2);
}

#[tokio::test]
async fn commands_of_one_message_are_answered_in_their_order() {
    let sidecar = Sidecar::start().await;
    let mut browser = sidecar.socket("/realtime").await;
    let commands = [
        json!({ "id": 1, "connect": {} }),
        json!({ "id": 2, "subscribe": { "channel": "site" } }),
    ];
    browser.say(&lines(&commands)).await;
    assert!(browser.message().await["connect"].is_object());
    let reply = browser.message().await;
    assert_eq!(reply["id"], 2);
    assert!(reply["subscribe"].is_object(), "{reply}");
}

#[tokio::test]
async fn a_refusal_does_not_overtake_the_answers_before_it() {
    let sidecar = Sidecar::start().await;
    let mut browser = sidecar.socket("/realtime").await;
    let mut commands = vec![json!({ "id": 1, "connect": {} })];
    for id in 2..42 {
        let channel = if id % 2 == 0 { "post" } else { "edit" };
        let channel = format!("{channel}:{id}");
        commands.push(json!({ "id": id, "subscribe": { "channel": channel } }));
    }
    browser.say(&lines(&commands)).await;
    let mut answered = Vec::new();
    for _ in &commands {
        answered.push(browser.message().await["id"].as_u64().unwrap());
    }
    assert_eq!(answered, (1..42).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_ping_is_an_empty_object_and_must_be_answered() {
    let pings = "ping_interval = \"1100ms\"\npong_timeout = \"1s\"";
    let sidecar = Sidecar::builder().section("realtime", pings).start().await;
    let mut browser = sidecar.browser().await;
    assert_eq!(browser.text().await, "{}");
    browser.say("{}").await;
    assert_eq!(browser.text().await, "{}", "still connected");
    let since = Instant::now();
    let closed = browser.closed().await;
    assert_eq!((closed.code, &*closed.reason), (3012, "no pong"));
    assert!(closed.frames.is_empty(), "{:?}", closed.frames);
    assert!(
        since.elapsed() > Duration::from_millis(500),
        "waited for the pong"
    );
}

#[tokio::test]
async fn a_connection_without_a_connect_command_is_stale() {
    let timeout = "connect_timeout = \"1s\"";
    let sidecar = Sidecar::builder()
        .section("realtime", timeout)
        .start()
        .await;
    let closed = sidecar.socket("/realtime").await.closed().await;
    assert_eq!((closed.code, &*closed.reason), (3502, "stale"));
    let stale = "realtime_closes_total{reason=\"stale\"}";
    assert_eq!(sidecar.metric(stale).await, 1);
}

#[tokio::test]
async fn a_message_that_is_no_command_ends_the_connection_as_a_bad_request() {
    let sidecar = Sidecar::start().await;
    for message in [
        "nonsense",
        "{\"id\":",
        "7",
        "{\"id\":-1}",
        "{\"id\":2,\"connect\":3}",
    ] {
        let mut browser = sidecar.browser().await;
        browser.say(message).await;
        let closed = browser.closed().await;
        assert_eq!(closed.code, 3501, "{message}");
        assert_eq!(closed.reason, "bad request");
    }
    for first in [
        json!({ "id": 1, "subscribe": { "channel": "site" } }),
        json!({ "id": 1, "rpc": {} }),
        json!({ "connect": {} }),
    ] {
        let mut browser = sidecar.socket("/realtime").await;
        browser.say(&first.to_string()).await;
        assert_eq!(browser.closed().await.code, 3501, "{first} before connect");
    }
    let mut browser = sidecar.browser().await;
    browser.send(frame(FIN | 0x2, b"{}")).await;
    assert_eq!(browser.closed().await.code, 3501, "binary");
}

#[tokio::test]
async fn a_list_is_no_command() {
    let sidecar = Sidecar::start().await;
    for message in ["[]", "[7]"] {
        let mut browser = sidecar.browser().await;
        browser
            .say(&format!("{message}\n{{\"id\":9,\"ping\":{{}}}}"))
            .await;
        let frame = browser.frame().await.unwrap().unwrap();
        assert_eq!(frame.opcode, CLOSE, "{message} was answered: {frame:?}");
        assert_eq!(frame.payload[..2], 3501u16.to_be_bytes());
    }
}

#[tokio::test]
async fn each_refusal_of_a_command_has_its_own_code() {
    let most = "channels_per_connection_max = 2";
    let sidecar = Sidecar::builder().section("realtime", most).start().await;
    let mut browser = sidecar.browser().await;
    browser.subscribe("post:1").await;
    let subscribe = |channel: &str| json!({ "subscribe": { "channel": channel } });
    for (mut command, code) in [
        (json!({ "sing": {} }), 104),
        (json!({ "rpc": {} }), 108),
        (json!({ "history": { "channel": "post:7" } }), 103),
        (json!({ "history": { "channel": "nothing:7" } }), 102),
        (json!({ "presence": { "channel": "post:1" } }), 108),
        (json!({ "presence_stats": { "channel": "post:1" } }), 108),
        (
            json!({ "publish": { "channel": "post:1", "data": 1 } }),
            103,
        ),
        (subscribe("edit:26"), 103),
        (subscribe("user:7"), 103),
        (subscribe("nothing:26"), 102),
        (subscribe("post:a b"), 107),
        (subscribe(""), 107),
        (subscribe("post:1"), 105),
        (
            json!({ "subscribe": { "channel": "post:9", "recover": true, "offset": 7 } }),
            107,
        ),
        (
            json!({ "subscribe": { "channel": "post:9", "type": 1 } }),
            108,
        ),
    ] {
        command["id"] = 7.into();
        let reply = browser.ask(command.clone()).await;
        assert_eq!(reply["id"], 7);
        assert_eq!(reply["error"]["code"], code, "{command}: {reply}");
        assert!(reply["error"]["message"].is_string());
    }
    browser.subscribe("post:2").await;
    let third = json!({ "id": 8, "subscribe": { "channel": "post:3" } });
    let reply = browser.ask(third.clone()).await;
    assert_eq!(reply["error"]["code"], 106, "{reply}");
    let leave = json!({ "id": 9, "unsubscribe": { "channel": "post:1" } });
    browser.ask(leave).await;
    let reply = browser.ask(third).await;
    assert!(
        reply["subscribe"].is_object(),
        "there is room again: {reply}"
    );
}

#[tokio::test]
async fn a_token_that_no_key_can_judge_ends_the_connection() {
    let sidecar = Sidecar::start().await;
    let mut browser = sidecar.socket("/realtime").await;
    browser
        .say("{\"id\":1,\"connect\":{\"token\":\"a.b.c\"}}")
        .await;
    assert_eq!(browser.closed().await.code, 3500);
}

#[tokio::test]
async fn another_origin_than_the_sites_own_or_an_allowed_one_is_refused() {
    let allowed = "allowed_origins = [\"https://app.example.org\"]";
    let site = Site::new("main", "localhost").lines(allowed);
    let sidecar = Sidecar::builder().site(site).start().await;
    let own = format!("https://{}", sidecar.authority());
    for (origin, passes) in [
        (own.as_str(), true),
        ("https://app.example.org", true),
        ("https://evil.example", false),
        ("https://localhost", false),
        ("null", false),
        (&own.replace("https", "http"), false),
        (&own.replace("localhost", "localhost.evil.example"), false),
    ] {
        let field = format!("Origin: {origin}\r\n");
        for target in ["/realtime", "/realtime?channel=site"] {
            let opened = sidecar.upgrade("localhost", target, &field).await;
            let status = opened.err().map(|refused| refused.head.status);
            assert_eq!(status, (!passes).then_some(403), "{origin} at {target}");
        }
        if !passes {
            let field = field + "Accept: text/event-stream\r\n";
            let events = sidecar.get("/realtime?channel=site", &field).await;
            assert_eq!(events.head.status, 403, "{origin} for server-sent events");
        }
    }
    assert_eq!(
        sidecar
            .metric("realtime_refusals_total{reason=\"origin\"}")
            .await,
        15
    );
}

#[tokio::test]
async fn one_too_many_is_refused_before_the_upgrade_until_another_leaves() {
    let most = "connections_max = 2";
    let sidecar = Sidecar::builder().section("realtime", most).start().await;
    let first = sidecar.browser().await;
    let mut second = sidecar.browser().await;
    let third = sidecar.upgrade("localhost", "/realtime", "").await;
    let refused = third.err().unwrap();
    assert_eq!(refused.head.status, 503);
    assert!(refused.head.field("retry-after").is_some());
    let refusals = "realtime_refusals_total{reason=\"connections_max\"}";
    assert_eq!(sidecar.metric(refusals).await, 1);
    second.subscribe("site").await;
    drop(first);
    let mut third = until("a place", || async {
        sidecar.upgrade("localhost", "/realtime", "").await.ok()
    })
    .await;
    third.connect().await;
    third.subscribe("site").await;
    sidecar.publisher().publish("site", &json!(1)).await;
    assert_eq!(second.publication().await["data"], 1);
    assert_eq!(third.publication().await["data"], 1);
}

#[tokio::test]
async fn a_flood_of_commands_ends_the_connection() {
    let few = "commands_per_second_max = 1\nchannels_per_connection_max = 10";
    let sidecar = Sidecar::builder().section("realtime", few).start().await;
    let mut browser = sidecar.browser().await;
    let commands: Vec<Value> = (2..102).map(|id| json!({ "id": id, "ping": {} })).collect();
    browser.say(&lines(&commands)).await;
    let closed = browser.closed().await;
    assert_eq!((closed.code, &*closed.reason), (3013, "too many requests"));
    // Ten at once, the connect command among them, and some more by time.
    assert!(closed.frames.len() < 30, "{}", closed.frames.len());

    let flood = "realtime_closes_total{reason=\"too_many_requests\"}";
    assert_eq!(sidecar.metric(flood).await, 1);

    let mut page = sidecar.socket("/realtime?channel=site").await;
    page.send(frame(FIN | TEXT, b"x").repeat(100)).await;
    assert_eq!(page.closed().await.code, 1008, "a plain stream");
}

#[tokio::test]
async fn the_realtime_path_never_reaches_the_back_end() {
    let origin = Origin::tcp(say("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nwp!")).await;
    let site = Site::new("main", "localhost").backend(origin.backend());
    let sidecar = Sidecar::builder().site(site).start().await;
    assert_eq!(sidecar.get("/", "").await.text(), "wp!");
    for (fields, status) in [
        ("", 426),
        ("Accept: text/event-stream\r\n", 400),
        ("Upgrade: websocket\r\n", 400),
        (
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 8\r\n",
            426,
        ),
        (
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
            400,
        ),
    ] {
        let answer = sidecar.get("/realtime", fields).await;
        assert_eq!(answer.head.status, status, "{fields}");
        assert!(!answer.text().contains("wp!"));
        if status == 426 {
            assert!(answer.text().contains("expects a WebSocket"));
            assert_eq!(answer.head.field("upgrade"), Some("websocket"));
            assert_eq!(answer.head.field("sec-websocket-version"), Some("13"));
        }
    }
}

fn lines(commands: &[Value]) -> String {
    let lines: Vec<String> = commands.iter().map(Value::to_string).collect();
    lines.join("\n")
}

#[tokio::test]
async fn a_page_may_connect_and_use_all_its_channels_in_one_message() {
    let sidecar = Sidecar::start().await;
    let mut browser = sidecar.socket("/realtime").await;
    let mut commands = vec![json!({ "id": 1, "connect": {} })];
    for id in 2..130 {
        let channel = format!("post:{id}");
        commands.push(json!({ "id": id, "subscribe": { "channel": channel } }));
    }
    browser.say(&lines(&commands)).await;
    assert!(browser.message().await["connect"].is_object());
    for id in 2..130 {
        let reply = browser.message().await;
        assert_eq!(reply["id"], id);
        assert!(reply["subscribe"].is_object(), "{reply}");
    }
}
