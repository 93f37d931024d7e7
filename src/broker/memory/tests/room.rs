//! What makes room for what is new: by age across all channels, and by site before that.

use super::*;

/// Bytes that one publication of `draft("1")` weighs.
const ONE: usize = 129;

fn post(n: usize) -> ChannelName {
    channel(0, &format!("post:{n}"))
}

fn of_site(site: usize, n: usize) -> ChannelName {
    channel(site, &format!("post:{n}"))
}

fn skipping(key: &str, version: u64) -> Draft {
    Draft {
        skip_history: true,
        ..versioned(key, version)
    }
}

fn has_history(broker: &Memory, channel: &ChannelName) -> bool {
    let all = HistoryFilter::default();
    let page = broker.history(channel, &all, Bounds::NONE, HISTORY);
    !page.unwrap().publications.is_empty()
}

/// Whether the channel has a stream, without making it one.
fn has_stream(broker: &Memory, channel: &ChannelName) -> bool {
    let stripe = broker.stripe(broker.hasher.hash_one(channel));
    let entry = stripe.channels.get(channel);
    entry.is_some_and(|entry| entry.stream.is_some())
}

/// How many of `channels` went; all of them are older than those that stayed.
fn gone(
    channels: impl Iterator<Item = ChannelName>,
    stays: impl Fn(&ChannelName) -> bool,
) -> usize {
    let stayed: Vec<bool> = channels.map(|channel| stays(&channel)).collect();
    let gone = stayed.iter().take_while(|stayed| !**stayed).count();
    let later = stayed.iter().filter(|stayed| !**stayed).count();
    assert_eq!(gone, later, "one that is newer went: {stayed:?}");
    gone
}

#[test]
fn versions_count_against_the_bytes_of_history_and_the_oldest_are_forgotten() {
    let mut broker = broker();
    broker.limits.history_bytes = 30_000;
    for channel in 0..10 {
        for key in 0..100 {
            publish(&broker, &post(channel), skipping(&key.to_string(), 7));
        }
    }
    assert!(used_bytes(&broker) <= 30_000);
    let remembered = |stripe: &Mutex<Stripe>| -> usize {
        let stripe = stripe.lock().unwrap();
        let streams = stripe.channels.values().filter_map(|c| c.stream.as_ref());
        streams.map(|stream| stream.versions()).sum()
    };
    let kept: usize = broker.stripes.iter().map(remembered).sum();
    assert!((102..=30_000 / 192).contains(&kept), "{kept}");
    let forgotten = broker.metrics.versions_dropped.get();
    assert_eq!(forgotten, 1_000 - kept as u64);
    let outdated = |channel, key: &str| publish(&broker, &post(channel), skipping(key, 7)).outdated;
    assert!(outdated(9, "0"), "the newest channel has all of them");
    assert!(outdated(8, "99"), "the newest of a channel stay");
    assert!(!outdated(8, "0"), "and its oldest go");
    assert!(!outdated(0, "99"), "those of older channels go before");
}

#[test]
fn a_channel_loses_its_publications_before_its_versions() {
    let mut broker = broker();
    broker.limits.history_bytes = 990;
    for n in 0..3 {
        publish(&broker, &post(1), versioned(&n.to_string(), 7));
    }
    for _ in 0..3 {
        publish(&broker, &post(2), draft("1"));
    }
    assert!(!has_history(&broker, &post(1)));
    assert!(has_history(&broker, &post(2)));
    assert_eq!(broker.metrics.versions_dropped.get(), 0);
    for n in 0..3 {
        assert!(publish(&broker, &post(1), versioned(&n.to_string(), 7)).outdated);
    }
}

#[test]
fn the_version_not_published_to_for_longest_is_forgotten_though_history_is_skipped() {
    let mut broker = broker();
    broker.limits.versions = 3;
    // Often enough that no order of chance passes.
    for n in 0..20 {
        for key in ["a", "b", "c"] {
            publish(&broker, &post(n), skipping(key, 1));
        }
        publish(&broker, &post(n), skipping("a", 2));
        publish(&broker, &post(n), skipping("d", 1));
        for key in ["a", "c", "d"] {
            assert!(
                publish(&broker, &post(n), skipping(key, 1)).outdated,
                "{key}"
            );
        }
        let forgotten = broker.metrics.versions_dropped.get();
        assert!(!publish(&broker, &post(n), skipping("b", 1)).outdated);
        assert_eq!(broker.metrics.versions_dropped.get(), forgotten + 1);
    }
}

#[test]
fn a_version_that_replaces_one_weighs_as_much_as_the_one() {
    let broker = broker();
    publish(&broker, &post(1), skipping("a", 1));
    let once = used_bytes(&broker);
    assert!(once > 0);
    for (version, epoch) in [(2, ""), (1, "restored"), (2, "")] {
        let draft = Draft {
            version_epoch: epoch.into(),
            ..skipping("a", version)
        };
        publish(&broker, &post(1), draft);
        assert_eq!(used_bytes(&broker), once + epoch.len());
    }
    assert_eq!(broker.metrics.versions_dropped.get(), 0);
    broker.remove_history(&post(1));
    assert_eq!(used_bytes(&broker), 0);
}

#[test]
fn the_history_of_the_channel_published_to_longest_ago_makes_room_wherever_it_is_kept() {
    let mut broker = broker();
    broker.limits.history_bytes = 50 * ONE;
    for n in 0..60 {
        publish(&broker, &post(n), draft("1"));
    }
    let gone = gone((0..60).map(post), |channel| has_history(&broker, channel));
    assert!((10..=12).contains(&gone), "{gone}");
}

#[test]
fn a_busy_channel_keeps_its_history_while_quiet_ones_have_some() {
    let mut broker = broker();
    broker.limits.history_bytes = 50 * ONE;
    for n in 0..49 {
        publish(&broker, &post(n), draft("1"));
    }
    let (busy, size) = (channel(0, "busy"), 40);
    let ttl = HISTORY.ttl;
    for _ in 0..size {
        let kept = History { size, ttl };
        let published = broker.publish(&busy, draft("1"), kept, |_, _, _| ());
        published.unwrap();
    }
    let page = broker.history(
        &busy,
        &HistoryFilter::default(),
        Bounds::NONE,
        History { size, ttl },
    );
    assert_eq!(page.unwrap().publications.len(), size);
    let gone = gone((0..49).map(post), |channel| has_history(&broker, channel));
    assert!((39..=41).contains(&gone), "{gone}");
}

#[test]
fn the_channel_published_to_longest_ago_makes_room_wherever_it_is_kept() {
    let mut broker = broker();
    broker.limits.channels = 50;
    for n in 0..60 {
        publish(&broker, &post(n), draft("1"));
    }
    let gone = gone((0..60).map(post), |channel| has_stream(&broker, channel));
    assert_eq!(gone, 10);
}

#[test]
fn a_site_that_floods_leaves_the_history_of_others_their_part() {
    let mut broker = broker();
    broker.limits.history_bytes = 100 * ONE;
    for n in 0..25 {
        publish(&broker, &of_site(1, n), draft("1"));
    }
    for n in 0..1_000 {
        publish(&broker, &of_site(0, n), draft("1"));
    }
    for n in 0..25 {
        assert!(has_history(&broker, &of_site(1, n)), "{n}");
    }
    assert!(used_bytes(&broker) > 95 * ONE, "the rest is in use");
    for n in 0..1_000 {
        publish(&broker, &of_site(1, n), draft("1"));
    }
    let kept = (0..1_000).filter(|n| has_history(&broker, &of_site(0, *n)));
    assert!(
        (24..=27).contains(&kept.count()),
        "now the other one flooded"
    );
}

#[test]
fn a_site_that_floods_leaves_the_channels_of_others_their_part() {
    let mut broker = broker();
    broker.limits.channels = 40;
    for n in 0..10 {
        publish(&broker, &of_site(1, n), draft("1"));
    }
    for n in 0..1_000 {
        publish(&broker, &of_site(0, n), draft("1"));
    }
    for n in 0..10 {
        assert!(has_stream(&broker, &of_site(1, n)), "{n}");
    }
    let kept = (0..1_000).filter(|n| has_stream(&broker, &of_site(0, *n)));
    assert_eq!(kept.count(), 30, "the rest is in use");
}

#[test]
fn room_is_made_for_many_publications_at_once() {
    let mut broker = broker();
    broker.limits.history_bytes = 640 * ONE;
    for n in 0..640 {
        publish(&broker, &post(n), draft("1"));
    }
    assert_eq!(used_bytes(&broker), 640 * ONE);
    publish(&broker, &post(640), draft("1"));
    assert_eq!(used_bytes(&broker), 630 * ONE);
}

#[test]
fn a_site_whose_channels_are_all_followed_takes_no_others_part() {
    let mut broker = broker();
    broker.limits.channels = 8;
    for n in 0..20 {
        broker.subscribe(&of_site(0, n), 0, None, HISTORY);
        publish(&broker, &of_site(0, n), draft("1"));
    }
    for n in 0..10 {
        publish(&broker, &of_site(1, n), draft("1"));
    }
    let kept = (0..10).filter(|n| has_stream(&broker, &of_site(1, *n)));
    assert_eq!(kept.count(), 2, "what is set aside for it");
    assert!(has_stream(&broker, &of_site(1, 9)));
}

/// Adds up what the channels hold, and checks that each stands in the lines where it belongs.
fn recount(broker: &Memory) -> (usize, usize) {
    let (mut bytes, mut streams) = (0, 0);
    for stripe in &broker.stripes {
        let stripe = stripe.lock().unwrap();
        let (mut kept, mut unfollowed) = (0, 0);
        for (name, entry) in &stripe.channels {
            let Some(stream) = &entry.stream else {
                continue;
            };
            let place = (name.site, stream.turn);
            streams += 1;
            bytes += stream.bytes();
            if stream.bytes() > 0 {
                kept += 1;
                assert_eq!(stripe.kept.get(&place), Some(name));
            }
            if entry.shards.is_empty() {
                unfollowed += 1;
                assert_eq!(stripe.unfollowed.get(&place), Some(name));
            }
        }
        assert_eq!(
            (stripe.kept.len(), stripe.unfollowed.len()),
            (kept, unfollowed)
        );
    }
    (bytes, streams)
}

#[test]
fn what_many_publish_at_once_is_counted_to_the_byte() {
    let mut broker = broker();
    (broker.limits.channels, broker.limits.history_bytes) = (100, 20_000);
    let busy = |thread: usize| {
        for n in 0..3_000 {
            let channel = of_site(n % 2, n * 7 % 300 / (1 + thread));
            match n % 5 {
                0 => drop(broker.subscribe(&channel, thread, None, HISTORY)),
                1 => broker.unsubscribe(&channel, thread),
                2 => drop(publish(&broker, &channel, skipping(&n.to_string(), 1))),
                3 if n % 11 == 0 => broker.remove_history(&channel),
                _ => drop(publish(&broker, &channel, draft("1"))),
            }
        }
        for n in 0..300 {
            for site in 0..2 {
                broker.unsubscribe(&of_site(site, n), thread);
            }
        }
    };
    let busy = &busy;
    std::thread::scope(|scope| {
        for thread in 0..4 {
            scope.spawn(move || busy(thread));
        }
    });
    publish(&broker, &post(1), draft("1"));
    let counted = (broker.bytes.total(), broker.streams.total());
    assert_eq!(recount(&broker), counted);
    assert!(counted.0 <= 20_000 && counted.1 <= 100, "{counted:?}");
    assert!(broker.metrics.evictions.get() > 100);
    assert!(broker.metrics.versions_dropped.get() > 100);
}
