//! One channel that something was published to: its offset, its history, the versions of its keys.
//!
//! It takes no lock and knows no other channel; the time is an argument.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::Instant,
};

use super::{Draft, Epoch, History, Position, Publication, Since};

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

    /// Gives the draft the next offset and keeps it as `history` says.
    pub(super) fn append(
        &mut self,
        draft: Draft,
        history: History,
        versions_max: usize,
        now: Instant,
    ) -> Arc<Publication> {
        self.position.offset += 1;
        let offset = self.position.offset;
        if let Some(number) = draft.version {
            let key = draft.key.clone().unwrap_or_default();
            self.remember(key, number, draft.version_epoch, versions_max);
        }
        let publication = Arc::new(Publication {
            offset,
            data: draft.data,
            tags: draft.tags,
        });
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

    /// Drops the oldest publications, `bytes` at least or all there are; positions go on.
    pub(super) fn shrink(&mut self, bytes: usize) {
        let target = self.history_bytes.saturating_sub(bytes);
        while self.history_bytes > target {
            let Some((_, dropped)) = self.history.pop_front() else {
                return;
            };
            self.history_bytes -= weight(&dropped);
        }
    }

    /// All that came after `since`, or `None` where something of it is gone or it belongs to
    /// another life of the channel.
    pub(super) fn after(&self, since: &Since) -> Option<Vec<Arc<Publication>>> {
        let known = since.epoch.as_deref();
        if known.is_some_and(|epoch| !self.position.epoch.is(epoch)) {
            return None;
        }
        let missing = self.position.offset.checked_sub(since.offset)?;
        let missing = usize::try_from(missing).ok()?;
        let first = self.history.len().checked_sub(missing)?;
        let after = self.history.iter().skip(first);
        Some(
            after
                .map(|(_, publication)| Arc::clone(publication))
                .collect(),
        )
    }
}

fn weight(publication: &Publication) -> usize {
    OVERHEAD + publication.data.len() + publication.tags.as_ref().map_or(0, |tags| tags.len())
}
