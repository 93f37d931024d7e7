//! Frames and messages that are not allowed, or just so, on a busy process.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a scenario stops at the first fault"
)]

use std::sync::Arc;

use serde_json::json;

use crate::{
    Scenario,
    browser::Next,
    dice::Dice,
    feed::Feed,
    harness::websocket::{CLOSE, CONTINUATION, FIN, PING, PONG, TEXT, frame, unmasked},
    world::World,
};

const BINARY: u8 = 0x2;

/// The longest message that is taken.
const MESSAGE_MAX: usize = 64 << 10;

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new("malformed_frames", |w, d| Box::pin(malformed(w, d))),
        Scenario::new("oversized_messages_are_1009", |w, d| {
            Box::pin(oversized(w, d))
        }),
    ]
}

/// What is sent after the connect command, and the code that it is closed with.
fn rows() -> Vec<(&'static str, Vec<u8>, u16)> {
    let control = vec![b'x'; 126];
    let half = "{\"id\":9,\"ping\":{}} \u{e9}".as_bytes();
    let rows: Vec<(&'static str, Vec<u8>, u16)> = vec![
        ("not masked", unmasked(FIN | TEXT, b"{}"), 1002),
        ("a reserved bit", frame(FIN | TEXT | 0x40, b"{}"), 1002),
        ("an unknown opcode", frame(FIN | 0x3, b"{}"), 1002),
        ("an unknown control opcode", frame(FIN | 0xB, b""), 1002),
        ("a long ping", frame(FIN | PING, &control), 1002),
        ("a long pong", frame(FIN | PONG, &control), 1002),
        ("a long close", frame(FIN | CLOSE, &control), 1002),
        ("a ping in fragments", frame(PING, b""), 1002),
        (
            "a continuation of nothing",
            frame(FIN | CONTINUATION, b"{}"),
            1002,
        ),
        (
            "a message in a message",
            [frame(TEXT, b"{"), frame(FIN | TEXT, b"{}")].concat(),
            1002,
        ),
        (
            "a close code that may not be sent",
            frame(FIN | CLOSE, &1_005_u16.to_be_bytes()),
            1002,
        ),
        ("half a close code", frame(FIN | CLOSE, &[3]), 1002),
        (
            "no UTF-8",
            frame(FIN | TEXT, b"{\"id\":9,\"ping\":{}}\xff"),
            1007,
        ),
        (
            "half a character",
            frame(FIN | TEXT, &half[..half.len() - 1]),
            1007,
        ),
        (
            "half a character at the end of the last fragment",
            [frame(TEXT, b"\xc3"), frame(FIN | CONTINUATION, b"")].concat(),
            1007,
        ),
        ("binary", frame(FIN | BINARY, b"{}"), 3501),
        ("no JSON", frame(FIN | TEXT, b"hello"), 3501),
        ("half an object", frame(FIN | TEXT, b"{\"id\":9,"), 3501),
        (
            "a command without an id",
            frame(FIN | TEXT, b"{\"ping\":{}}"),
            3501,
        ),
        (
            "connect again",
            frame(FIN | TEXT, b"{\"id\":9,\"connect\":{}}"),
            3501,
        ),
    ];
    rows
}

/// Done: browsers that follow a busy channel send what is not allowed. Holds: each is closed with
/// the code of its fault; a browser beside them gets everything.
async fn malformed(world: Arc<World>, mut dice: Dice) -> String {
    const CHANNEL: &str = "post:malformed";
    let mut witness = world.busy.browser(0).await;
    witness.subscribe(CHANNEL).await;
    let feed = Feed::new(CHANNEL, 20, world.ends).run(Arc::clone(&world.busy));
    let sending = async {
        let mut rows = rows();
        let (mut sent, mut rounds) = (0, 0);
        while !world.is_over() {
            dice.shuffle(&mut rows);
            for (name, bytes, code) in &rows {
                let mut browser = world.busy.browser(0).await;
                browser.subscribe(CHANNEL).await;
                browser.socket.send(bytes).await;
                let ended = browser.ended().await;
                assert_eq!(ended.code, *code, "{name}: {ended:?}");
                assert!(!ended.reason.is_empty(), "{name}");
                sent += 1;
            }
            rounds += 1;
        }
        assert!(rounds > 0);
        sent
    };
    let (published, sent, received) = tokio::join!(feed, sending, witness.read_to_the_end());
    assert_eq!(received, published);
    format!(
        "{sent} sent of {} kinds during {published} publications",
        rows().len()
    )
}

/// Done: messages of up to the limit and a byte beyond, in one frame or in many. Holds: what fits
/// is read, what does not is 1009, and a declared length costs nothing.
async fn oversized(world: Arc<World>, mut dice: Dice) -> String {
    let (mut taken, mut refused) = (0, 0);
    while !world.is_over() {
        let mut browser = world.busy.browser(0).await;
        let fits = dice.chance(50);
        let length = MESSAGE_MAX + usize::from(!fits);
        let id = browser.next_id();
        let bytes = in_pieces(id, length, &mut dice);
        browser.socket.send(bytes).await;
        match (browser.answer(id).await, fits) {
            (Next::Message(reply), true) => {
                assert_eq!(reply, json!({ "id": id, "ping": {} }));
                taken += 1;
            }
            (Next::Ended(ended), false) if ended.code == 1_009 => refused += 1,
            (other, _) => panic!("{length} bytes: {other:?}"),
        }
        if dice.chance(20) {
            let mut browser = world.busy.browser(0).await;
            let mut declared = vec![FIN | TEXT, 0xff];
            declared.extend(u64::from(u32::MAX).to_be_bytes());
            declared.extend([0; 4]);
            browser.socket.send(declared).await;
            assert_eq!(browser.ended().await.code, 1_009, "a declared length");
            refused += 1;
        }
    }
    format!("{taken} taken, {refused} refused")
}

/// A ping command of `length` bytes, in one to forty fragments.
fn in_pieces(id: u64, length: usize, dice: &mut Dice) -> Vec<u8> {
    let (before, after) = (format!("{{\"id\":{id},\"ping\":{{}},\"x\":\""), "\"}");
    let filler = "x".repeat(length - before.len() - after.len());
    let text = format!("{before}{filler}{after}");
    let pieces = dice.of(1, 40) as usize;
    let chunks: Vec<&[u8]> = text.as_bytes().chunks(length.div_ceil(pieces)).collect();
    let last = chunks.len() - 1;
    let frames = chunks.iter().enumerate().map(|(n, piece)| {
        let opcode = if n == 0 { TEXT } else { CONTINUATION };
        let fin = if n == last { FIN } else { 0 };
        frame(fin | opcode, piece)
    });
    frames.flatten().collect()
}
