//! What a delivery and an idle browser cost: the built program, real TLS, real WebSockets.
//!
//! `cargo bench --bench fan_out`. CPU time is the server process's own, user and system, read
//! from `/proc`; the load comes from this process, on the same machine. Prints, asserts nothing.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a benchmark may stop at the first surprise, and prints"
)]

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use sidewire::{
    auth::signature::{self, Content},
    config::Secret,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};
use tokio_rustls::{TlsConnector, client::TlsStream, rustls};

const SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const TICKS_A_SECOND: f64 = 100.0;

/// A number from the environment, for shorter or larger runs.
fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

fn main() {
    let browsers = setting("BROWSERS", 1_000);
    let rate = setting("RATE", 20);
    let seconds = setting("SECONDS", 20);
    let idle = setting("IDLE_BROWSERS", 5_000);
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let server = Server::start();
        let at_rest = server.rss_kib();
        println!("resident at rest: {:.1} MiB", at_rest as f64 / 1024.0);
        deliveries(&server, browsers, rate, seconds).await;
        drop(server);
        let server = Server::start();
        idle_memory(&server, idle).await;
    });
}

async fn deliveries(server: &Server, browsers: usize, rate: usize, seconds: usize) {
    let crowd = Crowd::connect(server, browsers).await;
    let publisher = Publisher::new(server);
    publisher.wait_until_ready().await;
    let (before_cpu, before_seen) = (server.cpu_ticks(), crowd.seen());
    let started = Instant::now();
    let data = format!("{{\"price\":\"{}\"}}", "9".repeat(180));
    for n in 0..rate * seconds {
        let due = started + Duration::from_secs_f64(n as f64 / rate as f64);
        tokio::time::sleep_until(due.into()).await;
        publisher.publish(&data);
    }
    let expected = (browsers * rate * seconds) as u64;
    let deadline = Instant::now() + Duration::from_secs(30);
    while crowd.seen() - before_seen < expected && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let ticks = server.cpu_ticks() - before_cpu;
    let delivered = crowd.seen() - before_seen;
    println!(
        "{browsers} browsers × {rate}/s × {seconds} s: {delivered} of {expected} delivered, \
         {:.2} CPU-µs a delivery ({ticks} ticks), {:.2} messages a write",
        ticks as f64 / TICKS_A_SECOND * 1e6 / delivered as f64,
        server.metric("sidewire_realtime_messages_total")
            / server.metric("sidewire_realtime_writes_total"),
    );
}

async fn idle_memory(server: &Server, browsers: usize) {
    let before = server.rss_kib();
    let crowd = Crowd::connect(server, browsers).await;
    let publisher = Publisher::new(server);
    publisher.wait_until_ready().await;
    publisher.publish("{\"price\":\"9.90\"}");
    // One delivery and two pings (every 10 s here), as in real life.
    tokio::time::sleep(Duration::from_secs(25)).await;
    let seen = crowd.seen();
    assert_eq!(seen as usize, browsers, "every browser had the one message");
    println!(
        "{browsers} idle browsers: {:.2} KiB resident each, after one delivery and two pings",
        (server.rss_kib() - before) as f64 / browsers as f64,
    );
}

/// Browsers that subscribe to `site` and count what they get.
struct Crowd {
    seen: Arc<AtomicU64>,
    _readers: JoinSet<()>,
}

impl Crowd {
    async fn connect(server: &Server, count: usize) -> Self {
        let connector = connector(&server.dir.path().join("localhost.crt"));
        let seen = Arc::new(AtomicU64::new(0));
        let mut readers = JoinSet::new();
        let mut joining = JoinSet::new();
        for n in 0..count {
            joining.spawn(join(connector.clone(), server.port));
            // At most 64 handshakes at a time.
            if n >= 64 {
                let stream = joining.join_next().await.unwrap().unwrap();
                readers.spawn(read(stream, Arc::clone(&seen)));
            }
        }
        while let Some(stream) = joining.join_next().await {
            readers.spawn(read(stream.unwrap(), Arc::clone(&seen)));
        }
        Self {
            seen,
            _readers: readers,
        }
    }

    fn seen(&self) -> u64 {
        self.seen.load(Ordering::Relaxed)
    }
}

type Stream = TlsStream<TcpStream>;

/// Upgrades, connects and subscribes; returns once the subscription is answered.
async fn join(connector: TlsConnector, port: u16) -> Stream {
    let tcp = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    let mut stream = connector
        .connect("localhost".try_into().unwrap(), tcp)
        .await
        .unwrap();
    let request = format!(
        "GET /realtime HTTP/1.1\r\nHost: localhost:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let commands = b"{\"id\":1,\"connect\":{}}\n{\"id\":2,\"subscribe\":{\"channel\":\"site\"}}";
    stream.write_all(&masked(commands)).await.unwrap();
    stream.flush().await.unwrap();
    let mut answer = Vec::new();
    while !answer.windows(11).any(|window| window == b"\"subscribe\"") {
        let read = stream.read_buf(&mut answer).await.unwrap();
        assert!(read > 0, "refused: {}", String::from_utf8_lossy(&answer));
    }
    stream
}

/// Counts publications, and answers pings.
async fn read(mut stream: Stream, seen: Arc<AtomicU64>) {
    let mut bytes: Vec<u8> = Vec::new();
    let mut buffer = vec![0; 4 << 10];
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) | Err(_) => return,
            Ok(n) => bytes.extend_from_slice(&buffer[..n]),
        }
        let mut rest = &bytes[..];
        while let Some((payload, after)) = frame(rest) {
            if payload == b"{}" {
                stream.write_all(&masked(b"{}")).await.unwrap();
                stream.flush().await.unwrap();
            } else {
                seen.fetch_add(1, Ordering::Relaxed);
            }
            rest = after;
        }
        bytes = rest.to_vec();
    }
}

/// The payload of the first whole server frame, and what follows it.
fn frame(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (start, length) = match *bytes.get(1)? {
        126 => (
            4,
            usize::from(u16::from_be_bytes([*bytes.get(2)?, *bytes.get(3)?])),
        ),
        short => (2, usize::from(short)),
    };
    let end = start + length;
    (bytes.len() >= end).then(|| (&bytes[start..end], &bytes[end..]))
}

/// A client's text frame, masked with zeroes.
fn masked(payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() < 126);
    let mut frame = vec![
        0x81,
        0x80 | u8::try_from(payload.len()).unwrap(),
        0,
        0,
        0,
        0,
    ];
    frame.extend_from_slice(payload);
    frame
}

fn connector(certificate: &Path) -> TlsConnector {
    let pem = fs::read(certificate).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    for certificate in rustls_pemfile::certs(&mut &pem[..]) {
        roots.add(certificate.unwrap()).unwrap();
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config))
}

/// PHP's part: one signed request a connection.
struct Publisher {
    socket: PathBuf,
    key: Secret,
    count: AtomicU64,
}

impl Publisher {
    fn new(server: &Server) -> Self {
        let socket = server.dir.path().join("publish.sock");
        let key = Secret::parse(SECRET).unwrap();
        Self {
            socket,
            key,
            count: AtomicU64::new(0),
        }
    }

    async fn wait_until_ready(&self) {
        while !self.call("info", "").starts_with("HTTP/1.1 200") {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn publish(&self, data: &str) {
        let answer = self.call(
            "publish",
            &format!("{{\"channel\":\"site\",\"data\":{data}}}"),
        );
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }

    fn call(&self, method: &str, body: &str) -> String {
        let n = self.count.fetch_add(1, Ordering::Relaxed);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let id = format!("{method}_{:020}", now.as_nanos() as u64 ^ n);
        let timestamp = now.as_secs().to_string();
        let content = Content {
            id: &id,
            timestamp: &timestamp,
            body: body.as_bytes(),
        };
        let signature = signature::sign(self.key.as_bytes(), content);
        let mut stream = UnixStream::connect(&self.socket).unwrap();
        write!(
            stream,
            "POST /api/{method} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\
             webhook-id: {id}\r\nwebhook-timestamp: {timestamp}\r\nwebhook-signature: {signature}\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        std::io::read_to_string(&mut stream).unwrap()
    }
}

/// The program under test; ended when dropped.
struct Server {
    child: Child,
    port: u16,
    dir: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).display().to_string();
        let program = env!("CARGO_BIN_EXE_sidewire");
        let made = Command::new(program)
            .args(["certs", "dev", "--out"])
            .arg(dir.path())
            .stdout(Stdio::null())
            .status();
        assert!(made.unwrap().success());
        let config = format!(
            "[[listener]]\naddress = \"127.0.0.1:0\"\nconnections_max = 100_000\n\
             [[certificate]]\ncertificate = \"{}\"\nkey = \"{}\"\n\
             [realtime]\nping_interval = \"10s\"\npong_timeout = \"8s\"\nconnections_max = 100_000\nupgrades_per_second_max = 100_000\n\
             [publish]\nsocket = \"{}\"\n[admin]\nsocket = \"{}\"\n[log]\nfilter = \"warn\"\n\
             [[site]]\nname = \"bench\"\nhosts = [\"localhost\"]\n\
             [site.upstream]\naddress = \"unix:/nowhere\"\n[[site.publish_key]]\nsecret = \"{SECRET}\"\n",
            at("localhost.crt"),
            at("localhost.key"),
            at("publish.sock"),
            at("admin.sock"),
        );
        let file = dir.path().join("sidewire.toml");
        fs::write(&file, config).unwrap();
        let mut child = Command::new(program)
            .arg("run")
            .arg("--config")
            .arg(&file)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut port = 0;
        for line in lines.map(Result::unwrap) {
            if let Some(address) = line.strip_prefix("sidewire: listening https ") {
                port = address.rsplit(':').next().unwrap().parse().unwrap();
            }
            if line == "sidewire: ready" {
                break;
            }
        }
        Self { child, port, dir }
    }

    /// User and system time so far, in ticks.
    fn cpu_ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let fields = stat
            .rsplit(')')
            .next()
            .unwrap()
            .split_whitespace()
            .collect::<Vec<_>>();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }

    fn rss_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    fn metric(&self, name: &str) -> f64 {
        let mut stream = UnixStream::connect(self.dir.path().join("admin.sock")).unwrap();
        write!(
            stream,
            "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let text = std::io::read_to_string(&mut stream).unwrap();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            ..limit
        },
    )
    .unwrap();
}
