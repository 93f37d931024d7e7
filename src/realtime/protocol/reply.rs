//! Replies to commands.

use std::sync::Arc;

use serde::Serialize;
use serde_json::value::RawValue;

use super::{push::write_publication, write_string};
use crate::broker::{Position, Publication};

/// The protocol's error codes that we answer with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::realtime) enum ErrorCode {
    Internal,
    UnknownChannel,
    PermissionDenied,
    MethodNotFound,
    AlreadySubscribed,
    LimitExceeded,
    BadRequest,
    NotAvailable,
    TokenExpired,
    UnrecoverablePosition,
}

impl ErrorCode {
    const fn parts(self) -> (u32, &'static str) {
        match self {
            Self::Internal => (100, "internal server error"),
            Self::UnknownChannel => (102, "unknown channel"),
            Self::PermissionDenied => (103, "permission denied"),
            Self::MethodNotFound => (104, "method not found"),
            Self::AlreadySubscribed => (105, "already subscribed"),
            Self::LimitExceeded => (106, "limit exceeded"),
            Self::BadRequest => (107, "bad request"),
            Self::NotAvailable => (108, "not available"),
            Self::TokenExpired => (109, "token expired"),
            Self::UnrecoverablePosition => (112, "unrecoverable position"),
        }
    }
}

/// A connection that was made.
#[derive(Clone, Debug)]
pub(in crate::realtime) struct Connected {
    pub(in crate::realtime) client: String,
    /// Seconds between our pings.
    pub(in crate::realtime) ping: u64,
    /// Seconds for which its token holds.
    pub(in crate::realtime) ttl: Option<u64>,
}

/// The facts of a subscription that was made.
#[derive(Debug)]
pub(in crate::realtime) struct Subscribed<'a> {
    pub(in crate::realtime) position: Position,
    pub(in crate::realtime) recoverable: bool,
    pub(in crate::realtime) recovery: Recovered<'a>,
    /// Seconds for which its token holds.
    pub(in crate::realtime) ttl: Option<u64>,
    /// The JSON that is handed to the client with it.
    pub(in crate::realtime) data: Option<&'a str>,
}

/// What became of the wish to go on from a position.
#[derive(Clone, Copy, Debug)]
pub(in crate::realtime) enum Recovered<'a> {
    /// There was none.
    NotAsked,
    /// All that came after the offset that was asked for.
    All(u64, &'a [Arc<Publication>]),
    /// The newest publication, asked for or not.
    Newest(bool, &'a [Arc<Publication>]),
    /// There was a gap.
    Gap,
}

impl<'a> Recovered<'a> {
    const fn publications(self) -> &'a [Arc<Publication>] {
        match self {
            Self::All(_, publications) | Self::Newest(_, publications) => publications,
            Self::NotAsked | Self::Gap => &[],
        }
    }
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde hands a reference in"
)]
const fn is_false(value: &bool) -> bool {
    !*value
}

fn reply(id: u32, name: &str, result: &impl Serialize) -> Vec<u8> {
    // These types always serialise.
    let result = serde_json::to_vec(result).unwrap_or_default();
    raw_reply(id, name, &result)
}

fn raw_reply(id: u32, name: &str, result: &[u8]) -> Vec<u8> {
    let mut json = format!("{{\"id\":{id},\"{name}\":").into_bytes();
    json.extend_from_slice(result);
    json.push(b'}');
    json
}

/// The reply to a connect command, with the results of the subscriptions that came with it.
pub(in crate::realtime) fn connected(
    id: u32,
    connected: &Connected,
    subscriptions: &[(Arc<str>, Vec<u8>)],
) -> Vec<u8> {
    #[derive(Serialize)]
    struct Result<'a> {
        client: &'a str,
        version: &'static str,
        #[serde(skip_serializing_if = "is_false")]
        expires: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        ttl: Option<u64>,
        ping: u64,
        pong: bool,
    }
    let mut json = reply(
        id,
        "connect",
        &Result {
            client: &connected.client,
            version: concat!("sidewire ", env!("CARGO_PKG_VERSION")),
            expires: connected.ttl.is_some(),
            ttl: connected.ttl,
            ping: connected.ping,
            pong: true,
        },
    );
    if !subscriptions.is_empty() {
        json.truncate(json.len() - "}}".len());
        for (n, (channel, result)) in subscriptions.iter().enumerate() {
            json.extend_from_slice(if n == 0 { b",\"subs\":{" } else { b"," });
            write_string(&mut json, channel);
            json.push(b':');
            json.extend_from_slice(result);
        }
        json.extend_from_slice(b"}}}");
    }
    json
}

/// The reply to a subscribe command.
pub(in crate::realtime) fn subscribed(id: u32, result: &[u8]) -> Vec<u8> {
    raw_reply(id, "subscribe", result)
}

impl Subscribed<'_> {
    /// The result, as replies and pushes hold it.
    pub(in crate::realtime) fn result(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Result {
            #[serde(skip_serializing_if = "is_false")]
            expires: bool,
            #[serde(skip_serializing_if = "Option::is_none")]
            ttl: Option<u64>,
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
        let (offset, was_recovering, recovered) = match self.recovery {
            // The SDK counts on from the publications that follow.
            Recovered::All(asked, _) => (asked, true, true),
            Recovered::Newest(asked, _) => (self.position.offset, asked, asked),
            Recovered::Gap => (self.position.offset, true, false),
            Recovered::NotAsked => (self.position.offset, false, false),
        };
        let result = Result {
            expires: self.ttl.is_some(),
            ttl: self.ttl,
            recoverable: self.recoverable,
            positioned: true,
            epoch: self.position.epoch.to_string(),
            offset,
            was_recovering,
            recovered,
        };
        let mut json = serde_json::to_vec(&result).unwrap_or_default();
        // Never empty so far: `positioned` is always there.
        json.pop();
        if let Some(data) = self.data {
            json.extend_from_slice(b",\"data\":");
            json.extend_from_slice(data.as_bytes());
        }
        let publications = self.recovery.publications();
        if !publications.is_empty() {
            json.push(b',');
            write_publications(&mut json, publications);
        }
        json.push(b'}');
        json
    }
}

/// Written past the serialiser: what is JSON already is neither read nor copied again.
fn write_publications(json: &mut Vec<u8>, publications: &[Arc<Publication>]) {
    json.extend_from_slice(b"\"publications\":[");
    for (n, publication) in publications.iter().enumerate() {
        if n > 0 {
            json.push(b',');
        }
        write_publication(json, publication, false);
    }
    json.push(b']');
}

/// What `publications` weigh in a reply, roughly and never less.
pub(in crate::realtime) fn weight(publications: &[Arc<Publication>]) -> usize {
    publications.iter().map(|p| p.size() + 96).sum()
}

pub(in crate::realtime) fn unsubscribed(id: u32) -> Vec<u8> {
    raw_reply(id, "unsubscribe", b"{}")
}

pub(in crate::realtime) fn published(id: u32) -> Vec<u8> {
    raw_reply(id, "publish", b"{}")
}

pub(in crate::realtime) fn ponged(id: u32) -> Vec<u8> {
    raw_reply(id, "ping", b"{}")
}

/// The reply to a refresh command.
pub(in crate::realtime) fn refreshed(id: u32, client: &str, ttl: u64) -> Vec<u8> {
    #[derive(Serialize)]
    struct Result<'a> {
        client: &'a str,
        version: &'static str,
        expires: bool,
        ttl: u64,
    }
    let result = Result {
        client,
        version: concat!("sidewire ", env!("CARGO_PKG_VERSION")),
        expires: true,
        ttl,
    };
    reply(id, "refresh", &result)
}

/// The reply to a sub_refresh command.
pub(in crate::realtime) fn subscription_refreshed(id: u32, ttl: u64) -> Vec<u8> {
    let result = format!("{{\"expires\":true,\"ttl\":{ttl}}}");
    raw_reply(id, "sub_refresh", result.as_bytes())
}

/// The reply to a presence command: `members` are pairs of client id and the JSON of who it is.
pub(in crate::realtime) fn presence(id: u32, members: &[(String, Arc<str>)]) -> Vec<u8> {
    let mut json = format!("{{\"id\":{id},\"presence\":{{\"presence\":{{").into_bytes();
    for (n, (client, info)) in members.iter().enumerate() {
        if n > 0 {
            json.push(b',');
        }
        write_string(&mut json, client);
        json.push(b':');
        json.extend_from_slice(info.as_bytes());
    }
    json.extend_from_slice(b"}}}");
    json
}

/// The reply to a presence_stats command.
pub(in crate::realtime) fn presence_stats(id: u32, clients: usize, users: usize) -> Vec<u8> {
    let result = format!("{{\"num_clients\":{clients},\"num_users\":{users}}}");
    raw_reply(id, "presence_stats", result.as_bytes())
}

/// The reply to a history command.
pub(in crate::realtime) fn history(
    id: u32,
    position: Position,
    publications: &[Arc<Publication>],
) -> Vec<u8> {
    let mut json = format!("{{\"id\":{id},\"history\":{{").into_bytes();
    write_publications(&mut json, publications);
    let (epoch, offset) = (position.epoch, position.offset);
    let end = format!(",\"epoch\":\"{epoch}\",\"offset\":{offset}}}}}");
    json.extend_from_slice(end.as_bytes());
    json
}

pub(in crate::realtime) fn refused(id: u32, error: ErrorCode) -> Vec<u8> {
    #[derive(Serialize)]
    struct Error {
        code: u32,
        message: &'static str,
        #[serde(skip_serializing_if = "is_false")]
        temporary: bool,
    }
    let (code, message) = error.parts();
    let temporary = error == ErrorCode::Internal;
    let error = Error {
        code,
        message,
        temporary,
    };
    reply(id, "error", &error)
}

/// `ClientInfo`: what others are told of a client.
pub(in crate::realtime) fn client_info(
    user: &str,
    client: &str,
    connection: Option<&str>,
    channel: Option<&str>,
) -> Arc<str> {
    #[derive(Serialize)]
    struct Info<'a> {
        user: &'a str,
        client: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        conn_info: Option<&'a RawValue>,
        #[serde(skip_serializing_if = "Option::is_none")]
        chan_info: Option<&'a RawValue>,
    }
    // Both were JSON when the token was read.
    let info = Info {
        user,
        client,
        conn_info: connection.and_then(|json| serde_json::from_str(json).ok()),
        chan_info: channel.and_then(|json| serde_json::from_str(json).ok()),
    };
    serde_json::to_string(&info).unwrap_or_default().into()
}
