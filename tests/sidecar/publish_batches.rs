//! Several publications in one request: order, faults inside, and a publisher that hangs up.

use serde_json::json;

use crate::harness::{publisher::Request, sidecar::Sidecar};

#[tokio::test]
async fn a_batch_of_a_thousand_is_published_in_order_and_one_more_is_refused() {
    let sidecar = Sidecar::start().await;
    let mut browser = sidecar.browser().await;
    browser.subscribe("site").await;
    let publisher = sidecar.publisher();
    let batch =
        |size: u64| Request::batch((1..=size).map(|n| json!({ "channel": "site", "data": n })));
    let refused = publisher.send(&publisher.sign(batch(1_001))).await;
    assert_eq!(
        (refused.head.status, &refused.json()["error"]["code"]),
        (400, &json!(107))
    );
    let reply = publisher.call(batch(1_000)).await;
    let replies = reply["replies"].as_array().unwrap();
    assert_eq!(replies.len(), 1_000);
    for n in 1..=1_000u64 {
        assert_eq!(replies[n as usize - 1]["publish"]["offset"], n);
        let publication = browser.publication().await;
        assert_eq!(
            (&publication["data"], &publication["offset"]),
            (&json!(n), &json!(n))
        );
    }
}

#[tokio::test]
async fn a_faulty_command_of_a_batch_fails_alone() {
    let sidecar = Sidecar::start().await;
    let commands = json!([
        { "publish": { "channel": "site", "data": 1 } },
        { "publish": { "channel": "site" } },
        { "publish": { "channel": "nothing:1", "data": 1 } },
        { "sing": {} },
        3,
        { "broadcast": { "channels": ["post:26", "nothing:1", "site"], "data": 2 } },
        { "publish": { "channel": "site", "data": 3 } },
    ]);
    let request = Request::new("batch", json!({ "commands": commands }).to_string());
    let reply = sidecar.publisher().call(request).await;
    let replies = &reply["replies"];
    assert_eq!(replies.as_array().unwrap().len(), 7);
    assert_eq!(replies[0]["publish"]["offset"], 1);
    for (n, code) in [(1, 107), (2, 102), (3, 104), (4, 107)] {
        assert_eq!(replies[n]["error"]["code"], code, "{}", replies[n]);
    }
    for (reason, count) in [("bad", 2), ("unknown_channel", 2), ("unknown_method", 1)] {
        let counter = format!("publish_refusals_total{{reason=\"{reason}\"}}");
        assert_eq!(sidecar.metric(&counter).await, count, "{reason}");
    }
    let responses = &replies[5]["broadcast"]["responses"];
    assert_eq!(responses[0]["result"]["offset"], 1, "{responses}");
    assert_eq!(responses[1]["error"]["code"], 102, "{responses}");
    assert_eq!(responses[2]["result"]["offset"], 2, "{responses}");
    assert_eq!(replies[6]["publish"]["offset"], 3);
}

#[tokio::test]
async fn a_broadcast_reaches_every_channel_and_an_older_version_none() {
    let sidecar = Sidecar::start().await;
    let mut browser = sidecar.browser().await;
    browser.subscribe("post:26").await;
    browser.subscribe("site").await;
    let event = |version: u64| {
        let body = json!({
            "channels": ["post:26", "site"], "data": version, "key": "26:price", "version": version,
        });
        Request::new("broadcast", body.to_string())
    };
    let publisher = sidecar.publisher();
    for (version, offset) in [(7, 1), (6, 1), (7, 1), (8, 2)] {
        let reply = publisher.call(event(version)).await;
        for response in reply["result"]["responses"].as_array().unwrap() {
            assert_eq!(response["result"]["offset"], offset, "version {version}");
        }
    }
    for (data, channel) in [(7, "post:26"), (7, "site"), (8, "post:26"), (8, "site")] {
        let push = &browser.message().await["push"];
        assert_eq!(
            (&push["pub"]["data"], &push["channel"]),
            (&json!(data), &json!(channel))
        );
    }
    assert_eq!(sidecar.metric("broker_outdated_total").await, 4);
}

#[tokio::test]
async fn a_publisher_that_hangs_up_after_sending_has_published_the_whole_batch() {
    let sidecar = Sidecar::start().await;
    let mut browser = sidecar.browser().await;
    browser.subscribe("site").await;
    let publisher = sidecar.publisher();
    for round in 0..10u64 {
        let messages = (0..1_000).map(|n| json!({ "channel": "site", "data": n }));
        let request = publisher.sign(Request::batch(messages));
        let mut connection = publisher.connect().await;
        connection.send(request.bytes()).await;
        drop(connection);
        for n in 1..=1_000 {
            let publication = browser.publication().await;
            assert_eq!(publication["offset"], round * 1_000 + n, "round {round}");
        }
    }
}

#[tokio::test]
async fn a_command_that_names_two_methods_or_one_twice_does_neither() {
    let sidecar = Sidecar::start().await;
    let body = r#"{"commands":[{"publish":{"channel":"site","data":1},"publish":{"channel":"site","data":2}},{},{"info":{},"channels":{}}]}"#;
    let reply = sidecar.publisher().call(Request::new("batch", body)).await;
    for n in 0..3 {
        assert_eq!(reply["replies"][n]["error"]["code"], 107, "{reply}");
    }
    assert_eq!(sidecar.metric("broker_publications_total").await, 0);
}

#[tokio::test]
async fn a_reply_beyond_reply_max_is_refused_and_what_a_batch_has_done_is_told() {
    let sidecar = Sidecar::builder()
        .section("publish", "reply_max = \"64KiB\"")
        .start()
        .await;
    let publisher = sidecar.publisher();
    let data = "x".repeat(1_000);
    for _ in 0..50 {
        publisher.publish("post:1", &json!(data)).await;
    }
    let history = json!({ "history": { "channel": "post:1", "limit": -1 } });
    let publish = json!({ "publish": { "channel": "post:2", "data": 1 } });
    let commands = [&publish, &history, &history, &publish];
    let body = json!({ "commands": commands }).to_string();
    let reply = publisher.call(Request::new("batch", body)).await;
    let replies = &reply["replies"];
    assert_eq!(replies[0]["publish"]["offset"], 1);
    let kept = &replies[1]["history"]["publications"];
    assert_eq!(kept.as_array().unwrap().len(), 50);
    assert_eq!(replies[2]["error"]["code"], 1015, "{}", replies[2]);
    assert_eq!(replies[3]["publish"]["offset"], 2, "there is room for it");
    for _ in 0..20 {
        publisher.publish("post:1", &json!(data)).await;
    }
    let alone = json!({ "channel": "post:1", "limit": -1 }).to_string();
    let reply = publisher
        .send(&publisher.sign(Request::new("history", alone)))
        .await;
    let code = &reply.json()["error"]["code"];
    assert_eq!((reply.head.status, code), (400, &json!(1015)));
    let counter = "publish_refusals_total{reason=\"reply_too_large\"}";
    assert_eq!(sidecar.metric(counter).await, 2);
}
