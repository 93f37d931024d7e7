//! Gives up the HTTP/2 streams whose client takes nothing of the response that waits for it.
//!
//! hyper holds a piece of a body until the client's windows have room, for ever, and does not ask
//! the body for more meanwhile: the body alone cannot end it. So each stream's task looks at what
//! its body last handed out, and ends when that stays untaken; h2 then resets the stream, which
//! never looks like a whole response. A body that has nothing to hand out, such as a quiet stream
//! of events, waits as long as it likes.

use std::{
    cell::Cell,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep_until};

use super::activity::Busy;
use crate::exchange::{Body, BodyError};

/// What is handed out at once: one frame of HTTP/2, unless the client asks for larger ones. The
/// next piece is asked for when this one is on its way, so this is what counts as taking something;
/// it is also the most that stays with h2 of a response that has ended.
const PIECE: usize = 16 << 10;

tokio::task_local! {
    /// When the body of this task's stream handed out what it has not been asked for more since.
    static UNTAKEN: Cell<Option<Instant>>;
}

/// Runs `stream`, the task of one HTTP/2 stream, until it ends or a piece of its response waits
/// for longer than `timeout`; false in the latter case.
pub(super) async fn watch<F>(stream: F, timeout: Duration) -> bool
where
    F: Future,
{
    let watched = Watched {
        stream: Box::pin(stream),
        timeout,
        timer: None,
    };
    UNTAKEN.scope(Cell::new(None), watched).await
}

struct Watched<F> {
    stream: Pin<Box<F>>,
    timeout: Duration,
    /// Made when something waits for the first time, and never due too late.
    timer: Option<Pin<Box<Sleep>>>,
}

impl<F: Future> Future for Watched<F> {
    type Output = bool;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<bool> {
        let this = self.get_mut();
        if this.stream.as_mut().poll(cx).is_ready() {
            return Poll::Ready(true);
        }
        let Some(since) = UNTAKEN.with(Cell::get) else {
            return Poll::Pending;
        };
        let due = since + this.timeout;
        let timer = this.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
        loop {
            // Set for an earlier piece, it is only moved when it has run out.
            ready!(timer.as_mut().poll(cx));
            if due <= Instant::now() {
                return Poll::Ready(false);
            }
            timer.as_mut().reset(due);
        }
    }
}

/// A response's body in pieces of which each is noticed, and its request, which is under way until
/// the body is dropped.
#[derive(Debug)]
pub(super) struct Noticed {
    body: Body,
    rest: Bytes,
    _busy: Busy,
}

impl Noticed {
    pub(super) const fn new(body: Body, busy: Busy) -> Self {
        Self {
            body,
            rest: Bytes::new(),
            _busy: busy,
        }
    }
}

impl http_body::Body for Noticed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        note(None);
        if this.rest.is_empty() {
            match ready!(Pin::new(&mut this.body).poll_frame(cx)).map(|f| f.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => this.rest = data,
                Some(Ok(Err(trailers))) => return Poll::Ready(Some(Ok(trailers))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        note(Some(Instant::now()));
        let piece = this.rest.split_to(this.rest.len().min(PIECE));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, body) = (self.rest.len() as u64, self.body.size_hint());
        let mut hint = SizeHint::new();
        if let Some(upper) = body.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint.set_lower(body.lower().saturating_add(rest));
        hint
    }
}

/// Outside a watched task there is nothing to note.
fn note(untaken: Option<Instant>) {
    let _ = UNTAKEN.try_with(|cell| cell.set(untaken));
}
