//! Coming back: what was missed is brought, or the gap is told.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a scenario stops at the first fault"
)]

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Duration, sleep},
};

use crate::{
    Scenario,
    browser::Browser,
    dice::Dice,
    feed::{self, Feed},
    world::World,
};

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new("recovery_storm", |w, d| Box::pin(storm(w, d))),
        Scenario::new("recovery_past_history_is_told", |w, d| {
            Box::pin(past_history(w, d))
        }),
        Scenario::new("recovery_from_before_the_first", |w, _| {
            Box::pin(zero_events(w))
        }),
        Scenario::new("position_from_a_page", |w, d| Box::pin(from_page(w, d))),
        Scenario::new("foreign_positions_are_gaps", |w, _| Box::pin(foreign(w))),
    ]
}

/// Done: 60 browsers with two channels each are cut off at once while both are published to, and
/// come back together; several times. Holds: every recovery says so, and nothing is lost.
async fn storm(world: Arc<World>, mut dice: Dice) -> String {
    const CHANNELS: [&str; 2] = ["post:storm:1", "post:storm:2"];
    let mut feeds = JoinSet::new();
    for channel in CHANNELS {
        let feed = Feed::new(channel, 150, world.ends);
        feeds.spawn(feed.run(Arc::clone(&world.busy)));
    }
    let channels = CHANNELS.map(str::to_owned);
    let mut browsers = world.busy.browsers(0, 60, &channels).await;
    let mut storms = 0;
    while !world.is_over() {
        let mut reading = JoinSet::new();
        let time = Duration::from_millis(dice.of(300, 1_000));
        for mut browser in browsers.drain(..) {
            reading.spawn(async move {
                browser.read_for(time).await;
                browser
            });
        }
        let cut = reading.join_all().await;
        let mut back = JoinSet::new();
        for browser in cut {
            back.spawn(come_back(Arc::clone(&world), browser, &CHANNELS));
        }
        browsers = back.join_all().await;
        storms += 1;
    }
    let published: u64 = feeds.join_all().await.into_iter().sum();
    let (mut received, mut recovered) = (0, 0);
    for mut browser in browsers {
        received += browser.read_to_the_end().await;
        recovered += browser.ledger.recovered;
        assert_eq!(browser.ledger.gaps, 0, "history reaches far enough");
    }
    format!("{storms} storms, {recovered} recoveries, {received} deliveries of {published}")
}

async fn come_back(world: Arc<World>, browser: Browser, channels: &[&str]) -> Browser {
    let mut browser = browser.reconnect_cut(&world.busy).await;
    for channel in channels {
        browser.recover(channel).await;
    }
    browser
}

/// Done: browsers of a channel that keeps three publications stay away for none to nine. Holds:
/// up to three are recovered, more are told as a gap, never half.
async fn past_history(world: Arc<World>, mut dice: Dice) -> String {
    const CHANNEL: &str = "short:away";
    let publisher = world.busy.publisher(0);
    let mut kept = publisher.connect().await;
    let mut browser = world.busy.browser(0).await;
    browser.subscribe(CHANNEL).await;
    let (mut n, mut recovered, mut gaps) = (0, 0, 0);
    while !world.is_over() {
        browser = browser.reconnect_cut(&world.busy).await;
        let missed = dice.of(0, 9);
        for _ in 0..missed {
            n += 1;
            let data = json!({ "site": 0, "channel": CHANNEL, "by": 0, "n": n });
            feed::publish(&mut kept, &publisher, CHANNEL, &data).await;
        }
        let result = browser.recover(CHANNEL).await;
        assert_eq!(
            result["recovered"] == true,
            missed <= 3,
            "{missed}: {result}"
        );
        if missed <= 3 {
            recovered += 1;
        } else {
            gaps += 1;
        }
        assert_eq!(browser.ledger.standing(CHANNEL).unwrap().offset, n);
        sleep(Duration::from_millis(50)).await;
    }
    format!("{recovered} recovered, {gaps} gaps told, {n} publications")
}

/// Done: browsers follow channels that nothing was ever published to, are cut off, and the first
/// publications come meanwhile, or none. Holds: they come back and have missed nothing.
async fn zero_events(world: Arc<World>) -> String {
    let mut waiting = Vec::new();
    for n in 0..30_u64 {
        let channel = format!("post:virgin:{n}");
        let mut browser = world.busy.browser(0).await;
        let result = browser.subscribe(&channel).await;
        assert!(
            result["offset"].as_u64().unwrap_or_default() == 0,
            "{result}"
        );
        waiting.push((channel, browser));
    }
    let mut received = 0;
    for (n, (channel, browser)) in (0..).zip(waiting) {
        let mut browser = browser.reconnect_cut(&world.busy).await;
        let feed = Feed::new(&*channel, 0, world.ends);
        for event in 1..=n % 4 {
            let data = feed.data(0, event);
            world.busy.publisher(0).publish(&channel, &data).await;
        }
        let result = browser.recover(&channel).await;
        assert_eq!(result["recovered"], true, "{result}");
        assert_eq!(browser.ledger.received, n % 4);
        received += browser.ledger.received;
    }
    format!("30 channels, {received} first publications recovered")
}

/// Done: a page is made with the position that a publisher was told; browsers that never were
/// there subscribe from it, sooner or later. Holds: each gets exactly what came after the page.
async fn from_page(world: Arc<World>, mut dice: Dice) -> String {
    const CHANNEL: &str = "post:page";
    let publisher = world.busy.publisher(0);
    let mut kept = publisher.connect().await;
    let mut pages: Vec<(u64, Value)> = Vec::new();
    let (mut n, mut read) = (0, 0);
    while !world.is_over() {
        n += 1;
        let data = json!({ "site": 0, "channel": CHANNEL, "by": 0, "n": n });
        let position = feed::publish(&mut kept, &publisher, CHANNEL, &data).await;
        pages.push((n, position));
        if dice.chance(70) {
            continue;
        }
        let oldest = n.saturating_sub(200) as usize;
        let which = usize::try_from(dice.of(oldest as u64, pages.len() as u64 - 1)).unwrap();
        let (made, position) = &pages[which];
        let mut browser = world.busy.browser(0).await;
        let subscribe = json!({
            "channel": CHANNEL, "recover": true,
            "offset": position["offset"], "epoch": position["epoch"],
        });
        let result = browser.subscribe_as(subscribe).await;
        assert_eq!(result["recovered"], true, "{result}");
        assert_eq!(browser.ledger.received, n - made, "{result}");
        read += 1;
    }
    format!("{read} pages read, {n} publications")
}

/// Done: positions of another site, of an epoch that never was, and beyond the top. Holds: each is
/// told as a gap, or as error 112 where the client asks for that.
async fn foreign(world: Arc<World>) -> String {
    const CHANNEL: &str = "post:foreign";
    let mut asked = 0;
    let mut positions = Vec::new();
    for site in 0..2 {
        let data = json!({ "site": site, "channel": CHANNEL });
        let position = world.busy.publisher(site).publish(CHANNEL, &data).await;
        positions.push(position["epoch"].clone());
    }
    assert_ne!(positions[0], positions[1]);
    while !world.is_over() {
        for (offset, epoch) in [
            (1, positions[1].clone()),
            (1, json!("0123456789abcdef")),
            (9, positions[0].clone()),
        ] {
            let mut browser = world.busy.browser(0).await;
            let mut subscribe = json!({
                "channel": CHANNEL, "recover": true, "offset": offset, "epoch": epoch, "flag": 2,
            });
            let reply = browser.ask(json!({ "subscribe": subscribe })).await;
            assert_eq!(reply["error"]["code"], 112, "{reply}");
            subscribe["flag"] = 0.into();
            let result = browser.subscribe_as(subscribe).await;
            assert_ne!(result["recovered"], true, "{result}");
            assert_eq!(browser.ledger.gaps, 1);
            asked += 1;
        }
        sleep(Duration::from_millis(100)).await;
    }
    format!("{asked} asked")
}
