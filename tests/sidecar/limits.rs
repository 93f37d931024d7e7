//! How many may have a stream, how many may open at once, and how long one may last.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;
use tokio::{net::TcpSocket, task::JoinSet, time::Instant};

use crate::harness::{
    certificate,
    http::{Client, Head, Response},
    sidecar::Sidecar,
    until,
    websocket::{Socket, opening},
    within,
};

const EVENTS: &str = "GET /realtime?channel=site HTTP/1.1\r\nAccept: text/event-stream\r\n";

/// A connection from the loopback address 127.0.0.`last`.
async fn client(sidecar: &Sidecar, last: u8) -> Client {
    let tcp = TcpSocket::new_v4().unwrap();
    tcp.bind(([127, 0, 0, last], 0).into()).unwrap();
    let address = ([127, 0, 0, 1], sidecar.port).into();
    let tcp = within("the connection", tcp.connect(address))
        .await
        .unwrap();
    let handshake = certificate::handshake(tcp, "localhost", &sidecar.roots, "http/1.1");
    Client::new(within("the handshake", handshake).await)
}

/// A WebSocket from 127.0.0.`last`, or what it was refused with.
async fn socket(sidecar: &Sidecar, last: u8) -> Result<Socket, Response> {
    let opening = opening(&sidecar.authority(), "/realtime", "");
    Socket::open(client(sidecar, last).await, &opening).await
}

/// Asks for server-sent events; what it is answered.
async fn events(sidecar: &Sidecar, last: u8) -> (Client, Head) {
    let mut client = client(sidecar, last).await;
    let request = format!("{EVENTS}Host: {}\r\n\r\n", sidecar.authority());
    client.send(request).await;
    let head = client.head().await.unwrap();
    (client, head)
}

fn check_refusal(head: &Head) {
    assert_eq!(head.status, 503);
    let seconds = head.field("retry-after").unwrap().parse::<u32>().unwrap();
    assert!((1..=10).contains(&seconds), "a few seconds: {seconds}");
}

#[tokio::test]
async fn a_client_address_has_so_many_streams_and_the_machines_own_as_many_as_it_likes() {
    let few = "connections_per_address_max = 2";
    let sidecar = Sidecar::builder().section("realtime", few).start().await;
    let began = Instant::now();
    let first = socket(&sidecar, 2).await.unwrap();
    let (second, head) = events(&sidecar, 2).await;
    assert_eq!(head.status, 200);
    for _ in 0..5 {
        check_refusal(&socket(&sidecar, 2).await.err().unwrap().head);
        check_refusal(&events(&sidecar, 2).await.1);
    }
    let refusals = "realtime_refusals_total{reason=\"connections_per_address_max\"}";
    assert_eq!(sidecar.metric(refusals).await, 10);

    let mut others = Vec::new();
    for last in [1, 1, 1, 3, 3] {
        others.push(socket(&sidecar, last).await.unwrap());
    }
    check_refusal(&socket(&sidecar, 3).await.err().unwrap().head);
    drop(first);
    let third = until("a place of a WebSocket", || async {
        socket(&sidecar, 2).await.ok()
    })
    .await;
    check_refusal(&socket(&sidecar, 2).await.err().unwrap().head);
    drop(second);
    until("a place of an event stream", || async {
        socket(&sidecar, 2).await.ok()
    })
    .await;

    drop((third, others));
    let log = sidecar.log();
    let key = "realtime.connections_per_address_max is reached: ";
    let warnings = log.lines().filter(|line| line.contains(key)).count() as u64;
    assert!(log.contains("127.0.0.2"), "the log names the address");
    assert!(
        (1..=began.elapsed().as_secs() + 1).contains(&warnings),
        "one a second at most: {warnings}"
    );
}

#[tokio::test]
async fn streams_that_open_all_at_once_are_told_to_come_again_and_pages_are_not() {
    let slow = "upgrades_per_second_max = 1";
    let sidecar = Sidecar::builder().section("realtime", slow).start().await;
    let mut clients = Vec::new();
    for _ in 0..10 {
        clients.push(client(&sidecar, 1).await);
    }
    let mut answers = Vec::new();
    for mut client in clients {
        let request = format!("{EVENTS}Host: {}\r\n\r\n", sidecar.authority());
        client.send(request).await;
        answers.push((client.head().await.unwrap(), client));
    }
    let refused = answers.iter().filter(|(head, _)| head.status != 200);
    let refused: Vec<&Head> = refused.map(|(head, _)| head).collect();
    assert!((1..10).contains(&refused.len()), "{}", refused.len());
    refused.iter().for_each(|head| check_refusal(head));
    let refusals = "realtime_refusals_total{reason=\"upgrades_per_second_max\"}";
    assert_eq!(sidecar.metric(refusals).await, refused.len() as u64);
    assert!(
        sidecar
            .log()
            .contains("realtime.upgrades_per_second_max is reached")
    );
    // A page is no stream: nobody is behind it here, and that is what it says.
    assert_eq!(sidecar.get("/", "").await.head.status, 502);
    until("its turn", || async { socket(&sidecar, 1).await.ok() }).await;
}

#[tokio::test]
async fn all_connections_together_have_so_many_subscriptions() {
    let few = "subscriptions_max = 3";
    let sidecar = Sidecar::builder().section("realtime", few).start().await;
    let mut first = sidecar.browser().await;
    let mut second = sidecar.browser().await;
    first.subscribe("site").await;
    first.subscribe("post:1").await;
    second.subscribe("site").await;
    let wish = json!({ "id": 7, "subscribe": { "channel": "post:2" } });
    let reply = second.ask(wish.clone()).await;
    assert_eq!(
        (&reply["id"], &reply["error"]["code"]),
        (&json!(7), &json!(106))
    );
    let refused = "realtime_subscriptions_refused_total";
    assert_eq!(sidecar.metric(refused).await, 1);
    let page = sidecar.upgrade("localhost", "/realtime?channel=site", "");
    check_refusal(&page.await.err().unwrap().head);
    check_refusal(&events(&sidecar, 1).await.1);
    let refusals = "realtime_refusals_total{reason=\"subscriptions_max\"}";
    assert_eq!(sidecar.metric(refusals).await, 2);
    assert!(
        sidecar
            .log()
            .contains("realtime.subscriptions_max is reached")
    );

    // What ends makes room: an unsubscription, and a connection.
    let command = json!({ "id": 8, "unsubscribe": { "channel": "post:1" } });
    assert!(first.ask(command).await["unsubscribe"].is_object());
    assert!(second.ask(wish).await["subscribe"].is_object());
    drop(second);
    until("the places of a connection", || async {
        let target = "/realtime?channel=site&channel=post:3";
        sidecar.upgrade("localhost", target, "").await.ok()
    })
    .await;
    sidecar.publisher().publish("site", &json!("heard")).await;
    assert_eq!(first.publication().await["data"], "heard");
}

#[tokio::test]
async fn a_refused_recovery_takes_no_place_of_a_subscription() {
    let few = "subscriptions_max = 1";
    let sidecar = Sidecar::builder().section("realtime", few).start().await;
    let mut browser = sidecar.browser().await;
    for id in 2..5 {
        // Flag 2 asks for an error where the position is lost.
        let lost =
            json!({ "channel": "site", "recover": true, "offset": 9, "epoch": "x", "flag": 2 });
        let reply = browser.ask(json!({ "id": id, "subscribe": lost })).await;
        assert_eq!(reply["error"]["code"], 112, "{reply}");
    }
    browser.subscribe("site").await;
}

#[tokio::test]
async fn a_connection_ends_at_80_to_100_per_cent_of_the_age_and_is_told_to_come_back() {
    let age = "connection_age_max = \"2s\"";
    let sidecar = Sidecar::builder().section("realtime", age).start().await;
    let began = Instant::now();
    let mut browser = sidecar.browser().await;
    browser.subscribe("site").await;
    let mut silent = sidecar.socket("/realtime").await;
    let mut page = sidecar.socket("/realtime?channel=site").await;
    let (mut reader, head) = events(&sidecar, 1).await;
    let opened = Instant::now();
    sidecar.publisher().publish("site", &json!("heard")).await;
    assert_eq!(browser.publication().await["data"], "heard");

    for socket in [&mut browser, &mut silent] {
        let closed = socket.closed().await;
        assert_eq!((closed.code, &*closed.reason), (3011, "force reconnect"));
    }
    let closed = page.closed().await;
    assert_eq!((closed.code, &*closed.reason), (1012, "service restart"));
    let body = within("the end of the events", reader.rest(head.framing())).await;
    let body = String::from_utf8(body.unwrap()).unwrap();
    assert!(body.ends_with("\ndata: \"heard\"\n\n"), "{body:?}");
    let ms = Duration::from_millis;
    assert!(began.elapsed() >= ms(1_600), "{:?}", began.elapsed());
    assert!(opened.elapsed() < ms(6_000), "{:?}", opened.elapsed());
    assert_eq!(
        sidecar
            .metric("realtime_closes_total{reason=\"age\"}")
            .await,
        4
    );
}

/// Stops a sidecar with `browsers`; when each was closed, and when the process had ended.
async fn stop(browsers: usize, spread: &str) -> (Vec<Duration>, Duration) {
    let spread = format!("close_spread = {spread:?}\ndrain_timeout = \"15s\"");
    // On a busy machine so many are not connected in the time that each has otherwise.
    let patient = "connect_timeout = \"600s\"\nping_interval = \"600s\"";
    let builder = Sidecar::builder().section("realtime", patient);
    let mut sidecar = builder.section("stop", &spread).start().await;
    let mut sockets = Vec::new();
    for n in 0..browsers {
        // Some have not sent their connect command.
        sockets.push(match n % 10 {
            0 => sidecar.socket("/realtime").await,
            _ => sidecar.browser().await,
        });
    }
    sidecar.signal(Signal::TERM);
    let began = Instant::now();
    let mut closing = JoinSet::new();
    for mut socket in sockets {
        closing.spawn(async move {
            let closed = socket.closed().await;
            (closed.code, began.elapsed())
        });
    }
    let mut times = Vec::new();
    while let Some(closed) = within("all to be closed", closing.join_next()).await {
        let (code, after) = closed.unwrap();
        assert_eq!(code, 3001);
        times.push(after);
    }
    assert_eq!(sidecar.exit_code().await, Some(0));
    let ended = began.elapsed();
    times.sort();
    (times, ended)
}

#[tokio::test]
async fn many_browsers_are_closed_evenly_over_the_spread() {
    let (times, ended) = stop(400, "2s").await;
    let mut quarters = [0; 4];
    for after in &times {
        let quarter = usize::try_from(after.as_millis() / 500).unwrap();
        quarters[quarter.min(3)] += 1;
    }
    println!("closed by quarter of the spread: {quarters:?}; the process ended after {ended:?}");
    assert_eq!(times.len(), 400);
    assert!((20..=200).contains(&quarters[0]), "{quarters:?}");
    assert!(quarters[3] >= 20, "{quarters:?}");
    assert!(ended < Duration::from_secs(8), "{ended:?}");
}

#[tokio::test]
async fn a_few_browsers_are_closed_at_once() {
    let (times, ended) = stop(10, "12s").await;
    println!("10 browsers: the process ended after {ended:?}");
    assert_eq!(times.len(), 10);
    assert!(ended < Duration::from_secs(2), "{ended:?}");
}

#[tokio::test]
async fn who_is_still_connected_while_the_others_are_closed_still_hears_and_nobody_new_gets_in() {
    let spread = "close_spread = \"4s\"\ndrain_timeout = \"15s\"";
    let mut sidecar = Sidecar::builder().section("stop", spread).start().await;
    // A request under way keeps its connection open past the stop of the listener. Begun first, so
    // that it has been read before the signal.
    let mut late = sidecar.http1().await;
    let head = format!("{EVENTS}Host: {}\r\n", sidecar.authority());
    late.send(head).await;
    let mut browsers = Vec::new();
    for _ in 0..120 {
        let mut browser = sidecar.browser().await;
        browser.subscribe("site").await;
        browsers.push(browser);
    }
    sidecar.signal(Signal::TERM);
    let closed = "realtime_closes_total{reason=\"shutdown\"}";
    until("the first batch", || async {
        (sidecar.metric(closed).await > 0).then_some(())
    })
    .await;
    late.send("\r\n").await;
    let sent = sidecar.publisher().publish("site", &json!("late")).await;
    assert_eq!(sent["offset"], 1);
    check_refusal(&late.head().await.unwrap());
    let refusals = "realtime_refusals_total{reason=\"stopping\"}";
    assert_eq!(sidecar.metric(refusals).await, 1);
    let mut heard = 0;
    for mut browser in browsers {
        let closed = browser.closed().await;
        assert_eq!(closed.code, 3001);
        heard += closed.frames.len();
    }
    println!("{heard} of 120 heard what was published during the stop");
    assert!((1..120).contains(&heard), "{heard}");
    drop(late);
    assert_eq!(sidecar.exit_code().await, Some(0));
}

#[tokio::test]
async fn a_full_listener_shows_in_its_metrics() {
    let sidecar = Sidecar::start().await;
    let _idle = sidecar.http1().await;
    let label = format!("{{address=\"127.0.0.1:{}\"}}", sidecar.port);
    let open = format!("listener_connections{label}");
    until("the connection to be counted", || async {
        (sidecar.metric(&open).await == 1).then_some(())
    })
    .await;
    // A WebSocket is the realtime side's to count.
    let _browser = sidecar.browser().await;
    until("the WebSocket to be handed over", || async {
        (sidecar.metric(&open).await == 1).then_some(())
    })
    .await;
    assert_eq!(sidecar.metric("realtime_connections").await, 1);
    let waits = format!("listener_waits_total{label}");
    assert_eq!(sidecar.metric(&waits).await, 0);
}
