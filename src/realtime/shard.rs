//! One shard: it owns the subscriptions of its connections and fans publications out to them.
//!
//! It gathers what is due by connection, and visits the connections to which something is due one
//! after the other: each is handed all of it at once, one record and one write, however many
//! messages. Every few dozen visits it lets others run and looks at what has come meanwhile, so
//! that a message joins whatever its connection is still waiting for. No timer waits for more.

use std::{
    collections::{HashMap, VecDeque},
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
    hub::{Control, Hub, Mail, Subscription},
    item::Item,
    kind::Kind,
};
use crate::{
    broker::{ChannelName, Epoch},
    config::Namespace,
    shutdown::Tasks,
};

/// Mails taken in one turn. All four bounds are small in unit tests, so that little work passes
/// each of them.
const TURN: usize = if cfg!(test) { 6 } else { 256 };

/// Deliveries gathered, or hundreds of bytes of replies written, before others may run.
const WORK_A_POLL: usize = if cfg!(test) { 8 } else { 10_000 };

/// Bytes of replies that are held before they are flushed.
const REPLIES_A_FLUSH: usize = if cfg!(test) { 1 << 10 } else { 4 << 20 };

/// Items that may be due to all connections together before they are flushed: whoever publishes
/// more waits at the mailbox.
const HELD_MAX: usize = if cfg!(test) { 12 } else { 500_000 };

/// Connections flushed before others may run: a page request waits no longer than that.
const YIELD_EVERY: usize = if cfg!(test) { 2 } else { 64 };

/// The state of one shard's task.
pub(super) struct Shard {
    pub(super) number: usize,
    pub(super) hub: Arc<Hub>,
    mail: Receiver<Mail>,
    control: UnboundedReceiver<Control>,
    pub(super) metrics: Metrics,
    pub(super) browsers: Slab<Browser>,
    pub(super) channels: Slab<Channel>,
    pub(super) names: HashMap<ChannelName, usize>,
    /// What the server's side wants of connections that have not begun here yet.
    pub(super) early: Vec<Subscription>,
    /// Browsers to which something is due, by how long they have waited for their turn.
    pub(super) touched: VecDeque<usize>,
    /// Since others last ran.
    pub(super) work: usize,
    /// Bytes of replies since the last flush.
    replied: usize,
    /// Items that are due to connections.
    pub(super) held: usize,
    /// Messages and writes that are not counted yet.
    delivered: (u64, u64),
    stopping: bool,
    closing: Closing,
}

/// A connection as its shard knows it.
pub(super) struct Browser {
    pub(super) connection: Arc<Connection>,
    pub(super) due: Due,
    pub(super) follows: Vec<Follows>,
    /// Whether it may be told of anything: a client of the protocol once its connect command was
    /// answered.
    pub(super) begun: bool,
    /// Whether its plain stream is to be told its positions at the end of the turn.
    pub(super) moved: bool,
}

/// One subscription: which channel, and where in its list of members.
pub(super) struct Follows {
    pub(super) channel: usize,
    pub(super) member: usize,
}

/// A channel that at least one connection of this shard follows.
pub(super) struct Channel {
    pub(super) name: ChannelName,
    /// The life of the channel that all its members follow: it stays while there is one.
    pub(super) epoch: Epoch,
    pub(super) members: Slab<Member>,
}

pub(super) struct Member {
    pub(super) browser: usize,
    /// The last offset that was sent: the next one is delivered, an older one is dropped.
    pub(super) last: u64,
    /// Whether it is told who comes and goes.
    pub(super) join_leave: bool,
    /// Whether it rests on a token of its own, and ends with it.
    pub(super) expires: bool,
    /// By whose rules it was made: they may have changed since.
    pub(super) namespace: Arc<Namespace>,
}

impl Shard {
    pub(super) fn new(
        number: usize,
        hub: Arc<Hub>,
        (mail, control): (Receiver<Mail>, UnboundedReceiver<Control>),
        metrics: Metrics,
    ) -> Self {
        Self {
            number,
            hub,
            mail,
            control,
            metrics,
            browsers: Slab::new(),
            channels: Slab::new(),
            names: HashMap::new(),
            early: Vec::new(),
            touched: VecDeque::new(),
            work: 0,
            replied: 0,
            held: 0,
            delivered: (0, 0),
            stopping: false,
            closing: Closing::default(),
        }
    }

    /// Runs until the stage stops.
    pub(super) async fn run(mut self, tasks: Tasks) {
        let mut batch = Vec::new();
        loop {
            if self.touched.is_empty() {
                self.count_deliveries();
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
            } else {
                self.pause().await;
                if tasks.is_stopping() {
                    return self.end();
                }
                // What came meanwhile joins what is still due.
                let came = std::iter::from_fn(|| self.mail.try_recv().ok());
                batch.extend(came.take(TURN));
            }
            for mail in batch.drain(..) {
                self.on_mail(mail);
                self.rest().await;
            }
            self.flush(YIELD_EVERY);
        }
    }

    /// Lets others run after much work, and lets go of what has grown large. What is due otherwise
    /// stays together until the connection's turn comes.
    async fn rest(&mut self) {
        while self.replied >= REPLIES_A_FLUSH || self.held >= HELD_MAX {
            self.flush(YIELD_EVERY);
            self.pause().await;
        }
        if self.work >= WORK_A_POLL {
            self.work = 0;
            self.pause().await;
        }
    }

    /// Lets others run, and heeds what was said past the mailbox.
    async fn pause(&mut self) {
        self.count_deliveries();
        yield_now().await;
        while let Ok(control) = self.control.try_recv() {
            self.on_control(control);
        }
    }

    /// Closes every connection, also those whose join is still in the mailbox.
    fn end(mut self) {
        self.on_control(Control::Stop { left: 1 });
        self.mail.close();
        while let Ok(mail) = self.mail.try_recv() {
            if let Mail::Join(connection) = mail {
                connection.close(&Close::Shutdown);
            }
        }
    }

    fn on_control(&mut self, control: Control) {
        match control {
            Control::Leave(connection) => self.on_leave(&connection),
            Control::Announce(broadcast) => self.gather_announcement(&broadcast),
            Control::Subscribe(wish) => self.on_server_side(*wish),
            Control::Unsubscribe {
                connection,
                channel,
                ending,
            } => self.on_forbidden(&connection, &channel, &ending),
            Control::Expire {
                connection,
                channel,
            } => self.on_expired(&connection, &channel),
            Control::Clear {
                channel,
                ending,
                cleared,
            } => {
                self.on_clear(&channel, &ending);
                // Whoever asked may have gone.
                let _ = cleared.send(());
            }
            Control::Count { site, counts } => {
                let of_site = self.channels.iter().filter(|(_, c)| c.name.site == site);
                let count = of_site.map(|(_, c)| (Arc::clone(&c.name.name), c.members.len()));
                // Whoever asked may have gone.
                let _ = counts.send(count.collect());
            }
            Control::Stop { left } => {
                self.stopping = true;
                for browser in self.closing.batch(&self.browsers, left) {
                    browser.connection.close(&Close::Shutdown);
                }
            }
        }
    }

    fn on_mail(&mut self, mail: Mail) {
        match mail {
            Mail::Broadcast(broadcast) => self.gather(&broadcast),
            Mail::Join(connection) => self.on_join(connection),
            Mail::Connect(connect) => self.on_connect(&connect),
            Mail::Subscribe(wish) => self.on_subscribe(&wish),
            Mail::Address(wishes) => wishes.iter().for_each(|wish| self.on_subscribe(wish)),
            Mail::Say { connection, json } => {
                self.say(connection.slot.load(Ordering::Relaxed), &json);
            }
            Mail::Unsubscribe {
                connection,
                id,
                channel,
            } => self.on_unsubscribe(&connection, id, &channel),
            Mail::Ask(inquiry) => self.on_inquiry(*inquiry),
        }
    }

    fn on_join(&mut self, connection: Arc<Connection>) {
        if connection.has_left() {
            return;
        }
        if self.stopping {
            connection.close(&Close::Shutdown);
        }
        let begun = connection.kind != Kind::Protocol;
        let entry = self.browsers.vacant_entry();
        connection.slot.store(entry.key(), Ordering::Relaxed);
        entry.insert(Browser {
            connection: Arc::clone(&connection),
            due: Due::default(),
            follows: Vec::new(),
            begun,
            moved: false,
        });
        if begun {
            self.follow_early(&connection);
        }
    }

    fn on_leave(&mut self, connection: &Arc<Connection>) {
        self.early.retain(|wish| !wish.connection.has_left());
        let slot = connection.slot.swap(NO_SLOT, Ordering::Relaxed);
        let Some(browser) = self.browsers.try_remove(slot) else {
            return;
        };
        self.held -= browser.due.len();
        for follows in browser.follows {
            self.remove_member(&follows, connection, true);
        }
    }

    /// Has a message of the protocol due in this turn; plain streams get none.
    pub(super) fn say(&mut self, slot: usize, json: &[u8]) {
        self.say_item(slot, Item::Own(frame::text(json)), json.len());
    }

    /// As [`Shard::say`], for an item that was made of `weight` bytes.
    pub(super) fn say_item(&mut self, slot: usize, item: Item, weight: usize) {
        let browser = self.browsers.get(slot);
        if browser.is_some_and(|browser| browser.connection.kind == Kind::Protocol) {
            self.make_due(slot, item);
            self.replied += weight;
            self.work += weight / 100;
        }
    }

    /// Has `item` due in this turn.
    pub(super) fn make_due(&mut self, slot: usize, item: Item) {
        let Some(browser) = self.browsers.get_mut(slot) else {
            return;
        };
        if browser.is_untouched() {
            self.touched.push_back(slot);
        }
        browser.due.push(item);
        self.held += 1;
    }

    /// Has the browser told its positions at the end of the turn.
    pub(super) fn mark_moved(&mut self, slot: usize) {
        let Some(browser) = self.browsers.get_mut(slot) else {
            return;
        };
        if browser.is_untouched() {
            self.touched.push_back(slot);
        }
        browser.moved = true;
    }

    /// Hands the connections that have waited longest what is due to them, `most` at once.
    fn flush(&mut self, most: usize) {
        for _ in 0..most {
            let Some(slot) = self.touched.pop_front() else {
                break;
            };
            self.hand_over(slot);
        }
        if self.touched.is_empty() {
            self.replied = 0;
            // Kept for the next time, but not at the size of the largest one ever.
            self.touched.shrink_to(4_096);
        }
    }

    /// Not at each visit: the counters are shared by all shards.
    fn count_deliveries(&mut self) {
        let (messages, writes) = std::mem::take(&mut self.delivered);
        self.metrics.messages.inc_by(messages);
        self.metrics.writes.inc_by(writes);
    }

    fn hand_over(&mut self, slot: usize) {
        self.tell_positions(slot);
        let Some(browser) = self.browsers.get_mut(slot) else {
            return;
        };
        let due = std::mem::take(&mut browser.due);
        self.held -= due.len();
        if due.len() > 0 {
            self.delivered.0 += due.len() as u64;
            self.delivered.1 += 1;
            browser.connection.deliver(due);
        }
    }
}

impl Browser {
    /// Whether nothing is due to it yet in this turn.
    pub(super) fn is_untouched(&self) -> bool {
        self.due.len() == 0 && !self.moved
    }
}
