//! The replies of requests already handled, by their id: a retry after a time-out gets the first
//! reply again and publishes nothing twice.
//!
//! An id is kept until its timestamp can't pass any more. Bounded, with a part set aside for each
//! site: full means that new requests are refused, never that an id is forgotten early.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use http::StatusCode;
use tokio::sync::watch;

use super::{error::Error, request::Verified};
use crate::broker::{SiteId, shares::Shares};

/// What a publisher is answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Reply {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

/// Every id of the window.
#[derive(Debug)]
pub(super) struct Replies {
    kept: Mutex<Kept>,
    window: u64,
}

type Key = (SiteId, Box<str>);

#[derive(Debug)]
struct Kept {
    by_id: HashMap<Arc<Key>, Entry>,
    /// Ids by the last second in which their timestamp can pass.
    expiry: BTreeMap<u64, Vec<Arc<Key>>>,
    ids: Shares,
    /// Bytes of replies.
    bytes: Shares,
}

/// What may be kept for all sites together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    pub(super) sites: usize,
    pub(super) ids: usize,
    /// Bytes of replies.
    pub(super) bytes: usize,
}

#[derive(Debug)]
struct Entry {
    digest: [u8; 32],
    /// The last second in which a timestamp that was seen with the id can pass.
    last: u64,
    answer: Answer,
}

/// How far a request is.
#[derive(Debug)]
enum Answer {
    /// It is being handled; others may wait for its reply.
    Awaited(Option<watch::Sender<Option<Reply>>>),
    Given(Reply),
}

/// What is to be done with a request.
#[derive(Debug)]
pub(super) enum Turn {
    /// It is new: handle it, and tell the outcome.
    First(Pending),
    /// It was seen before: this was its reply.
    Again(Reply),
    /// It is being handled: wait for its reply. Closed without one where it came to nothing.
    Awaited(watch::Receiver<Option<Reply>>),
}

/// A request that is being handled. Dropped without [`Pending::done`], it is forgotten.
#[derive(Debug)]
pub(super) struct Pending {
    replies: Arc<Replies>,
    key: Arc<Key>,
    done: bool,
}

/// How much longer an id is kept than its timestamp can pass: a request may be judged in one
/// second and entered in a later one.
const MARGIN: u64 = 5;

impl Replies {
    pub(super) fn new(room: Room, window: std::time::Duration) -> Self {
        let kept = Kept {
            by_id: HashMap::new(),
            expiry: BTreeMap::new(),
            ids: Shares::new(room.ids, room.sites),
            bytes: Shares::new(room.bytes, room.sites),
        };
        Self {
            kept: Mutex::new(kept),
            window: window.as_secs(),
        }
    }

    /// Enters a verified request, at the Unix second `now`.
    pub(super) fn enter(
        self: &Arc<Self>,
        verified: &Verified,
        body: &[u8],
        now: u64,
    ) -> Result<Turn, Error> {
        // Before the lock: others must not wait for a large body.
        let digest = sha256(body);
        let key = Arc::new((verified.site, verified.id.clone()));
        let last = verified.timestamp.saturating_add(self.window + MARGIN);
        let mut guard = self.lock();
        let kept = &mut *guard;
        kept.expire(now);
        if let Some(entry) = kept.by_id.get_mut(&key) {
            if entry.digest != digest {
                return Err(Error::IdReused);
            }
            if last > entry.last {
                // Signed anew: this one, too, could be played again until its own end.
                entry.last = last;
                kept.expiry.entry(last).or_default().push(Arc::clone(&key));
            }
            return Ok(entry.answer.again());
        }
        let site = verified.site;
        if !kept.ids.has_room(site) || !kept.bytes.has_room(site) {
            return Err(Error::IdsFull);
        }
        kept.ids.add(site, 1);
        kept.by_id.insert(
            Arc::clone(&key),
            Entry {
                digest,
                last,
                answer: Answer::Awaited(None),
            },
        );
        kept.expiry.entry(last).or_default().push(Arc::clone(&key));
        Ok(Turn::First(Pending {
            replies: Arc::clone(self),
            key,
            done: false,
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn expire(&mut self, now: u64) {
        while let Some(first) = self.expiry.first_entry() {
            if *first.key() >= now {
                return;
            }
            let (second, keys) = first.remove_entry();
            for key in keys {
                let ended = |entry: &Entry| entry.last <= second;
                if self.by_id.get(&key).is_some_and(ended) {
                    self.remove(&key);
                }
            }
        }
    }

    fn remove(&mut self, key: &Key) -> Option<Entry> {
        let gone = self.by_id.remove(key)?;
        self.ids.remove(key.0, 1);
        if let Answer::Given(reply) = &gone.answer {
            self.bytes.remove(key.0, reply.body.len());
        }
        Some(gone)
    }
}

impl Answer {
    fn again(&mut self) -> Turn {
        match self {
            Self::Given(reply) => Turn::Again(reply.clone()),
            // Nobody waits as a rule, and nothing is made for it.
            Self::Awaited(waiting) => Turn::Awaited(
                waiting
                    .get_or_insert_with(|| watch::channel(None).0)
                    .subscribe(),
            ),
        }
    }
}

impl Pending {
    /// Keeps the reply for whoever asks again.
    pub(super) fn done(mut self, reply: Reply) {
        self.done = true;
        let mut guard = self.replies.lock();
        let kept = &mut *guard;
        let Some(entry) = kept.by_id.get_mut(&self.key) else {
            return;
        };
        kept.bytes.add(self.key.0, reply.body.len());
        let before = std::mem::replace(&mut entry.answer, Answer::Given(reply.clone()));
        drop(guard);
        if let Answer::Awaited(Some(waiting)) = before {
            waiting.send_replace(Some(reply));
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if !self.done {
            // Not handled to its end, or worth another try: the same id may come again.
            let mut guard = self.replies.lock();
            let kept = &mut *guard;
            if let Some(entry) = kept.remove(&self.key)
                && let Some(keys) = kept.expiry.get_mut(&entry.last)
            {
                keys.retain(|key| *key != self.key);
            }
        }
    }
}

fn sha256(body: &[u8]) -> [u8; 32] {
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, body).as_ref());
    bytes
}

#[cfg(test)]
#[path = "replies_tests.rs"]
mod tests;
