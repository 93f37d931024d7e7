//! The way from a publication to the shards, and from a connection to its shard.
//!
//! Order comes from the broker's lock: every shard concerned gets a channel's publications in the
//! order of their offsets, since room for them was reserved before the lock was taken.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use arc_swap::ArcSwap;
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{
    broadcast::{Body, Broadcast},
    channel::{Known, Rules},
    clock::Clock,
    connection::Connection,
    presence::{Member, Presence},
    protocol::{self, Connected},
    quota::Quota,
    tally::Tally,
    users::Users,
};
use crate::{
    broker::{
        ChannelName, Draft, HistoryFilter, KeysFull, Published, Since, SiteId, memory::Memory,
    },
    config::{self, Namespace},
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
    /// A connection has told who it is: answer, with what its token subscribes it to.
    Connect(Box<Connect>),
    /// A connection wants to follow a channel.
    Subscribe(Box<Subscription>),
    /// A plain stream wants to follow the channels of its address, all at once: the positions that
    /// it is told are of all of them.
    Address(Vec<Subscription>),
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
    /// A connection asks about a channel.
    Ask(Box<Inquiry>),
}

/// What a shard is told past its mailbox.
#[derive(Debug)]
pub(super) enum Control {
    /// A connection has ended.
    Leave(Arc<Connection>),
    /// Someone has come or gone.
    Announce(Arc<Broadcast>),
    /// The server's side has a connection follow a channel.
    Subscribe(Box<Subscription>),
    /// The server's side ends subscriptions: the channel was forbidden to the connection.
    Unsubscribe {
        connection: Arc<Connection>,
        channel: Arc<str>,
        ending: Ending,
    },
    /// A subscription's token has ended and was not renewed.
    Expire {
        connection: Arc<Connection>,
        channel: Arc<str>,
    },
    /// The server's side ends every subscription to a channel; it is told once nothing of the
    /// channel leaves any more.
    Clear {
        channel: ChannelName,
        ending: Ending,
        cleared: oneshot::Sender<()>,
    },
    /// How many follow each channel of a site.
    Count {
        site: SiteId,
        counts: oneshot::Sender<Vec<(Arc<str>, usize)>>,
    },
    /// Close what is due of the connections when `left` batches are left with this one, and every
    /// one that still comes.
    Stop { left: usize },
}

/// The protocol's code and reason for the end of a subscription: below 2500 it is for good.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Ending {
    pub(super) code: u32,
    pub(super) reason: Box<str>,
}

/// A connect command that held.
#[derive(Debug)]
pub(super) struct Connect {
    pub(super) connection: Arc<Connection>,
    pub(super) id: u32,
    pub(super) reply: Connected,
    pub(super) subscriptions: Vec<Subscription>,
}

/// A wish to follow a channel, checked against the rules.
#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) connection: Arc<Connection>,
    pub(super) channel: ChannelName,
    pub(super) namespace: Arc<Namespace>,
    pub(super) since: Option<Since>,
    /// Whether a gap is answered with an error.
    pub(super) strict: bool,
    /// Whether it wants to be told who comes and goes.
    pub(super) join_leave: bool,
    /// What others are told of it in this channel, as JSON.
    pub(super) info: Option<Box<str>>,
    /// What the client is handed with the subscription, as JSON.
    pub(super) data: Option<Box<str>>,
    /// When the token was issued that permits it; `None` where the channel is open to anyone.
    pub(super) issued: Option<u64>,
    /// Seconds for which the token holds.
    pub(super) ttl: Option<u64>,
    pub(super) origin: Origin,
}

/// Who wants a subscription, and so how it is answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Origin {
    /// A command of the client, with its id.
    Command(u32),
    /// The client's token: answered within the reply to its connect command.
    Connect,
    /// The publish API: told by a push.
    Server,
    /// The address of a plain stream: not answered; whether a gap is told.
    Address { gaps: bool },
}

/// A question about a channel that a subscriber may ask.
#[derive(Debug)]
pub(super) struct Inquiry {
    pub(super) connection: Arc<Connection>,
    pub(super) id: u32,
    pub(super) channel: ChannelName,
    pub(super) namespace: Arc<Namespace>,
    pub(super) question: Question,
}

#[derive(Debug)]
pub(super) enum Question {
    Presence,
    PresenceStats,
    History(HistoryFilter),
    /// Whether the asking connection follows the channel.
    Subscribed(oneshot::Sender<bool>),
}

/// The shards' mailboxes and what all connections share.
#[derive(Debug)]
pub(super) struct Hub {
    shards: Box<[Mailbox]>,
    next: AtomicUsize,
    pub(super) config: Arc<config::Realtime>,
    pub(super) broker: Arc<Memory>,
    rules: ArcSwap<Box<[Arc<Rules>]>>,
    users: Box<[Users]>,
    tallies: Box<[Tally]>,
    pub(super) presence: Presence,
    pub(super) quota: Quota,
    pub(super) clock: Clock,
    /// When it was made.
    pub(super) began: Instant,
}

#[derive(Debug)]
pub(super) struct Mailbox {
    pub(super) mail: mpsc::Sender<Mail>,
    pub(super) control: mpsc::UnboundedSender<Control>,
}

/// Why a command of the server's side was not carried out.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refused {
    /// The name is no channel name.
    #[error("not a channel name")]
    BadName,
    /// No namespace of the site has the name's prefix.
    #[error("unknown channel")]
    UnknownChannel,
    /// The channel's namespace does not offer this.
    #[error("not available in the namespace of this channel")]
    NotAvailable,
    /// What is asked for can't be told from this position on.
    #[error("unrecoverable position")]
    Unrecoverable,
    /// As many revocations are in force as may be.
    #[error("realtime.revocations_max is reached: try again later, or raise it")]
    RevocationsFull,
    /// More publications are remembered by their idempotency keys than may be.
    #[error(transparent)]
    KeysFull(#[from] KeysFull),
    /// The hub has stopped.
    #[error("stopping")]
    Stopping,
}

impl Hub {
    pub(super) fn new(
        config: Arc<config::Realtime>,
        shards: Box<[Mailbox]>,
        broker: Arc<Memory>,
        rules: Box<[Arc<Rules>]>,
        clock: Clock,
    ) -> Self {
        Self {
            shards,
            next: AtomicUsize::new(0),
            broker,
            users: rules.iter().map(|_| Users::default()).collect(),
            tallies: rules.iter().map(|_| Tally::default()).collect(),
            rules: ArcSwap::from_pointee(rules),
            presence: Presence::default(),
            quota: Quota::new(config.subscriptions_max),
            config,
            clock,
            began: Instant::now(),
        }
    }

    pub(super) fn rules(&self, site: SiteId) -> Option<Arc<Rules>> {
        self.rules.load().get(site.0).map(Arc::clone)
    }

    /// Has other rules hold from now on; subscriptions that are there keep theirs.
    pub(super) fn set_rules(&self, rules: Box<[Arc<Rules>]>) {
        self.rules.store(Arc::new(rules));
    }

    pub(super) fn users(&self, site: SiteId) -> Option<&Users> {
        self.users.get(site.0)
    }

    pub(super) fn all_users(&self) -> impl Iterator<Item = &Users> {
        self.users.iter()
    }

    pub(super) fn tally(&self, site: SiteId) -> Option<&Tally> {
        self.tallies.get(site.0)
    }

    pub(super) const fn shards(&self) -> &[Mailbox] {
        &self.shards
    }

    /// The shard for the next connection.
    pub(super) fn next_shard(&self) -> usize {
        self.next.fetch_add(1, Ordering::Relaxed) % self.shards.len().max(1)
    }

    /// The channel called `name`, for the server's side, which may do everything.
    pub(super) fn find(&self, site: SiteId, name: &str) -> Result<Known, Refused> {
        let rules = self.rules(site).ok_or(Refused::UnknownChannel)?;
        rules.find(name).map_err(|error| match error {
            protocol::ErrorCode::UnknownChannel => Refused::UnknownChannel,
            _ => Refused::BadName,
        })
    }

    /// Orders a publication and hands it to the shards that have subscribers. Waits for room in
    /// their mailboxes, never for a browser.
    pub(super) async fn publish(&self, known: &Known, draft: Draft) -> Result<Published, Refused> {
        let mut room = Vec::with_capacity(self.shards.len());
        for shard in &self.shards {
            let permit = shard.mail.reserve().await.map_err(|_| Refused::Stopping)?;
            room.push(Some(permit));
        }
        let Known { name, namespace } = known;
        let published = self.broker.publish(
            name,
            draft,
            known.history(),
            |shards, epoch, publication| {
                if shards.is_empty() {
                    return;
                }
                let publication = Arc::clone(publication);
                let broadcast = Broadcast::publication(name.clone(), epoch, publication, namespace);
                let broadcast = Arc::new(broadcast);
                for (shard, permit) in room.iter_mut().enumerate() {
                    if let Some(permit) = permit.take_if(|_| shards.contains(shard)) {
                        permit.send(Mail::Broadcast(Arc::clone(&broadcast)));
                    }
                }
            },
        );
        let published = published?;
        if let Some(tally) = self.tally(name.site) {
            tally.published(&published);
        }
        Ok(published)
    }

    /// Sends `mail` to shard number `shard`; waits for room. `false` once the shard has stopped.
    pub(super) async fn mail(&self, shard: usize, mail: Mail) -> bool {
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

    /// Tells shard number `shard` something past its mailbox.
    pub(super) fn control(&self, shard: usize, control: Control) {
        if let Some(shard) = self.shards.get(shard) {
            // A shard that has stopped has ended everything already.
            let _ = shard.control.send(control);
        }
    }

    /// Tells everyone in a channel that someone has come or gone.
    pub(super) fn announce(&self, channel: &ChannelName, body: fn(Arc<str>) -> Body, who: &Member) {
        let epoch = self.broker.position(channel).epoch;
        let body = body(Arc::clone(&who.info));
        let broadcast = Arc::new(Broadcast::announcement(channel.clone(), epoch, body));
        for shard in 0..self.shards.len() {
            self.control(shard, Control::Announce(Arc::clone(&broadcast)));
        }
    }

    /// Announces, for ever, those whose grace period is over.
    pub(super) async fn announce_leaves(&self) {
        loop {
            let (channel, member) = self.presence.next_left().await;
            self.announce(&channel, Body::Leave, &member);
        }
    }

    /// Counts `connection` as begun; what tells the shard, when dropped, that it has ended.
    pub(super) fn leave(self: &Arc<Self>, connection: &Arc<Connection>) -> Leave {
        if let Some(tally) = self.tally(connection.site) {
            tally.begun();
        }
        Leave {
            hub: Arc::clone(self),
            connection: Arc::clone(connection),
        }
    }

    /// Has every shard close its connections, or a batch of them while more batches are `left`.
    pub(super) fn stop(&self, left: usize) {
        for shard in 0..self.shards.len() {
            self.control(shard, Control::Stop { left });
        }
    }
}

/// Tells the shard, when dropped, that a connection has ended, whatever ended it.
#[derive(Debug)]
pub(super) struct Leave {
    hub: Arc<Hub>,
    connection: Arc<Connection>,
}

impl Drop for Leave {
    fn drop(&mut self) {
        let connection = &self.connection;
        // Marked first: the join may still be in the mailbox.
        connection.mark_left();
        if let Some(users) = self.hub.users(connection.site) {
            users.leave(connection);
        }
        if let Some(tally) = self.hub.tally(connection.site) {
            tally.ended();
        }
        let control = Control::Leave(Arc::clone(connection));
        self.hub.control(connection.shard, control);
    }
}
