//! What one site's side of the hub holds and has seen, for whoever asks how it is.
//!
//! It only counts, and refuses nothing.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::broker::Published;

/// The counts of one site.
#[derive(Debug, Default)]
pub(super) struct Tally {
    connections: AtomicUsize,
    publications: AtomicU64,
}

impl Tally {
    /// A connection has begun.
    pub(super) fn begun(&self) {
        self.connections.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection that had begun has ended.
    pub(super) fn ended(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }

    /// A draft was looked at; one that was left out is no publication.
    pub(super) fn published(&self, published: &Published) {
        if !published.outdated && !published.repeated {
            self.publications.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Connections that are open.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Publications since the start.
    pub(super) fn publications(&self) -> u64 {
        self.publications.load(Ordering::Relaxed)
    }
}
