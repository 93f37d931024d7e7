//! Much to many: what is published once is received once by each who follows, in one order.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a scenario stops at the first fault"
)]

use std::{slice, sync::Arc};

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
    harness::publisher::Request,
    world::World,
};

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new("one_channel_to_many", |w, _| Box::pin(one_channel(w))),
        Scenario::new("many_channels_to_few", |w, _| Box::pin(many_channels(w))),
        Scenario::new("payloads_of_1_to_60_kib", |w, d| Box::pin(payloads(w, d))),
        Scenario::new("batches_of_1000", |w, d| Box::pin(batches(w, d))),
        Scenario::new("broadcast_to_1000_channels", |w, _| Box::pin(broadcast(w))),
        Scenario::new("two_sites_same_channels", |w, _| Box::pin(two_sites(w))),
    ]
}

/// Starts `count` browsers of `site` that follow `channels` to the end of their feeds.
async fn followers(world: &World, site: usize, channels: &[String], count: usize) -> JoinSet<u64> {
    let browsers = world.busy.browsers(site, count, channels).await;
    let mut followers = JoinSet::new();
    for mut browser in browsers {
        followers.spawn(async move { browser.read_to_the_end().await });
    }
    followers
}

/// Done: 200 browsers follow a channel into which three publishers speak. Holds: each gets all.
async fn one_channel(world: Arc<World>) -> String {
    const BROWSERS: u64 = 200;
    let channel = "post:one".to_owned();
    let followers = followers(&world, 0, slice::from_ref(&channel), 200).await;
    let feed = Feed {
        publishers: 3,
        ..Feed::new(channel, 300, world.ends)
    };
    let published = feed.run(Arc::clone(&world.busy)).await;
    let received: u64 = followers.join_all().await.into_iter().sum();
    assert_eq!(received, BROWSERS * published);
    format!("{published} publications to {BROWSERS} browsers: {received} deliveries")
}

/// Done: 60 channels, each followed by two of 12 browsers. Holds: each gets all of its ten.
async fn many_channels(world: Arc<World>) -> String {
    const CHANNELS: usize = 60;
    let channels: Vec<String> = (0..CHANNELS).map(|n| format!("post:few:{n}")).collect();
    let mut all = JoinSet::new();
    for chunk in channels.chunks(10) {
        let mut pair = followers(&world, 0, chunk, 2).await;
        all.spawn(async move {
            let mut received = 0;
            while let Some(one) = pair.join_next().await {
                received += one.unwrap();
            }
            received
        });
    }
    let mut feeds = JoinSet::new();
    for channel in channels {
        feeds.spawn(Feed::new(channel, 900, world.ends).run(Arc::clone(&world.busy)));
    }
    let published: u64 = feeds.join_all().await.into_iter().sum();
    let received: u64 = all.join_all().await.into_iter().sum();
    assert_eq!(received, 2 * published);
    format!("{published} publications in {CHANNELS} channels: {received} deliveries")
}

/// Done: publications of 1 to 60 KiB. Holds: each arrives byte for byte.
async fn payloads(world: Arc<World>, mut dice: Dice) -> String {
    const CHANNEL: &str = "large:bytes";
    let mut browsers = Vec::new();
    for _ in 0..3 {
        let mut browser = world.busy.browser(0).await;
        browser.subscribe(CHANNEL).await;
        browsers.push(browser);
    }
    let publisher = world.busy.publisher(0);
    let mut kept = publisher.connect().await;
    let (mut n, mut bytes) = (0, 0);
    while !world.is_over() {
        n += 1;
        let length = usize::try_from(dice.of(1, 60) * 1_024 - dice.of(0, 900)).unwrap();
        let letter = char::from(b'a' + u8::try_from(n % 26).unwrap());
        let text: String = std::iter::repeat_n(letter, length).collect();
        let data = json!({ "site": 0, "channel": CHANNEL, "by": 0, "n": n, "text": text });
        feed::publish(&mut kept, &publisher, CHANNEL, &data).await;
        for browser in &mut browsers {
            let message = browser.message().await;
            assert!(
                message["push"]["pub"]["data"] == data,
                "not byte for byte: {n}"
            );
        }
        bytes += length;
        sleep(Duration::from_millis(60)).await;
    }
    format!("{n} publications, {} KiB, to 3 browsers", bytes >> 10)
}

/// Done: batches of 1,000 publications over ten channels, shuffled. Holds: each is answered for
/// itself, and all arrive in the order of the batch.
async fn batches(world: Arc<World>, mut dice: Dice) -> String {
    const BATCHES: u64 = 4;
    let channels: Vec<String> = (0..10).map(|n| format!("post:batch:{n}")).collect();
    let mut browsers = JoinSet::new();
    for _ in 0..3 {
        let mut browser = world.busy.browser(0).await;
        for channel in &channels {
            browser.subscribe(channel).await;
        }
        browsers.spawn(async move { browser.read_to_the_end().await });
    }
    let mut numbers = [0; 10];
    for _ in 0..BATCHES {
        let messages: Vec<Value> = (0..1_000)
            .map(|_| {
                let which = usize::try_from(dice.of(0, 9)).unwrap();
                numbers[which] += 1;
                let channel = &channels[which];
                let data = json!({ "site": 0, "channel": channel, "by": 0, "n": numbers[which] });
                json!({ "channel": channel, "data": data })
            })
            .collect();
        let reply = world.busy.publisher(0).call(Request::batch(messages)).await;
        let replies = reply["replies"].as_array().unwrap();
        assert_eq!(replies.len(), 1_000);
        assert!(
            replies
                .iter()
                .all(|reply| reply["publish"]["offset"].is_u64())
        );
        sleep(Duration::from_secs(1)).await;
    }
    for channel in channels {
        Feed::new(channel, 0, world.ends).end(&world.busy).await;
    }
    let received: u64 = browsers.join_all().await.into_iter().sum();
    assert_eq!(received, 3 * (BATCHES * 1_000 + 10));
    format!("{BATCHES} batches to 3 browsers: {received} deliveries")
}

/// Done: one publication to 1,000 channels, again and again; ten browsers follow 100 each. Holds:
/// each channel gets each once.
async fn broadcast(world: Arc<World>) -> String {
    const ROUNDS: u64 = 4;
    let channels: Vec<String> = (0..1_000).map(|n| format!("post:all:{n}")).collect();
    let mut browsers: Vec<Browser> = Vec::new();
    for chunk in channels.chunks(100) {
        let mut browser = world.busy.browser(0).await;
        for channel in chunk {
            browser.subscribe(channel).await;
        }
        browsers.push(browser);
    }
    for n in 1..=ROUNDS {
        let data = json!({ "site": 0, "by": 0, "n": n, "end": n == ROUNDS });
        let body = json!({ "channels": channels, "data": data });
        let reply = world.busy.call(0, "broadcast", &body).await;
        let responses = reply["result"]["responses"].as_array().unwrap();
        assert_eq!(responses.len(), 1_000);
        assert!(
            responses
                .iter()
                .all(|response| response["result"]["offset"] == n)
        );
        for browser in &mut browsers {
            browser.read_for(Duration::from_millis(50)).await;
        }
    }
    let mut received = 0;
    for browser in &mut browsers {
        received += browser.read_to_the_end().await;
    }
    assert_eq!(received, ROUNDS * 1_000);
    format!("{ROUNDS} publications to 1,000 channels: {received} deliveries")
}

/// Done: both sites publish in channels of the same names, followed by 15 browsers a site. Holds:
/// nothing crosses, though positions, names and data look alike.
async fn two_sites(world: Arc<World>) -> String {
    let channels: Vec<String> = ["site", "post:26", "short:26"].map(str::to_owned).into();
    let (mut all, mut feeds) = (JoinSet::new(), JoinSet::new());
    for site in 0..2 {
        let mut of_site = followers(&world, site, &channels, 15).await;
        all.spawn(async move {
            let mut received = 0;
            while let Some(one) = of_site.join_next().await {
                received += one.unwrap();
            }
            received
        });
        for channel in &channels {
            let feed = Feed {
                site,
                publishers: 2,
                ..Feed::new(channel, 400, world.ends)
            };
            feeds.spawn(feed.run(Arc::clone(&world.busy)));
        }
    }
    let published: u64 = feeds.join_all().await.into_iter().sum();
    let received: u64 = all.join_all().await.into_iter().sum();
    assert_eq!(received, 15 * published);
    format!("{published} publications of both: {received} deliveries")
}
