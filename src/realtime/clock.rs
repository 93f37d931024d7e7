//! The time of day, in Unix seconds, as tokens count it.

use std::time::{SystemTime, UNIX_EPOCH};

/// Where the time of day comes from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Clock {
    /// The machine's.
    System,
    /// The runtime's, which a test can pause: this second at that instant.
    #[cfg(test)]
    Since(tokio::time::Instant, u64),
}

impl Clock {
    /// Seconds since 1970; 0 on a machine whose clock stands before that.
    pub(super) fn now(self) -> u64 {
        match self {
            Self::System => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH);
                since.map_or(0, |since| since.as_secs())
            }
            #[cfg(test)]
            Self::Since(instant, second) => second + instant.elapsed().as_secs(),
        }
    }
}
