//! The outgoing side of a connection whose socket is ours: sealed and written at once, in the turn
//! of whoever has something to say.
//!
//! One lock, one flush: nothing else ever writes to the socket. What can't be written at once
//! waits in the backlog, and the connection's own task flushes again when the socket takes more.

use std::{
    io::{self, Write},
    net::Shutdown,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use tokio::{net::TcpStream, sync::Notify};
use tokio_rustls::rustls::ServerConnection;

use super::{
    backlog::{Backlog, Due, Full, Limits},
    item::Item,
    kind::Kind,
    sealer::{Sealer, TryIo, read_plain, read_tls, seal},
};

/// Bytes taken from the socket in one go.
const READ_MAX: usize = 4 << 10;

/// A socket of ours with what waits to be written to it.
#[derive(Debug)]
pub(super) struct Direct {
    socket: TcpStream,
    wire: Mutex<Wire>,
    /// Wakes the connection's task: something is pending, or the connection is to be closed.
    pub(super) wake: Notify,
    limits: Limits,
}

#[derive(Debug)]
struct Wire {
    kind: Kind,
    sealer: Sealer,
    backlog: Backlog,
    /// Channels of which nothing may leave any more, until the shard has heard of it.
    forbidden: Vec<Box<str>>,
    /// Since when the socket takes nothing.
    stalled: Option<Instant>,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Phase {
    Open,
    /// The close frame is queued; nothing follows it.
    Closing,
    /// The socket failed; nothing can be written.
    Dead,
}

/// What became of frames that were handed over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Delivery {
    /// Written, or waiting within the bounds.
    Taken,
    /// They don't fit the backlog: the connection must be closed as slow.
    Slow,
    /// The connection is closing or gone.
    Gone,
}

/// What a read found.
#[derive(Debug)]
pub(super) enum Input {
    /// Bytes of the peer are in the buffer.
    Bytes,
    /// Nothing more for now.
    Nothing,
    /// The peer has closed its side.
    End,
}

impl Direct {
    pub(super) fn new(
        socket: TcpStream,
        tls: Option<Box<ServerConnection>>,
        kind: Kind,
        limits: Limits,
    ) -> Self {
        Self {
            socket,
            wire: Mutex::new(Wire {
                kind,
                sealer: tls.map_or(Sealer::Plain, Sealer::Tls),
                backlog: Backlog::new(kind),
                forbidden: Vec::new(),
                stalled: None,
                phase: Phase::Open,
            }),
            wake: Notify::new(),
            limits,
        }
    }

    /// Hands over data frames, in order, and flushes once.
    pub(super) fn deliver(&self, due: Due) -> Delivery {
        let mut wire = self.lock();
        if wire.phase != Phase::Open {
            return Delivery::Gone;
        }
        let due = match wire.permitted(due).single() {
            Ok(item) if wire.is_idle() => {
                wire.begin(item, &self.socket);
                Due::default()
            }
            Ok(item) => Due::from(item),
            Err(due) => due,
        };
        for item in due {
            if wire.backlog.push(item.clone(), self.limits) == Err(Full) {
                // What is waiting may fit the socket now.
                if wire.flush(&self.socket).is_err() {
                    return self.flush_and_wake(wire);
                }
                if wire.backlog.push(item, self.limits) == Err(Full) {
                    return Delivery::Slow;
                }
            }
        }
        self.flush_and_wake(wire)
    }

    /// Lets nothing of `channel` leave any more, not even what waits.
    pub(super) fn forbid(&self, channel: &str) {
        let mut wire = self.lock();
        wire.backlog.forbid(channel);
        wire.forbidden.push(channel.into());
    }

    /// Takes one [`Direct::forbid`] back: the shard has ended the subscription.
    pub(super) fn permit(&self, channel: &str) {
        let mut wire = self.lock();
        let place = wire.forbidden.iter().position(|name| **name == *channel);
        if let Some(place) = place {
            wire.forbidden.swap_remove(place);
        }
    }

    /// Hands over a ping or pong, ahead of waiting data.
    pub(super) fn control(&self, frame: Bytes) -> Delivery {
        let mut wire = self.lock();
        if wire.phase != Phase::Open {
            return Delivery::Gone;
        }
        wire.backlog.push_control(frame);
        self.flush_and_wake(wire)
    }

    /// Queues the last frame, ahead of waiting data, which is dropped. The first close wins.
    ///
    /// Whether this was the first.
    pub(super) fn close(&self, frame: Bytes) -> bool {
        let mut wire = self.lock();
        if wire.phase != Phase::Open {
            return false;
        }
        wire.backlog.close(frame);
        wire.phase = Phase::Closing;
        if wire.flush(&self.socket).is_err() {
            wire.phase = Phase::Dead;
        }
        drop(wire);
        self.wake.notify_one();
        true
    }

    /// Bytes that wait for the socket.
    pub(super) fn waiting(&self) -> usize {
        self.lock().backlog.data_bytes()
    }

    /// Writes what waits, as far as the socket takes it.
    ///
    /// # Errors
    ///
    /// The socket is dead; the connection's task must end.
    pub(super) fn flush(&self) -> io::Result<()> {
        self.lock().flush(&self.socket)
    }

    fn flush_and_wake(&self, mut wire: MutexGuard<'_, Wire>) -> Delivery {
        match wire.flush(&self.socket) {
            Ok(()) => {
                // "Pending" was set under the lock; only then may the task be woken.
                let pending = wire.stalled.is_some();
                drop(wire);
                if pending {
                    self.wake.notify_one();
                }
                Delivery::Taken
            }
            Err(_) => {
                wire.phase = Phase::Dead;
                drop(wire);
                self.wake.notify_one();
                Delivery::Gone
            }
        }
    }

    /// Since when something waits for a socket that takes nothing.
    pub(super) fn stalled_since(&self) -> Option<Instant> {
        self.lock().stalled
    }

    /// Whether the close frame was queued, or the socket died.
    pub(super) fn is_closing(&self) -> bool {
        self.lock().phase != Phase::Open
    }

    /// Ends our side once everything was written: TLS close_notify, then FIN.
    pub(super) fn finish(&self) {
        let mut wire = self.lock();
        if let Sealer::Tls(session) = &mut wire.sealer {
            session.send_close_notify();
        }
        // Whoever does not take the last bytes does without them.
        let _ = wire.flush(&self.socket);
        let _ = socket2::SockRef::from(&self.socket).shutdown(Shutdown::Write);
    }

    /// Reads what is there, up to a fixed amount, into `buffer`. Never blocks.
    ///
    /// # Errors
    ///
    /// The socket is dead or the peer broke TLS; the connection's task must end.
    pub(super) fn read(&self, buffer: &mut Vec<u8>) -> io::Result<Input> {
        let mut wire = self.lock();
        let result = wire.read(&self.socket, buffer);
        // rustls answers key updates and alerts through the same flush.
        if matches!(wire.sealer, Sealer::Tls(_)) {
            wire.flush(&self.socket)?;
        }
        result
    }

    pub(super) fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_read_ready(cx)
    }

    pub(super) fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_write_ready(cx)
    }

    /// A panic while the lock was held ends this connection and no other.
    fn lock(&self) -> MutexGuard<'_, Wire> {
        self.wire.lock().unwrap_or_else(|poisoned| {
            let mut wire = PoisonError::into_inner(poisoned);
            wire.phase = Phase::Dead;
            wire
        })
    }
}

impl Wire {
    /// Whether nothing waits, here or in the TLS session.
    fn is_idle(&self) -> bool {
        let sealed = match &self.sealer {
            Sealer::Plain => false,
            Sealer::Tls(session) => session.wants_write(),
        };
        self.backlog.is_empty() && !sealed
    }

    /// `due` without what is of a forbidden channel.
    fn permitted(&self, due: Due) -> Due {
        let forbidden = self.forbidden.iter();
        forbidden.fold(due, |due, channel| due.without(channel))
    }

    /// Writes or seals as much of `item` as goes at once, past the backlog; the rest waits there.
    /// For an idle connection, which is nearly every one in nearly every turn.
    fn begin(&mut self, item: Item, socket: &TcpStream) {
        let bytes = item.bytes(self.kind);
        let taken = match &mut self.sealer {
            Sealer::Plain => socket.try_write(bytes),
            Sealer::Tls(session) => session.writer().write(bytes),
        };
        // An error shows again in the flush that follows.
        let taken = taken.unwrap_or(0);
        if taken < bytes.len() {
            self.backlog.restore(item, taken);
        }
    }

    /// The one function that writes to the socket.
    fn flush(&mut self, socket: &TcpStream) -> io::Result<()> {
        loop {
            match self.flush_once(socket) {
                Ok(true) => {
                    self.stalled = None;
                    return Ok(());
                }
                Ok(false) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.stalled.get_or_insert_with(Instant::now);
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// One step; `true` once nothing is left to write.
    fn flush_once(&mut self, socket: &TcpStream) -> io::Result<bool> {
        let mut slices = Vec::new();
        match &mut self.sealer {
            Sealer::Plain => {
                self.backlog.slices(&mut slices);
                if slices.is_empty() {
                    return Ok(true);
                }
                let written = socket.try_write_vectored(&slices)?;
                drop(slices);
                self.stalled = None;
                self.backlog.advance(written);
                Ok(self.backlog.is_empty())
            }
            Sealer::Tls(session) => {
                // Sealed only when what was sealed before is out: what waits stays in the backlog,
                // where a close can still overtake it.
                if !session.wants_write() {
                    self.backlog.slices(&mut slices);
                    if slices.is_empty() {
                        return Ok(true);
                    }
                    let sealed = seal(session, &slices)?;
                    drop(slices);
                    self.backlog.advance(sealed);
                    if self.phase == Phase::Closing && self.backlog.is_empty() {
                        // With the close frame, in one write.
                        session.send_close_notify();
                    }
                }
                while session.wants_write() {
                    session.write_tls(&mut TryIo(socket))?;
                    self.stalled = None;
                }
                Ok(self.backlog.is_empty())
            }
        }
    }

    fn read(&mut self, socket: &TcpStream, buffer: &mut Vec<u8>) -> io::Result<Input> {
        buffer.resize(READ_MAX, 0);
        let read = match &mut self.sealer {
            Sealer::Plain => read_plain(socket, buffer),
            Sealer::Tls(session) => read_tls(session, socket, buffer),
        };
        match read {
            Ok(0) => Ok(Input::End),
            Ok(n) => {
                buffer.truncate(n);
                Ok(Input::Bytes)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Input::Nothing),
            Err(error) => Err(error),
        }
    }
}
