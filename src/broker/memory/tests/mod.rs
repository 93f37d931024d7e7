//! Positions, recovery, versions and what eviction may never do.

mod history;
mod idempotency;
mod recovery;
mod room;

use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::{
    broker::{Bounds, HistoryFilter, Since, Unrecoverable},
    config,
};

const HISTORY: History = History {
    size: 3,
    ttl: Duration::from_secs(300),
};

fn broker() -> Memory {
    let config::Config { broker, .. } = config::parse(
        "[[listener]]\naddress=\"127.0.0.1:0\"\ntls=false\n[[site]]\nname=\"a\"\nhosts=[\"a\"]\n\
         [site.upstream]\naddress=\"unix:/a\"\n",
    )
    .unwrap();
    Memory::new(&broker, 2, Metrics::default())
}

fn channel(site: usize, name: &str) -> ChannelName {
    ChannelName {
        site: SiteId(site),
        name: name.into(),
    }
}

fn draft(data: &'static str) -> Draft {
    Draft {
        data: Bytes::from_static(data.as_bytes()),
        ..Draft::default()
    }
}

fn versioned(key: &str, version: u64) -> Draft {
    Draft {
        key: Some(key.into()),
        version: Some(version),
        ..draft("1")
    }
}

fn publish(broker: &Memory, channel: &ChannelName, draft: Draft) -> Published {
    broker
        .publish(channel, draft, HISTORY, |_, _, _| ())
        .unwrap()
}

fn since(offset: u64, epoch: Option<Epoch>) -> Since {
    Since {
        offset,
        epoch: epoch.map(|epoch| epoch.to_string().into()),
    }
}

fn recovered(broker: &Memory, channel: &ChannelName, since: &Since) -> Option<Vec<u64>> {
    recovered_with(broker, channel, since, HISTORY)
}

fn recovered_with(
    broker: &Memory,
    channel: &ChannelName,
    since: &Since,
    history: History,
) -> Option<Vec<u64>> {
    let snapshot = broker.subscribe(channel, 0, Some(since), history);
    snapshot
        .recovered
        .map(|list| list.iter().map(|p| p.offset).collect())
}

fn used_bytes(broker: &Memory) -> usize {
    broker.bytes.total()
}

#[test]
fn a_page_made_before_the_first_publication_recovers_it() {
    let broker = broker();
    let post = channel(0, "post:26");
    let before = broker.position(&post);
    assert_eq!(before.offset, 0);
    let after = publish(&broker, &post, draft("1")).position;
    assert_eq!((after.offset, after.epoch), (1, before.epoch));
    assert_eq!(
        recovered(&broker, &post, &since(0, Some(before.epoch))),
        Some(vec![1])
    );
}

#[test]
fn what_fell_out_of_history_is_never_called_recovered() {
    let broker = broker();
    let post = channel(0, "post:26");
    let epoch = broker.position(&post).epoch;
    for _ in 0..5 {
        publish(&broker, &post, draft("1"));
    }
    assert_eq!(
        recovered(&broker, &post, &since(2, Some(epoch))),
        Some(vec![3, 4, 5])
    );
    assert_eq!(recovered(&broker, &post, &since(1, Some(epoch))), None);
    assert_eq!(
        recovered(&broker, &post, &since(5, Some(epoch))),
        Some(vec![])
    );
    assert_eq!(
        recovered(&broker, &post, &since(6, Some(epoch))),
        None,
        "above the top"
    );
    assert_eq!(
        recovered(&broker, &post, &since(5, Some(Epoch(1)))),
        None,
        "another epoch"
    );
}

#[test]
fn a_first_recovery_without_epoch_recovers_from_the_start() {
    let broker = broker();
    let post = channel(0, "post:26");
    assert_eq!(recovered(&broker, &post, &since(0, None)), Some(vec![]));
    publish(&broker, &post, draft("1"));
    assert_eq!(recovered(&broker, &post, &since(0, None)), Some(vec![1]));
}

#[test]
fn channels_of_two_sites_never_meet() {
    let broker = broker();
    publish(&broker, &channel(0, "post:26"), draft("1"));
    assert_eq!(broker.position(&channel(1, "post:26")).offset, 0);
    let (a, b) = (channel(0, "x"), channel(1, "x"));
    assert_ne!(broker.position(&a).epoch, broker.position(&b).epoch);
}

#[test]
fn an_older_version_of_a_key_is_left_out_and_takes_no_offset() {
    let broker = broker();
    let post = channel(0, "post:26");
    assert!(!publish(&broker, &post, versioned("26:price", 7)).outdated);
    assert!(publish(&broker, &post, versioned("26:price", 7)).outdated);
    assert!(publish(&broker, &post, versioned("26:price", 6)).outdated);
    assert!(!publish(&broker, &post, versioned("26:stock", 1)).outdated);
    assert_eq!(broker.position(&post).offset, 2);
    let other_epoch = Draft {
        version_epoch: "restored".into(),
        ..versioned("26:price", 1)
    };
    assert!(!publish(&broker, &post, other_epoch).outdated);
}

#[test]
fn only_shards_with_subscribers_are_handed_a_publication() {
    let broker = broker();
    let post = channel(0, "post:26");
    broker.subscribe(&post, 1, None, HISTORY);
    let deliver = |shards: ShardSet, _: Epoch, _: &_| {
        assert_eq!((shards.contains(0), shards.contains(1)), (false, true));
    };
    broker.publish(&post, draft("1"), HISTORY, deliver).unwrap();
    broker.unsubscribe(&post, 1);
    let deliver = |shards: ShardSet, _: Epoch, _: &_| assert!(shards.is_empty());
    broker.publish(&post, draft("1"), HISTORY, deliver).unwrap();
}

#[test]
fn a_channel_without_publications_leaves_nothing_behind() {
    let broker = broker();
    let post = channel(0, "post:26");
    broker.subscribe(&post, 1, None, HISTORY);
    broker.unsubscribe(&post, 1);
    let entries: usize = broker
        .stripes
        .iter()
        .map(|s| s.lock().unwrap().channels.len())
        .sum();
    assert_eq!(entries, 0);
}

#[test]
fn an_evicted_channel_returns_with_another_epoch() {
    let mut broker = broker();
    broker.limits.channels = 0;
    let post = channel(0, "post:26");
    let first = publish(&broker, &post, draft("1")).position;
    let second = publish(&broker, &post, draft("1")).position;
    assert_eq!(
        second.offset, 1,
        "nobody follows it, so it made room at once"
    );
    assert_ne!(first.epoch, second.epoch);
}

#[test]
fn a_reader_at_the_start_of_an_evicted_channel_is_not_called_recovered() {
    let mut broker = broker();
    broker.limits.channels = 0;
    let post = channel(0, "post:26");
    let page = broker.position(&post);
    publish(&broker, &post, draft("1"));
    assert_eq!(recovered(&broker, &post, &since(0, Some(page.epoch))), None);
    let seen = broker.position(&post);
    assert_ne!(seen.epoch, page.epoch);
    let next = publish(&broker, &post, draft("1")).position;
    assert_eq!((next.offset, next.epoch), (1, seen.epoch));
}

#[test]
fn a_followed_channel_is_not_evicted() {
    let mut broker = broker();
    broker.limits.channels = 0;
    let post = channel(0, "post:26");
    broker.subscribe(&post, 0, None, HISTORY);
    publish(&broker, &post, draft("1"));
    assert_eq!(publish(&broker, &post, draft("1")).position.offset, 2);
}

#[test]
fn a_channel_that_is_followed_after_its_publication_is_not_evicted_until_it_is_left() {
    let mut broker = broker();
    broker.limits.channels = 1;
    let post = channel(0, "post:26");
    publish(&broker, &post, draft("1"));
    broker.subscribe(&post, 0, None, HISTORY);
    for n in 0..100 {
        publish(&broker, &channel(0, &format!("post:{n}")), draft("1"));
    }
    let followed = broker.stripe(broker.hasher.hash_one(&post)).channels[&post]
        .stream
        .is_some();
    assert!(followed);
    broker.unsubscribe(&post, 0);
    for n in 100..300 {
        publish(&broker, &channel(0, &format!("post:{n}")), draft("1"));
    }
    assert!(
        !broker
            .stripe(broker.hasher.hash_one(&post))
            .channels
            .contains_key(&post)
    );
}

#[test]
fn a_full_set_of_fingerprints_voids_the_positions_of_channels_without_a_stream() {
    let mut broker = broker();
    (broker.limits.channels, broker.limits.fingerprints) = (0, 0);
    let quiet = channel(0, "post:1");
    let before = broker.position(&quiet);
    publish(&broker, &channel(0, "post:26"), draft("1"));
    assert_ne!(broker.position(&quiet).epoch, before.epoch);
    assert_eq!(broker.metrics.fingerprints_full.get(), 1);
}

#[test]
fn a_channel_keeps_its_epoch_while_it_is_followed_though_the_base_epochs_change() {
    let mut broker = broker();
    (broker.limits.channels, broker.limits.fingerprints) = (0, 0);
    let quiet = channel(0, "post:1");
    let before = broker.subscribe(&quiet, 0, None, HISTORY).position;
    publish(&broker, &channel(0, "post:26"), draft("1"));
    assert_ne!(broker.base_epoch(SiteId(0)), before.epoch);
    assert_eq!(broker.position(&quiet), before);
    let at_start = since(0, Some(before.epoch));
    let next = broker.subscribe(&quiet, 1, Some(&at_start), HISTORY);
    assert_eq!(
        (next.position, next.recovered.map(|r| r.len())),
        (before, Some(0))
    );
    let page = broker.history(&quiet, &HistoryFilter::default(), Bounds::NONE, HISTORY);
    assert_eq!(page.unwrap().position, before);
    let skipping = Draft {
        skip_history: true,
        ..draft("1")
    };
    assert_eq!(publish(&broker, &quiet, skipping).position, before);
    let after = publish(&broker, &quiet, draft("1")).position;
    assert_eq!((after.offset, after.epoch), (1, before.epoch));
    broker.unsubscribe(&quiet, 0);
    assert_eq!(broker.position(&quiet), after, "somebody else follows it");
    broker.unsubscribe(&quiet, 1);
    publish(&broker, &channel(0, "post:26"), draft("1"));
    assert_ne!(broker.position(&quiet).epoch, before.epoch);
}

#[test]
fn history_stays_within_its_bytes_and_what_is_newest_stays() {
    let mut broker = broker();
    broker.limits.history_bytes = 300;
    let post = channel(0, "post:26");
    for _ in 0..3 {
        publish(&broker, &post, draft("1"));
    }
    let position = broker.position(&post);
    assert_eq!(position.offset, 3);
    assert!(broker.bytes.total() <= 300);
    let epoch = Some(position.epoch);
    assert_eq!(recovered(&broker, &post, &since(0, epoch)), None);
    assert_eq!(
        recovered(&broker, &post, &since(1, epoch)),
        Some(vec![2, 3])
    );
}

#[test]
fn one_busy_channel_may_use_what_the_others_leave() {
    let broker = broker();
    let post = channel(0, "post:26");
    let large = History {
        size: 100,
        ttl: HISTORY.ttl,
    };
    let data = Bytes::from(vec![b'1'; 60 << 10]);
    for _ in 0..100 {
        let draft = Draft {
            data: data.clone(),
            ..Draft::default()
        };
        broker.publish(&post, draft, large, |_, _, _| ()).unwrap();
    }
    let epoch = Some(broker.position(&post).epoch);
    assert_eq!(
        recovered_with(&broker, &post, &since(0, epoch), large)
            .unwrap()
            .len(),
        100
    );
}

#[test]
fn followed_channels_do_not_keep_others_from_making_room() {
    let mut broker = broker();
    broker.limits.channels = 10;
    for n in 0..200 {
        let followed = channel(0, &format!("post:{n}"));
        broker.subscribe(&followed, 0, None, HISTORY);
        publish(&broker, &followed, draft("1"));
    }
    for n in 0..1_000 {
        publish(&broker, &channel(0, &format!("quiet:{n}")), draft("1"));
    }
    assert_eq!(broker.streams.total(), 200);
    for n in 0..200 {
        let followed = channel(0, &format!("post:{n}"));
        assert_eq!(broker.position(&followed).offset, 1, "{n}");
        broker.unsubscribe(&followed, 0);
    }
    publish(&broker, &channel(0, "last"), draft("1"));
    assert!(broker.streams.total() <= 10, "it shrinks again");
}

#[test]
fn every_byte_of_history_is_counted_off_again() {
    let mut broker = broker();
    for n in 0..50 {
        publish(&broker, &channel(0, &format!("post:{n}")), draft("1"));
    }
    (broker.limits.channels, broker.limits.history_bytes) = (0, 0);
    publish(&broker, &channel(0, "last"), draft("1"));
    assert_eq!(broker.bytes.total(), 0);
    assert_eq!(broker.streams.total(), 0);
}
