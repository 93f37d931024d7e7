//! The bytes of a connection, under a watch.
//!
//! A peer that takes nothing of what waits for it is given up, and a connection that ends is
//! ended gently. It knows no HTTP.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

use super::activity::Activity;

/// How long the peer's last bytes are still taken after our own last one. Closing with unread
/// bytes makes the kernel send a reset, and a reset destroys an answer that is still on its way.
const LINGER: Duration = Duration::from_secs(2);

/// Reads of one poll while lingering, before other tasks have their turn.
const LINGER_READS: usize = 16;

/// A stream whose writes must make progress.
#[derive(Debug)]
pub(super) struct Watched<S> {
    stream: S,
    stall_timeout: Duration,
    /// Set while a write waits; boxed and dropped, since most connections never wait.
    stall: Option<Pin<Box<Sleep>>>,
    linger: Option<Pin<Box<Sleep>>>,
    activity: Option<Arc<Activity>>,
}

impl<S> Watched<S> {
    pub(super) const fn new(stream: S, stall_timeout: Duration) -> Self {
        Self {
            stream,
            stall_timeout,
            stall: None,
            linger: None,
            activity: None,
        }
    }

    /// Tells `activity` of every byte read.
    pub(super) fn with_activity(mut self, activity: Arc<Activity>) -> Self {
        self.activity = Some(activity);
        self
    }

    /// The stream, no longer watched.
    pub(super) fn into_inner(self) -> S {
        self.stream
    }

    /// Passes on the outcome of a write or flush, or an error where it has waited too long.
    fn progress<T>(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if outcome.is_ready() {
            self.stall = None;
            return outcome;
        }
        let timeout = self.stall_timeout;
        let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(timeout)));
        ready!(stall.as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "the peer took no byte before the deadline",
        )))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let outcome = Pin::new(&mut this.stream).poll_read(cx, buf);
        if let Some(activity) = &this.activity {
            activity.read(buf.filled().len().saturating_sub(before));
        }
        outcome
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.stream).poll_write(cx, buf);
        this.progress(cx, outcome)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.stream).poll_write_vectored(cx, bufs);
        this.progress(cx, outcome)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let outcome = Pin::new(&mut this.stream).poll_flush(cx);
        this.progress(cx, outcome)
    }

    /// Closes our direction, then waits for the peer to close its own, [`LINGER`] at most.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.linger.is_none() {
            let outcome = Pin::new(&mut this.stream).poll_shutdown(cx);
            ready!(this.progress(cx, outcome))?;
            this.linger = Some(Box::pin(sleep(LINGER)));
        }
        for _ in 0..LINGER_READS {
            let mut scratch = [0; 4096];
            let mut buf = ReadBuf::new(&mut scratch);
            match Pin::new(&mut this.stream).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {}
                // Whether the peer ended well or badly, there is nothing left to say to it.
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => {
                    return match &mut this.linger {
                        Some(linger) => linger.as_mut().poll(cx).map(Ok),
                        None => Poll::Ready(Ok(())),
                    };
                }
            }
        }
        if this
            .linger
            .as_ref()
            .is_some_and(|linger| linger.deadline() <= Instant::now())
        {
            return Poll::Ready(Ok(()));
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
