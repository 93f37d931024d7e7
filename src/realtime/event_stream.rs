//! Server-sent events: what waits for a queued connection, as the body of a response.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::time::{Instant, Sleep, sleep_until};

use super::{connection::Connection, hub::Leave};
use crate::exchange::BodyError;

/// Server-sent events as the body of a response; dropping it leaves the hub.
#[derive(Debug)]
pub(super) struct EventStream {
    connection: Arc<Connection>,
    pings: Pin<Box<Sleep>>,
    interval: Duration,
    _leave: Leave,
}

impl EventStream {
    pub(super) fn new(connection: Arc<Connection>, interval: Duration, leave: Leave) -> Self {
        Self {
            connection,
            pings: Box::pin(sleep_until(Instant::now() + interval)),
            interval,
            _leave: leave,
        }
    }
}

impl Body for EventStream {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(queued) = self.connection.queued() else {
            return Poll::Ready(None);
        };
        if let Poll::Ready(next) = queued.poll(cx) {
            return Poll::Ready(next.map(|bytes| Ok(Frame::data(bytes))));
        }
        if self.pings.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        let next = Instant::now() + self.interval;
        self.pings.as_mut().reset(next);
        // The timer has to be polled once to wake again.
        cx.waker().wake_by_ref();
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b":\n\n")))))
    }
}
