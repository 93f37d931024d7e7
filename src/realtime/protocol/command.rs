//! Commands as they stand on the wire. Fields that we don't know are passed over, as the protocol
//! asks.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Deserialize, de::IgnoredAny};
use serde_json::value::RawValue;

use super::reply::ErrorCode;

/// One command.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::realtime) struct Command<'a> {
    pub(in crate::realtime) id: u32,
    #[serde(borrow)]
    connect: Option<Connect<'a>>,
    #[serde(borrow)]
    subscribe: Option<Subscribe<'a>>,
    #[serde(borrow)]
    unsubscribe: Option<Channel<'a>>,
    #[serde(borrow)]
    publish: Option<Publish<'a>>,
    #[serde(borrow)]
    presence: Option<Channel<'a>>,
    #[serde(borrow)]
    presence_stats: Option<Channel<'a>>,
    #[serde(borrow)]
    history: Option<History<'a>>,
    #[serde(borrow)]
    refresh: Option<Refresh<'a>>,
    #[serde(borrow)]
    sub_refresh: Option<SubRefresh<'a>>,
    ping: Option<IgnoredAny>,
    send: Option<IgnoredAny>,
    rpc: Option<IgnoredAny>,
}

/// The first command of a connection.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::realtime) struct Connect<'a> {
    #[serde(borrow)]
    pub(in crate::realtime) token: Cow<'a, str>,
    /// From where server-side subscriptions are to go on.
    #[serde(borrow)]
    pub(in crate::realtime) subs: BTreeMap<Cow<'a, str>, SubscriptionRequest<'a>>,
}

/// From where a subscription is to go on.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::realtime) struct SubscriptionRequest<'a> {
    pub(in crate::realtime) recover: bool,
    pub(in crate::realtime) offset: u64,
    #[serde(borrow)]
    pub(in crate::realtime) epoch: Cow<'a, str>,
}

/// The escapes of JSON are rare in these, so they are borrowed where they can be.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::realtime) struct Subscribe<'a> {
    #[serde(borrow)]
    pub(in crate::realtime) channel: Cow<'a, str>,
    #[serde(borrow)]
    pub(in crate::realtime) token: Cow<'a, str>,
    pub(in crate::realtime) recover: bool,
    pub(in crate::realtime) offset: u64,
    #[serde(borrow)]
    pub(in crate::realtime) epoch: Cow<'a, str>,
    pub(in crate::realtime) flag: u64,
    pub(in crate::realtime) join_leave: bool,
    #[serde(rename = "type")]
    pub(in crate::realtime) kind: u32,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::realtime) struct Channel<'a> {
    #[serde(borrow)]
    channel: Cow<'a, str>,
}

/// What a client publishes.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::realtime) struct Publish<'a> {
    #[serde(borrow)]
    channel: Cow<'a, str>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

/// Which part of a channel's history is wanted.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::realtime) struct History<'a> {
    #[serde(borrow)]
    pub(in crate::realtime) channel: Cow<'a, str>,
    /// Below 0: all; 0: the position alone.
    pub(in crate::realtime) limit: i64,
    #[serde(borrow)]
    pub(in crate::realtime) since: Option<Position<'a>>,
    pub(in crate::realtime) reverse: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::realtime) struct Position<'a> {
    pub(in crate::realtime) offset: u64,
    #[serde(borrow)]
    pub(in crate::realtime) epoch: Cow<'a, str>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::realtime) struct Refresh<'a> {
    #[serde(borrow)]
    token: Cow<'a, str>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(in crate::realtime) struct SubRefresh<'a> {
    #[serde(borrow)]
    channel: Cow<'a, str>,
    #[serde(borrow)]
    token: Cow<'a, str>,
}

/// What a command asks for.
#[derive(Debug)]
pub(in crate::realtime) enum Request<'a> {
    /// The answer to our ping: an empty object.
    Pong,
    Connect(Connect<'a>),
    Subscribe(Subscribe<'a>),
    Unsubscribe(Cow<'a, str>),
    /// Data for a channel; without data it is a bad request.
    Publish(Cow<'a, str>, Option<&'a RawValue>),
    Presence(Cow<'a, str>),
    PresenceStats(Cow<'a, str>),
    History(History<'a>),
    /// Another token for the connection.
    Refresh(Cow<'a, str>),
    /// Another token for a subscription.
    SubRefresh(Cow<'a, str>, Cow<'a, str>),
    Ping,
    /// A message that wants no reply.
    Send,
    /// A command that is answered with an error.
    Refused(ErrorCode),
}

impl<'a> Command<'a> {
    pub(in crate::realtime) fn request(self) -> Request<'a> {
        let Self {
            connect,
            subscribe,
            unsubscribe,
            publish,
            ..
        } = self;
        let first = connect.map(Request::Connect);
        let first = first.or_else(|| subscribe.map(Request::Subscribe));
        let first = first.or_else(|| unsubscribe.map(|c| Request::Unsubscribe(c.channel)));
        let first = first.or_else(|| publish.map(|p| Request::Publish(p.channel, p.data)));
        let Self {
            presence,
            presence_stats,
            history,
            refresh,
            sub_refresh,
            ..
        } = self;
        let next = first.or_else(|| presence.map(|c| Request::Presence(c.channel)));
        let next = next.or_else(|| presence_stats.map(|c| Request::PresenceStats(c.channel)));
        let next = next.or_else(|| history.map(Request::History));
        let next = next.or_else(|| refresh.map(|refresh| Request::Refresh(refresh.token)));
        let next = next.or_else(|| sub_refresh.map(|s| Request::SubRefresh(s.channel, s.token)));
        next.unwrap_or(match (self.ping, self.send, self.rpc, self.id) {
            (Some(_), ..) => Request::Ping,
            (_, Some(_), ..) => Request::Send,
            (_, _, Some(_), _) => Request::Refused(ErrorCode::NotAvailable),
            (_, _, _, 0) => Request::Pong,
            _ => Request::Refused(ErrorCode::MethodNotFound),
        })
    }
}

/// The commands of one message: JSON objects, one after the other.
pub(in crate::realtime) fn commands(
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
