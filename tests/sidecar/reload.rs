//! The configuration is read again under a running process: by SIGHUP and by the admin socket.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use rustix::process::Signal;
use serde_json::json;
use tokio::task::JoinSet;

use crate::harness::{
    certificate::Pair,
    publisher::{Publisher, Request},
    sidecar::{Sidecar, Site},
    until,
};

/// `whsec_` and 32 bytes of the same kind as the harness gives its sites, and another one.
const SECOND: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

async fn reloads(sidecar: &Sidecar, outcome: &str, count: u64) {
    let name = format!("config_reloads_total{{outcome=\"{outcome}\"}}");
    until(&format!("{outcome} reload {count}"), || async {
        (sidecar.metric(&name).await == count).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_publish_key_is_rotated_by_sighup_without_a_refused_request() {
    let sidecar = Sidecar::start().await;
    let first = sidecar.publisher();
    let second = Publisher::new(sidecar.publish_socket(), SECOND);
    let text = sidecar.config();
    let table = "[[site.publish_key]]\n";
    let (others, old_key) = text.split_once(table).unwrap();
    let new_key = format!("secret = \"{SECOND}\"\n");

    let rotated = Arc::new(AtomicBool::new(false));
    let mut publishing = JoinSet::new();
    publishing.spawn({
        let (first, second, rotated) = (first.clone(), second.clone(), Arc::clone(&rotated));
        async move {
            let mut count = 0;
            while !rotated.load(Ordering::Relaxed) {
                // As a publisher signs while its secret is replaced: with both.
                let request = Request::publish("site", &json!(count));
                let other = second.sign(request.clone()).field("webhook-signature");
                let signed = first.sign(request);
                let both = format!("{} {other}", signed.field("webhook-signature"));
                let response = first.send(&signed.with("webhook-signature", &both)).await;
                assert_eq!(response.head.status, 200, "{}", response.text());
                count += 1;
            }
            count
        }
    });

    let states = [
        format!("{others}{table}{old_key}{table}{new_key}"),
        format!("{others}{table}{new_key}"),
    ];
    for (n, state) in states.iter().enumerate() {
        sidecar.write_config(state);
        sidecar.signal(Signal::HUP);
        reloads(&sidecar, "applied", n as u64 + 1).await;
        second.publish("site", &json!("new key")).await;
    }
    rotated.store(true, Ordering::Relaxed);
    let published = publishing.join_next().await.unwrap().unwrap();
    assert!(published > 2, "{published}");
    let refusals = "publish_refusals_total{reason=\"signature\"}";
    assert_eq!(sidecar.metric(refusals).await, 0);

    let request = first.sign(Request::publish("site", &json!("old key")));
    assert_eq!(first.send(&request).await.head.status, 401);
}

#[tokio::test]
async fn a_reload_with_faults_tells_every_one_and_changes_nothing() {
    let sidecar = Sidecar::start().await;
    let mut browser = sidecar.browser().await;
    browser.subscribe("site").await;
    let text = sidecar.config();
    let faulty = text.replace(
        "[[site.publish_key]]\n",
        "[[site.publish_key]]\nsecet = 1\n",
    ) + "[front]\nbody_max = 1\n[stop]\ndrain_timeout = \"2h\"\n[log]\n";
    let faulty = faulty.replacen("[log]\nfilter", "[lug]\nfilter", 1);
    sidecar.write_config(&faulty);

    let response = sidecar.admin("POST", "/reload").await;
    assert_eq!(response.head.status, 422);
    let body = response.json();
    let faults = body["faults"].as_array().unwrap().iter();
    let mut keys: Vec<&str> = faults.map(|fault| fault["key"].as_str().unwrap()).collect();
    keys.sort_unstable();
    let expected = [
        "front.body_max",
        "lug",
        "site[0].publish_key[0].secet",
        "stop.drain_timeout",
    ];
    assert_eq!(keys, expected);
    sidecar.signal(Signal::HUP);
    reloads(&sidecar, "refused", 2).await;
    let log = sidecar.log();
    assert!(expected.iter().all(|key| log.contains(key)), "{log}");

    sidecar.publisher().publish("site", &json!("still")).await;
    assert_eq!(browser.publication().await["data"], "still");
    let status = sidecar.admin("GET", "/status").await.json();
    assert_eq!(status["last_reload"]["outcome"], "refused");

    sidecar.write_config(&text);
    assert_eq!(sidecar.admin("POST", "/reload").await.head.status, 200);
}

#[tokio::test]
async fn a_file_that_is_gone_or_a_certificate_that_does_not_load_is_a_fault() {
    let sidecar = Sidecar::start().await;
    let text = sidecar.config();
    fs::remove_file(sidecar.config_file()).unwrap();
    let response = sidecar.admin("POST", "/reload").await;
    assert_eq!(response.head.status, 422);
    assert_eq!(response.json()["faults"][0]["key"], "the file");

    let added = "[[certificate]]\ncertificate = \"/nowhere.crt\"\nkey = \"/nowhere.key\"\n";
    sidecar.write_config(&format!("{text}{added}"));
    let response = sidecar.admin("POST", "/reload").await;
    assert_eq!(response.head.status, 422);
    assert!(response.text().contains("/nowhere.crt"));
    sidecar.tls("localhost", "h2").await;
}

#[tokio::test]
async fn a_new_certificate_is_served_and_the_log_filter_changes() {
    let sidecar = Sidecar::start().await;
    let pair = Pair::make("other.test", sidecar.directory.path());
    let (certificate, key) = (&pair.certificate, &pair.key);
    let table = format!("[[certificate]]\ncertificate = {certificate:?}\nkey = {key:?}\n");
    let text = sidecar.config();
    let text = text.replace("info,sidewire::front=debug", "error");
    sidecar.write_config(&format!("{text}{table}"));
    let body = sidecar.admin("POST", "/reload").await.json();
    let changed = [
        "certificate[1].certificate",
        "certificate[1].key",
        "log.filter",
    ];
    assert_eq!(body["changed"], json!(changed), "{body}");
    assert_eq!(body["needs_restart"], json!([]));

    let roots = [pair.der()];
    let connecting = crate::harness::certificate::connect(sidecar.port, "other.test", &roots, "h2");
    connecting.await;
    let length = sidecar.log().len();
    sidecar.admin("POST", "/reload").await;
    assert_eq!(sidecar.log().len(), length, "nothing under error is logged");
}

#[tokio::test]
async fn a_new_namespace_can_be_followed_and_published_to_at_once() {
    let sidecar = Sidecar::start().await;
    let mut browser = sidecar.browser().await;
    browser.subscribe("site").await;
    let table = "[[site.namespace]]\nname = \"news\"\nsubscribe = \"anyone\"\n";
    sidecar.write_config(&format!("{}{table}", sidecar.config()));
    let body = sidecar.admin("POST", "/reload").await.json();
    let changed = [
        "site[main].namespace[news].name",
        "site[main].namespace[news].subscribe",
    ];
    assert_eq!(body["changed"], json!(changed), "{body}");
    let mut later = sidecar.browser().await;
    later.subscribe("news").await;
    sidecar.publisher().publish("news", &json!("new")).await;
    assert_eq!(later.publication().await["data"], "new");
    sidecar.publisher().publish("site", &json!("old")).await;
    assert_eq!(browser.publication().await["data"], "old");
}

#[tokio::test]
async fn what_needs_a_restart_is_named_until_there_was_one() {
    let site = Site::new("main", "localhost");
    let sidecar = Sidecar::builder().site(site).start().await;
    let text = sidecar.config();
    let extended = format!("{text}\n[front]\nheaders_max = 50\n");
    sidecar
        .write_config(&extended.replace("[\"localhost\"]", "[\"localhost\", \"www.localhost\"]"));
    let expected = json!(["front.headers_max", "site[main].hosts"]);
    for _ in 0..2 {
        let body = sidecar.admin("POST", "/reload").await.json();
        assert_eq!(body["needs_restart"], expected);
        assert_eq!(sidecar.metric("config_needs_restart").await, 2);
    }
    let log = sidecar.log();
    assert!(log.contains("front.headers_max site[main].hosts"), "{log}");
    sidecar.write_config(&text);
    let body = sidecar.admin("POST", "/reload").await.json();
    assert_eq!(body["needs_restart"], json!([]));
}
