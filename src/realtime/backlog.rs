//! What waits to be written to one connection, within bounds.
//!
//! Two lanes: data keeps its order; control (ping, pong, close) overtakes data, but never tears a
//! frame that was begun. Writes nothing itself.

use std::{
    collections::{HashSet, VecDeque},
    io::IoSlice,
};

use bytes::{Buf, Bytes};

use super::{item::Item, kind::Kind};

/// Control frames that may wait; a peer that pings without reading is not answered further.
const CONTROL_MAX: usize = 16;

/// Frames handed to one write, and bytes: one TLS record.
const SLICES_MAX: usize = 64;
pub(super) const RECORD_MAX: usize = 16 << 10;

/// As long as no more wait, each new one is compared with all; beyond, in passes over all.
///
/// Few in unit tests, so that both ways are gone.
const COMPARED_SINGLY: usize = if cfg!(test) { 6 } else { 64 };

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) bytes: usize,
    pub(super) messages: usize,
}

/// The backlog is full: the connection is too slow.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Full;

/// What is due to one connection in one turn: one item, nearly always, which then costs no memory.
#[derive(Debug, Default)]
pub(super) struct Due {
    first: Option<Item>,
    rest: Vec<Item>,
}

impl Due {
    pub(super) fn push(&mut self, item: Item) {
        if self.first.is_none() {
            self.first = Some(item);
        } else {
            self.rest.push(item);
        }
    }

    pub(super) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.len()
    }

    pub(super) fn bytes(&self, kind: Kind) -> usize {
        let items = self.first.iter().chain(&self.rest);
        items.map(|item| item.bytes(kind).len()).sum()
    }

    /// The one item, or all of them back.
    pub(super) fn single(self) -> Result<Item, Self> {
        match self {
            Self {
                first: Some(item),
                rest,
            } if rest.is_empty() => Ok(item),
            due => Err(due),
        }
    }

    /// Without what is of `channel`.
    pub(super) fn without(self, channel: &str) -> Self {
        let mut left = Self::default();
        for item in self.into_iter().filter_map(|item| item.without(channel)) {
            left.push(item);
        }
        left
    }
}

impl From<Item> for Due {
    fn from(item: Item) -> Self {
        Self {
            first: Some(item),
            rest: Vec::new(),
        }
    }
}

impl IntoIterator for Due {
    type Item = Item;
    type IntoIter = std::iter::Chain<std::option::IntoIter<Item>, std::vec::IntoIter<Item>>;

    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.rest)
    }
}

#[derive(Debug)]
pub(super) struct Backlog {
    kind: Kind,
    data: VecDeque<Item>,
    data_bytes: usize,
    /// Bytes of the first item that are written.
    begun: usize,
    control: VecDeque<Bytes>,
    /// The lane whose front frame is partly written.
    torn: Option<Lane>,
    /// Items after which all are compared with each other again.
    compare_at: usize,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Lane {
    Data,
    Control,
}

impl Backlog {
    pub(super) const fn new(kind: Kind) -> Self {
        Self {
            kind,
            data: VecDeque::new(),
            data_bytes: 0,
            begun: 0,
            control: VecDeque::new(),
            torn: None,
            compare_at: COMPARED_SINGLY,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.data.is_empty() && self.control.is_empty()
    }

    /// Appends a data frame; what it makes pointless is dropped first.
    pub(super) fn push(&mut self, item: Item, limits: Limits) -> Result<(), Full> {
        let item = self.conflate(item);
        let bytes = self.data_bytes + item.bytes(self.kind).len();
        if self.data.len() >= limits.messages || bytes > limits.bytes {
            return Err(Full);
        }
        self.data_bytes = bytes;
        self.data.push_back(item);
        Ok(())
    }

    /// Drops what waits of the channel and key of `item`; `item` itself, marked where something
    /// was.
    fn conflate(&mut self, item: Item) -> Item {
        let Some(newer) = item.conflates() else {
            return item;
        };
        if self.data.len() >= self.compare_at {
            self.compare_all();
            self.compare_at = COMPARED_SINGLY.max(2 * self.data.len());
        }
        if self.data.len() > COMPARED_SINGLY {
            return item;
        }
        let first = usize::from(self.torn == Some(Lane::Data));
        let place = self.data.iter().skip(first).rposition(|waiting| {
            waiting.conflates().is_some_and(|older| {
                older.channel.name == newer.channel.name && older.key() == newer.key()
            })
        });
        let Some(dropped) = place.and_then(|place| self.data.remove(place + first)) else {
            return item;
        };
        self.data_bytes -= dropped.bytes(self.kind).len();
        Item::Conflated(std::sync::Arc::clone(newer))
    }

    /// Drops all that a later one of the same channel and key makes pointless.
    fn compare_all(&mut self) {
        let first = usize::from(self.torn == Some(Lane::Data));
        let mut newest = HashSet::new();
        let mut skipped = HashSet::new();
        let waiting = std::mem::take(&mut self.data);
        let count = waiting.len();
        let mut kept = VecDeque::with_capacity(count);
        for (n, item) in waiting.into_iter().enumerate().rev() {
            let name = item.conflates().filter(|_| n >= first).map(|broadcast| {
                let key = broadcast.key().map(Box::<str>::from);
                (std::sync::Arc::clone(&broadcast.channel.name), key)
            });
            match name {
                Some(name) if newest.contains(&name) => {
                    self.data_bytes -= item.bytes(self.kind).len();
                    skipped.insert(name);
                }
                Some(name) => {
                    newest.insert(name);
                    kept.push_front(item);
                }
                None => kept.push_front(item),
            }
        }
        self.data = kept;
        self.mark(&skipped);
    }

    /// Marks the items whose earlier ones were skipped.
    fn mark(&mut self, skipped: &HashSet<(std::sync::Arc<str>, Option<Box<str>>)>) {
        let kind = self.kind;
        for item in &mut self.data {
            let Item::Shared(broadcast) = item else {
                continue;
            };
            let key = broadcast.key().map(Box::<str>::from);
            let name = (std::sync::Arc::clone(&broadcast.channel.name), key);
            if broadcast.conflates() && skipped.contains(&name) {
                let marked = Item::Conflated(std::sync::Arc::clone(broadcast));
                self.data_bytes += marked.bytes(kind).len();
                self.data_bytes -= item.bytes(kind).len();
                *item = marked;
            }
        }
    }

    /// Puts an item into an empty backlog of which `begun` bytes are written.
    pub(super) fn restore(&mut self, item: Item, begun: usize) {
        debug_assert!(self.is_empty());
        self.data_bytes = item.bytes(self.kind).len() - begun;
        self.data.push_back(item);
        self.begun = begun;
        self.torn = (begun > 0).then_some(Lane::Data);
    }

    /// Drops what waits of `channel`, but for a frame that was begun.
    pub(super) fn forbid(&mut self, channel: &str) {
        let first = usize::from(self.torn == Some(Lane::Data));
        let waiting = std::mem::take(&mut self.data);
        let kept = waiting.into_iter().enumerate().filter_map(|(n, item)| {
            if n < first {
                Some(item)
            } else {
                item.without(channel)
            }
        });
        self.data = kept.collect();
        self.count_bytes();
    }

    /// Appends a control frame; drops it where too many wait, since the peer reads none of them.
    pub(super) fn push_control(&mut self, frame: Bytes) {
        if self.control.len() < CONTROL_MAX {
            self.control.push_back(frame);
        }
    }

    /// Appends the last frame: all that was not begun is dropped, since nothing may follow or
    /// delay it.
    pub(super) fn close(&mut self, frame: Bytes) {
        self.data
            .truncate(usize::from(self.torn == Some(Lane::Data)));
        self.control
            .truncate(usize::from(self.torn == Some(Lane::Control)));
        self.count_bytes();
        self.control.push_back(frame);
    }

    fn count_bytes(&mut self) {
        let items = self.data.iter();
        let all: usize = items.map(|item| item.bytes(self.kind).len()).sum();
        self.data_bytes = all - self.begun;
    }

    /// Bytes of data that wait.
    pub(super) const fn data_bytes(&self) -> usize {
        self.data_bytes
    }

    /// What is to be written next, as far as it fits one record.
    pub(super) fn slices<'a>(&'a self, out: &mut Vec<IoSlice<'a>>) {
        let mut room = RECORD_MAX;
        for frame in self.in_order() {
            let taken = frame.len().min(room);
            let Some(slice) = frame.get(..taken) else {
                break;
            };
            out.push(IoSlice::new(slice));
            room -= taken;
            if room == 0 || out.len() == SLICES_MAX {
                break;
            }
        }
    }

    fn in_order(&self) -> impl Iterator<Item = &[u8]> {
        let torn = usize::from(self.torn == Some(Lane::Data));
        let first = self.data.iter().take(torn).map(move |item| {
            let bytes = &item.bytes(self.kind)[..];
            bytes.get(self.begun..).unwrap_or_default()
        });
        let rest = self
            .data
            .iter()
            .skip(torn)
            .map(|item| &item.bytes(self.kind)[..]);
        first
            .chain(self.control.iter().map(|frame| &frame[..]))
            .chain(rest)
    }

    /// Takes `written` bytes off the front, in the order in which [`Backlog::slices`] gave them.
    pub(super) fn advance(&mut self, mut written: usize) {
        while written > 0 {
            let data_first = self.torn == Some(Lane::Data) || self.control.is_empty();
            let taken = if data_first {
                self.advance_data(written)
            } else {
                self.advance_control(written)
            };
            if taken == 0 {
                return;
            }
            written -= taken;
        }
        if self.is_empty() {
            // An idle connection keeps no queue.
            *self = Self::new(self.kind);
        }
    }

    fn advance_data(&mut self, written: usize) -> usize {
        let Some(front) = self.data.front() else {
            return 0;
        };
        let left = front.bytes(self.kind).len() - self.begun;
        let taken = left.min(written);
        self.data_bytes -= taken;
        if taken == left {
            self.data.pop_front();
            self.begun = 0;
            self.torn = None;
        } else {
            self.begun += taken;
            self.torn = Some(Lane::Data);
        }
        taken
    }

    fn advance_control(&mut self, written: usize) -> usize {
        let Some(front) = self.control.front_mut() else {
            return 0;
        };
        let taken = front.len().min(written);
        front.advance(taken);
        if front.is_empty() {
            self.control.pop_front();
            self.torn = None;
        } else {
            self.torn = Some(Lane::Control);
        }
        taken
    }
}

#[cfg(test)]
#[path = "backlog_tests.rs"]
mod tests;
