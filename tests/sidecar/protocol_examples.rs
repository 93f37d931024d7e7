//! The examples of docs/PROTOCOL.md, asked of a running sidecar: it answers as the document says.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may stop at the first surprise"
)]

use std::{collections::BTreeSet, fs};

use serde_json::{Value, json};
use sidewire::config::METHODS;

use crate::harness::{
    document::{self, examples},
    publisher::Request,
    sidecar::Sidecar,
    token::{site, token},
    unix_now,
    websocket::Socket,
};

const ROOM: &str = "[[site.namespace]]\nname = \"room\"\nsubscribe = \"any_token\"\n\
                    publish = \"any_token\"\npresence = true\njoin_leave = true";

fn section(title: &str) -> String {
    let document = fs::read_to_string("docs/PROTOCOL.md").unwrap();
    document::section(&document, title)
}

/// `value` with one word in place of what differs from run to run.
fn comparable(value: &Value) -> Value {
    match value {
        Value::String(text) => {
            let hex = text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
            match (hex, text.len()) {
                (true, 36) => "CLIENT".into(),
                (true, 16) => "EPOCH".into(),
                _ => value.clone(),
            }
        }
        Value::Array(list) => list.iter().map(comparable).collect(),
        Value::Object(object) => {
            let members = object.iter().map(|(key, value)| match key.as_str() {
                "version" => (key.clone(), "VERSION".into()),
                "ttl" => (key.clone(), "SECONDS".into()),
                _ => (
                    comparable(&key.as_str().into()).as_str().unwrap().into(),
                    comparable(value),
                ),
            });
            Value::Object(members.collect())
        }
        other => other.clone(),
    }
}

/// `command` with a token that holds now, and the epoch of the site.
fn current(command: &Value, epoch: &Value) -> Value {
    let mut claims = json!({ "sub": "7" });
    let body = command
        .as_object()
        .unwrap()
        .iter()
        .find(|(key, _)| *key != "id");
    match body.unwrap().1.get("channel") {
        Some(channel) => claims["channel"] = channel.clone(),
        None => claims["info"] = json!({ "name": "Ada" }),
    }
    let text = command.to_string().replace("TOKEN", &token(claims));
    let text = text.replace("EPOCH", epoch.as_str().unwrap());
    serde_json::from_str(&text).unwrap()
}

async fn reply(browser: &mut Socket, id: &Value, pushes: &mut Vec<Value>) -> Value {
    loop {
        let message = browser.message().await;
        if message["id"] == *id {
            return message;
        }
        pushes.push(comparable(&message));
    }
}

#[tokio::test]
async fn every_command_of_the_document_is_answered_as_it_says() {
    let sidecar = Sidecar::builder().site(site(ROOM)).start().await;
    let publisher = sidecar.publisher();
    let mut epoch = publisher.publish("post:26", &json!(1)).await;
    let price = json!({ "channel": "post:26", "data": { "price": "9.90" }, "key": "26:price" });
    publisher
        .call(Request::new("publish", price.to_string()))
        .await;
    let epoch = epoch["epoch"].take();
    let mut browser = sidecar.socket("/realtime").await;
    let mut pushes = Vec::new();
    let conversation = examples(&section("Commands and replies"));
    assert!(conversation.len() > 12);
    for exchange in &conversation {
        let [command, told] = exchange.as_slice() else {
            panic!("a command and its reply: {exchange:?}");
        };
        browser.say(&current(command, &epoch).to_string()).await;
        let reply = reply(&mut browser, &command["id"], &mut pushes).await;
        assert_eq!(comparable(&reply), comparable(told), "{command}");
    }
    // What happened meanwhile is told as the pushes are.
    let told: Vec<_> = examples(&section("Pushes")).concat();
    let told: Vec<_> = told.iter().map(comparable).collect();
    assert_eq!(pushes.len(), 2, "{pushes:?}");
    for push in &mut pushes {
        if push["push"].get("pub").is_some() {
            // Who publishes brought information of its own here.
            let info = push["push"]["pub"]["info"].as_object_mut().unwrap();
            info.remove("conn_info");
        }
        assert!(told.contains(push), "{push}");
    }
}

#[tokio::test]
async fn every_push_of_the_document_comes_as_it_says() {
    let sidecar = Sidecar::builder().site(site(ROOM)).start().await;
    let publisher = sidecar.publisher();
    let call = async |method: &str, body: Value| {
        publisher.call(Request::new(method, body.to_string())).await;
    };
    let mut watcher = sidecar.bearer(json!({ "sub": "1" })).await;
    watcher.subscribe("post:26").await;
    let subscribe = json!({ "channel": "room:1", "join_leave": true });
    watcher
        .say(&json!({ "id": 3, "subscribe": subscribe }).to_string())
        .await;
    let ada = json!({ "sub": "7", "info": { "name": "Ada" } });
    let mut guest = sidecar.bearer(ada).await;
    guest.subscribe("room:1").await;
    guest
        .ask(json!({ "id": 4, "unsubscribe": { "channel": "room:1" } }))
        .await;
    let mut nameless = sidecar.bearer(json!({ "sub": "7" })).await;
    let hello = json!({ "channel": "room:1", "data": "hello" });
    nameless.ask(json!({ "id": 5, "publish": hello })).await;
    publisher.publish("post:26", &json!(1)).await;
    let price = json!({ "channel": "post:26", "data": { "price": "9.90" }, "key": "26:price" });
    call("publish", price).await;
    let one = json!({ "user": "1", "channel": "edit:26" });
    call("subscribe", one.clone()).await;
    let mut pushes = BTreeSet::new();
    let told = examples(&section("Pushes")).concat();
    let told: BTreeSet<String> = told
        .iter()
        .map(|push| comparable(push).to_string())
        .collect();
    assert_eq!(told.len(), 7);
    while !pushes
        .iter()
        .any(|push: &String| push.contains("\"subscribe\""))
    {
        pushes.insert(comparable(&watcher.message().await).to_string());
    }
    call("unsubscribe", one).await;
    call(
        "refresh",
        json!({ "user": "1", "expire_at": unix_now() + 600 }),
    )
    .await;
    while !pushes.iter().any(|push| push.contains("\"refresh\"")) {
        pushes.insert(comparable(&watcher.message().await).to_string());
    }
    let missing: Vec<_> = told.difference(&pushes).collect();
    assert!(missing.is_empty(), "not among {pushes:#?}: {missing:#?}");
}

#[tokio::test]
async fn every_method_of_the_document_is_answered_as_it_says() {
    let sidecar = Sidecar::builder().site(site(ROOM)).start().await;
    let mut ada = sidecar
        .bearer(json!({ "sub": "7", "info": { "name": "Ada" } }))
        .await;
    ada.subscribe("room:1").await;
    for method in METHODS {
        let examples = examples(&section(&format!("`{method}`")));
        let [example] = examples.as_slice() else {
            panic!("{method}: one example");
        };
        let [body, told] = example.as_slice() else {
            panic!("{method}: a body and its reply");
        };
        let request = Request::new(method, body.to_string());
        let reply = sidecar.publisher().call(request).await;
        assert_eq!(comparable(&reply), comparable(told), "{method}");
    }
}
