//! Two sites in one process, busy at the same time on channels of the same names: nothing that is
//! one's ever reaches the other.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may stop at the first surprise"
)]

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::{
    publisher::Request,
    sidecar::{Sidecar, Site},
    until,
    websocket::Socket,
};

const SITES: [(&str, &str); 2] = [("blog", "blog.example"), ("shop", "shop.example")];
const CHANNELS: [&str; 4] = ["site", "post:1", "post:2", "post:3"];

/// Publications of one site to one channel.
const MESSAGES: u64 = 60;

/// Browsers of one site.
const BROWSERS: usize = 12;

#[tokio::test]
async fn nothing_ever_crosses_from_one_site_to_the_other() {
    let mut builder = Sidecar::builder();
    for (name, host) in SITES {
        builder = builder.site(Site::new(name, host));
    }
    let sidecar = Arc::new(builder.start().await);
    let mut browsers = JoinSet::new();
    for (site, (_, host)) in SITES.iter().enumerate() {
        for _ in 0..BROWSERS {
            let browser = subscribed(&sidecar, site).await;
            browsers.spawn(receive_all(browser, site));
        }
        let plain = format!("/realtime?channel={}", CHANNELS[1]);
        let stream = sidecar.upgrade(host, &plain, "").await;
        browsers.spawn(receive_plain(stream.unwrap(), site));
    }
    // A plain stream is not told that it has begun.
    let all = SITES.len() * (BROWSERS * CHANNELS.len() + 1);
    until("the subscriptions", || async {
        let count = sidecar.metric("realtime_subscriptions").await;
        (count == all as u64).then_some(())
    })
    .await;
    let mut publishers = JoinSet::new();
    for site in 0..SITES.len() {
        for channel in CHANNELS {
            publishers.spawn(publish_all(Arc::clone(&sidecar), site, channel));
        }
    }
    for ended in [publishers.join_all().await, browsers.join_all().await] {
        assert!(!ended.is_empty());
    }
    for site in 0..SITES.len() {
        recovers_its_own(&sidecar, site).await;
    }
}

/// A browser of `site` on all channels.
async fn subscribed(sidecar: &Sidecar, site: usize) -> Socket {
    let browser = sidecar.upgrade(SITES[site].1, "/realtime", "").await;
    let mut browser = browser.unwrap();
    browser.connect().await;
    for channel in CHANNELS {
        let reply = browser.subscribe(channel).await;
        assert_eq!(reply["offset"], 0, "nobody has published");
    }
    browser
}

/// Publishes one by one, and in batches every third time.
async fn publish_all(sidecar: Arc<Sidecar>, site: usize, channel: &str) {
    let publisher = sidecar.publisher_of(site);
    let message = |n: u64| json!({ "channel": channel, "data": marked(site, n) });
    let mut n = 0;
    while n < MESSAGES {
        if n % 3 == 0 {
            let reply = publisher
                .call(Request::batch([message(n), message(n + 1)]))
                .await;
            assert_eq!(reply["replies"][1]["publish"]["offset"], n + 2, "{reply}");
            n += 2;
        } else {
            let position = publisher.publish(channel, &marked(site, n)).await;
            n += 1;
            assert_eq!(position["offset"], n, "offsets are the site's own");
        }
    }
}

fn marked(site: usize, n: u64) -> Value {
    json!({ "of": SITES[site].0, "n": n })
}

/// Everything comes, in order on each channel, all of it of `site`, and then nothing more.
async fn receive_all(mut browser: Socket, site: usize) {
    let mut next = [0; CHANNELS.len()];
    for _ in 0..MESSAGES * CHANNELS.len() as u64 {
        let push = browser.message().await["push"].take();
        let place = CHANNELS.iter().position(|known| push["channel"] == *known);
        let next = &mut next[place.unwrap()];
        assert_eq!(push["pub"]["data"], marked(site, *next), "{push}");
        *next += 1;
        assert_eq!(push["pub"]["offset"], *next, "{push}");
    }
    let last = json!({ "id": 9, "ping": {} });
    assert_eq!(browser.ask(last.clone()).await, last);
}

async fn receive_plain(mut stream: Socket, site: usize) {
    for n in 0..MESSAGES {
        let message: Value = serde_json::from_str(&stream.text().await).unwrap();
        assert_eq!(message, marked(site, n));
    }
}

/// History, too, is the site's own.
async fn recovers_its_own(sidecar: &Sidecar, site: usize) {
    let browser = sidecar.upgrade(SITES[site].1, "/realtime", "").await;
    let mut browser = browser.unwrap();
    browser.connect().await;
    let since = json!({ "channel": "post:1", "recover": true, "offset": MESSAGES - 5 });
    let epoch = browser.subscribe("post:1").await["epoch"].take();
    browser
        .ask(json!({ "id": 3, "unsubscribe": { "channel": "post:1" } }))
        .await;
    let mut command = json!({ "id": 4, "subscribe": since });
    command["subscribe"]["epoch"] = epoch;
    let reply = browser.ask(command).await["subscribe"].take();
    assert_eq!(reply["recovered"], true, "{reply}");
    let publications = reply["publications"].as_array().unwrap();
    let data: Vec<Value> = publications.iter().map(|p| p["data"].clone()).collect();
    let missed: Vec<Value> = (MESSAGES - 5..MESSAGES).map(|n| marked(site, n)).collect();
    assert_eq!(data, missed);
}
