//! Warnings that come once a second at most, however often their cause does.
//!
//! It writes no log line itself: whoever asks knows what to say.

use std::time::Duration;

use tokio::time::Instant;

/// Between two warnings of the same kind.
const PAUSE: Duration = Duration::from_secs(1);

/// One kind of warning.
#[derive(Debug)]
pub(super) struct Notice {
    told: Option<Instant>,
    untold: u64,
}

impl Notice {
    pub(super) const fn new() -> Self {
        Self {
            told: None,
            untold: 0,
        }
    }

    /// Counts one more cause. How many there were since the last warning, if one is due.
    pub(super) fn note(&mut self, now: Instant) -> Option<u64> {
        self.untold += 1;
        let due = self
            .told
            .is_none_or(|told| now.duration_since(told) >= PAUSE);
        due.then(|| {
            self.told = Some(now);
            std::mem::take(&mut self.untold)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warning_is_due_at_once_and_then_once_a_second_with_the_number_it_stands_for() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut notice = Notice::new();
        assert_eq!(notice.note(at(0)), Some(1));
        for ms in [1, 500, 999] {
            assert_eq!(notice.note(at(ms)), None);
        }
        assert_eq!(notice.note(at(1_000)), Some(4));
        assert_eq!(notice.note(at(1_999)), None);
        assert_eq!(notice.note(at(9_000)), Some(2));
    }
}
