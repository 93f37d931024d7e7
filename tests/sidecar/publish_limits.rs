//! Who may publish what: the limits of keys, the users at the other end, and what one site leaves
//! to the others.

use std::{fs, os::unix::fs::PermissionsExt};

use rustix::process::geteuid;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{
    harness::{
        publisher::{Publisher, Request},
        sidecar::{Sidecar, Site},
        unix_now,
    },
    publish::curl,
};

const LIMITED: &str = "whsec_bGltaXRlZGxpbWl0ZWRsaW1pdGVkbGltaXRlZGxpbWk=";

/// A site with a second key, which is limited, and the publisher that holds it.
async fn limited(limits: &str) -> (Sidecar, Publisher) {
    let site = Site::new("main", "localhost").backend(format!(
        "[site.upstream]\naddress = \"http://127.0.0.1:1\"\n\
         [[site.publish_key]]\nsecret = {LIMITED:?}\n{limits}"
    ));
    let sidecar = Sidecar::builder().site(site).start().await;
    let publisher = Publisher::new(sidecar.publish_socket(), LIMITED);
    (sidecar, publisher)
}

#[tokio::test]
async fn a_key_calls_no_method_but_its_own_and_is_told_which_those_are() {
    let (sidecar, publisher) = limited("methods = [\"batch\", \"publish\"]").await;
    publisher.publish("site", &json!(1)).await;
    let broadcast = json!({ "channels": ["site"], "data": 1 });
    let request = || Request::new("broadcast", broadcast.to_string());
    let signed = publisher.sign(request());
    for refusals in 1..=2 {
        let reply = publisher.send(&signed).await;
        let error = &reply.json()["error"];
        assert_eq!((reply.head.status, &error["code"]), (403, &json!(1008)));
        let message = "this key may not call broadcast; its `methods` are batch, publish";
        assert_eq!(error["message"], message);
        let counter = "publish_refusals_total{reason=\"forbidden\"}";
        assert_eq!(sidecar.metric(counter).await, refusals);
    }
    sidecar.publisher().call(request()).await;
    let commands = json!({ "commands": [
        { "broadcast": broadcast },
        { "publish": { "channel": "site", "data": 2 } },
    ] });
    let batch = Request::new("batch", commands.to_string());
    let replies = &publisher.call(batch).await["replies"];
    assert_eq!(replies[0]["error"]["code"], 1008, "{replies}");
    assert_eq!(replies[1]["publish"]["offset"], 3, "{replies}");
}

#[tokio::test]
async fn a_key_reaches_no_namespace_but_its_own_in_whatever_method() {
    let (sidecar, publisher) = limited("namespaces = [\"post\"]").await;
    publisher.publish("post:26", &json!(1)).await;
    for (method, body) in [
        ("publish", json!({ "channel": "site", "data": 1 })),
        ("history", json!({ "channel": "site" })),
        ("history_remove", json!({ "channel": "site" })),
        ("presence", json!({ "channel": "edit:1" })),
        ("presence_stats", json!({ "channel": "edit:1" })),
        ("subscribe", json!({ "channel": "user:1", "user": "1" })),
        ("unsubscribe", json!({ "channel": "user:1", "user": "1" })),
        ("disconnect", json!({ "user": "1" })),
        ("channels", json!({})),
    ] {
        let request = Request::new(method, body.to_string());
        let reply = publisher.send(&publisher.sign(request)).await;
        let error = &reply.json()["error"];
        assert_eq!(
            (reply.head.status, &error["code"]),
            (403, &json!(1008)),
            "{method}"
        );
        let message = error["message"].as_str().unwrap();
        assert!(message.ends_with("its `namespaces` are post"), "{message}");
    }
    let channels = json!({ "channels": ["post:26", "site"], "data": 1 });
    let reply = publisher.call(Request::new("broadcast", channels.to_string()));
    let responses = &reply.await["result"]["responses"];
    assert_eq!(responses[0]["result"]["offset"], 2, "{responses}");
    assert_eq!(responses[1]["error"]["code"], 1008, "{responses}");
    publisher.call(Request::new("info", "{}")).await;
    assert_eq!(sidecar.metric("broker_publications_total").await, 2);
}

#[tokio::test]
async fn who_signs_with_a_wrong_clock_is_told_how_far_it_is_off() {
    let sidecar = Sidecar::start().await;
    let publisher = sidecar.publisher();
    for ahead in [-412, 412] {
        let mut request = Request::publish("site", &json!(1));
        request.timestamp = unix_now().checked_add_signed(ahead).unwrap();
        let reply = publisher.send(&publisher.sign(request)).await;
        let error = &reply.json()["error"];
        assert_eq!((reply.head.status, &error["code"]), (401, &json!(1002)));
        let skew = error["skew_seconds"].as_i64().unwrap();
        // The clock may have gone on in between.
        assert!((ahead - 5..=ahead).contains(&skew), "{error}");
        let message = error["message"].as_str().unwrap();
        let expected = format!("timestamp is {} s ", skew.abs());
        assert!(message.starts_with(&expected), "{message}");
    }
    let stranger = Publisher::new(sidecar.publish_socket(), LIMITED);
    let mut request = Request::publish("site", &json!(1));
    request.timestamp = unix_now() - 412;
    let reply = stranger.send(&stranger.sign(request)).await;
    assert_eq!(reply.json()["error"]["code"], 1003);
    assert_eq!(reply.json()["error"]["skew_seconds"], Value::Null);
}

#[tokio::test]
async fn a_user_who_is_not_listed_is_turned_away_whatever_the_mode_of_the_socket() {
    let nobody = 65_534;
    let limits = format!("peer_uids = [{nobody}]");
    let sidecar = Sidecar::builder().section("publish", &limits).start().await;
    let socket = sidecar.publish_socket();
    fs::set_permissions(&socket, fs::Permissions::from_mode(0o666)).unwrap();
    let directory = fs::Permissions::from_mode(0o755);
    fs::set_permissions(sidecar.directory.path(), directory).unwrap();

    let counter = "publish_refusals_total{reason=\"peer\"}";
    let ours = sidecar.publisher();
    let signed = ours.sign(Request::publish("site", &json!(1)));
    let mut connection = ours.connect().await;
    let reply = connection.exchange(signed.bytes()).await;
    let error = &reply.json()["error"];
    assert_eq!((reply.head.status, &error["code"]), (403, &json!(1013)));
    let message = format!("user {} is not in publish.peer_uids", geteuid().as_raw());
    assert_eq!(error["message"], message);
    assert_eq!(connection.fill().await.unwrap(), 0, "it is let go");
    assert_eq!(sidecar.metric(counter).await, 1);

    let listed = curl(&sidecar, Some(nobody)).await;
    let said: Value = serde_json::from_slice(&listed.stdout).unwrap();
    assert_eq!(said["error"]["code"], 1001, "heard, but unsigned");
    assert_eq!(sidecar.metric(counter).await, 1);
    assert_eq!(sidecar.metric("broker_publications_total").await, 0);
}

#[tokio::test]
async fn a_site_that_fills_the_store_of_ids_leaves_the_others_their_part() {
    let sidecar = Sidecar::builder()
        .section("publish", "ids_max = 8")
        .site(Site::new("loud", "loud.test"))
        .site(Site::new("quiet", "quiet.test"))
        .start()
        .await;
    for (site, room) in [(0, 6), (1, 2)] {
        let publisher = sidecar.publisher_of(site);
        for n in 1..=room {
            let position = publisher.publish("site", &json!(n)).await;
            assert_eq!(position["offset"], n);
        }
        let more = publisher.sign(Request::publish("site", &json!(0)));
        let reply = publisher.send(&more).await;
        assert_eq!(reply.json()["error"]["code"], 1007, "{}", reply.text());
    }
}

#[tokio::test]
async fn hundreds_of_publishers_at_once_wait_for_each_other_and_none_is_lost() {
    let limits = "connections_max = 4";
    let sidecar = Sidecar::builder().section("publish", limits).start().await;
    let mut publishing = JoinSet::new();
    for n in 0..300 {
        let publisher = sidecar.publisher();
        publishing.spawn(async move { publisher.publish("site", &json!(n)).await });
    }
    let mut offsets: Vec<u64> = publishing
        .join_all()
        .await
        .iter()
        .map(|position| position["offset"].as_u64().unwrap())
        .collect();
    offsets.sort_unstable();
    assert!(offsets.into_iter().eq(1..=300));
    let socket = sidecar.publish_socket();
    let waits = format!("listener_waits_total{{address={socket:?}}}");
    assert!(sidecar.metric(&waits).await > 0);
}

#[tokio::test]
async fn a_batch_or_a_broadcast_beyond_batch_max_is_refused_as_a_whole() {
    let few = "batch_max = 2";
    let sidecar = Sidecar::builder().section("publish", few).start().await;
    let publisher = sidecar.publisher();
    let requests = |many: usize| {
        let messages = (0..many).map(|n| json!({ "channel": "site", "data": n }));
        let broadcast = json!({ "channels": vec!["site"; many], "data": 1 });
        let broadcast = Request::new("broadcast", broadcast.to_string());
        [Request::batch(messages), broadcast]
    };
    for request in requests(3) {
        let reply = publisher.send(&publisher.sign(request)).await;
        let error = &reply.json()["error"];
        assert_eq!((reply.head.status, &error["code"]), (400, &json!(107)));
        let told = error["message"].as_str().unwrap_or_default();
        assert!(told.ends_with(": at most 2"), "{told}");
    }
    assert_eq!(sidecar.metric("broker_publications_total").await, 0);
    let refusals = "publish_refusals_total{reason=\"bad\"}";
    assert_eq!(sidecar.metric(refusals).await, 2);
    for request in requests(2) {
        publisher.call(request).await;
    }
    assert_eq!(sidecar.metric("broker_publications_total").await, 4);
}
