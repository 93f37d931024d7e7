//! How much of one limit each site uses, counted without a lock.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::super::{SiteId, shares};

#[derive(Debug)]
pub(super) struct Usage {
    total: AtomicUsize,
    of_sites: Box<[AtomicUsize]>,
}

impl Usage {
    pub(super) fn new(sites: usize) -> Self {
        Self {
            total: AtomicUsize::new(0),
            of_sites: (0..sites).map(|_| AtomicUsize::new(0)).collect(),
        }
    }

    /// What all sites use together.
    pub(super) fn total(&self) -> usize {
        self.total.load(Ordering::Relaxed)
    }

    /// Something of `site` used `before` and now uses `after`.
    pub(super) fn changed(&self, site: SiteId, before: usize, after: usize) {
        let counters = [Some(&self.total), self.of_sites.get(site.0)];
        for counter in counters.into_iter().flatten() {
            if after >= before {
                counter.fetch_add(after - before, Ordering::Relaxed);
            } else {
                counter.fetch_sub(before - after, Ordering::Relaxed);
            }
        }
    }

    /// How much `site` uses beyond the part of `max` that is set aside for it.
    pub(super) fn beyond_part(&self, site: SiteId, max: usize) -> usize {
        let used = self.of_sites.get(site.0);
        let used = used.map_or(0, |used| used.load(Ordering::Relaxed));
        used.saturating_sub(shares::part(max, self.of_sites.len()))
    }

    /// The sites that use more than their part of `max`.
    pub(super) fn sites_beyond_part(&self, max: usize) -> Vec<SiteId> {
        let sites = (0..self.of_sites.len()).map(SiteId);
        let beyond = |site: &SiteId| self.beyond_part(*site, max) > 0;
        sites.filter(beyond).collect()
    }
}
