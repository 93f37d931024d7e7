//! What one browser, one user or one recovery may cost: each limit is answered with its own code,
//! and counted by its key.

use serde_json::{Value, json};
use socket2::SockRef;

use crate::harness::{
    http::Client,
    publisher::Request,
    sidecar::Sidecar,
    token::{site, token},
    unix_now, until,
    websocket::{FIN, Socket, TEXT, frame, opening},
    within,
};

async fn limited(lines: &str) -> Sidecar {
    let builder = Sidecar::builder().section("realtime", lines);
    builder.site(site("")).start().await
}

/// How often the limit with that key was reached.
async fn reached(sidecar: &Sidecar, key: &str) -> u64 {
    let metric = format!("realtime_limits_total{{limit={key:?}}}");
    sidecar.metric(&metric).await
}

async fn closes(sidecar: &Sidecar, reason: &str) -> u64 {
    let metric = format!("realtime_closes_total{{reason={reason:?}}}");
    sidecar.metric(&metric).await
}

#[tokio::test]
async fn a_message_beyond_message_max_ends_the_connection() {
    let sidecar = limited("message_max = \"1KiB\"").await;
    let mut browser = sidecar.browser().await;
    let command = json!({ "id": 7, "ping": {} }).to_string();
    browser.say(&format!("{command:<1024}")).await;
    assert_eq!(browser.message().await["id"], 7, "as long as it may be");
    browser.send(frame(FIN | TEXT, &[b' '; 1_025])).await;
    let closed = browser.closed().await;
    assert_eq!((closed.code, &*closed.reason), (1009, "message too big"));
    assert_eq!(closes(&sidecar, "message_max").await, 1);
    assert_eq!(closes(&sidecar, "violation").await, 0);
}

#[tokio::test]
async fn a_connection_follows_no_more_channels_than_it_may() {
    let sidecar = limited("channels_per_connection_max = 2").await;
    let mut browser = sidecar.browser().await;
    browser.subscribe("post:1").await;
    browser.subscribe("post:2").await;
    let third = json!({ "id": 5, "subscribe": { "channel": "post:3" } });
    let reply = browser.ask(third.clone()).await;
    assert_eq!(reply["error"]["code"], 106, "{reply}");
    assert_eq!(reached(&sidecar, "channels_per_connection_max").await, 1);
    browser
        .ask(json!({ "id": 6, "unsubscribe": { "channel": "post:1" } }))
        .await;
    assert!(browser.ask(third).await["subscribe"].is_object());

    let page = "/realtime?channel=post:1&channel=post:2&channel=post:3";
    let refused = sidecar.upgrade("localhost", page, "").await.err().unwrap();
    assert_eq!(refused.head.status, 400);
    let refusals = "realtime_refusals_total{reason=\"channels_per_connection_max\"}";
    assert_eq!(sidecar.metric(refusals).await, 1);
}

#[tokio::test]
async fn subscriptions_that_were_refused_leave_no_later_one_without_its_end() {
    let sidecar = limited("channels_per_connection_max = 2").await;
    let mut browser = sidecar.bearer(json!({ "sub": "7" })).await;
    for post in 1..=2 {
        let channel = format!("edit:{post}");
        let token = token(json!({ "sub": "7", "channel": channel }));
        // Flag 2 asks for an error where the position is lost.
        let subscribe = json!({
            "channel": channel, "token": token, "recover": true, "offset": 9, "epoch": "x",
            "flag": 2,
        });
        let reply = browser
            .ask(json!({ "id": 2, "subscribe": subscribe }))
            .await;
        assert_eq!(reply["error"]["code"], 112, "{reply}");
    }
    // More ends than channels are not kept in mind: nothing may begin that would have none.
    let reply = browser.named("edit:3", "7", unix_now()).await;
    assert_eq!(reply["error"]["code"], 106, "{reply}");
    browser
        .ask(json!({ "id": 4, "unsubscribe": { "channel": "edit:1" } }))
        .await;
    let reply = browser.named("edit:3", "7", unix_now()).await;
    assert!(reply["subscribe"].is_object(), "{reply}");
}

#[tokio::test]
async fn a_user_has_no_more_connections_than_it_may_and_others_have_theirs() {
    let sidecar = limited("connections_per_user_max = 2").await;
    let first = sidecar.bearer(json!({ "sub": "7" })).await;
    let mut second = sidecar.bearer(json!({ "sub": "7" })).await;
    let mut third = sidecar.socket("/realtime").await;
    let connect = json!({ "id": 1, "connect": { "token": token(json!({ "sub": "7" })) } });
    third.say(&connect.to_string()).await;
    let closed = within("the close frame", third.closed()).await;
    assert_eq!((closed.code, &*closed.reason), (3504, "connection limit"));
    assert_eq!(closes(&sidecar, "connections_per_user_max").await, 1);
    second.quiet().await;
    sidecar.bearer(json!({ "sub": "8" })).await.quiet().await;
    sidecar.browser().await.quiet().await;
    drop(first);
    until("the place of the first", || async {
        let mut again = sidecar.socket("/realtime").await;
        again.say(&connect.to_string()).await;
        let frame = again.frame().await.unwrap().unwrap();
        (frame.opcode == TEXT).then_some(())
    })
    .await;
}

#[tokio::test]
async fn what_came_while_a_browser_was_away_is_recovered_up_to_what_that_may_cost() {
    let few = "recovery_messages_max = 3\nrecovery_bytes_max = \"1KiB\"";
    let sidecar = limited(few).await;
    let publisher = sidecar.publisher();
    for n in 1..=4 {
        publisher.publish("post:1", &json!(n)).await;
        publisher.publish("post:2", &json!("x".repeat(400))).await;
    }
    let mut browser = sidecar.browser().await;
    let mut recover = async |channel: &str, offset: u64| {
        let epoch = publisher.publish("post:9", &json!(0)).await["epoch"].take();
        let subscribe = json!({
            "channel": channel, "recover": true, "offset": offset, "epoch": epoch,
        });
        let reply = browser
            .ask(json!({ "id": 2, "subscribe": subscribe }))
            .await;
        browser
            .ask(json!({ "id": 3, "unsubscribe": { "channel": channel } }))
            .await;
        assert_eq!(reply["subscribe"]["was_recovering"], true, "{reply}");
        let publications = reply["subscribe"]["publications"]
            .as_array()
            .map_or(0, Vec::len);
        (reply["subscribe"]["recovered"] == true, publications)
    };
    assert_eq!(recover("post:1", 1).await, (true, 3));
    assert_eq!(recover("post:1", 0).await, (false, 0));
    assert_eq!(recover("post:2", 2).await, (true, 2));
    assert_eq!(recover("post:2", 1).await, (false, 0));
    assert_eq!(reached(&sidecar, "recovery_messages_max").await, 1);
    assert_eq!(reached(&sidecar, "recovery_bytes_max").await, 1);
    // A page of history is cut at the same place, and goes on with the next one.
    browser.subscribe("post:1").await;
    let history = json!({ "channel": "post:1", "limit": -1 });
    let reply = browser.ask(json!({ "id": 4, "history": history })).await;
    let publications = &reply["history"]["publications"];
    assert_eq!(publications.as_array().unwrap().len(), 3, "{reply}");
    assert_eq!(reply["history"]["offset"], 4, "{reply}");
    assert_eq!(reached(&sidecar, "recovery_messages_max").await, 2);
    // Who asks for no more than that is given a whole page.
    let history = json!({ "channel": "post:1", "limit": 3 });
    browser.ask(json!({ "id": 5, "history": history })).await;
    assert_eq!(reached(&sidecar, "recovery_messages_max").await, 2);
    for (channel, messages, bytes) in [("post:1", 3, 1), ("post:2", 3, 2)] {
        let body = json!({ "channel": channel, "limit": -1 });
        publisher
            .call(Request::new("history", body.to_string()))
            .await;
        assert_eq!(reached(&sidecar, "recovery_messages_max").await, messages);
        assert_eq!(reached(&sidecar, "recovery_bytes_max").await, bytes);
    }
}

#[tokio::test]
async fn more_messages_than_may_wait_make_a_browser_slow() {
    let few = "backlog_messages_max = 20";
    let builder = Sidecar::builder().section("realtime", few);
    let sidecar = builder.section("publish", "batch_max = 10").start().await;
    let stream = sidecar.tls("localhost", "http/1.1").await;
    let socket = SockRef::from(stream.get_ref().0);
    socket.set_recv_buffer_size(4_096).unwrap();
    let opening = opening(&sidecar.authority(), "/realtime", "");
    let mut sleeper = Socket::open(Client::new(stream), &opening)
        .await
        .ok()
        .unwrap();
    sleeper.connect().await;
    sleeper.subscribe("site").await;
    // The socket takes some; the rest is far less than `backlog_bytes_max`.
    let text = "x".repeat(30_000);
    let mut published = 0;
    while closes(&sidecar, "slow").await == 0 {
        published += 1;
        assert!(published < 120, "3.6 MB, and it is still connected");
        sidecar.publisher().publish("site", &json!(text)).await;
    }
    assert!(published > 20, "{published}");
}

#[tokio::test]
async fn a_channel_lists_and_announces_no_more_subscribers_than_it_may() {
    let room = "[[site.namespace]]\nname = \"room\"\nsubscribe = \"any_token\"\n\
                presence = true\njoin_leave = true\npresence_max = 2";
    let sidecar = Sidecar::builder().site(site(room)).start().await;
    let mut browsers = Vec::new();
    for user in ["1", "2", "3"] {
        let mut browser = sidecar.bearer(json!({ "sub": user })).await;
        browser.subscribe("room:1").await;
        browsers.push(browser);
    }
    let request = Request::new("presence_stats", json!({ "channel": "room:1" }).to_string());
    let reply = sidecar.publisher().call(request).await;
    assert_eq!(reply["result"], json!({ "num_clients": 2, "num_users": 2 }));
    assert_eq!(reached(&sidecar, "presence_max").await, 1);
    // Who is not listed hears and is heard of nothing less than others' publications.
    sidecar
        .publisher()
        .publish("room:1", &json!("for all"))
        .await;
    for browser in &mut browsers {
        assert_eq!(browser.publication().await["data"], "for all");
    }
}

#[tokio::test]
async fn a_revocation_beyond_revocations_max_is_refused_and_disconnects_nobody() {
    let sidecar = limited("revocations_max = 1").await;
    let mut seven = sidecar.bearer(json!({ "sub": "7" })).await;
    let publisher = sidecar.publisher();
    let disconnect = |user: &str| Request::new("disconnect", json!({ "user": user }).to_string());
    publisher.call(disconnect("8")).await;
    // Once more is no further one.
    publisher.call(disconnect("8")).await;
    let refused = publisher.send(&publisher.sign(disconnect("7"))).await;
    let code = &refused.json()["error"]["code"];
    assert_eq!((refused.head.status, code), (503, &json!(1014)));
    seven.quiet().await;
    let commands = json!({ "commands": [{ "disconnect": { "user": "7" } }] });
    let batch = publisher
        .call(Request::new("batch", commands.to_string()))
        .await;
    assert_eq!(batch["replies"][0]["error"]["code"], 1014, "{batch}");
    assert_eq!(reached(&sidecar, "revocations_max").await, 2);
    assert_eq!(sidecar.metric("realtime_revocations").await, 1);
    // A single client revokes nothing, so it needs no room.
    let status: Value = sidecar.admin("GET", "/status").await.json();
    assert_eq!(status["sites"][0]["users"], 1, "{status}");
}

#[tokio::test]
async fn history_beyond_its_bytes_makes_room_and_is_counted() {
    let few = "history_bytes_max = \"1MiB\"\nchannels_max = 2";
    let sidecar = Sidecar::builder().section("broker", few).start().await;
    let publisher = sidecar.publisher();
    let text = json!("x".repeat(60_000));
    for _ in 0..20 {
        publisher.publish("site", &text).await;
    }
    let bytes = sidecar.metric("broker_history_bytes").await;
    assert!((900_000..=1 << 20).contains(&bytes), "{bytes}");
    let dropped = sidecar.metric("broker_history_dropped_total").await;
    assert!((2..=5).contains(&dropped), "{dropped}");
    for post in 1..=3 {
        publisher.publish(&format!("post:{post}"), &json!(1)).await;
    }
    assert_eq!(sidecar.metric("broker_evictions_total").await, 2);
    assert_eq!(sidecar.metric("broker_channels").await, 2);
}
