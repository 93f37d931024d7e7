//! `sidewire tail`: a subscriber in the terminal, through cuts and refusals.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

use crate::harness::{
    certificate::Pair,
    directory,
    program::{Running, run},
    sidecar::{Sidecar, Site},
    token::{site, token},
    until,
};

/// A way to the sidecar that can be cut and mended.
struct Way {
    port: u16,
    cuts: watch::Sender<u32>,
    open: Arc<AtomicBool>,
    _serving: JoinSet<()>,
}

impl Way {
    async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let way = listener.local_addr().unwrap().port();
        let (cuts, cut) = watch::channel(0);
        let open = Arc::new(AtomicBool::new(true));
        let mut serving = JoinSet::new();
        let is_open = Arc::clone(&open);
        serving.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut near, _)) = listener.accept().await {
                if !is_open.load(Ordering::SeqCst) {
                    continue;
                }
                let mut cut = cut.clone();
                cut.mark_unchanged();
                connections.spawn(async move {
                    let mut far = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = cut.changed() => {}
                    }
                });
            }
        });
        Self {
            port: way,
            cuts,
            open,
            _serving: serving,
        }
    }

    fn cut(&self) {
        self.open.store(false, Ordering::SeqCst);
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    fn mend(&self) {
        self.open.store(true, Ordering::SeqCst);
    }
}

fn start(sidecar: &Sidecar, arguments: &[&str]) -> Running {
    let file = sidecar.config_file();
    let config = ["--config", file.to_str().unwrap()];
    Running::start(&[&["tail"], arguments, &config[..]].concat(), "")
}

async fn subscribed(sidecar: &Sidecar, count: u64) {
    until("the subscriptions", || async {
        (sidecar.metric("realtime_subscriptions").await == count).then_some(())
    })
    .await;
}

/// The first `count` lines that it printed.
async fn lines(tail: &Running, count: usize) -> Vec<String> {
    until(&format!("{count} lines"), || async {
        let lines: Vec<String> = tail.stdout().lines().map(str::to_owned).collect();
        (lines.len() >= count).then_some(lines)
    })
    .await
}

#[tokio::test]
async fn what_publish_sends_tail_prints_until_it_is_told_to_end() {
    let sidecar = Sidecar::start().await;
    let tail = start(&sidecar, &["site", "post:26"]);
    let json = start(&sidecar, &["post:26", "--json"]);
    subscribed(&sidecar, 3).await;
    let file = sidecar.config_file();
    let config = file.to_str().unwrap();
    for (channel, data) in [("site", "\"a\""), ("post:26", "{\"price\":9.90}")] {
        let finished = run(&["publish", channel, data, "--config", config]).await;
        assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    }
    let told = lines(&tail, 2).await;
    assert!(told[0].ends_with("Z  site  1  \"a\""), "{told:?}");
    assert!(
        told[1].ends_with("Z  post:26  1  {\"price\":9.90}"),
        "{told:?}"
    );
    let line = &lines(&json, 1).await[0];
    assert!(line.ends_with("\"data\":{\"price\":9.90}}"), "{line}");
    let value: Value = serde_json::from_str(line).unwrap();
    assert_eq!(value["channel"], "post:26");

    for (tail, signal) in [(tail, Signal::TERM), (json, Signal::INT)] {
        tail.signal(signal);
        let finished = tail.finished().await;
        assert_eq!((finished.code, finished.stderr.as_str()), (Some(0), ""));
    }
}

#[tokio::test]
async fn after_a_cut_it_goes_on_where_it_was_and_tells_a_gap() {
    let short = "[[site.namespace]]\nname = \"short\"\nsubscribe = \"anyone\"\nhistory_size = 1\n";
    let backend = format!("[site.upstream]\naddress = \"http://127.0.0.1:1\"\n{short}");
    let site = Site::new("main", "localhost").backend(backend);
    let sidecar = Sidecar::builder().site(site).start().await;
    let way = Way::to(sidecar.port).await;
    let url = format!("wss://localhost:{}/realtime", way.port);
    let tail = start(&sidecar, &["site", "short:1", "--url", &url]);
    subscribed(&sidecar, 2).await;
    let publisher = sidecar.publisher();
    publisher.publish("site", &json!(1)).await;
    publisher.publish("short:1", &json!("a")).await;
    lines(&tail, 2).await;

    way.cut();
    until("the cut", || async {
        tail.stderr().contains("trying again").then_some(())
    })
    .await;
    subscribed(&sidecar, 0).await;
    publisher.publish("site", &json!(2)).await;
    for data in ["b", "c", "d"] {
        publisher.publish("short:1", &json!(data)).await;
    }
    way.mend();
    subscribed(&sidecar, 2).await;
    publisher.publish("site", &json!(3)).await;
    publisher.publish("short:1", &json!("e")).await;

    let told = lines(&tail, 5).await;
    let of = |channel: &str| -> Vec<String> {
        let of = told.iter().filter(|line| line.contains(channel));
        of.map(|line| line.rsplit("  ").next().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        of("  site  "),
        ["1", "2", "3"],
        "nothing is lost or doubled"
    );
    assert_eq!(of("  short:1  "), ["\"a\"", "\"e\""]);
    let notes = tail.stderr();
    assert!(
        notes.contains("gap: what channel short:1 published after offset 1"),
        "{notes}"
    );
    assert!(!notes.contains("channel site"), "{notes}");
}

#[tokio::test]
async fn a_refusal_ends_it_with_the_protocols_code() {
    let sidecar = Sidecar::start().await;
    for (channel, code) in [("edit:26", "(code 103)"), ("nothing:1", "(code 102)")] {
        let finished = start(&sidecar, &["site", channel]).finished().await;
        assert_eq!(finished.code, Some(1), "{}", finished.stderr);
        let told = finished.stderr;
        assert!(told.contains(channel) && told.contains(code), "{told}");
    }
    let elsewhere = format!("wss://localhost:{}/elsewhere", sidecar.port);
    let finished = start(&sidecar, &["site", "--url", &elsewhere])
        .finished()
        .await;
    assert_eq!(finished.code, Some(1));
    assert!(finished.stderr.contains("502"), "{}", finished.stderr);
    for wrong in [&["site", "site"][..], &[], &["site", "--url", "https://a/"]] {
        let finished = start(&sidecar, wrong).finished().await;
        assert_eq!(finished.code, Some(64), "{}", finished.stderr);
    }
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_ends_it() {
    let sidecar = Sidecar::start().await;
    let elsewhere = directory();
    let other = Pair::make("localhost", elsewhere.path());
    let other = other.certificate.to_str().unwrap();
    let finished = start(&sidecar, &["site", "--ca", other]).finished().await;
    assert_eq!(finished.code, Some(1));
    let told = finished.stderr;
    assert!(
        told.contains("can be trusted") && told.contains("--ca"),
        "{told}"
    );

    let own = sidecar.pairs[0].certificate.to_str().unwrap();
    let _tail = start(&sidecar, &["site", "--ca", own]);
    subscribed(&sidecar, 1).await;
}

#[tokio::test]
async fn what_the_token_itself_subscribes_to_is_followed_through_a_cut_as_well() {
    let sidecar = Sidecar::builder().site(site("")).start().await;
    let way = Way::to(sidecar.port).await;
    let url = format!("wss://localhost:{}/realtime", way.port);
    let token = token(json!({ "sub": "7", "channels": ["edit:26"] }));
    let arguments = ["edit:26", "site", "--url", &url, "--token", &token];
    let tail = start(&sidecar, &arguments);
    subscribed(&sidecar, 2).await;
    let publisher = sidecar.publisher();
    publisher.publish("edit:26", &json!("a")).await;
    publisher.publish("site", &json!("b")).await;
    lines(&tail, 2).await;
    way.cut();
    subscribed(&sidecar, 0).await;
    publisher.publish("edit:26", &json!("c")).await;
    way.mend();
    let told = lines(&tail, 3).await;
    assert!(told[2].ends_with("edit:26  2  \"c\""), "{told:?}");
    assert!(!tail.stderr().contains("gap"), "{}", tail.stderr());
}
