//! Room for what is new: the oldest publications go first, then whole channels that nobody
//! follows. What ended is remembered by a fingerprint, so that a new life never looks like it.

use std::{hash::BuildHasher, sync::atomic::Ordering};

use super::{Epoch, Memory, STRIPES, Stripe};

impl Memory {
    /// Keeps the limits, one stripe after the other: the oldest publications of the channel
    /// published to longest ago go first; then whole channels that nobody follows.
    ///
    /// Takes one lock at a time, and gives up after a round that found nothing: what is followed
    /// is bounded by the subscriptions that there may be.
    pub(super) fn make_room(&self) {
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
        self.metrics.dropped.inc_by(stream.shrink(excess));
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
