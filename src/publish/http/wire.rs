//! A publisher's socket, with a deadline for each wait. It knows nothing of HTTP.

use std::{
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Buf;
use rustix::{
    buffer::spare_capacity,
    net::{RecvFlags, SendFlags, recv, send},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    time::{Instant, Sleep},
};
use tokio_util::sync::WaitForCancellationFuture;

/// One connection, and what ends a wait for its peer.
///
/// What a publisher sends is mostly there when its connection is accepted, and what it is answered
/// fits the socket. The runtime knows of neither before it has asked the kernel, so the first read
/// and each write are tried without it; where that fails, it sees to the rest, errors included.
#[derive(Debug)]
pub(super) struct Wire<'a, 't> {
    pub(super) stream: UnixStream,
    /// Nothing has been read.
    pub(super) fresh: bool,
    pub(super) patience: Duration,
    pub(super) stopping: Pin<&'a mut WaitForCancellationFuture<'t>>,
    pub(super) clock: Clock<'a>,
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
        if std::mem::take(&mut self.fresh)
            && let Ok((_, read)) = recv(&self.stream, spare_capacity(room), RecvFlags::DONTWAIT)
        {
            return Ok(read);
        }
        let mut read = pin!(self.stream.read_buf(room));
        let (stopping, clock) = (&mut self.stopping, &mut self.clock);
        poll_fn(|cx| {
            if let Poll::Ready(read) = read.as_mut().poll(cx) {
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
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        if let Ok(sent) = send(&self.stream, bytes.chunk(), flags) {
            bytes.advance(sent);
            if !bytes.has_remaining() {
                return Ok(());
            }
        }
        let patience = self.patience;
        let clock = &mut self.clock;
        let mut write = pin!(self.stream.write_all_buf(&mut bytes));
        let mut waited = false;
        poll_fn(|cx| {
            if let Poll::Ready(written) = write.as_mut().poll(cx) {
                return Poll::Ready(written);
            }
            if !waited {
                waited = true;
                clock.deadline = Instant::now() + patience;
            }
            clock.poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
        })
        .await
    }

    /// Tells the peer that nothing more comes, and waits until it says the same: a socket that is
    /// closed while the peer still sends takes the reply's reader by surprise.
    pub(super) async fn linger(&mut self, room: &mut Vec<u8>) {
        self.wait_anew();
        if self.stream.shutdown().await.is_err() {
            return;
        }
        while let Ok(1..) = self.read(room, true).await {
            room.clear();
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
