//! Why a connection is closed, and how its kind of client is told.

use bytes::Bytes;

use super::{frame, kind::Kind};

/// Why we close a connection.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Close {
    /// The process stops; come back.
    Shutdown,
    /// It has lived as long as connections may; come back.
    Age,
    /// There is no place for the subscriptions of a plain stream; come back later.
    LimitExceeded,
    /// More waits than may wait.
    Slow,
    /// The socket takes nothing for too long.
    Stalled,
    /// Our ping was not answered.
    NoPong,
    /// No connect command in time.
    Stale,
    /// Too many commands a second.
    TooManyRequests,
    /// A command that can't be understood.
    BadRequest,
    /// A token that does not hold.
    InvalidToken,
    /// The token has ended, and no other was brought.
    Expired,
    /// The publisher's side asked for it, with its own code and reason.
    Asked(u16, Box<str>),
    /// The user has too many connections.
    ConnectionLimit,
    /// The WebSocket protocol was broken.
    Violation(frame::Violation),
    /// The peer closes; its own code is sent back.
    Peer(Option<u16>),
}

impl Close {
    /// The code and reason for a client of `kind`: the protocol's codes for those who speak it,
    /// RFC 6455's for plain streams. A reason is never empty and never JSON.
    pub(super) fn parts(&self, kind: Kind) -> (u16, &str) {
        let protocol = matches!(kind, Kind::Protocol);
        match self {
            Self::Shutdown if protocol => (3001, "shutdown"),
            Self::Shutdown => (1001, "shutdown"),
            Self::Age if protocol => (3011, "force reconnect"),
            Self::Age => (1012, "service restart"),
            Self::LimitExceeded => (1013, "limit exceeded"),
            Self::Slow if protocol => (3008, "slow"),
            Self::Slow => (1013, "slow"),
            Self::Stalled if protocol => (3009, "write error"),
            Self::Stalled => (1013, "slow"),
            Self::NoPong if protocol => (3012, "no pong"),
            Self::NoPong => (1001, "no pong"),
            Self::Stale => (3502, "stale"),
            Self::TooManyRequests if protocol => (3013, "too many requests"),
            Self::TooManyRequests => (1008, "too many messages"),
            Self::BadRequest if protocol => (3501, "bad request"),
            Self::BadRequest => (1008, "bad request"),
            Self::InvalidToken if protocol => (3500, "invalid token"),
            Self::InvalidToken => (1008, "invalid token"),
            Self::Expired if protocol => (3005, "connection expired"),
            Self::Expired => (1008, "token expired"),
            Self::Asked(code, reason) if protocol => (*code, reason),
            Self::Asked(..) => (1008, "disconnected"),
            Self::ConnectionLimit if protocol => (3504, "connection limit"),
            Self::ConnectionLimit => (1008, "connection limit"),
            Self::Violation(violation) => (violation.code, violation.reason),
            Self::Peer(Some(code)) => (*code, "bye"),
            Self::Peer(None) => (1000, "bye"),
        }
    }

    /// The close frame.
    pub(super) fn frame(&self, kind: Kind) -> Bytes {
        let (code, reason) = self.parts(kind);
        frame::close(code, reason)
    }

    /// The word for the counter.
    pub(super) const fn label(&self) -> &'static str {
        match self {
            Self::Shutdown => "shutdown",
            Self::Age => "age",
            Self::LimitExceeded => "limit_exceeded",
            Self::Slow => "slow",
            Self::Stalled => "stalled",
            Self::NoPong => "no_pong",
            Self::Stale => "stale",
            Self::TooManyRequests => "too_many_requests",
            Self::BadRequest => "bad_request",
            Self::InvalidToken => "invalid_token",
            Self::Expired => "expired",
            Self::Asked(..) => "asked",
            Self::ConnectionLimit => "connections_per_user_max",
            Self::Violation(violation) if violation.code == 1009 => "message_max",
            Self::Violation(_) => "violation",
            Self::Peer(_) => "peer",
        }
    }
}
