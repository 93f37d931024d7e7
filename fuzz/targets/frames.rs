//! Frames of a browser: read in pieces of any size they give the same events, the same as a reader
//! gives that sees all bytes at once and knows nothing but RFC 6455; memory stays bounded.
#![no_main]

use libfuzzer_sys::fuzz_target;
use sidewire::realtime::fuzzing::{Reading, frames};

/// Fragments that a message may have.
const FRAGMENTS_MAX: usize = 1_024;

fuzz_target!(|input: &[u8]| {
    let [size, cut, wire @ ..] = input else {
        return;
    };
    let message_max = [125, 300, 70_000][usize::from(size % 3)];
    let bounded = |held: usize| assert!(held <= 2 * message_max.min(wire.len()) + 512, "{held}");
    let whole = frames(std::iter::once(wire), message_max, bounded);
    assert_eq!(whole, model(wire, message_max), "not what the RFC says");
    let one = frames(wire.chunks(1), message_max, bounded);
    assert_eq!(one, whole, "one byte at a time");
    let torn = frames(pieces(wire, *cut).into_iter(), message_max, bounded);
    assert_eq!(torn, whole, "in pieces");
});

/// Cuts `wire` into pieces of 0 to 31 bytes.
fn pieces(mut wire: &[u8], cut: u8) -> Vec<&[u8]> {
    let mut state = u32::from(cut) | 0x100;
    let mut pieces = Vec::new();
    while !wire.is_empty() {
        state = state.wrapping_mul(0x19660d).wrapping_add(0x3c6ef35f);
        let (piece, rest) = wire.split_at(wire.len().min((state >> 27) as usize));
        pieces.push(piece);
        wire = rest;
    }
    pieces
}

/// RFC 6455 §5 and §7.4 read off the page, for bytes that are all there.
fn model(mut wire: &[u8], message_max: usize) -> Reading {
    let mut reading = Reading::default();
    let mut message = Message::default();
    loop {
        match step(&mut wire, &mut message, message_max) {
            Ok(Some(event)) if event.is_empty() => {}
            Ok(Some(event)) => reading.events.push(event),
            Ok(None) => return reading,
            Err(code) => {
                reading.violation = Some(code);
                return reading;
            }
        }
    }
}

#[derive(Default)]
struct Message {
    opcode: u8,
    fragments: usize,
    bytes: Vec<u8>,
}

/// One frame off the front of `wire`: an event, an empty one for a fragment, or nothing where
/// bytes are missing.
fn step(
    wire: &mut &[u8],
    message: &mut Message,
    message_max: usize,
) -> Result<Option<String>, u16> {
    let [first, second, rest @ ..] = *wire else {
        return Ok(None);
    };
    let (fin, opcode) = (first & 0x80 != 0, first & 0x0f);
    let control = opcode >= 8;
    let known = matches!(opcode, 0..=2 | 8..=10);
    if first & 0x70 != 0 || second & 0x80 == 0 || !known {
        return Err(1002);
    }
    if control && (!fin || second & 0x7f > 125) {
        return Err(1002);
    }
    if !control && (opcode == 0) != (message.fragments > 0) {
        return Err(1002);
    }
    let size = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    if rest.len() < size + 4 {
        return Ok(None);
    }
    let (extended, rest) = rest.split_at(size);
    let length = extended.iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
    let length = match size {
        2 if length < 126 => return Err(1002),
        8 if length < 1 << 16 || length >= 1 << 63 => return Err(1002),
        0 => u64::from(second & 0x7f),
        _ => length,
    };
    if !control {
        message.fragments += 1;
        let total = message.bytes.len() as u64 + length;
        if total > message_max as u64 || message.fragments > FRAGMENTS_MAX {
            return Err(1009);
        }
    }
    let (mask, rest) = rest.split_at(4);
    if (rest.len() as u64) < length {
        return Ok(None);
    }
    let (payload, rest) = rest.split_at(length as usize);
    *wire = rest;
    let masks = mask.iter().cycle();
    let payload: Vec<u8> = payload.iter().zip(masks).map(|(b, m)| b ^ m).collect();
    match opcode {
        8 => close(&payload).map(Some),
        9 => Ok(Some(format!("Ping({payload:?})"))),
        10 => Ok(Some("Pong".into())),
        _ => data(fin, opcode, &payload, message).map(Some),
    }
}

fn close(payload: &[u8]) -> Result<String, u16> {
    let [a, b, reason @ ..] = payload else {
        let empty = payload.is_empty();
        return if empty {
            Ok("Close(None)".into())
        } else {
            Err(1002)
        };
    };
    let code = u16::from_be_bytes([*a, *b]);
    if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
        return Err(1002);
    }
    match std::str::from_utf8(reason) {
        Ok(_) => Ok(format!("Close(Some({code}))")),
        Err(_) => Err(1007),
    }
}

fn data(fin: bool, opcode: u8, payload: &[u8], message: &mut Message) -> Result<String, u16> {
    if opcode != 0 {
        message.opcode = opcode;
    }
    message.bytes.extend(payload);
    if !fin {
        return Ok(String::new());
    }
    let whole = std::mem::take(message);
    match whole.opcode {
        1 if std::str::from_utf8(&whole.bytes).is_err() => Err(1007),
        1 => Ok(format!("Text({:?})", whole.bytes)),
        _ => Ok("Binary".into()),
    }
}
