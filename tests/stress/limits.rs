//! Limits that are reached, and what is left of them afterwards.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a scenario stops at the first fault"
)]

use std::sync::Arc;

use serde_json::json;
use tokio::{
    task::JoinSet,
    time::{Duration, sleep},
};

use crate::{
    Scenario,
    browser::{Browser, Next},
    harness::until,
    world::{Place, World},
};

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new("channels_per_connection_are_106", |w, _| {
            Box::pin(channels(w))
        }),
        Scenario::new("connections_per_user_are_3504", |w, _| {
            Box::pin(per_user(w))
        }),
        Scenario::new("connections_in_all_are_503", |w, _| Box::pin(in_all(w))),
    ]
}

/// Done: a browser subscribes to more channels than it may, over and over. Holds: 106 from the
/// 129th on, and a place that is left can be taken again.
async fn channels(world: Arc<World>) -> String {
    const MOST: usize = 128;
    let mut browser = world.busy.browser(0).await;
    for n in 0..MOST {
        browser.subscribe(&format!("post:limit:{n}")).await;
    }
    let mut refused = 0;
    for round in 0..50 {
        let command = json!({ "subscribe": { "channel": format!("post:over:{round}") } });
        let reply = browser.ask(command.clone()).await;
        assert_eq!(reply["error"]["code"], 106, "{reply}");
        refused += 1;
        browser.unsubscribe(&format!("post:limit:{round}")).await;
        let reply = browser.ask(command).await;
        assert!(reply["subscribe"].is_object(), "{reply}");
        let channel = format!("post:over:{round}");
        browser
            .ledger
            .subscribed(&channel, &reply["subscribe"], false);
    }
    format!("{refused} refused, and taken once there was room")
}

/// Done: one user opens ten connections at once where three may be, again and again; another user
/// comes as well. Holds: three stay, the others are 3504, and a place that is left can be taken.
async fn per_user(world: Arc<World>) -> String {
    const MOST: usize = 3;
    let (mut rounds, mut refused) = (0, 0);
    while !world.is_over() {
        let user = format!("many:{rounds}");
        let mut opening = JoinSet::new();
        for _ in 0..10 {
            let (world, user) = (Arc::clone(&world), user.clone());
            opening.spawn(async move {
                let token = Place::token(0, &user, 60, json!({}));
                let socket = world.tight.socket(0).await;
                Browser::try_connect(socket, 0, &token).await
            });
        }
        let mut stay = Vec::new();
        for opened in opening.join_all().await {
            match opened {
                Ok(browser) => stay.push(browser),
                Err(Next::Ended(ended)) => {
                    assert_eq!((ended.code, &*ended.reason), (3_504, "connection limit"));
                    refused += 1;
                }
                Err(other) => panic!("{other:?}"),
            }
        }
        assert_eq!(stay.len(), MOST);
        let token = Place::token(0, "other", 60, json!({}));
        drop(world.tight.browser_with(0, &token).await);
        drop(stay);
        // All three have ended once three others can come in their place.
        until("the user's places to be free", || async {
            let mut three = Vec::new();
            for _ in 0..MOST {
                let token = Place::token(0, &user, 60, json!({}));
                let socket = world.tight.socket(0).await;
                let opened = Browser::try_connect(socket, 0, &token).await;
                three.push(opened.ok()?);
            }
            Some(())
        })
        .await;
        rounds += 1;
        sleep(Duration::from_millis(500)).await;
    }
    format!("{rounds} rounds, {refused} refused")
}

/// Done: thirty connections knock at a process that takes ten. Holds: ten come in, the others are
/// answered 503 before the upgrade, with word of when to come again; those inside notice nothing.
async fn in_all(_: Arc<World>) -> String {
    const MOST: usize = 10;
    let place = Place::start("connections_max = 10", |builder| builder).await;
    let mut refused = 0;
    for _ in 0..5 {
        let mut inside = Vec::new();
        for n in 0..30 {
            match place.upgrade(0, "/realtime", "").await {
                Ok(socket) => inside.push(Browser::connect(socket, 0, "").await),
                Err(response) => {
                    assert!(n >= MOST, "number {n} was refused");
                    assert_eq!(response.head.status, 503);
                    assert!(response.head.field("retry-after").is_some());
                    refused += 1;
                }
            }
        }
        assert_eq!(inside.len(), MOST);
        for browser in &mut inside {
            let reply = browser.ask(json!({ "ping": {} })).await;
            assert!(reply["error"].is_null(), "{reply}");
        }
        drop(inside);
        place.settled().await;
    }
    format!("{refused} refused in 5 rounds")
}
