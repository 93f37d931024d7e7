//! One channel that something was published to: its offset, its history, the versions of its keys.
//!
//! It takes no lock and knows no other channel; the time is an argument.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use tokio::time::Instant;

use super::{
    Beyond, Bounds, Draft, Epoch, History, HistoryFilter, Position, Publication, Since,
    Unrecoverable,
};

/// What a publication costs in memory beside its own bytes, roughly.
const OVERHEAD: usize = 128;

#[derive(Debug)]
pub(super) struct Stream {
    position: Position,
    history: VecDeque<(Instant, Arc<Publication>)>,
    history_bytes: usize,
    versions: HashMap<Box<str>, Version>,
    /// When the stream was last published to, as a number that only grows.
    pub(super) turn: u64,
}

#[derive(Debug)]
struct Version {
    number: u64,
    epoch: Box<str>,
    offset: u64,
}

impl Stream {
    pub(super) fn new(epoch: Epoch) -> Self {
        Self {
            position: Position { offset: 0, epoch },
            history: VecDeque::new(),
            history_bytes: 0,
            versions: HashMap::new(),
            turn: 0,
        }
    }

    pub(super) const fn position(&self) -> Position {
        self.position
    }

    pub(super) const fn history_bytes(&self) -> usize {
        self.history_bytes
    }

    /// Whether a version at least as new was published under the draft's key.
    pub(super) fn is_outdated(&self, draft: &Draft) -> bool {
        let key = draft.key.as_deref().unwrap_or_default();
        match (draft.version, self.versions.get(key)) {
            (Some(number), Some(seen)) => {
                seen.epoch == draft.version_epoch && seen.number >= number
            }
            _ => false,
        }
    }

    /// Gives the draft the next offset and keeps it as `history` says; or offset 0, where the
    /// draft is not to be part of the stream.
    pub(super) fn append(
        &mut self,
        mut draft: Draft,
        history: History,
        versions_max: usize,
        now: Instant,
    ) -> Arc<Publication> {
        let skipped = draft.skip_history;
        if !skipped {
            self.position.offset += 1;
        }
        if let Some(number) = draft.version {
            let key = draft.key.clone().unwrap_or_default();
            let epoch = std::mem::take(&mut draft.version_epoch);
            self.remember(key, number, epoch, versions_max);
        }
        if skipped {
            return Publication::new(draft, 0);
        }
        let publication = Publication::new(draft, self.position.offset);
        if history.size > 0 {
            self.history_bytes += weight(&publication);
            self.history.push_back((now, Arc::clone(&publication)));
        }
        self.trim(history, now);
        publication
    }

    fn remember(&mut self, key: Box<str>, number: u64, epoch: Box<str>, versions_max: usize) {
        if self.versions.len() >= versions_max && !self.versions.contains_key(&key) {
            let oldest = self
                .versions
                .iter()
                .min_by_key(|(_, version)| version.offset);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                self.versions.remove(&oldest);
            }
        }
        let offset = self.position.offset;
        self.versions.insert(
            key,
            Version {
                number,
                epoch,
                offset,
            },
        );
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

    /// Drops the oldest publications, `bytes` at least or all there are; positions go on. How many
    /// were dropped.
    pub(super) fn shrink(&mut self, bytes: usize) -> u64 {
        let target = self.history_bytes.saturating_sub(bytes);
        let mut count = 0;
        while self.history_bytes > target {
            let Some((_, dropped)) = self.history.pop_front() else {
                break;
            };
            self.history_bytes -= weight(&dropped);
            count += 1;
        }
        count
    }

    /// Forgets every publication and version; the position stays.
    pub(super) fn clear(&mut self) {
        self.history = VecDeque::new();
        self.history_bytes = 0;
        self.versions = HashMap::new();
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
    ) -> Result<Vec<Arc<Publication>>, Unrecoverable> {
        if filter.since.as_ref().is_some_and(|s| !self.is_of(s)) {
            return Err(Unrecoverable);
        }
        let limit = filter.limit.unwrap_or(usize::MAX).min(bounds.messages);
        if limit == 0 {
            return Ok(Vec::new());
        }
        let kept = self.history.iter().map(|(_, kept)| kept);
        Ok(match (&filter.since, filter.reverse) {
            (None, false) => cut(kept, limit, bounds.bytes),
            (None, true) => cut(kept.rev(), limit, bounds.bytes),
            (Some(since), false) => {
                let first = self.place_after(since).ok_or(Unrecoverable)?;
                cut(kept.skip(first), limit, bounds.bytes)
            }
            (Some(since), true) => {
                // Backwards, a page ends where history does: nothing is missing between.
                let next = self.position.offset.saturating_add(1);
                let newer = next.checked_sub(since.offset).ok_or(Unrecoverable)?;
                let newer = usize::try_from(newer).unwrap_or(usize::MAX);
                cut(kept.rev().skip(newer), limit, bounds.bytes)
            }
        })
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

fn cut<'a>(
    publications: impl Iterator<Item = &'a Arc<Publication>>,
    limit: usize,
    bytes_max: usize,
) -> Vec<Arc<Publication>> {
    let mut bytes = 0_usize;
    let fits = |publication: &&Arc<Publication>| {
        let first = bytes == 0;
        bytes = bytes.saturating_add(publication.size());
        first || bytes <= bytes_max
    };
    let page = publications.take(limit).take_while(fits);
    page.map(Arc::clone).collect()
}

fn weight(publication: &Publication) -> usize {
    let key = publication.key.as_ref().map_or(0, |key| key.len());
    OVERHEAD + publication.size() + key
}
