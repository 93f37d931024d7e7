//! What goes on on one HTTP/2 connection, so that one where nothing goes on can be ended.
//!
//! PING and SETTINGS are not activity: a client answers pings for ever at no cost of its own.
//! Whether a client takes a response is looked at for each stream alone, by `stall`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep_until};

/// The 24 bytes of the client's preface and the head of its first frame (RFC 9113, 3.4 and 4.1).
const PREFACE: u64 = 24 + 9;

/// What has happened so far. Times are milliseconds since the connection began.
#[derive(Debug)]
pub(super) struct Activity {
    began: Instant,
    bytes_read: AtomicU64,
    requests: AtomicUsize,
    request_ended: AtomicU64,
}

/// How long nothing may go on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    pub(super) preface: Duration,
    pub(super) idle: Duration,
}

/// Why a connection should end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Quiet {
    /// The client has not even sent its preface.
    NoPreface,
    /// No request for a long time.
    Idle,
}

/// One request under way, until its response has ended or is dropped.
#[derive(Debug)]
pub(super) struct Busy(Arc<Activity>);

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            began: Instant::now(),
            bytes_read: AtomicU64::new(0),
            requests: AtomicUsize::new(0),
            request_ended: AtomicU64::new(0),
        }
    }

    pub(super) fn read(&self, bytes: usize) {
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.bytes_read.fetch_add(bytes, Relaxed);
    }

    pub(super) fn begin(self: &Arc<Self>) -> Busy {
        self.requests.fetch_add(1, Relaxed);
        Busy(Arc::clone(self))
    }

    /// Resolves once nothing has gone on for longer than `patience`. Cancel safe.
    pub(super) async fn quiet(&self, patience: Patience) -> Quiet {
        loop {
            let (due, why) = self.due(patience);
            if due <= Instant::now() {
                return why;
            }
            // Whatever happens meanwhile only moves the time further away.
            sleep_until(due).await;
        }
    }

    fn due(&self, patience: Patience) -> (Instant, Quiet) {
        if self.bytes_read.load(Relaxed) < PREFACE {
            (self.began + patience.preface, Quiet::NoPreface)
        } else if self.requests.load(Relaxed) > 0 {
            (Instant::now() + patience.idle, Quiet::Idle)
        } else {
            let ended = Duration::from_millis(self.request_ended.load(Relaxed));
            (self.began + ended + patience.idle, Quiet::Idle)
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let Self(activity) = self;
        activity.request_ended.store(activity.now(), Relaxed);
        activity.requests.fetch_sub(1, Relaxed);
    }
}
