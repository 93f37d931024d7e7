//! What browsers send, read without a connection: the way in for the targets of `fuzz/`.
//!
//! Compiled with `--cfg fuzzing` alone, which cargo-fuzz sets. It judges nothing itself.

use super::{frame, protocol};

/// What was made of some bytes.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct Reading {
    /// The events, in their order, as [`Debug`] writes them.
    pub events: Vec<String>,
    /// The close code, where the bytes broke the protocol.
    pub violation: Option<u16>,
}

/// Feeds `pieces` to a reader of frames; `held` hears of the memory that it keeps after each.
pub fn frames<'a>(
    pieces: impl Iterator<Item = &'a [u8]>,
    message_max: usize,
    mut held: impl FnMut(usize),
) -> Reading {
    let mut reader = frame::Reader::new(message_max);
    let mut reading = Reading::default();
    for mut piece in pieces {
        loop {
            match reader.feed(&mut piece) {
                Ok(Some(event)) => reading.events.push(format!("{event:?}")),
                Ok(None) => break,
                Err(violation) => {
                    reading.violation = Some(violation.code);
                    return reading;
                }
            }
            held(reader.held());
        }
        held(reader.held());
    }
    reading
}

/// The commands of one message: the id and what is asked for, up to the first that is none.
pub fn commands(message: &[u8]) -> Vec<Option<(u32, String)>> {
    let mut found = Vec::new();
    for command in protocol::commands(message) {
        let command = command.ok().map(|command| {
            let id = command.id;
            (id, format!("{:?}", command.request()))
        });
        let last = command.is_none();
        found.push(command);
        if last {
            break;
        }
    }
    found
}
