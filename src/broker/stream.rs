//! One channel that something was published to: its offset, its history, the versions of its keys.
//!
//! It takes no lock and knows no other channel; the time is an argument.

use std::{collections::VecDeque, sync::Arc};

use tokio::time::Instant;

use super::{
    Beyond, Bounds, Draft, Epoch, History, HistoryFilter, Page, Position, Publication, Since,
    Unrecoverable, versions::Versions,
};

/// What a publication costs in memory beside its own bytes, roughly.
const OVERHEAD: usize = 128;

#[derive(Debug)]
pub(super) struct Stream {
    position: Position,
    history: VecDeque<(Instant, Arc<Publication>)>,
    history_bytes: usize,
    versions: Versions,
    /// When the stream was last published to, as a number that only grows.
    pub(super) turn: u64,
}

/// What made room.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Dropped {
    pub(super) publications: u64,
    pub(super) versions: u64,
}

impl Stream {
    pub(super) fn new(epoch: Epoch) -> Self {
        Self {
            position: Position { offset: 0, epoch },
            history: VecDeque::new(),
            history_bytes: 0,
            versions: Versions::default(),
            turn: 0,
        }
    }

    pub(super) const fn position(&self) -> Position {
        self.position
    }

    /// Bytes of what is remembered: publications and versions.
    pub(super) const fn bytes(&self) -> usize {
        self.history_bytes + self.versions.bytes()
    }

    #[cfg(test)]
    pub(super) fn versions(&self) -> usize {
        self.versions.count()
    }

    /// Whether a version at least as new was published under the draft's key.
    pub(super) fn is_outdated(&self, draft: &Draft) -> bool {
        let key = draft.key.as_deref().unwrap_or_default();
        let is_old = |number| self.versions.covers(key, number, &draft.version_epoch);
        draft.version.is_some_and(is_old)
    }

    /// Remembers the draft's version, if it has one. How many others were forgotten for it.
    pub(super) fn remember(&mut self, draft: &Draft, max: usize) -> u64 {
        let Some(number) = draft.version else {
            return 0;
        };
        let key = draft.key.as_deref().unwrap_or_default();
        self.versions
            .remember(key, (number, &draft.version_epoch), max)
    }

    /// Gives the draft the next offset and keeps it as `history` says; or offset 0, where the
    /// draft is not to be part of the stream.
    pub(super) fn append(
        &mut self,
        draft: Draft,
        history: History,
        now: Instant,
    ) -> Arc<Publication> {
        if draft.skip_history {
            return Publication::new(draft, 0);
        }
        self.position.offset += 1;
        let publication = Publication::new(draft, self.position.offset);
        if history.size > 0 {
            self.history_bytes += weight(&publication);
            self.history.push_back((now, Arc::clone(&publication)));
        }
        self.trim(history, now);
        publication
    }

    /// Drops what is too much or too old.
    pub(super) fn trim(&mut self, history: History, now: Instant) {
        while let Some((at, _)) = self.history.front() {
            let old = now.saturating_duration_since(*at) >= history.ttl;
            if !old && self.history.len() <= history.size {
                break;
            }
            if let Some((_, dropped)) = self.history.pop_front() {
                self.history_bytes -= weight(&dropped);
            }
        }
    }

    /// Drops the oldest publications and, once none is left, the oldest versions: `bytes` at
    /// least or all there are. Positions go on.
    pub(super) fn shrink(&mut self, bytes: usize) -> Dropped {
        let target = self.bytes().saturating_sub(bytes);
        let mut dropped = Dropped::default();
        while self.bytes() > target {
            let Some((_, oldest)) = self.history.pop_front() else {
                break;
            };
            self.history_bytes -= weight(&oldest);
            dropped.publications += 1;
        }
        if self.history.is_empty() {
            // What it took at its largest is not counted any more.
            self.history = VecDeque::new();
            dropped.versions = self.versions.shrink_to(target);
        }
        dropped
    }

    /// Forgets every publication and version; the position stays.
    pub(super) fn clear(&mut self) {
        self.history = VecDeque::new();
        self.history_bytes = 0;
        self.versions = Versions::default();
    }

    /// All that came after `since`, or `None` where something of it is gone, or where `since`
    /// belongs to another life of the channel.
    ///
    /// # Errors
    ///
    /// It is more than `bounds` allow.
    pub(super) fn after(
        &self,
        since: &Since,
        bounds: Bounds,
    ) -> Result<Option<Vec<Arc<Publication>>>, Beyond> {
        let Some(first) = self.place_after(since) else {
            return Ok(None);
        };
        if self.history.len() - first > bounds.messages {
            return Err(Beyond::Messages);
        }
        let after = || self.history.iter().skip(first).map(|(_, kept)| kept);
        let bytes: usize = after().map(|publication| publication.size()).sum();
        if bytes > bounds.bytes {
            return Err(Beyond::Bytes);
        }
        Ok(Some(after().map(Arc::clone).collect()))
    }

    /// The publication that the position points at, if it is kept.
    pub(super) fn newest(&self) -> Option<Arc<Publication>> {
        self.history.back().map(|(_, newest)| Arc::clone(newest))
    }

    /// One page of history, cut short where it is more than `bounds` allow, but for its first
    /// publication.
    pub(super) fn page(
        &self,
        filter: &HistoryFilter,
        bounds: Bounds,
    ) -> Result<Page, Unrecoverable> {
        if filter.since.as_ref().is_some_and(|s| !self.is_of(s)) {
            return Err(Unrecoverable);
        }
        let page = |(publications, beyond)| Page {
            position: self.position,
            publications,
            beyond,
        };
        let limit = filter.limit.unwrap_or(usize::MAX);
        if limit == 0 {
            return Ok(page((Vec::new(), None)));
        }
        let kept = self.history.iter().map(|(_, kept)| kept);
        Ok(page(match (&filter.since, filter.reverse) {
            (None, false) => cut(kept, limit, bounds),
            (None, true) => cut(kept.rev(), limit, bounds),
            (Some(since), false) => {
                let first = self.place_after(since).ok_or(Unrecoverable)?;
                cut(kept.skip(first), limit, bounds)
            }
            (Some(since), true) => {
                // Backwards, a page ends where history does: nothing is missing between.
                let next = self.position.offset.saturating_add(1);
                let newer = next.checked_sub(since.offset).ok_or(Unrecoverable)?;
                let newer = usize::try_from(newer).unwrap_or(usize::MAX);
                cut(kept.rev().skip(newer), limit, bounds)
            }
        }))
    }

    /// Where in history the first publication after `since` stands; `None` where it is gone, or
    /// `since` is above the top or of another life.
    fn place_after(&self, since: &Since) -> Option<usize> {
        if !self.is_of(since) {
            return None;
        }
        let missing = self.position.offset.checked_sub(since.offset)?;
        let missing = usize::try_from(missing).ok()?;
        self.history.len().checked_sub(missing)
    }

    fn is_of(&self, since: &Since) -> bool {
        let known = since.epoch.as_deref();
        known.is_none_or(|epoch| self.position.epoch.is(epoch))
    }
}

/// The first `limit` publications at most, and which bound keeps back some of them.
fn cut<'a>(
    publications: impl Iterator<Item = &'a Arc<Publication>>,
    limit: usize,
    bounds: Bounds,
) -> (Vec<Arc<Publication>>, Option<Beyond>) {
    let (mut page, mut bytes) = (Vec::new(), 0_usize);
    for publication in publications.take(limit) {
        if page.len() >= bounds.messages {
            return (page, Some(Beyond::Messages));
        }
        bytes = bytes.saturating_add(publication.size());
        if bytes > bounds.bytes && !page.is_empty() {
            return (page, Some(Beyond::Bytes));
        }
        page.push(Arc::clone(publication));
    }
    (page, None)
}

fn weight(publication: &Publication) -> usize {
    let key = publication.key.as_ref().map_or(0, |key| key.len());
    OVERHEAD + publication.size() + key
}
