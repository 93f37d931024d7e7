//! The channels behind one lock, and the order in which they make room.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::{ChannelName, Epoch, ShardSet, SiteId, Stream};

/// Channels by their site and by when they were last published to: the oldest of each site is
/// found at once.
pub(super) type Line = BTreeMap<(SiteId, u64), ChannelName>;

#[derive(Debug, Default)]
pub(super) struct Stripe {
    pub(super) channels: HashMap<ChannelName, Channel>,
    /// Streams that nobody follows: whole channels make room in this order.
    pub(super) unfollowed: Line,
    /// Streams that remember publications or versions: these make room in this order.
    pub(super) kept: Line,
    /// Channels that had a stream and lost it: a new one must not look like the old.
    pub(super) fingerprints: HashSet<u64>,
}

/// A channel that is followed, or that something was published to.
#[derive(Debug)]
pub(super) struct Channel {
    pub(super) shards: ShardSet,
    /// The life that its stream begins with: its site's base epoch may change while it is followed
    /// and nothing was published to it yet.
    pub(super) epoch: Epoch,
    pub(super) stream: Option<Box<Stream>>,
}

impl Channel {
    pub(super) fn new(epoch: Epoch) -> Self {
        Self {
            shards: ShardSet::default(),
            epoch,
            stream: None,
        }
    }
}

impl Stripe {
    /// Moves a channel's stream to the end of the line.
    pub(super) fn touch(&mut self, name: &ChannelName, turn: u64) {
        let Some(entry) = self.channels.get_mut(name) else {
            return;
        };
        let Some(stream) = entry.stream.as_mut() else {
            return;
        };
        let before = (name.site, std::mem::replace(&mut stream.turn, turn));
        self.unfollowed.remove(&before);
        self.kept.remove(&before);
        if entry.shards.is_empty() {
            self.unfollowed.insert((name.site, turn), name.clone());
        }
        if stream.bytes() > 0 {
            self.kept.insert((name.site, turn), name.clone());
        }
    }
}

/// The oldest of `sites` in `line`, with when it was last published to.
pub(super) fn oldest<'a>(line: &'a Line, sites: &[SiteId]) -> Option<(u64, &'a ChannelName)> {
    let heads = sites.iter().filter_map(|site| {
        let of_site = line.range((*site, 0)..=(*site, u64::MAX));
        of_site.map(|((_, turn), name)| (*turn, name)).next()
    });
    heads.min_by_key(|(turn, _)| *turn)
}
