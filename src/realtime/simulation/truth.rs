//! What really happened: every publication that was accepted, and what each may still reach.

use std::collections::{BTreeMap, HashMap};

/// A site's number and a channel's name.
pub(super) type Name = (usize, &'static str);

/// A publication that was accepted; its data is its number here.
#[derive(Clone, Debug)]
pub(super) struct Accepted {
    pub(super) name: Name,
    pub(super) key: Option<String>,
    pub(super) epoch: String,
    /// 0: outside the stream.
    pub(super) offset: u64,
}

/// Everything that was accepted, and how often each thing happened.
#[derive(Debug, Default)]
pub(super) struct Truth {
    pub(super) all: Vec<Option<Accepted>>,
    /// Publications by their place in the stream.
    places: HashMap<(Name, String, u64), usize>,
    pub(super) counts: BTreeMap<&'static str, u64>,
}

impl Truth {
    /// The number of the next publication.
    pub(super) fn draft(&mut self) -> usize {
        self.all.push(None);
        self.all.len() - 1
    }

    pub(super) fn accept(&mut self, number: usize, accepted: Accepted) {
        self.count("publications");
        if accepted.offset > 0 {
            let place = (accepted.name, accepted.epoch.clone(), accepted.offset);
            let before = self.places.insert(place, number);
            assert_eq!(before, None, "one place for two: {accepted:?}");
        }
        self.all[number] = Some(accepted);
    }

    pub(super) fn at(&self, name: Name, epoch: &str, offset: u64) -> &Accepted {
        let place = (name, epoch.to_owned(), offset);
        let number = self.places.get(&place);
        let number = number.unwrap_or_else(|| panic!("nothing was published at {place:?}"));
        self.all[*number].as_ref().unwrap()
    }

    /// The newest offset of an epoch; 0 where nothing was published in it.
    pub(super) fn top(&self, name: Name, epoch: &str) -> u64 {
        let of_epoch = self
            .all
            .iter()
            .flatten()
            .filter(|accepted| accepted.name == name && accepted.epoch == epoch);
        of_epoch.map(|accepted| accepted.offset).max().unwrap_or(0)
    }

    pub(super) fn count(&mut self, what: &'static str) {
        *self.counts.entry(what).or_default() += 1;
    }
}
