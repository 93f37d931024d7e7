//! What was published before: read page by page, forgotten on request.

use std::hash::BuildHasher;

use tokio::time::Instant;

use super::{
    super::{Bounds, HistoryFilter, Page, Unrecoverable},
    ChannelName, History, Memory, Position, Stripe,
};

impl Memory {
    /// Where a channel stands.
    #[must_use]
    pub fn position(&self, channel: &ChannelName) -> Position {
        let hash = self.hasher.hash_one(channel);
        let mut stripe = self.stripe(hash);
        self.revive(&mut stripe, channel, hash);
        let stream = stripe.channels.get(channel).and_then(|c| c.stream.as_ref());
        stream.map_or_else(
            || self.unpublished(&stripe, channel),
            |stream| stream.position(),
        )
    }

    /// The part of a channel's history that `filter` asks for, and where the channel stands.
    ///
    /// A page never costs more than `bounds`, but for a single publication that does: what is
    /// left out comes with the next page, `since` the last publication of this one.
    ///
    /// # Errors
    ///
    /// What came after `filter.since` is gone in part, or `filter.since` is above the top or of
    /// another life of the channel.
    pub fn history(
        &self,
        channel: &ChannelName,
        filter: &HistoryFilter,
        bounds: Bounds,
        history: History,
    ) -> Result<Page, Unrecoverable> {
        let hash = self.hasher.hash_one(channel);
        let mut stripe = self.stripe(hash);
        self.revive(&mut stripe, channel, hash);
        self.trim(&mut stripe, channel, history);
        let stream = stripe.channels.get(channel).and_then(|c| c.stream.as_ref());
        let Some(stream) = stream else {
            let position = self.unpublished(&stripe, channel);
            let since = filter.since.as_ref();
            return match since.is_none_or(|since| position.is_start(since)) {
                true => Ok(Page {
                    position,
                    publications: Vec::new(),
                    beyond: None,
                }),
                false => Err(Unrecoverable),
            };
        };
        stream.page(filter, bounds)
    }

    /// Forgets a channel's publications and versions. Its position stays and goes on from there,
    /// so whoever missed some of them is told so.
    pub fn remove_history(&self, channel: &ChannelName) {
        let mut guard = self.stripe(self.hasher.hash_one(channel));
        let stripe = &mut *guard;
        let entry = stripe.channels.get_mut(channel);
        if let Some(stream) = entry.and_then(|entry| entry.stream.as_mut()) {
            self.bytes.changed(channel.site, stream.bytes(), 0);
            stream.clear();
            stripe.kept.remove(&(channel.site, stream.turn));
        }
    }

    /// Drops what is too old of a channel's history.
    pub(super) fn trim(&self, stripe: &mut Stripe, channel: &ChannelName, history: History) {
        let entry = stripe.channels.get_mut(channel);
        let Some(stream) = entry.and_then(|entry| entry.stream.as_mut()) else {
            return;
        };
        let before = stream.bytes();
        stream.trim(history, Instant::now());
        self.bytes.changed(channel.site, before, stream.bytes());
        if stream.bytes() == 0 {
            stripe.kept.remove(&(channel.site, stream.turn));
        }
    }
}
