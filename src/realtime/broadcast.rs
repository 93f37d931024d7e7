//! A message of a channel on its way to all who follow it: encoded once for each kind of client,
//! by whoever needs it first.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use super::{frame, kind::Kind, protocol};
use crate::{
    broker::{ChannelName, Epoch, Publication},
    config::{Backlog, Namespace},
};

/// A message of a channel.
#[derive(Debug)]
pub(super) struct Broadcast {
    pub(super) channel: ChannelName,
    pub(super) body: Body,
    /// The life of the channel that it belongs to.
    pub(super) epoch: Epoch,
    conflates: bool,
    protocol: OnceLock<Bytes>,
    conflated: OnceLock<Bytes>,
    plain: OnceLock<Bytes>,
    event_stream: OnceLock<Bytes>,
}

/// What it says.
#[derive(Debug)]
pub(super) enum Body {
    Publication(Arc<Publication>),
    /// Someone has subscribed; the JSON of who.
    Join(Arc<str>),
    /// Someone has left; the JSON of who.
    Leave(Arc<str>),
}

impl Broadcast {
    pub(super) fn publication(
        channel: ChannelName,
        epoch: Epoch,
        publication: Arc<Publication>,
        namespace: &Namespace,
    ) -> Self {
        // One outside the stream must not stand for one that a recovery would bring again.
        let conflates = matches!(namespace.backlog, Backlog::Conflate) && publication.offset > 0;
        Self::new(channel, epoch, Body::Publication(publication), conflates)
    }

    pub(super) const fn announcement(channel: ChannelName, epoch: Epoch, body: Body) -> Self {
        Self::new(channel, epoch, body, false)
    }

    const fn new(channel: ChannelName, epoch: Epoch, body: Body, conflates: bool) -> Self {
        Self {
            channel,
            body,
            epoch,
            conflates,
            protocol: OnceLock::new(),
            conflated: OnceLock::new(),
            plain: OnceLock::new(),
            event_stream: OnceLock::new(),
        }
    }

    /// Whether only the newest of its key may wait for a slow browser.
    pub(super) const fn conflates(&self) -> bool {
        self.conflates
    }

    /// What it is the state of: two with the same key tell of the same thing.
    pub(super) fn key(&self) -> Option<&str> {
        match &self.body {
            Body::Publication(publication) => publication.key.as_deref(),
            Body::Join(_) | Body::Leave(_) => None,
        }
    }

    /// The bytes for clients of `kind`, shared by all of them.
    pub(super) fn encoded(&self, kind: Kind) -> &Bytes {
        match kind {
            Kind::Protocol => self.protocol.get_or_init(|| frame::text(&self.push(false))),
            Kind::Plain => self.plain.get_or_init(|| frame::text(self.data())),
            Kind::EventStream => self.event_stream.get_or_init(|| self.event(None)),
        }
    }

    /// As [`Broadcast::encoded`], for a browser that was spared earlier ones of the same key: who
    /// speaks the protocol is told so by the tag `conflated`.
    pub(super) fn encoded_conflated(&self, kind: Kind) -> &Bytes {
        match kind {
            Kind::Protocol => self.conflated.get_or_init(|| frame::text(&self.push(true))),
            Kind::Plain | Kind::EventStream => self.encoded(kind),
        }
    }

    /// A server-sent event, whose `id` is `positions` or, without them, that of this channel alone.
    /// What has no place in the channel has no id then: the browser keeps the last one.
    pub(super) fn event(&self, positions: Option<&str>) -> Bytes {
        let own;
        let id = match (positions, &self.body) {
            (Some(positions), _) => positions,
            (None, Body::Publication(publication)) if publication.offset > 0 => {
                own = super::positions::one(&self.channel.name, self.epoch, publication.offset);
                &own
            }
            (None, _) => return self.event_without_id(),
        };
        [b"id: ", id.as_bytes(), b"\ndata: ", self.data(), b"\n\n"]
            .concat()
            .into()
    }

    /// A server-sent event at which the browser's position stays as it was.
    pub(super) fn event_without_id(&self) -> Bytes {
        [b"data: ", self.data(), b"\n\n"].concat().into()
    }

    fn data(&self) -> &[u8] {
        match &self.body {
            Body::Publication(publication) => &publication.data,
            Body::Join(_) | Body::Leave(_) => &[],
        }
    }

    fn push(&self, conflated: bool) -> Vec<u8> {
        let channel = &self.channel.name;
        match &self.body {
            Body::Publication(publication) => {
                protocol::publication_push(channel, publication, conflated)
            }
            Body::Join(info) => protocol::join_push(channel, info),
            Body::Leave(info) => protocol::leave_push(channel, info),
        }
    }
}
