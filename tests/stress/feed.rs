//! Publishers that go on for as long as a scenario lasts, each numbering what it says.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a scenario stops at the first fault"
)]

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use crate::{
    harness::{
        http::Client,
        publisher::{Publisher, Request},
    },
    world::Place,
};

/// What a publisher says however late it comes to it.
const AT_LEAST: u64 = 10;

/// One channel, and how much is said in it.
#[derive(Clone)]
pub(crate) struct Feed {
    pub(crate) site: usize,
    pub(crate) channel: String,
    /// At the same time.
    pub(crate) publishers: u64,
    /// After each publication of one of them.
    pub(crate) pause: Duration,
    pub(crate) ends: Instant,
    /// As PHP does it: a connection for each.
    pub(crate) anew: bool,
}

impl Feed {
    pub(crate) fn new(channel: impl Into<String>, pause: u64, ends: Instant) -> Self {
        Self {
            site: 0,
            channel: channel.into(),
            publishers: 1,
            pause: Duration::from_millis(pause),
            ends,
            anew: false,
        }
    }

    /// Publishes until its time is over, then the last word; how many publications in all.
    pub(crate) async fn run(self, place: Arc<Place>) -> u64 {
        let mut publishers = JoinSet::new();
        for by in 0..self.publishers {
            publishers.spawn(self.clone().publish(Arc::clone(&place), by));
        }
        let published: u64 = publishers.join_all().await.into_iter().sum();
        self.end(&place).await;
        published + 1
    }

    async fn publish(self, place: Arc<Place>, by: u64) -> u64 {
        let publisher = place.publisher(self.site);
        let mut kept = publisher.connect().await;
        let mut n = 0;
        while Instant::now() < self.ends || n < AT_LEAST {
            n += 1;
            let data = self.data(by, n);
            if self.anew {
                kept = publisher.connect().await;
            }
            publish(&mut kept, &publisher, &self.channel, &data).await;
            sleep(self.pause).await;
        }
        n
    }

    /// What the publisher `by` says as number `n`.
    pub(crate) fn data(&self, by: u64, n: u64) -> Value {
        json!({ "site": self.site, "channel": self.channel, "by": by, "n": n })
    }

    /// Says the last word.
    pub(crate) async fn end(&self, place: &Place) {
        let last = json!({ "site": self.site, "channel": self.channel, "end": true });
        place
            .publisher(self.site)
            .publish(&self.channel, &last)
            .await;
    }
}

/// Publishes over a kept connection; where the channel stands then.
pub(crate) async fn publish(
    connection: &mut Client,
    publisher: &Publisher,
    channel: &str,
    data: &Value,
) -> Value {
    exchange(connection, publisher, Request::publish(channel, data)).await
}

/// A request over a kept connection, which must succeed; its result.
pub(crate) async fn exchange(
    connection: &mut Client,
    publisher: &Publisher,
    request: Request,
) -> Value {
    let response = connection.exchange(publisher.sign(request).bytes()).await;
    assert_eq!(response.head.status, 200, "{}", response.text());
    let mut reply: Value = serde_json::from_slice(&response.body).unwrap();
    assert!(reply["error"].is_null(), "{reply}");
    match reply["result"].take() {
        Value::Null => reply,
        result => result,
    }
}
