//! One message on its way to one connection: its bytes, and what they belong to.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    broadcast::Broadcast,
    frame,
    kind::Kind,
    protocol::{self, Connected, ErrorCode},
};

/// What is handed to a connection.
#[derive(Clone, Debug)]
pub(super) enum Item {
    /// Bytes for this connection alone.
    Own(Bytes),
    /// A publication, or word of who comes and goes, shared by all who get it.
    Shared(Arc<Broadcast>),
    /// The same after others of its key were skipped.
    Conflated(Arc<Broadcast>),
    /// A publication in bytes for this connection alone.
    Marked(Bytes, Arc<Broadcast>),
    /// The reply to a command, with something of a channel in it.
    Reply(Box<Reply>),
    /// The reply to a connect command that subscribed to channels.
    Connected(Box<ConnectReply>),
    /// A push to this connection alone that holds something of a channel.
    Push(Bytes, Arc<str>),
    /// Panics when it is looked at.
    #[cfg(test)]
    Bomb,
}

/// A reply that holds a channel's publications, or who is there.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) bytes: Bytes,
    pub(super) id: u32,
    pub(super) channel: Arc<str>,
}

/// A connect reply, with what it is made of: one of its channels may yet be taken out.
#[derive(Clone, Debug)]
pub(super) struct ConnectReply {
    bytes: Bytes,
    id: u32,
    connected: Connected,
    subscriptions: Vec<(Arc<str>, Vec<u8>)>,
}

impl ConnectReply {
    /// `subscriptions`: the results of those that came with it, by channel.
    pub(super) fn new(
        id: u32,
        connected: Connected,
        subscriptions: Vec<(Arc<str>, Vec<u8>)>,
    ) -> Self {
        let bytes = frame::text(&protocol::connected(id, &connected, &subscriptions));
        Self {
            bytes,
            id,
            connected,
            subscriptions,
        }
    }

    fn without(self, channel: &str) -> Self {
        let mut subscriptions = self.subscriptions;
        subscriptions.retain(|(name, _)| **name != *channel);
        Self::new(self.id, self.connected, subscriptions)
    }
}

impl Item {
    /// The bytes for a connection of `kind`.
    pub(super) fn bytes(&self, kind: Kind) -> &Bytes {
        match self {
            Self::Own(bytes) | Self::Marked(bytes, _) | Self::Push(bytes, _) => bytes,
            Self::Shared(broadcast) => broadcast.encoded(kind),
            Self::Conflated(broadcast) => broadcast.encoded_conflated(kind),
            Self::Reply(reply) => &reply.bytes,
            Self::Connected(reply) => &reply.bytes,
            #[cfg(test)]
            Self::Bomb => panic!("a fault of ours"),
        }
    }

    /// Whether something of `channel` is in it.
    fn is_of(&self, channel: &str) -> bool {
        match self {
            Self::Own(_) => false,
            Self::Shared(broadcast) | Self::Conflated(broadcast) | Self::Marked(_, broadcast) => {
                *broadcast.channel.name == *channel
            }
            Self::Reply(reply) => *reply.channel == *channel,
            Self::Connected(reply) => {
                let mut names = reply.subscriptions.iter().map(|(name, _)| name);
                names.any(|name| **name == *channel)
            }
            Self::Push(_, name) => **name == *channel,
            #[cfg(test)]
            Self::Bomb => false,
        }
    }

    /// Its publication, where a newer one of the same key makes it pointless.
    pub(super) fn conflates(&self) -> Option<&Arc<Broadcast>> {
        match self {
            Self::Shared(broadcast) | Self::Conflated(broadcast) if broadcast.conflates() => {
                Some(broadcast)
            }
            _ => None,
        }
    }

    /// What is left of it once its channel is forbidden: a connect reply without the channel, a
    /// refusal in place of another reply, nothing of a publication or push.
    pub(super) fn without(self, channel: &str) -> Option<Self> {
        if !self.is_of(channel) {
            return Some(self);
        }
        match self {
            Self::Reply(reply) => {
                let refusal = protocol::refused(reply.id, ErrorCode::PermissionDenied);
                Some(Self::Own(frame::text(&refusal)))
            }
            Self::Connected(reply) => Some(Self::Connected(Box::new(reply.without(channel)))),
            _ => None,
        }
    }
}
