//! Order, history and positions of channels.
//!
//! It knows no browser: whoever publishes hands in what is to happen with the publication while
//! the channel is locked, so that every subscriber sees a channel in the order of its offsets.

pub mod memory;
mod stream;

use std::{fmt, sync::Arc, time::Duration};

use aws_lc_rs::rand;
use bytes::Bytes;

/// A site's number in the configuration; channels of two sites never meet.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct SiteId(pub usize);

/// A channel of one site.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct ChannelName {
    /// The site that it belongs to.
    pub site: SiteId,
    /// Its name, such as `post:26`.
    pub name: Arc<str>,
}

/// A random name for one life of a channel: offsets of two epochs cannot be compared.
///
/// On the wire 16 hex digits, never empty.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Epoch(u64);

/// Where a channel stands: how many publications its epoch has seen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Position {
    /// The offset of the newest publication; 0 where there was none.
    pub offset: u64,
    /// The life of the channel that the offset belongs to.
    pub epoch: Epoch,
}

/// What a publisher hands in.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    /// One JSON value without raw newlines.
    pub data: Bytes,
    /// A JSON object, or nothing.
    pub tags: Option<Box<str>>,
    /// Which field of the channel this is the state of, such as `26:price`.
    pub key: Option<Box<str>>,
    /// An older or equal version than the one seen under the same key and epoch is not published.
    pub version: Option<u64>,
    /// Versions of two version epochs are not compared: the newer request wins.
    pub version_epoch: Box<str>,
}

/// A message with its place in the channel.
#[derive(Debug)]
pub struct Publication {
    /// Counts from 1 within an epoch, without gaps.
    pub offset: u64,
    /// One JSON value without raw newlines.
    pub data: Bytes,
    /// A JSON object, or nothing.
    pub tags: Option<Box<str>>,
}

/// What is kept of a channel's publications.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct History {
    /// How many.
    pub size: usize,
    /// For how long.
    pub ttl: Duration,
}

/// What became of a draft.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Published {
    /// The channel's position afterwards.
    pub position: Position,
    /// Whether the draft was left out, since a newer version of its key was published before.
    pub outdated: bool,
}

/// The shards of the hub that have subscribers of a channel; at most 64 shards exist.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ShardSet(u64);

/// From where a subscriber wants to go on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Since {
    /// The last offset it has seen.
    pub offset: u64,
    /// The epoch that it belongs to; `None` where the subscriber never knew one.
    pub epoch: Option<Box<str>>,
}

/// A channel at the moment of subscribing.
#[derive(Debug)]
pub struct Snapshot {
    /// Where it stands.
    pub position: Position,
    /// All that came after [`Since`], or `None` where that cannot be told without a gap, or was
    /// not asked for.
    pub recovered: Option<Vec<Arc<Publication>>>,
}

impl Epoch {
    fn random() -> Self {
        let mut bytes = [0; 8];
        // The system's generator fails only where the machine is unusable; the epoch is then the
        // same at each start, and positions given before may be taken for current ones.
        if rand::fill(&mut bytes).is_err() {
            tracing::error!("the system's random generator failed: epochs are not random");
        }
        Self(u64::from_be_bytes(bytes))
    }

    /// Whether `text` is this epoch as written on the wire.
    #[must_use]
    pub fn is(self, text: &str) -> bool {
        text.len() == 16 && u64::from_str_radix(text, 16) == Ok(self.0)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl ShardSet {
    /// Whether shard number `shard` is in the set.
    #[must_use]
    pub const fn contains(self, shard: usize) -> bool {
        shard < 64 && self.0 & (1 << shard) != 0
    }

    /// Whether no shard is in the set.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    const fn insert(&mut self, shard: usize) {
        if shard < 64 {
            self.0 |= 1 << shard;
        }
    }

    const fn remove(&mut self, shard: usize) {
        if shard < 64 {
            self.0 &= !(1 << shard);
        }
    }
}
