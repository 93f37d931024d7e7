//! One browser as the hub and its own task share it: who it is, how bytes leave, whether it is
//! closing.
//!
//! Everything that is written to a browser goes through here; nothing is read.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use super::{
    Metrics,
    backlog::Due,
    close::Close,
    direct::{Delivery, Direct},
    frame,
    item::Item,
    kind::Kind,
    queued::Queued,
    seats::Permit,
};
use crate::broker::SiteId;

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
    pub(super) site: SiteId,
    pub(super) shard: usize,
    /// Whether a plain stream is told its positions.
    pub(super) positions: bool,
    /// Where the shard keeps it; only the shard looks.
    pub(super) slot: AtomicUsize,
    /// Set before its leave is sent; a shard that sees it takes nothing on any more.
    pub(super) left: AtomicBool,
    /// Once it is known; a plain stream without a token stays nobody.
    identity: OnceLock<Box<Identity>>,
    outgoing: Outgoing,
    metrics: Metrics,
    _seat: Option<Permit>,
}

/// Names one connection of the protocol; a random UUID, which proves nothing.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct ClientId(u128);

/// Who a connection is.
#[derive(Debug)]
pub(super) struct Identity {
    pub(super) client: ClientId,
    /// Empty for whoever brought no token.
    pub(super) user: Arc<str>,
    /// The WordPress session that its token belongs to.
    pub(super) sid: Option<Box<str>>,
    /// What the token says of its bearer, as JSON.
    pub(super) info: Option<Box<str>>,
    /// The Unix second in which its token was issued; 0 where that is not known.
    issued: AtomicU64,
    /// The Unix second in which the connection ends; 0: never.
    expires_at: AtomicU64,
    /// The Unix second until which that token holds, whatever became of the connection's end.
    holds_until: AtomicU64,
}

/// No slot yet.
pub(super) const NO_SLOT: usize = usize::MAX;

impl Connection {
    pub(super) fn new(
        (kind, positions): (Kind, bool),
        (site, shard): (SiteId, usize),
        outgoing: Outgoing,
        metrics: Metrics,
        seat: Option<Permit>,
    ) -> Self {
        metrics.connections.inc();
        Self {
            kind,
            site,
            shard,
            positions,
            slot: AtomicUsize::new(NO_SLOT),
            left: AtomicBool::new(false),
            identity: OnceLock::new(),
            outgoing,
            metrics,
            _seat: seat,
        }
    }

    /// Says who it is; once.
    pub(super) fn identify(&self, identity: Identity) {
        // A second one can't be: the connect command is taken once.
        let _ = self.identity.set(Box::new(identity));
    }

    pub(super) fn identity(&self) -> Option<&Identity> {
        self.identity.get().map(|identity| &**identity)
    }

    /// Hands frames over; a connection that can't take them is closed as slow. A fault of ours in
    /// the middle ends this connection and nothing else: whoever holds its lock poisons it.
    pub(super) fn deliver(&self, due: Due) {
        let delivery = catch_unwind(AssertUnwindSafe(|| match &self.outgoing {
            Outgoing::Direct(direct) => direct.deliver(due),
            Outgoing::Queued(queued) => queued.deliver(due),
        }));
        match delivery {
            Ok(Delivery::Slow) => self.close(&Close::Slow),
            Ok(Delivery::Taken | Delivery::Gone) => {}
            Err(_) => self.wake(),
        }
    }

    /// Closes the connection; the first reason wins.
    pub(super) fn close(&self, reason: &Close) {
        let first = match &self.outgoing {
            Outgoing::Direct(direct) => direct.close(reason.frame(self.kind)),
            Outgoing::Queued(queued) if self.kind == Kind::EventStream => queued.end(None),
            Outgoing::Queued(queued) => queued.end(Some(reason.frame(self.kind))),
        };
        if first {
            self.metrics.closed(reason);
        }
    }

    /// Lets nothing of `channel` leave any more, until [`Connection::permit`].
    pub(super) fn forbid(&self, channel: &str) {
        match &self.outgoing {
            Outgoing::Direct(direct) => direct.forbid(channel),
            Outgoing::Queued(queued) => queued.forbid(channel),
        }
    }

    /// Takes one [`Connection::forbid`] back.
    pub(super) fn permit(&self, channel: &str) {
        match &self.outgoing {
            Outgoing::Direct(direct) => direct.permit(channel),
            Outgoing::Queued(queued) => queued.permit(channel),
        }
    }

    /// Bytes that wait for the browser.
    pub(super) fn waiting(&self) -> usize {
        match &self.outgoing {
            Outgoing::Direct(direct) => direct.waiting(),
            Outgoing::Queued(queued) => queued.waiting(),
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

    /// Has its own task look at its deadlines anew.
    pub(super) fn wake(&self) {
        if let Outgoing::Direct(direct) = &self.outgoing {
            direct.wake.notify_one();
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
            self.close(&Close::LimitExceeded);
        }
    }

    /// The limit with the key `limit` was reached.
    pub(super) fn limited(&self, limit: &'static str) {
        self.metrics.limited(limit);
    }

    pub(super) fn has_left(&self) -> bool {
        self.left.load(Ordering::Acquire)
    }

    /// A message to a client of the protocol.
    pub(super) fn say(&self, json: &[u8]) {
        self.deliver(Due::from(Item::Own(frame::text(json))));
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.metrics.connections.dec();
    }
}

impl Identity {
    pub(super) fn new(user: &str, sid: Option<Box<str>>, info: Option<Box<str>>) -> Self {
        Self {
            client: ClientId::random(),
            user: user.into(),
            sid,
            info,
            issued: AtomicU64::new(0),
            expires_at: AtomicU64::new(0),
            holds_until: AtomicU64::new(0),
        }
    }

    pub(super) fn is_anonymous(&self) -> bool {
        self.user.is_empty()
    }

    /// When the token was issued that holds now.
    pub(super) fn issued(&self) -> u64 {
        self.issued.load(Ordering::Relaxed)
    }

    /// The Unix second in which the connection ends, if it does.
    pub(super) fn expires_at(&self) -> Option<u64> {
        Some(self.expires_at.load(Ordering::Relaxed)).filter(|second| *second > 0)
    }

    /// Has the connection end in that Unix second; `None`: never.
    pub(super) fn expire_at(&self, second: Option<u64>) {
        self.expires_at
            .store(second.unwrap_or(0), Ordering::Relaxed);
    }

    /// Another token of the same user holds from now on.
    pub(super) fn reissue(&self, issued: u64, expires_at: u64) {
        self.issued.store(issued, Ordering::Relaxed);
        self.holds_until.store(expires_at, Ordering::Relaxed);
        self.expire_at(Some(expires_at));
    }

    /// The Unix second until which its token holds: what rests on the token ends there, though the
    /// server's side may let the connection go on. A revocation is not remembered for longer.
    pub(super) fn holds_until(&self) -> u64 {
        self.holds_until.load(Ordering::Relaxed)
    }
}

impl ClientId {
    /// RFC 9562, version 4.
    fn random() -> Self {
        let mut bytes = [0; 16];
        // Without random bytes two connections would share a name: the later one takes the
        // earlier one's place where connections are looked up by name.
        let _ = aws_lc_rs::rand::fill(&mut bytes);
        let n = u128::from_be_bytes(bytes);
        Self(n & !(0xf000 << 64) & !(0xc << 60) | (0x4000 << 64) | (0x8 << 60))
    }

    /// The id that is written `text`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let n = u128::from_str_radix(&text.replace('-', ""), 16).ok()?;
        let id = Self(n);
        (id.to_string() == text).then_some(id)
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:032x}", self.0);
        let part = |range| hex.get::<std::ops::Range<usize>>(range).unwrap_or_default();
        let (a, b, c) = (part(0..8), part(8..12), part(12..16));
        write!(f, "{a}-{b}-{c}-{}-{}", part(16..20), part(20..32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_in_the_middle_of_a_delivery_ends_that_connection_alone() {
        let limits = crate::realtime::backlog::Limits {
            bytes: 100,
            messages: 100,
        };
        let outgoing = Outgoing::Queued(Queued::new(Kind::Protocol, limits));
        let (kind, place) = ((Kind::Protocol, false), (SiteId(0), 0));
        let connection = Connection::new(kind, place, outgoing, Metrics::default(), None);
        connection.deliver(Due::from(Item::Bomb));
        assert!(connection.is_closing());
        connection.deliver(Due::from(Item::Own(frame::text(b"{}"))));
        connection.close(&Close::Shutdown);
    }

    #[test]
    fn nothing_of_a_forbidden_channel_leaves_until_it_is_permitted_again() {
        let limits = crate::realtime::backlog::Limits {
            bytes: 1_000,
            messages: 100,
        };
        let outgoing = Outgoing::Queued(Queued::new(Kind::Protocol, limits));
        let (kind, place) = ((Kind::Protocol, false), (SiteId(0), 0));
        let connection = Connection::new(kind, place, outgoing, Metrics::default(), None);
        let reply = |channel: &str, text: &[u8]| {
            Item::Reply(Box::new(crate::realtime::item::Reply {
                bytes: frame::text(text),
                id: 7,
                channel: channel.into(),
            }))
        };
        let taken = || {
            let waker = std::task::Waker::noop();
            let cx = std::task::Context::from_waker(waker);
            let queued = connection.queued().unwrap();
            match queued.poll(&cx) {
                std::task::Poll::Ready(Some(bytes)) => String::from_utf8_lossy(&bytes).into_owned(),
                _ => String::new(),
            }
        };
        connection.deliver(Due::from(reply("edit:26", b"secret")));
        connection.forbid("edit:26");
        connection.deliver(Due::from(reply("edit:26", b"secret")));
        connection.deliver(Due::from(reply("post:26", b"open")));
        let seen = taken();
        assert!(!seen.contains("secret"), "{seen}");
        assert!(seen.contains("open") && seen.matches("\"code\":103").count() == 2);
        connection.permit("edit:26");
        connection.deliver(Due::from(reply("edit:26", b"anew")));
        assert!(taken().contains("anew"));
    }

    #[test]
    fn an_id_is_read_as_it_is_written() {
        let id = ClientId::random();
        let text = id.to_string();
        assert_eq!(ClientId::parse(&text), Some(id));
        assert_eq!(text.as_bytes()[14], b'4', "{text}");
        for wrong in [
            "",
            "x",
            &text
                .to_uppercase()
                .replace(|c: char| c.is_ascii_digit(), "A"),
            &text[1..],
        ] {
            assert_eq!(ClientId::parse(wrong), None, "{wrong}");
        }
    }
}
