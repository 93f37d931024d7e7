//! What may still leave once a channel was revoked: nothing that tells of it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::{task::yield_now, time::advance};

use super::{
    Metrics,
    api::unsubscribe,
    backlog::Limits,
    client::Client,
    hub::{Control, Hub, Origin, Subscription},
    test_hub,
    users::Target,
};
use crate::{
    auth::token,
    broker::{Draft, SiteId},
};

const SECRET: &[u8] = b"the secret of a site of tests, xx";
const CONFIG: &str = "
[[listener]]
address = '127.0.0.1:0'
tls = false
[realtime]
shards = 1
[[site]]
name = 'a'
hosts = ['a']
[site.upstream]
address = 'unix:/a'
[site.tokens]
life_max = '1h'
[[site.namespace]]
name = 'room'
subscribe = 'any_token'
presence = true
join_leave = true
history_size = 6
history_ttl = '1h'
";
const SITE: SiteId = SiteId(0);
const ROOM: &str = "room:1";

struct World {
    hub: Arc<Hub>,
    metrics: Metrics,
    next_id: u32,
}

fn world() -> World {
    let (hub, _, metrics) = test_hub::start(CONFIG, SECRET);
    World {
        hub,
        metrics,
        next_id: 0,
    }
}

/// Lets the shard do all that there is to do.
async fn settle() {
    for _ in 0..50 {
        yield_now().await;
    }
}

fn seven() -> Target {
    Target {
        user: Some("7".into()),
        ..Target::default()
    }
}

impl World {
    async fn client(&self) -> Client {
        let limits = Limits {
            bytes: 1 << 20,
            messages: 1_000,
        };
        test_hub::client(&self.hub, 0, limits, &self.metrics).await
    }

    fn token(&self, more: Value) -> String {
        let now = self.hub.clock.now();
        let mut claims = json!({ "sub": "7", "iat": now, "exp": now + 3_600 });
        for (name, value) in more.as_object().unwrap() {
            claims[name] = value.clone();
        }
        token::mint("", SECRET, &claims.to_string())
    }

    async fn command(&mut self, client: &mut Client, name: &str, body: Value) {
        self.next_id += 1;
        let command = json!({ "id": self.next_id, name: body });
        client.on_message(command.to_string().as_bytes()).await;
    }

    /// A client of the user 7 that follows the room and has taken all that it was told.
    async fn subscriber(&mut self) -> Client {
        let mut client = self.client().await;
        let token = self.token(json!({}));
        self.command(&mut client, "connect", json!({ "token": token }))
            .await;
        self.command(&mut client, "subscribe", json!({ "channel": ROOM }))
            .await;
        settle().await;
        let said = told(&client);
        assert!(said.contains("\"subscribe\":{"), "{said}");
        client
    }

    async fn publish(&self, data: &'static str) {
        let known = self.hub.find(SITE, ROOM).unwrap();
        let draft = Draft {
            data: Bytes::from_static(data.as_bytes()),
            ..Draft::default()
        };
        self.hub.publish(&known, draft).await.unwrap();
    }

    async fn unsubscribe(&self, target: &Target) {
        unsubscribe((&self.hub, SITE), target, ROOM).await.unwrap();
    }

    /// Has revocations forgotten whose time is over.
    fn forget(&self) {
        let users = self.hub.users(SITE).unwrap();
        users.revocations(self.hub.clock.now());
    }

    /// As the publish API has connections follow a channel.
    fn subscribe(&self, client: &Client) {
        let known = self.hub.find(SITE, ROOM).unwrap();
        let wish = Subscription {
            connection: Arc::clone(&client.connection),
            channel: known.name,
            namespace: known.namespace,
            since: None,
            strict: false,
            join_leave: true,
            info: None,
            data: None,
            issued: None,
            ttl: None,
            origin: Origin::Server,
        };
        let control = Control::Subscribe(Box::new(wish));
        self.hub.control(client.connection.shard, control);
    }
}

/// All that waits for a client, frames and all.
fn told(client: &Client) -> String {
    String::from_utf8_lossy(&test_hub::taken(&client.connection)).into_owned()
}

#[tokio::test(start_paused = true)]
async fn a_reply_about_a_channel_does_not_leave_once_the_channel_is_revoked() {
    for command in ["history", "presence", "presence_stats"] {
        let mut world = world();
        let mut client = world.subscriber().await;
        world.publish("\"secret\"").await;
        settle().await;
        assert!(told(&client).contains("secret"));
        let body = json!({ "channel": ROOM, "limit": 5 });
        world.command(&mut client, command, body).await;
        settle().await;
        world.unsubscribe(&seven()).await;
        let said = told(&client);
        assert!(said.contains("\"code\":103"), "{command}: {said}");
        for content in ["secret", "\"7\"", "num_users"] {
            assert!(!said.contains(content), "{command}: {said}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_question_on_its_way_is_not_answered_with_what_comes_after_the_revocation() {
    let mut world = world();
    let mut client = world.subscriber().await;
    let body = json!({ "channel": ROOM, "limit": 5 });
    world.command(&mut client, "history", body).await;
    world.unsubscribe(&seven()).await;
    world.publish("\"secret\"").await;
    settle().await;
    let said = told(&client);
    assert!(!said.contains("secret"), "{said}");
    assert!(said.contains("\"code\":103"), "{said}");
    assert!(said.contains("\"code\":2000"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn a_connect_reply_loses_the_channel_that_is_revoked_while_it_waits_and_keeps_the_others() {
    let mut world = world();
    world.publish("\"secret\"").await;
    let epoch = world
        .hub
        .broker
        .position(&world.hub.find(SITE, ROOM).unwrap().name)
        .epoch
        .to_string();
    let token = world.token(json!({ "channels": [ROOM, "room:2"] }));
    let since = json!({ "recover": true, "offset": 0, "epoch": epoch });
    let connect = json!({ "token": token, "subs": { ROOM: since } });
    let mut reader = world.client().await;
    world.command(&mut reader, "connect", connect.clone()).await;
    settle().await;
    assert!(told(&reader).contains("secret"), "recovery gives it");
    let mut client = world.client().await;
    world.command(&mut client, "connect", connect).await;
    settle().await;
    world.unsubscribe(&seven()).await;
    settle().await;
    let said = told(&client);
    assert!(!said.contains("secret"), "{said}");
    assert!(said.contains("\"connect\":{\"client\""), "{said}");
    assert!(said.contains("\"subs\":{\"room:2\""), "{said}");
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_the_server_made_is_not_told_once_it_is_revoked() {
    let mut world = world();
    let mut client = world.client().await;
    let token = world.token(json!({}));
    world
        .command(&mut client, "connect", json!({ "token": token }))
        .await;
    settle().await;
    world.subscribe(&client);
    settle().await;
    world.unsubscribe(&seven()).await;
    let said = told(&client);
    assert!(!said.contains("\"subscribe\":{"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn a_subscription_ahead_of_its_connect_reply_ends_with_its_revocation() {
    for target in [seven(), Target::default()] {
        let mut world = world();
        let mut client = world.client().await;
        let token = world.token(json!({}));
        settle().await;
        world
            .command(&mut client, "connect", json!({ "token": token }))
            .await;
        // Both come past the mailbox, in which the connect command still waits.
        world.subscribe(&client);
        world.unsubscribe(&target).await;
        settle().await;
        let said = told(&client);
        assert!(said.contains("\"connect\":{"), "{said}");
        assert!(!said.contains("\"subscribe\":{"), "{target:?}: {said}");
        assert_eq!(world.metrics.subscriptions.get(), 0, "{target:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_revocation_outlasts_the_grace_of_a_token_that_was_issued_before_it() {
    let mut world = world();
    let mut client = world.subscriber().await;
    world.unsubscribe(&seven()).await;
    settle().await;
    // The token has ended; the connection waits for another.
    advance(Duration::from_secs(3_615)).await;
    world.forget();
    told(&client);
    let body = json!({ "channel": ROOM });
    world.command(&mut client, "subscribe", body).await;
    settle().await;
    let said = told(&client);
    assert!(said.contains("\"code\":103"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_outlives_its_token_is_let_in_nowhere_by_it() {
    let mut world = world();
    let mut client = world.subscriber().await;
    world.unsubscribe(&seven()).await;
    client.connection.identity().unwrap().expire_at(None);
    // No revocation is remembered for so long.
    advance(Duration::from_secs(2 * 3_600)).await;
    client.on_time();
    world.forget();
    settle().await;
    told(&client);
    let body = json!({ "channel": ROOM });
    world.command(&mut client, "subscribe", body.clone()).await;
    settle().await;
    let said = told(&client);
    assert!(said.contains("\"code\":109"), "{said}");
    let token = world.token(json!({}));
    world
        .command(&mut client, "refresh", json!({ "token": token }))
        .await;
    world.command(&mut client, "subscribe", body).await;
    settle().await;
    let said = told(&client);
    assert!(said.contains("\"subscribe\":{"), "{said}");
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_refused_subscription_does_not_end_one_that_the_server_made() {
    let mut world = world();
    let mut client = world.subscriber().await;
    let body = json!({ "channel": ROOM });
    world.command(&mut client, "unsubscribe", body).await;
    settle().await;
    world.subscribe(&client);
    settle().await;
    let now = world.hub.clock.now();
    let token = world.token(json!({ "channel": ROOM, "exp": now + 60 }));
    let body = json!({ "channel": ROOM, "token": token });
    world.command(&mut client, "subscribe", body).await;
    settle().await;
    assert!(told(&client).contains("\"code\":105"), "it follows already");
    advance(Duration::from_secs(100)).await;
    client.on_time();
    settle().await;
    world.publish("\"still\"").await;
    settle().await;
    let said = told(&client);
    assert!(!said.contains("\"code\":2501"), "{said}");
    assert!(said.contains("still"), "{said}");
}
