//! What a subscriber is given beside its position: bounded, the newest alone, or nothing.

use super::*;

const LARGE: History = History {
    size: 1_000,
    ttl: Duration::from_secs(300),
};

fn offsets(snapshot: &Snapshot) -> Option<Vec<u64>> {
    let recovered = snapshot.recovered.as_ref()?;
    Some(recovered.iter().map(|p| p.offset).collect())
}

/// Subscribes at the start of a channel with ten publications of 2 bytes each.
fn recovered_within(bounds: Bounds) -> Option<Vec<u64>> {
    let broker = broker();
    let post = channel(0, "post:26");
    for _ in 0..10 {
        let published = broker.publish(&post, draft("10"), LARGE, |_, _, _| ());
        published.unwrap();
    }
    let since = since(0, None);
    offsets(&broker.subscribe(&post, 0, Recovery::Since(&since, bounds), LARGE))
}

#[test]
fn a_recovery_beyond_its_bounds_is_a_gap_and_never_a_part() {
    let bounds = |messages, bytes| Bounds { messages, bytes };
    let all = Some((1..=10).collect());
    assert_eq!(recovered_within(bounds(10, 20)), all);
    assert_eq!(recovered_within(bounds(9, 20)), None);
    assert_eq!(recovered_within(bounds(10, 19)), None);
}

#[test]
fn tags_and_the_publisher_count_against_the_bounds() {
    let broker = broker();
    let post = channel(0, "post:26");
    let tagged = Draft {
        tags: Some("{}".into()),
        info: Some("{\"user\":\"1\"}".into()),
        ..draft("1")
    };
    publish(&broker, &post, tagged);
    let since = since(0, None);
    for (bytes, fits) in [(15, true), (14, false)] {
        let bounds = Bounds { messages: 9, bytes };
        let snapshot = broker.subscribe(&post, 0, Recovery::Since(&since, bounds), HISTORY);
        assert_eq!(snapshot.recovered.is_some(), fits, "{bytes}");
    }
}

#[test]
fn the_newest_publication_is_had_whatever_the_position() {
    let broker = broker();
    let post = channel(0, "post:26");
    let newest = || offsets(&broker.subscribe(&post, 0, Recovery::Newest, HISTORY));
    assert_eq!(newest(), None, "nothing was published");
    for _ in 0..5 {
        publish(&broker, &post, draft("1"));
    }
    assert_eq!(newest(), Some(vec![5]));
    broker.remove_history(&post);
    assert_eq!(newest(), None, "it is gone");
}

#[tokio::test(start_paused = true)]
async fn the_newest_publication_is_not_had_once_it_is_too_old() {
    let broker = broker();
    let post = channel(0, "post:26");
    publish(&broker, &post, draft("1"));
    let newest = || offsets(&broker.subscribe(&post, 0, Recovery::Newest, HISTORY));
    tokio::time::advance(HISTORY.ttl - Duration::from_millis(1)).await;
    assert_eq!(newest(), Some(vec![1]));
    tokio::time::advance(Duration::from_millis(1)).await;
    assert_eq!(newest(), None);
}

#[test]
fn who_asks_for_nothing_is_given_the_position_alone() {
    let broker = broker();
    let post = channel(0, "post:26");
    publish(&broker, &post, draft("1"));
    let snapshot = broker.subscribe(&post, 0, Recovery::None, HISTORY);
    assert_eq!((snapshot.position.offset, offsets(&snapshot)), (1, None));
}

#[test]
fn what_skips_history_reaches_subscribers_and_moves_nothing() {
    let broker = broker();
    let post = channel(0, "post:26");
    broker.subscribe(&post, 1, Recovery::None, HISTORY);
    let skipping = || Draft {
        skip_history: true,
        ..draft("2")
    };
    let before = broker.position(&post);
    for expected in [0, 3] {
        let mut seen = None;
        let deliver = |shards: ShardSet, _: Epoch, publication: &Arc<Publication>| {
            seen = Some((shards.contains(1), publication.offset));
        };
        let published = broker.publish(&post, skipping(), HISTORY, deliver).unwrap();
        assert_eq!(seen, Some((true, 0)));
        assert_eq!(published.position.offset, expected);
        assert_eq!(published.position.epoch, before.epoch);
        if expected == 0 {
            for _ in 0..3 {
                publish(&broker, &post, draft("1"));
            }
        }
    }
    assert_eq!(
        recovered(&broker, &post, &since(0, Some(before.epoch))),
        Some(vec![1, 2, 3])
    );
}

#[test]
fn what_skips_history_leaves_no_channel_behind() {
    let broker = broker();
    let skipping = Draft {
        skip_history: true,
        ..draft("1")
    };
    publish(&broker, &channel(0, "post:26"), skipping);
    assert_eq!(broker.streams.total(), 0);
    let stripes = broker.stripes.iter();
    assert!(
        stripes
            .map(|s| s.lock().unwrap())
            .all(|s| s.channels.is_empty())
    );
}

#[test]
fn a_version_is_compared_whether_or_not_history_is_skipped() {
    let broker = broker();
    let post = channel(0, "post:26");
    let skipping = |version| Draft {
        skip_history: true,
        ..versioned("26:price", version)
    };
    assert!(!publish(&broker, &post, skipping(7)).outdated);
    assert!(publish(&broker, &post, versioned("26:price", 7)).outdated);
    assert!(publish(&broker, &post, skipping(6)).outdated);
    assert!(!publish(&broker, &post, versioned("26:price", 8)).outdated);
    assert_eq!(broker.position(&post).offset, 1);
}

#[test]
fn a_publication_carries_its_key_and_its_publisher() {
    let broker = broker();
    let post = channel(0, "post:26");
    let draft = Draft {
        key: Some("26:price".into()),
        info: Some("{\"user\":\"1\"}".into()),
        ..draft("1")
    };
    broker
        .publish(&post, draft, HISTORY, |_, _, publication| {
            assert_eq!(publication.key.as_deref(), Some("26:price"));
            assert_eq!(publication.info.as_deref(), Some("{\"user\":\"1\"}"));
        })
        .unwrap();
}
