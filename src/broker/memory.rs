//! The broker of one process: every channel in memory, spread over locks.
//!
//! One lock guards a channel's offset, its history and the set of shards that follow it, so that
//! publishing and subscribing see each other in one order. A channel that nothing was published
//! to costs one small entry while it has subscribers and nothing afterwards; its position is its
//! site's base epoch and offset 0, and its first publication goes on from there.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

use super::{
    ChannelName, Draft, Epoch, History, Position, Publication, Published, ShardSet, Since, SiteId,
    Snapshot, stream::Stream,
};
use crate::config::Broker;

/// Locks. More than cores, so that two channels seldom share one.
const STRIPES: usize = 64;

/// How many channels are looked at to find one that can make room.
const CANDIDATES: usize = 64;

/// Every channel of every site.
#[derive(Debug)]
pub struct Memory {
    stripes: Box<[Mutex<Stripe>]>,
    base_epochs: Box<[AtomicU64]>,
    hasher: RandomState,
    limits: Limits,
    metrics: Metrics,
}

/// What the broker counts.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    publications: Counter,
    outdated: Counter,
    evictions: Counter,
    channels: Gauge,
}

#[derive(Debug)]
struct Limits {
    channels: usize,
    history_bytes: usize,
    fingerprints: usize,
    versions: usize,
}

#[derive(Debug, Default)]
struct Stripe {
    channels: HashMap<ChannelName, Channel>,
    /// Streams in the order in which they were last published to.
    order: BTreeMap<u64, ChannelName>,
    turn: u64,
    history_bytes: usize,
    /// Channels that had a stream and lost it: a new one must not look like the old.
    fingerprints: HashSet<u64>,
}

#[derive(Debug, Default)]
struct Channel {
    shards: ShardSet,
    stream: Option<Box<Stream>>,
}

impl Metrics {
    /// Registers the broker's metrics.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "broker_publications",
            "Publications that were ordered",
            metrics.publications.clone(),
        );
        registry.register(
            "broker_outdated",
            "Publications left out, since a newer version was there",
            metrics.outdated.clone(),
        );
        registry.register(
            "broker_evictions",
            "Channels that made room for others",
            metrics.evictions.clone(),
        );
        registry.register(
            "broker_channels",
            "Channels with a position of their own",
            metrics.channels.clone(),
        );
        metrics
    }
}

impl Memory {
    /// An empty broker for `sites` sites.
    #[must_use]
    pub fn new(config: &Broker, sites: usize, metrics: Metrics) -> Self {
        let share = |total: usize| total.div_ceil(STRIPES);
        Self {
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
            base_epochs: (0..sites)
                .map(|_| AtomicU64::new(Epoch::random().0))
                .collect(),
            hasher: RandomState::new(),
            limits: Limits {
                channels: share(config.channels_max),
                history_bytes: share(config.history_bytes_max.as_usize()),
                fingerprints: share(config.fingerprints_max),
                versions: config.versions_max,
            },
            metrics,
        }
    }

    /// Orders `draft` and calls `deliver` with it and the shards that follow the channel, before
    /// anyone else can touch the channel. `deliver` must not block.
    pub fn publish(
        &self,
        channel: &ChannelName,
        draft: Draft,
        history: History,
        deliver: impl FnOnce(ShardSet, &Arc<Publication>),
    ) -> Published {
        let now = Instant::now();
        let hash = self.hasher.hash_one(channel);
        let mut guard = self.stripe(hash);
        let stripe = &mut *guard;
        self.revive(stripe, channel, hash);
        stripe.turn += 1;
        let turn = stripe.turn;
        let entry = stripe.channels.entry(channel.clone()).or_default();
        let created = entry.stream.is_none();
        let stream = entry
            .stream
            .get_or_insert_with(|| Box::new(Stream::new(self.base_epoch(channel.site))));
        if stream.is_outdated(&draft) {
            self.metrics.outdated.inc();
            return Published {
                position: stream.position(),
                outdated: true,
            };
        }
        let before = stream.history_bytes();
        let publication = stream.append(draft, history, self.limits.versions, now);
        stripe.history_bytes = stripe.history_bytes + stream.history_bytes() - before;
        stripe
            .order
            .remove(&std::mem::replace(&mut stream.turn, turn));
        stripe.order.insert(turn, channel.clone());
        deliver(entry.shards, &publication);
        let published = Published {
            position: stream.position(),
            outdated: false,
        };
        self.metrics.publications.inc();
        if created {
            self.metrics.channels.inc();
        }
        self.make_room(stripe);
        published
    }

    /// Has `shard` follow `channel`, and tells where the channel stands.
    pub fn subscribe(
        &self,
        channel: &ChannelName,
        shard: usize,
        since: Option<&Since>,
        history: History,
    ) -> Snapshot {
        let hash = self.hasher.hash_one(channel);
        let mut guard = self.stripe(hash);
        let stripe = &mut *guard;
        self.revive(stripe, channel, hash);
        let entry = stripe.channels.entry(channel.clone()).or_default();
        entry.shards.insert(shard);
        match entry.stream.as_mut() {
            Some(stream) => {
                let before = stream.history_bytes();
                stream.trim(history, Instant::now());
                stripe.history_bytes -= before - stream.history_bytes();
                Snapshot {
                    position: stream.position(),
                    recovered: since.and_then(|since| stream.after(since)),
                }
            }
            None => {
                let position = self.unpublished(channel);
                let current = |since: &Since| {
                    let epoch = since.epoch.as_deref();
                    since.offset == 0 && epoch.is_none_or(|epoch| position.epoch.is(epoch))
                };
                Snapshot {
                    position,
                    recovered: since.filter(|since| current(since)).map(|_| Vec::new()),
                }
            }
        }
    }

    /// `shard` has no subscriber of `channel` any more.
    pub fn unsubscribe(&self, channel: &ChannelName, shard: usize) {
        let mut stripe = self.stripe(self.hasher.hash_one(channel));
        if let Some(entry) = stripe.channels.get_mut(channel) {
            entry.shards.remove(shard);
            if entry.shards.is_empty() && entry.stream.is_none() {
                stripe.channels.remove(channel);
            }
        }
    }

    /// Where a channel stands.
    #[must_use]
    pub fn position(&self, channel: &ChannelName) -> Position {
        let hash = self.hasher.hash_one(channel);
        let mut stripe = self.stripe(hash);
        self.revive(&mut stripe, channel, hash);
        let stream = stripe.channels.get(channel).and_then(|c| c.stream.as_ref());
        stream.map_or_else(|| self.unpublished(channel), |stream| stream.position())
    }

    /// Gives a channel that was evicted a new life, with an epoch of its own: a reader who stood at
    /// offset 0 of the old life must not be told that it has missed nothing.
    fn revive(&self, stripe: &mut Stripe, channel: &ChannelName, hash: u64) {
        if !stripe.fingerprints.contains(&hash) {
            return;
        }
        let entry = stripe.channels.entry(channel.clone()).or_default();
        if entry.stream.is_none() {
            stripe.turn += 1;
            let mut stream = Box::new(Stream::new(Epoch::random()));
            stream.turn = stripe.turn;
            entry.stream = Some(stream);
            stripe.order.insert(stripe.turn, channel.clone());
            self.metrics.channels.inc();
        }
    }

    fn unpublished(&self, channel: &ChannelName) -> Position {
        Position {
            offset: 0,
            epoch: self.base_epoch(channel.site),
        }
    }

    fn base_epoch(&self, site: SiteId) -> Epoch {
        let epoch = self.base_epochs.get(site.0);
        Epoch(epoch.map_or(0, |epoch| epoch.load(Ordering::Relaxed)))
    }

    fn stripe(&self, hash: u64) -> MutexGuard<'_, Stripe> {
        let index = usize::try_from(hash % (STRIPES as u64)).unwrap_or_default();
        #[expect(
            clippy::indexing_slicing,
            reason = "the index is taken modulo the length"
        )]
        let stripe = &self.stripes[index];
        stripe.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps the limits: history goes first, from the channel published to longest ago; then
    /// whole channels that nobody follows.
    fn make_room(&self, stripe: &mut Stripe) {
        while stripe.history_bytes > self.limits.history_bytes {
            let holder = stripe.order.values().find(|name| {
                let channel = stripe.channels.get(*name);
                let stream = channel.and_then(|channel| channel.stream.as_ref());
                stream.is_some_and(|stream| stream.history_bytes() > 0)
            });
            let Some(holder) = holder.cloned() else { break };
            let channel = stripe.channels.get_mut(&holder);
            if let Some(stream) = channel.and_then(|channel| channel.stream.as_mut()) {
                stripe.history_bytes -= stream.history_bytes();
                stream.forget();
                self.metrics.evictions.inc();
            }
        }
        if stripe.order.len() > self.limits.channels {
            self.evict(stripe);
        }
    }

    fn evict(&self, stripe: &mut Stripe) {
        let unfollowed = stripe.order.iter().take(CANDIDATES).find(|(_, name)| {
            let channel = stripe.channels.get(*name);
            channel.is_some_and(|channel| channel.shards.is_empty())
        });
        let Some((turn, name)) = unfollowed.map(|(turn, name)| (*turn, name.clone())) else {
            return;
        };
        stripe.order.remove(&turn);
        if let Some(stream) = stripe.channels.remove(&name).and_then(|c| c.stream) {
            stripe.history_bytes -= stream.history_bytes();
        }
        self.metrics.evictions.inc();
        self.metrics.channels.dec();
        if stripe.fingerprints.len() >= self.limits.fingerprints {
            // What was forgotten can't be told from what never was: every position of a channel
            // without a stream becomes void.
            stripe.fingerprints.clear();
            for epoch in &self.base_epochs {
                epoch.store(Epoch::random().0, Ordering::Relaxed);
            }
        }
        stripe.fingerprints.insert(self.hasher.hash_one(&name));
    }
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
