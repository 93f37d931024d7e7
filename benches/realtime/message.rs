//! The 200-byte message that is measured with: it carries its channel, its number and when it was sent.
//!
//! JSON, for Sidewire takes nothing else; what is read back holds no quotes, so that a peer that
//! puts it into another string changes nothing of it.

use std::{io::Write, sync::OnceLock, time::Instant};

/// Bytes of a message.
pub(crate) const LENGTH: usize = 200;

/// Stands before what is read back, and nowhere else in what any server adds.
const MARK: u8 = b'~';
const FIELDS: usize = 5 + 1 + 10 + 1 + 15;

/// What a message says of itself.
#[derive(Clone, Copy)]
pub(crate) struct Message {
    pub(crate) channel: usize,
    /// 1 for the first of its channel.
    pub(crate) number: u64,
    /// Nanoseconds, by [`now`].
    pub(crate) sent: u64,
}

/// Nanoseconds since the first call, for all threads.
pub(crate) fn now() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    u64::try_from(START.get_or_init(Instant::now).elapsed().as_nanos()).unwrap()
}

impl Message {
    /// Writes it, in place of what is in `text`.
    pub(crate) fn write(self, text: &mut Vec<u8>) {
        text.clear();
        write!(
            text,
            "{{\"m\":\"~{:05}.{:010}.{:015}.",
            self.channel, self.number, self.sent
        )
        .unwrap();
        text.resize(LENGTH - 2, b'x');
        text.extend_from_slice(b"\"}");
    }

    /// Calls `each` with every message in `text`.
    pub(crate) fn read(text: &[u8], mut each: impl FnMut(Self)) {
        let mut rest = text;
        while let Some(at) = rest.iter().position(|byte| *byte == MARK) {
            rest = &rest[at + 1..];
            let Some(fields) = rest.get(..FIELDS) else {
                return;
            };
            each(Self {
                channel: usize::try_from(number(&fields[..5])).unwrap(),
                number: number(&fields[6..16]),
                sent: number(&fields[17..]),
            });
            // The filling needs no look.
            rest = rest.get(LENGTH - 8..).unwrap_or_default();
        }
    }
}

fn number(digits: &[u8]) -> u64 {
    let digit = |sum: u64, byte: &u8| sum * 10 + u64::from(byte.wrapping_sub(b'0'));
    digits.iter().fold(0, digit)
}
