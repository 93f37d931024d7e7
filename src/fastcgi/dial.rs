//! Connects to PHP-FPM, over TCP or a Unix socket, and waits through a restart of it.
//!
//! Nothing has been sent when this fails, so trying again is safe for any request.

use std::{io, time::Duration};

use http::StatusCode;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    time::{Instant, sleep, timeout},
};

use crate::config::Address;
use crate::exchange::Failure;

/// Waited before the second, third and fourth attempt.
const PAUSES: [Duration; 3] = [
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
];

/// No attempt begins later than this after the first.
const PATIENCE: Duration = Duration::from_secs(2);

/// An open connection, in halves since both directions are busy at once. The writing half is kept
/// until the end: dropping it tells the peer that we are done.
pub(super) struct Halves {
    pub(super) read: Box<dyn AsyncRead + Send + Unpin>,
    pub(super) write: Box<dyn AsyncWrite + Send + Unpin>,
}

/// Connects to `address`; each attempt may take `limit`.
///
/// # Errors
///
/// 504 when an attempt took too long, else 502, with a reason for each thing that an operator
/// would mend in another way.
pub(super) async fn dial(address: &Address, limit: Duration) -> Result<Halves, Failure> {
    let begun = Instant::now();
    let mut pauses = PAUSES.into_iter();
    loop {
        let error = match timeout(limit, connect(address)).await {
            Ok(Ok(halves)) => return Ok(halves),
            Ok(Err(error)) => error,
            Err(_) => return Err(too_slow(address, limit)),
        };
        match pauses.next() {
            Some(pause) if passes(&error) && begun.elapsed() + pause < PATIENCE => {
                sleep(pause).await;
            }
            _ => return Err(refused(address, &error)),
        }
    }
}

async fn connect(address: &Address) -> io::Result<Halves> {
    match address {
        Address::Tcp(address) => {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let (read, write) = stream.into_split();
            Ok(Halves {
                read: Box::new(read),
                write: Box::new(write),
            })
        }
        Address::Unix(path) => {
            let (read, write) = UnixStream::connect(path).await?.into_split();
            Ok(Halves {
                read: Box::new(read),
                write: Box::new(write),
            })
        }
    }
}

/// Whether the error is one that PHP-FPM shows while it restarts or is busy.
fn passes(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound | io::ErrorKind::WouldBlock
    )
}

fn refused(address: &Address, error: &io::Error) -> Failure {
    let (reason, remedy) = match error.kind() {
        io::ErrorKind::ConnectionRefused => ("fastcgi_refused", "is PHP-FPM running?"),
        io::ErrorKind::NotFound => (
            "fastcgi_no_socket",
            "is PHP-FPM running, and is this its `listen`?",
        ),
        io::ErrorKind::WouldBlock => (
            "fastcgi_backlog_full",
            "all workers are busy; raise pm.max_children or listen.backlog",
        ),
        io::ErrorKind::PermissionDenied => (
            "fastcgi_denied",
            "run as a member of the group in PHP-FPM's listen.group",
        ),
        _ => ("fastcgi_unreachable", "check site.fastcgi.address"),
    };
    Failure::upstream(
        StatusCode::BAD_GATEWAY,
        reason,
        format_args!("{address}: {error}; {remedy}"),
    )
}

fn too_slow(address: &Address, limit: Duration) -> Failure {
    Failure::upstream(
        StatusCode::GATEWAY_TIMEOUT,
        "fastcgi_connect_timeout",
        format_args!("{address}: no connection within {limit:?}"),
    )
}
