//! What a namespace makes of its channels: presence, the newest value, only the newest that waits,
//! and what a token or the publisher says beside it.
#![expect(
    clippy::indexing_slicing,
    reason = "a test may stop at the first surprise"
)]

use std::collections::BTreeMap;

use serde_json::{Value, json};
use socket2::SockRef;

use crate::harness::{
    http::Client,
    program::Running,
    publisher::Request,
    sidecar::Sidecar,
    token::site,
    websocket::{Socket, opening},
    within,
};

const ROOM: &str = "[[site.namespace]]\nname = \"room\"\nsubscribe = \"any_token\"\n\
                    presence = true\njoin_leave = true\nleave_grace = \"1s\"";

async fn start(tables: &str) -> Sidecar {
    Sidecar::builder().site(site(tables)).start().await
}

async fn call(sidecar: &Sidecar, method: &str, body: Value) -> Value {
    let request = Request::new(method, body.to_string());
    sidecar.publisher().call(request).await["result"].take()
}

/// Has `browser` follow `channel` and hear who comes and goes.
async fn enter(browser: &mut Socket, channel: &str) {
    let subscribe = json!({ "channel": channel, "join_leave": true });
    let reply = browser
        .ask(json!({ "id": 2, "subscribe": subscribe }))
        .await;
    assert!(reply["subscribe"].is_object(), "{reply}");
}

#[tokio::test]
async fn presence_tells_the_publisher_who_is_there() {
    let sidecar = start(ROOM).await;
    let mut members = BTreeMap::new();
    let mut browsers = Vec::new();
    for (user, name) in [("7", "Ada"), ("7", "Ada"), ("8", "Bob")] {
        let mut browser = sidecar.socket("/realtime").await;
        let claims = json!({ "sub": user, "info": { "name": name } });
        let reply = browser.present(claims).await;
        enter(&mut browser, "room:1").await;
        let client = reply["connect"]["client"].as_str().unwrap().to_owned();
        let member = json!({ "user": user, "client": client, "conn_info": { "name": name } });
        members.insert(client, member);
        browsers.push(browser);
    }
    let channel = json!({ "channel": "room:1" });
    let result = call(&sidecar, "presence", channel.clone()).await;
    assert_eq!(result, json!({ "presence": members }));
    let stats = call(&sidecar, "presence_stats", channel.clone()).await;
    assert_eq!(stats, json!({ "num_clients": 3, "num_users": 2 }));
    assert_eq!(sidecar.metric("realtime_presence").await, 3);
    let nobody = call(&sidecar, "presence", json!({ "channel": "room:2" })).await;
    assert_eq!(nobody, json!({ "presence": {} }));
    let command = json!({ "commands": [{ "presence_stats": channel }] });
    let batch = Request::new("batch", command.to_string());
    let replies = &sidecar.publisher().call(batch).await["replies"];
    assert_eq!(replies[0]["presence_stats"]["num_users"], 2, "{replies}");
}

#[tokio::test]
async fn who_comes_and_goes_is_told_and_a_page_that_reloads_is_not() {
    let sidecar = start(ROOM).await;
    let mut watcher = sidecar.bearer(json!({ "sub": "1" })).await;
    enter(&mut watcher, "room:1").await;
    let own = watcher.message().await;
    assert_eq!(own["push"]["join"]["info"]["user"], "1", "{own}");
    let mut guest = sidecar.bearer(json!({ "sub": "7" })).await;
    enter(&mut guest, "room:1").await;
    let join = within("the join", watcher.message()).await;
    assert_eq!(join["push"]["join"]["info"]["user"], "7", "{join}");
    // Reloaded: the connection breaks off and another one comes.
    drop(guest);
    let mut guest = sidecar.bearer(json!({ "sub": "7" })).await;
    enter(&mut guest, "room:1").await;
    guest
        .ask(json!({ "id": 3, "unsubscribe": { "channel": "room:1" } }))
        .await;
    let leave = within("the leave", watcher.message()).await;
    assert_eq!(leave["push"]["leave"]["info"]["user"], "7", "{leave}");
    // Who does not come back has left once the grace period is over.
    enter(&mut guest, "room:1").await;
    let join = within("the join", watcher.message()).await;
    assert!(join["push"]["join"].is_object(), "{join}");
    drop(guest);
    let leave = within("the leave", watcher.message()).await;
    assert_eq!(leave["push"]["leave"]["info"]["user"], "7", "{leave}");
}

#[tokio::test]
async fn a_cache_gives_the_newest_value_with_every_subscription() {
    let cache = "[[site.namespace]]\nname = \"price\"\nsubscribe = \"anyone\"\n\
                 recovery = \"cache\"\nhistory_size = 1";
    let sidecar = start(cache).await;
    let mut early = sidecar.browser().await;
    let reply = early.subscribe("price:26").await;
    assert_eq!(reply.get("publications"), None, "nothing yet: {reply}");
    for price in [1, 2, 3] {
        sidecar.publisher().publish("price:26", &json!(price)).await;
        assert_eq!(early.publication().await["data"], price);
    }
    let newest = json!([{ "data": 3, "offset": 3 }]);
    let mut browser = sidecar.browser().await;
    let reply = browser.subscribe("price:26").await;
    assert_eq!(reply["publications"], newest);
    assert_eq!(
        reply.get("recovered"),
        None,
        "it was not asked for: {reply}"
    );
    // One that comes back gets the newest, however much it has missed.
    let subscribe = json!({
        "channel": "price:26", "recover": true, "offset": 1, "epoch": reply["epoch"],
    });
    let mut back = sidecar.browser().await;
    let reply = back.ask(json!({ "id": 2, "subscribe": subscribe })).await;
    let reply = &reply["subscribe"];
    assert_eq!(reply["publications"], newest);
    assert_eq!(
        (&reply["recovered"], &reply["offset"]),
        (&json!(true), &json!(3))
    );
    sidecar.publisher().publish("price:26", &json!(4)).await;
    for browser in [&mut early, &mut browser, &mut back] {
        assert_eq!(
            browser.publication().await,
            json!({ "data": 4, "offset": 4 })
        );
    }
}

#[tokio::test]
async fn for_a_browser_that_can_not_keep_up_only_the_newest_of_each_key_waits() {
    const MESSAGES: u64 = 300;
    let conflate = "[[site.namespace]]\nname = \"stock\"\nsubscribe = \"anyone\"\n\
                    backlog = \"conflate\"";
    let sidecar = start(conflate).await;
    let stream = sidecar.tls("localhost", "http/1.1").await;
    let socket = SockRef::from(stream.get_ref().0);
    socket.set_recv_buffer_size(4_096).unwrap();
    let opening = opening(&sidecar.authority(), "/realtime", "");
    let mut sleeper = Socket::open(Client::new(stream), &opening)
        .await
        .ok()
        .unwrap();
    sleeper.connect().await;
    sleeper.subscribe("stock:1").await;
    // Far more than the backlog holds.
    let text = "x".repeat(60_000);
    let publisher = sidecar.publisher();
    for n in 1..=MESSAGES {
        let key = if n % 2 == 0 { "even" } else { "odd" };
        let body = json!({ "channel": "stock:1", "data": { "n": n, "text": text }, "key": key });
        publisher
            .call(Request::new("publish", body.to_string()))
            .await;
    }
    let slow = "realtime_closes_total{reason=\"slow\"}";
    assert_eq!(sidecar.metric(slow).await, 0);
    let mut newest = BTreeMap::new();
    let (mut before, mut seen) = (0, 0);
    while before < MESSAGES {
        let publication = sleeper.publication().await;
        let offset = publication["offset"].as_u64().unwrap();
        assert!(offset > before, "{offset} after {before}");
        let tags = &publication["tags"];
        let conflated = tags["conflated"] == "true";
        assert!(
            offset == before + 1 || conflated || offset == MESSAGES,
            "{offset}: {tags}"
        );
        newest.insert(tags["key"].to_string(), publication["data"]["n"].as_u64());
        (before, seen) = (offset, seen + 1);
    }
    assert!(seen < MESSAGES, "some were left out");
    let last = BTreeMap::from([
        ("\"even\"".to_owned(), Some(MESSAGES)),
        ("\"odd\"".to_owned(), Some(MESSAGES - 1)),
    ]);
    assert_eq!(newest, last);
    publisher.publish("stock:1", &json!("after")).await;
    assert_eq!(sleeper.publication().await["data"], "after");
}

#[tokio::test]
async fn a_token_subscribes_its_bearer_to_what_it_names() {
    let sidecar = start("").await;
    let position = sidecar
        .publisher()
        .publish("edit:26", &json!("missed"))
        .await;
    let subs = json!({ "edit:26": { "data": { "theme": "dark" } }, "nothing:1": {} });
    let claims = json!({ "sub": "7", "channels": ["site"], "subs": subs });
    let connect = json!({
        "token": crate::harness::token::token(claims),
        "subs": { "edit:26": { "recover": true, "offset": 0, "epoch": position["epoch"] } },
    });
    let mut browser = sidecar.socket("/realtime").await;
    let reply = browser.ask(json!({ "id": 1, "connect": connect })).await;
    let subs = reply["connect"]["subs"].as_object().unwrap();
    let names: Vec<_> = subs.keys().map(String::as_str).collect();
    assert_eq!(names, ["edit:26", "site"], "an unknown channel is left out");
    let edit = &subs["edit:26"];
    assert_eq!(edit["recovered"], true, "{edit}");
    assert_eq!(
        edit["publications"],
        json!([{ "data": "missed", "offset": 1 }])
    );
    assert_eq!(edit["data"], json!({ "theme": "dark" }));
    for channel in ["site", "edit:26"] {
        sidecar.publisher().publish(channel, &json!(channel)).await;
        assert_eq!(browser.publication().await["data"], channel);
    }
    let again = json!({ "id": 2, "subscribe": { "channel": "site" } });
    assert_eq!(browser.ask(again).await["error"]["code"], 105);
}

#[tokio::test]
async fn what_skips_history_reaches_whoever_listens_and_nobody_later() {
    let sidecar = start("").await;
    let mut browser = sidecar.browser().await;
    let subscribed = browser.subscribe("site").await;
    let file = sidecar.config_file();
    let config = ["--config", file.to_str().unwrap()];
    let command = ["publish", "site", "\"now\"", "--skip-history"];
    let finished = Running::start(&[&command[..], &config].concat(), "")
        .finished()
        .await;
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert_eq!(
        finished.stdout,
        "site: sent to whoever follows it now, kept for nobody\n"
    );
    assert_eq!(
        browser.publication().await,
        json!({ "data": "now" }),
        "no offset"
    );
    sidecar.publisher().publish("site", &json!("kept")).await;
    assert_eq!(
        browser.publication().await,
        json!({ "data": "kept", "offset": 1 })
    );
    let subscribe = json!({
        "channel": "site", "recover": true, "offset": 0, "epoch": subscribed["epoch"],
    });
    let mut back = sidecar.browser().await;
    let reply = back.ask(json!({ "id": 2, "subscribe": subscribe })).await;
    let reply = &reply["subscribe"];
    assert_eq!(reply["recovered"], true, "{reply}");
    assert_eq!(
        reply["publications"],
        json!([{ "data": "kept", "offset": 1 }])
    );
    back.quiet().await;
}
