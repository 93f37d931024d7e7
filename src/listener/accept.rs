//! The one accept loop: permit → accept → task.
//!
//! It never waits for a connection's peer; whatever does belongs in the task.

use std::{future::Future, io, time::Duration};

use tokio::time::sleep;

use super::permits::{Permit, Permits};
use crate::shutdown::Tasks;

/// How long the loop rests after an error that trying again at once would only repeat.
const PAUSE: Duration = Duration::from_millis(100);

/// What connections come from.
pub(super) trait Source {
    type Connection;

    /// The next connection. Cancel safe.
    fn next(&self) -> impl Future<Output = io::Result<Self::Connection>>;
}

/// Hands connections to `serve` until the stage is told to stop.
pub(super) async fn run<S, F, Fut>(source: &S, permits: Permits, tasks: &Tasks, serve: F)
where
    S: Source,
    F: Fn(S::Connection, Permit) -> Fut,
    Fut: Future<Output = ()> + Send + 'static,
{
    let mut starved = false;
    loop {
        let accepted = tokio::select! {
            biased;
            () = tasks.stopping() => return,
            accepted = next(source, &permits) => accepted,
        };
        match accepted {
            Ok((connection, permit)) => {
                starved = false;
                tasks.spawn(serve(connection, permit));
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                if !starved {
                    tracing::error!(
                        %error,
                        "cannot accept connections; trying again ten times a second \
                         (with \"too many open files\": raise LimitNOFILE)"
                    );
                    starved = true;
                }
                tokio::select! {
                    () = tasks.stopping() => return,
                    () = sleep(PAUSE) => {}
                }
            }
        }
    }
}

async fn next<S: Source>(source: &S, permits: &Permits) -> io::Result<(S::Connection, Permit)> {
    let free = permits.free().await.map_err(io::Error::other)?;
    let connection = source.next().await?;
    Ok((connection, permits.open(free)))
}

/// Whether the error concerns the connection that was about to be accepted, so that the next one
/// may well be fine.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}
