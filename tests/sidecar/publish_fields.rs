//! What a publication may carry beside its data: idempotency keys, hints, and what skips history.

use serde_json::{Value, json};

use crate::harness::{publisher::Request, sidecar::Sidecar};

fn publish(body: &Value) -> Request {
    Request::new("publish", body.to_string())
}

#[tokio::test]
async fn a_second_publication_with_the_same_idempotency_key_reaches_nobody() {
    let sidecar = Sidecar::start().await;
    let publisher = sidecar.publisher();
    let mut browser = sidecar.browser().await;
    browser.subscribe("site").await;
    let keyed = |data: u64| {
        let body = json!({ "channel": "site", "data": data, "idempotency_key": "order-7" });
        publish(&body)
    };
    // Each is a request with an id of its own.
    let first = publisher.call(keyed(1)).await;
    publisher.publish("site", &json!(2)).await;
    assert_eq!(publisher.call(keyed(3)).await, first);
    publisher.publish("site", &json!(4)).await;
    for data in [1, 2, 4] {
        assert_eq!(browser.publication().await["data"], data);
    }
    assert_eq!(sidecar.metric("broker_repeats_total").await, 1);
}

#[tokio::test]
async fn an_idempotency_key_of_a_broadcast_counts_on_each_channel() {
    let sidecar = Sidecar::start().await;
    let publisher = sidecar.publisher();
    let broadcast = |channels: &[&str]| {
        let body = json!({ "channels": channels, "data": 1, "idempotency_key": "a" });
        Request::new("broadcast", body.to_string())
    };
    publisher.call(broadcast(&["post:1", "post:2"])).await;
    let reply = publisher.call(broadcast(&["post:2", "post:3"])).await;
    for response in reply["result"]["responses"]
        .as_array()
        .into_iter()
        .flatten()
    {
        assert_eq!(response["result"]["offset"], 1, "{reply}");
    }
    assert_eq!(sidecar.metric("broker_publications_total").await, 3);
}

#[tokio::test]
async fn a_full_store_of_idempotency_keys_is_told_and_publishes_nothing() {
    let limits = "idempotency_keys_max = 1";
    let sidecar = Sidecar::builder().section("publish", limits).start().await;
    let publisher = sidecar.publisher();
    let keyed = |key: &str| {
        let body = json!({ "channel": "site", "data": 1, "idempotency_key": key });
        publish(&body)
    };
    publisher.call(keyed("a")).await;
    let second = publisher.sign(keyed("b"));
    for refusals in 1..=2 {
        // It is worth another try: nothing is remembered of it.
        let reply = publisher.send(&second).await;
        let code = &reply.json()["error"]["code"];
        assert_eq!((reply.head.status, code), (503, &json!(1012)));
        let counter = "publish_refusals_total{reason=\"keys_full\"}";
        assert_eq!(sidecar.metric(counter).await, refusals);
        assert_eq!(sidecar.metric("broker_keys_full_total").await, refusals);
    }
    let position = publisher.publish("site", &json!(2)).await;
    assert_eq!(position["offset"], 2, "without a key there is room");
}

#[tokio::test]
async fn what_skips_history_takes_no_offset() {
    let sidecar = Sidecar::start().await;
    let publisher = sidecar.publisher();
    let skipping = json!({ "channel": "site", "data": 1, "skip_history": true });
    assert_eq!(publisher.publish("site", &json!(1)).await["offset"], 1);
    let reply = publisher.call(publish(&skipping)).await;
    assert_eq!(reply, json!({ "result": {} }));
    assert_eq!(publisher.publish("site", &json!(1)).await["offset"], 2);
}

#[tokio::test]
async fn hints_of_centrifugo_are_passed_over_and_binary_data_is_refused() {
    let sidecar = Sidecar::start().await;
    let publisher = sidecar.publisher();
    let mut browser = sidecar.browser().await;
    browser.subscribe("site").await;
    let hinted = json!({
        "channel": "site", "data": { "a": 1 }, "delta": true, "b64data": "",
        "tags": { "lang": "de" }, "key": "26:price", "version": 1, "version_epoch": "e",
    });
    publisher.call(publish(&hinted)).await;
    let publication = browser.publication().await;
    assert_eq!(publication["data"], json!({ "a": 1 }));
    let tags = json!({ "lang": "de", "key": "26:price" });
    assert_eq!(publication["tags"], tags);
    let binary = json!({ "channel": "site", "b64data": "AAEC" });
    let reply = publisher.send(&publisher.sign(publish(&binary))).await;
    let error = &reply.json()["error"];
    assert_eq!((reply.head.status, &error["code"]), (400, &json!(107)));
    assert!(error["message"].to_string().contains("b64data"), "{error}");
}
