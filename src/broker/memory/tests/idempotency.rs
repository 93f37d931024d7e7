//! A second request with the same key publishes nothing; what is remembered is bounded.

use super::*;

const WINDOW: Duration = Duration::from_secs(300);

fn keyed(key: &str) -> Draft {
    Draft {
        idempotency_key: Some(key.into()),
        ..draft("1")
    }
}

/// Publishes and tells whether anything was delivered.
fn delivered(broker: &Memory, channel: &ChannelName, draft: Draft) -> (bool, Published) {
    let mut delivered = false;
    let published = broker.publish(channel, draft, HISTORY, |_, _, _| delivered = true);
    (delivered, published.unwrap())
}

#[test]
fn a_repeat_publishes_nothing_and_gets_the_first_position() {
    let broker = broker();
    let post = channel(0, "post:26");
    let (_, first) = delivered(&broker, &post, keyed("a"));
    publish(&broker, &post, draft("1"));
    let (again, repeat) = delivered(&broker, &post, keyed("a"));
    assert!(!again);
    assert_eq!(repeat.position, first.position);
    assert_eq!((first.repeated, repeat.repeated), (false, true));
    assert_eq!(broker.position(&post).offset, 2);
}

#[test]
fn a_key_counts_on_its_own_channel_alone() {
    let broker = broker();
    for channel in [
        channel(0, "post:1"),
        channel(0, "post:2"),
        channel(1, "post:1"),
    ] {
        assert!(delivered(&broker, &channel, keyed("a")).0, "{channel:?}");
        assert!(delivered(&broker, &channel, keyed("b")).0, "{channel:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_is_kept_for_five_minutes_and_no_longer() {
    let broker = broker();
    let post = channel(0, "post:26");
    assert!(delivered(&broker, &post, keyed("a")).0);
    tokio::time::advance(WINDOW - Duration::from_millis(1)).await;
    // A repeat does not make it live longer.
    assert!(!delivered(&broker, &post, keyed("a")).0);
    tokio::time::advance(Duration::from_millis(1)).await;
    assert!(delivered(&broker, &post, keyed("a")).0);
}

#[tokio::test(start_paused = true)]
async fn full_refuses_a_new_key_publishes_nothing_and_forgets_none() {
    let broker = broker().idempotency_keys_max(4);
    let post = channel(0, "post:26");
    for key in ["a", "b", "c"] {
        assert!(delivered(&broker, &post, keyed(key)).0);
    }
    let refused = broker.publish(&post, keyed("d"), HISTORY, |_, _, _| panic!());
    assert_eq!(refused, Err(KeysFull));
    assert_eq!(broker.metrics.keys_full.get(), 1);
    assert!(!delivered(&broker, &post, keyed("a")).0);
    assert!(delivered(&broker, &post, draft("1")).0, "without a key");
    let other = channel(1, "post:26");
    assert!(delivered(&broker, &other, keyed("d")).0, "another site");
    tokio::time::advance(WINDOW).await;
    assert!(delivered(&broker, &post, keyed("d")).0);
}

#[test]
fn a_repeat_of_what_was_outdated_is_told_so() {
    let broker = broker();
    let post = channel(0, "post:26");
    publish(&broker, &post, versioned("26:price", 7));
    let old = || Draft {
        idempotency_key: Some("a".into()),
        ..versioned("26:price", 6)
    };
    assert!(delivered(&broker, &post, old()).1.outdated);
    let (again, repeat) = delivered(&broker, &post, old());
    assert_eq!(
        (again, repeat.outdated, repeat.repeated),
        (false, true, true)
    );
}

#[test]
fn of_many_threads_with_one_key_one_publishes() {
    let broker = broker();
    let post = channel(0, "post:26");
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| delivered(&broker, &post, keyed("a")));
        }
    });
    assert_eq!(broker.position(&post).offset, 1);
}
