//! PHP's output after its head, as the body of a response.
//!
//! Read from the socket when it is asked for, and passed on as it comes: nothing is collected.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};
use tokio::time::timeout;
use tracing::debug;

use super::{
    Metrics,
    connection::{Connection, Event},
};
use crate::exchange::{BodyError, Failure, RequestId};
use crate::shutdown::Tasks;

/// What a script may still write once nobody reads it.
const DISCARD_MAX: usize = 4 << 20;

/// A body that ends cleanly only when PHP said that it is complete.
pub(super) struct Output {
    /// None once the body has ended, one way or the other.
    connection: Option<Connection>,
    /// Came with the head.
    first: Bytes,
    /// What is left of the length that PHP promised.
    left: Option<u64>,
    remains: Remains,
    metrics: Metrics,
}

/// Where a connection goes whose output is of no more use.
pub(super) struct Remains {
    pub(super) tasks: Tasks,
    pub(super) limit: Duration,
    pub(super) request: RequestId,
}

impl Output {
    pub(super) fn new(
        connection: Connection,
        first: Bytes,
        length: Option<u64>,
        remains: Remains,
        metrics: Metrics,
    ) -> Self {
        let mut output = Self {
            connection: Some(connection),
            first,
            left: length,
            remains,
            metrics,
        };
        if length == Some(0) {
            output.leave();
        }
        output
    }

    /// The whole promised length has been passed on; what follows belongs to no response.
    fn leave(&mut self) {
        self.first = Bytes::new();
        if let Some(connection) = self.connection.take() {
            self.remains.discard(connection);
        }
    }

    fn pass(&mut self, mut piece: Bytes) -> Bytes {
        if let Some(left) = self.left {
            let fits = usize::try_from(left).unwrap_or(usize::MAX);
            piece.truncate(fits);
            let left = left - piece.len() as u64;
            self.left = Some(left);
            if left == 0 {
                self.leave();
            }
        }
        piece
    }

    fn fail(&mut self, failure: Failure) -> BodyError {
        self.connection = None;
        self.metrics.failed(&failure);
        failure.into()
    }
}

impl Body for Output {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let first = std::mem::take(&mut self.first);
        if !first.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(self.pass(first)))));
        }
        let Some(connection) = &mut self.connection else {
            return Poll::Ready(None);
        };
        match ready!(connection.poll_event(cx)) {
            Ok(Event::Output(piece)) => Poll::Ready(Some(Ok(Frame::data(self.pass(piece))))),
            Ok(Event::End) => match self.left {
                Some(left) => Poll::Ready(Some(Err(self.fail(too_short(left))))),
                None => {
                    self.connection = None;
                    Poll::Ready(None)
                }
            },
            Err(failure) => Poll::Ready(Some(Err(self.fail(failure)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.connection.is_none() && self.first.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::new, SizeHint::with_exact)
    }
}

impl Remains {
    /// Reads on without keeping anything, so that the script can finish: closing would end it at
    /// its next output. It may take its time only up to a limit, since the client has its answer
    /// and nothing else holds the script's worker to account.
    pub(super) fn discard(&self, connection: Connection) {
        let stage = self.tasks.clone();
        let (limit, request) = (self.limit, self.request);
        self.tasks.spawn(async move {
            let length = tokio::select! {
                () = stage.stopping() => return,
                length = timeout(limit, read_out(connection)) => length.ok(),
            };
            if length != Some(0) {
                debug!(%request, ?length, "output that belongs to no response was thrown away");
            }
        });
    }
}

/// Reads to the end, or to the most that is tolerated; gives the length.
async fn read_out(mut connection: Connection) -> usize {
    let mut length = 0;
    while length < DISCARD_MAX {
        match poll_fn(|cx| connection.poll_event(cx)).await {
            Ok(Event::Output(piece)) => length += piece.len(),
            Ok(Event::End) | Err(_) => break,
        }
    }
    length
}

fn too_short(left: u64) -> Failure {
    Failure::upstream(
        StatusCode::BAD_GATEWAY,
        "fastcgi_body_short",
        format_args!("the output ended {left} bytes before the Content-Length that PHP sent"),
    )
}
