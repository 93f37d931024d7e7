//! The two bodies of an exchange, watched while they pass: the request's tells how far it has
//! got, the response's gives its connection back at its end.
//!
//! Trailers are dropped both ways, as RFC 9110 §6.5.1 allows.

use std::{
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep, sleep};

use super::{
    Metrics, head,
    pool::{Connection, Pool},
};
use crate::exchange::{self, BodyError, Failure};

/// How far a request's body has got.
#[derive(Debug)]
pub(super) struct Upload(Mutex<Progress>);

#[derive(Debug)]
struct Progress {
    /// When the last piece went out.
    moved: Instant,
    /// Whether the next piece has yet to come from the client.
    waiting: bool,
    finished: bool,
    /// Why the body ended early.
    failure: Option<Failure>,
}

impl Upload {
    fn lock(&self) -> MutexGuard<'_, Progress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the whole body went out.
    pub(super) fn is_finished(&self) -> bool {
        self.lock().finished
    }

    /// Why the body ended early, if it did.
    pub(super) fn take_failure(&self) -> Option<Failure> {
        self.lock().failure.take()
    }

    /// When the server will have been silent for `time`. Time that the client takes for its body
    /// is not the server's; whoever gave the body bounds that.
    pub(super) fn deadline(&self, time: Duration) -> Instant {
        let progress = self.lock();
        if progress.waiting {
            Instant::now() + time
        } else {
            progress.moved + time
        }
    }

    /// The clock starts now.
    pub(super) fn begin(&self) {
        self.lock().moved = Instant::now();
    }
}

/// A request's body on its way.
#[derive(Debug)]
pub(super) struct RequestBody {
    inner: exchange::Body,
    /// Bytes still to come, where that is known.
    left: Option<u64>,
    upload: Arc<Upload>,
}

impl RequestBody {
    pub(super) fn new(inner: exchange::Body) -> (Self, Arc<Upload>) {
        let left = head::size(&inner).exact();
        let upload = Arc::new(Upload(Mutex::new(Progress {
            moved: Instant::now(),
            waiting: false,
            finished: left == Some(0),
            failure: None,
        })));
        let body = Self {
            inner,
            left,
            upload: Arc::clone(&upload),
        };
        (body, upload)
    }

    fn data(&mut self, data: &Bytes) {
        let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
        self.left = self.left.map(|left| left.saturating_sub(length));
        let mut progress = self.upload.lock();
        progress.moved = Instant::now();
        progress.waiting = false;
        progress.finished = self.left == Some(0) || self.inner.is_end_stream();
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        loop {
            let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) else {
                this.upload.lock().waiting = true;
                return Poll::Pending;
            };
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => {
                    this.data(&data);
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Ok(Err(_trailers))) => {}
                Some(Err(error)) => {
                    this.upload.lock().failure = Some(client_failure(&error));
                    return Poll::Ready(Some(Err(error)));
                }
                None => {
                    let mut progress = this.upload.lock();
                    progress.moved = Instant::now();
                    progress.waiting = false;
                    // Less than was promised is no end.
                    progress.finished = this.left.is_none_or(|left| left == 0);
                    return Poll::Ready(None);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Whoever gave the body may have said what went wrong with it, and then it is that.
fn client_failure(error: &BodyError) -> Failure {
    match error.downcast_ref::<Failure>() {
        Some(failure) => copy(failure),
        None => Failure::client(StatusCode::BAD_REQUEST, "request_cut", error),
    }
}

fn copy(failure: &Failure) -> Failure {
    Failure {
        status: failure.status,
        blame: failure.blame,
        reason: failure.reason,
        detail: failure.detail.clone(),
    }
}

/// A connection whose response is still being read.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) connection: Connection,
    pub(super) pool: Arc<Pool>,
    pub(super) upload: Arc<Upload>,
    /// Whether the response left no doubt where it ends.
    pub(super) reusable: bool,
}

impl Lease {
    /// The response has ended: keeps the connection if it can serve another request.
    pub(super) fn end(self) {
        // With a request still on its way the server would take what follows for its rest.
        if self.reusable && self.upload.is_finished() {
            self.pool.put(self.connection);
        }
    }
}

/// A response's body on its way. Dropped before its end, it closes its connection.
#[derive(Debug)]
pub(super) struct ResponseBody {
    inner: Incoming,
    lease: Option<Lease>,
    idle_timeout: Duration,
    /// Runs while the server is waited for.
    idle: Option<Pin<Box<Sleep>>>,
    waiting: bool,
    metrics: Metrics,
}

impl ResponseBody {
    pub(super) fn new(
        inner: Incoming,
        lease: Lease,
        idle_timeout: Duration,
        metrics: Metrics,
    ) -> Self {
        Self {
            inner,
            lease: Some(lease),
            idle_timeout,
            idle: None,
            waiting: false,
            metrics,
        }
    }

    /// Ready once the server has been waited for too long.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let time = self.idle_timeout;
        let idle = self.idle.get_or_insert_with(|| Box::pin(sleep(time)));
        if !self.waiting {
            self.waiting = true;
            idle.as_mut().reset(Instant::now() + time);
        }
        idle.as_mut().poll(cx)
    }

    /// Ends the body unclean, and its connection with it.
    fn cut(&mut self, failure: Failure) -> Option<Result<Frame<Bytes>, BodyError>> {
        self.lease = None;
        self.metrics.cut.inc();
        Some(Err(Box::new(failure)))
    }

    fn end(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.end();
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        loop {
            let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) else {
                ready!(this.poll_idle(cx));
                let detail = format_args!("the response paused for {:?}", this.idle_timeout);
                let status = StatusCode::GATEWAY_TIMEOUT;
                let failure = Failure::upstream(status, "upstream_timeout", detail);
                return Poll::Ready(this.cut(failure));
            };
            this.waiting = false;
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => {
                    if this.inner.is_end_stream() {
                        this.end();
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Ok(Err(_trailers))) => {}
                Some(Err(error)) => {
                    let detail = format_args!("the response broke off: {error}");
                    let status = StatusCode::BAD_GATEWAY;
                    let failure = Failure::upstream(status, "upstream_reset", detail);
                    return Poll::Ready(this.cut(failure));
                }
                None => {
                    this.end();
                    return Poll::Ready(None);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
