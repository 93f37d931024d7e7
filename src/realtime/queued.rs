//! The outgoing side of a connection whose socket belongs to HTTP: what is due waits here, and
//! HTTP's own task takes it as the body of a response.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};
use tokio::time::{Instant, Sleep, sleep_until};

use super::{
    backlog::{Due, Limits},
    connection::Connection,
    direct::Delivery,
    hub::Leave,
};
use crate::exchange::BodyError;

/// What waits for one stream.
#[derive(Debug)]
pub(super) struct Queued {
    state: Mutex<State>,
    limits: Limits,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Bytes>,
    bytes: usize,
    ended: bool,
    reader: Option<Waker>,
}

impl Queued {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            state: Mutex::default(),
            limits,
        }
    }

    /// Hands over data, in order.
    pub(super) fn deliver(&self, due: Due) -> Delivery {
        let mut state = self.lock();
        if state.ended {
            return Delivery::Gone;
        }
        for frame in due {
            let bytes = state.bytes + frame.len();
            if state.waiting.len() >= self.limits.messages || bytes > self.limits.bytes {
                return Delivery::Slow;
            }
            state.bytes = bytes;
            state.waiting.push_back(frame);
        }
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
        Delivery::Taken
    }

    /// Ends the stream; what waits is dropped.
    pub(super) fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        state.waiting = VecDeque::new();
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
    }

    pub(super) fn is_ended(&self) -> bool {
        self.lock().ended
    }

    fn poll(&self, cx: &Context<'_>) -> Poll<Option<Bytes>> {
        let mut state = self.lock();
        if state.ended {
            return Poll::Ready(None);
        }
        if state.waiting.is_empty() {
            state.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        state.bytes = 0;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        let mut joined = BytesMut::new();
        for frame in waiting {
            joined.extend_from_slice(&frame);
        }
        Poll::Ready(Some(joined.freeze()))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

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
