//! What goes on on one HTTP/2 connection, so that one where nothing goes on can be ended.
//!
//! PING and SETTINGS are not activity: a client answers pings for ever at no cost of its own.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::{Instant, sleep_until};

use crate::exchange::{Body, BodyError};

/// The 24 bytes of the client's preface and the head of its first frame (RFC 9113, 3.4 and 4.1).
const PREFACE: u64 = 24 + 9;

/// What has happened so far. Times are milliseconds since the connection began.
#[derive(Debug)]
pub(super) struct Activity {
    began: Instant,
    bytes_read: AtomicU64,
    requests: AtomicUsize,
    request_ended: AtomicU64,
    /// Responses whose last piece has not been asked for more: the client takes nothing of them.
    untaken: AtomicUsize,
    taken: AtomicU64,
}

/// How long nothing may go on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) preface: Duration,
    pub(super) idle: Duration,
    pub(super) stall: Duration,
}

/// Why a connection should end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Quiet {
    /// The client has not even sent its preface.
    NoPreface,
    /// No request for a long time.
    Idle,
    /// Responses wait, and the client takes nothing of any.
    Stalled,
}

/// One request under way.
#[derive(Debug)]
pub(super) struct Busy {
    activity: Arc<Activity>,
    untaken: bool,
}

/// The body of a response whose request is under way until it ends or is dropped.
#[derive(Debug)]
pub(super) struct Tracked {
    body: Body,
    busy: Busy,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            bytes_read: AtomicU64::new(0),
            requests: AtomicUsize::new(0),
            request_ended: AtomicU64::new(0),
            untaken: AtomicUsize::new(0),
            taken: AtomicU64::new(0),
        }
    }

    pub(super) fn read(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.bytes_read.fetch_add(bytes, Relaxed);
    }

    pub(super) fn begin(self: &Arc<Self>) -> Busy {
        self.requests.fetch_add(1, Relaxed);
        Busy {
            activity: Arc::clone(self),
            untaken: false,
        }
    }

    /// Resolves once nothing has gone on for longer than `patience`. Cancel safe.
    pub(super) async fn quiet(&self, patience: Patience) -> Quiet {
        loop {
            let (due, why) = self.due(patience);
            if due <= Instant::now() {
                return why;
            }
            // Whatever happens meanwhile only moves the time further away, but for a response
            // that begins to wait: that one is found one `stall` late at most.
            sleep_until(due.min(Instant::now() + patience.stall)).await;
        }
    }

    fn due(&self, patience: Patience) -> (Instant, Quiet) {
        let at = |milliseconds: &AtomicU64| {
            self.began + Duration::from_millis(milliseconds.load(Relaxed))
        };
        if self.bytes_read.load(Relaxed) < PREFACE {
            (self.began + patience.preface, Quiet::NoPreface)
        } else if self.untaken.load(Relaxed) > 0 {
            (at(&self.taken) + patience.stall, Quiet::Stalled)
        } else if self.requests.load(Relaxed) > 0 {
            (Instant::now() + patience.idle, Quiet::Idle)
        } else {
            (at(&self.request_ended) + patience.idle, Quiet::Idle)
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Busy {
    pub(super) const fn track(self, body: Body) -> Tracked {
        Tracked { body, busy: self }
    }

    fn handed_out(&mut self) {
        self.activity.taken.store(self.activity.now(), Relaxed);
        if !self.untaken {
            self.untaken = true;
            self.activity.untaken.fetch_add(1, Relaxed);
        }
    }

    fn taken(&mut self) {
        if self.untaken {
            self.untaken = false;
            self.activity.taken.store(self.activity.now(), Relaxed);
            self.activity.untaken.fetch_sub(1, Relaxed);
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.taken();
        self.activity
            .request_ended
            .store(self.activity.now(), Relaxed);
        self.activity.requests.fetch_sub(1, Relaxed);
    }
}

impl http_body::Body for Tracked {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        this.busy.taken();
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(_))) = polled {
            this.busy.handed_out();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
