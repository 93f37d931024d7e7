//! Commands that are sent before the ones ahead of them are answered.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a scenario stops at the first fault"
)]

use std::{fmt::Write, sync::Arc};

use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Duration, sleep},
};

use crate::{
    Scenario,
    dice::Dice,
    feed::Feed,
    harness::websocket::{CONTINUATION, FIN, TEXT, frame},
    world::World,
};

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new("subscribe_races_unsubscribe", |w, d| {
            Box::pin(subscribe(w, d))
        }),
        Scenario::new("deep_pipelines", |w, d| Box::pin(pipelines(w, d))),
        Scenario::new("fragments_byte_by_byte", |w, d| Box::pin(drip(w, d))),
    ]
}

/// Done: subscribe and unsubscribe of one channel, a dozen in one message, while it is published
/// to. Holds: each is answered in turn as the state then was, and publications come between a
/// subscribe and its unsubscribe alone, without a gap.
async fn subscribe(world: Arc<World>, mut dice: Dice) -> String {
    const CHANNEL: &str = "post:race";
    let feed = Feed::new(CHANNEL, 5, world.ends).run(Arc::clone(&world.busy));
    let mut racing = JoinSet::new();
    for _ in 0..4 {
        racing.spawn(race(Arc::clone(&world), dice.split(), CHANNEL));
    }
    let (published, raced) = tokio::join!(feed, racing.join_all());
    let (commands, received) = raced
        .into_iter()
        .fold((0_u64, 0_u64), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    format!("{commands} commands, {received} received of {published} published")
}

async fn race(world: Arc<World>, mut dice: Dice, channel: &str) -> (u64, u64) {
    let mut browser = world.busy.browser(0).await;
    let mut commands = 0;
    let mut following = false;
    while !world.is_over() {
        let (mut message, mut sent) = (String::new(), Vec::new());
        for _ in 0..dice.of(2, 12) {
            let (id, subscribes) = (browser.next_id(), dice.chance(50));
            let name = if subscribes {
                "subscribe"
            } else {
                "unsubscribe"
            };
            writeln!(
                message,
                "{}",
                json!({ "id": id, name: { "channel": channel } })
            )
            .unwrap();
            sent.push((id, subscribes));
        }
        browser.socket.say(message.trim_end()).await;
        commands += sent.len() as u64;
        for (id, subscribes) in sent {
            let reply = browser.reply(id).await;
            match (subscribes, following) {
                (true, true) => assert_eq!(reply["error"]["code"], 105, "{reply}"),
                (true, false) => browser
                    .ledger
                    .subscribed(channel, &reply["subscribe"], false),
                (false, _) => {
                    assert!(reply["unsubscribe"].is_object(), "{reply}");
                    browser.ledger.unsubscribed(channel);
                }
            }
            following = subscribes;
        }
        browser
            .read_for(Duration::from_millis(dice.of(0, 20)))
            .await;
    }
    (commands, browser.ledger.received)
}

/// Done: hundreds of commands of every kind in few messages and few writes, none waited for.
/// Holds: each is answered once and in its turn.
async fn pipelines(world: Arc<World>, mut dice: Dice) -> String {
    let mut deep = JoinSet::new();
    for _ in 0..3 {
        deep.spawn(pipeline(Arc::clone(&world), dice.split()));
    }
    let answered: usize = deep.join_all().await.into_iter().sum();
    format!("{answered} commands answered in order")
}

async fn pipeline(world: Arc<World>, mut dice: Dice) -> usize {
    let mut browser = world.busy.browser(0).await;
    browser.subscribe("post:deep").await;
    let mut answered = 0;
    while !world.is_over() {
        let (mut bytes, mut sent) = (Vec::new(), Vec::new());
        for _ in 0..dice.of(1, 6) {
            let mut message = String::new();
            for _ in 0..dice.of(1, 60) {
                let id = browser.next_id();
                let (command, code) = pick(&mut dice, id);
                writeln!(message, "{command}").unwrap();
                sent.push((id, code));
            }
            bytes.extend(frame(FIN | TEXT, message.trim_end().as_bytes()));
        }
        browser.socket.send(bytes).await;
        answered += sent.len();
        for (id, code) in sent {
            let reply = browser.reply(id).await;
            let error = reply["error"]["code"].as_u64().unwrap_or_default();
            assert_eq!(error, code, "{reply}");
        }
        sleep(Duration::from_millis(250)).await;
    }
    answered
}

/// A command and the code of its answer, 0 where it succeeds.
fn pick(dice: &mut Dice, id: u64) -> (Value, u64) {
    match dice.of(0, 6) {
        0 => (json!({ "id": id, "ping": {} }), 0),
        1 => (
            json!({ "id": id, "subscribe": { "channel": "post:deep" } }),
            105,
        ),
        2 => (
            json!({ "id": id, "subscribe": { "channel": "none:1" } }),
            102,
        ),
        3 => (
            json!({ "id": id, "history": { "channel": "post:deep", "limit": 0 } }),
            0,
        ),
        4 => (
            json!({ "id": id, "presence": { "channel": "post:deep" } }),
            108,
        ),
        5 => (
            json!({ "id": id, "unsubscribe": { "channel": "post:other" } }),
            0,
        ),
        _ => (
            json!({ "id": id, "publish": { "channel": "post:deep", "data": 1 } }),
            103,
        ),
    }
}

/// Done: a command in fragments of one byte, each byte a write of its own, while the channel is
/// published to. Holds: it is read as if it had come at once.
async fn drip(world: Arc<World>, mut dice: Dice) -> String {
    const CHANNEL: &str = "post:drip";
    let feed = Feed::new(CHANNEL, 50, world.ends).run(Arc::clone(&world.busy));
    let mut dripping = JoinSet::new();
    for _ in 0..3 {
        dripping.spawn(drip_one(Arc::clone(&world), dice.split(), CHANNEL));
    }
    let (published, commands) = tokio::join!(feed, dripping.join_all());
    let commands: u64 = commands.into_iter().sum();
    format!("{commands} commands dripped during {published} publications")
}

async fn drip_one(world: Arc<World>, mut dice: Dice, channel: &str) -> u64 {
    let mut browser = world.busy.browser(0).await;
    browser.subscribe(channel).await;
    let mut commands = 0;
    while !world.is_over() {
        let id = browser.next_id();
        let text = json!({ "id": id, "ping": {} }).to_string();
        let (last, rest) = text.as_bytes().split_last().unwrap();
        let (first, rest) = rest.split_first().unwrap();
        let mut bytes = frame(TEXT, &[*first]);
        bytes.extend(rest.iter().flat_map(|byte| frame(CONTINUATION, &[*byte])));
        bytes.extend(frame(FIN | CONTINUATION, &[*last]));
        for byte in bytes {
            browser.socket.send([byte]).await;
            if dice.chance(5) {
                sleep(Duration::from_millis(2)).await;
            }
        }
        assert_eq!(browser.reply(id).await, json!({ "id": id, "ping": {} }));
        commands += 1;
    }
    commands
}
