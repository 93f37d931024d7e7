//! What a WebSocket client must not send, as tables: the exact bytes, and how the connection ends.
//!
//! Every row runs on a connection of its own over TLS, many at a time against one sidecar, beside a
//! browser that must not notice. What clients do right is tested elsewhere, save for what stands
//! hard beside the line.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may stop at the first surprise"
)]

mod closes;
mod commands;
mod frames;
mod openings;
mod texts;

use std::{collections::HashMap, fmt::Write, sync::Arc};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::{
    http::Client,
    sidecar::Sidecar,
    until,
    websocket::{CLOSE, FIN, PING, PONG, Socket, TEXT, frame, opening},
};

/// Rows under way at a time.
const AT_ONCE: usize = 32;

/// Bytes of a failed row that are printed.
const SHOWN: usize = 160;

/// One connection, what it sends, and what becomes of it.
#[derive(Clone, Debug)]
struct Row {
    name: String,
    from: From,
    bytes: Vec<u8>,
    expected: Expected,
}

/// Where a row starts.
#[derive(Clone, Copy, Debug)]
enum From {
    /// After the upgrade.
    Upgrade,
    /// After the connect command and its reply.
    Connect,
    /// After the upgrade of a plain stream.
    Plain,
}

/// How the server answers.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Expected {
    /// With a close frame of this code and nothing else.
    Close(u16),
    /// With a close frame of this code, and answers may come before.
    AnswersThenClose(u16),
    /// With these replies, told by id and error code, or 0, and these pongs; and it still answers.
    Answers(Vec<(u64, u64)>, Vec<Vec<u8>>),
}

impl Row {
    fn new(name: impl Into<String>, bytes: Vec<u8>, expected: Expected) -> Self {
        Self {
            name: name.into(),
            from: From::Connect,
            bytes,
            expected,
        }
    }

    /// One text message.
    fn says(message: impl Into<String>, expected: Expected) -> Self {
        let message = message.into();
        let bytes = frame(FIN | TEXT, message.as_bytes());
        Self::new(message, bytes, expected)
    }

    fn from(self, from: From) -> Self {
        Self { from, ..self }
    }

    /// Runs it; what was wrong, if something was.
    async fn run(self, sidecar: Arc<Sidecar>) -> Result<(), String> {
        let mut socket = match self.from {
            From::Upgrade => sidecar.socket("/realtime").await,
            From::Connect => sidecar.browser().await,
            From::Plain => sidecar.socket("/realtime?channel=site").await,
        };
        socket.send(&self.bytes).await;
        match self.expected {
            Expected::Close(code) => closed(&mut socket, code, false).await,
            Expected::AnswersThenClose(code) => closed(&mut socket, code, true).await,
            Expected::Answers(replies, pongs) => answered(&mut socket, (replies, pongs)).await,
        }
    }

    fn show(&self) -> String {
        let mut text = format!(
            "{} ({:?}), {} bytes: ",
            self.name,
            self.from,
            self.bytes.len()
        );
        for byte in self.bytes.iter().take(SHOWN) {
            write!(text, "{byte:02x}").unwrap();
        }
        if self.bytes.len() > SHOWN {
            text.push('…');
        }
        text
    }
}

/// A close frame of `code` and with a reason comes, then the end of the TLS session.
async fn closed(socket: &mut Socket, code: u16, answers: bool) -> Result<(), String> {
    loop {
        let frame = socket.frame().await.map_err(|error| error.to_string())?;
        let frame = frame.ok_or("ended without a close frame")?;
        if frame.opcode != CLOSE {
            if answers {
                continue;
            }
            return Err(format!("answered {frame:?}"));
        }
        let (sent, reason) = frame.payload.split_at_checked(2).ok_or("no close code")?;
        if sent != code.to_be_bytes() {
            return Err(format!("closed with {sent:?} {reason:?}, not {code}"));
        }
        if reason.is_empty() || reason.starts_with(b"{") || std::str::from_utf8(reason).is_err() {
            return Err(format!("not a reason: {reason:?}"));
        }
        // An end without close_notify is an error here.
        return match socket.frame().await {
            Ok(None) => Ok(()),
            after => Err(format!("after the close frame: {after:?}")),
        };
    }
}

/// The replies and pongs come, the replies in their order, and no other before that of a last ping.
async fn answered(
    socket: &mut Socket,
    expected: (Vec<(u64, u64)>, Vec<Vec<u8>>),
) -> Result<(), String> {
    const LAST: u64 = 4_000_000_000;
    socket.send(frame(FIN | PING, b"last")).await;
    let last = json!({ "id": LAST, "ping": {} });
    socket.say(&last.to_string()).await;
    let (mut replies, mut pongs) = (Vec::new(), Vec::new());
    while replies.last() != Some(&(LAST, 0)) || pongs.last().is_none_or(|pong| pong != b"last") {
        let frame = socket.frame().await.map_err(|error| error.to_string())?;
        let frame = frame.ok_or("ended without a close frame")?;
        match frame.opcode {
            PONG => pongs.push(frame.payload),
            TEXT => replies.extend(summaries(&frame.payload)?),
            _ => return Err(format!("{frame:?} after {replies:?}")),
        }
    }
    replies.pop();
    pongs.pop();
    if (&replies, &pongs) != (&expected.0, &expected.1) {
        return Err(format!("answered {replies:?} and {pongs:?}"));
    }
    Ok(())
}

/// Id and error code of every message of a frame.
fn summaries(text: &[u8]) -> Result<Vec<(u64, u64)>, String> {
    let messages = serde_json::Deserializer::from_slice(text).into_iter::<Value>();
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    messages
        .map(|message| {
            let message = message.map_err(|error| error.to_string())?;
            Ok((number(&message["id"]), number(&message["error"]["code"])))
        })
        .collect()
}

/// Runs `rows`, some at a time; what was wrong with which, each under its name.
async fn failures<F>(
    rows: impl IntoIterator<Item = (String, F)>,
    mut after_each: impl AsyncFnMut(),
) -> Vec<String>
where
    F: Future<Output = Result<(), String>> + Send + 'static,
{
    let mut waiting = rows.into_iter();
    let (mut tasks, mut running) = (JoinSet::new(), HashMap::new());
    let mut failures = Vec::new();
    loop {
        while tasks.len() < AT_ONCE {
            let Some((name, row)) = waiting.next() else {
                break;
            };
            running.insert(tasks.spawn(row).id(), name);
        }
        let (id, result) = match tasks.join_next_with_id().await {
            None => return failures,
            Some(Ok(ended)) => ended,
            Some(Err(error)) => (error.id(), Err(error.to_string())),
        };
        let name = running.remove(&id).unwrap();
        failures.extend(result.err().map(|wrong| format!("{name}\n    {wrong}")));
        after_each().await;
    }
}

/// Says how many rows ran, and fails if one did.
fn report(what: &str, count: usize, failures: &[String]) {
    println!("{count} {what}, {} answered wrong", failures.len());
    assert!(failures.is_empty(), "\n{}\n", failures.join("\n"));
}

/// Runs `rows` beside a browser that must receive everything meanwhile.
async fn run(what: &str, rows: Vec<Row>) {
    // The witness answers no pings.
    let pings = "ping_interval = \"10m\"";
    let sidecar = Sidecar::builder().section("realtime", pings).start();
    let sidecar = Arc::new(sidecar.await);
    let mut witness = sidecar.browser().await;
    witness.subscribe("post:1").await;
    let publisher = sidecar.publisher();
    let mut published = 0;
    let count = rows.len();
    let rows = rows
        .into_iter()
        .map(|row| (row.show(), row.run(Arc::clone(&sidecar))));
    let failures = failures(rows, async || {
        published += 1;
        publisher.publish("post:1", &json!(published)).await;
        assert_eq!(witness.publication().await["data"], published);
    })
    .await;
    until("the end of every row's connection", || async {
        let open = sidecar.metric("realtime_connections").await;
        (open == 1).then_some(())
    })
    .await;
    report(what, count, &failures);
}

#[tokio::test]
async fn every_frame_that_rfc_6455_forbids_ends_its_connection_with_the_right_code() {
    let rows = [frames::rows(), texts::rows(), closes::rows()].concat();
    let forbidden = rows
        .iter()
        .filter(|row| matches!(row.expected, Expected::Close(_)));
    assert!(forbidden.count() >= 100);
    run("frames", rows).await;
}

#[tokio::test]
async fn every_message_that_is_no_command_is_refused_with_its_code() {
    run("messages", commands::rows()).await;
}

#[tokio::test]
async fn every_opening_that_rfc_6455_forbids_is_refused_with_its_status() {
    openings::run().await;
}

#[tokio::test]
async fn a_forbidden_frame_that_comes_with_the_handshake_is_refused() {
    let sidecar = Sidecar::start().await;
    let opening = opening(&sidecar.authority(), "/realtime", "");
    let unmasked = b"\x81\x02{}";
    let bytes = [opening.as_bytes(), unmasked].concat();
    let client = Client::new(sidecar.tls("localhost", "http/1.1").await);
    let mut socket = Socket::open(client, bytes).await.unwrap();
    assert_eq!(closed(&mut socket, 1002, false).await, Ok(()));
}

#[tokio::test]
async fn a_frame_torn_at_any_byte_is_read() {
    let sidecar = Sidecar::builder()
        .section("realtime", "commands_per_second_max = 100_000")
        .start()
        .await;
    let mut browser = sidecar.browser().await;
    let command = |length: usize| {
        let (before, after) = ("{\"id\":5,\"ping\":{},\"x\":\"", "\"}");
        let filler = "x".repeat(length - before.len() - after.len());
        frame(FIN | TEXT, format!("{before}{filler}{after}").as_bytes())
    };
    for whole in [command(60), command(300), command(1 << 16)] {
        for cut in 1..whole.len().min(40) {
            let (first, rest) = whole.split_at(cut);
            // With the pong the first part was read as well, for it came in the same record.
            browser
                .send([&frame(FIN | PING, b"?"), first].concat())
                .await;
            assert_eq!(browser.frame().await.unwrap().unwrap().opcode, PONG);
            browser.send(rest).await;
            assert_eq!(browser.message().await, json!({ "id": 5, "ping": {} }));
        }
    }
}
