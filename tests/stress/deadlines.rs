//! Browsers that say nothing, or far too much.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a scenario stops at the first fault"
)]

use std::sync::Arc;

use serde_json::json;
use tokio::{
    task::JoinSet,
    time::{Duration, Instant, sleep},
};

use crate::{
    Scenario,
    browser::{Ended, Next},
    dice::Dice,
    feed::Feed,
    harness::websocket::{CLOSE, FIN, PING, PONG, TEXT, frame},
    world::World,
};

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new("no_pong_is_3012", |w, _| Box::pin(no_pong(w))),
        Scenario::new("silence_after_the_upgrade_is_3502", |w, _| {
            Box::pin(silent(w))
        }),
        Scenario::new("ping_flood", |w, d| Box::pin(pings(w, d))),
        Scenario::new("ping_flood_past_the_rate_is_3013", |w, _| {
            Box::pin(too_many_pings(w))
        }),
        Scenario::new("command_flood_is_3013", |w, _| Box::pin(commands(w))),
    ]
}

/// Done: browsers follow a busy channel; half of them answer no ping. Holds: those are closed with
/// 3012 after both intervals and not before, though they were sent much; the others stay.
async fn no_pong(world: Arc<World>) -> String {
    const CHANNEL: &str = "post:pong";
    let feed = Feed::new(CHANNEL, 50, world.ends).run(Arc::clone(&world.hasty));
    let mut mute = JoinSet::new();
    for _ in 0..6 {
        let since = Instant::now();
        let mut browser = world.hasty.browser(0).await;
        browser.subscribe(CHANNEL).await;
        mute.spawn(async move {
            loop {
                match browser.socket_message().await {
                    Next::Message(_) => {}
                    Next::Ended(ended) => return (ended, since.elapsed()),
                    Next::Broken => return (Ended::broken(), since.elapsed()),
                }
            }
        });
    }
    let mut answering = JoinSet::new();
    for _ in 0..6 {
        let mut browser = world.hasty.browser(0).await;
        browser.subscribe(CHANNEL).await;
        answering.spawn(async move { browser.read_to_the_end().await });
    }
    feed.await;
    let mut latest = 0.0_f32;
    for (ended, after) in mute.join_all().await {
        assert_eq!(
            ended,
            Ended {
                code: 3_012,
                reason: "no pong".into()
            }
        );
        // 1.1 s to the ping, give or take an eighth of one, and 1 s to the close.
        let after = after.as_secs_f32();
        assert!((1.97..15.0).contains(&after), "after {after} s");
        latest = latest.max(after);
    }
    let received: u64 = answering.join_all().await.into_iter().sum();
    format!("6 closed, the last after {latest:.1} s; {received} deliveries to the others")
}

/// Done: connections say nothing, or half a frame, after the upgrade. Holds: 3502 after the second
/// that the configuration gives, again and again.
async fn silent(world: Arc<World>) -> String {
    let mut closed = 0;
    while !world.is_over() {
        let mut silent = JoinSet::new();
        for n in 0..10 {
            let world = Arc::clone(&world);
            silent.spawn(async move {
                let since = Instant::now();
                let mut socket = world.hasty.socket(0).await;
                if n % 2 == 1 {
                    let half = frame(FIN | TEXT, b"{\"id\":1,\"connect\":{}}");
                    socket.send(&half[..9]).await;
                }
                let closed = socket.closed().await;
                assert_eq!((closed.code, &*closed.reason), (3_502, "stale"));
                let after = since.elapsed().as_secs_f32();
                assert!((1.0..15.0).contains(&after), "after {after} s");
            });
        }
        closed += silent.join_all().await.len();
    }
    format!("{closed} closed")
}

/// Done: thousands of WebSocket pings in a row where the rate allows them. Holds: pongs come in
/// order, the last is answered, and replies are not held up.
async fn pings(world: Arc<World>, mut dice: Dice) -> String {
    let mut browser = world.busy.browser(0).await;
    let (mut sent, mut answered) = (0_u32, 0_u32);
    while !world.is_over() {
        let mut bytes = Vec::new();
        for _ in 0..dice.of(1, 500) {
            sent += 1;
            bytes.extend(frame(FIN | PING, &sent.to_be_bytes()));
        }
        browser.socket.send(bytes).await;
        let mut last = 0;
        while last < sent {
            let pong = browser.socket.frame().await.unwrap().unwrap();
            assert_eq!(pong.opcode, PONG, "{pong:?}");
            let number = u32::from_be_bytes(pong.payload.try_into().unwrap());
            assert!(last < number && number <= sent, "{number} after {last}");
            last = number;
            answered += 1;
        }
        let reply = browser.ask(json!({ "ping": {} })).await;
        assert!(reply["error"].is_null(), "{reply}");
        sleep(Duration::from_millis(100)).await;
    }
    format!("{answered} of {sent} pings answered")
}

/// Done: a browser sends pings past the rate of commands. Holds: those of the burst are answered,
/// then 3013.
async fn too_many_pings(world: Arc<World>) -> String {
    let mut browser = world.tight.browser(0).await;
    browser
        .socket
        .send(frame(FIN | PING, b"?").repeat(1_000))
        .await;
    let mut pongs = 0;
    loop {
        let next = browser.socket.frame().await.unwrap().unwrap();
        if next.opcode == CLOSE {
            assert_eq!(next.payload[..2], 3_013_u16.to_be_bytes());
            break;
        }
        assert_eq!(next.opcode, PONG);
        pongs += 1;
    }
    assert!(pongs < 600, "{pongs} answered");
    format!("{pongs} answered before the close")
}

/// Done: browsers send hundreds of commands at once. Holds: the burst that a page may need is
/// answered, then 3013; a browser that keeps to the rate goes on.
async fn commands(world: Arc<World>) -> String {
    let mut quiet = world.tight.browser(0).await;
    let mut floods = JoinSet::new();
    for _ in 0..5 {
        let mut browser = world.tight.browser(0).await;
        floods.spawn(async move {
            let mut lines = String::new();
            for _ in 0..1_000 {
                let id = browser.next_id();
                lines.push_str(&json!({ "id": id, "ping": {} }).to_string());
                lines.push('\n');
            }
            browser.socket.say(lines.trim_end()).await;
            let mut answered = 0_u64;
            let ended = loop {
                match browser.next().await {
                    Next::Message(_) => answered += 1,
                    Next::Ended(ended) => break ended,
                    Next::Broken => break Ended::broken(),
                }
            };
            assert_eq!(
                ended,
                Ended {
                    code: 3_013,
                    reason: "too many requests".into()
                }
            );
            answered
        });
    }
    let answered: u64 = floods.join_all().await.into_iter().sum();
    for _ in 0..20 {
        let reply = quiet.ask(json!({ "ping": {} })).await;
        assert!(reply["error"].is_null(), "{reply}");
    }
    format!("5 floods of 1,000, {answered} answered before the close")
}
