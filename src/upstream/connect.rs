//! A new connection to the server behind us, over TCP or a Unix socket.
//!
//! A server that restarts is waited for, briefly; nothing here has sent a byte of a request.

use std::{
    io,
    io::IoSlice,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use http::StatusCode;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
    time::{Instant, sleep, timeout},
};

use super::Metrics;
use crate::config::Address;
use crate::exchange::Failure;

/// The waits before the second attempt and the third, and before each one after.
const FIRST_PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(250)];
const PAUSE: Duration = Duration::from_millis(500);
/// No attempt begins later than this.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where to connect, and how long to wait for it.
#[derive(Debug)]
pub(super) struct Connector {
    pub(super) address: Address,
    pub(super) timeout: Duration,
    pub(super) metrics: Metrics,
}

/// One connection's bytes.
#[derive(Debug)]
pub(super) struct Wire {
    stream: Stream,
    signs: Arc<Signs>,
}

/// What can be told of a connection's server from outside hyper.
#[derive(Debug, Default)]
pub(super) struct Signs {
    /// It has sent something since this was last cleared.
    pub(super) heard: AtomicBool,
    /// It takes no more bytes.
    pub(super) shut: AtomicBool,
}

#[derive(Debug)]
enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Connector {
    /// Connects, again and again for two seconds while the server is away.
    pub(super) async fn connect(&self) -> Result<Wire, Failure> {
        let start = Instant::now();
        let mut pauses = FIRST_PAUSES.into_iter();
        loop {
            let error = match timeout(self.timeout, self.dial()).await {
                Ok(Ok(stream)) => {
                    self.metrics.connections.inc();
                    let signs = Arc::default();
                    return Ok(Wire { stream, signs });
                }
                Ok(Err(error)) => error,
                Err(_) => return Err(self.timed_out()),
            };
            let pause = pauses.next().unwrap_or(PAUSE);
            if !is_passing(&error) || start.elapsed() + pause > PATIENCE {
                return Err(self.failure(&error));
            }
            self.metrics.retry("dial");
            sleep(pause).await;
        }
    }

    async fn dial(&self) -> io::Result<Stream> {
        match &self.address {
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(stream))
            }
            Address::Unix(path) => Ok(Stream::Unix(UnixStream::connect(path).await?)),
        }
    }

    fn timed_out(&self) -> Failure {
        let detail = format_args!("{}: no connection after {:?}", self.address, self.timeout);
        Failure::upstream(StatusCode::GATEWAY_TIMEOUT, "upstream_timeout", detail)
    }

    fn failure(&self, error: &io::Error) -> Failure {
        let reason = match error.kind() {
            io::ErrorKind::NotFound => "upstream_no_socket",
            io::ErrorKind::ConnectionReset => "upstream_reset",
            _ => "upstream_refused",
        };
        let detail = format_args!("{}: {error}", self.address);
        Failure::upstream(StatusCode::BAD_GATEWAY, reason, detail)
    }
}

/// Whether a server that restarts, or is busy, answers like this: nobody there, no socket yet, a
/// full backlog.
fn is_passing(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound | io::ErrorKind::WouldBlock
    )
}

impl AsyncRead for Wire {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(match &mut this.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Stream::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        })?;
        if buf.filled().len() > before {
            this.signs.heard.store(true, Ordering::Release);
        }
        Poll::Ready(Ok(()))
    }
}

impl Wire {
    /// Shared with whoever uses the connection.
    pub(super) fn signs(&self) -> Arc<Signs> {
        Arc::clone(&self.signs)
    }

    /// Takes a write that the server no longer reads for done: it may have answered before it
    /// closed (413, for one), and hyper reads no answer after a failed write.
    fn excuse(&self, written: Poll<io::Result<usize>>, length: usize) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Err(error)) if is_closed(&error) => {
                self.signs.shut.store(true, Ordering::Release);
                Poll::Ready(Ok(length))
            }
            other => other,
        }
    }
}

fn is_closed(error: &io::Error) -> bool {
    let kind = error.kind();
    kind == io::ErrorKind::BrokenPipe || kind == io::ErrorKind::ConnectionReset
}

impl AsyncWrite for Wire {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let length = bufs.iter().map(|buf| buf.len()).sum();
        if this.signs.shut.load(Ordering::Acquire) {
            return Poll::Ready(Ok(length));
        }
        let written = match &mut this.stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Stream::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        };
        this.excuse(written, length)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Stream::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
