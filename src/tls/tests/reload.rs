//! What a change of the files does to new connections, to open ones, and to the counters.

use std::os::unix::fs::symlink;

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::{Instant, sleep},
};

use super::*;

/// A look at files that have not changed for a while, as far as it can tell.
fn look(certificates: &Certificates) -> Vec<super::super::certificate::Error> {
    certificates.look(false, SystemTime::now() + Duration::from_secs(60))
}

/// One pair in service, with all that a test looks at.
struct Site {
    dir: TempDir,
    certificates: Arc<Certificates>,
    server: Server,
    metrics: Metrics,
    first: Made,
}

impl Site {
    async fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let first = make(&["localhost"]);
        let files = [first.write(dir.path(), "pair")];
        let metrics = Metrics::default();
        let (certificates, faults) = Certificates::load(&files, metrics.clone());
        assert!(faults.is_empty(), "{faults:?}");
        let server = Server::start(Arc::clone(&certificates), settings()).await;
        Self {
            dir,
            certificates,
            server,
            metrics,
            first,
        }
    }

    /// Looks twice, and asserts that the first pair stays and that one fault was counted.
    async fn assert_kept(&self, word: &str) {
        let faults = look(&self.certificates);
        assert!(faults[0].to_string().contains(word), "{faults:?}");
        look(&self.certificates);
        assert_eq!(self.server.shown("localhost").await, self.first.der);
        assert_eq!(self.metrics.reload_failures.get(), 1);
        assert_eq!(self.metrics.reloads.get(), 0);
    }

    fn key(&self) -> std::path::PathBuf {
        self.dir.path().join("pair.key")
    }
}

#[tokio::test]
async fn a_new_pair_serves_new_connections_while_an_open_one_goes_on() {
    let site = Site::start().await;
    let mut open = site.server.connect("localhost").await.unwrap();
    let tasks = Tasks::new();
    let watch = Arc::clone(&site.certificates).watch(Duration::from_millis(20), tasks.clone());
    tasks.spawn(watch);

    let second = make(&["localhost"]);
    second.write(site.dir.path(), "pair");
    let end = Instant::now() + Duration::from_secs(2);
    while site.server.shown("localhost").await != second.der {
        assert!(Instant::now() < end, "not in service after two seconds");
        sleep(Duration::from_millis(10)).await;
    }
    open.write_all(b"still here").await.unwrap();
    let mut echo = [0; 10];
    open.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"still here");
    assert_eq!(peer_certificate(&open), site.first.der);
    assert_eq!(site.metrics.reloads.get(), 1);
    tasks.finish(SOON).await.unwrap();
}

#[tokio::test]
async fn a_key_that_does_not_fit_leaves_the_old_pair_in_service() {
    let site = Site::start().await;
    fs::write(site.key(), make(&["localhost"]).key).unwrap();
    site.assert_kept("does not fit").await;
}

#[tokio::test]
async fn a_half_written_key_leaves_the_old_pair_until_it_is_whole() {
    let site = Site::start().await;
    let second = make(&["localhost"]);
    second.write(site.dir.path(), "pair");
    fs::write(site.key(), &second.key[..second.key.len() / 2]).unwrap();
    site.assert_kept("half written").await;

    fs::write(site.key(), &second.key).unwrap();
    assert!(look(&site.certificates).is_empty());
    assert_eq!(site.server.shown("localhost").await, second.der);
    assert_eq!(site.metrics.reloads.get(), 1);
}

#[tokio::test]
async fn an_expired_pair_leaves_the_old_one_in_service() {
    let site = Site::start().await;
    make_until(&["localhost"], SystemTime::now() - DAY).write(site.dir.path(), "pair");
    site.assert_kept("expired on").await;
}

#[tokio::test]
async fn a_removed_pair_leaves_the_old_one_in_service() {
    let site = Site::start().await;
    fs::remove_file(site.dir.path().join("pair.crt")).unwrap();
    site.assert_kept("no such file").await;
}

#[tokio::test]
async fn each_distinct_fault_is_counted_once_and_again_after_the_pair_was_right() {
    let site = Site::start().await;
    let good = fs::read(site.key()).unwrap();
    for _ in 0..3 {
        fs::write(site.key(), "").unwrap();
        look(&site.certificates);
        fs::write(site.key(), make(&["localhost"]).key).unwrap();
        look(&site.certificates);
    }
    assert_eq!(site.metrics.reload_failures.get(), 2);
    fs::write(site.key(), good).unwrap();
    assert!(look(&site.certificates).is_empty());
    fs::write(site.key(), "").unwrap();
    look(&site.certificates);
    assert_eq!(site.metrics.reload_failures.get(), 3);
}

#[tokio::test]
async fn an_asked_for_reload_tells_its_fault_each_time() {
    let site = Site::start().await;
    fs::write(site.key(), "").unwrap();
    assert_eq!(site.certificates.reload().len(), 1);
    assert_eq!(site.certificates.reload().len(), 1);
    assert_eq!(site.metrics.reload_failures.get(), 2);
}

#[tokio::test]
async fn a_link_swapped_as_certbot_does_is_noticed() {
    let dir = TempDir::new().unwrap();
    let (live, archive) = (dir.path().join("live"), dir.path().join("archive"));
    fs::create_dir(&live).unwrap();
    fs::create_dir(&archive).unwrap();
    let (first, second) = (make(&["localhost"]), make(&["localhost"]));
    first.write(&archive, "1");
    second.write(&archive, "2");
    let files = paths(&live, "pair");
    let point_at = |name: &str| {
        let to = paths(Path::new("../archive"), name);
        for (link, to) in [(&files.certificate, to.certificate), (&files.key, to.key)] {
            let _ = fs::remove_file(link);
            symlink(to, link).unwrap();
        }
    };
    point_at("1");
    let (certificates, faults) =
        Certificates::load(std::slice::from_ref(&files), Metrics::default());
    assert!(faults.is_empty(), "{faults:?}");
    let server = Server::start(Arc::clone(&certificates), settings()).await;
    look(&certificates);
    point_at("2");
    look(&certificates);
    assert_eq!(server.shown("localhost").await, second.der);
}

#[tokio::test]
async fn a_file_replaced_behind_its_link_is_noticed() {
    let dir = TempDir::new().unwrap();
    let (first, second) = (make(&["localhost"]), make(&["localhost"]));
    let real = first.write(dir.path(), "real");
    let files = paths(dir.path(), "pair");
    symlink(&real.certificate, &files.certificate).unwrap();
    symlink(&real.key, &files.key).unwrap();
    let (certificates, _) = Certificates::load(&[files], Metrics::default());
    let server = Server::start(Arc::clone(&certificates), settings()).await;
    look(&certificates);
    let next = second.write(dir.path(), "next");
    fs::rename(next.certificate, real.certificate).unwrap();
    fs::rename(next.key, real.key).unwrap();
    look(&certificates);
    assert_eq!(server.shown("localhost").await, second.der);
}

#[tokio::test]
async fn a_directory_link_swapped_as_kubernetes_does_is_noticed() {
    let dir = TempDir::new().unwrap();
    let (first, second) = (make(&["localhost"]), make(&["localhost"]));
    for (name, made) in [("1", &first), ("2", &second)] {
        fs::create_dir(dir.path().join(name)).unwrap();
        made.write(&dir.path().join(name), "pair");
    }
    let data = dir.path().join("data");
    symlink("1", &data).unwrap();
    let (certificates, _) = Certificates::load(&[paths(&data, "pair")], Metrics::default());
    let server = Server::start(Arc::clone(&certificates), settings()).await;
    look(&certificates);
    symlink("2", dir.path().join("new")).unwrap();
    fs::rename(dir.path().join("new"), &data).unwrap();
    look(&certificates);
    assert_eq!(server.shown("localhost").await, second.der);
}

#[tokio::test]
async fn a_pair_that_failed_at_the_start_is_taken_up_when_it_is_right() {
    let dir = TempDir::new().unwrap();
    let good = make(&["good.example"]);
    let late = make(&["late.example"]);
    let files = [paths(dir.path(), "late"), good.write(dir.path(), "good")];
    let metrics = Metrics::default();
    let (certificates, faults) = Certificates::load(&files, metrics.clone());
    assert_eq!(faults.len(), 1);
    let server = Server::start(Arc::clone(&certificates), settings()).await;
    assert_eq!(server.shown("late.example").await, good.der);
    look(&certificates);
    assert_eq!(metrics.reload_failures.get(), 0, "the caller has told it");

    late.write(dir.path(), "late");
    assert!(look(&certificates).is_empty());
    assert_eq!(server.shown("late.example").await, late.der);
    assert_eq!(server.shown("good.example").await, good.der);
}

#[tokio::test]
async fn an_expired_pair_serves_at_the_start_and_is_told() {
    let dir = TempDir::new().unwrap();
    let expired = make_until(&["localhost"], SystemTime::now() - DAY);
    let files = [expired.write(dir.path(), "pair")];
    let (certificates, faults) = Certificates::load(&files, Metrics::default());
    assert!(faults[0].to_string().contains("expired on"), "{faults:?}");
    let server = Server::start(Arc::clone(&certificates), settings()).await;
    assert_eq!(server.shown("localhost").await, expired.der);

    let renewed = make(&["localhost"]);
    renewed.write(dir.path(), "pair");
    look(&certificates);
    assert_eq!(server.shown("localhost").await, renewed.der);
}
