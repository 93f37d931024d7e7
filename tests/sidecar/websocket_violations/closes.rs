//! Close frames: what RFC 6455 §5.5.1 and §7.4 forbid in them, and after them.

use crate::harness::websocket::{CLOSE, CONTINUATION, FIN, PING, TEXT, frame};

use super::{Expected::Close, From, Row};

const COMMAND: &[u8] = b"{\"id\":5,\"ping\":{}}";

/// What §7.4.1 says not to send, what nobody registered, and what is beyond the ranges of §7.4.2.
const FORBIDDEN: [u16; 20] = [
    0, 1, 125, 999, 1004, 1005, 1006, 1015, 1016, 1100, 1999, 2000, 2500, 2999, 5000, 5001, 9999,
    32_768, 65_534, 65_535,
];

/// What a client may say; it is sent back.
const ALLOWED: [u16; 17] = [
    1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3501, 3999, 4000,
    4999,
];

pub(super) fn rows() -> Vec<Row> {
    [codes(), payloads(), after()].concat()
}

fn close(code: u16, reason: &[u8]) -> Vec<u8> {
    frame(FIN | CLOSE, &[&code.to_be_bytes(), reason].concat())
}

fn codes() -> Vec<Row> {
    let mut rows = Vec::new();
    for code in FORBIDDEN {
        let name = format!("§7.4 close code {code}");
        rows.push(Row::new(name, close(code, b""), Close(1002)));
        let name = format!("§7.4 close code {code} with a reason");
        rows.push(Row::new(name, close(code, b"bye"), Close(1002)));
    }
    for code in ALLOWED {
        let name = format!("close code {code}, which is allowed");
        rows.push(Row::new(name, close(code, b""), Close(code)));
    }
    rows
}

fn payloads() -> Vec<Row> {
    let mut rows = Vec::new();
    for byte in [0x00, 0x03, 0xff] {
        let name = format!("§5.5.1 a close of the one byte {byte:#x}");
        rows.push(Row::new(name, frame(FIN | CLOSE, &[byte]), Close(1002)));
    }
    for (name, reason) in [
        ("a lone continuation byte", &b"\x80"[..]),
        ("0xFF at its start", b"\xffbye"),
        ("0xFF in its middle", b"b\xffye"),
        ("a character cut short", b"bye\xe2\x82"),
        ("a surrogate", b"\xed\xa0\x80"),
        ("an overlong form", b"\xc0\xaf"),
        ("U+110000", b"\xf4\x90\x80\x80"),
    ] {
        let name = format!("§5.5.1 a close reason with {name}");
        rows.push(Row::new(name, close(1000, reason), Close(1007)));
    }
    let name = "a forbidden code with a reason that is no UTF-8";
    rows.push(Row::new(name, close(1005, b"\xff"), Close(1002)));
    rows.push(Row::new(
        "an empty close",
        frame(FIN | CLOSE, b""),
        Close(1000),
    ));
    let name = "a reason of 123 bytes";
    rows.push(Row::new(name, close(1000, &[b'x'; 123]), Close(1000)));
    let name = "a reason beyond ASCII";
    rows.push(Row::new(
        name,
        close(1000, "tschüß 👋".as_bytes()),
        Close(1000),
    ));
    rows
}

/// §5.5.1 and §7.1: nothing that follows a close is looked at, and nothing of it is answered.
fn after() -> Vec<Row> {
    let mut rows = Vec::new();
    for (name, more) in [
        ("a command", frame(FIN | TEXT, COMMAND)),
        ("a ping", frame(FIN | PING, b"x")),
        ("another close", close(4000, b"")),
        ("a forbidden frame", frame(FIN | 0x3, b"")),
        ("a megabyte", vec![0; 1 << 20]),
    ] {
        let name = format!("§5.5.1 {name} after a close");
        rows.push(Row::new(
            name,
            [close(1000, b""), more].concat(),
            Close(1000),
        ));
    }
    let inside = [frame(TEXT, b"{"), close(1001, b"")].concat();
    rows.push(Row::new(
        "a close inside a message",
        inside.clone(),
        Close(1001),
    ));
    let continued = [inside, frame(FIN | CONTINUATION, b"}")].concat();
    let name = "§5.5.1 the rest of a message after a close";
    rows.push(Row::new(name, continued, Close(1001)));
    for from in [From::Upgrade, From::Plain] {
        let name = "close code 1006";
        rows.push(Row::new(name, close(1006, b""), Close(1002)).from(from));
    }
    let twice = [frame(FIN | 0x3, b""), close(1000, b"")].concat();
    rows.push(Row::new(
        "a close after a forbidden frame",
        twice,
        Close(1002),
    ));
    rows
}
