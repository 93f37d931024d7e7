//! The way from a publication to the shards, and from a connection to its shard.
//!
//! Order comes from the broker's lock: every shard concerned gets a channel's publications in the
//! order of their offsets, since room for them was reserved before the lock was taken.

use std::sync::{
    Arc, OnceLock,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::{channel::Rules, connection::Connection, frame, kind::Kind, protocol};
use crate::broker::{
    ChannelName, Draft, History, KeysFull, Publication, Published, Since, SiteId, memory::Memory,
};

/// Mails that may wait for one shard; whoever sends more waits.
pub(super) const MAILBOX: usize = 4_096;

/// What a shard is asked to do, in order.
#[derive(Debug)]
pub(super) enum Mail {
    /// A publication of a channel that the shard follows.
    Broadcast(Arc<Broadcast>),
    /// A connection begins.
    Join(Arc<Connection>),
    /// A connection wants to follow a channel.
    Subscribe(Subscription),
    /// A reply that needs nothing of the shard but its place among the others.
    Say {
        connection: Arc<Connection>,
        json: Vec<u8>,
    },
    /// A connection no longer follows a channel.
    Unsubscribe {
        connection: Arc<Connection>,
        id: u32,
        channel: Arc<str>,
    },
}

/// What a shard is told past its mailbox.
#[derive(Debug)]
pub(super) enum Control {
    /// A connection has ended.
    Leave(Arc<Connection>),
    /// Close every connection, and every one that still comes.
    Stop,
}

/// A wish to follow a channel, checked against the rules.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) connection: Arc<Connection>,
    /// The command to answer; 0 for a plain stream, which gets no answer.
    pub(super) id: u32,
    pub(super) channel: ChannelName,
    pub(super) history: History,
    pub(super) since: Option<Since>,
    /// Whether a gap is answered with an error.
    pub(super) strict: bool,
}

/// A publication on its way to every subscriber: encoded once per kind, by whoever needs it first.
#[derive(Debug)]
pub(super) struct Broadcast {
    pub(super) channel: ChannelName,
    pub(super) publication: Arc<Publication>,
    protocol: OnceLock<Bytes>,
    plain: OnceLock<Bytes>,
    event_stream: OnceLock<Bytes>,
}

impl Broadcast {
    fn new(channel: ChannelName, publication: Arc<Publication>) -> Self {
        Self {
            channel,
            publication,
            protocol: OnceLock::new(),
            plain: OnceLock::new(),
            event_stream: OnceLock::new(),
        }
    }

    /// The bytes for clients of `kind`, shared by all of them.
    pub(super) fn encoded(&self, kind: Kind) -> &Bytes {
        let data = &self.publication.data;
        match kind {
            Kind::Protocol => self.protocol.get_or_init(|| {
                let push = protocol::publication_push(&self.channel.name, &self.publication);
                frame::text(&push)
            }),
            Kind::Plain => self.plain.get_or_init(|| frame::text(data)),
            Kind::EventStream => self
                .event_stream
                .get_or_init(|| [b"data: ", &data[..], b"\n\n"].concat().into()),
        }
    }
}

/// The shards' mailboxes and the broker behind them.
#[derive(Debug)]
pub(super) struct Hub {
    shards: Box<[Mailbox]>,
    next: AtomicUsize,
    broker: Arc<Memory>,
    rules: Box<[Arc<Rules>]>,
}

#[derive(Debug)]
pub(super) struct Mailbox {
    pub(super) mail: mpsc::Sender<Mail>,
    pub(super) control: mpsc::UnboundedSender<Control>,
}

/// Why a publication was not made.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refused {
    /// The name is no channel name.
    #[error("not a channel name")]
    BadName,
    /// No namespace of the site has the name's prefix.
    #[error("unknown channel")]
    UnknownChannel,
    /// No further idempotency key can be remembered.
    #[error(transparent)]
    KeysFull(#[from] KeysFull),
    /// The hub has stopped.
    #[error("stopping")]
    Stopping,
}

impl Hub {
    pub(super) fn new(
        shards: Box<[Mailbox]>,
        broker: Arc<Memory>,
        rules: Box<[Arc<Rules>]>,
    ) -> Self {
        Self {
            shards,
            next: AtomicUsize::new(0),
            broker,
            rules,
        }
    }

    pub(super) fn rules(&self, site: SiteId) -> Option<&Arc<Rules>> {
        self.rules.get(site.0)
    }

    /// The shard for the next connection.
    pub(super) fn next_shard(&self) -> usize {
        self.next.fetch_add(1, Ordering::Relaxed) % self.shards.len().max(1)
    }

    /// Orders a publication and hands it to the shards that have subscribers. Waits for room in
    /// their mailboxes, never for a browser.
    pub(super) async fn publish(
        &self,
        site: SiteId,
        channel: &str,
        draft: Draft,
    ) -> Result<Published, Refused> {
        let rules = self.rules(site).ok_or(Refused::UnknownChannel)?;
        let known = rules.find(channel).map_err(|error| match error {
            protocol::ErrorCode::UnknownChannel => Refused::UnknownChannel,
            _ => Refused::BadName,
        })?;
        let mut room = Vec::with_capacity(self.shards.len());
        for shard in &self.shards {
            let permit = shard.mail.reserve().await.map_err(|_| Refused::Stopping)?;
            room.push(Some(permit));
        }
        let history = known.history();
        Ok(self
            .broker
            .publish(&known.name, draft, history, |shards, publication| {
                if shards.is_empty() {
                    return;
                }
                let broadcast = Broadcast::new(known.name.clone(), Arc::clone(publication));
                let broadcast = Arc::new(broadcast);
                for (shard, permit) in room.iter_mut().enumerate() {
                    if let Some(permit) = permit.take_if(|_| shards.contains(shard)) {
                        permit.send(Mail::Broadcast(Arc::clone(&broadcast)));
                    }
                }
            })?)
    }

    /// Sends `mail` to its connection's shard; waits for room. `false` once the shard has stopped.
    pub(super) async fn mail(&self, mail: Mail) -> bool {
        let shard = match &mail {
            Mail::Join(connection)
            | Mail::Say { connection, .. }
            | Mail::Unsubscribe { connection, .. } => connection.shard,
            Mail::Subscribe(subscription) => subscription.connection.shard,
            Mail::Broadcast(_) => return false,
        };
        match self.shards.get(shard) {
            Some(shard) => shard.mail.send(mail).await.is_ok(),
            None => false,
        }
    }

    /// As [`Hub::mail`], where waiting is not possible: `false` when there is no room.
    pub(super) fn try_mail(&self, shard: usize, mail: Mail) -> bool {
        let shard = self.shards.get(shard);
        shard.is_some_and(|shard| shard.mail.try_send(mail).is_ok())
    }

    /// What tells the shard, when dropped, that `connection` has ended.
    pub(super) fn leave(&self, connection: &Arc<Connection>) -> Leave {
        Leave {
            control: self.shards.get(connection.shard).map(|s| s.control.clone()),
            connection: Arc::clone(connection),
        }
    }

    /// Has every shard close its connections.
    pub(super) fn stop(&self) {
        for shard in &self.shards {
            let _ = shard.control.send(Control::Stop);
        }
    }
}

/// Tells the shard, when dropped, that a connection has ended, whatever ended it.
#[derive(Debug)]
pub(super) struct Leave {
    control: Option<mpsc::UnboundedSender<Control>>,
    connection: Arc<Connection>,
}

impl Drop for Leave {
    fn drop(&mut self) {
        // Marked first: the join may still be in the mailbox.
        self.connection.mark_left();
        if let Some(control) = &self.control {
            let _ = control.send(Control::Leave(Arc::clone(&self.connection)));
        }
    }
}
