//! A request body under its two limits: bytes altogether, and time between two pieces.
//!
//! It also remembers what was wrong with it, since the back end that read it can only say that
//! it could not go on.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http::StatusCode;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Sleep, sleep};

use crate::{
    config,
    exchange::{BodyError, Failure},
};

/// What was wrong with a body, known to whoever answers.
#[derive(Clone, Debug, Default)]
pub(super) struct Verdict(Arc<AtomicU8>);

/// Why a request body ended early.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Fault {
    /// More bytes than the limit.
    #[error("the request body is larger than `front.body_max`")]
    TooLarge = 1,
    /// No byte for too long.
    #[error("no byte of the request body for `front.body_idle_timeout`")]
    Idle = 2,
    /// The connection ended, or its framing is wrong.
    #[error("the request body was cut")]
    Broken = 3,
}

/// A request body under limits.
#[derive(Debug)]
pub(super) struct Limited {
    incoming: Incoming,
    left: u64,
    idle_timeout: Duration,
    /// Set while a reader waits. A back end that does not read is not the client's fault.
    idle: Option<Pin<Box<Sleep>>>,
    verdict: Verdict,
}

impl Verdict {
    /// The failure to answer with, where the body is what was wrong.
    pub(super) fn failure(&self) -> Option<Failure> {
        let (status, reason, fault) = match self.0.load(Relaxed) {
            1 => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "body_too_large",
                Fault::TooLarge,
            ),
            2 => (StatusCode::REQUEST_TIMEOUT, "body_idle", Fault::Idle),
            3 => (StatusCode::BAD_REQUEST, "body_broken", Fault::Broken),
            _ => return None,
        };
        Some(Failure::client(status, reason, fault))
    }
}

impl Limited {
    pub(super) fn new(incoming: Incoming, config: &config::Front) -> Self {
        Self {
            incoming,
            left: config.body_max.0,
            idle_timeout: config.body_idle_timeout,
            idle: None,
            verdict: Verdict::default(),
        }
    }

    /// Where to ask later what was wrong.
    pub(super) fn verdict(&self) -> Verdict {
        self.verdict.clone()
    }

    fn fail(&self, fault: Fault) -> BodyError {
        self.verdict.0.store(fault as u8, Relaxed);
        fault.into()
    }

    fn count(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, BodyError> {
        if let Some(data) = frame.data_ref() {
            let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
            match self.left.checked_sub(length) {
                Some(left) => self.left = left,
                None => return Err(self.fail(Fault::TooLarge)),
            }
        }
        Ok(frame)
    }
}

impl http_body::Body for Limited {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        match Pin::new(&mut this.incoming).poll_frame(cx) {
            Poll::Ready(frame) => {
                this.idle = None;
                Poll::Ready(frame.map(|frame| match frame {
                    Ok(frame) => this.count(frame),
                    Err(_) => Err(this.fail(Fault::Broken)),
                }))
            }
            Poll::Pending => {
                let timeout = this.idle_timeout;
                let idle = this.idle.get_or_insert_with(|| Box::pin(sleep(timeout)));
                match idle.as_mut().poll(cx) {
                    Poll::Ready(()) => Poll::Ready(Some(Err(this.fail(Fault::Idle)))),
                    Poll::Pending => Poll::Pending,
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
