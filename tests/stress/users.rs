//! Tokens that end, and users that are shut out, while much goes on.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a scenario stops at the first fault"
)]

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use serde_json::json;
use tokio::{
    task::JoinSet,
    time::{Duration, Instant, sleep},
};

use crate::{
    Scenario,
    browser::{Browser, Ended, Next},
    feed::{self, Feed},
    harness::{
        unix_now,
        websocket::{CLOSE, TEXT},
    },
    world::{Place, World},
};

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new("tokens_are_renewed_under_load", |w, _| Box::pin(renewed(w))),
        Scenario::new("tokens_end_under_load", |w, _| Box::pin(end(w))),
        Scenario::new("unsubscribed_by_channel_under_load", |w, _| {
            Box::pin(unsubscribed(w))
        }),
    ]
}

/// What is measured, one after the other when the rest is over.
pub(crate) fn measured() -> Vec<Scenario> {
    vec![Scenario::new("a_revoked_user_is_out_at_once", |w, _| {
        Box::pin(revoked(w))
    })]
}

/// Done: browsers with tokens of three seconds renew them each second while they are sent much.
/// Holds: they stay and miss nothing.
async fn renewed(world: Arc<World>) -> String {
    const CHANNEL: &str = "post:renew";
    let feed = Feed::new(CHANNEL, 30, world.ends).run(Arc::clone(&world.busy));
    let mut browsers = JoinSet::new();
    for n in 0..5 {
        let world = Arc::clone(&world);
        browsers.spawn(async move {
            let user = format!("renew{n}");
            let token = || Place::token(0, &user, 3, json!({}));
            let mut browser = world.busy.browser_with(0, &token()).await;
            browser.subscribe(CHANNEL).await;
            let mut renewed = 0;
            while !world.is_over() {
                browser.read_for(Duration::from_secs(1)).await;
                let reply = browser
                    .ask(json!({ "refresh": { "token": token() } }))
                    .await;
                let ttl = reply["refresh"]["ttl"].as_u64();
                assert!(ttl.is_some_and(|ttl| (1..=3).contains(&ttl)), "{reply}");
                renewed += 1;
            }
            browser.read_to_the_end().await;
            renewed
        });
    }
    let (published, renewed) = tokio::join!(feed, browsers.join_all());
    let renewed: u64 = renewed.into_iter().sum();
    format!("{renewed} tokens renewed during {published} publications")
}

/// Done: plain streams with tokens of two seconds, connects with tokens that have ended, and
/// renewals with them. Holds: a stream ends with its token, not before and hardly later; error 109
/// lets a client fetch another token; a renewal with an old one is 3005.
async fn end(world: Arc<World>) -> String {
    const CHANNEL: &str = "post:expire";
    let feed = Feed::new(CHANNEL, 50, world.ends).run(Arc::clone(&world.busy));
    let ending = async {
        let (mut streams, mut refused) = (0, 0);
        while !world.is_over() {
            stream_ends_with_its_token(&world, CHANNEL).await;
            streams += 1;
            let old = token_of_the_past();
            is_no_token(&world.busy, &old).await;
            let token = Place::token(0, "expire", 60, json!({}));
            let mut browser = world.busy.browser_with(0, &token).await;
            browser.subscribe(CHANNEL).await;
            browser
                .command(json!({ "refresh": { "token": old } }))
                .await;
            let reason = "connection expired".into();
            assert_eq!(
                browser.ended().await,
                Ended {
                    code: 3_005,
                    reason
                }
            );
            refused += 2;
        }
        (streams, refused)
    };
    let (published, (streams, refused)) = tokio::join!(feed, ending);
    format!("{streams} streams ended, {refused} refused during {published} publications")
}

/// A token that ended ten seconds ago.
fn token_of_the_past() -> String {
    let now = unix_now();
    Place::token_of(
        0,
        &json!({ "sub": "expire", "iat": now - 60, "exp": now - 10 }),
    )
}

async fn stream_ends_with_its_token(world: &World, channel: &str) {
    let token = Place::token(0, "stream", 2, json!({}));
    let expires = unix_now() + 2;
    let fields = format!("Sec-WebSocket-Protocol: sidewire, token.{token}\r\n");
    let target = format!("/realtime?channel={channel}");
    let mut socket = world.busy.upgrade(0, &target, &fields).await.unwrap();
    let mut events = 0;
    loop {
        let frame = socket.frame().await.unwrap().unwrap();
        if frame.opcode == CLOSE {
            assert_eq!(frame.payload[..2], 1_008_u16.to_be_bytes());
            break;
        }
        assert_eq!(frame.opcode, TEXT);
        events += 1;
    }
    let now = unix_now();
    assert!(
        now + 1 >= expires && now <= expires + 3,
        "ended {now}, not {expires}"
    );
    assert!(events > 0);
}

/// Done: users follow a private channel and a public one, both busy, and are unsubscribed from the
/// private one by the API. Holds: nothing that was published after the answer reaches them, they
/// are told, their token lets them in no more, and the public channel goes on without a gap.
async fn unsubscribed(world: Arc<World>) -> String {
    const PUBLIC: &str = "post:beside";
    let public = Feed::new(PUBLIC, 20, world.ends).run(Arc::clone(&world.busy));
    let rounds = async {
        let mut rounds = 0;
        while !world.is_over() {
            unsubscribe_one(&world, PUBLIC, rounds).await;
            rounds += 1;
        }
        rounds
    };
    let (published, rounds) = tokio::join!(public, rounds);
    format!("{rounds} unsubscribed during {published} publications beside")
}

async fn unsubscribe_one(world: &Arc<World>, public: &str, round: u64) {
    let private = format!("edit:{round}");
    let user = format!("editor{round}");
    let token = Place::token(0, &user, 60, json!({}));
    let permit = Place::token(0, &user, 60, json!({ "channel": private }));
    let mut browser = world.busy.browser_with(0, &token).await;
    browser.subscribe(public).await;
    let wish = json!({ "channel": private, "token": permit });
    browser.subscribe_as(wish.clone()).await;
    let late = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicBool::new(false));
    let mut publishing = JoinSet::new();
    publishing.spawn({
        let (place, late, done) = (
            Arc::clone(&world.busy),
            Arc::clone(&late),
            Arc::clone(&done),
        );
        let private = private.clone();
        async move {
            let publisher = place.publisher(0);
            let mut kept = publisher.connect().await;
            let mut n = 0;
            while !done.load(Ordering::SeqCst) {
                n += 1;
                let late = late.load(Ordering::SeqCst);
                let data = json!({ "site": 0, "channel": private, "by": 0, "n": n, "late": late });
                feed::publish(&mut kept, &publisher, &private, &data).await;
            }
        }
    });
    browser.read_for(Duration::from_millis(100)).await;
    let body = json!({ "user": user, "channel": private });
    let call = async {
        world.busy.call(0, "unsubscribe", &body).await;
        late.store(true, Ordering::SeqCst);
    };
    let told = async {
        loop {
            let message = browser.message().await;
            assert_ne!(message["push"]["pub"]["data"]["late"], true, "{message}");
            let unsubscribe = &message["push"]["unsubscribe"];
            if unsubscribe.is_object() {
                assert_eq!(message["push"]["channel"], *private, "{message}");
                assert_eq!(unsubscribe["code"], 2_000, "{message}");
                return;
            }
        }
    };
    tokio::join!(call, told);
    // The ledger no longer knows the channel: anything of it stops the scenario.
    browser.read_for(Duration::from_millis(100)).await;
    let reply = browser.ask(json!({ "subscribe": wish })).await;
    assert!(
        [103, 109].contains(&reply["error"]["code"].as_u64().unwrap_or_default()),
        "{reply}"
    );
    done.store(true, Ordering::SeqCst);
    publishing.join_all().await;
}

/// Done: users with three connections each are disconnected by the API while their hub fans out
/// to 150 browsers as fast as it can. Holds: half of the connections are closed within 100 ms of
/// the request being written, every one within five times that; the token lets nobody in again.
async fn revoked(world: Arc<World>) -> String {
    const ROUNDS: usize = 5;
    const CHANNEL: &str = "post:revoke";
    let ends = Instant::now() + Duration::from_secs(60);
    let mut crowd = JoinSet::new();
    for mut browser in world.busy.browsers(0, 150, &[CHANNEL.to_owned()]).await {
        crowd.spawn(async move { browser.read_until(ends).await });
    }
    let mut feeds = JoinSet::new();
    feeds.spawn(Feed::new(CHANNEL, 20, ends).run(Arc::clone(&world.busy)));
    let mut taken = Vec::new();
    for round in 0..ROUNDS {
        taken.extend(revoke(&world.busy, CHANNEL, &format!("revoked{round}")).await);
    }
    assert!(crowd.try_join_next().is_none(), "the others stay");
    feeds.shutdown().await;
    crowd.shutdown().await;
    taken.sort_unstable();
    let (middle, last) = (taken[taken.len() / 2], taken[taken.len() - 1]);
    let counters = format!(
        "{} closed: {middle:.1?} (p50), {last:.1?} (max)",
        taken.len()
    );
    assert!(middle < Duration::from_millis(100), "{counters}");
    assert!(last < Duration::from_millis(500), "{counters}");
    counters
}

/// Disconnects `user`, who has three connections; how long each took.
async fn revoke(place: &Arc<Place>, channel: &str, user: &str) -> Vec<Duration> {
    let token = Place::token(0, user, 60, json!({}));
    let mut victims = JoinSet::new();
    for _ in 0..3 {
        let mut victim = place.browser_with(0, &token).await;
        victim.subscribe(channel).await;
        victims.spawn(async move { (victim.ended().await, Instant::now()) });
    }
    sleep(Duration::from_millis(100)).await;
    let since = Instant::now();
    place.call(0, "disconnect", &json!({ "user": user })).await;
    let mut taken = Vec::new();
    for (ended, at) in victims.join_all().await {
        let reason = "force disconnect".into();
        assert_eq!(
            ended,
            Ended {
                code: 3_503,
                reason
            }
        );
        taken.push(at.duration_since(since));
    }
    is_no_token(place, &token).await;
    taken
}

/// A token that does not hold any more is told so: the client may fetch another.
async fn is_no_token(place: &Place, token: &str) {
    let socket = place.socket(0).await;
    match Browser::try_connect(socket, 0, token).await {
        Err(Next::Message(reply)) => assert_eq!(reply["error"]["code"], 109, "{reply}"),
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it was taken"),
    }
}
