//! What the admin API answers, over a socket pair.

use std::{path::PathBuf, time::Instant};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    runtime::Handle,
    time::timeout,
};

use super::{
    reload::{Asked, Reloaded},
    *,
};
use crate::{
    auth::token::{Keys, Rules},
    broker::memory::{self, Memory},
    config::{self, Fault},
    realtime, tls,
};

/// Longer than any deadline here.
const LONG: Duration = Duration::from_secs(300);

/// A realtime side with one site and nobody on it.
fn nobody(tasks: &Tasks) -> Realtime {
    let text = "[[listener]]\naddress = \"127.0.0.1:0\"\ntls = false\n\
         [[site]]\nname = \"blog\"\nhosts = [\"blog.test\"]\n\
         [site.upstream]\naddress = \"http://127.0.0.1:1\"\n";
    let config = config::parse(text).unwrap();
    let broker = Arc::new(Memory::new(&config.broker, 1, memory::Metrics::default()));
    let rules = Rules {
        life_max: LONG,
        audience: String::new(),
        issuer: String::new(),
    };
    let sites = vec![(&config.sites[0], Keys::new(rules, [], None).unwrap())];
    let metrics = realtime::Metrics::default();
    Realtime::start(
        &config.realtime,
        sites,
        &broker,
        (tasks.clone(), &[Handle::current()]),
        metrics,
    )
}

fn admin() -> (Admin, Asked) {
    let tasks = Tasks::new();
    let (certificates, _) = Certificates::load(&[], tls::Metrics::default());
    let (reloads, asked) = Reloads::channel();
    let admin = Admin::new(Parts {
        facts: Facts {
            addresses: vec!["https 127.0.0.1:8443".into()],
            config_file: PathBuf::from("sidewire.toml"),
            sites: vec![("blog".into(), vec!["blog.test".into()])],
            started: (SystemTime::now(), Instant::now()),
        },
        registry: Registry::default(),
        realtime: nobody(&tasks),
        publisher: None,
        certificates,
        reloads,
        tasks,
    });
    (admin, asked)
}

/// The head and the body of the answer to `request`; empty where there is none.
async fn answer(admin: &Admin, request: &str) -> (String, Value) {
    let (mut client, server) = UnixStream::pair().unwrap();
    let tasks = Tasks::new();
    tasks.spawn(admin.clone().serve(server.into_std().unwrap()));
    client.write_all(request.as_bytes()).await.unwrap();
    let mut text = String::new();
    let read = timeout(LONG, client.read_to_string(&mut text)).await;
    read.expect("the connection is closed").unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_default();
    let body = serde_json::from_str(body).unwrap_or_default();
    (head.to_ascii_lowercase(), body)
}

#[tokio::test]
async fn a_path_or_a_method_that_is_not_there_is_answered_with_those_that_are() {
    let (admin, _asked) = admin();
    let (head, body) = answer(&admin, "GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(head.starts_with("http/1.1 404"), "{head}");
    let message = body["error"]["message"].as_str().unwrap();
    assert!(message.contains("GET /status"), "{message}");
    for (request, allow) in [("POST /status", "get"), ("GET /reload", "post")] {
        let (head, body) = answer(&admin, &format!("{request} HTTP/1.1\r\nHost: a\r\n\r\n")).await;
        assert!(head.starts_with("http/1.1 405"), "{head}");
        assert!(head.contains(&format!("allow: {allow}")), "{head}");
        assert_eq!(body["error"]["code"], 405);
    }
}

#[tokio::test]
async fn a_reload_is_answered_with_what_it_changed_or_with_every_fault() {
    let (admin, mut asked) = admin();
    let tasks = Tasks::new();
    tasks.spawn(async move {
        let fault = |key: &str| Fault {
            key: key.into(),
            value: None,
            remedy: "missing".into(),
        };
        let reloaded = Reloaded {
            changed: vec!["log.filter".into()],
            needs_restart: vec!["front.body_max".into()],
        };
        asked.next().await.unwrap().done(Ok(reloaded));
        let faults = vec![fault("site"), fault("listener")];
        asked.next().await.unwrap().done(Err(faults));
    });
    let request = "POST /reload HTTP/1.1\r\nHost: a\r\n\r\n";
    let (head, body) = answer(&admin, request).await;
    assert!(head.starts_with("http/1.1 200"), "{head}");
    assert_eq!(body["changed"][0], "log.filter");
    assert_eq!(body["needs_restart"][0], "front.body_max");
    let (head, body) = answer(&admin, request).await;
    assert!(head.starts_with("http/1.1 422"), "{head}");
    assert_eq!(body["faults"][1]["key"], "listener");
    assert_eq!(body["file"], "sidewire.toml");
    let (_, status) = answer(&admin, "GET /status HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(status["last_reload"]["outcome"], "refused");
    // Nobody reloads any more.
    let (head, _) = answer(&admin, request).await;
    assert!(head.starts_with("http/1.1 503"), "{head}");
}

#[tokio::test(start_paused = true)]
async fn whoever_sends_half_a_request_is_not_waited_for() {
    let (admin, _asked) = admin();
    let (head, _) = answer(&admin, "GET /health HTTP/1.1\r\nHo").await;
    assert!(
        head.is_empty() || head.starts_with("http/1.1 408"),
        "{head}"
    );
    let begun = "POST /reload HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12";
    let (head, body) = answer(&admin, begun).await;
    assert!(head.starts_with("http/1.1 408"), "{head}");
    assert_eq!(body["error"]["code"], 408);
}

#[tokio::test(start_paused = true)]
async fn a_reload_that_hangs_is_told_to_whoever_waits() {
    let (admin, _asked) = admin();
    let (head, _) = answer(&admin, "POST /reload HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert!(head.starts_with("http/1.1 504"), "{head}");
}

#[tokio::test]
async fn a_large_body_is_refused() {
    let (admin, _asked) = admin();
    let request = format!(
        "POST /reload HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\n\r\n{}",
        "x".repeat(2_000)
    );
    let (head, _) = answer(&admin, &request).await;
    assert!(head.starts_with("http/1.1 413"), "{head}");
}
