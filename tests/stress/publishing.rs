//! Publishers that race, repeat themselves, and die halfway.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a scenario stops at the first fault"
)]

use std::{
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    process::{Command, ExitCode, Stdio},
    sync::Arc,
};

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::{
    task::{JoinSet, spawn_blocking},
    time::{Duration, sleep},
};

use crate::{
    Scenario,
    dice::Dice,
    feed::{self, Feed},
    harness::{
        program::Process,
        publisher::{Request, Signed},
        within,
    },
    world::{Place, World},
};

/// Says to this program that it is a publisher to be killed: the socket, a line, and the file of
/// what it is to send.
pub(crate) const CHILD: &str = "STRESS_PUBLISHER";

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        Scenario::new("many_php_like_publishers", |w, _| Box::pin(php_like(w))),
        Scenario::new("one_webhook_id_from_many", |w, d| Box::pin(one_id(w, d))),
        Scenario::new("one_idempotency_key_from_many", |w, _| Box::pin(one_key(w))),
        Scenario::new("versions_race_and_the_newest_wins", |w, d| {
            Box::pin(versions(w, d))
        }),
        Scenario::new("publishers_that_hang_up_halfway", |w, d| {
            Box::pin(hang_up(w, d))
        }),
        Scenario::new("publishers_killed_by_their_id", |w, d| {
            Box::pin(killed(w, d))
        }),
    ]
}

/// Done: 12 publishers at a time, each with a new connection for each publication, as PHP does.
/// Holds: every one that was accepted arrives, in each publisher's order.
async fn php_like(world: Arc<World>) -> String {
    const CHANNEL: &str = "post:php";
    let mut browser = world.busy.browser(0).await;
    browser.subscribe(CHANNEL).await;
    let feed = Feed {
        publishers: 12,
        anew: true,
        ..Feed::new(CHANNEL, 40, world.ends)
    };
    let feed = feed.run(Arc::clone(&world.busy));
    let (published, received) = tokio::join!(feed, browser.read_to_the_end());
    assert_eq!(received, published);
    format!("{published} connections, as many publications")
}

/// Done: one signed request from ten connections at once, sometimes another body under its id.
/// Holds: it is published once, all get the one reply, and the other body is refused.
async fn one_id(world: Arc<World>, mut dice: Dice) -> String {
    const CHANNEL: &str = "post:once";
    let mut browser = world.busy.browser(0).await;
    browser.subscribe(CHANNEL).await;
    let (mut n, mut sent) = (0, 0);
    while !world.is_over() {
        n += 1;
        let data = json!({ "site": 0, "channel": CHANNEL, "by": 0, "n": n });
        let request = Request::publish(CHANNEL, &data);
        let signed = world.busy.publisher(0).sign(request.clone());
        let replies = at_once(&world.busy, vec![signed; 10]).await;
        sent += replies.len();
        for reply in &replies {
            assert_eq!(reply["result"]["offset"], n, "{reply}");
            assert_eq!(reply, &replies[0]);
        }
        assert_eq!(browser.message().await["push"]["pub"]["data"]["n"], n);
        sleep(Duration::from_millis(60)).await;
        if dice.chance(30) {
            let body = json!({ "channel": CHANNEL, "data": "other" })
                .to_string()
                .into();
            let other = Request { body, ..request };
            let signed = world.busy.publisher(0).sign(other);
            let refused = world.busy.publisher(0).send(&signed).await;
            assert!(
                refused.json()["error"]["code"].is_u64(),
                "{}",
                refused.text()
            );
        }
    }
    format!("{sent} requests of {n} ids, {n} publications")
}

/// Done: ten requests with ids of their own and one idempotency key, at once. Holds: one of them
/// is published.
async fn one_key(world: Arc<World>) -> String {
    const CHANNEL: &str = "post:key";
    let mut browser = world.busy.browser(0).await;
    browser.subscribe(CHANNEL).await;
    let (mut n, mut sent) = (0, 0);
    while !world.is_over() {
        n += 1;
        let data = json!({ "site": 0, "channel": CHANNEL, "by": 0, "n": n });
        let body = json!({
            "channel": CHANNEL, "data": data, "idempotency_key": format!("stress-{n}"),
        });
        let publisher = world.busy.publisher(0);
        let requests = (0..10).map(|_| publisher.sign(Request::new("publish", body.to_string())));
        let replies = at_once(&world.busy, requests.collect()).await;
        sent += replies.len();
        assert!(
            replies.iter().all(|reply| reply["result"]["offset"] == n),
            "{replies:?}"
        );
        assert_eq!(browser.message().await["push"]["pub"]["data"]["n"], n);
        sleep(Duration::from_millis(60)).await;
    }
    format!("{sent} requests of {n} keys, {n} publications")
}

/// Sends each on a connection of its own, all at once; the replies.
async fn at_once(place: &Arc<Place>, requests: Vec<Signed>) -> Vec<Value> {
    let mut sending = JoinSet::new();
    for request in requests {
        let publisher = place.publisher(0);
        sending.spawn(async move {
            let response = publisher.send(&request).await;
            assert_eq!(response.head.status, 200, "{}", response.text());
            response.json()
        });
    }
    sending.join_all().await
}

/// Done: the versions of one key are published by six publishers in any order. Holds: browsers see
/// versions rise, never fall, and the newest is the last.
async fn versions(world: Arc<World>, mut dice: Dice) -> String {
    const CHANNEL: &str = "post:versions";
    const VERSIONS: u64 = 120;
    let mut browser = world.busy.browser(0).await;
    browser.subscribe(CHANNEL).await;
    let (mut rounds, mut seen) = (0_u64, 0_u64);
    while !world.is_over() {
        let key = format!("26:{rounds}");
        let mut all: Vec<u64> = (1..=VERSIONS).collect();
        dice.shuffle(&mut all);
        let mut racing = JoinSet::new();
        for part in all.chunks(20) {
            let (part, key) = (part.to_vec(), key.clone());
            let publisher = world.busy.publisher(0);
            racing.spawn(async move {
                let mut kept = publisher.connect().await;
                for version in part {
                    let data = json!({ "site": 0, "channel": CHANNEL, "version": version });
                    let body = json!({
                        "channel": CHANNEL, "data": data, "key": key, "version": version,
                    });
                    let request = Request::new("publish", body.to_string());
                    feed::exchange(&mut kept, &publisher, request).await;
                }
            });
        }
        let mut newest = 0;
        while newest < VERSIONS {
            let message = browser.message().await;
            let publication = &message["push"]["pub"];
            assert_eq!(publication["tags"]["key"], key, "{message}");
            let version = publication["data"]["version"].as_u64().unwrap();
            assert!(version > newest, "version {version} after {newest}");
            newest = version;
            seen += 1;
        }
        racing.join_all().await;
        rounds += 1;
    }
    format!(
        "{} versions published, {seen} seen, newest last {rounds} times",
        rounds * VERSIONS
    )
}

/// Done: publishers send a batch and close, at any byte of it or right after the last; then the
/// whole is repeated. Holds: nothing is half published, and the repeat publishes what is missing.
async fn hang_up(world: Arc<World>, mut dice: Dice) -> String {
    const CHANNEL: &str = "post:halfway";
    const BATCH: u64 = 20;
    let mut browser = world.busy.browser(0).await;
    browser.subscribe(CHANNEL).await;
    let publisher = world.busy.publisher(0);
    let (mut halves, mut wholes) = (0, 0);
    let mut n = 0;
    while !world.is_over() {
        let signed = publisher.sign(batch(CHANNEL, n, BATCH));
        let bytes = signed.bytes();
        halves += cut_short(&world.busy, &bytes, &mut dice).await;
        assert_eq!(offset(&world.busy, CHANNEL).await, n, "half a request");
        publisher.connect().await.send(&bytes).await;
        repeat(&world.busy, &signed, BATCH).await;
        n += BATCH;
        wholes += 1;
        assert_eq!(offset(&world.busy, CHANNEL).await, n, "once, and all of it");
        browser.read_number(n).await;
        sleep(Duration::from_millis(60)).await;
    }
    format!("{halves} cut short, {wholes} whole ones repeated, {n} publications")
}

/// Sends a part of a request and hangs up, a few times; how many.
async fn cut_short(place: &Place, request: &[u8], dice: &mut Dice) -> u64 {
    const TIMES: u64 = 4;
    for _ in 0..TIMES {
        let end = usize::try_from(dice.of(0, request.len() as u64 - 1)).unwrap();
        let mut connection = place.publisher(0).connect().await;
        connection.send(&request[..end]).await;
    }
    TIMES
}

/// Sends a batch again that was sent before, whatever became of it.
async fn repeat(place: &Place, signed: &Signed, count: u64) {
    let reply = place.publisher(0).send(signed).await.json();
    assert_eq!(reply["replies"].as_array().unwrap().len() as u64, count);
}

/// A batch of `count` publications that follow number `n`.
fn batch(channel: &str, n: u64, count: u64) -> Request {
    let messages = (n + 1..=n + count).map(|n| {
        let data = json!({ "site": 0, "channel": channel, "by": 0, "n": n });
        json!({ "channel": channel, "data": data })
    });
    Request::batch(messages)
}

async fn offset(place: &Place, channel: &str) -> u64 {
    let reply = place
        .call(0, "history", &json!({ "channel": channel }))
        .await;
    reply["result"]["offset"].as_u64().unwrap_or_default()
}

/// Done: processes connect, send half of a batch, or all of it, and are killed by their id. Holds:
/// half is nothing, all is all; the socket serves on.
async fn killed(world: Arc<World>, mut dice: Dice) -> String {
    const CHANNEL: &str = "post:killed";
    const BATCH: u64 = 50;
    let publisher = world.busy.publisher(0);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("request");
    let (mut children, mut n) = (0, 0);
    while !world.is_over() {
        let signed = publisher.sign(batch(CHANNEL, n, BATCH));
        let bytes = signed.bytes();
        let whole = dice.chance(40);
        let end = if whole { bytes.len() } else { bytes.len() / 2 };
        fs::write(&file, &bytes[..end]).unwrap();
        let request = format!(
            "{}\n{}",
            world.busy.sidecar.publish_socket().display(),
            file.display()
        );
        kill_publisher(request).await;
        children += 1;
        if whole {
            // It was taken, or is now.
            repeat(&world.busy, &signed, BATCH).await;
            n += BATCH;
        }
        assert_eq!(offset(&world.busy, CHANNEL).await, n, "whole: {whole}");
        sleep(Duration::from_millis(200)).await;
    }
    format!("{children} killed, {n} publications of those that had sent all")
}

/// Starts a publisher, and kills it once it has sent what it is to send.
async fn kill_publisher(request: String) {
    let mut child = Command::new(env::current_exe().unwrap())
        .env(CHILD, request)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let stdout = child.stdout.take().unwrap();
    let process = Process::new(child);
    let line = spawn_blocking(move || {
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).map(|_| line)
    });
    let line = within("the publisher to have sent", line).await.unwrap();
    assert_eq!(line.unwrap(), "sent\n");
    process.signal(Signal::KILL);
    assert_eq!(process.exit_code().await, None, "killed");
}

/// The publisher that is killed.
pub(crate) fn child(request: &str) -> ExitCode {
    let sent = || {
        let (socket, file) = request.split_once('\n')?;
        let mut connection = UnixStream::connect(socket).ok()?;
        connection.write_all(&fs::read(file).ok()?).ok()?;
        println!("sent");
        // Until it is killed; or the server gives up.
        connection.read_to_end(&mut Vec::new()).ok()
    };
    match sent() {
        Some(_) => ExitCode::SUCCESS,
        None => ExitCode::FAILURE,
    }
}
