//! The broker of one process: every channel in memory, spread over locks.
//!
//! One lock guards a channel's offset, its history and the set of shards that follow it, so that
//! publishing and subscribing see each other in one order. A channel that nothing was published
//! to costs one small entry while it has subscribers and nothing afterwards; its position is its
//! site's base epoch and offset 0, and its first publication goes on from there. While a channel is
//! followed its epoch stays, whatever happens to others: so a publication with another epoch is of
//! another life.

mod eviction;
mod history;
mod metrics;
mod stripe;
mod usage;

use std::{
    hash::BuildHasher,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

pub use metrics::Metrics;
use stripe::{Channel, Stripe};
use tokio::time::Instant;
use usage::Usage;

use super::{
    ChannelName, Draft, Epoch, History, KeysFull, Position, Publication, Published, Recovery,
    ShardSet, SiteId, Snapshot,
    idempotency::{Key, Keys},
    stream::Stream,
};
use crate::config::Broker;

/// Idempotency keys that are remembered, where [`Memory::idempotency_keys_max`] says nothing.
const IDEMPOTENCY_KEYS_MAX: usize = 100_000;

/// Where a channel is kept, which no publisher can foresee.
#[cfg(not(test))]
type Hashing = std::hash::RandomState;
/// The same place at every run, so that a seed tells a whole simulation.
#[cfg(test)]
type Hashing = std::hash::BuildHasherDefault<std::hash::DefaultHasher>;

/// Locks. More than cores, so that two channels seldom share one.
const STRIPES: usize = 64;

/// Every channel of every site.
#[derive(Debug)]
pub struct Memory {
    stripes: Box<[Mutex<Stripe>]>,
    /// Turns handed out: one each time that a stream is published to, whatever its stripe, so
    /// that what is oldest can be told.
    turns: AtomicU64,
    /// Bytes of what streams remember: publications and versions.
    bytes: Usage,
    /// Channels with a stream.
    streams: Usage,
    base_epochs: Box<[AtomicU64]>,
    /// Locked after a stripe, never before.
    idempotency: Mutex<Keys>,
    hasher: Hashing,
    limits: Limits,
    metrics: Metrics,
}

#[derive(Debug)]
struct Limits {
    channels: usize,
    history_bytes: usize,
    fingerprints: usize,
    versions: usize,
}

impl Memory {
    /// An empty broker for `sites` sites.
    #[must_use]
    pub fn new(config: &Broker, sites: usize, metrics: Metrics) -> Self {
        let epochs = (0..sites).map(|_| AtomicU64::new(Epoch::random().0));
        Self {
            stripes: (0..STRIPES).map(|_| Mutex::default()).collect(),
            turns: AtomicU64::new(0),
            bytes: Usage::new(sites),
            streams: Usage::new(sites),
            base_epochs: epochs.collect(),
            idempotency: Mutex::new(Keys::new(IDEMPOTENCY_KEYS_MAX, sites)),
            hasher: Hashing::default(),
            limits: Limits {
                channels: config.channels_max,
                history_bytes: config.history_bytes_max.as_usize(),
                fingerprints: config.fingerprints_max.div_ceil(STRIPES),
                versions: config.versions_max,
            },
            metrics,
        }
    }

    /// The same broker, with room for `max` idempotency keys.
    #[must_use]
    pub fn idempotency_keys_max(mut self, max: usize) -> Self {
        self.idempotency = Mutex::new(Keys::new(max, self.base_epochs.len()));
        self
    }

    /// How many channels have made room for others.
    #[cfg(test)]
    pub(crate) fn evictions(&self) -> u64 {
        self.metrics.evictions.get()
    }

    /// Orders `draft` and calls `deliver` with it, its epoch and the shards that follow the channel, before
    /// anyone else can touch the channel. `deliver` must not block.
    ///
    /// # Errors
    ///
    /// Nothing was published then: the draft's idempotency key could not be remembered.
    pub fn publish(
        &self,
        channel: &ChannelName,
        mut draft: Draft,
        history: History,
        deliver: impl FnOnce(ShardSet, Epoch, &Arc<Publication>),
    ) -> Result<Published, KeysFull> {
        let now = Instant::now();
        let hash = self.hasher.hash_one(channel);
        let mut stripe = self.stripe(hash);
        let key = draft.idempotency_key.take();
        let mut keyed = None;
        if let Some(key) = key {
            let channel = channel.clone();
            let key = Key { channel, key };
            let mut keys = self.keys();
            if let Some(first) = keys.find(&key, now) {
                self.metrics.repeats.inc();
                let repeated = true;
                return Ok(Published { repeated, ..first });
            }
            if !keys.has_room(&key.channel) {
                self.metrics.keys_full.inc();
                return Err(KeysFull);
            }
            keyed = Some((keys, key));
        }
        if draft.skip_history && draft.version.is_none() {
            self.revive(&mut stripe, channel, hash);
        } else {
            self.open(&mut stripe, channel, hash);
        }
        let published = self.order(&mut stripe, channel, (draft, history, now), deliver);
        if let Some((mut keys, key)) = keyed {
            keys.remember(key, published, now);
        }
        drop(stripe);
        self.make_room();
        Ok(published)
    }

    fn order(
        &self,
        stripe: &mut Stripe,
        channel: &ChannelName,
        (draft, history, now): (Draft, History, Instant),
        deliver: impl FnOnce(ShardSet, Epoch, &Arc<Publication>),
    ) -> Published {
        let position = self.unpublished(stripe, channel);
        let entry = stripe.channels.get_mut(channel);
        let (shards, stream) = entry.map_or((ShardSet::default(), None), |entry| {
            (entry.shards, entry.stream.as_mut())
        });
        let mut published = Published {
            position,
            outdated: false,
            repeated: false,
        };
        let Some(stream) = stream else {
            // Nothing is kept of it, so it needs no stream.
            deliver(
                shards,
                published.position.epoch,
                &Publication::new(draft, 0),
            );
            self.metrics.publications.inc();
            return published;
        };
        if stream.is_outdated(&draft) {
            self.metrics.outdated.inc();
            published.position = stream.position();
            published.outdated = true;
            return published;
        }
        let before = stream.bytes();
        let forgotten = stream.remember(&draft, self.limits.versions);
        self.metrics.versions_dropped.inc_by(forgotten);
        let publication = stream.append(draft, history, now);
        self.bytes.changed(channel.site, before, stream.bytes());
        published.position = stream.position();
        deliver(shards, published.position.epoch, &publication);
        stripe.touch(channel, self.next_turn());
        self.metrics.publications.inc();
        published
    }

    /// Has `shard` follow `channel`, and tells where the channel stands and what `recovery` asks
    /// for.
    pub fn subscribe<'a>(
        &self,
        channel: &ChannelName,
        shard: usize,
        recovery: impl Into<Recovery<'a>>,
        history: History,
    ) -> Snapshot {
        let recovery = recovery.into();
        let hash = self.hasher.hash_one(channel);
        let mut guard = self.stripe(hash);
        let stripe = &mut *guard;
        self.revive(stripe, channel, hash);
        let entry = stripe.channels.entry(channel.clone());
        let entry = entry.or_insert_with(|| Channel::new(self.base_epoch(channel.site)));
        entry.shards.insert(shard);
        let Some(stream) = entry.stream.as_ref() else {
            let position = self.unpublished(stripe, channel);
            let recovered = match recovery {
                Recovery::Since(since, _) if position.is_start(since) => Some(Vec::new()),
                _ => None,
            };
            return Snapshot {
                position,
                recovered,
                beyond: None,
            };
        };
        stripe.unfollowed.remove(&(channel.site, stream.turn));
        self.trim(stripe, channel, history);
        let stream = stripe.channels.get(channel).and_then(|c| c.stream.as_ref());
        let recovered = stream.map_or(Ok(None), |stream| match recovery {
            Recovery::None => Ok(None),
            Recovery::Since(since, bounds) => stream.after(since, bounds),
            Recovery::Newest => Ok(stream.newest().map(|newest| vec![newest])),
        });
        Snapshot {
            position: stream.map_or_else(|| self.unpublished(stripe, channel), |s| s.position()),
            beyond: recovered.as_ref().err().copied(),
            recovered: recovered.unwrap_or_default(),
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
                let place = (channel.site, stream.turn);
                stripe.unfollowed.insert(place, channel.clone());
            }
            None => {
                stripe.channels.remove(channel);
            }
        }
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
        let fingerprints = &stripe.fingerprints;
        let entry = stripe.channels.entry(channel.clone()).or_insert_with(|| {
            Channel::new(if fingerprints.contains(&hash) {
                Epoch::random()
            } else {
                self.base_epoch(channel.site)
            })
        });
        if entry.stream.is_some() {
            return;
        }
        entry.stream = Some(Box::new(Stream::new(entry.epoch)));
        stripe.touch(channel, self.next_turn());
        self.streams.changed(channel.site, 0, 1);
        self.metrics.channels.inc();
    }

    fn next_turn(&self) -> u64 {
        self.turns.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Has the gauge of history tell how much there is now.
    pub fn measure(&self) {
        let bytes = i64::try_from(self.bytes.total()).unwrap_or(i64::MAX);
        self.metrics.history_bytes.set(bytes);
    }

    /// Where a channel stands that has no stream.
    fn unpublished(&self, stripe: &Stripe, channel: &ChannelName) -> Position {
        let followed = stripe.channels.get(channel).map(|entry| entry.epoch);
        Position {
            offset: 0,
            epoch: followed.unwrap_or_else(|| self.base_epoch(channel.site)),
        }
    }

    fn base_epoch(&self, site: SiteId) -> Epoch {
        let epoch = self.base_epochs.get(site.0);
        Epoch(epoch.map_or(0, |epoch| epoch.load(Ordering::Relaxed)))
    }

    fn keys(&self) -> MutexGuard<'_, Keys> {
        let keys = self.idempotency.lock();
        keys.unwrap_or_else(PoisonError::into_inner)
    }

    /// The stripe of those with this hash, or with this number.
    fn stripe(&self, hash: u64) -> MutexGuard<'_, Stripe> {
        let index = usize::try_from(hash % (STRIPES as u64)).unwrap_or_default();
        #[expect(
            clippy::indexing_slicing,
            reason = "the index is taken modulo the length"
        )]
        let stripe = &self.stripes[index];
        stripe.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
