//! The outgoing side of a connection whose socket belongs to HTTP: what is due waits here, and
//! HTTP's own task takes it as the body of a response.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::{Bytes, BytesMut};

use super::{
    backlog::{Due, Limits},
    direct::Delivery,
};

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

    /// Ends the stream; what waits is dropped. Whether this was the first end.
    pub(super) fn end(&self) -> bool {
        let mut state = self.lock();
        let first = !std::mem::replace(&mut state.ended, true);
        state.waiting = VecDeque::new();
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
        first
    }

    pub(super) fn is_ended(&self) -> bool {
        self.lock().ended
    }

    /// What waits, joined; `None` once the stream has ended.
    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<Option<Bytes>> {
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
