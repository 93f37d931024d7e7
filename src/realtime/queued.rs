//! The outgoing side of a connection whose socket belongs to HTTP: what is due waits here, and
//! HTTP's own task takes it as the body of a response.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::{Bytes, BytesMut};

use super::{
    backlog::{Backlog, Due, Limits},
    direct::Delivery,
    kind::Kind,
};

/// What waits for one stream.
#[derive(Debug)]
pub(super) struct Queued {
    state: Mutex<State>,
    limits: Limits,
}

#[derive(Debug)]
struct State {
    backlog: Backlog,
    /// Channels of which nothing may leave any more, until the shard has heard of it.
    forbidden: Vec<Box<str>>,
    ended: bool,
    reader: Option<Waker>,
}

impl Queued {
    pub(super) const fn new(kind: Kind, limits: Limits) -> Self {
        Self {
            state: Mutex::new(State {
                backlog: Backlog::new(kind),
                forbidden: Vec::new(),
                ended: false,
                reader: None,
            }),
            limits,
        }
    }

    /// Hands over data, in order.
    pub(super) fn deliver(&self, due: Due) -> Delivery {
        let mut state = self.lock();
        if state.ended {
            return Delivery::Gone;
        }
        let forbidden = state.forbidden.iter();
        let due = forbidden.fold(due, |due, channel| due.without(channel));
        for item in due {
            if state.backlog.push(item, self.limits).is_err() {
                return Delivery::Slow;
            }
        }
        state.wake();
        Delivery::Taken
    }

    /// Lets nothing of `channel` leave any more, not even what waits.
    pub(super) fn forbid(&self, channel: &str) {
        let mut state = self.lock();
        state.backlog.forbid(channel);
        state.forbidden.push(channel.into());
    }

    /// Takes one [`Queued::forbid`] back: the shard has ended the subscription.
    pub(super) fn permit(&self, channel: &str) {
        let mut state = self.lock();
        let place = state.forbidden.iter().position(|name| **name == *channel);
        if let Some(place) = place {
            state.forbidden.swap_remove(place);
        }
    }

    /// Bytes that wait for the stream.
    pub(super) fn waiting(&self) -> usize {
        self.lock().backlog.data_bytes()
    }

    /// Ends the stream; what waits is dropped but for `last`. Whether this was the first end.
    pub(super) fn end(&self, last: Option<Bytes>) -> bool {
        let mut state = self.lock();
        let first = !std::mem::replace(&mut state.ended, true);
        if first {
            state.backlog.close(last.unwrap_or_default());
            state.wake();
        }
        first
    }

    pub(super) fn is_ended(&self) -> bool {
        self.lock().ended
    }

    /// What waits, joined; `None` once the stream has ended.
    pub(super) fn poll(&self, cx: &Context<'_>) -> Poll<Option<Bytes>> {
        let mut state = self.lock();
        let mut joined = BytesMut::new();
        loop {
            let before = joined.len();
            let mut slices = Vec::new();
            state.backlog.slices(&mut slices);
            for slice in slices {
                joined.extend_from_slice(&slice);
            }
            let taken = joined.len() - before;
            if taken == 0 {
                break;
            }
            state.backlog.advance(taken);
        }
        if !joined.is_empty() {
            return Poll::Ready(Some(joined.freeze()));
        }
        if state.ended {
            return Poll::Ready(None);
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// A panic while the lock was held ends this stream and no other.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| {
            let mut state = PoisonError::into_inner(poisoned);
            state.ended = true;
            state.wake();
            state
        })
    }
}

impl State {
    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}
