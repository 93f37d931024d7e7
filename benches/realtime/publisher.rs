//! Publishing to each server by its own natural way, blocking, one message at a time.

use std::{
    fmt::Write as _,
    io::{self, ErrorKind, Read, Write},
    net::{Ipv4Addr, TcpStream},
    os::unix::net::UnixStream,
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use sidewire::{
    auth::signature::{self, Content},
    config::Secret,
};

use crate::{
    bare,
    message::{Message, now},
    peers::{Kind, SECRET},
    protocols,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// Where a server takes publications.
#[derive(Clone)]
pub(crate) enum Address {
    Unix(PathBuf),
    Tcp(u16),
}

enum Wire {
    Unix(UnixStream),
    Tcp(TcpStream),
}

/// One publisher; with `keeps`, on one connection.
pub(crate) struct Publisher {
    kind: Kind,
    address: Address,
    keeps: bool,
    wire: Option<Wire>,
    key: Secret,
    /// Before each request's number: no id may ever come twice.
    run: u64,
    count: u64,
    message: Vec<u8>,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Publisher {
    pub(crate) fn new(kind: Kind, address: &Address, keeps: bool) -> Self {
        Self {
            kind,
            address: address.clone(),
            keeps,
            wire: None,
            key: Secret::parse(SECRET).unwrap(),
            run: UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64,
            count: 0,
            message: Vec::new(),
            request: Vec::new(),
            answer: Vec::new(),
        }
    }

    /// Publishes message `number` of `channel`; returns once the server has answered, if it does.
    pub(crate) fn publish(&mut self, channel: usize, number: u64) {
        let message = Message {
            channel,
            number,
            sent: now(),
        };
        message.write(&mut self.message);
        self.write_request(channel);
        if let Err(error) = self.exchange() {
            let answer = String::from_utf8_lossy(&self.answer);
            panic!(
                "{}: a publication failed: {error}; answered: {answer}",
                self.kind.name()
            );
        }
    }

    /// Whether Sidewire takes publications yet.
    pub(crate) fn is_ready(&mut self) -> bool {
        self.message.clear();
        self.write_signed("info", b"{}");
        self.exchange().is_ok()
    }

    fn write_request(&mut self, channel: usize) {
        match self.kind {
            Kind::Sidewire => {
                let name = protocols::sidewire_channel(channel);
                let mut body = format!("{{\"channel\":\"{name}\",\"data\":").into_bytes();
                body.extend_from_slice(&self.message);
                body.push(b'}');
                self.write_signed("publish", &body);
            }
            Kind::Nchan => self.write_plain(&format!("/pub?id={channel:05}")),
            Kind::Uws | Kind::Ws | Kind::SocketIo => {
                self.write_plain(&format!("/publish/{channel:05}"));
            }
            Kind::Mosquitto => {
                protocols::mqtt_publish(channel, &self.message, &mut self.request);
            }
            Kind::Bare => {
                self.request.clear();
                self.request.extend_from_slice(&self.message);
                self.request.resize(bare::RECORD, b' ');
            }
        }
    }

    fn write_plain(&mut self, target: &str) {
        let (length, connection) = (self.message.len(), self.connection());
        self.request.clear();
        write!(
            self.request,
            "POST {target} HTTP/1.1\r\nHost: localhost\r\n{connection}Content-Length: {length}\r\n\r\n"
        )
        .unwrap();
        self.request.extend_from_slice(&self.message);
    }

    fn write_signed(&mut self, method: &str, body: &[u8]) {
        self.count += 1;
        let id = format!("{method}_{:020}-{:010}", self.run, self.count);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let mut timestamp = String::new();
        write!(timestamp, "{}", now.as_secs()).unwrap();
        let content = Content {
            id: &id,
            timestamp: &timestamp,
            body,
        };
        let signature = signature::sign(self.key.as_bytes(), content);
        let (length, connection) = (body.len(), self.connection());
        self.request.clear();
        write!(
            self.request,
            "POST /api/{method} HTTP/1.1\r\nHost: localhost\r\n{connection}Content-Length: {length}\r\n\
             webhook-id: {id}\r\nwebhook-timestamp: {timestamp}\r\nwebhook-signature: {signature}\r\n\r\n"
        )
        .unwrap();
        self.request.extend_from_slice(body);
    }

    const fn connection(&self) -> &'static str {
        if self.keeps {
            ""
        } else {
            "Connection: close\r\n"
        }
    }

    fn exchange(&mut self) -> io::Result<()> {
        if self.wire.is_none() {
            self.wire = Some(self.connect()?);
        }
        let wire = self.wire.as_mut().unwrap();
        wire.write_all(&self.request)?;
        if self.kind == Kind::Bare {
            return Ok(());
        }
        if self.kind == Kind::Mosquitto {
            // Quality 0 is not answered.
            return Ok(());
        }
        read_answer(wire, &mut self.answer)?;
        if !self.keeps {
            // PHP's side closes when it has its answer; the server's has closed by then.
            self.wire = None;
        }
        if !self.answer.starts_with(b"HTTP/1.1 2") || contains(&self.answer, b"\"error\"") {
            return Err(io::Error::other("not a 2xx"));
        }
        Ok(())
    }

    fn connect(&self) -> io::Result<Wire> {
        match &self.address {
            Address::Unix(path) => {
                let wire = UnixStream::connect(path)?;
                wire.set_read_timeout(Some(PATIENCE))?;
                Ok(Wire::Unix(wire))
            }
            Address::Tcp(port) => {
                let mut wire = TcpStream::connect((Ipv4Addr::LOCALHOST, *port))?;
                wire.set_nodelay(true)?;
                wire.set_read_timeout(Some(PATIENCE))?;
                if self.kind == Kind::Mosquitto {
                    wire.write_all(&[0x10, 12, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 0, 0, 0])?;
                    wire.read_exact(&mut [0; 4])?;
                }
                Ok(Wire::Tcp(wire))
            }
        }
    }
}

/// Reads one answer: its head, and a body by Content-Length.
fn read_answer(wire: &mut Wire, answer: &mut Vec<u8>) -> io::Result<()> {
    answer.clear();
    let mut buffer = [0; 2048];
    loop {
        let read = wire.read(&mut buffer)?;
        answer.extend_from_slice(&buffer[..read]);
        let head = answer.windows(4).position(|window| window == b"\r\n\r\n");
        let Some(head) = head else {
            if read == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            continue;
        };
        if answer.len() >= head + 4 + content_length(&answer[..head]) {
            return Ok(());
        }
        if read == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
    }
}

fn content_length(head: &[u8]) -> usize {
    let text = std::str::from_utf8(head).unwrap_or_default();
    let lines = text.lines().filter_map(|line| line.split_once(": "));
    let mut lengths = lines.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    lengths
        .next()
        .map_or(0, |(_, length)| length.parse().unwrap())
}

fn contains(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(wire) => wire.read(buffer),
            Self::Tcp(wire) => wire.read(buffer),
        }
    }
}

impl Write for Wire {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(wire) => wire.write(bytes),
            Self::Tcp(wire) => wire.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
