//! The versions of one channel's keys: the newest of each, for as many keys as may be.
//!
//! It takes no lock. Which of them goes first is a matter of when its key was last published to,
//! not of the channel's offset, which a publication that skips history does not move.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// What a version costs in memory beside its key and its epoch, as measured.
const OVERHEAD: usize = 192;

#[derive(Debug, Default)]
pub(super) struct Versions {
    of_keys: HashMap<Arc<str>, Version>,
    /// Keys by when they were last published to.
    by_turn: BTreeMap<u64, Arc<str>>,
    /// Of the version remembered last.
    turn: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Version {
    number: u64,
    epoch: Box<str>,
    turn: u64,
}

impl Versions {
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.of_keys.len()
    }

    /// Whether a version at least as new as `number` is remembered of `key`, in the same epoch.
    pub(super) fn covers(&self, key: &str, number: u64, epoch: &str) -> bool {
        let seen = self.of_keys.get(key);
        seen.is_some_and(|seen| *seen.epoch == *epoch && seen.number >= number)
    }

    /// Remembers the version of `key`, and `max` at most. How many others were forgotten.
    pub(super) fn remember(&mut self, key: &str, (number, epoch): (u64, &str), max: usize) -> u64 {
        self.turn += 1;
        let turn = self.turn;
        if let Some(seen) = self.of_keys.get_mut(key) {
            if *seen.epoch != *epoch {
                self.bytes = self.bytes - seen.epoch.len() + epoch.len();
                seen.epoch = epoch.into();
            }
            seen.number = number;
            let before = std::mem::replace(&mut seen.turn, turn);
            if let Some(key) = self.by_turn.remove(&before) {
                self.by_turn.insert(turn, key);
            }
            return 0;
        }
        let mut forgotten = 0;
        while self.of_keys.len() >= max && self.forget_oldest() {
            forgotten += 1;
        }
        let (key, epoch) = (Arc::<str>::from(key), Box::from(epoch));
        let version = Version {
            number,
            epoch,
            turn,
        };
        self.bytes += weight(&key, &version);
        self.by_turn.insert(turn, Arc::clone(&key));
        self.of_keys.insert(key, version);
        forgotten
    }

    /// Forgets the oldest until `bytes` are left at most. How many were forgotten.
    pub(super) fn shrink_to(&mut self, bytes: usize) -> u64 {
        let mut forgotten = 0;
        while self.bytes > bytes && self.forget_oldest() {
            forgotten += 1;
        }
        if self.of_keys.capacity() / 4 > self.of_keys.len() {
            // What it took at its largest is not counted any more.
            self.of_keys.shrink_to_fit();
        }
        forgotten
    }

    /// Whether there was one.
    fn forget_oldest(&mut self) -> bool {
        let Some((_, key)) = self.by_turn.pop_first() else {
            return false;
        };
        if let Some(version) = self.of_keys.remove(&key) {
            self.bytes -= weight(&key, &version);
        }
        true
    }
}

fn weight(key: &str, version: &Version) -> usize {
    OVERHEAD + key.len() + version.epoch.len()
}
