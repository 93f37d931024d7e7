//! What the reader accepts and refuses, each fed whole and one byte at a time.

use super::*;

const MASK: [u8; 4] = [0x11, 0x22, 0x33, 0x44];

/// A client frame with `first` as its first byte.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        n @ 0..=125 => bytes.push(0x80 | u8::try_from(n).unwrap()),
        n @ 126..=0xffff => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(n).unwrap().to_be_bytes());
        }
        n => {
            bytes.push(0x80 | 127);
            bytes.extend((n as u64).to_be_bytes());
        }
    }
    bytes.extend(MASK);
    bytes.extend(
        payload
            .iter()
            .enumerate()
            .map(|(n, byte)| byte ^ MASK[n % 4]),
    );
    bytes
}

fn read_in_pieces(bytes: &[u8], piece: usize) -> Result<Vec<Event>, Violation> {
    let mut reader = Reader::new(1_000);
    let mut events = Vec::new();
    for mut input in bytes.chunks(piece) {
        while let Some(event) = reader.feed(&mut input)? {
            events.push(event);
        }
    }
    Ok(events)
}

fn read(bytes: &[u8]) -> Result<Vec<Event>, Violation> {
    let whole = read_in_pieces(bytes, bytes.len().max(1));
    for piece in [1, 2, 3, 7] {
        assert_eq!(read_in_pieces(bytes, piece), whole, "in pieces of {piece}");
    }
    whole
}

fn code(bytes: &[u8]) -> u16 {
    read(bytes).unwrap_err().code
}

#[test]
fn reads_messages_however_they_are_cut() {
    let bytes = [
        frame(0x81, b"one"),
        frame(0x82, &[0; 300]),
        frame(0x81, &[b'x'; 126]),
    ]
    .concat();
    let events = read(&bytes).unwrap();
    assert_eq!(events[0], Event::Text(b"one".to_vec()));
    assert_eq!(events[1], Event::Binary);
    assert_eq!(events[2], Event::Text(vec![b'x'; 126]));
}

#[test]
fn joins_fragments_around_control_frames() {
    let bytes = [
        frame(0x01, "ä".as_bytes().split_at(1).0),
        frame(0x89, b"hi"),
        frame(0x80, "ä".as_bytes().split_at(1).1),
    ]
    .concat();
    assert_eq!(
        read(&bytes).unwrap(),
        [
            Event::Ping(b"hi".to_vec()),
            Event::Text("ä".as_bytes().to_vec())
        ]
    );
}

#[test]
fn refuses_what_the_rfc_forbids_with_1002() {
    let unmasked = [0x81, 0x02, b'h', b'i'];
    let reserved = frame(0xc1, b"x");
    let unknown = frame(0x83, b"x");
    let fragmented_ping = frame(0x09, b"x");
    let long_ping = frame(0x89, &[0; 126]);
    let long_close = frame(0x88, &[3; 126]);
    let long_pong = frame(0x8a, &[0; 126]);
    let nothing_to_continue = frame(0x80, b"x");
    let inside = [frame(0x01, b"a"), frame(0x81, b"b")].concat();
    let inside_unfinished = [frame(0x01, b"a"), frame(0x01, b"b")].concat();
    let short_close = frame(0x88, &[3]);
    let bad_close = frame(0x88, &1005_u16.to_be_bytes());
    let mut padded = vec![0x81, 0x80 | 126, 0, 3];
    padded.extend(MASK);
    let mut padded_more = vec![0x81, 0x80 | 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
    padded_more.extend(MASK);
    for (name, bytes) in [
        ("unmasked", &unmasked[..]),
        ("reserved bits", &reserved),
        ("unknown opcode", &unknown),
        ("fragmented ping", &fragmented_ping),
        ("long ping", &long_ping),
        ("long close", &long_close),
        ("long pong", &long_pong),
        ("nothing to continue", &nothing_to_continue),
        ("a message inside a message", &inside),
        ("an unfinished message inside a message", &inside_unfinished),
        ("a close code cut short", &short_close),
        ("a close code not allowed", &bad_close),
        ("a length not in its shortest form", &padded),
        ("a long length not in its shortest form", &padded_more),
    ] {
        assert_eq!(code(bytes), 1002, "{name}");
    }
}

#[test]
fn refuses_text_that_ends_inside_a_character_with_1007() {
    assert_eq!(code(&frame(0x81, b"abc\xe4\xb8")), 1007);
    let cut = [frame(0x01, b"abc\xe4"), frame(0x80, b"\xb8")].concat();
    assert_eq!(code(&cut), 1007);
    assert_eq!(
        code(&frame(0x88, b"\x03\xe8\xff")),
        1007,
        "in a close reason"
    );
}

#[test]
fn the_limit_holds_for_the_sum_of_all_fragments() {
    assert_eq!(read(&frame(0x81, &[b'x'; 1_000])).unwrap().len(), 1);
    assert_eq!(code(&frame(0x81, &[b'x'; 1_001])), 1009);
    let sum = [frame(0x01, &[b'x'; 600]), frame(0x80, &[b'x'; 401])].concat();
    assert_eq!(code(&sum), 1009);
}

#[test]
fn endless_empty_fragments_are_refused() {
    let mut bytes = frame(0x01, b"");
    for _ in 0..2_000 {
        bytes.extend(frame(0x00, b""));
    }
    assert_eq!(code(&bytes), 1009);
}

#[test]
fn a_header_alone_reserves_no_memory() {
    let mut reader = Reader::new(64 << 20);
    let mut head = vec![0x82, 0x80 | 127];
    head.extend((60_u64 << 20).to_be_bytes());
    head.extend(MASK);
    assert_eq!(reader.feed(&mut &head[..]), Ok(None));
    assert!(reader.held() < 1_000);
}

#[test]
fn close_codes_are_read() {
    assert_eq!(read(&frame(0x88, b"")).unwrap(), [Event::Close(None)]);
    assert_eq!(
        read(&frame(0x88, b"\x03\xe8bye")).unwrap(),
        [Event::Close(Some(1000))]
    );
    assert_eq!(
        read(&frame(0x88, &3501_u16.to_be_bytes())).unwrap(),
        [Event::Close(Some(3501))]
    );
}

#[test]
fn only_codes_that_mean_something_are_taken() {
    let taken = |code: u16| read(&frame(0x88, &code.to_be_bytes())).is_ok();
    let codes: Vec<u16> = (0..=u16::MAX).filter(|code| taken(*code)).collect();
    let registered = (1000..=1003).chain(1007..=1014);
    assert_eq!(codes, registered.chain(3000..=4999).collect::<Vec<_>>());
}

#[test]
fn our_frames_are_whole_and_unmasked() {
    assert_eq!(&text(b"hi")[..], b"\x81\x02hi");
    assert_eq!(&ping()[..], b"\x89\x00");
    assert_eq!(&pong(b"x")[..], b"\x8a\x01x");
    assert_eq!(&close(3001, "shutdown")[..], b"\x88\x0a\x0b\xb9shutdown");
    assert_eq!(&text(&[b'x'; 126])[..4], [0x81, 126, 0, 126]);
}
