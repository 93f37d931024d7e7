//! What was published under an idempotency key: a second request with it publishes nothing.
//!
//! Keys are forgotten by time alone. Full means that a request with a new key is refused, never
//! that a key is forgotten early. It takes no lock; the time is an argument.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use tokio::time::Instant;

use super::{ChannelName, Published, shares::Shares};

/// How long a key is kept.
const KEPT: Duration = Duration::from_secs(300);

/// A key as one channel knows it.
#[derive(Debug, Eq, Hash, PartialEq)]
pub(super) struct Key {
    pub(super) channel: ChannelName,
    pub(super) key: Box<str>,
}

#[derive(Debug)]
pub(super) struct Keys {
    kept: HashMap<Arc<Key>, Published>,
    /// In the order in which they came, which is the one in which they end.
    order: VecDeque<(Instant, Arc<Key>)>,
    shares: Shares,
}

impl Keys {
    pub(super) fn new(max: usize, sites: usize) -> Self {
        Self {
            kept: HashMap::new(),
            order: VecDeque::new(),
            shares: Shares::new(max, sites),
        }
    }

    /// What became of the first request with `key`, if it is still known.
    pub(super) fn find(&mut self, key: &Key, now: Instant) -> Option<Published> {
        self.expire(now);
        self.kept.get(key).copied()
    }

    /// Whether the channel's site may have one more key remembered.
    pub(super) fn has_room(&self, channel: &ChannelName) -> bool {
        self.shares.has_room(channel.site)
    }

    pub(super) fn remember(&mut self, key: Key, published: Published, now: Instant) {
        let key = Arc::new(key);
        self.shares.add(key.channel.site, 1);
        self.order.push_back((now, Arc::clone(&key)));
        self.kept.insert(key, published);
    }

    fn expire(&mut self, now: Instant) {
        while let Some((at, _)) = self.order.front() {
            if now.saturating_duration_since(*at) < KEPT {
                return;
            }
            if let Some((_, key)) = self.order.pop_front() {
                self.kept.remove(&key);
                self.shares.remove(key.channel.site, 1);
            }
        }
    }
}
