//! A publisher's socket, with a deadline for each wait. It knows nothing of HTTP.

use std::{
    future::{Future, poll_fn},
    io,
    net::Shutdown,
    os::unix::net::UnixStream,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Buf;
use rustix::{
    buffer::spare_capacity,
    net::{RecvFlags, SendFlags, recv, send},
};
use tokio::{
    io::{Interest, unix::AsyncFd},
    task::consume_budget,
    time::{Instant, Sleep},
};
use tokio_util::sync::WaitForCancellationFuture;

use crate::listener::unix::watch;

/// One connection, and what ends a wait for its peer.
#[derive(Debug)]
pub(super) struct Wire<'a, 't> {
    pub(super) socket: Socket,
    pub(super) patience: Duration,
    pub(super) stopping: Pin<&'a mut WaitForCancellationFuture<'t>>,
    pub(super) clock: Clock<'a>,
}

/// A socket that the runtime hears of only once something has to be waited for: what a publisher
/// sends is mostly there when its connection is accepted, and what it is answered fits.
///
/// And then of reading alone. A Unix socket that is also watched for writing wakes its owner each
/// time the peer has read something.
#[derive(Debug)]
pub(super) struct Socket {
    stream: Arc<UnixStream>,
    readable: Option<AsyncFd<Arc<UnixStream>>>,
}

/// A deadline that is moved for each request and each reply, always later.
///
/// The timer is set to one of them, and only when it rings is it looked which one holds by now: a
/// busy connection touches the runtime's timers once in a while, not with each request.
#[derive(Debug)]
pub(super) struct Clock<'a> {
    pub(super) timer: Pin<&'a mut Sleep>,
    pub(super) deadline: Instant,
}

/// Why nothing was read.
#[derive(Debug)]
pub(super) enum Silence {
    /// The deadline passed.
    Late,
    /// The stage stops.
    Stopping,
    /// The socket failed.
    Broken(io::Error),
}

impl Wire<'_, '_> {
    /// From now on the peer has all its time again.
    pub(super) fn wait_anew(&mut self) {
        self.clock.deadline = Instant::now() + self.patience;
    }

    /// Reads once, behind what is in `room`; 0 at the end. With `until_stop` a stop of the stage
    /// ends the wait, but not before what has come is read.
    pub(super) async fn read(
        &mut self,
        room: &mut Vec<u8>,
        until_stop: bool,
    ) -> Result<usize, Silence> {
        let (socket, stopping, clock) = (&mut self.socket, &mut self.stopping, &mut self.clock);
        poll_fn(|cx| {
            if let Poll::Ready(read) = socket.poll_read(cx, room) {
                return Poll::Ready(read.map_err(Silence::Broken));
            }
            if until_stop && stopping.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Err(Silence::Stopping));
            }
            clock.poll(cx).map(|()| Err(Silence::Late))
        })
        .await
    }

    /// Writes all of `bytes`; a peer that takes them too slowly is an error of its own kind,
    /// [`io::ErrorKind::TimedOut`].
    pub(super) async fn write(&mut self, mut bytes: impl Buf) -> io::Result<()> {
        let sent = retry(|| self.socket.send(bytes.chunk()));
        match sent {
            Ok(sent) => bytes.advance(sent),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        if !bytes.has_remaining() {
            return Ok(());
        }
        self.clock.deadline = Instant::now() + self.patience;
        // Of a descriptor of its own: the other one is watched for reading.
        let other = self.socket.stream.try_clone()?;
        let writable = watch(other, Interest::WRITABLE)?;
        let (socket, clock) = (&self.socket, &mut self.clock);
        poll_fn(|cx| {
            while bytes.has_remaining() {
                let Poll::Ready(ready) = writable.poll_write_ready(cx) else {
                    let late = clock.poll(cx);
                    return late.map(|()| Err(io::ErrorKind::TimedOut.into()));
                };
                let sent = ready?.try_io(|_| retry(|| socket.send(bytes.chunk())));
                // Without room for more, it is waited for.
                if let Ok(sent) = sent {
                    bytes.advance(sent?);
                }
            }
            Poll::Ready(Ok(()))
        })
        .await
    }

    /// Tells the peer that nothing more comes, and waits until it says the same: a socket that is
    /// closed while the peer still sends takes the reply's reader by surprise.
    pub(super) async fn linger(&mut self, room: &mut Vec<u8>) {
        self.wait_anew();
        if self.socket.stream.shutdown(Shutdown::Write).is_err() {
            return;
        }
        while let Ok(1..) = self.read(room, true).await {
            room.clear();
            consume_budget().await;
        }
    }
}

impl Socket {
    pub(super) fn new(stream: UnixStream) -> Self {
        Self {
            stream: Arc::new(stream),
            readable: None,
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>, room: &mut Vec<u8>) -> Poll<io::Result<usize>> {
        let Some(readable) = &self.readable else {
            match retry(|| self.receive(room)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => return Poll::Ready(read),
            }
            let stream = Arc::clone(&self.stream);
            self.readable = Some(watch(stream, Interest::READABLE)?);
            return self.poll_read(cx, room);
        };
        loop {
            let mut ready = ready!(readable.poll_read_ready(cx))?;
            let space = room.capacity() - room.len();
            // Without anything to read, it is waited for.
            if let Ok(read) = ready.try_io(|_| retry(|| self.receive(room))) {
                if matches!(read, Ok(read) if (1..space).contains(&read)) {
                    // It is empty: asked for more, the kernel would only say so.
                    ready.clear_ready();
                }
                return Poll::Ready(read);
            }
        }
    }

    fn receive(&self, room: &mut Vec<u8>) -> io::Result<usize> {
        let (_, read) = recv(&self.stream, spare_capacity(room), RecvFlags::DONTWAIT)?;
        Ok(read)
    }

    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        Ok(send(&self.stream, bytes, flags)?)
    }
}

/// As often as a signal comes in between.
fn retry(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

impl Clock<'_> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            ready!(self.timer.as_mut().poll(cx));
            if Instant::now() >= self.deadline {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(self.deadline);
        }
    }
}
