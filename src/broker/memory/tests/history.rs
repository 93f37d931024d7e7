//! Pages of history, forwards and backwards, and its removal.

use super::*;
use crate::broker::Beyond;

const LARGE: History = History {
    size: 10,
    ttl: Duration::from_secs(300),
};

/// A channel with publications 1 to 15, of which 6 to 15 are kept.
fn filled() -> (Memory, ChannelName) {
    let broker = broker();
    let post = channel(0, "post:26");
    for _ in 0..15 {
        let published = broker.publish(&post, draft("10"), LARGE, |_, _, _| ());
        published.unwrap();
    }
    (broker, post)
}

fn page(
    (broker, post): &(Memory, ChannelName),
    filter: &HistoryFilter,
) -> Result<Vec<u64>, Unrecoverable> {
    let (page, beyond) = bounded(broker, post, filter, Bounds::NONE)?;
    assert_eq!(beyond, None);
    Ok(page)
}

fn bounded(
    broker: &Memory,
    post: &ChannelName,
    filter: &HistoryFilter,
    bounds: Bounds,
) -> Result<(Vec<u64>, Option<Beyond>), Unrecoverable> {
    let page = broker.history(post, filter, bounds, LARGE)?;
    assert_eq!(page.position, broker.position(post));
    let offsets = page.publications.iter().map(|p| p.offset);
    Ok((offsets.collect(), page.beyond))
}

fn filter(limit: Option<usize>, since: Option<Since>, reverse: bool) -> HistoryFilter {
    HistoryFilter {
        limit,
        since,
        reverse,
    }
}

#[test]
fn without_a_position_a_page_begins_at_the_oldest_or_at_the_newest() {
    let filled = filled();
    let pages = [
        (None, false, (6..=15).collect()),
        (None, true, (6..=15).rev().collect()),
        (Some(3), false, vec![6, 7, 8]),
        (Some(3), true, vec![15, 14, 13]),
        (Some(0), false, vec![]),
        (Some(0), true, vec![]),
        (Some(99), false, (6..=15).collect()),
    ];
    for (limit, reverse, expected) in pages {
        let page = page(&filled, &filter(limit, None, reverse));
        assert_eq!(page, Ok(expected), "{limit:?} {reverse}");
    }
}

#[test]
fn pages_follow_each_other_without_gap_or_repeat_in_both_directions() {
    let filled = filled();
    let epoch = filled.0.position(&filled.1).epoch;
    for (reverse, start, expected) in [
        (false, 5, (6..=15).collect::<Vec<_>>()),
        (true, 16, (6..=15).rev().collect()),
    ] {
        let mut seen = Vec::new();
        let mut from = start;
        loop {
            let filter = filter(Some(3), Some(since(from, Some(epoch))), reverse);
            let page = page(&filled, &filter).unwrap();
            let Some(last) = page.last() else { break };
            from = *last;
            seen.extend(page);
            assert!(seen.len() <= expected.len(), "{seen:?}");
        }
        assert_eq!(seen, expected, "{reverse}");
    }
}

#[test]
fn a_position_that_something_is_missing_after_is_unrecoverable() {
    let filled = filled();
    let epoch = filled.0.position(&filled.1).epoch;
    let cases = [
        (5, Some(epoch), false, true),
        (4, Some(epoch), false, false),
        (15, Some(epoch), false, true),
        (16, Some(epoch), false, false),
        (15, Some(Epoch(1)), false, false),
        (15, None, false, true),
        (16, Some(epoch), true, true),
        (17, Some(epoch), true, false),
        (15, Some(Epoch(1)), true, false),
        (3, Some(epoch), true, true),
    ];
    for (offset, epoch, reverse, known) in cases {
        let filter = filter(None, Some(since(offset, epoch)), reverse);
        let page = page(&filled, &filter);
        assert_eq!(page.is_ok(), known, "{offset} {epoch:?} {reverse}");
    }
}

#[test]
fn another_epoch_is_told_even_where_the_position_alone_is_asked_for() {
    let filled = filled();
    let other = filter(Some(0), Some(since(15, Some(Epoch(1)))), false);
    assert_eq!(page(&filled, &other), Err(Unrecoverable));
}

#[test]
fn a_page_is_cut_at_its_bounds_but_never_empty_for_them_and_tells_which_it_was() {
    let (broker, post) = filled();
    let (messages, bytes) = (Some(Beyond::Messages), Some(Beyond::Bytes));
    for (limit, bounds, expected, beyond) in [
        (None, (3, 99), vec![6, 7, 8], messages),
        (None, (99, 5), vec![6, 7], bytes),
        (None, (99, 1), vec![6], bytes),
        (None, (99, 4), vec![6, 7], bytes),
        (Some(4), (3, 99), vec![6, 7, 8], messages),
        (Some(3), (99, 4), vec![6, 7], bytes),
        // What was asked for is no cut, nor is the end of history.
        (Some(3), (3, 6), vec![6, 7, 8], None),
        (Some(2), (3, 99), vec![6, 7], None),
        (Some(2), (99, 4), vec![6, 7], None),
        (Some(0), (1, 1), vec![], None),
        (None, (10, 20), (6..=15).collect(), None),
    ] {
        let asked = filter(limit, None, false);
        let (messages, bytes) = bounds;
        let page = bounded(&broker, &post, &asked, Bounds { messages, bytes });
        assert_eq!(page, Ok((expected, beyond)), "{limit:?} {bounds:?}");
    }
}

#[test]
fn a_channel_that_nothing_was_published_to_has_an_empty_history() {
    let broker = broker();
    let quiet = (broker, channel(0, "post:1"));
    let epoch = quiet.0.position(&quiet.1).epoch;
    assert_eq!(page(&quiet, &filter(None, None, false)), Ok(vec![]));
    let start = filter(None, Some(since(0, Some(epoch))), false);
    assert_eq!(page(&quiet, &start), Ok(vec![]));
    let above = filter(None, Some(since(1, Some(epoch))), false);
    assert_eq!(page(&quiet, &above), Err(Unrecoverable));
}

#[tokio::test(start_paused = true)]
async fn what_is_too_old_is_on_no_page() {
    let filled = filled();
    tokio::time::advance(LARGE.ttl).await;
    assert_eq!(page(&filled, &filter(None, None, false)), Ok(vec![]));
    assert_eq!(filled.0.bytes.total(), 0);
    assert_eq!(filled.0.position(&filled.1).offset, 15);
}

#[test]
fn a_removed_history_is_a_gap_for_whoever_missed_some_of_it_and_the_offsets_go_on() {
    let (broker, post) = filled();
    let position = broker.position(&post);
    broker.remove_history(&post);
    assert_eq!(broker.position(&post), position);
    assert_eq!(broker.bytes.total(), 0);
    let at = |offset| since(offset, Some(position.epoch));
    assert_eq!(recovered(&broker, &post, &at(14)), None);
    assert_eq!(recovered(&broker, &post, &at(15)), Some(vec![]));
    let next = publish(&broker, &post, draft("1")).position;
    assert_eq!((next.offset, next.epoch), (16, position.epoch));
    assert_eq!(recovered(&broker, &post, &at(15)), Some(vec![16]));
    assert_eq!(recovered(&broker, &post, &at(14)), None);
}

#[test]
fn versions_go_with_the_history() {
    let broker = broker();
    let post = channel(0, "post:26");
    publish(&broker, &post, versioned("26:price", 7));
    broker.remove_history(&post);
    assert!(!publish(&broker, &post, versioned("26:price", 1)).outdated);
}

#[test]
fn a_channel_without_history_may_be_told_to_forget_it() {
    let broker = broker();
    let post = channel(0, "post:26");
    broker.remove_history(&post);
    assert_eq!(publish(&broker, &post, draft("1")).position.offset, 1);
}
