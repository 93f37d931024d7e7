//! Room for what is new: the oldest publications go first, then whole channels that nobody
//! follows. What ended is remembered by a fingerprint, so that a new life never looks like it.

use std::{cmp::Reverse, collections::BinaryHeap, hash::BuildHasher, sync::atomic::Ordering};

use super::{
    Epoch, Memory, STRIPES, SiteId, Stripe,
    stripe::{self, Line},
    usage::Usage,
};

/// Channels, and bytes, that make room beyond what is needed: enough that looking for the oldest
/// costs each publication next to nothing, and few enough that none waits long for it.
const CHANNELS_AT_ONCE: usize = 256;
const BYTES_AT_ONCE: usize = 256 << 10;

/// One limit, what counts against it, and who makes room for it in which order.
struct Pressure<'a> {
    max: usize,
    at_once: usize,
    usage: &'a Usage,
    line: fn(&Stripe) -> &Line,
    /// Has the oldest channel of these sites in a stripe make room: for as much as is named, or
    /// for what it has. The channel's site.
    relieve: fn(&Memory, &mut Stripe, &[SiteId], usize) -> Option<SiteId>,
}

impl Memory {
    /// Keeps the limits: whole channels that nobody follows go, and publications and versions of
    /// the others; of the channel published to longest ago first, wherever it is kept, but only
    /// of sites that use more than what is set aside for each.
    pub(super) fn make_room(&self) {
        self.reduce(&Pressure {
            max: self.limits.channels,
            at_once: CHANNELS_AT_ONCE,
            usage: &self.streams,
            line: |stripe| &stripe.unfollowed,
            relieve: |memory, stripe, sites, _| memory.evict(stripe, sites),
        });
        self.reduce(&Pressure {
            max: self.limits.history_bytes,
            at_once: BYTES_AT_ONCE,
            usage: &self.bytes,
            line: |stripe| &stripe.kept,
            relieve: Self::drop_oldest,
        });
    }

    /// Makes room once a limit is exceeded, and a little more, so that not each publication has to
    /// look for it.
    ///
    /// Takes one lock at a time, so others publish meanwhile: what was the oldest of a stripe is
    /// asked for again when its turn comes. Gives up when nobody is left who may make room: what
    /// is followed is bounded by the subscriptions that there may be.
    fn reduce(&self, pressure: &Pressure<'_>) {
        let Pressure { max, usage, .. } = *pressure;
        if usage.total() <= max {
            return;
        }
        let target = max - (max / 64).min(pressure.at_once);
        let mut sites = usage.sites_beyond_part(max);
        let oldest = |stripe: &Stripe, sites: &[SiteId]| {
            let head = stripe::oldest((pressure.line)(stripe), sites);
            head.map(|(turn, _)| turn)
        };
        let places = (0..STRIPES as u64).filter_map(|place| {
            let turn = oldest(&self.stripe(place), &sites)?;
            Some(Reverse((turn, place)))
        });
        let mut heads: BinaryHeap<_> = places.collect();
        while let Some(Reverse((expected, place))) = heads.pop() {
            let excess = usage.total().saturating_sub(target);
            if excess == 0 {
                return;
            }
            let mut stripe = self.stripe(place);
            let is_next = oldest(&stripe, &sites).is_some_and(|turn| turn <= expected);
            if is_next {
                let relieved = (pressure.relieve)(self, &mut stripe, &sites, excess);
                let Some(relieved) = relieved else { continue };
                sites.retain(|site| *site != relieved || usage.beyond_part(*site, max) > 0);
            }
            if let Some(turn) = oldest(&stripe, &sites) {
                heads.push(Reverse((turn, place)));
            }
        }
    }

    /// Drops the oldest publications of one channel, and its versions after them: `excess` bytes
    /// at least or all there are, but no more than its site has to give.
    fn drop_oldest(&self, stripe: &mut Stripe, sites: &[SiteId], excess: usize) -> Option<SiteId> {
        let (turn, name) = stripe::oldest(&stripe.kept, sites)?;
        let site = name.site;
        let stream = stripe.channels.get_mut(name)?.stream.as_mut()?;
        let before = stream.bytes();
        let beyond = self.bytes.beyond_part(site, self.limits.history_bytes);
        let dropped = stream.shrink(excess.min(beyond));
        self.metrics.dropped.inc_by(dropped.publications);
        self.metrics.versions_dropped.inc_by(dropped.versions);
        self.bytes.changed(site, before, stream.bytes());
        if stream.bytes() == 0 {
            stripe.kept.remove(&(site, turn));
        }
        Some(site)
    }

    /// Ends the stream published to longest ago that nobody follows.
    fn evict(&self, stripe: &mut Stripe, sites: &[SiteId]) -> Option<SiteId> {
        let (turn, name) = stripe::oldest(&stripe.unfollowed, sites)?;
        let site = name.site;
        let name = stripe.unfollowed.remove(&(site, turn))?;
        stripe.kept.remove(&(site, turn));
        if let Some(stream) = stripe.channels.remove(&name).and_then(|c| c.stream) {
            self.bytes.changed(site, stream.bytes(), 0);
        }
        self.streams.changed(site, 1, 0);
        self.metrics.evictions.inc();
        self.metrics.channels.dec();
        if stripe.fingerprints.len() >= self.limits.fingerprints {
            // What was forgotten can't be told from what never was: every position of a channel
            // without a stream becomes void.
            stripe.fingerprints.clear();
            for epoch in &self.base_epochs {
                epoch.store(Epoch::random().0, Ordering::Relaxed);
            }
            self.metrics.fingerprints_full.inc();
        }
        stripe.fingerprints.insert(self.hasher.hash_one(&name));
        Some(site)
    }
}
