//! HTTP/1.1 on the publish socket, byte by byte: what is refused, what is waited for, and when a
//! connection is kept.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may stop at the first surprise"
)]

use std::{fs, process::Command, time::Duration};

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::{
    io::AsyncWriteExt,
    task::{JoinSet, spawn_blocking},
    time::Instant,
};

use crate::harness::{
    http::{Client, Head, Response},
    publisher::{Request, Signed},
    sidecar::Sidecar,
    until,
};

/// The bytes of a signed publication.
fn publication(sidecar: &Sidecar, data: u64) -> String {
    let signed = sidecar
        .publisher()
        .sign(Request::publish("site", &json!(data)));
    String::from_utf8(signed.bytes()).unwrap()
}

/// The same with further fields.
fn with(request: &str, fields: &str) -> String {
    request.replacen("\r\n", &format!("\r\n{fields}"), 1)
}

async fn assert_closed(client: &mut Client) {
    assert_eq!(client.fill().await.unwrap(), 0, "{:?}", client.read);
}

/// Sends `wire`, and checks what is told, that it is counted, and that the connection is let go.
async fn assert_refused(sidecar: &Sidecar, wire: &str, (status, reason): (u16, &str), code: u32) {
    let counter = format!("publish_refusals_total{{reason=\"{reason}\"}}");
    let before = sidecar.metric(&counter).await;
    let mut client = sidecar.publisher().connect().await;
    let reply = client.exchange(wire).await;
    let error = &reply.json()["error"];
    let shown: String = wire.chars().take(300).collect();
    assert_eq!(
        (reply.head.status, &error["code"]),
        (status, &json!(code)),
        "{shown:?}"
    );
    assert!(!error["message"].as_str().unwrap().is_empty());
    assert_eq!(reply.head.field("content-type"), Some("application/json"));
    assert_eq!(reply.head.field("connection"), Some("close"), "{shown:?}");
    assert_closed(&mut client).await;
    assert_eq!(sidecar.metric(&counter).await, before + 1, "{shown:?}");
}

#[tokio::test]
async fn what_is_not_strictly_http_is_refused_with_a_status_of_its_own_and_closed() {
    let sidecar = Sidecar::start().await;
    let good = publication(&sidecar, 1);
    let replaced = |from: &str, to: &str| {
        assert!(good.contains(from), "{from}");
        good.replacen(from, to, 1)
    };
    let malformed = (400, "malformed");
    let length = "Content-Length: ";
    for wire in [
        replaced(length, "Content-Length: +"),
        replaced(length, "Content-Length: 1, "),
        replaced(length, "Content-Length: 1 "),
        replaced(length, "Content-Length: 0x"),
        replaced(length, "Content-Length: 99999999999999999999"),
        replaced(length, "Content-Length: 1\r\nContent-Length: "),
        replaced(length, "Content-Length : "),
        replaced("Host: localhost", "Host: localhost\r\n folded"),
        replaced("Host: localhost", "Host: local\rhost"),
        replaced("Host: localhost", "Host: local\0host"),
        replaced("Host: localhost", "H(st: localhost\r\nHost: localhost"),
        replaced("Host: localhost\r\n", "Host: localhost\n"),
        replaced("Host: localhost\r\n", ""),
        replaced("Host: localhost", "Host: a\r\nHost: b"),
        replaced("HTTP/1.1", "HTTP/1.2"),
        replaced("HTTP/1.1", "HTTP/2.0"),
        replaced("POST ", "POST  "),
    ] {
        assert_refused(&sidecar, &wire, malformed, 1016).await;
    }
    let lengthless = good.replace(length, "Other-Length: ");
    assert_refused(&sidecar, &lengthless, (411, "no_length"), 1016).await;
    for coding in ["chunked", "gzip", "identity"] {
        let coded = format!("Transfer-Encoding: {coding}\r\n");
        for request in [&good, &lengthless] {
            let wire = with(request, &coded);
            assert_refused(&sidecar, &wire, (411, "no_length"), 1016).await;
        }
    }
    let expecting = with(&good, "Expect: a-miracle\r\n");
    assert_refused(&sidecar, &expecting, (417, "expectation"), 1016).await;
    let many = with(&good, &"x: y\r\n".repeat(64));
    assert_refused(&sidecar, &many, (431, "head_too_large"), 1016).await;
    let long = with(&good, &format!("x: {}\r\n", "y".repeat(64 << 10)));
    assert_refused(&sidecar, &long, (431, "head_too_large"), 1016).await;
    let sing = replaced("/api/publish", "/api/sing");
    assert_refused(&sidecar, &sing, (404, "unknown_method"), 104).await;
    let put = replaced("POST", "PUT");
    assert_refused(&sidecar, &put, (405, "not_post"), 104).await;
    assert_eq!(sidecar.metric("broker_publications_total").await, 0);
    let kept = with(&good, &"x: y\r\n".repeat(50));
    let reply = sidecar.publisher().connect().await.exchange(kept).await;
    assert_eq!(reply.json()["result"]["offset"], 1);
}

#[tokio::test]
async fn a_body_beyond_body_max_is_refused_before_it_is_sent() {
    let sidecar = Sidecar::start().await;
    let head = |length: u64, more: &str| {
        format!("POST /api/publish HTTP/1.1\r\nHost: a\r\n{more}Content-Length: {length}\r\n\r\n")
    };
    for more in ["", "Expect: 100-continue\r\n"] {
        for length in [(1 << 20) + 1, u64::MAX] {
            let head = head(length, more);
            assert_refused(&sidecar, &head, (413, "too_large"), 1009).await;
        }
    }
    // One that sends it all the same can read why it was refused.
    let length = 8 << 20;
    let wire = head(length as u64, "") + &" ".repeat(length);
    assert_refused(&sidecar, &wire, (413, "too_large"), 1009).await;
}

#[tokio::test]
async fn a_body_that_waits_for_a_100_is_asked_for() {
    let sidecar = Sidecar::start().await;
    let request = with(&publication(&sidecar, 1), "Expect: 100-continue\r\n");
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let mut client = sidecar.publisher().connect().await;
    client.send(format!("{head}\r\n\r\n")).await;
    assert_eq!(client.head().await.unwrap().status, 100);
    let reply = client.exchange(body).await;
    assert_eq!(reply.json()["result"]["offset"], 1);
    let at_once = client.exchange(&request).await;
    assert_eq!(at_once.head.status, 200, "nobody waits");
    assert_eq!(at_once.json()["result"]["offset"], 1);
    let unknown = head.replace("/api/publish", "/api/sing");
    client.send(format!("{unknown}\r\n\r\n")).await;
    assert_eq!(client.response().await.head.status, 404, "at once");
    assert_closed(&mut client).await;
}

#[tokio::test]
async fn requests_that_are_sent_together_are_answered_in_their_order() {
    let sidecar = Sidecar::start().await;
    let good: String = (1..=40).map(|data| publication(&sidecar, data)).collect();
    let unknown = "GET /status HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut client = sidecar.publisher().connect().await;
    client
        .send(format!("{good}{unknown}{}", publication(&sidecar, 41)))
        .await;
    for offset in 1..=40 {
        let reply = client.response().await;
        assert_eq!(reply.json()["result"]["offset"], offset);
        assert_eq!(reply.head.field("connection"), None);
    }
    assert_eq!(client.response().await.head.status, 404, "and it goes on");
    assert_eq!(client.response().await.json()["result"]["offset"], 41);
}

#[tokio::test]
async fn a_request_may_come_byte_by_byte() {
    let sidecar = Sidecar::start().await;
    let mut client = sidecar.publisher().connect().await;
    for byte in publication(&sidecar, 1).as_bytes() {
        client.send([*byte]).await;
        tokio::task::yield_now().await;
    }
    assert_eq!(client.response().await.json()["result"]["offset"], 1);
}

#[tokio::test]
async fn a_connection_is_closed_where_the_publisher_asks_for_it() {
    let sidecar = Sidecar::start().await;
    let closing = |offset: u64| {
        let request = publication(&sidecar, offset);
        match offset {
            1 => with(&request, "Connection: close\r\n"),
            2 => with(&request, "connection: keep-alive, Close\r\n"),
            _ => request.replace("HTTP/1.1\r\nHost: localhost\r\n", "HTTP/1.0\r\n"),
        }
    };
    for offset in 1..=3 {
        let mut client = sidecar.publisher().connect().await;
        let reply = client.exchange(closing(offset)).await;
        assert_eq!(reply.json()["result"]["offset"], offset);
        assert_eq!(reply.head.field("connection"), Some("close"));
        assert_closed(&mut client).await;
    }
}

#[tokio::test]
async fn who_has_ended_its_side_is_answered_all_the_same() {
    let sidecar = Sidecar::start().await;
    let publisher = sidecar.publisher();
    let request = publication(&sidecar, 1);
    let ended = |wire: String| {
        let publisher = publisher.clone();
        async move {
            let mut client = publisher.connect().await;
            client.send(wire).await;
            client.stream.shutdown().await.unwrap();
            let reply = client.response().await;
            assert_closed(&mut client).await;
            reply
        }
    };
    let reply = ended(request.clone()).await;
    assert_eq!(reply.json()["result"]["offset"], 1);
    let cut = ended(request[..request.len() - 1].to_owned()).await;
    assert_eq!(
        (cut.head.status, &cut.json()["error"]["code"]),
        (400, &json!(107))
    );
    let cut = ended(request[..20].to_owned()).await;
    assert_eq!(
        (cut.head.status, &cut.json()["error"]["code"]),
        (400, &json!(1016))
    );
}

#[tokio::test]
async fn a_target_may_be_absolute_and_have_a_query() {
    let sidecar = Sidecar::start().await;
    let targets = [
        "http://localhost/api/publish",
        "/api/publish?a=b",
        "HTTP://a/api/publish?",
    ];
    for (offset, target) in (1..).zip(targets) {
        let request = publication(&sidecar, offset).replace("/api/publish", target);
        let reply = sidecar.publisher().connect().await.exchange(request).await;
        assert_eq!(reply.json()["result"]["offset"], offset, "{target}");
    }
}

#[tokio::test]
async fn another_method_of_http_is_told_which_one_it_is_to_be() {
    let sidecar = Sidecar::start().await;
    let mut client = sidecar.publisher().connect().await;
    let reply = client
        .exchange("GET /api/info HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    assert_eq!(
        (reply.head.status, reply.head.field("allow")),
        (405, Some("POST"))
    );
    assert!(reply.head.field("date").unwrap().ends_with(" GMT"));
    client
        .send("HEAD /api/info HTTP/1.1\r\nHost: a\r\n\r\n")
        .await;
    let head: Head = client.head().await.unwrap();
    assert_eq!(head.status, 405);
    // Its body is told and left out: what comes next is the next head.
    assert_ne!(head.field("content-length"), Some("0"));
    let reply: Response = client.exchange(publication(&sidecar, 1)).await;
    assert_eq!(reply.json()["result"]["offset"], 1);
}

#[tokio::test]
async fn a_head_has_read_timeout_and_so_has_an_idle_connection() {
    let timeout = "read_timeout = \"1s\"";
    let sidecar = Sidecar::builder().section("publish", timeout).start().await;
    let publisher = sidecar.publisher();
    let since = Instant::now();
    let mut never = publisher.connect().await;
    let mut idle = publisher.connect().await;
    assert_eq!(
        idle.exchange(publication(&sidecar, 1)).await.head.status,
        200
    );
    let mut slow = publisher.connect().await;
    slow.send("POST /api/publish HTTP/1.1\r\nHost: a").await;
    let reply = slow.response().await;
    let error = &reply.json()["error"];
    assert_eq!((reply.head.status, &error["code"]), (408, &json!(1016)));
    assert_eq!(reply.head.field("connection"), Some("close"));
    for client in [&mut slow, &mut idle, &mut never] {
        assert_closed(client).await;
    }
    let waited = since.elapsed();
    let expected = Duration::from_millis(900)..Duration::from_secs(5);
    assert!(expected.contains(&waited), "{waited:?}");
    let counter = "publish_refusals_total{reason=\"head_timeout\"}";
    assert_eq!(sidecar.metric(counter).await, 1, "silence is no request");
}

#[tokio::test]
async fn who_does_not_read_replies_is_let_go_at_the_read_timeout() {
    let timeout = "read_timeout = \"1s\"";
    let sidecar = Sidecar::builder().section("publish", timeout).start().await;
    let requests = "GET /status HTTP/1.1\r\nHost: a\r\n\r\n".repeat(50_000);
    let mut client = sidecar.publisher().connect().await;
    let mut sending = JoinSet::new();
    sending.spawn(async move {
        // It is cut off in the middle.
        let sent = client.stream.write_all(requests.as_bytes()).await;
        (client, sent.is_ok())
    });
    until("the connection to be let go", || async {
        let counter = "publish_refusals_total{reason=\"unread\"}";
        (sidecar.metric(counter).await == 1).then_some(())
    })
    .await;
    let (_client, sent) = sending.join_next().await.unwrap().unwrap();
    assert!(!sent);
}

#[tokio::test]
async fn a_stop_closes_idle_connections_and_answers_a_request_that_has_begun() {
    let mut sidecar = Sidecar::start().await;
    let publisher = sidecar.publisher();
    let mut never = publisher.connect().await;
    let mut idle = publisher.connect().await;
    assert_eq!(
        idle.exchange(publication(&sidecar, 1)).await.head.status,
        200
    );
    let request = publication(&sidecar, 2);
    let (first, rest) = request.split_at(request.len() - 9);
    let mut begun = publisher.connect().await;
    begun.send(publication(&sidecar, 3) + first).await;
    assert_eq!(begun.response().await.head.status, 200);
    sidecar.signal(Signal::TERM);
    assert_closed(&mut never).await;
    assert_closed(&mut idle).await;
    let reply = begun.exchange(rest).await;
    assert_eq!(reply.json()["result"]["offset"], 3);
    assert_eq!(reply.head.field("connection"), Some("close"));
    assert_closed(&mut begun).await;
    assert_eq!(sidecar.exit_code().await, Some(0));
}

#[tokio::test]
async fn a_stranger_who_sends_much_can_read_that_it_is_turned_away() {
    let limits = "peer_uids = [65534]";
    let sidecar = Sidecar::builder().section("publish", limits).start().await;
    let counter = "publish_refusals_total{reason=\"peer\"}";
    let mut silent = sidecar.publisher().connect().await;
    let wire = "no HTTP ".repeat(1 << 20);
    assert_refused(&sidecar, &wire, (403, "peer"), 1013).await;
    silent.stream.shutdown().await.unwrap();
    assert_closed(&mut silent).await;
    assert_eq!(sidecar.metric(counter).await, 1);
}

/// Has curl post `signed`; what it read, and what it said about the connection.
async fn curl(sidecar: &Sidecar, signed: &Signed) -> (Value, String) {
    let file = sidecar.directory.path().join("body");
    fs::write(&file, &signed.body).unwrap();
    let mut command = Command::new("curl");
    command.args(["--silent", "--verbose", "--max-time", "20", "--unix-socket"]);
    command.arg(sidecar.publish_socket());
    for (name, value) in &signed.fields {
        command.args(["--header", &format!("{name}: {value}")]);
    }
    command
        .arg("--data-binary")
        .arg(format!("@{}", file.display()));
    command.arg("http://localhost/api/publish");
    let output = spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let told = String::from_utf8(output.stderr).unwrap();
    (serde_json::from_slice(&output.stdout).unwrap(), told)
}

#[tokio::test]
async fn curl_publishes_two_mebibytes_where_they_are_allowed_and_hears_where_they_are_not() {
    // Made after the start of the sidecar, as every request.
    let large = || Request::publish("site", &json!("z".repeat(2 << 20)));
    let limits = "body_max = \"4MiB\"\ndata_max = \"3MiB\"";
    let sidecar = Sidecar::builder()
        .section("publish", limits)
        .section("realtime", "backlog_bytes_max = \"8MiB\"")
        .start()
        .await;
    let (reply, told) = curl(&sidecar, &sidecar.publisher().sign(large())).await;
    assert_eq!(reply["result"]["offset"], 1, "{told}");
    assert!(told.contains("100 Continue"), "{told}");

    let sidecar = Sidecar::start().await;
    let (reply, told) = curl(&sidecar, &sidecar.publisher().sign(large())).await;
    assert_eq!(reply["error"]["code"], 1009, "{told}");
}

#[tokio::test]
async fn large_bodies_have_bodies_max_together_and_small_ones_always_room() {
    let sidecar = Sidecar::builder()
        .section("publish", "body_max = \"64KiB\"\nbodies_max = \"100KiB\"")
        .start()
        .await;
    let head = |more: &str| {
        format!("POST /api/publish HTTP/1.1\r\nHost: a\r\n{more}Content-Length: 61440\r\n\r\n")
    };
    let mut first = sidecar.publisher().connect().await;
    first.send(head("Expect: 100-continue\r\n")).await;
    // It is asked for: its room is taken.
    assert_eq!(first.head().await.unwrap().status, 100);
    assert_refused(&sidecar, &head(""), (503, "bodies_full"), 1018).await;
    let reply = sidecar.publisher().publish("site", &json!(1)).await;
    assert_eq!(reply["offset"], 1);
    drop(first);
    let large = json!("x".repeat(50 << 10));
    until("room again", || async {
        let publisher = sidecar.publisher();
        let request = publisher.sign(Request::publish("site", &large));
        let reply = publisher.send(&request).await;
        (reply.head.status == 200).then_some(())
    })
    .await;
}
