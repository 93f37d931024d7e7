//! What channels may cost all together: who makes room at each limit of `[broker]`, and what counts
//! it.

use serde_json::{Value, json};

use crate::harness::{
    publisher::{Publisher, Request},
    sidecar::{Sidecar, Site},
};

async fn limited(lines: &str) -> Sidecar {
    Sidecar::builder().section("broker", lines).start().await
}

/// Publishes the version of a key; whether it was left out as outdated.
async fn outdated(publisher: &Publisher, channel: &str, key: &str, version: u64) -> bool {
    let body = json!({ "channel": channel, "data": 1, "key": key, "version": version });
    let reply = publisher.call(Request::new("publish", body.to_string()));
    reply.await.pointer("/result/outdated") == Some(&json!(true))
}

/// Publishes `data` to all of the channels `post:FROM` up to `post:TO`.
async fn broadcast(publisher: &Publisher, from: usize, to: usize, data: &Value) {
    let channels: Vec<_> = (from..to).map(|n| format!("post:{n}")).collect();
    let body = json!({ "channels": channels, "data": data });
    publisher
        .call(Request::new("broadcast", body.to_string()))
        .await;
}

#[tokio::test]
async fn a_key_beyond_versions_max_has_another_forgotten_which_is_counted() {
    let sidecar = limited("versions_max = 2").await;
    let publisher = sidecar.publisher();
    for key in ["1:price", "2:price"] {
        assert!(!outdated(&publisher, "site", key, 7).await);
    }
    assert_eq!(sidecar.metric("broker_versions_dropped_total").await, 0);
    assert!(!outdated(&publisher, "site", "3:price", 7).await);
    assert_eq!(sidecar.metric("broker_versions_dropped_total").await, 1);
    assert!(outdated(&publisher, "site", "2:price", 6).await);
    assert!(!outdated(&publisher, "site", "1:price", 6).await);
    assert_eq!(sidecar.metric("broker_versions_dropped_total").await, 2);
    assert_eq!(sidecar.metric("broker_outdated_total").await, 1);
}

#[tokio::test]
async fn versions_are_within_history_bytes_max_and_make_room_too() {
    let sidecar = limited("history_bytes_max = \"1MiB\"").await;
    let publisher = sidecar.publisher();
    for channel in 0..12 {
        let commands = (0..1_000).map(|n| {
            let key = format!("{n}:price");
            json!({ "channel": format!("post:{channel}"), "data": 1, "key": key, "version": 7 })
        });
        publisher.call(Request::batch(commands)).await;
    }
    let bytes = sidecar.metric("broker_history_bytes").await;
    assert!((900_000..=1 << 20).contains(&bytes), "{bytes}");
    assert!(sidecar.metric("broker_versions_dropped_total").await > 5_000);
    assert!(outdated(&publisher, "post:11", "0:price", 7).await);
    assert!(!outdated(&publisher, "post:0", "999:price", 7).await);
}

#[tokio::test]
async fn full_fingerprints_void_the_positions_of_quiet_channels_and_are_counted() {
    let sidecar = limited("channels_max = 1\nfingerprints_max = 1_000").await;
    let publisher = sidecar.publisher();
    let mut browser = sidecar.browser().await;
    let quiet = browser.subscribe("post:quiet").await;
    let unsubscribe = json!({ "channel": "post:quiet" });
    browser
        .ask(json!({ "id": 8, "unsubscribe": unsubscribe }))
        .await;
    assert_eq!(sidecar.metric("broker_fingerprints_full_total").await, 0);
    // More than may be remembered, wherever they fall.
    broadcast(&publisher, 0, 1_000, &json!(1)).await;
    broadcast(&publisher, 1_000, 1_100, &json!(1)).await;
    assert!(sidecar.metric("broker_fingerprints_full_total").await > 0);
    let again = json!({
        "channel": "post:quiet", "recover": true, "offset": 0,
        "epoch": quiet["epoch"],
    });
    let reply = browser.ask(json!({ "id": 9, "subscribe": again })).await;
    assert_ne!(reply["subscribe"]["epoch"], quiet["epoch"], "{reply}");
    assert_ne!(reply["subscribe"]["recovered"], true, "{reply}");
}

#[tokio::test]
async fn a_site_that_floods_drops_neither_history_nor_channels_of_another() {
    let few = "history_bytes_max = \"1MiB\"\nchannels_max = 100";
    let sidecar = Sidecar::builder()
        .section("broker", few)
        .site(Site::new("loud", "loud.test"))
        .site(Site::new("quiet", "quiet.test"))
        .start()
        .await;
    let (loud, quiet) = (sidecar.publisher_of(0), sidecar.publisher_of(1));
    broadcast(&quiet, 0, 25, &json!("quiet")).await;
    let text = json!("x".repeat(15_000));
    for n in 0..10 {
        broadcast(&loud, n * 100, n * 100 + 100, &text).await;
    }
    assert!(sidecar.metric("broker_evictions_total").await >= 900);
    assert!(sidecar.metric("broker_history_dropped_total").await > 0);
    for n in 0..25 {
        let body = json!({ "channel": format!("post:{n}"), "limit": -1 });
        let reply = quiet.call(Request::new("history", body.to_string())).await;
        let kept = reply["result"]["publications"].as_array().map(Vec::len);
        assert_eq!(kept, Some(1), "{reply}");
    }
}
