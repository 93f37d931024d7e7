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

use super::{age::Age, close::Close, connection::Connection, hub::Leave};
use crate::{config, exchange::BodyError};

/// Server-sent events as the body of a response; dropping it leaves the hub.
#[derive(Debug)]
pub(super) struct EventStream {
    connection: Arc<Connection>,
    /// Until the next ping, or the end.
    next: Pin<Box<Sleep>>,
    interval: Duration,
    age: Age,
    _leave: Leave,
}

impl EventStream {
    pub(super) fn new(
        connection: Arc<Connection>,
        config: &config::Realtime,
        leave: Leave,
    ) -> Self {
        let now = Instant::now();
        let interval = config.ping_interval;
        let age = Age::new(config.connection_age_max, now);
        Self {
            connection,
            next: Box::pin(sleep_until(age.min(now + interval))),
            interval,
            age,
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
        if self.next.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        let now = Instant::now();
        if self.age.is_over(now) {
            self.connection.close(&Close::Age);
            return Poll::Ready(None);
        }
        let next = self.age.min(now + self.interval);
        self.next.as_mut().reset(next);
        // The timer has to be polled once to wake again.
        cx.waker().wake_by_ref();
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b":\n\n")))))
    }
}
