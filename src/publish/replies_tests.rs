//! What is remembered of requests, for how long, and how much.

use std::time::Duration;

use super::*;

fn replies(ids: usize) -> Arc<Replies> {
    replies_for(1, ids)
}

fn replies_for(sites: usize, ids: usize) -> Arc<Replies> {
    let bytes = 4 * sites;
    let room = Room { sites, ids, bytes };
    Arc::new(Replies::new(room, Duration::from_secs(300)))
}

fn verified(id: &str) -> Verified {
    Verified {
        site: SiteId(0),
        id: id.into(),
        timestamp: 1_000,
        scope: Arc::default(),
    }
}

fn reply() -> Reply {
    Reply {
        status: StatusCode::OK,
        body: Bytes::from_static(b"{}"),
    }
}

fn first(replies: &Arc<Replies>, id: &str) -> Pending {
    match replies.enter(&verified(id), b"body", 1_000) {
        Ok(Turn::First(pending)) => pending,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_same_request_gets_the_first_reply_again() {
    let replies = replies(9);
    first(&replies, "a").done(reply());
    let Ok(Turn::Again(again)) = replies.enter(&verified("a"), b"body", 1_300) else {
        panic!()
    };
    assert_eq!(again, reply());
}

#[tokio::test]
async fn a_duplicate_waits_for_the_reply_under_way() {
    let replies = replies(9);
    let pending = first(&replies, "a");
    let Ok(Turn::Awaited(mut again)) = replies.enter(&verified("a"), b"body", 1_000) else {
        panic!()
    };
    assert!(again.borrow().is_none());
    pending.done(reply());
    let seen = again.wait_for(Option::is_some).await.unwrap().clone();
    assert_eq!(seen, Some(reply()));
}

#[test]
fn another_body_under_the_same_id_is_refused() {
    let replies = replies(9);
    first(&replies, "a").done(reply());
    let error = replies.enter(&verified("a"), b"other", 1_000).unwrap_err();
    assert_eq!(error, Error::IdReused);
}

#[test]
fn an_id_of_another_site_is_another_id() {
    let replies = replies_for(2, 9);
    first(&replies, "a").done(reply());
    let other = Verified {
        site: SiteId(1),
        ..verified("a")
    };
    assert!(matches!(
        replies.enter(&other, b"other", 1_000),
        Ok(Turn::First(_))
    ));
}

#[test]
fn an_id_is_kept_a_little_longer_than_its_timestamp_can_pass() {
    let replies = replies(9);
    first(&replies, "a").done(reply());
    assert!(matches!(
        replies.enter(&verified("a"), b"body", 1_305),
        Ok(Turn::Again(_))
    ));
    assert!(matches!(
        replies.enter(&verified("a"), b"body", 1_306),
        Ok(Turn::First(_))
    ));
}

#[test]
fn a_repeat_that_was_signed_anew_is_known_until_its_own_end() {
    let replies = replies(9);
    first(&replies, "a").done(reply());
    let later = Verified {
        timestamp: 1_200,
        ..verified("a")
    };
    for now in [1_200, 1_306, 1_505] {
        let turn = replies.enter(&later, b"body", now);
        assert!(matches!(turn, Ok(Turn::Again(_))), "{now}");
    }
    assert!(matches!(
        replies.enter(&later, b"body", 1_506),
        Ok(Turn::First(_))
    ));
}

#[test]
fn full_refuses_what_is_new_and_forgets_nothing() {
    let replies = replies(1);
    first(&replies, "a").done(reply());
    assert_eq!(
        replies.enter(&verified("b"), b"body", 1_000).unwrap_err(),
        Error::IdsFull
    );
    assert!(matches!(
        replies.enter(&verified("a"), b"body", 1_000),
        Ok(Turn::Again(_))
    ));
}

#[test]
fn the_bytes_of_replies_are_bounded_and_counted_off_again() {
    let replies = replies(9);
    first(&replies, "a").done(reply());
    first(&replies, "b").done(reply());
    let full = replies.enter(&verified("c"), b"body", 1_000);
    assert_eq!(full.unwrap_err(), Error::IdsFull);
    let later = Verified {
        timestamp: 1_306,
        ..verified("c")
    };
    assert!(matches!(
        replies.enter(&later, b"body", 1_306),
        Ok(Turn::First(_))
    ));
    assert_eq!(replies.lock().bytes.total(), 0);
}

#[test]
fn a_site_that_fills_the_store_leaves_the_others_their_part() {
    let replies = replies_for(2, 8);
    let keep = |site: usize| {
        let pending = (0..20).filter_map(|n| {
            let id = n.to_string();
            let verified = Verified {
                site: SiteId(site),
                ..verified(&id)
            };
            match replies.enter(&verified, b"body", 1_000) {
                Ok(Turn::First(pending)) => Some(pending),
                _ => None,
            }
        });
        pending.collect::<Vec<_>>()
    };
    let (first, second) = (keep(0), keep(1));
    assert_eq!((first.len(), second.len()), (6, 2));
    drop(first);
    assert_eq!(keep(1).len(), 4, "what is given back is for all");
}

#[test]
fn what_was_not_finished_may_come_again() {
    let replies = replies(9);
    drop(first(&replies, "a"));
    first(&replies, "a").done(reply());
}
