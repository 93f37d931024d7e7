//! The bytes of a WebSocket: what RFC 6455 forbids is refused, what it allows is read.

use serde_json::json;

use crate::harness::{
    sidecar::Sidecar,
    websocket::{CLOSE, CONTINUATION, FIN, PING, PONG, TEXT, frame, opening, unmasked},
};

#[tokio::test]
async fn a_message_over_the_limit_is_too_big_and_one_of_exactly_the_limit_is_not() {
    let most = "message_max = \"1KiB\"";
    let sidecar = Sidecar::builder().section("realtime", most).start().await;
    let mut browser = sidecar.browser().await;
    let command = |length: usize| {
        let around = "{\"id\":5,\"ping\":{}, \"x\":\"\"}".len();
        format!(
            "{{\"id\":5,\"ping\":{{}}, \"x\":\"{}\"}}",
            "x".repeat(length - around)
        )
    };
    browser.say(&command(1_024)).await;
    assert_eq!(browser.message().await, json!({ "id": 5, "ping": {} }));
    browser.say(&command(1_025)).await;
    let closed = browser.closed().await;
    assert_eq!((closed.code, &*closed.reason), (1009, "message too big"));

    let mut browser = sidecar.browser().await;
    browser.send(frame(TEXT, &[b' '; 600])).await;
    browser.send(frame(CONTINUATION, &[b' '; 600])).await;
    assert_eq!(browser.closed().await.code, 1009, "all fragments together");
    // Judged by the header: nothing of a gigabyte needs to arrive.
    let mut browser = sidecar.browser().await;
    let announced = [
        &[FIN | TEXT, 0xff][..],
        &(1u64 << 30).to_be_bytes(),
        &[0; 4],
    ];
    browser.send(announced.concat()).await;
    assert_eq!(browser.closed().await.code, 1009, "announced");
}

#[tokio::test]
async fn what_rfc_6455_forbids_ends_the_connection_with_its_code() {
    let sidecar = Sidecar::start().await;
    let broken: [(&str, u16, Vec<u8>); 14] = [
        ("unmasked", 1002, unmasked(FIN | TEXT, b"{}")),
        ("a reserved bit", 1002, frame(FIN | 0x40 | TEXT, b"{}")),
        ("an unknown opcode", 1002, frame(FIN | 0x3, b"{}")),
        ("a fragmented ping", 1002, frame(PING, b"")),
        ("a ping of 126 bytes", 1002, frame(FIN | PING, &[0; 126])),
        ("nothing to continue", 1002, frame(FIN | CONTINUATION, b"")),
        (
            "a message inside a message",
            1002,
            [frame(TEXT, b"{"), frame(FIN | TEXT, b"}")].concat(),
        ),
        (
            "a length not in its shortest form",
            1002,
            [&[FIN | TEXT, 0xfe, 0, 2][..], &[0; 4], b"{}"].concat(),
        ),
        ("half a close code", 1002, frame(FIN | CLOSE, &[3])),
        (
            "a close code that is never sent",
            1002,
            frame(FIN | CLOSE, &1006u16.to_be_bytes()),
        ),
        ("invalid UTF-8", 1007, frame(FIN | TEXT, b"\"\xff\"")),
        ("a character cut short", 1007, frame(FIN | TEXT, b"\xc3")),
        (
            "a character cut short by the last fragment",
            1007,
            [frame(TEXT, b"{}"), frame(FIN | CONTINUATION, b"\xe2\x82")].concat(),
        ),
        (
            "a close reason that is no UTF-8",
            1007,
            frame(FIN | CLOSE, b"\x03\xe8\xff"),
        ),
    ];
    for (what, code, bytes) in broken {
        let mut browser = sidecar.browser().await;
        browser.send(bytes).await;
        let closed = browser.closed().await;
        assert_eq!(closed.code, code, "{what}: {closed:?}");
        assert!(closed.frames.is_empty(), "{what}: {closed:?}");
        assert!(!closed.reason.is_empty(), "{what}");
    }
}

#[tokio::test]
async fn a_frame_that_comes_byte_by_byte_and_a_message_in_fragments_are_read() {
    let sidecar = Sidecar::start().await;
    let mut browser = sidecar.socket("/realtime").await;
    for byte in frame(FIN | TEXT, b"{\"id\":1,\"connect\":{}}") {
        browser.send([byte]).await;
    }
    assert_eq!(browser.message().await["id"], 1);
    browser.send(frame(TEXT, b"{\"id\":2,\"subs")).await;
    browser.send(frame(FIN | PING, b"between")).await;
    browser
        .send(frame(
            CONTINUATION,
            "cribe\":{\"channel\":\"post:1\",\"x\":\"\u{20ac}".as_bytes(),
        ))
        .await;
    browser.send(frame(FIN | CONTINUATION, b"\"}}")).await;
    let pong = browser.frame().await.unwrap().unwrap();
    assert_eq!((pong.opcode, &pong.payload[..]), (PONG, &b"between"[..]));
    assert!(browser.message().await["subscribe"].is_object());
}

#[tokio::test]
async fn what_comes_with_the_handshake_is_read() {
    let sidecar = Sidecar::start().await;
    let opening = opening(&sidecar.authority(), "/realtime", "");
    let command = frame(FIN | TEXT, b"{\"id\":1,\"connect\":{}}");
    let mut client = sidecar.http1().await;
    client.send([opening.as_bytes(), &command].concat()).await;
    let head = client.head().await.unwrap();
    assert_eq!(head.status, 101);
    while !client.read.ends_with(b"}}") {
        assert_ne!(client.fill().await.unwrap(), 0);
    }
}

#[tokio::test]
async fn three_hundred_pings_of_one_write_are_all_answered() {
    let allowed = "commands_per_second_max = 1_000";
    let sidecar = Sidecar::builder()
        .section("realtime", allowed)
        .start()
        .await;
    let mut browser = sidecar.browser().await;
    let pings = (0..300).map(|n: u32| frame(FIN | PING, &n.to_be_bytes()));
    browser.send(pings.collect::<Vec<_>>().concat()).await;
    for n in 0..300u32 {
        let pong = browser.frame().await.unwrap().unwrap();
        assert_eq!(
            (pong.opcode, &pong.payload[..]),
            (PONG, &n.to_be_bytes()[..])
        );
    }
    browser.subscribe("site").await;
}
