//! The methods that change somebody's connections: disconnect, unsubscribe, subscribe, refresh.

use serde_json::{Value, json};

use crate::harness::{
    publisher::Request,
    sidecar::Sidecar,
    token::{later, site},
    unix_now,
    websocket::Socket,
    within,
};

const SESSION: &str = "0123456789abcdef";

async fn start() -> Sidecar {
    Sidecar::builder().site(site("")).start().await
}

/// Calls `method`, which must succeed and answers nothing more.
async fn call(sidecar: &Sidecar, method: &str, body: Value) {
    let request = Request::new(method, body.to_string());
    let reply = sidecar.publisher().call(request).await;
    assert_eq!(reply, json!({ "result": {} }), "{method}");
}

async fn assert_closed(socket: &mut Socket, code: u16, reason: &str) {
    let closed = within("the close frame", socket.closed()).await;
    assert_eq!((closed.code, &*closed.reason), (code, reason));
}

/// What connecting with `claims` is answered.
async fn connecting(sidecar: &Sidecar, claims: Value) -> Value {
    let mut socket = sidecar.socket("/realtime").await;
    socket.present(claims).await
}

#[tokio::test]
async fn a_disconnected_user_is_gone_everywhere_and_comes_back_with_a_newer_token_alone() {
    let sidecar = start().await;
    let issued = unix_now();
    let user = |id: &str, iat: u64| json!({ "sub": id, "iat": iat });
    let mut first = sidecar.bearer(user("7", issued)).await;
    let mut second = sidecar.bearer(user("7", issued)).await;
    let mut other = sidecar.bearer(user("8", issued)).await;
    call(&sidecar, "disconnect", json!({ "user": "7" })).await;
    assert_closed(&mut first, 3503, "force disconnect").await;
    assert_closed(&mut second, 3503, "force disconnect").await;
    other.quiet().await;
    let refused = connecting(&sidecar, user("7", issued)).await;
    assert_eq!(refused["error"]["code"], 109, "{refused}");
    assert!(connecting(&sidecar, user("8", issued)).await["connect"].is_object());
    let newer = connecting(&sidecar, user("7", later())).await;
    assert!(newer["connect"].is_object(), "{newer}");
    let status = sidecar.admin("GET", "/status").await.json();
    assert_eq!(status["sites"][0]["revocations"], 1, "{status}");
    assert_eq!(sidecar.metric("realtime_revocations").await, 1);
}

#[tokio::test]
async fn a_disconnect_of_one_client_ends_it_alone_and_revokes_nothing() {
    let sidecar = start().await;
    let claims = json!({ "sub": "7", "iat": unix_now() });
    let mut first = sidecar.socket("/realtime").await;
    let reply = first.present(claims.clone()).await;
    let mut second = sidecar.bearer(claims.clone()).await;
    let how = json!({ "code": 4_001, "reason": "try elsewhere" });
    let body = json!({ "client": reply["connect"]["client"], "disconnect": how });
    call(&sidecar, "disconnect", body).await;
    assert_closed(&mut first, 4_001, "try elsewhere").await;
    second.quiet().await;
    let again = connecting(&sidecar, claims).await;
    assert!(again["connect"].is_object(), "{again}");
}

#[tokio::test]
async fn a_disconnected_session_never_comes_back_and_the_users_others_stay() {
    let sidecar = start().await;
    let of = |sid: &str, iat: u64| json!({ "sub": "7", "sid": sid, "iat": iat });
    let mut ended = sidecar.bearer(of(SESSION, unix_now())).await;
    let mut other = sidecar.bearer(of("fedcba9876543210", unix_now())).await;
    call(&sidecar, "disconnect", json!({ "sid": SESSION })).await;
    assert_closed(&mut ended, 3503, "force disconnect").await;
    other.quiet().await;
    let newer = connecting(&sidecar, of(SESSION, later())).await;
    assert_eq!(newer["error"]["code"], 109, "{newer}");
}

#[tokio::test]
async fn an_unsubscribed_user_hears_no_more_of_the_channel_until_a_newer_token_names_it() {
    let sidecar = start().await;
    let issued = unix_now();
    let mut seven = sidecar.bearer(json!({ "sub": "7" })).await;
    let mut eight = sidecar.bearer(json!({ "sub": "8" })).await;
    for (browser, user) in [(&mut seven, "7"), (&mut eight, "8")] {
        let reply = browser.named("edit:26", user, issued).await;
        assert!(reply["subscribe"].is_object(), "{reply}");
    }
    seven.subscribe("site").await;
    call(
        &sidecar,
        "unsubscribe",
        json!({ "user": "7", "channel": "edit:26" }),
    )
    .await;
    let publisher = sidecar.publisher();
    publisher.publish("edit:26", &json!("secret")).await;
    publisher.publish("site", &json!("public")).await;
    let ended = json!({ "code": 2000, "reason": "server unsubscribe" });
    let push = json!({ "push": { "channel": "edit:26", "unsubscribe": ended } });
    assert_eq!(seven.message().await, push);
    assert_eq!(seven.publication().await["data"], "public");
    assert_eq!(eight.publication().await["data"], "secret");
    let refused = seven.named("edit:26", "7", issued).await;
    assert_eq!(refused["error"]["code"], 103, "{refused}");
    let newer = seven.named("edit:26", "7", later()).await;
    assert!(newer["subscribe"].is_object(), "{newer}");
}

#[tokio::test]
async fn a_channel_that_nobody_is_named_for_is_unsubscribed_by_everybody() {
    let sidecar = start().await;
    let issued = unix_now();
    let mut browsers = Vec::new();
    for user in ["7", "8"] {
        let mut browser = sidecar.bearer(json!({ "sub": user })).await;
        assert!(browser.named("edit:26", user, issued).await["subscribe"].is_object());
        assert!(browser.named("edit:27", user, issued).await["subscribe"].is_object());
        browsers.push((browser, user));
    }
    call(&sidecar, "unsubscribe", json!({ "channel": "edit:26" })).await;
    sidecar
        .publisher()
        .publish("edit:26", &json!("secret"))
        .await;
    sidecar
        .publisher()
        .publish("edit:27", &json!("known"))
        .await;
    for (browser, user) in &mut browsers {
        let push = browser.message().await;
        assert_eq!(push["push"]["channel"], "edit:26", "{push}");
        assert_eq!(push["push"]["unsubscribe"]["code"], 2000, "{push}");
        assert_eq!(browser.publication().await["data"], "known");
        let refused = browser.named("edit:26", user, issued).await;
        assert_eq!(refused["error"]["code"], 103, "{refused}");
        let newer = browser.named("edit:26", user, later()).await;
        assert!(newer["subscribe"].is_object(), "{newer}");
    }
}

#[tokio::test]
async fn a_user_is_subscribed_to_a_channel_that_its_own_token_does_not_name() {
    let sidecar = start().await;
    let mut browser = sidecar.bearer(json!({ "sub": "7" })).await;
    let mut other = sidecar.bearer(json!({ "sub": "8" })).await;
    call(
        &sidecar,
        "subscribe",
        json!({ "user": "7", "channel": "edit:26" }),
    )
    .await;
    let push = within("the push", browser.message()).await;
    assert_eq!(push["push"]["channel"], "edit:26", "{push}");
    assert!(push["push"]["subscribe"]["epoch"].is_string(), "{push}");
    sidecar.publisher().publish("edit:26", &json!(1)).await;
    assert_eq!(browser.publication().await["data"], 1);
    other.quiet().await;
}

#[tokio::test]
async fn a_refresh_tells_when_the_connection_ends_and_ends_it_then() {
    let sidecar = start().await;
    let mut browser = sidecar.bearer(json!({ "sub": "7" })).await;
    let whom = |rest: Value| {
        let mut body = json!({ "user": "7" });
        body.as_object_mut()
            .unwrap()
            .extend(rest.as_object().unwrap().clone());
        body
    };
    let at = unix_now() + 600;
    call(&sidecar, "refresh", whom(json!({ "expire_at": at }))).await;
    let push = within("the push", browser.message()).await;
    let refresh = &push["push"]["refresh"];
    assert_eq!(refresh["expires"], true, "{push}");
    let ttl = refresh["ttl"].as_u64().unwrap();
    assert!((580..=600).contains(&ttl), "{push}");
    call(&sidecar, "refresh", whom(json!({}))).await;
    assert_eq!(
        browser.message().await,
        json!({ "push": { "refresh": {} } })
    );
    // Longer ago than the 25 seconds that a client has to bring another token.
    let over = json!({ "expire_at": unix_now() - 30 });
    call(&sidecar, "refresh", whom(over)).await;
    let push = within("the push", browser.message()).await;
    assert_eq!(push["push"]["refresh"]["ttl"], 0, "{push}");
    assert_closed(&mut browser, 3005, "connection expired").await;

    let mut browser = sidecar.bearer(json!({ "sub": "7" })).await;
    let mut other = sidecar.bearer(json!({ "sub": "8" })).await;
    call(&sidecar, "refresh", whom(json!({ "expired": true }))).await;
    assert_closed(&mut browser, 3005, "connection expired").await;
    other.quiet().await;
}
