//! Order, history and positions of channels.
//!
//! It knows no browser: whoever publishes hands in what is to happen with the publication while
//! the channel is locked, so that every subscriber sees a channel in the order of its offsets.

mod idempotency;
pub mod memory;
pub mod shares;
mod stream;
mod versions;

use std::{fmt, sync::Arc, time::Duration};

use aws_lc_rs::rand;
use bytes::Bytes;

/// A site's number in the configuration; channels of two sites never meet.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct SiteId(pub usize);

/// A channel of one site.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
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
    /// Goes to whoever is subscribed now, and is no part of the channel's stream: it takes no
    /// offset and nobody recovers it.
    pub skip_history: bool,
    /// A second draft with the same key on the same channel, within 5 minutes, is not published.
    pub idempotency_key: Option<Box<str>>,
    /// Who published: a `ClientInfo` as JSON, where a client did.
    pub info: Option<Box<str>>,
}

/// A message with its place in the channel.
#[derive(Debug)]
pub struct Publication {
    /// Counts from 1 within an epoch, without gaps. 0: outside the stream, for everyone who is
    /// subscribed, whatever offset they stand at; it moves no position.
    pub offset: u64,
    /// One JSON value without raw newlines.
    pub data: Bytes,
    /// A JSON object, or nothing.
    pub tags: Option<Box<str>>,
    /// Which field of the channel this is the state of; `tags` holds it too, where there is one.
    pub key: Option<Box<str>>,
    /// Who published: a `ClientInfo` as JSON, where a client did.
    pub info: Option<Box<str>>,
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
    /// The channel's position afterwards; for a repeat, what it was after the first one.
    pub position: Position,
    /// Whether the draft was left out, since a newer version of its key was published before.
    pub outdated: bool,
    /// Whether the draft was left out, since its idempotency key was seen before; the rest tells
    /// what became of the first one.
    pub repeated: bool,
}

/// No further idempotency key can be remembered: the draft was not published. Worth trying again.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("too many idempotency keys are remembered")]
pub struct KeysFull;

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

/// What a recovery, or one page of history, may cost.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bounds {
    /// Publications.
    pub messages: usize,
    /// Bytes of them all together.
    pub bytes: usize,
}

/// One of [`Bounds`] that a recovery is beyond, or a page was cut at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Beyond {
    /// Too many publications.
    Messages,
    /// Too many bytes.
    Bytes,
}

/// What a subscriber wants to be given of what was published before.
#[derive(Clone, Copy, Debug)]
pub enum Recovery<'a> {
    /// Nothing.
    None,
    /// All that came after, if it is within the bounds.
    Since(&'a Since, Bounds),
    /// The newest publication alone.
    Newest,
}

/// Which part of a channel's history is wanted.
#[derive(Clone, Debug, Default)]
pub struct HistoryFilter {
    /// Publications at most; `None`: all, `Some(0)`: the position alone.
    pub limit: Option<usize>,
    /// Only what came after, or before it where `reverse` is set.
    pub since: Option<Since>,
    /// Newest first.
    pub reverse: bool,
}

/// One page of a channel's history.
#[derive(Debug)]
pub struct Page {
    /// Where the channel stands.
    pub position: Position,
    /// What is on the page.
    pub publications: Vec<Arc<Publication>>,
    /// Which bound cut it short of what was asked for, where one did.
    pub beyond: Option<Beyond>,
}

/// What came after a position cannot be told without a gap, or the position belongs to another
/// life of the channel.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("unrecoverable position")]
pub struct Unrecoverable;

/// A channel at the moment of subscribing.
#[derive(Debug)]
pub struct Snapshot {
    /// Where it stands.
    pub position: Position,
    /// All that came after [`Since`], or the newest publication alone, as [`Recovery`] asks;
    /// `None` where that cannot be told without a gap or is beyond the bounds, where there is no
    /// newest one any more, or where nothing was asked for.
    pub recovered: Option<Vec<Arc<Publication>>>,
    /// Which bound was in the way, where one was.
    pub beyond: Option<Beyond>,
}

impl Bounds {
    /// Whatever is kept.
    pub const NONE: Self = Self {
        messages: usize::MAX,
        bytes: usize::MAX,
    };
}

impl Position {
    /// Whether a reader at `since` has seen all there is of a channel that nothing was published
    /// to, whose position this is.
    fn is_start(&self, since: &Since) -> bool {
        let epoch = since.epoch.as_deref();
        since.offset == 0 && epoch.is_none_or(|epoch| self.epoch.is(epoch))
    }
}

impl<'a> From<Option<&'a Since>> for Recovery<'a> {
    fn from(since: Option<&'a Since>) -> Self {
        since.map_or(Self::None, |since| Self::Since(since, Bounds::NONE))
    }
}

impl Publication {
    fn new(draft: Draft, offset: u64) -> Arc<Self> {
        Arc::new(Self {
            offset,
            data: draft.data,
            tags: draft.tags,
            key: draft.key,
            info: draft.info,
        })
    }

    /// Bytes of all that is delivered.
    #[must_use]
    pub fn size(&self) -> usize {
        let length = |text: &Option<Box<str>>| text.as_ref().map_or(0, |text| text.len());
        self.data.len() + length(&self.tags) + length(&self.info)
    }
}

impl Epoch {
    /// The epoch that is written as these bits.
    #[cfg(test)]
    pub(crate) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

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
