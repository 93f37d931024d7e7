//! When a connection has lived long enough: a random moment near the configured age, so that those
//! who came together do not have to come back together.
//!
//! It holds no timer: whoever keeps the connection's deadlines asks.

use std::time::Duration;

use tokio::time::Instant;

/// The moment at which a connection is closed for its age, if ever.
#[derive(Clone, Copy, Debug)]
pub(super) struct Age(Option<Instant>);

impl Age {
    /// For a connection that begins `now`; `most` of zero is no limit.
    pub(super) fn new(most: Duration, now: Instant) -> Self {
        let mut bytes = [0; 4];
        // Without random bytes it is the shortest age: early, but in time.
        let _ = aws_lc_rs::rand::fill(&mut bytes);
        Self::at(most, now, u32::from_ne_bytes(bytes))
    }

    /// 80 % of `most` and as much of the other 20 % as `random` is of its range.
    fn at(most: Duration, now: Instant, random: u32) -> Self {
        if most.is_zero() {
            return Self(None);
        }
        let part = f64::from(random) / f64::from(u32::MAX);
        Self(now.checked_add(most.mul_f64(0.8 + 0.2 * part)))
    }

    /// The earlier of `next` and the end.
    pub(super) fn min(self, next: Instant) -> Instant {
        self.0.map_or(next, |end| end.min(next))
    }

    /// Whether the end has come.
    pub(super) fn is_over(self, now: Instant) -> bool {
        self.0.is_some_and(|end| end <= now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn the_end_is_at_80_to_100_per_cent_of_the_most() {
        let now = Instant::now();
        for (random, seconds) in [(0, 2_880), (u32::MAX / 2, 3_240), (u32::MAX, 3_600)] {
            let age = Age::at(HOUR, now, random);
            let end = now + Duration::from_secs(seconds);
            assert!(!age.is_over(end - Duration::from_millis(1)), "{random}");
            assert!(age.is_over(end + Duration::from_millis(1)), "{random}");
        }
    }

    #[test]
    fn connections_that_begin_together_end_apart() {
        let now = Instant::now();
        let far = now + HOUR * 2;
        let mut ends: Vec<_> = (0..1_000).map(|_| Age::new(HOUR, now).min(far)).collect();
        ends.sort();
        let (first, last) = (ends[0] - now, ends[999] - now);
        assert!(first >= HOUR * 8 / 10 && last <= HOUR, "{first:?} {last:?}");
        assert!(last - first > HOUR / 10, "{first:?} {last:?}");
    }

    #[test]
    fn zero_is_no_limit_and_the_earlier_deadline_counts() {
        let now = Instant::now();
        let none = Age::new(Duration::ZERO, now);
        assert!(!none.is_over(now + HOUR * 100_000));
        assert_eq!(none.min(now + HOUR), now + HOUR);
        let age = Age::at(HOUR, now, u32::MAX);
        assert_eq!(age.min(now), now);
        assert_eq!(age.min(now + HOUR * 2), now + HOUR);
    }
}
