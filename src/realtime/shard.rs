//! One shard: it owns the subscriptions of its connections and fans publications out to them.
//!
//! In one turn it drains its mailbox, gathers what is due by connection, and hands each touched
//! connection all of it at once: one record and one write, however many messages.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
};

use slab::Slab;
use tokio::{
    sync::mpsc::{Receiver, UnboundedReceiver},
    task::yield_now,
};

use super::{
    Metrics,
    backlog::Due,
    close::Close,
    closing::Closing,
    connection::{Connection, NO_SLOT},
    frame,
    hub::{Broadcast, Control, Mail, Subscription},
    kind::Kind,
    protocol::{self, ErrorCode, Subscribed},
    subscriptions::Subscriptions,
};
use crate::{
    broker::{ChannelName, memory::Memory},
    shutdown::Tasks,
};

/// Mails taken in one turn.
const TURN: usize = 256;

/// Deliveries gathered, or hundreds of bytes of replies written, before others may run.
const WORK_A_POLL: usize = 10_000;

/// Bytes of replies that are held before they are flushed.
const REPLIES_A_FLUSH: usize = 4 << 20;

/// Connections flushed before others may run: a page request waits no longer than that.
const YIELD_EVERY: usize = 64;

/// The state of one shard's task.
pub(super) struct Shard {
    pub(super) number: usize,
    pub(super) mail: Receiver<Mail>,
    pub(super) control: UnboundedReceiver<Control>,
    pub(super) broker: Arc<Memory>,
    pub(super) channels_per_connection_max: usize,
    pub(super) backlog_bytes_max: usize,
    pub(super) metrics: Metrics,
    pub(super) browsers: Slab<Browser>,
    pub(super) channels: Slab<Channel>,
    pub(super) names: HashMap<ChannelName, usize>,
    pub(super) touched: Vec<usize>,
    /// Since others last ran.
    pub(super) work: usize,
    /// Bytes of replies since the last flush.
    pub(super) replied: usize,
    pub(super) stopping: bool,
    pub(super) closing: Closing,
    pub(super) subscriptions: Arc<Subscriptions>,
}

/// A connection as its shard knows it.
pub(super) struct Browser {
    connection: Arc<Connection>,
    due: Due,
    follows: Vec<Follows>,
}

/// One subscription: which channel, and where in its list of members.
struct Follows {
    channel: usize,
    member: usize,
}

/// A channel that at least one connection of this shard follows.
pub(super) struct Channel {
    name: ChannelName,
    members: Slab<Member>,
}

struct Member {
    browser: usize,
    /// The last offset that was sent: the next one is delivered, an older one is dropped.
    last: u64,
}

impl Shard {
    /// Runs until the stage stops.
    pub(super) async fn run(mut self, tasks: Tasks) {
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                biased;
                () = tasks.stopping() => return self.end(),
                Some(control) = self.control.recv() => self.on_control(control),
                taken = self.mail.recv_many(&mut batch, TURN) => {
                    if taken == 0 {
                        return;
                    }
                }
            }
            for mail in batch.drain(..) {
                self.on_mail(mail);
                self.rest().await;
            }
            self.flush().await;
        }
    }

    /// Lets others run after much work, and lets go of replies that have grown large. What is due
    /// otherwise stays together until the end of the turn.
    async fn rest(&mut self) {
        if self.replied >= REPLIES_A_FLUSH {
            self.flush().await;
        }
        if self.work >= WORK_A_POLL {
            self.work = 0;
            yield_now().await;
        }
    }

    /// Closes every connection, also those whose join is still in the mailbox.
    fn end(mut self) {
        self.on_control(Control::Stop { left: 1 });
        self.mail.close();
        while let Ok(mail) = self.mail.try_recv() {
            if let Mail::Join(connection) = mail {
                connection.close(Close::Shutdown);
            }
        }
    }

    fn on_control(&mut self, control: Control) {
        match control {
            Control::Leave(connection) => self.on_leave(&connection),
            Control::Stop { left } => {
                self.stopping = true;
                for browser in self.closing.batch(&self.browsers, left) {
                    browser.connection.close(Close::Shutdown);
                }
            }
        }
    }

    fn on_mail(&mut self, mail: Mail) {
        match mail {
            Mail::Broadcast(broadcast) => self.gather(&broadcast),
            Mail::Join(connection) => self.on_join(connection),
            Mail::Subscribe(subscription) => self.on_subscribe(&subscription),
            Mail::Say { connection, json } => {
                self.say(connection.slot.load(Ordering::Relaxed), &json);
            }
            Mail::Unsubscribe {
                connection,
                id,
                channel,
            } => {
                self.on_unsubscribe(&connection, id, &channel);
            }
        }
    }

    fn on_join(&mut self, connection: Arc<Connection>) {
        if connection.left.load(Ordering::Acquire) {
            return;
        }
        if self.stopping {
            connection.close(Close::Shutdown);
        }
        let entry = self.browsers.vacant_entry();
        connection.slot.store(entry.key(), Ordering::Relaxed);
        entry.insert(Browser {
            connection,
            due: Due::default(),
            follows: Vec::new(),
        });
    }

    fn on_leave(&mut self, connection: &Arc<Connection>) {
        let slot = connection.slot.swap(NO_SLOT, Ordering::Relaxed);
        let Some(browser) = self.browsers.try_remove(slot) else {
            return;
        };
        for follows in browser.follows {
            self.remove_member(&follows);
        }
    }

    fn remove_member(&mut self, follows: &Follows) {
        let Some(channel) = self.channels.get_mut(follows.channel) else {
            return;
        };
        channel.members.try_remove(follows.member);
        self.metrics.subscriptions.dec();
        self.subscriptions.give_back();
        if channel.members.is_empty() {
            let channel = self.channels.remove(follows.channel);
            self.names.remove(&channel.name);
            self.broker.unsubscribe(&channel.name, self.number);
        }
    }

    /// Registers, takes the snapshot and writes the reply, in one go: what is published after the
    /// snapshot follows the reply, and what was in it is not delivered again.
    fn on_subscribe(&mut self, wish: &Subscription) {
        let slot = wish.connection.slot.load(Ordering::Relaxed);
        let Some(browser) = self.browsers.get(slot) else {
            return;
        };
        let known = self.names.get(&wish.channel).copied();
        let follows = &browser.follows;
        if known.is_some_and(|known| follows.iter().any(|f| f.channel == known)) {
            return self.refuse(slot, wish.id, ErrorCode::AlreadySubscribed);
        }
        if follows.len() >= self.channels_per_connection_max {
            return self.refuse(slot, wish.id, ErrorCode::LimitExceeded);
        }
        if !self.subscriptions.take_for(&wish.connection) {
            return self.refuse(slot, wish.id, ErrorCode::LimitExceeded);
        }
        let since = wish.since.as_ref();
        let mut snapshot = self
            .broker
            .subscribe(&wish.channel, self.number, since, wish.history);
        let waits = browser.due.bytes() + browser.connection.waiting();
        let missed = snapshot.recovered.as_deref().map_or(0, protocol::weight);
        if missed > 0 && waits + missed > self.backlog_bytes_max {
            // All of it at once would make the browser slow, now and each time it comes back:
            // it is told of the gap, and takes a snapshot of its own.
            snapshot.recovered = None;
        }
        if wish.strict && since.is_some() && snapshot.recovered.is_none() {
            if known.is_none() {
                self.broker.unsubscribe(&wish.channel, self.number);
            }
            self.subscriptions.give_back();
            return self.refuse(slot, wish.id, ErrorCode::UnrecoverablePosition);
        }
        self.add_member(slot, &wish.channel, snapshot.position.offset);
        let reply = protocol::subscribed(
            wish.id,
            &Subscribed {
                position: snapshot.position,
                recoverable: wish.history.size > 0,
                recovery: since.map(|_| snapshot.recovered.as_deref()),
                asked: since.map_or(0, |since| since.offset),
            },
        );
        self.say(slot, &reply);
    }

    fn add_member(&mut self, slot: usize, name: &ChannelName, last: u64) {
        let index = *self.names.entry(name.clone()).or_insert_with(|| {
            self.channels.insert(Channel {
                name: name.clone(),
                members: Slab::new(),
            })
        });
        let (Some(channel), Some(browser)) =
            (self.channels.get_mut(index), self.browsers.get_mut(slot))
        else {
            return;
        };
        let member = channel.members.insert(Member {
            browser: slot,
            last,
        });
        browser.follows.push(Follows {
            channel: index,
            member,
        });
        self.metrics.subscriptions.inc();
    }

    fn on_unsubscribe(&mut self, connection: &Arc<Connection>, id: u32, name: &Arc<str>) {
        let slot = connection.slot.load(Ordering::Relaxed);
        let Some(browser) = self.browsers.get_mut(slot) else {
            return;
        };
        let channels = &self.channels;
        let place = browser.follows.iter().position(|follows| {
            let channel = channels.get(follows.channel);
            channel.is_some_and(|channel| channel.name.name == *name)
        });
        if let Some(place) = place {
            let follows = browser.follows.swap_remove(place);
            self.remove_member(&follows);
        }
        // An error would make the client reconnect; that nothing was followed is no error to it.
        self.say(slot, &protocol::unsubscribed(id));
    }

    fn refuse(&mut self, slot: usize, id: u32, error: ErrorCode) {
        self.say(slot, &protocol::refused(id, error));
    }

    /// Has a message of the protocol due in this turn; plain streams get none.
    fn say(&mut self, slot: usize, json: &[u8]) {
        let Some(browser) = self.browsers.get_mut(slot) else {
            return;
        };
        if browser.connection.kind == Kind::Protocol {
            if browser.due.len() == 0 {
                self.touched.push(slot);
            }
            browser.due.push(frame::text(json));
            self.replied += json.len();
            self.work += json.len() / 100;
        }
    }

    /// Has a publication due for every member that has not seen it.
    fn gather(&mut self, broadcast: &Broadcast) {
        let Some(index) = self.names.get(&broadcast.channel).copied() else {
            return;
        };
        let Some(channel) = self.channels.get_mut(index) else {
            return;
        };
        self.work += channel.members.len();
        let offset = broadcast.publication.offset;
        let mut gaps = Vec::new();
        for (key, member) in &mut channel.members {
            if offset <= member.last {
                continue;
            }
            let Some(browser) = self.browsers.get_mut(member.browser) else {
                continue;
            };
            if offset != member.last + 1 && browser.connection.kind == Kind::Protocol {
                gaps.push((key, member.browser));
                continue;
            }
            member.last = offset;
            if browser.due.len() == 0 {
                self.touched.push(member.browser);
            }
            browser
                .due
                .push(broadcast.encoded(browser.connection.kind).clone());
        }
        for (member, slot) in gaps {
            self.end_subscription(slot, index, member);
        }
    }

    /// Ends a subscription that has missed something, and says so: the client subscribes again
    /// and recovers.
    fn end_subscription(&mut self, slot: usize, channel: usize, member: usize) {
        let Some(browser) = self.browsers.get_mut(slot) else {
            return;
        };
        browser.follows.retain(|follows| follows.channel != channel);
        let name = self.channels.get(channel).map(|c| Arc::clone(&c.name.name));
        self.remove_member(&Follows { channel, member });
        if let Some(name) = name {
            self.metrics.gaps.inc();
            self.say(slot, &protocol::insufficient_state_push(&name));
        }
    }

    /// Hands each touched connection what is due to it.
    async fn flush(&mut self) {
        self.replied = 0;
        let mut touched = std::mem::take(&mut self.touched);
        let mut messages = 0;
        for (n, slot) in touched.drain(..).enumerate() {
            if n % YIELD_EVERY == YIELD_EVERY - 1 {
                yield_now().await;
            }
            if let Some(browser) = self.browsers.get_mut(slot) {
                let due = std::mem::take(&mut browser.due);
                messages += due.len() as u64;
                self.metrics.writes.inc();
                browser.connection.deliver(due);
            }
        }
        self.metrics.messages.inc_by(messages);
        // Kept for the next turn, but not at the size of the largest one ever.
        touched.shrink_to(4_096);
        self.touched = touched;
    }
}
