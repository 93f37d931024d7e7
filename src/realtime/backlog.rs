//! What waits to be written to one connection, within bounds.
//!
//! Two lanes: data keeps its order; control (ping, pong, close) overtakes data, but never tears a
//! frame that was begun. Writes nothing itself.

use std::{collections::VecDeque, io::IoSlice};

use bytes::{Buf, Bytes};

/// Control frames that may wait; a peer that pings without reading is not answered further.
const CONTROL_MAX: usize = 16;

/// Frames handed to one write, and bytes: one TLS record.
const SLICES_MAX: usize = 64;
pub(super) const RECORD_MAX: usize = 16 << 10;

/// How much may wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) bytes: usize,
    pub(super) messages: usize,
}

/// The backlog is full: the connection is too slow.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Full;

/// Frames due to one connection in one turn: one, nearly always, which then costs no memory.
#[derive(Debug, Default)]
pub(super) struct Due {
    first: Option<Bytes>,
    rest: Vec<Bytes>,
}

impl Due {
    pub(super) fn push(&mut self, frame: Bytes) {
        if self.first.is_none() {
            self.first = Some(frame);
        } else {
            self.rest.push(frame);
        }
    }

    pub(super) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.len()
    }

    pub(super) fn bytes(&self) -> usize {
        let first = self.first.as_ref().map_or(0, Bytes::len);
        first + self.rest.iter().map(Bytes::len).sum::<usize>()
    }

    /// The one frame, or all of them back.
    pub(super) fn single(self) -> Result<Bytes, Self> {
        match self {
            Self {
                first: Some(frame),
                rest,
            } if rest.is_empty() => Ok(frame),
            due => Err(due),
        }
    }
}

impl From<Bytes> for Due {
    fn from(frame: Bytes) -> Self {
        Self {
            first: Some(frame),
            rest: Vec::new(),
        }
    }
}

impl IntoIterator for Due {
    type Item = Bytes;
    type IntoIter = std::iter::Chain<std::option::IntoIter<Bytes>, std::vec::IntoIter<Bytes>>;

    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.rest)
    }
}

#[derive(Debug, Default)]
pub(super) struct Backlog {
    data: VecDeque<Bytes>,
    data_bytes: usize,
    control: VecDeque<Bytes>,
    /// The lane whose front frame is partly written.
    torn: Option<Lane>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Lane {
    Data,
    Control,
}

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.data.is_empty() && self.control.is_empty()
    }

    /// Appends a data frame.
    pub(super) fn push(&mut self, frame: Bytes, limits: Limits) -> Result<(), Full> {
        let bytes = self.data_bytes + frame.len();
        if self.data.len() >= limits.messages || bytes > limits.bytes {
            return Err(Full);
        }
        self.data_bytes = bytes;
        self.data.push_back(frame);
        Ok(())
    }

    /// Puts what is left of a frame into an empty backlog; `begun` says whether part of it is
    /// written, so that nothing may come between.
    pub(super) fn restore(&mut self, frame: Bytes, begun: bool) {
        debug_assert!(self.is_empty());
        self.data_bytes = frame.len();
        self.data.push_back(frame);
        self.torn = begun.then_some(Lane::Data);
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
        self.data_bytes = self.data.iter().map(Bytes::len).sum();
        self.control.push_back(frame);
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

    fn in_order(&self) -> impl Iterator<Item = &Bytes> {
        let begun = usize::from(self.torn == Some(Lane::Data));
        let first = self.data.iter().take(begun);
        let rest = self.data.iter().skip(begun);
        first.chain(&self.control).chain(rest)
    }

    /// Takes `written` bytes off the front, in the order in which [`Backlog::slices`] gave them.
    pub(super) fn advance(&mut self, mut written: usize) {
        while written > 0 {
            let data_first = self.torn == Some(Lane::Data) || self.control.is_empty();
            let (lane, queue) = if data_first {
                (Lane::Data, &mut self.data)
            } else {
                (Lane::Control, &mut self.control)
            };
            let Some(front) = queue.front_mut() else {
                return;
            };
            let taken = front.len().min(written);
            front.advance(taken);
            written -= taken;
            if lane == Lane::Data {
                self.data_bytes -= taken;
            }
            if front.is_empty() {
                queue.pop_front();
                self.torn = None;
            } else {
                self.torn = Some(lane);
            }
        }
        if self.is_empty() {
            // An idle connection keeps no queue.
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        bytes: 100,
        messages: 3,
    };

    fn next(backlog: &Backlog) -> Vec<u8> {
        let mut slices = Vec::new();
        backlog.slices(&mut slices);
        slices.iter().flat_map(|slice| slice.to_vec()).collect()
    }

    fn data(frames: &[&'static str]) -> Backlog {
        let mut backlog = Backlog::default();
        for frame in frames {
            backlog
                .push(Bytes::from_static(frame.as_bytes()), LIMITS)
                .unwrap();
        }
        backlog
    }

    #[test]
    fn control_overtakes_data_that_was_not_begun() {
        let mut backlog = data(&["first", "second"]);
        backlog.push_control(Bytes::from_static(b"PONG"));
        assert_eq!(next(&backlog), b"PONGfirstsecond");
        backlog.advance(6);
        assert_eq!(next(&backlog), b"rstsecond");
    }

    #[test]
    fn a_begun_frame_is_never_torn() {
        let mut backlog = data(&["first", "second"]);
        backlog.advance(2);
        backlog.push_control(Bytes::from_static(b"PONG"));
        assert_eq!(next(&backlog), b"rstPONGsecond");
        backlog.advance(4);
        assert_eq!(next(&backlog), b"ONGsecond");
        backlog.push_control(Bytes::from_static(b"CLOSE"));
        backlog.advance(3);
        assert_eq!(next(&backlog), b"CLOSEsecond");
    }

    #[test]
    fn a_close_drops_all_but_the_begun_frame() {
        let mut backlog = data(&["first", "second"]);
        backlog.advance(1);
        backlog.close(Bytes::from_static(b"CLOSE"));
        assert_eq!(next(&backlog), b"irstCLOSE");
        backlog.advance(9);
        assert!(backlog.is_empty());
    }

    #[test]
    fn a_close_has_room_however_many_control_frames_wait() {
        let mut backlog = Backlog::default();
        for _ in 0..100 {
            backlog.push_control(Bytes::from_static(b"PONG"));
        }
        backlog.advance(1);
        backlog.close(Bytes::from_static(b"CLOSE"));
        assert_eq!(next(&backlog), b"ONGCLOSE");
    }

    #[test]
    fn the_bounds_hold_in_messages_and_in_bytes() {
        let mut backlog = data(&["1", "2", "3"]);
        assert_eq!(backlog.push(Bytes::from_static(b"4"), LIMITS), Err(Full));
        let mut backlog = Backlog::default();
        assert_eq!(backlog.push(Bytes::from(vec![0; 101]), LIMITS), Err(Full));
        backlog.push(Bytes::from(vec![0; 100]), LIMITS).unwrap();
        backlog.advance(1);
        backlog.push(Bytes::from_static(b"1"), LIMITS).unwrap();
    }

    #[test]
    fn one_write_takes_at_most_a_record() {
        let mut backlog = Backlog::default();
        let limits = Limits {
            bytes: 1 << 20,
            messages: 9,
        };
        backlog
            .push(Bytes::from(vec![0; RECORD_MAX - 1]), limits)
            .unwrap();
        backlog.push(Bytes::from(vec![1; 10]), limits).unwrap();
        assert_eq!(next(&backlog).len(), RECORD_MAX);
    }
}
