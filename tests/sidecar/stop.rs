//! The end of the process: everybody is told, what is under way is finished, the code is 0.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::sync::Arc;

use rustix::process::Signal;
use serde_json::json;
use tokio::{net::TcpStream, sync::Notify, time::Instant};

use crate::harness::{
    http::Client,
    origin::{Connection, Origin},
    sidecar::{Sidecar, Site},
    until, within,
};

/// A site whose back end answers once it is let.
struct Slow {
    asked: Arc<Notify>,
    answer: Arc<Notify>,
    _origin: Origin,
    site: Site,
}

impl Slow {
    async fn new() -> Self {
        let (asked, answer) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let serve = {
            let (asked, answer) = (Arc::clone(&asked), Arc::clone(&answer));
            move |mut connection: Connection| {
                let (asked, answer) = (Arc::clone(&asked), Arc::clone(&answer));
                async move {
                    connection.head().await.unwrap();
                    asked.notify_one();
                    answer.notified().await;
                    connection
                        .say("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwhole")
                        .await;
                }
            }
        };
        let origin = Origin::tcp(serve).await;
        let site = Site::new("main", "localhost").backend(origin.backend());
        Self {
            asked,
            answer,
            _origin: origin,
            site,
        }
    }

    /// Has a request under way.
    async fn request(&self, sidecar: &Sidecar) -> Client {
        let mut client = sidecar.http1().await;
        let request = format!("GET / HTTP/1.1\r\nHost: {}\r\n\r\n", sidecar.authority());
        client.send(request).await;
        within("the back end to be asked", self.asked.notified()).await;
        client
    }
}

#[tokio::test]
async fn sigterm_tells_everybody_finishes_requests_and_exits_with_0() {
    let slow = Slow::new().await;
    let mut sidecar = Sidecar::builder().site(slow.site.clone()).start().await;
    let mut browser = sidecar.browser().await;
    browser.subscribe("site").await;
    let mut silent = sidecar.socket("/realtime").await;
    let mut page = sidecar.socket("/realtime?channel=site").await;
    let mut idle = sidecar.http1().await;
    let mut under_way = slow.request(&sidecar).await;

    sidecar.signal(Signal::TERM);
    for browser in [&mut browser, &mut silent] {
        let closed = browser.closed().await;
        assert_eq!((closed.code, &*closed.reason), (3001, "shutdown"));
    }
    assert_eq!(page.closed().await.code, 1001, "a plain stream");
    until("the listener to be closed", || async {
        let connected = TcpStream::connect(("127.0.0.1", sidecar.port)).await;
        connected.is_err().then_some(())
    })
    .await;
    while idle.fill().await.is_ok_and(|read| read > 0) {}
    // A PHP request that is being finished may still publish.
    let published = sidecar.publisher().publish("site", &json!(1)).await;
    assert_eq!(published["offset"], 1);
    slow.answer.notify_one();
    let response = under_way.response().await;
    assert_eq!((response.head.status, response.text()), (200, "whole"));
    // Peers that don't end their side are waited for, some seconds.
    drop((browser, silent, page, idle, under_way));
    assert_eq!(sidecar.exit_code().await, Some(0));
    assert!(
        !sidecar.publish_socket().exists(),
        "the socket's file is gone"
    );
}

#[tokio::test]
async fn server_sent_events_end_with_the_process() {
    let mut sidecar = Sidecar::start().await;
    let mut client = sidecar.http1().await;
    let request = format!(
        "GET /realtime?channel=site HTTP/1.1\r\nHost: {}\r\nAccept: text/event-stream\r\n\r\n",
        sidecar.authority()
    );
    client.send(request).await;
    let head = client.head().await.unwrap();
    let mut framing = head.framing();
    let first = client.piece(&mut framing).await.unwrap().unwrap();
    assert!(first.starts_with(b"id: "), "its position");
    let since = Instant::now();
    sidecar.signal(Signal::TERM);
    assert_eq!(client.rest(framing).await, Ok(Vec::new()), "a regular end");
    drop(client);
    assert_eq!(sidecar.exit_code().await, Some(0));
    assert!(
        since.elapsed().as_secs() < 10,
        "nobody was waited for: {:?}",
        since.elapsed()
    );
}

#[tokio::test]
async fn a_request_that_does_not_end_is_cut_at_the_drain_timeout() {
    let slow = Slow::new().await;
    let drain = "drain_timeout = \"1s\"\nclose_spread = \"0s\"";
    let builder = Sidecar::builder().section("stop", drain);
    let mut sidecar = builder.site(slow.site.clone()).start().await;
    let mut under_way = slow.request(&sidecar).await;
    let since = Instant::now();
    sidecar.signal(Signal::INT);
    assert_eq!(sidecar.exit_code().await, Some(0));
    let took = since.elapsed();
    assert!((1..8).contains(&took.as_secs()), "{took:?}");
    assert!(under_way.head().await.is_err(), "no answer");
    assert!(
        sidecar.log().contains("drain_timeout"),
        "and the log says so"
    );
}

#[tokio::test]
async fn a_log_that_cannot_be_written_changes_nothing() {
    let sidecar = Sidecar::builder().log_to("/dev/full").start().await;
    let mut browser = sidecar.browser().await;
    browser.subscribe("site").await;
    sidecar.publisher().publish("site", &json!("heard")).await;
    assert_eq!(browser.publication().await["data"], "heard");
    let mut sidecar = sidecar;
    sidecar.signal(Signal::TERM);
    assert_eq!(browser.closed().await.code, 3001);
    assert_eq!(sidecar.exit_code().await, Some(0));
}
