//! Memory for the bodies of requests that are arriving: nobody has signed yet for what is read.

use tokio::sync::{Semaphore, SemaphorePermit};

use super::error::Error;
use crate::config;

/// Bytes of a body that every connection may have besides.
const SMALL: u64 = 16 << 10;

/// What one permit stands for.
const UNIT: u64 = 1 << 10;

/// `publish.bodies_max`.
#[derive(Debug)]
pub(super) struct Bodies(Semaphore);

impl Bodies {
    /// One body of the largest size has room in any case.
    pub(super) fn new(config: &config::Publish) -> Self {
        let most = config.bodies_max.0.max(config.body_max.0).div_ceil(UNIT);
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        Self(Semaphore::new(most.min(Semaphore::MAX_PERMITS)))
    }

    /// Room for a body of `length` bytes, until what is returned is dropped; `None` where it is a
    /// small one.
    ///
    /// # Errors
    ///
    /// [`Error::BodiesFull`]: the body must not be read.
    pub(super) fn take(&self, length: u64) -> Result<Option<SemaphorePermit<'_>>, Error> {
        if length <= SMALL {
            return Ok(None);
        }
        let units = u32::try_from(length.div_ceil(UNIT)).unwrap_or(u32::MAX);
        let room = self.0.try_acquire_many(units);
        room.map(Some).map_err(|_| Error::BodiesFull)
    }
}
