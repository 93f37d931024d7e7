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
        atomic::{AtomicU64, AtomicUsize, Ordering},
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

/// Every channel of every site.
#[derive(Debug)]
pub struct Memory {
    stripes: Box<[Mutex<Stripe>]>,
    /// Where room is looked for next.
    cursor: AtomicUsize,
    /// Bytes of history, in all stripes.
    history_bytes: AtomicUsize,
    /// Channels with a stream, in all stripes.
    streams: AtomicUsize,
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
    /// Streams that nobody follows, by when they were last published to: they make room first.
    unfollowed: BTreeMap<u64, ChannelName>,
    /// Streams with history, by when they were last published to.
    kept: BTreeMap<u64, ChannelName>,
    turn: u64,
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
        let epochs = (0..sites).map(|_| AtomicU64::new(Epoch::random().0));
        Self {
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
            cursor: AtomicUsize::new(0),
            history_bytes: AtomicUsize::new(0),
            streams: AtomicUsize::new(0),
            base_epochs: epochs.collect(),
            hasher: RandomState::new(),
            limits: Limits {
                channels: config.channels_max,
                history_bytes: config.history_bytes_max.as_usize(),
                fingerprints: config.fingerprints_max.div_ceil(STRIPES),
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
        let hash = self.hasher.hash_one(channel);
        let mut guard = self.stripe(hash);
        let stripe = &mut *guard;
        self.open(stripe, channel, hash);
        let outdated = Published {
            position: self.unpublished(channel),
            outdated: true,
        };
        let Some(entry) = stripe.channels.get_mut(channel) else {
            return outdated;
        };
        let Some(stream) = entry.stream.as_mut() else {
            return outdated;
        };
        if stream.is_outdated(&draft) {
            self.metrics.outdated.inc();
            return Published {
                position: stream.position(),
                ..outdated
            };
        }
        let before = stream.history_bytes();
        let publication = stream.append(draft, history, self.limits.versions, Instant::now());
        self.account(before, stream.history_bytes());
        deliver(entry.shards, &publication);
        let position = stream.position();
        stripe.touch(channel);
        self.metrics.publications.inc();
        drop(guard);
        self.make_room();
        Published {
            position,
            outdated: false,
        }
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
        let Some(stream) = entry.stream.as_mut() else {
            let position = self.unpublished(channel);
            let current = |since: &Since| {
                let epoch = since.epoch.as_deref();
                since.offset == 0 && epoch.is_none_or(|epoch| position.epoch.is(epoch))
            };
            return Snapshot {
                position,
                recovered: since.filter(|since| current(since)).map(|_| Vec::new()),
            };
        };
        stripe.unfollowed.remove(&stream.turn);
        let before = stream.history_bytes();
        stream.trim(history, Instant::now());
        self.account(before, stream.history_bytes());
        if stream.history_bytes() == 0 {
            stripe.kept.remove(&stream.turn);
        }
        Snapshot {
            position: stream.position(),
            recovered: since.and_then(|since| stream.after(since)),
        }
    }

    /// `shard` has no subscriber of `channel` any more.
    pub fn unsubscribe(&self, channel: &ChannelName, shard: usize) {
        let mut guard = self.stripe(self.hasher.hash_one(channel));
        let stripe = &mut *guard;
        let Some(entry) = stripe.channels.get_mut(channel) else {
            return;
        };
        entry.shards.remove(shard);
        if !entry.shards.is_empty() {
            return;
        }
        match &entry.stream {
            Some(stream) => {
                stripe.unfollowed.insert(stream.turn, channel.clone());
            }
            None => {
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
        if stripe.fingerprints.contains(&hash) {
            self.open(stripe, channel, hash);
        }
    }

    /// Sees to it that `channel` has a stream.
    fn open(&self, stripe: &mut Stripe, channel: &ChannelName, hash: u64) {
        let entry = stripe.channels.entry(channel.clone()).or_default();
        if entry.stream.is_some() {
            return;
        }
        let epoch = if stripe.fingerprints.contains(&hash) {
            Epoch::random()
        } else {
            self.base_epoch(channel.site)
        };
        entry.stream = Some(Box::new(Stream::new(epoch)));
        stripe.touch(channel);
        self.streams.fetch_add(1, Ordering::Relaxed);
        self.metrics.channels.inc();
    }

    /// Counts history that has grown or shrunk.
    fn account(&self, before: usize, after: usize) {
        if after >= before {
            self.history_bytes
                .fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.history_bytes
                .fetch_sub(before - after, Ordering::Relaxed);
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

    /// Keeps the limits, one stripe after the other: the oldest publications of the channel
    /// published to longest ago go first; then whole channels that nobody follows.
    ///
    /// Takes one lock at a time, and gives up after a round that found nothing: what is followed
    /// is bounded by the subscriptions that there may be.
    fn make_room(&self) {
        let mut idle = 0;
        while idle < STRIPES {
            let excess = self
                .history_bytes
                .load(Ordering::Relaxed)
                .saturating_sub(self.limits.history_bytes);
            let crowded = self.streams.load(Ordering::Relaxed) > self.limits.channels;
            if excess == 0 && !crowded {
                return;
            }
            let place = self.cursor.fetch_add(1, Ordering::Relaxed);
            let mut stripe = self.stripe(place as u64);
            let dropped = self.drop_oldest(&mut stripe, excess);
            let evicted = crowded && self.evict(&mut stripe);
            idle = if dropped || evicted { 0 } else { idle + 1 };
        }
    }

    /// Drops the oldest publications of one channel, `excess` bytes at least or all there are.
    fn drop_oldest(&self, stripe: &mut Stripe, excess: usize) -> bool {
        if excess == 0 {
            return false;
        }
        let Some((turn, name)) = stripe.kept.first_key_value() else {
            return false;
        };
        let (turn, channel) = (*turn, stripe.channels.get_mut(name));
        let Some(stream) = channel.and_then(|channel| channel.stream.as_mut()) else {
            return false;
        };
        let before = stream.history_bytes();
        stream.shrink(excess);
        self.account(before, stream.history_bytes());
        if stream.history_bytes() == 0 {
            stripe.kept.remove(&turn);
        }
        true
    }

    /// Ends the stream published to longest ago that nobody follows.
    fn evict(&self, stripe: &mut Stripe) -> bool {
        let Some((turn, name)) = stripe.unfollowed.pop_first() else {
            return false;
        };
        stripe.kept.remove(&turn);
        if let Some(stream) = stripe.channels.remove(&name).and_then(|c| c.stream) {
            self.account(stream.history_bytes(), 0);
        }
        self.streams.fetch_sub(1, Ordering::Relaxed);
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
        true
    }
}

impl Stripe {
    /// Moves a channel's stream to the end of the line.
    fn touch(&mut self, name: &ChannelName) {
        self.turn += 1;
        let Some(entry) = self.channels.get_mut(name) else {
            return;
        };
        let Some(stream) = entry.stream.as_mut() else {
            return;
        };
        let before = std::mem::replace(&mut stream.turn, self.turn);
        self.unfollowed.remove(&before);
        self.kept.remove(&before);
        if entry.shards.is_empty() {
            self.unfollowed.insert(self.turn, name.clone());
        }
        if stream.history_bytes() > 0 {
            self.kept.insert(self.turn, name.clone());
        }
    }
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
