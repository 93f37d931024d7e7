//! One message on its way to one connection: its bytes, and what they belong to.

use std::sync::Arc;

use bytes::Bytes;

use super::{broadcast::Broadcast, frame, kind::Kind, protocol};

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
    /// The reply to a command, with publications of a channel in it.
    Reply(Box<Reply>),
    /// Panics when it is looked at.
    #[cfg(test)]
    Bomb,
}

/// A reply that holds a channel's publications.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) bytes: Bytes,
    pub(super) id: u32,
    pub(super) channel: Arc<str>,
}

impl Item {
    /// The bytes for a connection of `kind`.
    pub(super) fn bytes(&self, kind: Kind) -> &Bytes {
        match self {
            Self::Own(bytes) | Self::Marked(bytes, _) => bytes,
            Self::Shared(broadcast) => broadcast.encoded(kind),
            Self::Conflated(broadcast) => broadcast.encoded_conflated(kind),
            Self::Reply(reply) => &reply.bytes,
            #[cfg(test)]
            Self::Bomb => panic!("a fault of ours"),
        }
    }

    /// The channel that it is of, if any.
    pub(super) fn channel(&self) -> Option<&str> {
        match self {
            Self::Own(_) => None,
            Self::Shared(broadcast) | Self::Conflated(broadcast) | Self::Marked(_, broadcast) => {
                Some(&broadcast.channel.name)
            }
            Self::Reply(reply) => Some(&reply.channel),
            #[cfg(test)]
            Self::Bomb => None,
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

    /// What is left of it once its channel is forbidden: a reply becomes a refusal, a publication
    /// nothing.
    pub(super) fn without(self, channel: &str) -> Option<Self> {
        if self.channel() != Some(channel) {
            return Some(self);
        }
        match self {
            Self::Reply(reply) => {
                let refusal = protocol::refused(reply.id, protocol::ErrorCode::PermissionDenied);
                Some(Self::Own(frame::text(&refusal)))
            }
            _ => None,
        }
    }
}
