//! One limit shared by all sites, so that no site can use up what the others need.
//!
//! Half of the limit is set aside in equal parts, one for each site; the other half is for
//! whoever comes first. A site that floods may take its own part and all of the common half, and
//! every other site still has its part.

use super::SiteId;

/// What each site uses of one limit.
#[derive(Debug)]
pub struct Shares {
    /// Set aside for each site.
    own: usize,
    /// For whoever comes first.
    common: usize,
    common_used: usize,
    used: Box<[usize]>,
}

/// What is set aside of `max` for each of `sites` sites.
pub(super) const fn part(max: usize, sites: usize) -> usize {
    let sites = if sites == 0 { 1 } else { sites };
    max / 2 / sites
}

impl Shares {
    /// A limit of `max` for `sites` sites. A site that is alone has all of it.
    #[must_use]
    pub fn new(max: usize, sites: usize) -> Self {
        let sites = sites.max(1);
        let own = part(max, sites);
        Self {
            own,
            common: max - own * sites,
            common_used: 0,
            used: vec![0; sites].into(),
        }
    }

    /// Whether `site` may use more.
    #[must_use]
    pub fn has_room(&self, site: SiteId) -> bool {
        self.used.get(site.0).is_some_and(|used| *used < self.own) || self.common_used < self.common
    }

    /// `site` uses `amount` more.
    pub fn add(&mut self, site: SiteId, amount: usize) {
        self.change(site, |used| used.saturating_add(amount));
    }

    /// `site` uses `amount` less.
    pub fn remove(&mut self, site: SiteId, amount: usize) {
        self.change(site, |used| used.saturating_sub(amount));
    }

    /// What all sites use together.
    #[must_use]
    pub fn total(&self) -> usize {
        self.used.iter().sum()
    }

    fn change(&mut self, site: SiteId, change: impl FnOnce(usize) -> usize) {
        let Some(used) = self.used.get_mut(site.0) else {
            return;
        };
        let beyond = |used: usize| used.saturating_sub(self.own);
        self.common_used -= beyond(*used);
        *used = change(*used);
        self.common_used += beyond(*used);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How much `site` may add, one by one.
    fn fill(shares: &mut Shares, site: usize) -> usize {
        let mut added = 0;
        while shares.has_room(SiteId(site)) {
            shares.add(SiteId(site), 1);
            added += 1;
        }
        added
    }

    #[test]
    fn a_site_that_floods_leaves_every_other_its_part() {
        let mut shares = Shares::new(100, 5);
        assert_eq!(fill(&mut shares, 0), 60);
        for site in 1..5 {
            assert_eq!(fill(&mut shares, site), 10, "{site}");
        }
        assert_eq!(shares.total(), 100);
    }

    #[test]
    fn a_site_that_is_alone_has_all_of_it() {
        assert_eq!(fill(&mut Shares::new(7, 1), 0), 7);
        assert_eq!(fill(&mut Shares::new(1, 1), 0), 1);
    }

    #[test]
    fn what_is_given_back_may_be_used_by_others() {
        let mut shares = Shares::new(100, 2);
        assert_eq!(fill(&mut shares, 0), 75);
        assert_eq!(fill(&mut shares, 1), 25);
        shares.remove(SiteId(0), 60);
        assert_eq!(fill(&mut shares, 1), 50);
        assert_eq!(shares.total(), 90);
        assert_eq!(fill(&mut shares, 0), 10);
    }
}
