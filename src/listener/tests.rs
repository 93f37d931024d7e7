//! Both kinds of listener over real sockets; the accept loop alone with made-up errors.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    net::UnixStream,
    sync::mpsc,
    time::{Instant, sleep, timeout},
};

use super::*;

const SOON: Duration = Duration::from_secs(5);

fn listener(address: &str, connections_max: usize) -> config::Listener {
    config::Listener {
        address: address.parse().unwrap(),
        tls: false,
        mode: config::Mode::Serve,
        connections_max,
    }
}

/// Runs `listener`; each accepted connection arrives at the receiver.
fn accepting(listener: Listener, tasks: &Tasks) -> mpsc::UnboundedReceiver<Accepted> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let serve = move |accepted| {
        let sender = sender.clone();
        async move {
            let _ = sender.send(accepted);
        }
    };
    tasks.spawn(listener.run(tasks.clone(), serve));
    receiver
}

#[tokio::test]
async fn an_accepted_connection_has_nodelay_and_both_addresses() {
    let tasks = Tasks::new();
    let bound = Listener::bind(&listener("127.0.0.1:0", 10), &Metrics::default()).unwrap();
    let address = bound.address();
    let mut accepted = accepting(bound, &tasks);
    let client = TcpStream::connect(address).await.unwrap();
    let connection = timeout(SOON, accepted.recv()).await.unwrap().unwrap();
    assert!(connection.stream.nodelay().unwrap());
    assert_eq!(connection.peer, client.local_addr().unwrap());
    assert_eq!(connection.local, address);
    tasks.finish(SOON).await.unwrap();
}

#[tokio::test]
async fn an_ipv4_client_of_the_ipv6_wildcard_shows_its_ipv4_address() {
    let tasks = Tasks::new();
    let bound = Listener::bind(&listener("[::]:0", 10), &Metrics::default()).unwrap();
    let port = bound.address().port();
    let mut accepted = accepting(bound, &tasks);
    let client = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let connection = timeout(SOON, accepted.recv()).await.unwrap().unwrap();
    assert_eq!(connection.peer, client.local_addr().unwrap());
    assert!(connection.local.is_ipv4());
    tasks.finish(SOON).await.unwrap();
}

#[tokio::test]
async fn one_connection_more_than_allowed_waits_for_a_permit() {
    let tasks = Tasks::new();
    let bound = Listener::bind(&listener("127.0.0.1:0", 1), &Metrics::default()).unwrap();
    let address = bound.address();
    let mut accepted = accepting(bound, &tasks);
    let _first_client = TcpStream::connect(address).await.unwrap();
    let first = timeout(SOON, accepted.recv()).await.unwrap().unwrap();
    let second_client = TcpStream::connect(address).await.unwrap();
    assert!(accepted.try_recv().is_err());
    drop(first);
    let second = timeout(SOON, accepted.recv()).await.unwrap().unwrap();
    assert_eq!(second.peer, second_client.local_addr().unwrap());
    tasks.finish(SOON).await.unwrap();
}

#[tokio::test]
async fn a_full_listener_counts_that_it_waited_and_how_many_are_open() {
    let tasks = Tasks::new();
    let metrics = Metrics::default();
    let bound = Listener::bind(&listener("127.0.0.1:0", 2), &metrics).unwrap();
    let address = bound.address();
    let mut accepted = accepting(bound, &tasks);
    let _clients = [
        TcpStream::connect(address).await.unwrap(),
        TcpStream::connect(address).await.unwrap(),
        TcpStream::connect(address).await.unwrap(),
    ];
    let first = timeout(SOON, accepted.recv()).await.unwrap().unwrap();
    let second = timeout(SOON, accepted.recv()).await.unwrap().unwrap();
    let waited = async {
        while metrics.waits(address) == 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, waited).await.unwrap();
    assert_eq!((metrics.open(address), metrics.waits(address)), (2, 1));
    drop(first);
    let third = timeout(SOON, accepted.recv()).await.unwrap().unwrap();
    assert_eq!(metrics.open(address), 2);
    drop((second, third));
    assert_eq!(metrics.open(address), 0);
    assert_eq!(metrics.waits("127.0.0.1:1".parse().unwrap()), 0);
    tasks.finish(SOON).await.unwrap();
}

#[tokio::test]
async fn a_stop_closes_the_socket_even_while_all_permits_are_out() {
    let tasks = Tasks::new();
    let bound = Listener::bind(&listener("127.0.0.1:0", 1), &Metrics::default()).unwrap();
    let address = bound.address();
    let mut accepted = accepting(bound, &tasks);
    let _client = TcpStream::connect(address).await.unwrap();
    let _held = timeout(SOON, accepted.recv()).await.unwrap().unwrap();
    tasks.finish(SOON).await.unwrap();
    let refused = TcpStream::connect(address).await.unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn an_address_in_use_is_named_with_the_remedy() {
    let first = Listener::bind(&listener("127.0.0.1:0", 1), &Metrics::default()).unwrap();
    let address = first.address().to_string();
    let error = Listener::bind(&listener(&address, 1), &Metrics::default()).unwrap_err();
    let message = error.to_string();
    assert!(matches!(error, Error::InUse { .. }), "{message}");
    assert!(message.contains(&address), "{message}");
    assert!(message.contains("choose another address"), "{message}");
}

#[test]
fn a_refused_low_port_names_the_capability() {
    let denied = || io::Error::from(io::ErrorKind::PermissionDenied);
    let low = Error::new("127.0.0.1:443".parse().unwrap(), denied());
    assert!(low.to_string().contains("CAP_NET_BIND_SERVICE"), "{low}");
    let high = Error::new("127.0.0.1:8443".parse().unwrap(), denied());
    assert!(!high.to_string().contains("CAP_NET_BIND_SERVICE"), "{high}");
}

/// Fails with the errors it was given, last first, and then waits for ever.
struct Failing {
    errors: Mutex<Vec<i32>>,
    asked: AtomicUsize,
}

impl accept::Source for Failing {
    type Connection = ();

    async fn next(&self) -> io::Result<()> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let next = self.errors.lock().unwrap().pop();
        match next {
            Some(0) => Ok(()),
            Some(errno) => Err(io::Error::from_raw_os_error(errno)),
            None => std::future::pending().await,
        }
    }
}

const EMFILE: i32 = 24;
const ECONNABORTED: i32 = 103;

/// A loop over `errors` that runs until `end`; how often it asked for a connection.
async fn asked_until(end: impl Future<Output = ()>, tasks: &Tasks, errors: Vec<i32>) -> usize {
    let source = Failing {
        errors: Mutex::new(errors),
        asked: AtomicUsize::new(0),
    };
    let permits = Permits::from(8);
    tokio::select! {
        () = accept::run(&source, permits, tasks, |(), _permit| async {}) => {}
        () = end => {}
    }
    source.asked.load(Ordering::Relaxed)
}

#[tokio::test(start_paused = true)]
async fn a_lack_of_descriptors_pauses_the_loop_for_a_tenth_of_a_second() {
    let end = sleep(Duration::from_millis(950));
    assert_eq!(asked_until(end, &Tasks::new(), vec![EMFILE; 100]).await, 10);
}

#[tokio::test(start_paused = true)]
async fn an_aborted_connection_does_not_pause_the_loop() {
    let end = sleep(Duration::from_millis(50));
    let errors = vec![0, ECONNABORTED, ECONNABORTED, 0];
    assert_eq!(asked_until(end, &Tasks::new(), errors).await, 5);
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_the_pause() {
    let tasks = Tasks::new();
    let stopping = tasks.clone();
    tasks.spawn(async move {
        sleep(Duration::from_millis(50)).await;
        stopping.stop();
    });
    let start = Instant::now();
    let never = std::future::pending();
    assert_eq!(asked_until(never, &tasks, vec![EMFILE; 100]).await, 1);
    assert_eq!(start.elapsed(), Duration::from_millis(50));
}

/// Leaves a socket file behind, as a killed process does.
fn leave_stale(path: &Path) {
    drop(std::os::unix::net::UnixListener::bind(path).unwrap());
    assert!(path.exists());
}

#[tokio::test]
async fn a_unix_socket_is_0660_and_goes_with_its_listener() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("publish.sock");
    let bound = unix::Listener::bind(&path, None).unwrap();
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
        0o660
    );
    drop(bound);
    assert!(!path.exists());
}

#[tokio::test]
async fn a_unix_socket_is_given_to_its_group() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("publish.sock");
    let group = nix::unistd::Group::from_gid(nix::unistd::getegid())
        .unwrap()
        .unwrap();
    let _bound = unix::Listener::bind(&path, Some(&group.name)).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().gid(), group.gid.as_raw());
    let other = directory.path().join("other.sock");
    let error = unix::Listener::bind(&other, Some("no-such-group")).unwrap_err();
    assert!(error.to_string().contains("no-such-group"), "{error}");
    assert!(!other.exists());
}

#[tokio::test]
async fn a_stale_socket_is_replaced() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("publish.sock");
    leave_stale(&path);
    let tasks = Tasks::new();
    let bound = unix::Listener::bind(&path, None).unwrap();
    let (sender, mut accepted) = mpsc::unbounded_channel();
    let serve = move |connection: unix::Accepted| {
        let sender = sender.clone();
        async move { drop(sender.send(connection)) }
    };
    tasks.spawn(bound.run(4, tasks.clone(), serve));
    UnixStream::connect(&path).await.unwrap();
    assert!(timeout(SOON, accepted.recv()).await.unwrap().is_some());
    tasks.finish(SOON).await.unwrap();
    assert!(!path.exists());
}

#[tokio::test]
async fn a_socket_whose_file_is_removed_is_bound_anew_and_another_s_is_left_alone() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("publish.sock");
    let tasks = Tasks::new();
    let bound = unix::Listener::bind(&path, None).unwrap();
    let (sender, mut accepted) = mpsc::unbounded_channel();
    let serve = move |connection: unix::Accepted| {
        let sender = sender.clone();
        async move { drop(sender.send(connection)) }
    };
    tasks.spawn(bound.run(4, tasks.clone(), serve));
    fs::remove_file(&path).unwrap();
    let again = async {
        while UnixStream::connect(&path).await.is_err() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(SOON, again).await.unwrap();
    assert!(timeout(SOON, accepted.recv()).await.unwrap().is_some());
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o7777,
        0o660
    );

    // Moved, not removed: its inode can't be given to the other one.
    fs::rename(&path, directory.path().join("moved.sock")).unwrap();
    let other = std::os::unix::net::UnixListener::bind(&path).unwrap();
    // Longer than it takes to look.
    sleep(Duration::from_millis(1_500)).await;
    UnixStream::connect(&path).await.unwrap();
    assert!(accepted.try_recv().is_err(), "it is the other's to accept");
    assert!(other.accept().is_ok());
    tasks.finish(SOON).await.unwrap();
    assert!(path.exists(), "and to remove");
}

#[tokio::test]
async fn a_living_socket_is_an_error_and_stays() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("publish.sock");
    let _living = unix::Listener::bind(&path, None).unwrap();
    let error = unix::Listener::bind(&path, None).unwrap_err();
    assert!(matches!(error, unix::Error::Living { .. }), "{error}");
    UnixStream::connect(&path).await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_no_socket_is_never_removed() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("publish.sock");
    fs::write(&path, "precious").unwrap();
    let error = unix::Listener::bind(&path, None).unwrap_err();
    assert!(matches!(error, unix::Error::Occupied { .. }), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[tokio::test]
async fn a_dropped_listener_leaves_the_socket_of_its_successor() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("publish.sock");
    let first = unix::Listener::bind(&path, None).unwrap();
    fs::rename(&path, directory.path().join("moved.sock")).unwrap();
    let _second = unix::Listener::bind(&path, None).unwrap();
    drop(first);
    UnixStream::connect(&path).await.unwrap();
}

#[tokio::test]
async fn a_directory_that_is_missing_or_open_to_all_is_refused() {
    let directory = TempDir::new().unwrap();
    let missing = directory.path().join("none/publish.sock");
    let error = unix::Listener::bind(&missing, None).unwrap_err();
    assert!(error.to_string().contains("does not exist"), "{error}");
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let error = unix::Listener::bind(&directory.path().join("publish.sock"), None).unwrap_err();
    assert!(
        error.to_string().contains("writable by everybody"),
        "{error}"
    );
}

#[tokio::test]
async fn a_path_that_the_kernel_cannot_hold_is_named() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("s".repeat(120));
    let error = unix::Listener::bind(&path, None).unwrap_err();
    assert!(matches!(error, unix::Error::TooLong { .. }), "{error}");
}

#[tokio::test]
async fn a_symbolic_link_is_neither_followed_nor_removed() {
    let directory = TempDir::new().unwrap();
    let target = directory.path().join("target.sock");
    let path = directory.path().join("publish.sock");
    for stale in [false, true] {
        if stale {
            leave_stale(&target);
        }
        std::os::unix::fs::symlink(&target, &path).unwrap();
        let error = unix::Listener::bind(&path, None).unwrap_err();
        assert!(matches!(error, unix::Error::Occupied { .. }), "{error}");
        let found = fs::symlink_metadata(&path).unwrap();
        assert!(found.file_type().is_symlink());
        assert_eq!(target.exists(), stale);
        fs::remove_file(&path).unwrap();
    }
}

#[tokio::test]
async fn four_thousand_publishers_may_wait_to_be_accepted() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("publish.sock");
    let _bound = unix::Listener::bind(&path, None).unwrap();
    let address = socket2::SockAddr::unix(&path).unwrap();
    let most = fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    let most: usize = most.trim().parse().unwrap();
    let waiting = (0..10_000).take_while(|_| {
        // One that hangs up stays in the queue until it is accepted.
        let kind = Type::STREAM.nonblocking();
        let client = Socket::new(Domain::UNIX, kind, None).unwrap();
        client.connect(&address).is_ok()
    });
    let waiting = waiting.count();
    assert!(waiting >= most.min(4_096), "{waiting}");
    assert!(waiting < 10_000, "the test saw no end");
}
