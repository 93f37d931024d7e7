//! How many connections one listener may have at the same time, and who counts them.
//!
//! A connection beyond them is not refused: it waits in the kernel's backlog.

use std::sync::Arc;

use prometheus_client::metrics::{counter::Counter, gauge::Gauge};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// The places of one listener.
#[derive(Debug)]
pub struct Permits {
    free: Arc<Semaphore>,
    open: Gauge,
    waits: Counter,
}

/// Counts one connection until it is dropped.
#[derive(Debug)]
pub struct Permit {
    _place: OwnedSemaphorePermit,
    open: Gauge,
}

impl Permits {
    /// For `most` connections, counted by `open`; `waits` counts how often all places were taken.
    pub(super) fn new(most: usize, open: Gauge, waits: Counter) -> Self {
        Self {
            free: Arc::new(Semaphore::new(most)),
            open,
            waits,
        }
    }

    /// A place for the next connection, as soon as there is one. Cancel safe.
    pub(super) async fn free(&self) -> Result<OwnedSemaphorePermit, AcquireError> {
        let free = Arc::clone(&self.free);
        if let Ok(place) = free.try_acquire_owned() {
            return Ok(place);
        }
        self.waits.inc();
        Arc::clone(&self.free).acquire_owned().await
    }

    /// The connection that `place` was for is here.
    pub(super) fn open(&self, place: OwnedSemaphorePermit) -> Permit {
        self.open.inc();
        Permit {
            _place: place,
            open: self.open.clone(),
        }
    }
}

/// For so many connections that no metric shows.
impl From<usize> for Permits {
    fn from(most: usize) -> Self {
        Self::new(most, Gauge::default(), Counter::default())
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.open.dec();
    }
}
