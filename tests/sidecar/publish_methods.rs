//! The methods beside publishing: what is kept, who is there, and who is to go.

use serde_json::{Value, json};

use crate::harness::{publisher::Request, sidecar::Sidecar};

async fn call(sidecar: &Sidecar, method: &str, body: Value) -> Value {
    let publisher = sidecar.publisher();
    let request = Request::new(method, body.to_string());
    publisher.send(&publisher.sign(request)).await.json()
}

#[tokio::test]
async fn history_is_read_page_by_page_and_forgotten_on_request() {
    let sidecar = Sidecar::start().await;
    let mut epoch = Value::Null;
    for n in 1..=5 {
        epoch = sidecar.publisher().publish("site", &json!(n)).await["epoch"].take();
    }
    let page = json!({
        "channel": "site", "limit": 2, "since": { "offset": 2, "epoch": epoch },
    });
    let reply = call(&sidecar, "history", page.clone()).await;
    assert_eq!(
        reply["result"],
        json!({
            "publications": [{ "data": 3, "offset": 3 }, { "data": 4, "offset": 4 }],
            "epoch": epoch, "offset": 5,
        })
    );
    let removed = call(&sidecar, "history_remove", json!({ "channel": "site" })).await;
    assert_eq!(removed, json!({ "result": {} }));
    let gone = call(&sidecar, "history", page).await;
    assert_eq!(gone["error"]["code"], 112, "{gone}");
    let unknown = call(&sidecar, "history", json!({ "channel": "nothing:1" })).await;
    assert_eq!(unknown["error"]["code"], 102, "{unknown}");
}

#[tokio::test]
async fn channels_are_those_that_someone_follows_and_fit_the_pattern() {
    let sidecar = Sidecar::start().await;
    let mut browser = sidecar.browser().await;
    browser.subscribe("site").await;
    browser.subscribe("post:26").await;
    let one = json!({ "num_clients": 1 });
    for (pattern, expected) in [
        ("", json!({ "site": one, "post:26": one })),
        ("post:*", json!({ "post:26": one })),
        ("edit:*", json!({})),
    ] {
        let reply = call(&sidecar, "channels", json!({ "pattern": pattern })).await;
        assert_eq!(reply["result"]["channels"], expected, "{pattern}");
    }
}

#[tokio::test]
async fn presence_of_a_namespace_without_it_is_not_available_alone_and_in_a_batch() {
    let sidecar = Sidecar::start().await;
    for method in ["presence", "presence_stats"] {
        let reply = call(&sidecar, method, json!({ "channel": "site" })).await;
        assert_eq!(reply["error"]["code"], 108, "{method} {reply}");
        let command = json!({ method: { "channel": "site" } });
        let reply = call(&sidecar, "batch", json!({ "commands": [command] })).await;
        assert_eq!(
            reply["replies"][0]["error"]["code"], 108,
            "{method} {reply}"
        );
    }
}
