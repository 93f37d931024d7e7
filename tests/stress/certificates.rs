//! Certificates that change under ten thousand open sockets: a run of its own.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a scenario stops at the first fault"
)]

use std::{
    env, fs,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use serde_json::json;
use tempfile::TempDir;
use tokio::{
    sync::{Barrier, Semaphore},
    task::JoinSet,
};
use tokio_rustls::rustls::pki_types::CertificateDer;

use crate::{
    Scenario,
    browser::Browser,
    harness::{
        certificate::{self, Pair},
        directory, until,
    },
    world::Place,
};

const CHANNEL: &str = "post:swap";
const SOCKETS: u64 = 10_000;
const SWAPS: u64 = 3;

/// Handshakes under way at the same time.
const AT_ONCE: usize = 24;

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![Scenario::new(
        "certificates_change_under_open_sockets",
        |_, _| Box::pin(swaps()),
    )]
}

/// What all browsers have received together.
type Received = Arc<AtomicU64>;

/// Done: 10,000 browsers follow a channel; the certificate is replaced three times, and between
/// with a key of another, with half a file and with nothing. Holds: no socket is closed, each
/// publication reaches all, and a new handshake is shown the newest pair that was whole.
async fn swaps() -> String {
    let sockets = env::var("STRESS_SOCKETS")
        .ok()
        .and_then(|text| text.parse().ok());
    let sockets: u64 = sockets.unwrap_or(SOCKETS);
    let pings = "ping_interval = \"10m\"\nconnect_timeout = \"60s\"";
    let polls = "poll_interval = \"100ms\"";
    let place = Place::start(pings, |builder| builder.section("tls", polls)).await;
    let since = Instant::now();
    let received = Received::default();
    let mut browsers = open(&place, sockets, &received).await;
    let opened = since.elapsed();
    let mut round = Round {
        place: &place,
        sockets,
        received: &received,
        published: 0,
    };
    round.publish().await;

    let mut change = Change {
        files: place.sidecar.pairs[0].clone(),
        trusted: place.sidecar.roots.clone(),
        elsewhere: directory(),
        faults: 0,
    };
    for swap in 0..SWAPS {
        change.break_it(&place).await;
        round.publish().await;
        change.swap(&place, swap).await;
        round.publish().await;
    }
    assert!(browsers.try_join_next().is_none(), "a socket was closed");
    let connections = place.sidecar.metric("realtime_connections").await;
    assert_eq!(connections, sockets);
    for reason in ["slow", "stalled", "no_pong", "violation", "peer"] {
        assert_eq!(place.closed_as(reason).await, 0, "{reason}");
    }
    let kib = place.footprint().kib / sockets.max(1);
    let counters = format!(
        "{sockets} sockets opened in {opened:.1?}, {SWAPS} swaps, {} broken pairs, {} \
         publications to all, {kib} KiB a socket",
        change.faults, round.published
    );
    // Ten thousand farewells prove nothing more.
    browsers.abort_all();
    counters
}

/// Opens `sockets` browsers that follow the channel, each counting what it receives.
async fn open(place: &Arc<Place>, sockets: u64, received: &Received) -> JoinSet<()> {
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let opened = Arc::new(AtomicU64::new(0));
    // Nothing comes before all are open, and a read waits for so long only.
    let begin = Arc::new(Barrier::new(usize::try_from(sockets).unwrap()));
    let mut browsers = JoinSet::new();
    for _ in 0..sockets {
        let turn = Arc::clone(&turns).acquire_owned().await.unwrap();
        let (place, received) = (Arc::clone(place), Arc::clone(received));
        let (opened, begin) = (Arc::clone(&opened), Arc::clone(&begin));
        browsers.spawn(async move {
            let mut browser: Browser = place.browser(0).await;
            browser.subscribe(CHANNEL).await;
            opened.fetch_add(1, Ordering::SeqCst);
            drop(turn);
            begin.wait().await;
            loop {
                browser.message().await;
                received.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    until("the last sockets to be open", || async {
        (opened.load(Ordering::SeqCst) == sockets).then_some(())
    })
    .await;
    browsers
}

/// What is published, and has to arrive everywhere.
struct Round<'a> {
    place: &'a Place,
    sockets: u64,
    received: &'a Received,
    published: u64,
}

impl Round<'_> {
    /// Publishes, and waits until every browser has it.
    async fn publish(&mut self) {
        self.published += 1;
        let data = json!({ "site": 0, "channel": CHANNEL, "by": 0, "n": self.published });
        self.place.publisher(0).publish(CHANNEL, &data).await;
        let due = self.published * self.sockets;
        until("the publication to be everywhere", || async {
            let received = self.received.load(Ordering::SeqCst);
            assert!(received <= due, "more than was published");
            (received == due).then_some(())
        })
        .await;
    }
}

/// The pair that is served, and what becomes of it.
struct Change {
    files: Pair,
    /// Every certificate that was ever whole, the newest last.
    trusted: Vec<CertificateDer<'static>>,
    elsewhere: TempDir,
    faults: u64,
}

impl Change {
    /// Puts pairs in place that can't be served, one after the other.
    async fn break_it(&mut self, place: &Place) {
        let elsewhere = self.elsewhere.path();
        let other = Pair::make(
            "blog.test",
            &elsewhere.join(format!("other{}", self.faults)),
        );
        let [certificate, key] =
            [&self.files.certificate, &self.files.key].map(|file| fs::read(file).unwrap());
        let file = |name: &str, content: &[u8]| {
            let file = elsewhere.join(name);
            fs::write(&file, content).unwrap();
            file
        };
        let key = file("key", &key);
        let half = file("half", &certificate[..certificate.len() / 2]);
        let empty = file("empty", b"");
        let before = shown(place, &self.trusted).await;
        for certificate in [&other.certificate, &half, &empty] {
            self.files.replace(certificate, &key);
            self.faults = until("the fault to be counted", || async {
                let failures = "tls_certificate_reload_failures_total";
                let now = place.sidecar.metric(failures).await;
                (now > self.faults).then_some(now)
            })
            .await;
        }
        let after = shown(place, &self.trusted).await;
        assert_eq!(after, before, "a broken pair changes nothing");
    }

    /// Puts a new pair in place.
    async fn swap(&mut self, place: &Place, number: u64) {
        let new = Pair::make(
            "blog.test",
            &self.elsewhere.path().join(format!("new{number}")),
        );
        self.trusted.push(new.der());
        self.files.replace(&new.certificate, &new.key);
        until("the new certificate to be shown", || async {
            (shown(place, &self.trusted).await == new.der()).then_some(())
        })
        .await;
    }
}

async fn shown(place: &Place, trusted: &[CertificateDer<'static>]) -> CertificateDer<'static> {
    let port = place.sidecar.port;
    let stream = certificate::connect(port, "blog.test", trusted, "http/1.1").await;
    let (_, session) = stream.get_ref();
    match session.peer_certificates() {
        Some([certificate, ..]) => certificate.clone(),
        none => panic!("{none:?}"),
    }
}
