//! What one browser is owed of each channel: whatever is lost, doubled, out of order or of somebody
//! else stops the scenario.
#![expect(clippy::panic, reason = "a scenario stops at the first fault")]

use std::collections::HashMap;

use serde_json::Value;

/// Where one browser stands in every channel that it follows.
#[derive(Debug)]
pub(crate) struct Ledger {
    site: usize,
    channels: HashMap<String, Standing>,
    /// Publications that were in order.
    pub(crate) received: u64,
    /// Recoveries that brought all that was missed.
    pub(crate) recovered: u64,
    /// Recoveries that told of a gap.
    pub(crate) gaps: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Standing {
    pub(crate) epoch: String,
    pub(crate) offset: u64,
    /// The last number of each publisher.
    numbers: HashMap<u64, u64>,
    /// Whether the feed of the channel has said its last word.
    pub(crate) ended: bool,
}

impl Standing {
    /// The last number of the publisher `by`; 0 before the first.
    pub(crate) fn number(&self, by: u64) -> u64 {
        self.numbers.get(&by).copied().unwrap_or_default()
    }
}

impl Ledger {
    pub(crate) fn new(site: usize) -> Self {
        Self {
            site,
            channels: HashMap::new(),
            received: 0,
            recovered: 0,
            gaps: 0,
        }
    }

    pub(crate) const fn site(&self) -> usize {
        self.site
    }

    pub(crate) fn standing(&self, channel: &str) -> Option<&Standing> {
        self.channels.get(channel)
    }

    /// Whether the feeds of all channels have ended.
    pub(crate) fn all_ended(&self) -> bool {
        self.channels.values().all(|standing| standing.ended)
    }

    /// Takes a subscribe result in; what was asked to be recovered must come without a gap, or
    /// the gap be told.
    pub(crate) fn subscribed(&mut self, channel: &str, result: &Value, asked: bool) {
        let before = self.channels.get(channel).cloned();
        let offset = result["offset"].as_u64().unwrap_or_default();
        let epoch = result["epoch"].as_str().unwrap_or_default().to_owned();
        let publications = result["publications"].as_array();
        let recovered = result["recovered"] == true;
        assert_eq!(
            result["was_recovering"] == true,
            asked,
            "{channel}: {result}"
        );
        assert!(!epoch.is_empty(), "{channel}: an empty epoch: {result}");
        if !recovered {
            assert!(
                publications.is_none(),
                "{channel}: publications over a gap: {result}"
            );
            self.gaps += u64::from(asked);
            let ended = before.is_some_and(|before| before.ended);
            let standing = Standing {
                epoch,
                offset,
                numbers: HashMap::new(),
                ended,
            };
            self.channels.insert(channel.to_owned(), standing);
            return;
        }
        self.recovered += 1;
        let standing = self.channels.entry(channel.to_owned());
        let standing = standing.or_insert_with(|| Standing {
            epoch: epoch.clone(),
            offset,
            numbers: HashMap::new(),
            ended: false,
        });
        assert_eq!(standing.epoch, epoch, "{channel}: recovered over epochs");
        assert_eq!(
            standing.offset, offset,
            "{channel}: recovered from another offset"
        );
        for publication in publications.into_iter().flatten() {
            self.publication(channel, publication);
        }
    }

    pub(crate) fn unsubscribed(&mut self, channel: &str) {
        self.channels.remove(channel);
    }

    /// Takes a publication in.
    pub(crate) fn publication(&mut self, channel: &str, publication: &Value) {
        let Some(standing) = self.channels.get_mut(channel) else {
            panic!("misrouted: {channel} is not followed: {publication}");
        };
        let data = &publication["data"];
        let (site, of) = (&data["site"], &data["channel"]);
        assert!(
            *site == self.site && (*of == channel || of.is_null()),
            "misrouted: to {channel} of site {}: {publication}",
            self.site
        );
        if let Some(offset) = publication["offset"].as_u64() {
            judge(channel, "offset", Some(standing.offset), offset);
            standing.offset = offset;
        }
        if let (Some(by), Some(n)) = (data["by"].as_u64(), data["n"].as_u64()) {
            let before = standing.numbers.insert(by, n);
            judge(channel, "number", before, n);
        }
        standing.ended |= data["end"] == true;
        self.received += 1;
    }
}

/// `next` must follow `before`.
pub(crate) fn judge(channel: &str, what: &str, before: Option<u64>, next: u64) {
    let Some(before) = before else { return };
    if next == before {
        panic!("doubled: {what} {next} of {channel}");
    }
    if next < before {
        panic!("out of order: {what} {next} of {channel} after {before}");
    }
    if next > before + 1 {
        panic!("lost: {what} {next} of {channel} after {before}");
    }
}
