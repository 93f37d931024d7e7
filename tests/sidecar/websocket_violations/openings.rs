//! Opening handshakes (RFC 6455 §4), wrong in one thing, and those that only look it.

use std::{fmt::Write, sync::Arc};

use super::{failures, report};
use crate::harness::{http::Head, sidecar::Sidecar};

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const VERSION: &str = "Sec-WebSocket-Version: 13\r\n";
const UPGRADE: &str = "Upgrade: websocket\r\n";
const CONNECTION: &str = "Connection: Upgrade\r\n";

/// A handshake, and what is answered.
struct Row {
    name: String,
    request: String,
    status: u16,
    /// The subprotocol that a 101 names.
    subprotocol: Option<&'static str>,
}

pub(super) async fn run() {
    let sidecar = Arc::new(Sidecar::start().await);
    let mut openings = Openings::new(sidecar.authority());
    openings.request_lines();
    openings.hosts();
    openings.upgrades();
    openings.versions();
    openings.keys();
    openings.origins();
    openings.offers();
    openings.syntax();
    let refused = openings.rows.iter().filter(|row| row.status != 101);
    assert!(refused.count() >= 60);
    let count = openings.rows.len();
    let rows = openings
        .rows
        .into_iter()
        .map(|row| (row.show(), row.run(Arc::clone(&sidecar))));
    let failures = failures(rows, async || {}).await;
    report("openings", count, &failures);
}

impl Row {
    async fn run(self, sidecar: Arc<Sidecar>) -> Result<(), String> {
        let mut client = sidecar.http1().await;
        client.send(&self.request).await;
        match client.head().await {
            Ok(head) => self.wrong(&head).map_or(Ok(()), Err),
            Err(error) => Err(format!("no answer: {error}")),
        }
    }

    fn show(&self) -> String {
        let mut text = self.name.clone();
        for line in self.request.lines() {
            let line: String = line.chars().take(100).collect();
            write!(text, "\n    {line:?}").unwrap();
        }
        text
    }

    /// What is wrong about the answer.
    fn wrong(&self, head: &Head) -> Option<String> {
        let opened = head.status == 101;
        if head.status != self.status {
            return Some(format!("{} and not {}", head.status, self.status));
        }
        if head.field("sec-websocket-extensions").is_some() {
            return Some("an extension was accepted".into());
        }
        if head.field("sec-websocket-accept").is_some() != opened {
            return Some("a key was accepted without a 101, or not with one".into());
        }
        if head.field("sec-websocket-protocol") != self.subprotocol {
            return Some(format!("{:?}", head.field("sec-websocket-protocol")));
        }
        let version = head.field("sec-websocket-version");
        let told = head.status != 426 || version == Some("13");
        (!told).then(|| "426 without the version that is spoken (§4.4)".into())
    }
}

struct Openings {
    authority: String,
    rows: Vec<Row>,
}

impl Openings {
    fn new(authority: String) -> Self {
        let rows = Vec::new();
        Self { authority, rows }
    }

    /// A right handshake.
    fn right(&self) -> String {
        let host = format!("Host: {}\r\n", self.authority);
        [
            "GET /realtime HTTP/1.1\r\n",
            &host,
            CONNECTION,
            UPGRADE,
            VERSION,
            KEY,
            "\r\n",
        ]
        .concat()
    }

    /// Adds a row: the right handshake with `part` replaced by `other`.
    fn with(&mut self, status: u16, part: &str, other: &str) {
        let right = self.right();
        assert!(right.contains(part), "{part}");
        self.rows.push(Row {
            name: format!("{other:.60?} in place of {part:?}"),
            request: right.replacen(part, other, 1),
            status,
            subprotocol: None,
        });
    }

    /// Adds a row: the right handshake with more `fields`.
    fn and(&mut self, status: u16, fields: &str, subprotocol: Option<&'static str>) {
        self.with(status, KEY, &format!("{KEY}{fields}"));
        if let Some(row) = self.rows.last_mut() {
            row.subprotocol = subprotocol;
        }
    }

    /// §4.1, 1 and 2: GET, HTTP/1.1 or newer.
    fn request_lines(&mut self) {
        self.with(101, "GET", "GET");
        for method in ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"] {
            self.with(405, "GET", method);
        }
        self.with(400, "GET", "get");
        self.with(405, "GET", "WEBSOCKET");
        self.with(400, "HTTP/1.1", "HTTP/1.0");
        self.with(
            400,
            "HTTP/1.1\r\n",
            "HTTP/1.0\r\nConnection: keep-alive\r\n",
        );
        for version in [
            "HTTP/0.9", "HTTP/1.2", "HTTP/2.0", "HTTP/3", "HTTP/11", "http/1.1", "1.1",
        ] {
            self.with(400, "HTTP/1.1", version);
        }
        let absolute = format!("https://{}/realtime", self.authority);
        self.with(101, "/realtime", &absolute);
        self.with(400, "/realtime", "/realtime?channel=%ff");
        self.with(400, "/realtime", "/realtime?channel=%C3");
        self.with(400, "/realtime", "realtime");
        self.with(400, "/realtime", "/real time");
    }

    /// §4.1, 4: Host.
    fn hosts(&mut self) {
        let host = format!("Host: {}\r\n", self.authority);
        self.with(400, &host, "");
        self.with(400, &host, &format!("{host}{host}"));
        self.with(400, &host, "Host: a b\r\n");
        self.with(400, &host, "Host: localhost:port\r\n");
        self.with(400, &host, "Host: localhost@localhost\r\n");
        self.with(421, &host, "Host: elsewhere.example\r\n");
    }

    /// §4.1, 5 and 6: Upgrade and Connection.
    fn upgrades(&mut self) {
        self.with(426, UPGRADE, "");
        for value in [
            "",
            "h2c",
            "websockets",
            "web socket",
            "websocket;x",
            "websocket/13",
            "\"websocket\"",
        ] {
            self.with(426, UPGRADE, &format!("Upgrade: {value}\r\n"));
        }
        for value in [
            "WebSocket",
            "h2c, websocket",
            "h2c\r\nUpgrade: websocket",
            ", websocket ,",
        ] {
            self.with(101, UPGRADE, &format!("Upgrade: {value}\r\n"));
        }
        self.with(400, CONNECTION, "");
        for value in [
            "",
            "close",
            "keep-alive",
            "upgraded",
            "up grade",
            "upgrade;x",
            "\"upgrade\"",
        ] {
            self.with(400, CONNECTION, &format!("Connection: {value}\r\n"));
        }
        for value in [
            "UPGRADE",
            "keep-alive, Upgrade",
            "keep-alive\r\nConnection: upgrade",
        ] {
            self.with(101, CONNECTION, &format!("Connection: {value}\r\n"));
        }
        self.with(426, &format!("{CONNECTION}{UPGRADE}"), "");
    }

    /// §4.1, 9 and §4.4: version 13, and once.
    fn versions(&mut self) {
        self.with(426, VERSION, "");
        for value in [
            "", "0", "4", "7", "8", "12", "14", "25", "255", "256", "013", "+13", "-13", "13.0",
            "1 3", "0x0d", "thirteen", "13, 8", "8, 13", "13, 13", "13;x",
        ] {
            self.with(426, VERSION, &format!("Sec-WebSocket-Version: {value}\r\n"));
        }
        self.with(426, VERSION, &format!("{VERSION}{VERSION}"));
        self.with(
            426,
            VERSION,
            &format!("{VERSION}Sec-WebSocket-Version: 8\r\n"),
        );
    }

    /// §4.1, 7: 16 bytes in base64, once.
    fn keys(&mut self) {
        self.with(400, KEY, "");
        for value in [
            "",
            "short",
            "c2hvcnQ=",
            "dGhlIHNhbXBsZSBub25j",
            "dGhlIHNhbXBsZSBub25jZWQ=",
            "dGhlIHNhbXBsZSBub25jZQ",
            "dGhlIHNhbXBsZSBub25jZQ=",
            "dGhlIHNhbXBsZSBub25jZQ===",
            "dGhlIHNhbXBsZSBub25jZR==",
            "dGhlIHNhbXBsZSBub25jZQ==x",
            "dGhl IHNhbXBsZSBub25jZQ==",
            "________________________",
            "-_hlIHNhbXBsZSBub25jZQ==",
            "!GhlIHNhbXBsZSBub25jZQ==",
            "dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ==",
            "\u{e4}GhlIHNhbXBsZSBub25jZQ==",
        ] {
            self.with(400, KEY, &format!("Sec-WebSocket-Key: {value}\r\n"));
        }
        self.with(400, KEY, &format!("{KEY}{KEY}"));
        self.with(
            400,
            KEY,
            &format!("{KEY}Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"),
        );
        self.with(
            101,
            KEY,
            "sec-websocket-KEY:\tdGhlIHNhbXBsZSBub25jZQ== \r\n",
        );
    }

    /// §4.2.2 and §10.2: whoever is a browser says where its page is from.
    fn origins(&mut self) {
        let own = format!("https://{}", self.authority);
        let (_, port) = own.rsplit_once(':').unwrap();
        let mut values = vec![
            String::new(),
            "null".into(),
            own.replace("https", "http"),
            own.replace("https", "wss"),
            own.replace("https", "HTTPS"),
            "https://localhost".into(),
            "https://localhost:1".into(),
            format!("https://evil.example:{port}"),
            format!("https://127.0.0.1:{port}"),
            format!("https://localhost.evil.example:{port}"),
            format!("https://localhost.:{port}"),
            format!("https://x@localhost:{port}"),
            format!("https://localhost%00:{port}"),
            format!("localhost:{port}"),
            format!("//localhost:{port}"),
            "*".into(),
            "https://".into(),
            "\u{e4}".into(),
        ];
        values.extend(
            ["/", "/realtime", "?", "#", " https://evil.example"].map(|end| format!("{own}{end}")),
        );
        for value in values {
            self.and(403, &format!("Origin: {value}\r\n"), None);
        }
        let own = format!("Origin: {own}\r\n");
        self.and(403, &format!("{own}{own}"), None);
        self.and(403, &format!("{own}Origin: https://evil.example\r\n"), None);
        self.and(101, &own, None);
        self.and(101, &own.replace("localhost", "LOCALHOST"), None);
    }

    /// §4.2.2, 4 and 5: of what is offered, only our subprotocol is taken.
    fn offers(&mut self) {
        for value in [
            "permessage-deflate",
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate; server_no_context_takeover; client_max_window_bits=15",
            "x-webkit-deflate-frame, permessage-deflate",
            "permessage-deflate\r\nSec-WebSocket-Extensions: foo; bar=\"baz\"",
        ] {
            self.and(101, &format!("Sec-WebSocket-Extensions: {value}\r\n"), None);
        }
        let ours = Some("sidewire");
        for (value, subprotocol) in [
            ("sidewire", ours),
            ("chat, sidewire", ours),
            ("chat\r\nSec-WebSocket-Protocol: sidewire", ours),
            ("sidewire, chat", ours),
            ("chat", None),
            ("chat, superchat", None),
            ("Sidewire", None),
            ("sidewire2", None),
            ("side wire", None),
            ("\"sidewire\"", None),
            ("", None),
        ] {
            self.and(
                101,
                &format!("Sec-WebSocket-Protocol: {value}\r\n"),
                subprotocol,
            );
        }
        for value in ["token.abc", "sidewire, token.abc", "token., sidewire"] {
            self.and(400, &format!("Sec-WebSocket-Protocol: {value}\r\n"), None);
        }
    }

    /// A header section that is none is nobody's handshake.
    fn syntax(&mut self) {
        for field in [
            "X : y\r\n",
            "X\r\n",
            ": y\r\n",
            "X: a\0b\r\n",
            "X: a\rb\r\n",
            "X: y\r\n folded: z\r\n",
            "Content-Length: x\r\n",
            "Content-Length: 1\r\nContent-Length: 2\r\n",
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n",
            "Content-Length: 5\r\n",
            "Transfer-Encoding: chunked\r\n",
        ] {
            self.and(400, field, None);
        }
        self.and(431, &format!("X: {}\r\n", "y".repeat(100_000)), None);
        self.and(431, &"X: y\r\n".repeat(1_000), None);
        self.and(101, "Content-Length: 0\r\n", None);
    }
}
