//! One browser: a TLS connection, the bare framing of WebSockets, and a check of all that arrives.
//!
//! It joins with blocking calls; afterwards it is read from the crowd's loop.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use socket2::{Domain, Socket, Type};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, HandshakeKind};

use crate::{
    bare,
    certificate::connection,
    message::Message,
    peers::Kind,
    protocols::{self, CLOSE, PING, PONG, Step},
};

const PATIENCE: Duration = Duration::from_secs(30);

/// Addresses that browsers come from, so that neither ports nor a limit by address run out.
const ADDRESSES: usize = 120;

/// Where browsers go.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) kind: Kind,
    pub(crate) port: u16,
    pub(crate) tls: Arc<ClientConfig>,
}

/// A browser that is in.
pub(crate) struct Browser {
    pub(crate) socket: TcpStream,
    kind: Kind,
    tls: Option<Box<ClientConnection>>,
    /// The start of a frame whose end has not come.
    rest: Vec<u8>,
    follows: Vec<Follow>,
}

/// A channel that a browser follows.
struct Follow {
    channel: usize,
    /// The number that is due.
    next: u64,
    /// Numbers that were passed over so far.
    missing: u64,
}

/// What a message turned out to be.
pub(crate) enum Arrival {
    /// One that was due, or one after it; what it passed over may still come.
    New,
    /// One that had been passed over.
    Late,
    Again,
    Misrouted,
}

impl Door {
    fn knock(&self, number: usize) -> io::Result<TcpStream> {
        let last = u8::try_from(2 + number % ADDRESSES).unwrap();
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        let from = SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0));
        socket.bind(&from.into())?;
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        socket.connect_timeout(&to.into(), PATIENCE)?;
        socket.set_tcp_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(socket.into())
    }

    /// The TLS connection of a browser that only asks for pages.
    pub(crate) fn page(&self) -> io::Result<(ClientConnection, TcpStream)> {
        Ok((connection(&self.tls), self.knock(0)?))
    }
}

impl Browser {
    /// Joins, and returns when the server has said that all `channels` are followed.
    pub(crate) fn join(door: &Door, number: usize, channels: &[usize]) -> io::Result<Self> {
        let kind = door.kind;
        let tls = (kind != Kind::Bare).then(|| Box::new(connection(&door.tls)));
        let follow = |channel: &usize| Follow {
            channel: *channel,
            next: 1,
            missing: 0,
        };
        let mut browser = Self {
            socket: door.knock(number)?,
            kind,
            tls,
            rest: Vec::new(),
            follows: channels.iter().map(follow).collect(),
        };
        if kind == Kind::Bare {
            // The bare loop says one byte when it has noted the connection.
            browser.socket.read_exact(&mut [0])?;
        } else {
            browser.upgrade(channels)?;
            browser.subscribe(channels)?;
        }
        Ok(browser)
    }

    fn upgrade(&mut self, channels: &[usize]) -> io::Result<()> {
        self.write(protocols::upgrade(self.kind, channels).as_bytes())?;
        loop {
            self.read_more()?;
            let end = self
                .rest
                .windows(4)
                .position(|window| window == b"\r\n\r\n");
            if let Some(end) = end {
                if !self.rest.starts_with(b"HTTP/1.1 101") {
                    return Err(refused(&self.rest));
                }
                self.rest.drain(..end + 4);
                return Ok(());
            }
        }
    }

    fn subscribe(&mut self, channels: &[usize]) -> io::Result<()> {
        match protocols::greeting(self.kind, channels) {
            Step::In => return Ok(()),
            Step::Send(frame) => self.write(&frame)?,
            Step::Wait | Step::Refused => {}
        }
        loop {
            while let Some((_, payload, length)) = protocols::parse(&self.rest) {
                let step = protocols::next(self.kind, channels, payload);
                let refusal = matches!(step, Step::Refused).then(|| refused(payload));
                self.rest.drain(..length);
                match step {
                    Step::In => return Ok(()),
                    Step::Send(frame) => self.write(&frame)?,
                    Step::Wait => {}
                    Step::Refused => return Err(refusal.unwrap()),
                }
            }
            self.read_more()?;
        }
    }

    /// Blocking.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(tls) = &mut self.tls else {
            return self.socket.write_all(bytes);
        };
        let mut stream = tokio_rustls::rustls::Stream::new(&mut **tls, &mut self.socket);
        stream.write_all(bytes)?;
        stream.flush()
    }

    /// Blocking: at least one more byte in `rest`.
    fn read_more(&mut self) -> io::Result<()> {
        let tls = self.tls.as_mut().unwrap();
        let mut buffer = [0; 4096];
        let mut stream = tokio_rustls::rustls::Stream::new(&mut **tls, &mut self.socket);
        match stream.read(&mut buffer)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            read => {
                self.rest.extend_from_slice(&buffer[..read]);
                Ok(())
            }
        }
    }

    /// How the handshake went: resumed or full.
    pub(crate) fn resumed(&self) -> bool {
        let tls = self.tls.as_ref().unwrap();
        matches!(tls.handshake_kind(), Some(HandshakeKind::Resumed))
    }

    /// Closes as a browser does: says so, and waits for the server to end the connection.
    pub(crate) fn close(mut self) -> io::Result<()> {
        self.write(&protocols::frame(CLOSE, &1000_u16.to_be_bytes()))?;
        self.socket.set_read_timeout(Some(Duration::from_secs(2)))?;
        loop {
            match self.read_more() {
                Ok(()) => {}
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset
                    ) =>
                {
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes what the socket has, without blocking; `each` hears of every message.
    pub(crate) fn receive(
        &mut self,
        scratch: &mut Vec<u8>,
        each: &mut impl FnMut(Arrival, Message),
    ) -> io::Result<()> {
        if let Some(tls) = &mut self.tls {
            match tls.read_tls(&mut self.socket) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
            tls.process_new_packets().map_err(io::Error::other)?;
        }
        self.take(scratch, each)
    }

    /// Reads what is decrypted, or plain, frame by frame.
    pub(crate) fn take(
        &mut self,
        scratch: &mut Vec<u8>,
        each: &mut impl FnMut(Arrival, Message),
    ) -> io::Result<()> {
        let mut filled = self.rest.len();
        if scratch.len() < filled + (64 << 10) {
            scratch.resize(filled + (64 << 10), 0);
        }
        scratch[..filled].copy_from_slice(&self.rest);
        self.rest.clear();
        loop {
            let used = self.frames(&scratch[..filled], each)?;
            scratch.copy_within(used..filled, 0);
            filled -= used;
            if scratch.len() < filled + (16 << 10) {
                scratch.resize(scratch.len() * 2, 0);
            }
            let read = match &mut self.tls {
                Some(tls) => tls.reader().read(&mut scratch[filled..]),
                None => self.socket.read(&mut scratch[filled..]),
            };
            match read {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(read) => filled += read,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        self.rest.extend_from_slice(&scratch[..filled]);
        Ok(())
    }

    /// Handles the whole frames at the start of `bytes`; returns their length.
    fn frames(
        &mut self,
        bytes: &[u8],
        each: &mut impl FnMut(Arrival, Message),
    ) -> io::Result<usize> {
        let mut used = 0;
        if self.kind == Kind::Bare {
            while let Some(record) = bytes.get(used..used + bare::RECORD) {
                Message::read(record, |message| {
                    each(judge(&mut self.follows, message), message)
                });
                used += bare::RECORD;
            }
            return Ok(used);
        }
        while let Some((opcode, payload, length)) = protocols::parse(&bytes[used..]) {
            used += length;
            let answer = match opcode {
                CLOSE => return Err(ErrorKind::ConnectionAborted.into()),
                PING => Some(protocols::frame(PONG, payload)),
                _ if payload.len() <= 2 => protocols::pong(self.kind, payload),
                _ => {
                    Message::read(payload, |message| {
                        each(judge(&mut self.follows, message), message)
                    });
                    None
                }
            };
            if let Some(answer) = answer {
                let tls = self.tls.as_mut().unwrap();
                tls.writer().write_all(&answer)?;
                while tls.wants_write() {
                    tls.write_tls(&mut self.socket)?;
                }
            }
        }
        Ok(used)
    }
}

fn judge(follows: &mut [Follow], message: Message) -> Arrival {
    let mut all = follows.iter_mut();
    let Some(follow) = all.find(|follow| follow.channel == message.channel) else {
        return Arrival::Misrouted;
    };
    if message.number >= follow.next {
        let passed = message.number - follow.next;
        follow.next = message.number + 1;
        follow.missing += passed;
        return Arrival::New;
    }
    if follow.missing > 0 {
        follow.missing -= 1;
        return Arrival::Late;
    }
    Arrival::Again
}

fn refused(answer: &[u8]) -> io::Error {
    let text = String::from_utf8_lossy(&answer[..answer.len().min(300)]);
    io::Error::other(format!("refused: {text}"))
}
