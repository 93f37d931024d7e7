//! Messages: text that is no UTF-8 (RFC 6455 §8.1), and what is too big or in too many pieces
//! (§10.4).

use super::{
    Expected::{AnswersThenClose, Close},
    Row,
    frames::{BINARY, five, long_form, padded},
};
use crate::harness::websocket::{CONTINUATION, FIN, PING, TEXT, frame};

/// `realtime.message_max` as it is shipped.
const MESSAGE_MAX: usize = 64 << 10;

/// Fragments that a message may have.
const FRAGMENTS_MAX: usize = 1_024;

/// A command, which is answered with id 5.
const COMMAND: &[u8] = b"{\"id\":5,\"ping\":{}}";

pub(super) fn rows() -> Vec<Row> {
    [utf8(), sizes(), limits()].concat()
}

/// §8.1: text that is not UTF-8 MUST fail the connection, with 1007 (§7.4.1).
fn utf8() -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, bad) in [
        ("a lone continuation byte", &b"\x80"[..]),
        ("0xFE", b"\xfe"),
        ("0xFF", b"\xff"),
        ("two bytes cut short", b"\xc3"),
        ("three bytes cut short", b"\xe2\x82"),
        ("four bytes cut short", b"\xf0\x9f\x98"),
        ("an overlong slash", b"\xc0\xaf"),
        ("an overlong NUL", b"\xc0\x80"),
        ("an overlong form of three bytes", b"\xe0\x9f\xbf"),
        ("an overlong form of four bytes", b"\xf0\x8f\xbf\xbf"),
        ("the first surrogate", b"\xed\xa0\x80"),
        ("the last surrogate", b"\xed\xbf\xbf"),
        ("a pair of surrogates", b"\xed\xa0\xbd\xed\xb8\x80"),
        ("U+110000", b"\xf4\x90\x80\x80"),
        ("five bytes", b"\xf8\x88\x80\x80\x80"),
        ("six bytes", b"\xfc\x84\x80\x80\x80\x80"),
    ] {
        let places = [
            ("at the start", [bad, COMMAND].concat()),
            (
                "in the middle",
                [b"{\"id\":5,\"x\":\"", bad, b"\",\"ping\":{}}"].concat(),
            ),
            ("at the end", [COMMAND, bad].concat()),
        ];
        for (place, text) in places {
            let name = format!("§8.1 {name} {place}");
            rows.push(Row::new(name, frame(FIN | TEXT, &text), Close(1007)));
        }
        let (first, rest) = bad.split_at(bad.len() / 2);
        let torn = [frame(TEXT, first), frame(FIN | CONTINUATION, rest)].concat();
        rows.push(Row::new(
            format!("§8.1 {name} across fragments"),
            torn,
            Close(1007),
        ));
    }
    rows.push(Row::new(
        "§8.1 a character cut short by an empty last fragment",
        [frame(TEXT, b"\xe2\x82"), frame(FIN | CONTINUATION, b"")].concat(),
        Close(1007),
    ));
    rows.push(Row::new(
        "§8.1 a character that a ping cuts and nothing completes",
        [
            frame(TEXT, b"{}\xe2"),
            frame(FIN | PING, b""),
            frame(FIN | CONTINUATION, b"\x82"),
        ]
        .concat(),
        AnswersThenClose(1007),
    ));
    rows
}

/// Too big is told by the header, before the payload comes, and for all fragments together.
fn sizes() -> Vec<Row> {
    let announced = |first: u8, length: usize| long_form(first, 8, length as u64, b"");
    let half = [b' '; MESSAGE_MAX / 2];
    let mut rows = Vec::new();
    let mut add = |name: &str, bytes: Vec<u8>| {
        rows.push(Row::new(format!("§10.4 {name}"), bytes, Close(1009)));
    };
    for length in [MESSAGE_MAX + 1, 1 << 32, (1 << 63) - 1] {
        let text = announced(FIN | TEXT, length);
        add(&format!("text of {length} bytes, announced"), text);
        let binary = announced(FIN | BINARY, length);
        add(&format!("binary of {length} bytes, announced"), binary);
        let first = announced(TEXT, length);
        add(&format!("a fragment of {length} bytes, announced"), first);
        let next = [frame(TEXT, b" "), announced(FIN, length)].concat();
        add(
            &format!("a last fragment of {length} bytes, announced"),
            next,
        );
    }
    add(
        "a last fragment that announces a byte too much",
        [frame(TEXT, b" "), announced(FIN, MESSAGE_MAX)].concat(),
    );
    add(
        "a byte too much in one frame",
        frame(FIN | TEXT, &[b' '; MESSAGE_MAX + 1]),
    );
    add(
        "a byte too much in fragments",
        [
            frame(TEXT, &half),
            frame(CONTINUATION, &half),
            frame(FIN, b" "),
        ]
        .concat(),
    );
    add(
        "a message that never ends",
        [
            frame(BINARY, b""),
            frame(CONTINUATION, &[0; 1_000]).repeat(80),
        ]
        .concat(),
    );
    add("endless empty fragments", fragments(FRAGMENTS_MAX + 1, b""));
    add("endless tiny fragments", fragments(FRAGMENTS_MAX + 1, b" "));
    rows
}

/// A message of `count` fragments.
fn fragments(count: usize, each: &[u8]) -> Vec<u8> {
    let middle = frame(CONTINUATION, each).repeat(count - 2);
    [frame(TEXT, COMMAND), middle, frame(FIN | CONTINUATION, b"")].concat()
}

/// Floods, and what is as big or as many as may be.
fn limits() -> Vec<Row> {
    let pings = frame(FIN | PING, b"").repeat(2_000);
    let largest = frame(FIN | TEXT, &padded(MESSAGE_MAX));
    let most = fragments(FRAGMENTS_MAX, b"");
    vec![
        Row::new("a flood of pings", pings, AnswersThenClose(3013)),
        Row::new("exactly the limit", largest, five()),
        Row::new("as many fragments as may be", most, five()),
    ]
}
