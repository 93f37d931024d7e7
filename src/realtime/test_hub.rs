//! A hub with its shards for tests that need no socket, and what a connection of it is handed.

use std::{
    sync::Arc,
    task::{Context, Poll, Waker},
};

use tokio::{sync::mpsc, time::Instant};

use super::{
    Metrics,
    backlog::Limits,
    channel::Rules,
    client::Client,
    clock::Clock,
    connection::{Connection, Outgoing},
    hub::{Hub, MAILBOX, Mail, Mailbox},
    kind::Kind,
    queued::Queued,
    shard::Shard,
};
use crate::{
    auth::token::{self, Keys},
    broker::{
        SiteId,
        memory::{self, Memory},
    },
    config,
    shutdown::Tasks,
};

/// Starts the hub of a configuration, whose sites take tokens signed with `secret`. Must be called
/// inside a runtime; the shards run as often as the caller lets them.
pub(super) fn start(config: &str, secret: &[u8]) -> (Arc<Hub>, Tasks, Metrics) {
    let config = config::parse(config).unwrap();
    let sites = config.sites.len();
    let broker = Memory::new(&config.broker, sites, memory::Metrics::default());
    let rules = config.sites.iter().enumerate().map(|(n, site)| {
        let rules = token::Rules {
            life_max: site.tokens.life_max,
            audience: String::new(),
            issuer: String::new(),
        };
        let keys = Keys::new(rules, [("", secret)], None).unwrap();
        Arc::new(Rules::new(SiteId(n), site, keys))
    });
    let (mut mailboxes, mut receivers) = (Vec::new(), Vec::new());
    for _ in 0..config.realtime.shards {
        let (mail, mails) = mpsc::channel(MAILBOX);
        let (control, controls) = mpsc::unbounded_channel();
        mailboxes.push(Mailbox { mail, control });
        receivers.push((mails, controls));
    }
    let clock = Clock::Since(Instant::now(), 1_000_000);
    let hub = Hub::new(
        Arc::new(config.realtime),
        mailboxes.into(),
        Arc::new(broker),
        rules.collect(),
        clock,
    );
    let (hub, tasks, metrics) = (Arc::new(hub), Tasks::new(), Metrics::default());
    for (number, mailbox) in receivers.into_iter().enumerate() {
        let shard = Shard::new(number, Arc::clone(&hub), mailbox, metrics.clone());
        tasks.spawn(shard.run(tasks.clone()));
    }
    let leaves = Arc::clone(&hub);
    tasks.spawn(async move { leaves.announce_leaves().await });
    (hub, tasks, metrics)
}

/// A client of the site `site` whose join is on its way.
pub(super) async fn client(
    hub: &Arc<Hub>,
    site: usize,
    limits: Limits,
    metrics: &Metrics,
) -> Client {
    let outgoing = Outgoing::Queued(Queued::new(Kind::Protocol, limits));
    let place = (SiteId(site), hub.next_shard());
    let kind = (Kind::Protocol, false);
    let connection = Arc::new(Connection::new(
        kind,
        place,
        outgoing,
        metrics.clone(),
        None,
    ));
    let client = Client::new(Arc::clone(&connection), Arc::clone(hub));
    client.mail(Mail::Join(connection)).await;
    client
}

/// Takes all that waits for a connection.
pub(super) fn taken(connection: &Connection) -> Vec<u8> {
    let queued = connection.queued().unwrap();
    let mut all = Vec::new();
    while let Poll::Ready(Some(bytes)) = queued.poll(&Context::from_waker(Waker::noop())) {
        all.extend_from_slice(&bytes);
    }
    all
}
