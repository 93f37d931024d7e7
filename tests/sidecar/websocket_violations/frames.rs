//! Frames and messages that RFC 6455 §5 forbids, and what stands beside them.

use crate::harness::websocket::{CONTINUATION, FIN, PING, PONG, TEXT, frame, unmasked};

use super::{
    Expected::{Answers, Close},
    From, Row,
};

pub(super) const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;

/// A command and its frame, which is answered with id 5.
const COMMAND: &str = "{\"id\":5,\"ping\":{}}";

pub(super) fn rows() -> Vec<Row> {
    [
        masking(),
        reserved(),
        control(),
        lengths(),
        fragments(),
        plain(),
        allowed(),
    ]
    .concat()
}

/// A masked frame whose length stands in `size` bytes, shortest or not.
pub(super) fn long_form(first: u8, size: usize, length: u64, payload: &[u8]) -> Vec<u8> {
    let marker = if size == 2 { 0xfe } else { 0xff };
    let length = length.to_be_bytes();
    let head = [&[first, marker], &length[8 - size..], &[0; 4]];
    [&head.concat(), payload].concat()
}

/// §5.1: a server MUST close upon a frame that is not masked.
fn masking() -> Vec<Row> {
    let opcodes = [CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG];
    let row = |opcode: u8, from| {
        let name = format!("§5.1 unmasked, opcode {opcode:#x}");
        Row::new(name, unmasked(FIN | opcode, b""), Close(1002)).from(from)
    };
    let mut rows: Vec<Row> = opcodes.map(|opcode| row(opcode, From::Connect)).into();
    rows.extend(opcodes.map(|opcode| row(opcode, From::Upgrade)));
    rows.push(Row::new(
        "§5.1 unmasked, with a command",
        unmasked(FIN | TEXT, COMMAND.as_bytes()),
        Close(1002),
    ));
    rows.push(Row::new(
        "§5.1 unmasked continuation of a masked start",
        [frame(TEXT, b"{"), unmasked(FIN | CONTINUATION, b"}")].concat(),
        Close(1002),
    ));
    rows.push(Row::new(
        "§5.1 unmasked close with a code",
        unmasked(FIN | CLOSE, b"\x03\xe8"),
        Close(1002),
    ));
    rows
}

/// §5.2: reserved bits MUST be 0 unless an extension was negotiated; an unknown opcode MUST fail
/// the connection.
fn reserved() -> Vec<Row> {
    let mut rows = Vec::new();
    for bits in [0x40, 0x20, 0x10, 0x70] {
        for opcode in [TEXT, BINARY, CLOSE, PING, PONG] {
            let name = format!("§5.2 reserved bits {bits:#x}, opcode {opcode:#x}");
            rows.push(Row::new(name, frame(FIN | bits | opcode, b""), Close(1002)));
        }
        let name = format!("§5.2 reserved bits {bits:#x} in a continuation");
        let bytes = [frame(TEXT, b"{"), frame(FIN | bits | CONTINUATION, b"}")];
        rows.push(Row::new(name, bytes.concat(), Close(1002)));
        let name = format!("§5.2 reserved bits {bits:#x} in a first fragment");
        rows.push(Row::new(name, frame(bits | TEXT, b"{"), Close(1002)));
    }
    for opcode in (0x3..=0x7).chain(0xb..=0xf) {
        let name = format!("§5.2 opcode {opcode:#x}");
        rows.push(Row::new(
            name,
            frame(FIN | opcode, COMMAND.as_bytes()),
            Close(1002),
        ));
        let name = format!("§5.2 opcode {opcode:#x}, empty, not final");
        rows.push(Row::new(name, frame(opcode, b""), Close(1002)));
    }
    rows.push(Row::new(
        "§5.2 an unknown opcode inside a message",
        [frame(TEXT, b"{"), frame(FIN | 0x3, b"}")].concat(),
        Close(1002),
    ));
    rows
}

/// §5.5: control frames MUST have 125 bytes at most and MUST NOT be fragmented.
fn control() -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, opcode) in [("ping", PING), ("pong", PONG), ("close", CLOSE)] {
        let mut add = |what: &str, bytes: Vec<u8>| {
            let name = format!("§5.5 a {name} {what}");
            rows.push(Row::new(name, bytes, Close(1002)));
        };
        let code = [&b"\x03\xe8"[..], &[b'x'; 124]].concat();
        add("of 126 bytes", frame(FIN | opcode, &code));
        add(
            "of 65,536 bytes",
            frame(FIN | opcode, &b"\x03\xe8".repeat(1 << 15)),
        );
        add(
            "of 2 bytes in the 16-bit form",
            long_form(FIN | opcode, 2, 2, b"\x03\xe8"),
        );
        add(
            "of 2 bytes in the 64-bit form",
            long_form(FIN | opcode, 8, 2, b"\x03\xe8"),
        );
        add(
            "whose 126 bytes do not come",
            long_form(FIN | opcode, 2, 126, b""),
        );
        add("in fragments", frame(opcode, b"\x03\xe8"));
        add("in fragments, empty", frame(opcode, b""));
        let both = [frame(opcode, b"\x03"), frame(FIN | CONTINUATION, b"\xe8")];
        add("continued", both.concat());
        let inside = [frame(TEXT, b"{"), frame(opcode, b"")];
        add("in fragments inside a message", inside.concat());
    }
    rows
}

/// §5.2: the minimal number of bytes MUST be used, and the top bit of 64 MUST be 0.
fn lengths() -> Vec<Row> {
    let mut rows = Vec::new();
    for (size, length) in [
        (2, 0),
        (2, 1),
        (2, 125),
        (8, 0),
        (8, 1),
        (8, 125),
        (8, 126),
        (8, 65_535),
        (8, 1 << 63),
        (8, u64::MAX),
    ] {
        for opcode in [TEXT, BINARY] {
            let name = format!("§5.2 {length} in {size} bytes, opcode {opcode:#x}");
            let bytes = long_form(FIN | opcode, size, length, b"");
            rows.push(Row::new(name, bytes, Close(1002)));
        }
    }
    rows.push(Row::new(
        "§5.2 a continuation of 1 in 2 bytes",
        [frame(TEXT, b"{"), long_form(FIN, 2, 1, b"}")].concat(),
        Close(1002),
    ));
    rows
}

/// §5.4: fragments of one message MUST NOT be interleaved with another's.
fn fragments() -> Vec<Row> {
    let row = |name: &str, frames: &[Vec<u8>]| Row::new(name, frames.concat(), Close(1002));
    vec![
        row(
            "§5.4 nothing to continue",
            &[frame(FIN, COMMAND.as_bytes())],
        ),
        row(
            "§5.4 nothing to continue, not final",
            &[frame(CONTINUATION, b"{")],
        ),
        row("§5.4 nothing to continue, empty", &[frame(FIN, b"")]),
        row(
            "§5.4 a continuation after the final one",
            &[
                frame(TEXT, b"{"),
                frame(FIN | CONTINUATION, b"}"),
                frame(FIN | CONTINUATION, b""),
            ],
        ),
        row(
            "§5.4 text inside text",
            &[frame(TEXT, b"{"), frame(FIN | TEXT, b"}")],
        ),
        row(
            "§5.4 text fragments inside text",
            &[frame(TEXT, b"{"), frame(TEXT, b"}")],
        ),
        row(
            "§5.4 binary inside text",
            &[frame(TEXT, b"{"), frame(FIN | BINARY, b"}")],
        ),
        row(
            "§5.4 text inside binary",
            &[frame(BINARY, b"{"), frame(FIN | TEXT, b"}")],
        ),
        row(
            "§5.4 binary fragments inside binary",
            &[frame(BINARY, b""), frame(BINARY, b"")],
        ),
        row(
            "§5.4 text inside text, after a continuation",
            &[
                frame(TEXT, b"{"),
                frame(CONTINUATION, b""),
                frame(FIN | TEXT, COMMAND.as_bytes()),
            ],
        ),
        row(
            "§5.4 text inside empty text",
            &[frame(TEXT, b""), frame(FIN | TEXT, b"")],
        ),
    ]
}

/// A plain stream has nothing to say, but its frames are judged all the same.
fn plain() -> Vec<Row> {
    let row = |name: &str, bytes: Vec<u8>, code: u16| {
        Row::new(format!("{name}, plain stream"), bytes, Close(code)).from(From::Plain)
    };
    vec![
        row("§5.1 unmasked", unmasked(FIN | TEXT, b"{}"), 1002),
        row("§5.2 a reserved bit", frame(FIN | 0x40 | TEXT, b""), 1002),
        row("§5.2 opcode 0x3", frame(FIN | 0x3, b""), 1002),
        row("§5.4 nothing to continue", frame(FIN, b""), 1002),
        row("§5.5 a ping in fragments", frame(PING, b""), 1002),
        row("§8.1 not UTF-8", frame(FIN | TEXT, b"\xff"), 1007),
        row(
            "§10.4 too big",
            long_form(FIN | BINARY, 8, 1 << 20, b""),
            1009,
        ),
        row(
            "§5.5.1 half a close code",
            frame(FIN | CLOSE, b"\x03"),
            1002,
        ),
    ]
}

/// What stands beside the line, on the right side of it.
fn allowed() -> Vec<Row> {
    let text = |bytes: &[u8]| frame(FIN | TEXT, bytes);
    let unmasked_by_zero = [
        &[FIN | TEXT, 0x80 | COMMAND.len() as u8, 0, 0, 0, 0],
        COMMAND.as_bytes(),
    ];
    let characters = "{\"id\":5,\"ping\":{},\"x\":\"\u{7ff}\u{ffff}\u{d7ff}\u{e000}\u{10ffff}\"}";
    let (start, end) = COMMAND.split_at(9);
    let (start, end) = (start.as_bytes(), end.as_bytes());
    vec![
        Row::new("a mask of zero", unmasked_by_zero.concat(), five()),
        Row::new("the edges of Unicode", text(characters.as_bytes()), five()),
        Row::new("126 bytes", text(&padded(126)), five()),
        Row::new("65,535 bytes", text(&padded(65_535)), five()),
        Row::new(
            "an empty pong that nobody asked for",
            frame(FIN | PONG, b""),
            nothing(),
        ),
        Row::new(
            "a pong of 125 bytes",
            frame(FIN | PONG, &[7; 125]),
            nothing(),
        ),
        Row::new(
            "a ping of 125 bytes",
            frame(FIN | PING, &[0xff; 125]),
            Answers(vec![], vec![vec![0xff; 125]]),
        ),
        Row::new(
            "pings and a pong within fragments",
            [
                frame(TEXT, start),
                frame(FIN | PING, b"one"),
                frame(CONTINUATION, b""),
                frame(FIN | PONG, b"two"),
                frame(FIN | PING, b"three"),
                frame(FIN | CONTINUATION, end),
            ]
            .concat(),
            Answers(vec![(5, 0)], vec![b"one".to_vec(), b"three".to_vec()]),
        ),
        Row::new(
            "a command in fragments of one byte",
            {
                let bytes = COMMAND.bytes().map(|byte| frame(CONTINUATION, &[byte]));
                let bytes = bytes.collect::<Vec<_>>().concat();
                [frame(TEXT, b""), bytes, frame(FIN, b"")].concat()
            },
            five(),
        ),
    ]
}

/// The command is answered.
pub(super) fn five() -> super::Expected {
    Answers(vec![(5, 0)], vec![])
}

/// Nothing is answered.
fn nothing() -> super::Expected {
    Answers(vec![], vec![])
}

/// The command with a field that makes it `length` bytes long.
pub(super) fn padded(length: usize) -> Vec<u8> {
    let (before, after) = ("{\"id\":5,\"ping\":{},\"x\":\"", "\"}");
    let filler = "x".repeat(length - before.len() - after.len());
    format!("{before}{filler}{after}").into_bytes()
}
