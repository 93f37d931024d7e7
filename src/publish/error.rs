//! Why a publish request was refused, and how the publisher is told: an HTTP status and a code of
//! its own for each reason.

use http::StatusCode;
use serde_json::json;

use super::http::{FIELDS_MAX, HEAD_MAX};
use crate::realtime::Refused;

/// A refusal of a request, or of one command of a batch.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// A header that the signature needs is not there once.
    #[error("header not there exactly once: {0}")]
    MissingHeader(&'static str),
    /// The timestamp is no number.
    #[error("webhook-timestamp must be a number of seconds since 1970")]
    Timestamp,
    /// The timestamp of a signed request is too far from our clock.
    #[error(
        "timestamp is {} s {} our clock (publish.timestamp_window is {window} s): set the clock",
        seconds.unsigned_abs(),
        if *seconds < 0 { "behind" } else { "ahead of" }
    )]
    Skew {
        /// How far it is ahead of us; negative: behind.
        seconds: i64,
        /// How far it may be.
        window: u64,
    },
    /// The signature fits no key of any site that was tried.
    #[error("signature fits no key")]
    Signature,
    /// The id was used with another body.
    #[error("webhook-id was used with another body")]
    IdReused,
    /// The id has not the form METHOD_RANDOM, or names another method.
    #[error("webhook-id must be {0}_ and 16 to 64 letters, digits or dashes")]
    IdForm(String),
    /// The key may not do this; says what it may do.
    #[error("{0}")]
    Forbidden(String),
    /// Whoever connected is not in `publish.peer_uids`.
    #[error("user {0} is not in publish.peer_uids")]
    Peer(u32),
    /// Signed before this process started, so that it may have been handled by the one before.
    #[error("signed before the start of this process: sign again after not_before")]
    BeforeStart {
        /// The first second whose signatures are accepted.
        not_before: u64,
    },
    /// The ids of the window fill the memory that they may use.
    #[error("too many requests are remembered: try again later")]
    IdsFull,
    /// The idempotency keys that are remembered are as many as may be.
    #[error("too many idempotency keys are remembered: try again later")]
    KeysFull,
    /// The body is longer than `publish.body_max`.
    #[error("body too large: publish.body_max is {0} bytes")]
    TooLarge(u64),
    /// The large bodies under way have `publish.bodies_max` bytes together.
    #[error("too many large requests are arriving (publish.bodies_max): try again later")]
    BodiesFull,
    /// The body did not arrive in time, or broke off.
    #[error("the body did not arrive")]
    Incomplete,
    /// The body is not what the method takes.
    #[error("bad request: {0}")]
    Bad(String),
    /// The data of a publication is longer than `publish.data_max`.
    #[error("data too large: publish.data_max is {0} bytes")]
    DataTooLarge(u64),
    /// The reply would be longer than `publish.reply_max`.
    #[error("the reply would be longer than publish.reply_max, {0} bytes: ask for less at once")]
    ReplyTooLarge(u64),
    /// No namespace of the site has the channel's prefix.
    #[error("unknown channel")]
    UnknownChannel,
    /// No such method.
    #[error("unknown method")]
    UnknownMethod,
    /// Only POST publishes.
    #[error("the method must be POST")]
    NotPost,
    /// The head of the request is not HTTP/1.1.
    #[error("not a request of HTTP/1.1: {0}")]
    Malformed(&'static str),
    /// The head has more bytes or more fields than are read.
    #[error("the head may have {} KiB and {FIELDS_MAX} fields", HEAD_MAX >> 10)]
    HeadTooLarge,
    /// The head did not arrive in time.
    #[error("the head did not arrive within publish.read_timeout")]
    HeadTimeout,
    /// The length of the body is not told, or a transfer coding is.
    #[error("send the body with Content-Length, and without Transfer-Encoding")]
    NoLength,
    /// Something is expected that is not offered.
    #[error("the only expectation that is met is 100-continue")]
    Expectation,
    /// The request with the same id that this one waited for failed.
    #[error("the first request with this id failed: try again")]
    FirstFailed,
    /// The namespace of the channel does not offer this.
    #[error("not available in the namespace of this channel")]
    NotAvailable,
    /// What is asked for can't be told from this position on.
    #[error("unrecoverable position")]
    Unrecoverable,
    /// As many revocations are in force as may be.
    #[error("realtime.revocations_max is reached: try again later, or raise it")]
    RevocationsFull,
    /// A fault of ours in the middle of it.
    #[error("a fault of ours: a part of the request may be done; look before it is sent anew")]
    Internal,
    /// The process stops.
    #[error("stopping: try again")]
    Stopping,
}

impl Error {
    /// The HTTP status and the code in the body.
    #[must_use]
    pub const fn codes(&self) -> (StatusCode, u32) {
        match self {
            Self::Bad(_) | Self::Incomplete => (StatusCode::BAD_REQUEST, 107),
            Self::UnknownChannel => (StatusCode::BAD_REQUEST, 102),
            Self::UnknownMethod => (StatusCode::NOT_FOUND, 104),
            Self::NotPost => (StatusCode::METHOD_NOT_ALLOWED, 104),
            Self::Malformed(_) => (StatusCode::BAD_REQUEST, 1016),
            Self::HeadTimeout => (StatusCode::REQUEST_TIMEOUT, 1016),
            Self::NoLength => (StatusCode::LENGTH_REQUIRED, 1016),
            Self::Expectation => (StatusCode::EXPECTATION_FAILED, 1016),
            Self::HeadTooLarge => (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, 1016),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, 1017),
            Self::Stopping => (StatusCode::SERVICE_UNAVAILABLE, 100),
            Self::FirstFailed => (StatusCode::SERVICE_UNAVAILABLE, 1011),
            Self::MissingHeader(_) => (StatusCode::UNAUTHORIZED, 1001),
            Self::Timestamp | Self::Skew { .. } => (StatusCode::UNAUTHORIZED, 1002),
            Self::Signature => (StatusCode::UNAUTHORIZED, 1003),
            Self::IdReused => (StatusCode::CONFLICT, 1004),
            Self::IdForm(_) => (StatusCode::BAD_REQUEST, 1005),
            Self::BeforeStart { .. } => (StatusCode::SERVICE_UNAVAILABLE, 1006),
            Self::IdsFull => (StatusCode::SERVICE_UNAVAILABLE, 1007),
            Self::KeysFull => (StatusCode::SERVICE_UNAVAILABLE, 1012),
            Self::Forbidden(_) => (StatusCode::FORBIDDEN, 1008),
            Self::Peer(_) => (StatusCode::FORBIDDEN, 1013),
            Self::NotAvailable => (StatusCode::BAD_REQUEST, 108),
            Self::Unrecoverable => (StatusCode::BAD_REQUEST, 112),
            Self::RevocationsFull => (StatusCode::SERVICE_UNAVAILABLE, 1014),
            Self::BodiesFull => (StatusCode::SERVICE_UNAVAILABLE, 1018),
            Self::ReplyTooLarge(_) => (StatusCode::BAD_REQUEST, 1015),
            Self::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, 1009),
            Self::DataTooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, 1010),
        }
    }

    /// The value of `error` in a reply.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        let (_, code) = self.codes();
        match self {
            Self::BeforeStart { not_before } => {
                json!({ "code": code, "message": self.to_string(), "not_before": not_before })
            }
            Self::Skew { seconds, .. } => {
                json!({ "code": code, "message": self.to_string(), "skew_seconds": seconds })
            }
            _ => json!({ "code": code, "message": self.to_string() }),
        }
    }

    /// The word for the counter.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::MissingHeader(_) => "missing_header",
            Self::Timestamp | Self::Skew { .. } => "timestamp",
            Self::Forbidden(_) => "forbidden",
            Self::Peer(_) => "peer",
            Self::Signature => "signature",
            Self::IdReused => "id_reused",
            Self::IdForm(_) => "id_form",
            Self::BeforeStart { .. } => "before_start",
            Self::IdsFull => "ids_full",
            Self::KeysFull => "keys_full",
            Self::NotAvailable => "not_available",
            Self::Unrecoverable => "unrecoverable",
            Self::RevocationsFull => "revocations_full",
            Self::TooLarge(_) => "too_large",
            Self::Incomplete => "incomplete",
            Self::Bad(_) => "bad",
            Self::BodiesFull => "bodies_full",
            Self::ReplyTooLarge(_) => "reply_too_large",
            Self::DataTooLarge(_) => "data_too_large",
            Self::UnknownChannel => "unknown_channel",
            Self::UnknownMethod => "unknown_method",
            Self::NotPost => "not_post",
            Self::Malformed(_) => "malformed",
            Self::HeadTooLarge => "head_too_large",
            Self::HeadTimeout => "head_timeout",
            Self::NoLength => "no_length",
            Self::Expectation => "expectation",
            Self::Internal => "internal",
            Self::Stopping => "stopping",
            Self::FirstFailed => "first_failed",
        }
    }
}

impl From<Refused> for Error {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::BadName => Self::Bad("channel: 1 to 255 printable ASCII characters".into()),
            Refused::UnknownChannel => Self::UnknownChannel,
            Refused::KeysFull(_) => Self::KeysFull,
            Refused::NotAvailable => Self::NotAvailable,
            Refused::Unrecoverable => Self::Unrecoverable,
            Refused::RevocationsFull => Self::RevocationsFull,
            Refused::Stopping => Self::Stopping,
        }
    }
}
