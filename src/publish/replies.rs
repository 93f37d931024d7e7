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
    /// Bytes of the reply, once it is there.
    bytes: usize,
    reply: watch::Receiver<Option<Reply>>,
}

/// What is to be done with a request.
#[derive(Debug)]
pub(super) enum Turn {
    /// It is new: handle it, and tell the outcome.
    First(Pending),
    /// It was seen before, or is being handled: wait for its reply.
    Again(watch::Receiver<Option<Reply>>),
}

/// A request that is being handled. Dropped without [`Pending::done`], it is forgotten.
#[derive(Debug)]
pub(super) struct Pending {
    replies: Arc<Replies>,
    key: Arc<Key>,
    reply: watch::Sender<Option<Reply>>,
}

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
        let last = verified.timestamp.saturating_add(self.window);
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
            return Ok(Turn::Again(entry.reply.clone()));
        }
        let site = verified.site;
        if !kept.ids.has_room(site) || !kept.bytes.has_room(site) {
            return Err(Error::IdsFull);
        }
        kept.ids.add(site, 1);
        let (sender, reply) = watch::channel(None);
        kept.by_id.insert(
            Arc::clone(&key),
            Entry {
                digest,
                last,
                bytes: 0,
                reply,
            },
        );
        kept.expiry.entry(last).or_default().push(Arc::clone(&key));
        Ok(Turn::First(Pending {
            replies: Arc::clone(self),
            key,
            reply: sender,
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
        self.bytes.remove(key.0, gone.bytes);
        Some(gone)
    }
}

impl Pending {
    /// Keeps the reply for whoever asks again.
    pub(super) fn done(self, reply: Reply) {
        let mut guard = self.replies.lock();
        let kept = &mut *guard;
        if let Some(entry) = kept.by_id.get_mut(&self.key) {
            entry.bytes = reply.body.len();
            kept.bytes.add(self.key.0, entry.bytes);
        }
        drop(guard);
        self.reply.send_replace(Some(reply));
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if self.reply.borrow().is_none() {
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
mod tests {
    use std::time::Duration;

    use super::*;

    fn replies(ids: usize) -> Arc<Replies> {
        replies_for(1, ids)
    }

    fn replies_for(sites: usize, ids: usize) -> Arc<Replies> {
        let bytes = 4 * sites;
        let room = Room { sites, ids, bytes };
        Arc::new(Replies::new(room, Duration::from_secs(300)))
    }

    fn verified(id: &str) -> Verified {
        Verified {
            site: SiteId(0),
            id: id.into(),
            timestamp: 1_000,
            scope: Arc::default(),
        }
    }

    fn reply() -> Reply {
        Reply {
            status: StatusCode::OK,
            body: Bytes::from_static(b"{}"),
        }
    }

    fn first(replies: &Arc<Replies>, id: &str) -> Pending {
        match replies.enter(&verified(id), b"body", 1_000) {
            Ok(Turn::First(pending)) => pending,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_same_request_gets_the_first_reply_again() {
        let replies = replies(9);
        first(&replies, "a").done(reply());
        let Ok(Turn::Again(again)) = replies.enter(&verified("a"), b"body", 1_300) else {
            panic!()
        };
        assert_eq!(*again.borrow(), Some(reply()));
    }

    #[tokio::test]
    async fn a_duplicate_waits_for_the_reply_under_way() {
        let replies = replies(9);
        let pending = first(&replies, "a");
        let Ok(Turn::Again(mut again)) = replies.enter(&verified("a"), b"body", 1_000) else {
            panic!()
        };
        assert!(again.borrow().is_none());
        pending.done(reply());
        let seen = again.wait_for(Option::is_some).await.unwrap().clone();
        assert_eq!(seen, Some(reply()));
    }

    #[test]
    fn another_body_under_the_same_id_is_refused() {
        let replies = replies(9);
        first(&replies, "a").done(reply());
        let error = replies.enter(&verified("a"), b"other", 1_000).unwrap_err();
        assert_eq!(error, Error::IdReused);
    }

    #[test]
    fn an_id_of_another_site_is_another_id() {
        let replies = replies_for(2, 9);
        first(&replies, "a").done(reply());
        let other = Verified {
            site: SiteId(1),
            ..verified("a")
        };
        assert!(matches!(
            replies.enter(&other, b"other", 1_000),
            Ok(Turn::First(_))
        ));
    }

    #[test]
    fn an_id_is_kept_exactly_as_long_as_its_timestamp_can_pass() {
        let replies = replies(9);
        first(&replies, "a").done(reply());
        assert!(matches!(
            replies.enter(&verified("a"), b"body", 1_300),
            Ok(Turn::Again(_))
        ));
        assert!(matches!(
            replies.enter(&verified("a"), b"body", 1_301),
            Ok(Turn::First(_))
        ));
    }

    #[test]
    fn a_repeat_that_was_signed_anew_is_known_until_its_own_end() {
        let replies = replies(9);
        first(&replies, "a").done(reply());
        let later = Verified {
            timestamp: 1_200,
            ..verified("a")
        };
        for now in [1_200, 1_301, 1_500] {
            let turn = replies.enter(&later, b"body", now);
            assert!(matches!(turn, Ok(Turn::Again(_))), "{now}");
        }
        assert!(matches!(
            replies.enter(&later, b"body", 1_501),
            Ok(Turn::First(_))
        ));
    }

    #[test]
    fn full_refuses_what_is_new_and_forgets_nothing() {
        let replies = replies(1);
        first(&replies, "a").done(reply());
        assert_eq!(
            replies.enter(&verified("b"), b"body", 1_000).unwrap_err(),
            Error::IdsFull
        );
        assert!(matches!(
            replies.enter(&verified("a"), b"body", 1_000),
            Ok(Turn::Again(_))
        ));
    }

    #[test]
    fn the_bytes_of_replies_are_bounded_and_counted_off_again() {
        let replies = replies(9);
        first(&replies, "a").done(reply());
        first(&replies, "b").done(reply());
        let full = replies.enter(&verified("c"), b"body", 1_000);
        assert_eq!(full.unwrap_err(), Error::IdsFull);
        let later = Verified {
            timestamp: 1_301,
            ..verified("c")
        };
        assert!(matches!(
            replies.enter(&later, b"body", 1_301),
            Ok(Turn::First(_))
        ));
        assert_eq!(replies.lock().bytes.total(), 0);
    }

    #[test]
    fn a_site_that_fills_the_store_leaves_the_others_their_part() {
        let replies = replies_for(2, 8);
        let keep = |site: usize| {
            let pending = (0..20).filter_map(|n| {
                let id = n.to_string();
                let verified = Verified {
                    site: SiteId(site),
                    ..verified(&id)
                };
                match replies.enter(&verified, b"body", 1_000) {
                    Ok(Turn::First(pending)) => Some(pending),
                    _ => None,
                }
            });
            pending.collect::<Vec<_>>()
        };
        let (first, second) = (keep(0), keep(1));
        assert_eq!((first.len(), second.len()), (6, 2));
        drop(first);
        assert_eq!(keep(1).len(), 4, "what is given back is for all");
    }

    #[test]
    fn what_was_not_finished_may_come_again() {
        let replies = replies(9);
        drop(first(&replies, "a"));
        first(&replies, "a").done(reply());
    }
}
