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
