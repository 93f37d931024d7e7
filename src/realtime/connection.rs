//! One browser as the hub and its own task share it: what it speaks, how bytes leave, whether it
//! is closing.
//!
//! Everything that is written to a browser goes through here; nothing is read.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::{
    Metrics,
    backlog::Due,
    close::Close,
    direct::{Delivery, Direct},
    frame,
    kind::Kind,
    queued::Queued,
    seats::Permit,
};

/// How bytes leave.
#[derive(Debug)]
pub(super) enum Outgoing {
    /// The socket is ours.
    Direct(Direct),
    /// HTTP owns the socket.
    Queued(Queued),
}

/// What the hub and the connection's task share.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) kind: Kind,
    pub(super) shard: usize,
    /// Where the shard keeps it; only the shard looks.
    pub(super) slot: AtomicUsize,
    /// Set before its leave is sent; a shard that sees it takes nothing on any more.
    pub(super) left: AtomicBool,
    outgoing: Outgoing,
    metrics: Metrics,
    _seat: Permit,
}

/// No slot yet.
pub(super) const NO_SLOT: usize = usize::MAX;

impl Connection {
    pub(super) fn new(
        kind: Kind,
        shard: usize,
        outgoing: Outgoing,
        metrics: Metrics,
        seat: Permit,
    ) -> Self {
        metrics.connections.inc();
        Self {
            kind,
            shard,
            slot: AtomicUsize::new(NO_SLOT),
            left: AtomicBool::new(false),
            outgoing,
            metrics,
            _seat: seat,
        }
    }

    /// Hands frames over; a connection that can't take them is closed as slow.
    pub(super) fn deliver(&self, due: Due) {
        let delivery = match &self.outgoing {
            Outgoing::Direct(direct) => direct.deliver(due),
            Outgoing::Queued(queued) => queued.deliver(due),
        };
        if delivery == Delivery::Slow {
            self.close(Close::Slow);
        }
    }

    /// Closes the connection; the first reason wins.
    pub(super) fn close(&self, reason: Close) {
        let first = match &self.outgoing {
            Outgoing::Direct(direct) => direct.close(reason.frame(self.kind)),
            Outgoing::Queued(queued) => queued.end(),
        };
        if first {
            self.metrics.closed(reason);
        }
    }

    /// Bytes that wait for the browser.
    pub(super) fn waiting(&self) -> usize {
        match &self.outgoing {
            Outgoing::Direct(direct) => direct.waiting(),
            // Never subscribes after its beginning.
            Outgoing::Queued(_) => 0,
        }
    }

    pub(super) fn is_closing(&self) -> bool {
        match &self.outgoing {
            Outgoing::Direct(direct) => direct.is_closing(),
            Outgoing::Queued(queued) => queued.is_ended(),
        }
    }

    pub(super) const fn queued(&self) -> Option<&Queued> {
        match &self.outgoing {
            Outgoing::Queued(queued) => Some(queued),
            Outgoing::Direct(_) => None,
        }
    }

    pub(super) const fn direct(&self) -> Option<&Direct> {
        match &self.outgoing {
            Outgoing::Direct(direct) => Some(direct),
            Outgoing::Queued(_) => None,
        }
    }

    /// Marks the connection as gone, for shards that hear of it later.
    pub(super) fn mark_left(&self) {
        self.left.store(true, Ordering::Release);
    }

    /// There is no place for its subscription. A client of the protocol is told in words; a plain
    /// stream would wait for events in vain.
    pub(super) fn lacks_subscription(&self) {
        self.metrics.subscription_refused();
        if self.kind != Kind::Protocol {
            self.close(Close::LimitExceeded);
        }
    }

    /// A message to a client of the protocol.
    pub(super) fn say(&self, json: &[u8]) {
        self.deliver(Due::from(frame::text(json)));
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.metrics.connections.dec();
    }
}

/// A random UUID (RFC 9562 version 4): names a client, proves nothing.
pub(super) fn random_id() -> String {
    let mut bytes = [0; 16];
    // Without random bytes the name is not unique; nothing relies on that yet.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    let n = u128::from_be_bytes(bytes);
    let n = n & !(0xf000 << 64) & !(0xc << 60) | (0x4000 << 64) | (0x8 << 60);
    let hex = format!("{n:032x}");
    let part = |range: std::ops::Range<usize>| hex.get(range).unwrap_or_default().to_owned();
    [
        part(0..8),
        part(8..12),
        part(12..16),
        part(16..20),
        part(20..32),
    ]
    .join("-")
}
