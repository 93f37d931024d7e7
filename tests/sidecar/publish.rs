//! The socket that PHP publishes on: signatures, refusals, deadlines, and who may connect.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may stop at the first surprise"
)]

use std::{
    fs,
    os::unix::{
        fs::{FileTypeExt, PermissionsExt},
        process::CommandExt,
    },
    process::{Command, Output},
    time::Duration,
};

use rustix::process::geteuid;
use serde_json::{Value, json};
use tokio::{task::spawn_blocking, time::Instant};

use crate::harness::{
    publisher::{Publisher, Request, Signed},
    sidecar::{Sidecar, Site},
    unix_now,
};

/// Sends what must be refused, and checks how the publisher is told and that it is counted.
async fn assert_refused(sidecar: &Sidecar, signed: &Signed, reason: &str, code: u32) {
    let status = match code {
        1001..=1003 => 401,
        1009 | 1010 => 413,
        104 => 404,
        _ => 400,
    };
    let counter = format!("publish_refusals_total{{reason=\"{reason}\"}}");
    let before = sidecar.metric(&counter).await;
    let reply = sidecar.publisher().send(signed).await;
    let error = &reply.json()["error"];
    assert_eq!(
        (reply.head.status, &error["code"]),
        (status, &json!(code)),
        "{signed:?}"
    );
    assert!(!error["message"].as_str().unwrap().is_empty());
    assert_eq!(reply.head.field("content-type"), Some("application/json"));
    assert_eq!(sidecar.metric(&counter).await, before + 1, "{signed:?}");
}

#[tokio::test]
async fn what_is_not_signed_right_is_refused_each_with_its_own_code_and_counter() {
    let sidecar = Sidecar::start().await;
    let publisher = sidecar.publisher();
    let request = || Request::publish("site", &json!(1));
    let good = || publisher.sign(request());
    let at = |timestamp: u64| {
        publisher.sign(Request {
            timestamp,
            ..request()
        })
    };
    let named = |id: &str| {
        publisher.sign(Request {
            id: id.into(),
            ..request()
        })
    };
    let body = b"{\"channel\":\"site\",\"data\":2}".to_vec();
    let altered = Signed { body, ..good() };
    let secret = "whsec_c3RyYW5nZXJzdHJhbmdlcnN0cmFuZ2Vyc3RyYW5nZXI=";
    let stranger = Publisher::new(sidecar.publish_socket(), secret);
    let now = unix_now();
    for (reason, code, signed) in [
        ("missing_header", 1001, good().without("webhook-id")),
        ("missing_header", 1001, good().without("webhook-timestamp")),
        ("missing_header", 1001, good().without("webhook-signature")),
        ("timestamp", 1002, at(now - 310)),
        ("timestamp", 1002, at(now + 86_400)),
        ("timestamp", 1002, good().with("webhook-timestamp", "now")),
        ("signature", 1003, stranger.sign(request())),
        ("signature", 1003, altered),
        ("signature", 1003, good().with("webhook-signature", "v1,!")),
        (
            "signature",
            1003,
            good().with("webhook-id", "publish_fedcba9876543210"),
        ),
        ("id_form", 1005, named("batch_0123456789abcdef")),
        ("id_form", 1005, named("publish_0123456789")),
        ("id_form", 1005, named("publish_0123456789abcde*")),
    ] {
        assert_refused(&sidecar, &signed, reason, code).await;
    }
    let published = publisher.call(request()).await;
    assert_eq!(
        published["result"]["offset"], 1,
        "none of them was published"
    );
}

#[tokio::test]
async fn what_cannot_be_published_is_refused_each_with_its_own_code_and_counter() {
    let limits = "body_max = \"4KiB\"\ndata_max = \"1KiB\"";
    let sidecar = Sidecar::builder().section("publish", limits).start().await;
    let publisher = sidecar.publisher();
    let to = |channel: &str| Request::publish(channel, &json!(1));
    let body = |body: &str| Request::new("publish", body);
    for (reason, code, request) in [
        ("too_large", 1009, body(&" ".repeat(4_097))),
        (
            "data_too_large",
            1010,
            Request::publish("site", &json!("x".repeat(1_023))),
        ),
        ("unknown_method", 104, Request::new("sing", "{}")),
        ("bad", 107, body("nonsense")),
        ("bad", 107, body("{\"channel\":\"site\"}")),
        (
            "bad",
            107,
            body("{\"channel\":\"site\",\"data\":1,\"x\":1}"),
        ),
        ("bad", 107, to("post:\u{e9}")),
        ("unknown_channel", 102, to("nothing:1")),
    ] {
        assert_refused(&sidecar, &publisher.sign(request), reason, code).await;
    }
    let most = Request::publish("site", &json!("x".repeat(1_022)));
    let published = publisher.call(most).await;
    assert_eq!(
        published["result"]["offset"], 1,
        "exactly the limit, and the first"
    );
}

#[tokio::test]
async fn only_post_publishes() {
    let sidecar = Sidecar::start().await;
    let mut connection = sidecar.publisher().connect().await;
    let get = "GET /api/publish HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let reply = connection.exchange(get).await;
    assert_eq!(
        (reply.head.status, &reply.json()["error"]["code"]),
        (405, &json!(104))
    );
}

#[tokio::test]
async fn while_a_secret_rotates_either_signature_is_enough() {
    let next = "whsec_bmV4dG5leHRuZXh0bmV4dG5leHRuZXh0bmV4dG5leHQ=";
    let site = Site::new("main", "localhost").backend(format!(
        "[site.upstream]\naddress = \"http://127.0.0.1:1\"\n\
         [[site.publish_key]]\nsecret = {next:?}"
    ));
    let sidecar = Sidecar::builder().site(site).start().await;
    let old = sidecar.publisher();
    let new = Publisher::new(sidecar.publish_socket(), next);
    for (offset, publisher) in [(1, &old), (2, &new)] {
        assert_eq!(publisher.publish("site", &json!(1)).await["offset"], offset);
    }
    let good = new.sign(Request::publish("site", &json!(1)));
    let signature = good.field("webhook-signature");
    let several = format!("v2,xyz v1,{}= {signature}", "A".repeat(43));
    let reply = new.send(&good.with("webhook-signature", &several)).await;
    assert_eq!(reply.json()["result"]["offset"], 3, "{}", reply.text());
}

#[tokio::test]
async fn a_request_signed_before_the_start_is_told_when_to_sign_anew() {
    let before = unix_now();
    let sidecar = Sidecar::start().await;
    let after = unix_now();
    let publisher = sidecar.publisher();
    let mut request = Request::publish("site", &json!(1));
    request.timestamp = before - 5;
    let signed = publisher.sign(request.clone());
    let reply = publisher.send(&signed).await;
    assert_eq!(reply.head.status, 503);
    let error = &reply.json()["error"];
    assert_eq!(error["code"], 1006);
    let not_before = error["not_before"].as_u64().unwrap();
    assert!(
        (before + 1..=after + 1).contains(&not_before),
        "{not_before}"
    );
    request.timestamp = not_before - 1;
    let reply = publisher.send(&publisher.sign(request.clone())).await;
    assert_eq!(reply.json()["error"]["code"], 1006, "a second too early");
    // The same id, since nothing was published under it.
    request.timestamp = not_before;
    assert_eq!(publisher.call(request).await["result"]["offset"], 1);
    let counter = "publish_refusals_total{reason=\"before_start\"}";
    assert_eq!(sidecar.metric(counter).await, 2);
}

#[tokio::test]
async fn info_tells_the_version_and_the_level_of_the_api() {
    let sidecar = Sidecar::start().await;
    let reply = sidecar.publisher().call(Request::new("info", "{}")).await;
    assert_eq!(reply["result"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(reply["result"]["api_level"], 1);
}

#[tokio::test]
async fn a_connection_carries_many_requests() {
    let sidecar = Sidecar::start().await;
    let publisher = sidecar.publisher();
    let mut connection = publisher.connect().await;
    for offset in 1..=50 {
        let request = publisher.sign(Request::publish("site", &json!(offset)));
        let reply = connection.exchange(request.bytes()).await;
        assert_eq!(reply.json()["result"]["offset"], offset);
        let faulty = publisher.sign(Request::new("publish", "nonsense"));
        let reply = connection.exchange(faulty.bytes()).await;
        assert_eq!(reply.head.status, 400, "and goes on after a refusal");
    }
}

#[tokio::test]
async fn a_body_that_does_not_come_ends_at_the_read_timeout() {
    let timeout = "read_timeout = \"1s\"";
    let sidecar = Sidecar::builder().section("publish", timeout).start().await;
    let publisher = sidecar.publisher();
    let bytes = publisher.sign(Request::publish("site", &json!(1))).bytes();
    let since = Instant::now();
    let mut slow = publisher.connect().await;
    slow.send(&bytes[..bytes.len() - 1]).await;
    let mut silent = publisher.connect().await;
    silent.send("POST /api/pub").await;
    let reply = slow.response().await;
    assert_eq!(
        (reply.head.status, &reply.json()["error"]["code"]),
        (400, &json!(107))
    );
    assert_eq!(slow.fill().await.unwrap(), 0, "the connection is closed");
    // A head may be answered or not, but not waited for.
    while silent.fill().await.unwrap() > 0 {}
    let waited = since.elapsed();
    assert!(
        (Duration::from_millis(900)..Duration::from_secs(5)).contains(&waited),
        "{waited:?}"
    );
    assert_eq!(
        sidecar
            .metric("publish_refusals_total{reason=\"incomplete\"}")
            .await,
        1
    );
    publisher.publish("site", &json!(2)).await;
}

#[tokio::test]
async fn the_socket_is_for_its_owner_and_group_alone() {
    let sidecar = Sidecar::start().await;
    let socket = sidecar.publish_socket();
    let found = fs::symlink_metadata(&socket).unwrap();
    assert!(found.file_type().is_socket());
    assert_eq!(found.permissions().mode() & 0o7777, 0o660);

    let ours = curl(&sidecar, None).await;
    assert_eq!(ours.status.code(), Some(0), "{ours:?}");
    let reply: Value = serde_json::from_slice(&ours.stdout).unwrap();
    assert_eq!(reply["error"]["code"], 1001, "the socket answers us");
    let stranger = curl(&sidecar, Some(65_534)).await;
    // 7: could not connect.
    assert_eq!(stranger.status.code(), Some(7), "{stranger:?}");
    let said = String::from_utf8_lossy(&stranger.stderr).into_owned();
    assert!(said.contains("Permission denied"), "{said}");
}

/// Posts to the socket as the user numbered `user`, or as we are.
pub(crate) async fn curl(sidecar: &Sidecar, user: Option<u32>) -> Output {
    let mut command = match (user, geteuid().is_root()) {
        (Some(user), false) => {
            let mut sudo = Command::new("sudo");
            sudo.args(["-n", "-u", &format!("#{user}"), "curl"]);
            sudo
        }
        (Some(user), true) => {
            let mut curl = Command::new("curl");
            curl.uid(user).gid(user);
            curl
        }
        (None, _) => Command::new("curl"),
    };
    command
        .args([
            "--silent",
            "--verbose",
            "--max-time",
            "10",
            "--data",
            "{}",
            "--unix-socket",
        ])
        .arg(sidecar.publish_socket())
        .arg("http://localhost/api/publish");
    spawn_blocking(move || command.output().unwrap())
        .await
        .unwrap()
}
