//! A publication reaches those who follow its channel in its life, and nobody of another one.

use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;
use tokio::sync::mpsc;

use super::*;
use crate::{
    broker::{Draft, SiteId},
    realtime::{
        backlog::{Due, Limits},
        connection::{Connection, Outgoing},
        hub::{Hub, Origin, Subscription},
        queued::Queued,
        shard::Browser,
        test_hub,
    },
};

const CONFIG: &str = "
[[listener]]
address = '127.0.0.1:0'
tls = false
[realtime]
shards = 1
[broker]
channels_max = 1
fingerprints_max = 1000
[[site]]
name = 'a'
hosts = ['a']
[site.upstream]
address = 'unix:/a'
";
const LIMITS: Limits = Limits {
    bytes: 64 << 10,
    messages: 12,
};

/// A shard with one browser, which does nothing but what it is told: the hub's own shard never
/// runs, so that a test says what is handled when.
struct Still {
    hub: Arc<Hub>,
    shard: Shard,
    connection: Arc<Connection>,
}

impl Still {
    fn new() -> Self {
        let (hub, _, metrics) = test_hub::start(CONFIG, b"the secret of a site that stands still.");
        let ((_, mails), (_, controls)) = (mpsc::channel(1), mpsc::unbounded_channel());
        let mut shard = Shard::new(0, Arc::clone(&hub), (mails, controls), metrics.clone());
        let outgoing = Outgoing::Queued(Queued::new(Kind::Protocol, LIMITS));
        let (kind, place) = ((Kind::Protocol, false), (SiteId(0), 0));
        let connection = Arc::new(Connection::new(kind, place, outgoing, metrics, None));
        let slot = shard.browsers.insert(Browser {
            connection: Arc::clone(&connection),
            due: Due::default(),
            follows: Vec::new(),
            begun: true,
            moved: false,
        });
        connection.slot.store(slot, Ordering::Relaxed);
        Self {
            hub,
            shard,
            connection,
        }
    }

    fn subscribe(&mut self, channel: &str) {
        let known = self.hub.find(SiteId(0), channel).unwrap();
        self.shard.on_subscribe(&Subscription {
            connection: Arc::clone(&self.connection),
            channel: known.name,
            namespace: known.namespace,
            since: None,
            strict: false,
            join_leave: false,
            info: None,
            data: None,
            issued: None,
            ttl: None,
            origin: Origin::Server,
        });
        assert_eq!(self.due().len(), 1, "the push that tells of it");
    }

    fn unsubscribe(&mut self, channel: &str) {
        self.shard.on_unsubscribe(&self.connection, 1, channel);
        assert_eq!(self.due().len(), 1, "the reply");
    }

    /// What goes to the mailboxes of shards with subscribers.
    fn publish(&self, channel: &str, data: &'static str) -> Arc<Broadcast> {
        let known = self.hub.find(SiteId(0), channel).unwrap();
        let draft = Draft {
            data: Bytes::from_static(data.as_bytes()),
            ..Draft::default()
        };
        let mut sent = None;
        let deliver = |_, epoch, publication: &Arc<Publication>| {
            let publication = Arc::clone(publication);
            let (name, namespace) = (known.name.clone(), &known.namespace);
            sent = Some(Broadcast::publication(name, epoch, publication, namespace));
        };
        let published = self
            .hub
            .broker
            .publish(&known.name, draft, known.history(), deliver);
        assert_eq!(published.unwrap().position.offset, 1);
        Arc::new(sent.unwrap())
    }

    fn due(&mut self) -> Due {
        let slot = self.connection.slot.load(Ordering::Relaxed);
        std::mem::take(&mut self.shard.browsers.get_mut(slot).unwrap().due)
    }
}

#[tokio::test]
async fn what_was_sent_in_an_earlier_life_of_a_channel_reaches_nobody_of_the_next() {
    let mut still = Still::new();
    still.subscribe("post:1");
    let old = still.publish("post:1", "\"old\"");
    // It is still in the mailbox while the channel is left, ends and begins anew.
    still.unsubscribe("post:1");
    still.publish("post:2", "2");
    still.subscribe("post:1");
    let new = still.publish("post:1", "\"new\"");
    assert_ne!(old.epoch, new.epoch);
    still.shard.gather(&old);
    assert_eq!(still.due().len(), 0, "it is of another life");
    still.shard.gather(&new);
    let item = still.due().single().ok().unwrap();
    let frame = String::from_utf8_lossy(item.bytes(Kind::Protocol));
    assert!(frame.contains("\"new\""), "{frame}");
}

#[tokio::test]
async fn a_first_publication_reaches_those_who_followed_before_positions_became_void() {
    let mut still = Still::new();
    still.subscribe("post:1");
    let base = |hub: &Hub| {
        let known = hub.find(SiteId(0), "site").unwrap();
        hub.broker.position(&known.name).epoch
    };
    let before = base(&still.hub);
    for n in 2..1_200 {
        still.publish(&format!("post:{n}"), "1");
    }
    assert_ne!(base(&still.hub), before);
    let first = still.publish("post:1", "1");
    still.shard.gather(&first);
    assert_eq!(still.due().len(), 1);
}
