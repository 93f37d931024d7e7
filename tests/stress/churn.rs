//! Coming and going while others stay.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
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
    dice::Dice,
    feed::Feed,
    harness::websocket::{CLOSE, FIN, frame},
    world::World,
};

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new("connections_come_and_go", |w, d| {
            Box::pin(connections(w, d))
        }),
        Scenario::new("subscriptions_come_and_go", |w, d| {
            Box::pin(subscriptions(w, d))
        }),
        Scenario::new("last_to_leave_first_to_come", |w, _| {
            Box::pin(last_leaves(w))
        }),
    ]
}

/// Done: browsers connect, follow, read a while and leave, some with a close frame, some cut off,
/// some in the middle of a command. Holds: what they see meanwhile has no fault, and who stays
/// gets all.
async fn connections(world: Arc<World>, mut dice: Dice) -> String {
    const CHANNEL: &str = "post:churn";
    let mut stays = world.busy.browser(0).await;
    stays.subscribe(CHANNEL).await;
    let mut steady = JoinSet::new();
    steady.spawn(async move { stays.read_to_the_end().await });
    let mut churning = JoinSet::new();
    for _ in 0..6 {
        churning.spawn(come_and_go(Arc::clone(&world), dice.split(), CHANNEL));
    }
    let feed = Feed {
        publishers: 2,
        ..Feed::new(CHANNEL, 30, world.ends)
    };
    let published = feed.run(Arc::clone(&world.busy)).await;
    let came: u64 = churning.join_all().await.into_iter().sum();
    assert_eq!(steady.join_all().await, [published]);
    format!("{came} connections came and went during {published} publications")
}

async fn come_and_go(world: Arc<World>, mut dice: Dice, channel: &str) -> u64 {
    let mut came = 0;
    while !world.is_over() {
        came += 1;
        if dice.chance(10) {
            // Leaves before it has said anything.
            drop(world.busy.socket(0).await);
            continue;
        }
        let mut browser = world.busy.browser(0).await;
        if dice.chance(10) {
            browser
                .command(json!({ "subscribe": { "channel": channel } }))
                .await;
            continue;
        }
        browser.subscribe(channel).await;
        browser
            .read_for(Duration::from_millis(dice.of(0, 120)))
            .await;
        if dice.chance(50) {
            browser
                .socket
                .send(frame(FIN | CLOSE, &1_000_u16.to_be_bytes()))
                .await;
            assert_eq!(browser.ended().await.code, 1_000);
        }
        sleep(Duration::from_millis(dice.of(0, 40))).await;
    }
    came
}

/// Done: browsers follow and leave channels at random that are published to. Holds: between the
/// replies everything comes, and outside of them nothing.
async fn subscriptions(world: Arc<World>, mut dice: Dice) -> String {
    let channels: Vec<String> = (0..4).map(|n| format!("post:flip:{n}")).collect();
    let mut feeds = JoinSet::new();
    for channel in &channels {
        let feed = Feed::new(channel, 25, world.ends);
        feeds.spawn(feed.run(Arc::clone(&world.busy)));
    }
    let mut flipping = JoinSet::new();
    for _ in 0..6 {
        let (world, mut dice, channels) = (Arc::clone(&world), dice.split(), channels.clone());
        flipping.spawn(async move {
            let mut browser = world.busy.browser(0).await;
            let mut flips = 0;
            while !world.is_over() {
                let which = usize::try_from(dice.of(0, 3)).unwrap();
                let channel = &channels[which];
                match browser.ledger.standing(channel) {
                    None => drop(browser.subscribe(channel).await),
                    Some(_) => browser.unsubscribe(channel).await,
                }
                flips += 1;
                browser
                    .read_for(Duration::from_millis(dice.of(0, 30)))
                    .await;
            }
            (flips, browser.ledger.received)
        });
    }
    let published: u64 = feeds.join_all().await.into_iter().sum();
    let (flips, received) = flipping
        .join_all()
        .await
        .into_iter()
        .fold((0, 0), |sum: (u64, u64), one| {
            (sum.0 + one.0, sum.1 + one.1)
        });
    assert!(flips > 0 && received > 0);
    format!("{flips} flips, {received} of {published} publications seen")
}

/// Done: two browsers, one after the other the only one in its shard, follow and leave a channel
/// over and over. Holds: a shard that is the last to leave or the first to come misses nothing.
async fn last_leaves(world: Arc<World>) -> String {
    const CHANNEL: &str = "post:last";
    let feed = Feed::new(CHANNEL, 4, world.ends).run(Arc::clone(&world.busy));
    let mut turns = JoinSet::new();
    for _ in 0..2 {
        let world = Arc::clone(&world);
        turns.spawn(async move {
            let mut browser = world.busy.browser(0).await;
            browser.subscribe(CHANNEL).await;
            let mut turns = 0;
            while !world.is_over() {
                let standing = browser.ledger.standing(CHANNEL).unwrap().clone();
                let reply = browser
                    .ask(json!({ "unsubscribe": { "channel": CHANNEL } }))
                    .await;
                assert!(reply["unsubscribe"].is_object(), "{reply}");
                // From where it stood before the reply, or further: the ledger knows.
                assert!(browser.ledger.standing(CHANNEL).unwrap().offset >= standing.offset);
                browser.recover(CHANNEL).await;
                turns += 1;
            }
            assert_eq!(browser.ledger.gaps, 0, "history reaches far enough");
            (turns, browser.ledger.received)
        });
    }
    let (published, turns) = tokio::join!(feed, turns.join_all());
    let (turns, received) = turns
        .into_iter()
        .fold((0_u64, 0_u64), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    format!("{turns} times left and recovered, {received} received of {published} published")
}
