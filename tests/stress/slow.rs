//! Browsers that read late, little or never.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a scenario stops at the first fault"
)]

use std::{collections::HashMap, sync::Arc, time::Instant};

use serde_json::{Value, json};
use tokio::time::Duration;

use crate::{
    Scenario,
    browser::{Browser, Ended, Next},
    dice::Dice,
    feed,
    harness::publisher::Request,
    world::{Place, World},
};

const SLOW: &str = "post:slow";
const NEVER: &str = "large:never";

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new("a_slow_reader_is_closed_and_recovers", |w, _| {
            Box::pin(slow_reader(w))
        }),
        Scenario::new("a_slow_reader_conflates", |w, d| Box::pin(conflating(w, d))),
        Scenario::new("who_never_reads_costs_little", |w, _| {
            Box::pin(never_reads(w))
        }),
    ]
}

/// A browser that follows `channel`, whose socket holds little.
async fn sleeper(place: &Place, channel: &str) -> Browser {
    let socket = place.small_socket(0).await;
    let mut sleeper = Browser::connect(socket, 0, "").await;
    sleeper.subscribe(channel).await;
    sleeper
}

/// Done: a browser stops to read until it is closed as slow, wakes, and comes back. Holds: it got
/// a beginning without a gap, then 3008, and recovers the rest.
async fn slow_reader(world: Arc<World>) -> String {
    const ROUNDS: u64 = 3;
    let _turn = world.slow.lock().await;
    let mut n = 0;
    let (mut seen, mut missed) = (0, 0);
    for _ in 0..ROUNDS {
        let mut sleeper = sleeper(&world.tight, SLOW).await;
        let first = n;
        n = publish_until_slow(&world.tight, n).await;
        let reason = "slow".into();
        assert_eq!(
            sleeper.ended().await,
            Ended {
                code: 3_008,
                reason
            }
        );
        seen += sleeper.ledger.received;
        missed += n - first - sleeper.ledger.received;
        let mut back = sleeper.reconnect_cut(&world.tight).await;
        let result = back.recover(SLOW).await;
        assert_eq!(result["recovered"], true, "of {n}");
        assert_eq!(back.ledger.standing(SLOW).unwrap().offset, n);
    }
    assert!(missed > 0);
    format!("closed {ROUNDS} times after {seen} publications, {missed} recovered")
}

/// Publishes what follows number `n` until somebody is closed as slow; the last number.
async fn publish_until_slow(place: &Place, mut n: u64) -> u64 {
    let publisher = place.publisher(0);
    let mut kept = publisher.connect().await;
    let before = place.closed_as("slow").await;
    let text = "x".repeat(10_000);
    for _ in 0..1_500 {
        n += 1;
        let data = json!({ "site": 0, "channel": SLOW, "by": 0, "n": n, "text": text });
        feed::publish(&mut kept, &publisher, SLOW, &data).await;
        if place.closed_as("slow").await > before {
            return n;
        }
    }
    panic!("15 MB, and the sleeper is still connected");
}

/// Done: a browser of a conflating channel sleeps over thousands of publications of ten keys.
/// Holds: it is not closed, no key goes back, and it ends with the newest of each.
async fn conflating(world: Arc<World>, mut dice: Dice) -> String {
    const CHANNEL: &str = "fast:prices";
    let socket = world.tight.small_socket(0).await;
    let mut sleeper = Browser::connect(socket, 0, "").await;
    let command = json!({ "subscribe": { "channel": CHANNEL } });
    assert!(sleeper.ask(command).await["subscribe"].is_object());
    let mut newest: HashMap<String, u64> = HashMap::new();
    let text = "x".repeat(4_000);
    let mut published = 0_u64;
    for _ in 0..200 {
        let messages: Vec<Value> = (0..10)
            .map(|_| {
                published += 1;
                let key = format!("26:{}", dice.of(0, 9));
                newest.insert(key.clone(), published);
                let data = json!({ "value": published, "text": text });
                json!({ "channel": CHANNEL, "key": key, "data": data })
            })
            .collect();
        world
            .tight
            .publisher(0)
            .call(Request::batch(messages))
            .await;
    }
    let mut seen: HashMap<String, u64> = HashMap::new();
    let (mut received, mut conflated) = (0_u64, 0_u64);
    while seen != newest {
        let message = match sleeper.socket_message().await {
            Next::Message(message) => message,
            end => panic!("{end:?} at {seen:?}, not {newest:?}"),
        };
        let publication = &message["push"]["pub"];
        let key = publication["tags"]["key"].as_str().unwrap();
        let value = publication["data"]["value"].as_u64().unwrap();
        let before = seen.insert(key.to_owned(), value);
        assert!(
            before.is_none_or(|before| before < value),
            "{key} goes back"
        );
        received += 1;
        conflated += u64::from(publication["tags"]["conflated"] == "true");
    }
    assert!(
        received < published && conflated > 0,
        "nothing was conflated"
    );
    format!("{received} of {published} publications came, {conflated} in place of earlier ones")
}

/// Done: four browsers never read, one does; 24 MB are published. Holds: the one that reads waits
/// for nobody, and the process does not grow by what nobody takes.
async fn never_reads(world: Arc<World>) -> String {
    const KIB_MAX: u64 = 16 << 10;
    let _turn = world.slow.lock().await;
    let place = &world.tight;
    let slow = place.closed_as("slow").await;
    let mut sleepers = Vec::new();
    for _ in 0..4 {
        sleepers.push(sleeper(place, NEVER).await);
    }
    let mut reader = place.browser(0).await;
    reader.subscribe(NEVER).await;
    let (most, mut waits) = publish_to(place, &mut reader).await;
    assert!(
        most < KIB_MAX,
        "grew by {most} KiB over 24 MB that nobody took"
    );
    waits.sort_unstable();
    let (middle, last) = (waits[waits.len() / 2], waits[waits.len() - 1]);
    assert!(last < Duration::from_secs(5), "the reader waited {last:?}");
    for mut sleeper in sleepers {
        // Whoever takes no close frame for five seconds is cut off without it.
        while let Next::Message(_) = sleeper.next().await {}
    }
    assert_eq!(place.closed_as("slow").await, slow + 4);
    format!("grew by {most} KiB at most; the reader waited {middle:.1?} (p50), {last:.1?} (max)")
}

/// Publishes 24 MB, each publication when `reader` has the one before; by how much the process
/// grew at most, in KiB, and how long the reader waited each time.
async fn publish_to(place: &Place, reader: &mut Browser) -> (u64, Vec<Duration>) {
    let before = place.footprint().kib;
    let publisher = place.publisher(0);
    let mut kept = publisher.connect().await;
    let text = "x".repeat(60_000);
    let (mut most, mut waits) = (0, Vec::new());
    for n in 1..=400 {
        let data = json!({ "site": 0, "channel": NEVER, "by": 0, "n": n, "text": text });
        feed::publish(&mut kept, &publisher, NEVER, &data).await;
        let since = Instant::now();
        reader.message().await;
        waits.push(since.elapsed());
        most = most.max(place.footprint().kib.saturating_sub(before));
    }
    (most, waits)
}
