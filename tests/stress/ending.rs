//! The end of the process, of its socket's file, and of all that scenarios left behind.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a scenario stops at the first fault"
)]

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::process::Signal;
use serde_json::json;
use tokio::{
    net::UnixStream,
    task::JoinSet,
    time::{Duration, sleep},
};

use crate::{
    Scenario,
    browser::Ended,
    feed,
    harness::{publisher::Request, until},
    world::{Place, World},
};

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new("stop_under_load", |_, _| Box::pin(stop())),
        Scenario::new("socket_file_removed", |_, _| Box::pin(socket_file())),
    ]
}

/// Done: a process with 60 browsers and two publishers at full speed is told to stop. Holds: what
/// was accepted before reaches every browser, then each is told 3001, and the process ends with 0.
async fn stop() -> String {
    const CHANNEL: &str = "post:stop";
    let place = Place::start("", |builder| builder).await;
    let mut browsers = JoinSet::new();
    for mut browser in place.browsers(0, 60, &[CHANNEL.to_owned()]).await {
        browsers.spawn(async move {
            let ended = browser.ended().await;
            assert_eq!(
                ended,
                Ended {
                    code: 3_001,
                    reason: "shutdown".into()
                }
            );
            browser.ledger
        });
    }
    let accepted = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
    let mut publishers = JoinSet::new();
    for by in 0..2 {
        publishers.spawn(publish_to_the_end(
            Arc::clone(&place),
            CHANNEL,
            by,
            Arc::clone(&accepted),
        ));
    }
    sleep(Duration::from_millis(1_500)).await;
    let before = accepted
        .each_ref()
        .map(|count| count.load(Ordering::SeqCst));
    place.sidecar.signal(Signal::TERM);
    let mut received = 0;
    for ledger in browsers.join_all().await {
        for (by, before) in (0..).zip(before) {
            let number = ledger.standing(CHANNEL).unwrap().number(by);
            assert!(number >= before, "accepted {before}, received {number}");
        }
        received += ledger.received;
    }
    publishers.join_all().await;
    let mut place = Arc::into_inner(place).unwrap();
    assert_eq!(place.sidecar.exit_code().await, Some(0));
    let [one, two] = before;
    format!(
        "{} accepted before the signal, {received} deliveries to 60",
        one + two
    )
}

/// Publishes until the process takes nothing any more.
async fn publish_to_the_end(
    place: Arc<Place>,
    channel: &str,
    by: usize,
    accepted: Arc<[AtomicU64; 2]>,
) {
    let publisher = place.publisher(0);
    let Ok(mut stream) = UnixStream::connect(place.sidecar.publish_socket()).await else {
        panic!("no socket");
    };
    for n in 1_u64.. {
        let data = json!({ "site": 0, "channel": channel, "by": by, "n": n });
        let request = publisher.sign(Request::publish(channel, &data));
        if ask(&mut stream, &request.bytes()).await.is_none() {
            return;
        }
        if let Some(count) = accepted.get(by) {
            count.store(n, Ordering::SeqCst);
        }
    }
}

/// Whether the answer was 200; `None` once the connection has ended.
async fn ask(stream: &mut UnixStream, request: &[u8]) -> Option<()> {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    stream.write_all(request).await.ok()?;
    let mut answer = Vec::new();
    while !answer.ends_with(b"}}") {
        if stream.read_buf(&mut answer).await.ok()? == 0 {
            return None;
        }
    }
    answer.starts_with(b"HTTP/1.1 200").then_some(())
}

/// Done: the publish socket's file is removed under a running process, several times, once with a
/// publisher connected. Holds: whoever is connected goes on; the log tells, and the file is there
/// again by itself.
async fn socket_file() -> String {
    const CHANNEL: &str = "post:file";
    const ROUNDS: u64 = 3;
    let place = Place::start("", |builder| builder).await;
    let mut browser = place.browser(0).await;
    browser.subscribe(CHANNEL).await;
    let publisher = place.publisher(0);
    let mut kept = publisher.connect().await;
    let mut n = 0;
    for _ in 0..ROUNDS {
        fs::remove_file(place.sidecar.publish_socket()).unwrap();
        for _ in 0..5 {
            n += 1;
            let data = json!({ "site": 0, "channel": CHANNEL, "by": 0, "n": n });
            feed::publish(&mut kept, &publisher, CHANNEL, &data).await;
            browser.message().await;
        }
        until("the socket's file", || async {
            let socket = UnixStream::connect(place.sidecar.publish_socket());
            socket.await.ok().map(drop)
        })
        .await;
        n += 1;
        let data = json!({ "site": 0, "channel": CHANNEL, "by": 0, "n": n });
        publisher.publish(CHANNEL, &data).await;
        browser.message().await;
    }
    let log = place.sidecar.log();
    let told = log
        .lines()
        .filter(|line| line.contains("publish.sock") && line.contains("bound"));
    assert_eq!(told.count() as u64, ROUNDS, "{log}");
    format!("{ROUNDS} times removed and bound anew, {n} publications")
}

/// Done: all browsers have gone. Holds: no connection, no subscription and no open file is left of
/// them, in any of the processes.
pub(crate) async fn leaks(world: Arc<World>) -> String {
    let mut told = Vec::new();
    let places = [
        ("busy", &world.busy),
        ("tight", &world.tight),
        ("hasty", &world.hasty),
    ];
    for (name, place) in places {
        place.settled().await;
        let before = place.before();
        // Publishers' connections end a moment after their peers'.
        let files = until("the files of connections to be closed", || async {
            let now = place.footprint().files;
            (now <= before.files).then_some(now)
        })
        .await;
        let gaps = place.sidecar.metric("realtime_gaps_total").await;
        assert_eq!(gaps, 0, "publications missed inside {name}");
        let now = place.footprint().kib;
        told.push(format!("{name} {} → {now} KiB, {files} files", before.kib));
    }
    told.join("; ")
}
