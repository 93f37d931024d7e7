//! What a shard does about its subscriptions: begin them and end them.

use std::sync::{Arc, atomic::Ordering};

use slab::Slab;

use super::{
    api::Disconnect,
    broadcast::Body,
    channel::{history, recovery},
    close::Close,
    connection::Connection,
    frame,
    hub::{Connect, Ending, Origin, Subscription},
    item::{ConnectReply, Item, Reply},
    kind::Kind,
    presence::Member as Present,
    protocol::{self, ErrorCode, Recovered, Subscribed},
    shard::{Channel, Follows, Member, Shard},
};
use crate::{
    broker::{Bounds, ChannelName, Position, Publication, Snapshot},
    config,
};

/// A subscription that was made.
pub(super) struct Made {
    pub(super) position: Position,
    pub(super) recovered: Option<Vec<Arc<Publication>>>,
    /// Whether others are to be told who has come.
    joined: Option<Present>,
}

impl Shard {
    /// Registers, takes the snapshot and writes the reply, in one go: what is published after the
    /// snapshot follows the reply, and what was in it is not delivered again.
    pub(super) fn on_subscribe(&mut self, wish: &Subscription) {
        let slot = wish.connection.slot.load(Ordering::Relaxed);
        let Some(made) = self.subscribe(slot, wish) else {
            return;
        };
        match (wish.origin, made) {
            (Origin::Command(id), Err(error)) => self.say(slot, &protocol::refused(id, error)),
            (Origin::Command(id), Ok(made)) => {
                let json = protocol::subscribed(id, &made.result(wish));
                let weight = json.len();
                let bytes = frame::text(&json);
                let item = match made.recovered {
                    Some(publications) if !publications.is_empty() => {
                        let channel = Arc::clone(&wish.channel.name);
                        Item::Reply(Box::new(Reply { bytes, id, channel }))
                    }
                    _ => Item::Own(bytes),
                };
                self.say_item(slot, item, weight);
                self.announce(wish, made.joined.as_ref());
            }
            (Origin::Server | Origin::Connect, Ok(made)) => {
                let name = &wish.channel.name;
                let json = protocol::subscribe_push(name, &made.result(wish));
                let push = Item::Push(frame::text(&json), Arc::clone(name));
                self.say_item(slot, push, json.len());
                self.announce(wish, made.joined.as_ref());
            }
            (Origin::Address { gaps }, Ok(made)) => self.begin_stream(slot, wish, &made, gaps),
            // It was revoked since it was admitted, and a plain stream would wait in vain.
            (Origin::Address { .. }, Err(ErrorCode::PermissionDenied)) => {
                wish.connection.close(&Close::Expired);
            }
            // It is subscribed already, or not permitted any more.
            (Origin::Server | Origin::Connect | Origin::Address { .. }, Err(_)) => {}
        }
    }

    /// The server's side has a connection follow a channel: after the reply to its connect
    /// command, which may still be on its way here.
    pub(super) fn on_server_side(&mut self, wish: Subscription) {
        let browser = self
            .browsers
            .get(wish.connection.slot.load(Ordering::Relaxed));
        if browser.is_some_and(|browser| browser.begun) {
            self.on_subscribe(&wish);
        } else if !wish.connection.has_left() {
            self.early.push(wish);
        }
    }

    /// Answers a connect command, with what its token subscribes it to.
    pub(super) fn on_connect(&mut self, connect: &Connect) {
        let slot = connect.connection.slot.load(Ordering::Relaxed);
        let mut results = Vec::new();
        let mut joined = Vec::new();
        for wish in &connect.subscriptions {
            if let Some(Ok(made)) = self.subscribe(slot, wish) {
                results.push((Arc::clone(&wish.channel.name), made.result(wish)));
                joined.push((wish, made.joined));
            }
        }
        if let Some(browser) = self.browsers.get_mut(slot) {
            browser.begun = true;
        }
        let weight = results.iter().map(|(_, result)| result.len()).sum();
        let reply = ConnectReply::new(connect.id, connect.reply.clone(), results);
        self.say_item(slot, Item::Connected(Box::new(reply)), weight);
        for (wish, joined) in joined {
            self.announce(wish, joined.as_ref());
        }
        self.follow_early(&connect.connection);
    }

    /// Has a connection that has begun follow what the server's side wanted of it before.
    pub(super) fn follow_early(&mut self, connection: &Arc<Connection>) {
        let is_early = |wish: &mut Subscription| Arc::ptr_eq(&wish.connection, connection);
        let early: Vec<Subscription> = self.early.extract_if(.., is_early).collect();
        for wish in early {
            self.on_subscribe(&wish);
        }
    }

    /// `None` where the connection is gone.
    fn subscribe(&mut self, slot: usize, wish: &Subscription) -> Option<Result<Made, ErrorCode>> {
        let browser = self.browsers.get(slot)?;
        let known = self.names.get(&wish.channel).copied();
        let follows = &browser.follows;
        if known.is_some_and(|known| follows.iter().any(|f| f.channel == known)) {
            return Some(Err(ErrorCode::AlreadySubscribed));
        }
        if follows.len() >= self.hub.config.channels_per_connection_max {
            self.metrics.limited("channels_per_connection_max");
            return Some(Err(ErrorCode::LimitExceeded));
        }
        if !self.hub.quota.take_for(&wish.connection) {
            return Some(Err(ErrorCode::LimitExceeded));
        }
        let snapshot = self.snapshot(slot, wish);
        if wish.strict && wish.since.is_some() && snapshot.recovered.is_none() {
            if known.is_none() {
                self.hub.broker.unsubscribe(&wish.channel, self.number);
            }
            self.hub.quota.give_back();
            return Some(Err(ErrorCode::UnrecoverablePosition));
        }
        let follows = self.add_member(slot, wish, snapshot.position)?;
        if self.is_revoked(wish) {
            // It was revoked while the wish was on its way.
            self.remove_member(&follows, &wish.connection, false);
            return Some(Err(ErrorCode::PermissionDenied));
        }
        self.browsers.get_mut(slot)?.follows.push(follows);
        let joined = self.join(wish);
        let (position, recovered) = (snapshot.position, snapshot.recovered);
        Some(Ok(Made {
            position,
            recovered,
            joined,
        }))
    }

    /// Where the channel stands, with what the wish is to be given, as far as it may cost.
    fn snapshot(&self, slot: usize, wish: &Subscription) -> Snapshot {
        let config = &self.hub.config;
        let waits = self.browsers.get(slot).map_or(0, |browser| {
            browser.due.bytes(browser.connection.kind) + browser.connection.waiting()
        });
        let bounds = Bounds {
            messages: config.recovery_messages_max,
            bytes: config.recovery_bytes_max.as_usize(),
        };
        let recovery = recovery(&wish.namespace, wish.since.as_ref(), bounds);
        let history = history(&wish.namespace);
        let broker = &self.hub.broker;
        let mut snapshot = broker.subscribe(&wish.channel, self.number, recovery, history);
        let missed = snapshot.recovered.as_deref().map_or(0, protocol::weight);
        if missed > 0 && waits + missed > config.backlog_bytes_max.as_usize() {
            // All of it at once would make the browser slow, now and each time it comes back:
            // it is told of the gap, and takes a snapshot of its own.
            snapshot.recovered = None;
            self.metrics.limited("backlog_bytes_max");
        }
        self.metrics.beyond(snapshot.beyond);
        snapshot
    }

    fn is_revoked(&self, wish: &Subscription) -> bool {
        let (Some(issued), Some(identity)) = (wish.issued, wish.connection.identity()) else {
            return false;
        };
        let mut bearer = identity.bearer();
        bearer.issued = issued;
        let users = self.hub.users(wish.channel.site);
        users.is_some_and(|users| users.revokes(bearer, Some(&wish.channel.name)))
    }

    fn add_member(
        &mut self,
        slot: usize,
        wish: &Subscription,
        position: Position,
    ) -> Option<Follows> {
        let channels = &mut self.channels;
        let index = *self.names.entry(wish.channel.clone()).or_insert_with(|| {
            channels.insert(Channel {
                name: wish.channel.clone(),
                epoch: position.epoch,
                members: Slab::new(),
            })
        });
        let channel = self.channels.get_mut(index)?;
        let member = channel.members.insert(Member {
            browser: slot,
            last: position.offset,
            join_leave: wish.join_leave && wish.namespace.join_leave,
            expires: wish.ttl.is_some(),
            namespace: Arc::clone(&wish.namespace),
        });
        self.metrics.subscriptions.inc();
        Some(Follows {
            channel: index,
            member,
        })
    }

    /// Ends a subscription; `lost`: with its connection, so that it may come back soon.
    pub(super) fn remove_member(&mut self, follows: &Follows, connection: &Connection, lost: bool) {
        let Some(channel) = self.channels.get_mut(follows.channel) else {
            return;
        };
        let member = channel.members.try_remove(follows.member);
        self.metrics.subscriptions.dec();
        self.hub.quota.give_back();
        let name = channel.name.clone();
        if channel.members.is_empty() {
            self.channels.remove(follows.channel);
            self.names.remove(&name);
            self.hub.broker.unsubscribe(&name, self.number);
        }
        let Some(namespace) = member.map(|m| m.namespace).filter(|n| n.knows_who()) else {
            return;
        };
        let Some(identity) = connection.identity() else {
            return;
        };
        let grace = lost.then_some(namespace.leave_grace);
        let gone = self.hub.presence.leave(&name, identity.client, grace);
        if let Some(gone) = gone.filter(|_| namespace.join_leave) {
            self.hub.announce(&name, Body::Leave, &gone);
        }
    }

    /// Enters a new subscriber where it is known who is there; whom to announce.
    fn join(&self, wish: &Subscription) -> Option<Present> {
        let namespace = &wish.namespace;
        let identity = wish.connection.identity()?;
        if !namespace.knows_who() {
            return None;
        }
        let client = identity.client.to_string();
        let (connection, channel) = (identity.info.as_deref(), wish.info.as_deref());
        let member = Present {
            client: identity.client,
            user: Arc::clone(&identity.user),
            info: protocol::client_info(&identity.user, &client, connection, channel),
        };
        let presence = &self.hub.presence;
        let Some(new) = presence.join(&wish.channel, member.clone(), namespace.presence_max) else {
            self.metrics.limited("presence_max");
            return None;
        };
        (new && namespace.join_leave).then_some(member)
    }

    fn announce(&self, wish: &Subscription, joined: Option<&Present>) {
        if let Some(member) = joined {
            self.hub.announce(&wish.channel, Body::Join, member);
        }
    }

    pub(super) fn on_unsubscribe(&mut self, connection: &Arc<Connection>, id: u32, name: &str) {
        let slot = connection.slot.load(Ordering::Relaxed);
        self.end_subscription(slot, connection, name);
        // An error would make the client reconnect; that nothing was followed is no error to it.
        self.say(slot, &protocol::unsubscribed(id));
    }

    fn expires(&self, slot: usize, name: &str) -> bool {
        let follows = self.browsers.get(slot).map(|browser| &browser.follows);
        follows.into_iter().flatten().any(|follows| {
            let channel = self.channels.get(follows.channel);
            let named = channel.filter(|channel| *channel.name.name == *name);
            let member = named.and_then(|channel| channel.members.get(follows.member));
            member.is_some_and(|member| member.expires)
        })
    }

    /// Whether there was one.
    fn end_subscription(&mut self, slot: usize, connection: &Connection, name: &str) -> bool {
        let Some(browser) = self.browsers.get_mut(slot) else {
            return false;
        };
        let channels = &self.channels;
        let place = browser.follows.iter().position(|follows| {
            let channel = channels.get(follows.channel);
            channel.is_some_and(|channel| *channel.name.name == *name)
        });
        let Some(place) = place else {
            return false;
        };
        let follows = browser.follows.swap_remove(place);
        self.remove_member(&follows, connection, false);
        true
    }

    /// The server's side has forbidden the channel to the connection: nothing of it leaves since
    /// then, and now its subscription ends.
    pub(super) fn on_forbidden(
        &mut self,
        connection: &Arc<Connection>,
        name: &Arc<str>,
        ending: &Ending,
    ) {
        let is_this = |wish: &Subscription| {
            Arc::ptr_eq(&wish.connection, connection) && wish.channel.name == *name
        };
        self.early.retain(|wish| !is_this(wish));
        let slot = connection.slot.load(Ordering::Relaxed);
        if let Some(browser) = self.browsers.get_mut(slot) {
            let before = browser.due.len();
            browser.due = std::mem::take(&mut browser.due).without(name);
            self.held -= before - browser.due.len();
        }
        if self.end_subscription(slot, connection, name) {
            if connection.kind == Kind::Protocol {
                let push = protocol::unsubscribe_push(name, ending.code, &ending.reason);
                self.say(slot, &push);
            } else {
                // It can't be told in words, and would wait in vain.
                let how = Disconnect::default();
                connection.close(&Close::Asked(how.code, how.reason.into()));
            }
        }
        connection.permit(name);
    }

    /// A subscription was not renewed. What waits still comes: the client had a right to it, and
    /// subscribes again. One that rests on no token of its own goes on: the end was that of
    /// another, which may have been refused.
    pub(super) fn on_expired(&mut self, connection: &Arc<Connection>, name: &str) {
        let slot = connection.slot.load(Ordering::Relaxed);
        if self.expires(slot, name) && self.end_subscription(slot, connection, name) {
            self.say(slot, &protocol::unsubscribe_push(name, 2501, "expired"));
        }
    }

    /// The server's side ends every subscription to a channel.
    pub(super) fn on_clear(&mut self, channel: &ChannelName, ending: &Ending) {
        self.early.retain(|wish| wish.channel != *channel);
        let index = self.names.get(channel);
        let Some(found) = index.and_then(|index| self.channels.get(*index)) else {
            return;
        };
        let slots: Vec<usize> = found.members.iter().map(|(_, m)| m.browser).collect();
        for slot in slots {
            if let Some(browser) = self.browsers.get(slot) {
                let connection = Arc::clone(&browser.connection);
                connection.forbid(&channel.name);
                self.on_forbidden(&connection, &channel.name, ending);
            }
        }
    }

    /// Ends a subscription that has missed something, and says so: the client subscribes again
    /// and recovers.
    pub(super) fn end_gap(&mut self, slot: usize, index: usize, member: usize) {
        let Some(browser) = self.browsers.get_mut(slot) else {
            return;
        };
        browser.follows.retain(|follows| follows.channel != index);
        let connection = Arc::clone(&browser.connection);
        let name = self.channels.get(index).map(|c| Arc::clone(&c.name.name));
        let follows = Follows {
            channel: index,
            member,
        };
        self.remove_member(&follows, &connection, false);
        if let Some(name) = name {
            self.metrics.gaps.inc();
            let push = protocol::unsubscribe_push(&name, 2500, "insufficient state");
            self.say(slot, &push);
        }
    }
}

impl Made {
    /// The result, as replies and pushes hold it.
    fn result(&self, wish: &Subscription) -> Vec<u8> {
        let recovered = self.recovered.as_deref();
        let asked = wish.since.as_ref().map(|since| since.offset);
        let cache = wish.namespace.recovery == config::Recovery::Cache;
        let recovery = match (recovered, asked) {
            (Some(newest), _) if cache => Recovered::Newest(asked.is_some(), newest),
            (Some(publications), Some(asked)) => Recovered::All(asked, publications),
            (None, Some(_)) => Recovered::Gap,
            (_, None) => Recovered::NotAsked,
        };
        let subscribed = Subscribed {
            position: self.position,
            recoverable: wish.namespace.recovers(),
            recovery,
            ttl: wish.ttl,
            data: wish.data.as_deref(),
        };
        subscribed.result()
    }
}
