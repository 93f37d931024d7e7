//! How the connections are closed when the process stops: in batches, evenly over a while, so that
//! they come back to the next process one after another.
//!
//! [`Pace`] says when, for all shards alike; [`Closing`] chooses a shard's share of each batch.

use std::time::Duration;

use slab::Slab;
use tokio::time::Instant;

/// So many are closed at once at least: that many can come back at once, and a small site stops
/// without delay.
const BATCH_MIN: usize = 50;

/// Between two batches at least.
const PAUSE_MIN: Duration = Duration::from_millis(50);

/// The batches in which everybody is closed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Pace {
    batches: u32,
    pause: Duration,
}

impl Pace {
    /// For `connections` that are to be closed within `spread`: the first batch at once, the last
    /// one a pause before its end.
    pub(super) fn new(connections: usize, spread: Duration) -> Self {
        let most = spread.as_millis() / PAUSE_MIN.as_millis();
        let wanted = u128::try_from(connections.div_ceil(BATCH_MIN)).unwrap_or(most);
        let batches = u32::try_from(wanted.min(most)).unwrap_or(u32::MAX).max(1);
        Self {
            batches,
            pause: spread / batches,
        }
    }

    /// The batches as they come: when each is due if the first is at `start`, and how many are
    /// left, itself included.
    pub(super) fn batches(self, start: Instant) -> impl Iterator<Item = (Instant, usize)> + Send {
        (0..self.batches).map(move |n| {
            let left = usize::try_from(self.batches - n).unwrap_or(usize::MAX);
            (start + self.pause * n, left)
        })
    }
}

/// How far a shard has come with closing its connections.
#[derive(Debug, Default)]
pub(super) struct Closing {
    next: usize,
}

impl Closing {
    /// Of `all` those that belong to the next batch, when `left` batches are left with it. Whoever
    /// is added after the first call is not among them, or is once more.
    pub(super) fn batch<'a, T>(
        &mut self,
        all: &'a Slab<T>,
        left: usize,
    ) -> impl Iterator<Item = &'a T> + use<'a, T> {
        let next = self.next;
        let open = move || all.iter().filter(move |(key, _)| *key >= next);
        let share = open().count().div_ceil(left.max(1));
        self.next = open().nth(share).map_or(usize::MAX, |(key, _)| key);
        open().take(share).map(|(_, connection)| connection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn pace(connections: usize, spread: Duration) -> (usize, Duration, Duration) {
        let start = Instant::now();
        let pace = Pace::new(connections, spread);
        let all: Vec<_> = pace.batches(start).collect();
        for (n, (_, left)) in all.iter().enumerate() {
            assert_eq!(*left, all.len() - n);
        }
        let last = all.last().unwrap().0 - start;
        (all.len(), pace.pause, last)
    }

    #[test]
    fn a_few_connections_are_one_batch_at_once() {
        for few in [0, 1, 10, 50] {
            let (batches, _, last) = pace(few, SECOND * 3);
            assert_eq!((batches, last), (1, Duration::ZERO), "{few}");
        }
    }

    #[test]
    fn more_connections_are_batches_of_50_evenly_over_the_spread() {
        let ms = Duration::from_millis;
        assert_eq!(pace(51, SECOND * 3), (2, ms(1_500), ms(1_500)));
        assert_eq!(pace(400, SECOND * 2), (8, ms(250), ms(1_750)));
    }

    #[test]
    fn a_crowd_is_closed_every_50_ms_in_larger_batches() {
        let ms = Duration::from_millis;
        assert_eq!(pace(20_000, SECOND * 3), (60, ms(50), ms(2_950)));
        assert_eq!(pace(10_000_000, SECOND * 3), (60, ms(50), ms(2_950)));
    }

    #[test]
    fn a_spread_of_nothing_is_one_batch() {
        assert_eq!(pace(20_000, Duration::ZERO).0, 1);
        assert_eq!(pace(20_000, Duration::from_millis(49)).0, 1);
    }

    /// Closes in `batches` and returns who was in which.
    fn closed(all: &Slab<usize>, batches: usize) -> Vec<Vec<usize>> {
        let mut closing = Closing::default();
        let left = (1..=batches).rev();
        left.map(|left| closing.batch(all, left).copied().collect())
            .collect()
    }

    #[test]
    fn each_connection_is_in_exactly_one_batch_and_the_batches_are_even() {
        for (connections, batches) in [(0, 3), (1, 3), (7, 3), (100, 7), (167, 60)] {
            let all: Slab<usize> = (0..connections).map(|n| (n, n)).collect();
            let closed = closed(&all, batches);
            let sizes: Vec<usize> = closed.iter().map(Vec::len).collect();
            let (least, most) = (sizes.iter().min().unwrap(), sizes.iter().max().unwrap());
            assert!(most - least <= 1, "{sizes:?}");
            let expected: Vec<usize> = (0..connections).collect();
            assert_eq!(closed.concat(), expected);
        }
    }

    #[test]
    fn those_who_leave_meanwhile_keep_nobody_from_being_closed() {
        let mut all: Slab<usize> = (0..100).map(|n| (n, n)).collect();
        let mut closing = Closing::default();
        let mut closed = Vec::new();
        for left in (1..=5).rev() {
            closed.extend(closing.batch(&all, left).copied());
            // One that was closed, and one that was not yet.
            all.try_remove(closed[0] + left);
            all.try_remove(90 + left);
        }
        assert!(all.iter().all(|(_, n)| closed.contains(n)));
    }

    #[test]
    fn the_last_batch_has_all_that_are_left_however_many_came_before() {
        let all: Slab<usize> = (0..100).map(|n| (n, n)).collect();
        let mut closing = Closing::default();
        let first = closing.batch(&all, 10).count();
        assert_eq!((first, closing.batch(&all, 1).count()), (10, 90));
        assert_eq!(closing.batch(&all, 1).count(), 0);
    }
}
