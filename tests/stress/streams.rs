//! Plain streams: bare events over a WebSocket, and server-sent events, resumed after cuts.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a scenario stops at the first fault"
)]

use std::{collections::HashMap, sync::Arc};

use serde_json::Value;
use tokio::{
    task::JoinSet,
    time::{Duration, Instant, sleep_until},
};

use crate::{
    Scenario,
    dice::Dice,
    feed::Feed,
    harness::websocket::{FIN, PING, PONG, TEXT, frame},
    ledger::judge,
    world::World,
};

const CHANNELS: [&str; 2] = ["post:stream:1", "post:stream:2"];
const QUERY: &str = "channel=post:stream:1&channel=post:stream:2";

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![Scenario::new("plain_streams_resume", |w, d| {
        Box::pin(resume(w, d))
    })]
}

/// What a stream has seen: the last number of each channel, and which have ended.
#[derive(Clone, Debug, Default)]
struct Seen {
    numbers: HashMap<String, u64>,
    ended: usize,
}

/// A stream and its position, with what was seen up to there.
#[derive(Default)]
struct Follower {
    seen: Seen,
    at: Option<(String, Seen)>,
    events: u64,
    resumed: u64,
}

impl Follower {
    fn event(&mut self, text: &str) {
        let event: Value = serde_json::from_str(text).unwrap();
        match event["type"].as_str() {
            Some("sidewire_position") => {
                let id = event["id"].as_str().unwrap().to_owned();
                return self.at = Some((id, self.seen.clone()));
            }
            Some("sidewire_gap") => panic!("a gap: {text}"),
            _ => {}
        }
        assert_eq!(event["site"], 0, "misrouted: {text}");
        let channel = event["channel"].as_str().unwrap();
        assert!(CHANNELS.contains(&channel), "misrouted: {text}");
        if event["end"] == true {
            self.seen.ended += 1;
            return;
        }
        let n = event["n"].as_u64().unwrap();
        let before = self.seen.numbers.insert(channel.to_owned(), n);
        judge(channel, "number", before, n);
        self.events += 1;
    }

    /// Goes back to the position: what was seen after it comes again.
    fn cut(&mut self) -> Option<String> {
        let (id, seen) = self.at.clone()?;
        self.seen = seen;
        self.resumed += 1;
        Some(id)
    }

    fn is_done(&self) -> bool {
        self.seen.ended == CHANNELS.len()
    }
}

/// Done: WebSockets with positions and event streams follow two busy channels, are cut off at any
/// moment and resume. Holds: from their position on they get everything once and in order.
async fn resume(world: Arc<World>, mut dice: Dice) -> String {
    let mut followers = JoinSet::new();
    for n in 0..6 {
        let (world, dice) = (Arc::clone(&world), dice.split());
        if n % 2 == 0 {
            followers.spawn(async move { sockets(world, dice).await });
        } else {
            followers.spawn(async move { events(world, dice).await });
        }
    }
    let mut feeds = JoinSet::new();
    for channel in CHANNELS {
        feeds.spawn(Feed::new(channel, 25, world.ends).run(Arc::clone(&world.busy)));
    }
    let published: u64 = feeds.join_all().await.into_iter().sum();
    let (mut events, mut resumed) = (0, 0);
    for follower in followers.join_all().await {
        events += follower.events;
        resumed += follower.resumed;
    }
    assert!(resumed > 0);
    format!("{resumed} times resumed, {events} events of {published} publications")
}

/// When a stream is cut: for good only when all was said.
fn until(world: &World, dice: &mut Dice) -> Instant {
    if world.is_over() {
        return Instant::now() + Duration::from_secs(60);
    }
    Instant::now() + Duration::from_millis(dice.of(50, 900))
}

async fn sockets(world: Arc<World>, mut dice: Dice) -> Follower {
    let mut follower = Follower::default();
    while !follower.is_done() {
        let since = follower.cut().map(|id| format!("&since={id}"));
        let target = format!("/realtime?{QUERY}&position=1{}", since.unwrap_or_default());
        let mut socket = world.busy.upgrade(0, &target, "").await.unwrap();
        let end = until(&world, &mut dice);
        while !follower.is_done() {
            let frame_ = tokio::select! {
                biased;
                frame = socket.frame() => frame.unwrap().unwrap(),
                () = sleep_until(end) => break,
            };
            match frame_.opcode {
                TEXT => follower.event(std::str::from_utf8(&frame_.payload).unwrap()),
                PING => socket.send(frame(FIN | PONG, &frame_.payload)).await,
                _ => panic!("{frame_:?}"),
            }
        }
    }
    follower
}

async fn events(world: Arc<World>, mut dice: Dice) -> Follower {
    let mut follower = Follower::default();
    while !follower.is_done() {
        let since = follower.cut();
        let mut client = world.busy.events(0, QUERY, since.as_deref()).await;
        let end = until(&world, &mut dice);
        let head = client.head().await.unwrap();
        assert_eq!(head.status, 200);
        let mut framing = head.framing();
        let mut text = String::new();
        while !follower.is_done() {
            let piece = tokio::select! {
                biased;
                piece = client.piece(&mut framing) => piece.unwrap().unwrap(),
                () = sleep_until(end) => break,
            };
            text.push_str(std::str::from_utf8(&piece).unwrap());
            while let Some(length) = text.find("\n\n") {
                let event: String = text.drain(..length + 2).collect();
                server_sent(&mut follower, &event);
            }
        }
    }
    follower
}

/// Takes one server-sent event in, whose id is the position after it.
fn server_sent(follower: &mut Follower, event: &str) {
    let field = |name| event.lines().find_map(|line| line.strip_prefix(name));
    if let Some(data) = field("data: ") {
        follower.event(data);
    }
    if let Some(id) = field("id: ") {
        follower.at = Some((id.to_owned(), follower.seen.clone()));
    }
}
