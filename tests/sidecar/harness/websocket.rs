//! A WebSocket client that sends whatever bytes a test wants, and shows every frame that comes.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may stop at the first surprise"
)]

use std::{collections::VecDeque, io};

use serde_json::{Value, json};
use tokio::io::AsyncReadExt;

use super::{
    http::{Client, Response},
    sidecar::Sidecar,
    within,
};

pub(crate) const CONTINUATION: u8 = 0x0;
pub(crate) const TEXT: u8 = 0x1;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xA;

/// The last fragment of a message.
pub(crate) const FIN: u8 = 0x80;

/// An upgraded connection.
pub(crate) struct Socket {
    client: Client,
    messages: VecDeque<Value>,
}

/// A frame that the server sent.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Frame {
    pub(crate) opcode: u8,
    pub(crate) payload: Vec<u8>,
}

/// How the server closed.
#[derive(Debug)]
pub(crate) struct Closed {
    pub(crate) code: u16,
    pub(crate) reason: String,
    /// What came before.
    pub(crate) frames: Vec<Frame>,
}

/// A masked frame, as a client must send it.
pub(crate) fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    const MASK: [u8; 4] = [0x1f, 0x2e, 0x3d, 0x4c];
    let mut bytes = head(first, payload.len(), 0x80);
    bytes.extend(MASK);
    let masked = payload.iter().zip(MASK.iter().cycle()).map(|(b, m)| b ^ m);
    bytes.extend(masked);
    bytes
}

/// A frame without a mask, as a client must not.
pub(crate) fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
    [head(first, payload.len(), 0), payload.to_vec()].concat()
}

fn head(first: u8, length: usize, mask_bit: u8) -> Vec<u8> {
    let mut bytes = vec![first];
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ ..=125), _) => bytes.push(mask_bit | short),
        (_, Ok(medium)) => {
            bytes.push(mask_bit | 126);
            bytes.extend(medium.to_be_bytes());
        }
        _ => {
            bytes.push(mask_bit | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    bytes
}

/// The opening handshake at `host` with further header `fields`, each ended by CR LF.
pub(crate) fn opening(authority: &str, target: &str, fields: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: {authority}\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{fields}\r\n"
    )
}

impl Sidecar {
    /// Opens a WebSocket, or returns the answer that refused it.
    pub(crate) async fn upgrade(
        &self,
        host: &str,
        target: &str,
        fields: &str,
    ) -> Result<Socket, Response> {
        let client = Client::new(self.tls(host, "http/1.1").await);
        let opening = opening(&self.authority_of(host), target, fields);
        Socket::open(client, &opening).await
    }

    /// A WebSocket to the first site on which nothing was said.
    pub(crate) async fn socket(&self, target: &str) -> Socket {
        let opening = opening(&self.authority(), target, "");
        Socket::open(self.http1().await, &opening).await.unwrap()
    }

    /// A browser of the first site that has connected.
    pub(crate) async fn browser(&self) -> Socket {
        let mut socket = self.socket("/realtime").await;
        socket.connect().await;
        socket
    }
}

impl Socket {
    pub(crate) async fn open(
        mut client: Client,
        opening: impl AsRef<[u8]>,
    ) -> Result<Self, Response> {
        client.send(opening).await;
        let head = client.head().await.unwrap();
        if head.status != 101 {
            let body = client.rest(head.framing()).await.unwrap();
            return Err(Response { head, body });
        }
        // The answer to the key above (RFC 6455 §1.3).
        let accept = head.field("sec-websocket-accept");
        assert_eq!(accept, Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        Ok(Self {
            client,
            messages: VecDeque::new(),
        })
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.client.send(bytes).await;
    }

    pub(crate) async fn say(&mut self, message: &str) {
        self.send(frame(FIN | TEXT, message.as_bytes())).await;
    }

    /// The next frame, or nothing once the server has ended its side.
    pub(crate) async fn frame(&mut self) -> io::Result<Option<Frame>> {
        while self.client.read.len() < 2 || self.client.read.len() < self.length() {
            if self.client.fill().await? == 0 {
                assert!(self.client.read.is_empty(), "half a frame");
                return Ok(None);
            }
        }
        let whole: Vec<u8> = self.client.read.drain(..self.length()).collect();
        assert_eq!(
            whole[0] & 0xf0,
            FIN,
            "every frame is whole, no bit reserved"
        );
        let skipped = payload(&whole).0;
        Ok(Some(Frame {
            opcode: whole[0] & 0x0f,
            payload: whole[skipped..].to_vec(),
        }))
    }

    /// Length of the frame at the front, as far as it can be told.
    fn length(&self) -> usize {
        let (head, length) = payload(&self.client.read);
        head + length
    }

    /// The next text frame.
    pub(crate) async fn text(&mut self) -> String {
        let frame = self.frame().await.unwrap().unwrap();
        assert_eq!(frame.opcode, TEXT, "{frame:?}");
        String::from_utf8(frame.payload).unwrap()
    }

    /// The next message of the protocol; several may share a frame.
    pub(crate) async fn message(&mut self) -> Value {
        while self.messages.is_empty() {
            let text = self.text().await;
            let lines = text.lines().map(serde_json::from_str::<Value>);
            self.messages.extend(lines.map(Result::unwrap));
        }
        self.messages.pop_front().unwrap()
    }

    /// Sends a command and returns the next message.
    pub(crate) async fn ask(&mut self, command: Value) -> Value {
        self.say(&command.to_string()).await;
        self.message().await
    }

    pub(crate) async fn connect(&mut self) -> Value {
        let mut reply = self.ask(json!({ "id": 1, "connect": {} })).await;
        assert!(reply["connect"].is_object(), "{reply}");
        reply["connect"].take()
    }

    pub(crate) async fn subscribe(&mut self, channel: &str) -> Value {
        let command = json!({ "id": 2, "subscribe": { "channel": channel } });
        let mut reply = self.ask(command).await;
        assert!(reply["subscribe"].is_object(), "{reply}");
        reply["subscribe"].take()
    }

    /// The next message, which must be a publication.
    pub(crate) async fn publication(&mut self) -> Value {
        let mut message = self.message().await;
        assert!(message["push"]["pub"].is_object(), "{message}");
        message["push"]["pub"].take()
    }

    /// Reads until the server closes, and that it ends its side with it.
    pub(crate) async fn closed(&mut self) -> Closed {
        let mut frames = Vec::new();
        loop {
            let frame = self.frame().await.unwrap().unwrap();
            if frame.opcode != CLOSE {
                frames.push(frame);
                continue;
            }
            let (code, reason) = frame.payload.split_at(2);
            let read = self.client.stream.read_u8();
            let after = within("the end of the connection", read).await;
            assert!(after.is_err(), "bytes after the close frame");
            return Closed {
                code: u16::from_be_bytes(code.try_into().unwrap()),
                reason: String::from_utf8(reason.to_vec()).unwrap(),
                frames,
            };
        }
    }
}

/// Length of the header and of the payload of the unmasked frame that `bytes` begin with.
fn payload(bytes: &[u8]) -> (usize, usize) {
    let extended = |size: usize| {
        let length = bytes.get(2..2 + size).unwrap_or_default();
        let length = length.iter().fold(0, |n, byte| n << 8 | usize::from(*byte));
        (2 + size, length)
    };
    match bytes.get(1).copied().unwrap_or_default() {
        126 => extended(2),
        127 => extended(8),
        short => (2, usize::from(short)),
    }
}
