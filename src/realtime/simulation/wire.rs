//! What a connection wrote, taken apart again.

use serde_json::Value;

/// One thing that a WebSocket's client is told.
#[derive(Debug)]
pub(super) enum Frame {
    Text(Value),
    Close(u16),
}

/// The frames in `bytes`, which hold whole ones only.
pub(super) fn frames(mut bytes: &[u8]) -> Vec<Frame> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let head = bytes[0];
        let (start, length) = match bytes[1] {
            126 => (4, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
            127 => {
                let length = u64::from_be_bytes(bytes[2..10].try_into().unwrap());
                (10, usize::try_from(length).unwrap())
            }
            small => (2, usize::from(small)),
        };
        let payload = &bytes[start..start + length];
        bytes = &bytes[start + length..];
        all.push(match head {
            0x81 => Frame::Text(serde_json::from_slice(payload).expect("one JSON value a frame")),
            0x88 => {
                let code = u16::from_be_bytes([payload[0], payload[1]]);
                let reason = std::str::from_utf8(&payload[2..]).unwrap();
                assert!(bytes.is_empty(), "something follows the close frame");
                {
                    assert!(!reason.is_empty());
                    Frame::Close(code)
                }
            }
            other => panic!("an unexpected frame: {other:#x}"),
        });
    }
    all
}
