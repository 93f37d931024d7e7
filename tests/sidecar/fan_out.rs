//! From publications to browsers: order, recovery, slow readers, and sites that never meet.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may stop at the first surprise"
)]

use serde_json::{Value, json};
use socket2::SockRef;
use tokio::task::JoinSet;

use crate::harness::{
    http::Client,
    publisher::{Publisher, Request},
    sidecar::{Sidecar, Site},
    until,
    websocket::{Socket, opening},
};

/// A browser that follows `site`, whose socket holds little, and who has not read since.
async fn sleeper(sidecar: &Sidecar) -> Socket {
    let stream = sidecar.tls("localhost", "http/1.1").await;
    let socket = SockRef::from(stream.get_ref().0);
    socket.set_recv_buffer_size(4_096).unwrap();
    let opening = opening(&sidecar.authority(), "/realtime", "");
    let mut sleeper = Socket::open(Client::new(stream), &opening).await.unwrap();
    sleeper.connect().await;
    sleeper.subscribe("site").await;
    sleeper
}

#[tokio::test]
async fn a_browser_that_returns_gets_exactly_what_it_missed() {
    let sidecar = Sidecar::start().await;
    let publisher = sidecar.publisher();
    let mut browser = sidecar.browser().await;
    browser.subscribe("post:26").await;
    publisher.publish("post:26", &json!("seen")).await;
    assert_eq!(browser.publication().await["offset"], 1);
    drop(browser);
    let mut epoch = Value::Null;
    for missed in ["a", "b", "c"] {
        epoch = publisher.publish("post:26", &json!(missed)).await["epoch"].take();
    }

    let recover = |offset: u64, epoch: &Value| {
        let subscribe =
            json!({ "channel": "post:26", "recover": true, "offset": offset, "epoch": epoch });
        json!({ "id": 2, "subscribe": subscribe })
    };
    let mut browser = sidecar.browser().await;
    let reply = browser.ask(recover(1, &epoch)).await;
    let publications = json!([
        { "data": "a", "offset": 2 },
        { "data": "b", "offset": 3 },
        { "data": "c", "offset": 4 },
    ]);
    let expected = json!({
        "recoverable": true, "positioned": true, "was_recovering": true, "recovered": true,
        "epoch": epoch, "offset": 1, "publications": publications,
    });
    assert_eq!(reply["subscribe"], expected);
    publisher.publish("post:26", &json!("live")).await;
    assert_eq!(
        browser.publication().await["offset"],
        5,
        "goes on from there"
    );

    for (offset, wrong) in [(1, json!("0123456789abcdef")), (9, epoch.clone())] {
        let mut browser = sidecar.browser().await;
        let reply = browser.ask(recover(offset, &wrong)).await;
        let expected = json!({
            "recoverable": true, "positioned": true, "was_recovering": true,
            "epoch": epoch, "offset": 5,
        });
        assert_eq!(
            reply["subscribe"], expected,
            "not recovered: {offset} {wrong}"
        );
    }
    let mut strict = recover(1, &json!("0123456789abcdef"));
    strict["subscribe"]["flag"] = 2.into();
    let reply = sidecar.browser().await.ask(strict).await;
    assert_eq!(reply["error"]["code"], 112, "{reply}");
}

#[tokio::test]
async fn more_than_history_keeps_is_not_recovered() {
    let namespace = "[[site.namespace]]\nname = \"post\"\nsubscribe = \"anyone\"\nhistory_size = 3";
    let site = Site::new("main", "localhost").backend(format!(
        "{namespace}\n[site.upstream]\naddress = \"http://127.0.0.1:1\""
    ));
    let sidecar = Sidecar::builder().site(site).start().await;
    let mut epoch = Value::Null;
    for n in 0..5 {
        epoch = sidecar.publisher().publish("post:1", &json!(n)).await["epoch"].take();
    }
    for (offset, recovered) in [(1, Value::Null), (2, json!(true))] {
        let subscribe =
            json!({ "channel": "post:1", "recover": true, "offset": offset, "epoch": epoch });
        let command = json!({ "id": 2, "subscribe": subscribe });
        let reply = sidecar.browser().await.ask(command).await;
        assert_eq!(reply["subscribe"]["recovered"], recovered, "{reply}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_browsers_see_what_eight_publishers_say_in_one_order_without_a_gap() {
    const BROWSERS: usize = 20;
    const PUBLISHERS: u64 = 8;
    const EACH: u64 = 125;
    let sidecar = Sidecar::start().await;
    let mut browsers = JoinSet::new();
    for _ in 0..BROWSERS {
        let mut browser = sidecar.browser().await;
        browser.subscribe("site").await;
        browsers.spawn(async move {
            let mut seen = Vec::new();
            for offset in 1..=PUBLISHERS * EACH {
                let publication = browser.publication().await;
                assert_eq!(publication["offset"], offset);
                seen.push(publication["data"].to_string());
            }
            seen
        });
    }
    let mut publishers = JoinSet::new();
    for publisher in 0..PUBLISHERS {
        let speaker = sidecar.publisher();
        publishers.spawn(async move {
            let mut connection = speaker.connect().await;
            for n in 0..EACH {
                let request = Request::publish("site", &json!({ "by": publisher, "n": n }));
                let reply = connection.exchange(speaker.sign(request).bytes()).await;
                assert_eq!(reply.head.status, 200, "{}", reply.text());
            }
        });
    }
    publishers.join_all().await;
    let seen = browsers.join_all().await;
    let first = &seen[0];
    assert!(seen.iter().all(|other| other == first), "one order for all");
    for publisher in 0..PUBLISHERS {
        let mine = format!("{{\"by\":{publisher},");
        let said = first.iter().filter(|data| data.starts_with(&mine));
        let expected = (0..EACH).map(|n| format!("{{\"by\":{publisher},\"n\":{n}}}"));
        assert!(
            said.eq(&expected.collect::<Vec<_>>()),
            "each publisher's own order"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_that_subscribes_meanwhile_sees_neither_a_gap_nor_a_repeat() {
    let limits = "commands_per_second_max = 10_000\nshards = 1";
    let sidecar = Sidecar::builder().section("realtime", limits).start().await;
    // With a follower already there, the shard's mailbox is never empty of the channel.
    let mut follower = sidecar.browser().await;
    follower.subscribe("site").await;
    let mut others = JoinSet::new();
    for _ in 0..2 {
        others.spawn(publish_for_ever(sidecar.publisher()));
    }
    others.spawn(follow_for_ever(follower));
    let mut browser = sidecar.browser().await;
    for _ in 0..100 {
        let mut offset = browser.subscribe("site").await["offset"].as_u64().unwrap();
        let leave = json!({ "id": 3, "unsubscribe": { "channel": "site" } });
        for _ in 0..5 {
            offset += 1;
            assert_eq!(browser.publication().await["offset"], offset);
        }
        let mut message = browser.ask(leave).await;
        while message["id"] != 3 {
            offset += 1;
            assert_eq!(message["push"]["pub"]["offset"], offset, "{message}");
            message = browser.message().await;
        }
    }
    assert_eq!(sidecar.metric("realtime_gaps_total").await, 0);
    assert!(others.try_join_next().is_none(), "nobody else failed");
}

#[tokio::test]
async fn two_sites_of_one_process_never_see_each_others_channels() {
    let sidecar = two_sites().await;
    let mut browsers = Vec::new();
    for host in ["blog.test", "shop.test"] {
        let mut browser = sidecar.upgrade(host, "/realtime", "").await.unwrap();
        browser.connect().await;
        let epoch = browser.subscribe("post:26").await["epoch"].take();
        browsers.push((host, browser, epoch));
    }
    assert_ne!(
        browsers[0].2, browsers[1].2,
        "positions of two sites never fit"
    );
    for (site, host) in ["blog.test", "shop.test"].into_iter().enumerate() {
        for n in 1..=3 {
            let data = json!({ "host": host, "n": n });
            let reply = sidecar.publisher_of(site).publish("post:26", &data).await;
            assert_eq!(reply["offset"], n, "offsets of their own");
        }
    }
    for (host, browser, _) in &mut browsers {
        for n in 1..=3 {
            let expected = json!({ "data": { "host": host, "n": n }, "offset": n });
            assert_eq!(browser.publication().await, expected);
        }
        let pong = browser.ask(json!({ "id": 9, "ping": {} })).await;
        assert_eq!(pong, json!({ "id": 9, "ping": {} }), "and nothing else");
    }
    let publisher = sidecar.publisher_of(0);
    let request = publisher.sign(Request::publish("post:26", &json!(1)));
    let named = publisher.send(&request.with("Sidewire-Site", "shop")).await;
    assert_eq!(named.json()["error"]["code"], 1003, "a key of another site");
}

#[tokio::test]
async fn a_browser_that_does_not_read_is_closed_as_slow_and_holds_nobody_up() {
    let sidecar = Sidecar::start().await;
    let mut reader = sidecar.browser().await;
    reader.subscribe("site").await;
    let mut sleeper = sleeper(&sidecar).await;

    let text = "x".repeat(60_000);
    let slow = "realtime_closes_total{reason=\"slow\"}";
    let mut offset = 0;
    while sidecar.metric(slow).await == 0 {
        offset += 1;
        assert!(offset < 300, "18 MB, and the sleeper is still connected");
        sidecar.publisher().publish("site", &json!(text)).await;
        assert_eq!(reader.publication().await["offset"], offset);
    }
    // Woken, it finds what had left before, without a gap, and why it was closed.
    let closed = sleeper.closed().await;
    assert_eq!((closed.code, &*closed.reason), (3008, "slow"));
    assert!((closed.frames.len() as u64) < offset);
    for (n, frame) in closed.frames.iter().enumerate() {
        let message: Value = serde_json::from_slice(&frame.payload).unwrap();
        assert_eq!(message["push"]["pub"]["offset"], n + 1);
    }
    sidecar.publisher().publish("site", &json!("after")).await;
    assert_eq!(reader.publication().await["data"], "after");
    assert_eq!(sidecar.metric(slow).await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_that_reads_is_not_slow_because_of_one_large_batch() {
    const ROUNDS: u64 = 3;
    const MESSAGES: u64 = 17;
    let sidecar = Sidecar::start().await;
    let mut browser = sidecar.browser().await;
    browser.subscribe("site").await;
    let mut reading = JoinSet::new();
    reading.spawn(async move {
        for offset in 1..=ROUNDS * MESSAGES {
            assert_eq!(browser.publication().await["offset"], offset);
        }
    });
    let text = "x".repeat(60_000);
    for _ in 0..ROUNDS {
        // As large as `publish.body_max` lets a request be.
        let messages = (0..MESSAGES).map(|_| json!({ "channel": "site", "data": text }));
        sidecar.publisher().call(Request::batch(messages)).await;
    }
    reading.join_all().await;
}

async fn two_sites() -> Sidecar {
    let blog = Site::new("blog", "blog.test");
    let shop = Site::new("shop", "shop.test");
    Sidecar::builder().site(blog).site(shop).start().await
}

async fn publish_for_ever(publisher: Publisher) {
    loop {
        let messages = (0..50).map(|n| json!({ "channel": "site", "data": n }));
        publisher.call(Request::batch(messages)).await;
    }
}

async fn follow_for_ever(mut follower: Socket) {
    for offset in 1.. {
        assert_eq!(follower.publication().await["offset"], offset);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recovering_much_at_once_makes_nobody_slow_and_every_gap_is_told() {
    let sidecar = Sidecar::start().await;
    let publisher = sidecar.publisher();
    let text = json!("x".repeat(60_000));
    for channel in 0..12 {
        for _ in 0..16 {
            publisher.publish(&format!("post:{channel}"), &text).await;
        }
    }
    let mut browser = sidecar.socket("/realtime").await;
    let mut commands = vec![json!({ "id": 1, "connect": {} })];
    for channel in 0..12 {
        let subscribe = json!({ "channel": format!("post:{channel}"), "recover": true });
        commands.push(json!({ "id": channel + 2, "subscribe": subscribe }));
    }
    let commands: Vec<String> = commands.iter().map(Value::to_string).collect();
    browser.say(&commands.join("\n")).await;
    browser.message().await;
    let mut recovered = 0;
    for channel in 0..12 {
        let reply = browser.message().await;
        assert_eq!(reply["id"], channel + 2);
        let subscribed = &reply["subscribe"];
        assert_eq!(subscribed["was_recovering"], true);
        if subscribed["recovered"] == true {
            assert_eq!(subscribed["publications"].as_array().unwrap().len(), 16);
            recovered += 1;
        } else {
            assert_eq!(
                subscribed["offset"], 16,
                "the gap is told with the current offset"
            );
        }
    }
    assert!(recovered > 0);
    publisher.publish("post:11", &json!("live")).await;
    assert_eq!(browser.publication().await["data"], "live");
}

#[tokio::test]
async fn a_browser_that_takes_nothing_is_cut_off_at_its_deadline() {
    let sidecar = Sidecar::builder()
        .section("realtime", "write_stall_timeout = \"1s\"")
        .start()
        .await;
    let mut reader = sidecar.browser().await;
    reader.subscribe("site").await;
    let _sleeper = sleeper(&sidecar).await;
    // More than such a socket holds, less than the backlog: only the deadline can end it.
    let text = "x".repeat(60_000);
    for _ in 0..40 {
        sidecar.publisher().publish("site", &json!(text)).await;
        reader.publication().await;
    }
    let stalled = "realtime_closes_total{reason=\"stalled\"}";
    until("the sleeper to be cut off", || async {
        (sidecar.metric(stalled).await == 1).then_some(())
    })
    .await;
    let slow = "realtime_closes_total{reason=\"slow\"}";
    assert_eq!(sidecar.metric(slow).await, 0);
    sidecar.publisher().publish("site", &json!("after")).await;
    assert_eq!(reader.publication().await["data"], "after");
}
