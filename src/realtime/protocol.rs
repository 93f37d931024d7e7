//! Centrifugal's client protocol in JSON: commands read, replies and pushes written.
//!
//! Source: the protocol's public specification and its schema `client.proto`. Bytes and types
//! only: what a command does is decided elsewhere.

use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::value::RawValue;

use crate::broker::{Position, Publication};

/// The protocol's error codes that we answer with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ErrorCode {
    UnknownChannel,
    PermissionDenied,
    MethodNotFound,
    AlreadySubscribed,
    LimitExceeded,
    BadRequest,
    NotAvailable,
    UnrecoverablePosition,
}

impl ErrorCode {
    const fn parts(self) -> (u32, &'static str) {
        match self {
            Self::UnknownChannel => (102, "unknown channel"),
            Self::PermissionDenied => (103, "permission denied"),
            Self::MethodNotFound => (104, "method not found"),
            Self::AlreadySubscribed => (105, "already subscribed"),
            Self::LimitExceeded => (106, "limit exceeded"),
            Self::BadRequest => (107, "bad request"),
            Self::NotAvailable => (108, "not available"),
            Self::UnrecoverablePosition => (112, "unrecoverable position"),
        }
    }
}

/// One command as it stands on the wire. Fields that we don't know are passed over, as the
/// protocol asks.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Command<'a> {
    pub(super) id: u32,
    pub(super) connect: Option<Connect>,
    #[serde(borrow)]
    pub(super) subscribe: Option<Subscribe<'a>>,
    #[serde(borrow)]
    pub(super) unsubscribe: Option<Unsubscribe<'a>>,
    pub(super) ping: Option<IgnoredAny>,
    pub(super) send: Option<IgnoredAny>,
    pub(super) publish: Option<IgnoredAny>,
    pub(super) presence: Option<IgnoredAny>,
    pub(super) presence_stats: Option<IgnoredAny>,
    pub(super) history: Option<IgnoredAny>,
    pub(super) rpc: Option<IgnoredAny>,
    pub(super) refresh: Option<IgnoredAny>,
    pub(super) sub_refresh: Option<IgnoredAny>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Connect {
    pub(super) token: String,
}

/// The escapes of JSON are rare in these, so they are borrowed where they can be.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Subscribe<'a> {
    #[serde(borrow)]
    pub(super) channel: std::borrow::Cow<'a, str>,
    pub(super) recover: bool,
    pub(super) offset: u64,
    #[serde(borrow)]
    pub(super) epoch: std::borrow::Cow<'a, str>,
    pub(super) flag: u64,
    #[serde(rename = "type")]
    pub(super) kind: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Unsubscribe<'a> {
    #[serde(borrow)]
    pub(super) channel: std::borrow::Cow<'a, str>,
}

/// What a command asks for.
#[derive(Debug)]
pub(super) enum Request<'a> {
    /// The answer to our ping: an empty object.
    Pong,
    Connect(Connect),
    Subscribe(Subscribe<'a>),
    Unsubscribe(Unsubscribe<'a>),
    Ping,
    /// A message that wants no reply.
    Send,
    /// A command that is answered with an error.
    Refused(ErrorCode),
}

impl<'a> Command<'a> {
    pub(super) fn request(self) -> Request<'a> {
        if let Some(connect) = self.connect {
            return Request::Connect(connect);
        }
        if let Some(subscribe) = self.subscribe {
            return Request::Subscribe(subscribe);
        }
        if let Some(unsubscribe) = self.unsubscribe {
            return Request::Unsubscribe(unsubscribe);
        }
        if self.publish.is_some() {
            return Request::Refused(ErrorCode::PermissionDenied);
        }
        let unavailable = [
            self.presence,
            self.presence_stats,
            self.history,
            self.rpc,
            self.refresh,
            self.sub_refresh,
        ];
        if unavailable.iter().any(Option::is_some) {
            return Request::Refused(ErrorCode::NotAvailable);
        }
        match (self.ping, self.send, self.id) {
            (Some(_), _, _) => Request::Ping,
            (_, Some(_), _) => Request::Send,
            (_, _, 0) => Request::Pong,
            _ => Request::Refused(ErrorCode::MethodNotFound),
        }
    }
}

/// The commands of one message: JSON objects, one after the other.
pub(super) fn commands(
    message: &[u8],
) -> impl Iterator<Item = Result<Command<'_>, serde_json::Error>> {
    let values = serde_json::Deserializer::from_slice(message).into_iter::<&RawValue>();
    values.map(|value| {
        let object = value?.get();
        if !object.starts_with('{') {
            // A list would be taken for the fields in their order.
            return Err(serde::de::Error::custom("a command is an object"));
        }
        serde_json::from_str(object)
    })
}

/// The facts of a subscription that was made.
#[derive(Debug)]
pub(super) struct Subscribed<'a> {
    pub(super) position: Position,
    pub(super) recoverable: bool,
    /// `None` where recovery was not asked for; else the publications, or nothing where there was
    /// a gap.
    pub(super) recovery: Option<Option<&'a [std::sync::Arc<Publication>]>>,
    /// The offset that the client asked to recover from.
    pub(super) asked: u64,
}

#[derive(Serialize)]
struct Reply<T> {
    id: u32,
    #[serde(flatten)]
    result: T,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Outcome<'a> {
    Connect {
        client: &'a str,
        version: &'static str,
        ping: u64,
        pong: bool,
    },
    Subscribe(SubscribeResult),
    Unsubscribe {},
    Ping {},
    Error {
        code: u32,
        message: &'static str,
    },
}

#[derive(Serialize)]
struct SubscribeResult {
    #[serde(skip_serializing_if = "is_false")]
    recoverable: bool,
    positioned: bool,
    epoch: String,
    offset: u64,
    #[serde(skip_serializing_if = "is_false")]
    was_recovering: bool,
    #[serde(skip_serializing_if = "is_false")]
    recovered: bool,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands a reference in"
)]
const fn is_false(value: &bool) -> bool {
    !*value
}

fn reply(id: u32, result: Outcome<'_>) -> Vec<u8> {
    // These types always serialise.
    serde_json::to_vec(&Reply { id, result }).unwrap_or_default()
}

pub(super) fn connected(id: u32, client: &str, ping_seconds: u64) -> Vec<u8> {
    reply(
        id,
        Outcome::Connect {
            client,
            version: concat!("sidewire ", env!("CARGO_PKG_VERSION")),
            ping: ping_seconds,
            pong: true,
        },
    )
}

pub(super) fn subscribed(id: u32, subscribed: &Subscribed<'_>) -> Vec<u8> {
    let recovered = subscribed.recovery.flatten();
    let offset = match recovered {
        // The SDK counts on from the publications that follow.
        Some(_) => subscribed.asked,
        None => subscribed.position.offset,
    };
    let mut json = reply(
        id,
        Outcome::Subscribe(SubscribeResult {
            recoverable: subscribed.recoverable,
            positioned: true,
            epoch: subscribed.position.epoch.to_string(),
            offset,
            was_recovering: subscribed.recovery.is_some(),
            recovered: recovered.is_some(),
        }),
    );
    let publications = recovered.unwrap_or_default();
    if !publications.is_empty() {
        // Written past the serialiser: what is JSON already is neither read nor copied again.
        json.truncate(json.len() - "}}".len());
        for (n, publication) in publications.iter().enumerate() {
            let before: &[u8] = if n == 0 { b",\"publications\":[" } else { b"," };
            json.extend_from_slice(before);
            write_publication(&mut json, publication);
        }
        json.extend_from_slice(b"]}}");
    }
    json
}

/// What `publications` weigh in a reply, roughly and never less.
pub(super) fn weight(publications: &[std::sync::Arc<Publication>]) -> usize {
    let tags = |publication: &Publication| publication.tags.as_ref().map_or(0, |tags| tags.len());
    let each = publications.iter();
    each.map(|publication| publication.data.len() + tags(publication) + 64)
        .sum()
}

pub(super) fn unsubscribed(id: u32) -> Vec<u8> {
    reply(id, Outcome::Unsubscribe {})
}

pub(super) fn ponged(id: u32) -> Vec<u8> {
    reply(id, Outcome::Ping {})
}

pub(super) fn refused(id: u32, error: ErrorCode) -> Vec<u8> {
    let (code, message) = error.parts();
    reply(id, Outcome::Error { code, message })
}

/// Our ping; the client answers with the same.
pub(super) const PING: &[u8] = b"{}";

/// The push that carries `publication` to a subscriber of `channel`.
pub(super) fn publication_push(channel: &str, publication: &Publication) -> Vec<u8> {
    let mut json = Vec::with_capacity(publication.data.len() + channel.len() + 96);
    json.extend_from_slice(b"{\"push\":{\"channel\":");
    write_string(&mut json, channel);
    json.extend_from_slice(b",\"pub\":");
    write_publication(&mut json, publication);
    json.extend_from_slice(b"}}");
    json
}

/// The push that ends a subscription whose state can't be told any more (2500).
pub(super) fn insufficient_state_push(channel: &str) -> Vec<u8> {
    let mut json = b"{\"push\":{\"channel\":".to_vec();
    write_string(&mut json, channel);
    json.extend_from_slice(b",\"unsubscribe\":{\"code\":2500,\"reason\":\"insufficient state\"}}}");
    json
}

fn write_publication(json: &mut Vec<u8>, publication: &Publication) {
    json.extend_from_slice(b"{\"data\":");
    json.extend_from_slice(&publication.data);
    json.extend_from_slice(b",\"offset\":");
    json.extend_from_slice(publication.offset.to_string().as_bytes());
    if let Some(tags) = &publication.tags {
        json.extend_from_slice(b",\"tags\":");
        json.extend_from_slice(tags.as_bytes());
    }
    json.push(b'}');
}

fn write_string(json: &mut Vec<u8>, text: &str) {
    // A string always serialises.
    let _ = serde_json::to_writer(json, text);
}

#[cfg(test)]
#[path = "protocol_tests.rs"]
mod tests;
