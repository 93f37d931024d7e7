//! WebSocket frames (RFC 6455 §5): a strict reader of what browsers send, and the frames that we
//! send.
//!
//! Pure bytes: it opens no socket and answers nothing. The reader is fed whatever arrived, in
//! pieces of any size, and keeps memory only while a message is incomplete.

use bytes::Bytes;
use fastwebsockets::{Frame, OpCode, Payload};

/// Longest payload of a control frame (§5.5).
const CONTROL_MAX: usize = 125;

/// Longest header: two bytes, eight of length, four of mask (§5.2).
const HEAD_MAX: usize = 14;

/// Fragments of one message; a browser sends one, a library rarely more than a few.
const FRAGMENTS_MAX: u32 = 1_024;

/// One complete thing that a peer sent.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Event {
    /// A text message, all fragments together.
    Text(Vec<u8>),
    /// A binary message, all fragments together.
    Binary,
    /// To be answered with [`pong`] and the same payload.
    Ping(Vec<u8>),
    /// The answer to a ping.
    Pong,
    /// The peer closes; the code is `None` where it gave none.
    Close(Option<u16>),
}

/// The peer broke the protocol; the connection is closed with `code`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Violation {
    pub(super) code: u16,
    pub(super) reason: &'static str,
}

/// Reads frames of a client. After a [`Violation`] nothing more can be read.
#[derive(Debug)]
pub(super) struct Reader {
    head: [u8; HEAD_MAX],
    head_len: usize,
    frame: Option<Head>,
    /// What the message under way is, while its last fragment is still to come.
    fragmented: Option<OpCode>,
    fragments: u32,
    message: Vec<u8>,
    control: Vec<u8>,
    message_max: usize,
}

#[derive(Clone, Copy, Debug)]
struct Head {
    fin: bool,
    opcode: OpCode,
    mask: [u8; 4],
    remaining: usize,
    /// Payload bytes seen, modulo 4: where in the mask the next one stands.
    phase: usize,
}

const fn protocol_error(reason: &'static str) -> Violation {
    Violation { code: 1002, reason }
}

const TOO_BIG: Violation = Violation {
    code: 1009,
    reason: "message too big",
};

const NOT_UTF8: Violation = Violation {
    code: 1007,
    reason: "invalid UTF-8",
};

impl Reader {
    pub(super) const fn new(message_max: usize) -> Self {
        Self {
            head: [0; HEAD_MAX],
            head_len: 0,
            frame: None,
            fragmented: None,
            fragments: 0,
            message: Vec::new(),
            control: Vec::new(),
            message_max,
        }
    }

    /// Memory kept for what is incomplete.
    #[cfg(any(test, fuzzing))]
    pub(super) const fn held(&self) -> usize {
        self.message.capacity() + self.control.capacity()
    }

    /// Takes bytes from the front of `input` until an event is complete or none are left.
    pub(super) fn feed(&mut self, input: &mut &[u8]) -> Result<Option<Event>, Violation> {
        loop {
            let head = match self.frame {
                Some(head) => head,
                None => match self.read_head(input)? {
                    Some(head) => head,
                    None => return Ok(None),
                },
            };
            let head = self.read_payload(head, input);
            if head.remaining > 0 {
                self.frame = Some(head);
                return Ok(None);
            }
            self.frame = None;
            if let Some(event) = self.complete(head)? {
                return Ok(Some(event));
            }
        }
    }

    /// Collects header bytes; the header is judged as soon as it is whole.
    fn read_head(&mut self, input: &mut &[u8]) -> Result<Option<Head>, Violation> {
        loop {
            if self.head_len >= 2 && self.head_len >= needed(&self.head) {
                self.head_len = 0;
                return self.judge(self.head).map(Some);
            }
            let Some((first, rest)) = input.split_first() else {
                return Ok(None);
            };
            *input = rest;
            if let Some(slot) = self.head.get_mut(self.head_len) {
                *slot = *first;
            }
            self.head_len += 1;
            if self.head_len == 2 {
                self.refuse_early()?;
            }
        }
    }

    /// What the first two bytes alone tell.
    fn refuse_early(&self) -> Result<(), Violation> {
        let [first, second, ..] = self.head;
        if first & 0x70 != 0 {
            return Err(protocol_error("reserved bits set"));
        }
        if second & 0x80 == 0 {
            return Err(protocol_error("unmasked frame"));
        }
        let opcode = OpCode::try_from(first & 0x0f);
        let opcode = opcode.map_err(|_| protocol_error("unknown opcode"))?;
        let control = is_control(opcode);
        if control && (first & 0x80 == 0 || usize::from(second & 0x7f) > CONTROL_MAX) {
            return Err(protocol_error("control frame fragmented or too long"));
        }
        match (opcode, self.fragmented) {
            (OpCode::Continuation, None) => Err(protocol_error("nothing to continue")),
            (OpCode::Text | OpCode::Binary, Some(_)) => {
                Err(protocol_error("message inside a message"))
            }
            _ => Ok(()),
        }
    }

    fn judge(&mut self, bytes: [u8; HEAD_MAX]) -> Result<Head, Violation> {
        let [first, second, a, b, c, d, e, f, g, h, i, j, k, l] = bytes;
        let (length, mask) = match second & 0x7f {
            126 => (u64::from(u16::from_be_bytes([a, b])), [c, d, e, f]),
            127 => (u64::from_be_bytes([a, b, c, d, e, f, g, h]), [i, j, k, l]),
            short => (u64::from(short), [a, b, c, d]),
        };
        let shortest = match second & 0x7f {
            126 => length > 125,
            127 => length > 0xffff && length >> 63 == 0,
            _ => true,
        };
        if !shortest {
            return Err(protocol_error("length not in its shortest form"));
        }
        let opcode = OpCode::try_from(first & 0x0f);
        let opcode = opcode.map_err(|_| protocol_error("unknown opcode"))?;
        let length = usize::try_from(length).map_err(|_| TOO_BIG)?;
        if !is_control(opcode) {
            self.fragments += 1;
            let total = self.message.len().checked_add(length);
            if total.is_none_or(|total| total > self.message_max) || self.fragments > FRAGMENTS_MAX
            {
                return Err(TOO_BIG);
            }
        }
        Ok(Head {
            fin: first & 0x80 != 0,
            opcode,
            mask,
            remaining: length,
            phase: 0,
        })
    }

    /// Takes what `input` has of the payload. Memory grows with what arrived, never with what a
    /// header announced.
    fn read_payload(&mut self, mut head: Head, input: &mut &[u8]) -> Head {
        let taken = head.remaining.min(input.len());
        let (payload, rest) = input.split_at(taken);
        *input = rest;
        let target = if is_control(head.opcode) {
            &mut self.control
        } else {
            &mut self.message
        };
        let start = target.len();
        target.extend_from_slice(payload);
        let mut mask = head.mask;
        mask.rotate_left(head.phase);
        if let Some(masked) = target.get_mut(start..) {
            fastwebsockets::unmask(masked, mask);
        }
        head.phase = (head.phase + taken) % 4;
        head.remaining -= taken;
        head
    }

    fn complete(&mut self, head: Head) -> Result<Option<Event>, Violation> {
        match head.opcode {
            OpCode::Ping => Ok(Some(Event::Ping(std::mem::take(&mut self.control)))),
            OpCode::Pong => {
                self.control = Vec::new();
                Ok(Some(Event::Pong))
            }
            OpCode::Close => close_code(&std::mem::take(&mut self.control)).map(Some),
            OpCode::Continuation | OpCode::Text | OpCode::Binary => {
                let kind = self.fragmented.unwrap_or(head.opcode);
                if !head.fin {
                    self.fragmented = Some(kind);
                    return Ok(None);
                }
                self.fragmented = None;
                self.fragments = 0;
                let message = std::mem::take(&mut self.message);
                match kind {
                    OpCode::Text if std::str::from_utf8(&message).is_err() => Err(NOT_UTF8),
                    OpCode::Text => Ok(Some(Event::Text(message))),
                    _ => Ok(Some(Event::Binary)),
                }
            }
        }
    }
}

const fn is_control(opcode: OpCode) -> bool {
    matches!(opcode, OpCode::Close | OpCode::Ping | OpCode::Pong)
}

/// Bytes of the whole header, told by its second byte.
const fn needed(head: &[u8; HEAD_MAX]) -> usize {
    match head[1] & 0x7f {
        126 => 2 + 2 + 4,
        127 => 2 + 8 + 4,
        _ => 2 + 4,
    }
}

/// Checks the payload of a close frame (§5.5.1, §7.4).
fn close_code(payload: &[u8]) -> Result<Event, Violation> {
    match payload {
        [] => Ok(Event::Close(None)),
        [_] => Err(protocol_error("close code cut short")),
        [a, b, reason @ ..] => {
            let code = u16::from_be_bytes([*a, *b]);
            if !may_be_sent(code) {
                return Err(protocol_error("close code not allowed"));
            }
            if std::str::from_utf8(reason).is_err() {
                return Err(NOT_UTF8);
            }
            Ok(Event::Close(Some(code)))
        }
    }
}

/// The codes that may stand in a close frame: IANA's registry, and the ranges for libraries and
/// applications. 1004 means nothing, and 1005, 1006 and 1015 are for whoever received none.
const fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// A text frame as a server sends it: whole and unmasked.
pub(super) fn text(payload: &[u8]) -> Bytes {
    encode(Frame::text(Payload::Borrowed(payload)))
}

/// An empty ping.
pub(super) fn ping() -> Bytes {
    encode(Frame::new(true, OpCode::Ping, None, Payload::Borrowed(&[])))
}

/// The answer to a ping with `payload`.
pub(super) fn pong(payload: &[u8]) -> Bytes {
    encode(Frame::pong(Payload::Borrowed(payload)))
}

/// A close frame. The reason must be 1 to 123 bytes and no JSON: stock clients read a JSON reason
/// as advice, and reconnect for ever after an empty one.
pub(super) fn close(code: u16, reason: &str) -> Bytes {
    debug_assert!(!reason.is_empty() && reason.len() <= CONTROL_MAX - 2);
    encode(Frame::close(code, reason.as_bytes()))
}

fn encode(mut frame: Frame<'_>) -> Bytes {
    let mut bytes = Vec::new();
    // The buffer is longer than what was written into it.
    let written = frame.write(&mut bytes).len();
    bytes.truncate(written);
    Bytes::from(bytes)
}

#[cfg(test)]
#[path = "frame_tests.rs"]
mod tests;
