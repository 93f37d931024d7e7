//! Who is told of whom, and when.

use super::*;
use crate::{broker::SiteId, realtime::connection::Identity};

const GRACE: Option<Duration> = Some(Duration::from_secs(5));

fn channel() -> ChannelName {
    ChannelName {
        site: SiteId(0),
        name: "edit:26".into(),
    }
}

fn member(user: &str) -> Member {
    Member {
        client: Identity::new(user, None, None).client,
        user: user.into(),
        info: "{}".into(),
    }
}

#[tokio::test(start_paused = true)]
async fn a_reload_within_the_grace_period_is_neither_a_leave_nor_a_join() {
    let presence = Presence::default();
    let (before, after) = (member("7"), member("7"));
    assert_eq!(presence.join(&channel(), before.clone(), 9), Some(true));
    assert_eq!(presence.leave(&channel(), before.client, GRACE), None);
    assert_eq!(presence.stats(&channel()), (1, 1), "still there");
    tokio::time::advance(Duration::from_secs(4)).await;
    assert_eq!(presence.join(&channel(), after.clone(), 9), Some(false));
    assert_eq!(presence.members(&channel()), [after]);
    let left = tokio::time::timeout(Duration::from_secs(60), presence.next_left());
    assert!(left.await.is_err(), "nobody leaves afterwards");
}

#[tokio::test(start_paused = true)]
async fn who_does_not_come_back_has_left_at_the_end_of_the_grace_period() {
    let presence = Presence::default();
    let (first, second) = (member("7"), member("8"));
    presence.join(&channel(), first.clone(), 9);
    presence.join(&channel(), second.clone(), 9);
    presence.leave(&channel(), first.client, Some(Duration::from_secs(9)));
    presence.leave(&channel(), second.client, GRACE);
    let begun = Instant::now();
    assert_eq!(presence.next_left().await, (channel(), second));
    assert_eq!(begun.elapsed().as_secs(), 5);
    assert_eq!(presence.next_left().await, (channel(), first));
    assert_eq!(begun.elapsed().as_secs(), 9);
    assert!(presence.lock().by_channel.is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_was_in_several_channels_leaves_each_of_them() {
    let presence = Presence::default();
    let seven = member("7");
    let other = ChannelName {
        name: "edit:27".into(),
        ..channel()
    };
    for room in [channel(), other] {
        presence.join(&room, seven.clone(), 9);
        presence.leave(&room, seven.client, GRACE);
    }
    let left = [presence.next_left().await, presence.next_left().await];
    let names = left.map(|(room, _)| room.name);
    assert_eq!(names.map(|name| name.to_string()), ["edit:26", "edit:27"]);
    assert!(presence.is_empty());
}

#[test]
fn who_leaves_of_its_own_will_or_has_no_name_leaves_at_once() {
    let presence = Presence::default();
    let (named, nobody) = (member("7"), member(""));
    presence.join(&channel(), named.clone(), 9);
    presence.join(&channel(), nobody.clone(), 9);
    let left = presence.leave(&channel(), named.client, None);
    assert_eq!(left, Some(named));
    let left = presence.leave(&channel(), nobody.client, GRACE);
    assert_eq!(left, Some(nobody));
    assert!(presence.lock().by_channel.is_empty());
}

#[test]
fn a_crowd_is_listed_and_announced_up_to_its_limit() {
    let presence = Presence::default();
    assert_eq!(presence.join(&channel(), member("1"), 2), Some(true));
    assert_eq!(presence.join(&channel(), member("2"), 2), Some(true));
    let third = member("3");
    assert_eq!(presence.join(&channel(), third.clone(), 2), None);
    assert_eq!(presence.members(&channel()).len(), 2);
    assert_eq!(presence.leave(&channel(), third.client, None), None);
}

#[test]
fn two_pages_of_one_user_are_two_clients_and_one_user() {
    let presence = Presence::default();
    assert_eq!(presence.join(&channel(), member("7"), 9), Some(true));
    assert_eq!(presence.join(&channel(), member("7"), 9), Some(true));
    assert_eq!(presence.stats(&channel()), (2, 1));
}
