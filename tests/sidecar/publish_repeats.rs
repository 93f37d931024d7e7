//! A publish request that comes again: it publishes once, and hears the first reply.

use serde_json::json;
use tokio::task::JoinSet;

use crate::harness::{publisher::Request, sidecar::Sidecar, token::site, unix_now, until, within};

#[tokio::test]
async fn a_full_store_of_ids_refuses_what_is_new_and_knows_what_is_old() {
    let sidecar = Sidecar::builder()
        .section("publish", "ids_max = 1")
        .start()
        .await;
    let publisher = sidecar.publisher();
    let first = publisher.sign(Request::publish("site", &json!(1)));
    assert_eq!(publisher.send(&first).await.head.status, 200);
    let second = publisher
        .send(&publisher.sign(Request::publish("site", &json!(2))))
        .await;
    assert_eq!(
        (second.head.status, &second.json()["error"]["code"]),
        (503, &json!(1007))
    );
    assert_eq!(publisher.send(&first).await.head.status, 200);
    assert_eq!(
        sidecar
            .metric("publish_refusals_total{reason=\"ids_full\"}")
            .await,
        1
    );
}

#[tokio::test]
async fn a_full_store_of_ids_neither_puts_a_revocation_off_nor_a_question() {
    let sidecar = Sidecar::builder()
        .site(site(""))
        .section("publish", "ids_max = 1")
        .start()
        .await;
    let publisher = sidecar.publisher();
    publisher.publish("site", &json!(1)).await;
    let mut browser = sidecar.bearer(json!({ "sub": "7" })).await;
    let body = json!({ "user": "7" }).to_string();
    publisher.call(Request::new("disconnect", body)).await;
    assert_eq!(within("the close frame", browser.closed()).await.code, 3503);
    let body = json!({ "channel": "edit:26" }).to_string();
    publisher.call(Request::new("unsubscribe", body)).await;
    let body = json!({ "channel": "site", "limit": 1 }).to_string();
    let reply = publisher.call(Request::new("history", body)).await;
    assert_eq!(reply["result"]["publications"][0]["data"], 1);
}

#[tokio::test]
async fn a_question_that_comes_again_is_answered_anew() {
    let sidecar = Sidecar::start().await;
    let publisher = sidecar.publisher();
    let body = json!({ "channel": "site" }).to_string();
    let request = publisher.sign(Request::new("history", body));
    for offset in 0..2 {
        let reply = publisher.send(&request).await.json();
        assert_eq!(reply["result"]["offset"], offset, "{reply}");
        publisher.publish("site", &json!(1)).await;
    }
}

#[tokio::test]
async fn a_repeat_gets_the_first_reply_and_publishes_nothing() {
    let sidecar = Sidecar::start().await;
    let publisher = sidecar.publisher();
    let mut browser = sidecar.browser().await;
    browser.subscribe("site").await;
    let request = publisher.sign(Request::publish("site", &json!("once")));
    let first = publisher.send(&request).await;
    publisher.publish("site", &json!("between")).await;
    let again = publisher.send(&request).await;
    assert_eq!((again.head.status, again.text()), (200, first.text()));
    publisher.publish("site", &json!("after")).await;
    for data in ["once", "between", "after"] {
        assert_eq!(browser.publication().await["data"], data);
    }
    assert_eq!(sidecar.metric("publish_repeats_total").await, 1);
    assert_eq!(sidecar.metric("broker_publications_total").await, 3);
}

#[tokio::test]
async fn eight_repeats_at_once_publish_once_and_hear_the_same() {
    let sidecar = Sidecar::start().await;
    let messages = (0..200).map(|n| json!({ "channel": "site", "data": n }));
    let publisher = sidecar.publisher();
    let request = publisher.sign(Request::batch(messages));
    let mut connections = Vec::new();
    for _ in 0..8 {
        connections.push(publisher.connect().await);
    }
    let mut asking = JoinSet::new();
    for mut connection in connections {
        let bytes = request.bytes();
        asking.spawn(async move { connection.exchange(bytes).await });
    }
    let replies = asking.join_all().await;
    for reply in &replies {
        assert_eq!((reply.head.status, reply.text()), (200, replies[0].text()));
    }
    assert_eq!(sidecar.metric("broker_publications_total").await, 200);
    assert_eq!(sidecar.metric("publish_repeats_total").await, 7);
}

#[tokio::test]
async fn an_id_that_is_used_with_another_body_is_refused() {
    let sidecar = Sidecar::start().await;
    let publisher = sidecar.publisher();
    let first = Request::publish("site", &json!(1));
    let second = Request {
        id: first.id.clone(),
        ..Request::publish("site", &json!(2))
    };
    publisher.call(first).await;
    let reply = publisher.send(&publisher.sign(second)).await;
    assert_eq!(
        (reply.head.status, &reply.json()["error"]["code"]),
        (409, &json!(1004))
    );
    assert_eq!(
        sidecar
            .metric("publish_refusals_total{reason=\"id_reused\"}")
            .await,
        1
    );
    assert_eq!(sidecar.metric("broker_publications_total").await, 1);
}

#[tokio::test]
async fn a_repeat_is_known_as_long_as_its_timestamp_passes_though_its_id_failed_before() {
    let window = "timestamp_window = \"1s\"";
    let sidecar = Sidecar::builder().section("publish", window).start().await;
    let publisher = sidecar.publisher();
    let start = until("the second after the start", || async {
        let probe = publisher.sign(Request {
            timestamp: unix_now(),
            ..Request::new("info", "{}")
        });
        let ready = publisher.send(&probe).await.head.status == 200;
        ready.then(unix_now)
    })
    .await;
    let second = |second: u64| {
        until("a second of the clock", move || async move {
            (unix_now() == second).then_some(())
        })
    };
    second(start + 1).await;
    let mut request = Request::new("publish", "nonsense");
    request.timestamp = start + 1;
    let faulty = publisher.send(&publisher.sign(request.clone())).await;
    assert_eq!(faulty.head.status, 400, "{}", faulty.text());
    request.timestamp = start + 2;
    request.body = Request::publish("site", &json!(1)).body;
    let good = publisher.sign(request);
    assert_eq!(publisher.send(&good).await.json()["result"]["offset"], 1);
    second(start + 3).await;
    let again = publisher.send(&good).await;
    assert_eq!(
        again.json()["result"]["offset"],
        1,
        "published a second time"
    );
}
