//! The time of day, in Unix seconds, as tokens count it.

use std::time::{SystemTime, UNIX_EPOCH};

/// Where the time of day comes from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Clock {
    /// The machine's.
    System,
}

impl Clock {
    /// Seconds since 1970; 0 on a machine whose clock stands before that.
    pub(super) fn now(self) -> u64 {
        match self {
            Self::System => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH);
                since.map_or(0, |since| since.as_secs())
            }
        }
    }
}
