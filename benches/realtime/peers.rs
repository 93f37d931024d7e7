//! The servers that are measured: how each is started, and where its browsers and its publisher go.

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use crate::{
    browser::Door,
    certificate::Pair,
    process::Group,
    publisher::{Address, Publisher},
    sidewire_config::Lifts,
};

/// Sidewire's publish secret here.
pub(crate) const SECRET: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// A server that is measured.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Sidewire,
    Uws,
    Nchan,
    Mosquitto,
    SocketIo,
    Ws,
    /// The floor: a loop of `write(2)`.
    Bare,
}

impl Kind {
    pub(crate) const ALL: [Self; 7] = [
        Self::Sidewire,
        Self::Uws,
        Self::Nchan,
        Self::Mosquitto,
        Self::SocketIo,
        Self::Ws,
        Self::Bare,
    ];

    /// In settings.
    pub(crate) const fn key(self) -> &'static str {
        match self {
            Self::Sidewire => "sidewire",
            Self::Uws => "uws",
            Self::Nchan => "nchan",
            Self::Mosquitto => "mosquitto",
            Self::SocketIo => "socketio",
            Self::Ws => "ws",
            Self::Bare => "bare",
        }
    }

    /// In the table.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Sidewire => "Sidewire",
            Self::Uws => "uWebSockets.js",
            Self::Nchan => "nginx + nchan",
            Self::Mosquitto => "mosquitto",
            Self::SocketIo => "Socket.IO",
            Self::Ws => "ws",
            Self::Bare => "write(2)",
        }
    }
}

/// What all servers of a run share.
pub(crate) struct Bench {
    pub(crate) directory: PathBuf,
    pub(crate) pair: Pair,
    pub(crate) program: PathBuf,
    pub(crate) lifts: Lifts,
}

/// A server that runs; it ends when this is dropped.
pub(crate) struct Server {
    pub(crate) kind: Kind,
    pub(crate) group: Group,
    pub(crate) address: Address,
    port: u16,
    directory: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn start(&self, kind: Kind) -> Server {
        self.start_with(kind, None)
    }

    /// Starts a server, with pages from port `upstream` where it has any; returns when it is ready.
    pub(crate) fn start_with(&self, kind: Kind, upstream: Option<u16>) -> Server {
        let directory = tempfile::Builder::new()
            .prefix(kind.key())
            .tempdir_in(&self.directory);
        let directory = directory.unwrap();
        let at = directory.path();
        let socket = at.join("publish.sock");
        let (group, port, address) = match kind {
            Kind::Sidewire => self.sidewire(at, upstream),
            Kind::Uws => self.node("uws.mjs", at),
            Kind::Ws => self.node("ws.mjs", at),
            Kind::SocketIo => self.node("socketio.mjs", at),
            Kind::Nchan => self.nchan(at),
            Kind::Mosquitto => self.mosquitto(at),
            Kind::Bare => {
                let own = std::env::current_exe().unwrap();
                let group = Group::start(&own, &["--bare", text(&socket)], at);
                with_port(group, Address::Unix(socket))
            }
        };
        let server = Server {
            kind,
            group,
            address,
            port,
            directory,
        };
        if kind == Kind::Sidewire {
            // It refuses what may have been signed before its start, which is up to a second.
            wait(
                &mut || server.publisher(true).is_ready(),
                "Sidewire takes no publications",
            );
        }
        server
    }

    fn sidewire(&self, at: &Path, upstream: Option<u16>) -> (Group, u16, Address) {
        let file = at.join("sidewire.toml");
        fs::write(&file, self.lifts.config(&self.pair, at, upstream)).unwrap();
        let mut group = Group::start(&self.program, &["run", "--config", text(&file)], at);
        let lines = group.lines(|line| line == "sidewire: ready");
        let mut addresses = lines
            .iter()
            .filter(|line| line.starts_with("sidewire: listening https"));
        let port = addresses
            .next()
            .and_then(|line| line.rsplit_once(':')?.1.parse().ok());
        (group, port.unwrap(), Address::Unix(at.join("publish.sock")))
    }

    fn node(&self, script: &str, at: &Path) -> (Group, u16, Address) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("benches/realtime/peers")
            .join(script);
        let socket = at.join("publish.sock");
        let arguments =
            [&script, &socket, &self.pair.certificate, &self.pair.key].map(|path| text(path));
        let group = Group::start(Path::new("node"), &arguments, at);
        with_port(group, Address::Unix(socket))
    }

    fn nchan(&self, at: &Path) -> (Group, u16, Address) {
        let (port, publish) = free_ports();
        let (certificate, key) = (self.pair.certificate.display(), self.pair.key.display());
        let directory = at.display();
        let config = format!(
            "daemon off; user root; worker_processes 1; worker_rlimit_nofile 20000;\n\
             pid {directory}/pid; error_log {directory}/log warn;\n\
             load_module /usr/lib/nginx/modules/ngx_nchan_module.so;\n\
             events {{ worker_connections 20000; }}\n\
             http {{ access_log off; keepalive_requests 1000000000; keepalive_timeout 600s;\n\
             server {{ listen 127.0.0.1:{port} ssl backlog=4096; ssl_protocols TLSv1.3;\n\
             ssl_certificate {certificate}; ssl_certificate_key {key};\n\
             location /sub {{ nchan_subscriber websocket; nchan_channel_id $arg_id;\n\
             nchan_channel_id_split_delimiter ,; nchan_subscriber_first_message newest;\n\
             nchan_websocket_ping_interval 25; }} }}\n\
             server {{ listen 127.0.0.1:{publish} backlog=4096;\n\
             location /pub {{ nchan_publisher; nchan_channel_id $arg_id; }} }} }}\n"
        );
        let file = at.join("nginx.conf");
        fs::write(&file, config).unwrap();
        let mut group = Group::start(Path::new("nginx"), &["-c", text(&file)], at);
        wait_for_port(&mut group, port);
        (group, port, Address::Tcp(publish))
    }

    fn mosquitto(&self, at: &Path) -> (Group, u16, Address) {
        let (port, publish) = free_ports();
        let (certificate, key) = (self.pair.certificate.display(), self.pair.key.display());
        let config = format!(
            "user root\npersistence false\nset_tcp_nodelay true\nallow_anonymous true\n\
             per_listener_settings false\nlog_type error\nlog_dest stderr\n\
             listener {port} 127.0.0.1\nprotocol websockets\ntls_version tlsv1.3\n\
             certfile {certificate}\nkeyfile {key}\nlistener {publish} 127.0.0.1\n"
        );
        let file = at.join("mosquitto.conf");
        fs::write(&file, config).unwrap();
        let mut group = Group::start(Path::new("mosquitto"), &["-c", text(&file)], at);
        wait_for_port(&mut group, port);
        (group, port, Address::Tcp(publish))
    }
}

impl Server {
    pub(crate) fn door(&self, bench: &Bench, resuming: bool) -> Door {
        Door {
            kind: self.kind,
            port: self.port,
            tls: bench.pair.client(resuming),
        }
    }

    pub(crate) fn publisher(&self, keeps: bool) -> Publisher {
        Publisher::new(self.kind, &self.address, keeps)
    }

    /// Messages and writes that Sidewire has counted so far.
    pub(crate) fn joining(&self) -> Option<(f64, f64)> {
        if self.kind != Kind::Sidewire {
            return None;
        }
        let mut admin = UnixStream::connect(self.directory.path().join("admin.sock")).ok()?;
        write!(
            admin,
            "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        )
        .ok()?;
        let mut text = String::new();
        admin.read_to_string(&mut text).ok()?;
        let metric = |name: &str| -> Option<f64> {
            let line = text.lines().find(|line| line.starts_with(name))?;
            line.rsplit(' ').next()?.parse().ok()
        };
        Some((
            metric("sidewire_realtime_messages_total")?,
            metric("sidewire_realtime_writes_total")?,
        ))
    }
}

fn with_port(mut group: Group, address: Address) -> (Group, u16, Address) {
    let lines = group.lines(|line| line.starts_with("ready "));
    let port = lines
        .iter()
        .find_map(|line| line.strip_prefix("ready ")?.parse().ok());
    (group, port.unwrap(), address)
}

/// Two ports for servers that can't be given port 0: free, and none that port 0 gives to another meanwhile.
fn free_ports() -> (u16, u16) {
    // Below the usual range of such ports; where to begin differs between processes.
    let first = 20_000 + std::process::id() * 7 % 10_000;
    let ports = (first..first + 1_000).filter_map(|port| u16::try_from(port).ok());
    let mut free = ports.filter(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok());
    (free.next().unwrap(), free.next().unwrap())
}

fn wait_for_port(group: &mut Group, port: u16) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
        let waited = !group.has_ended() && Instant::now() < deadline;
        assert!(waited, "a server did not start: {}", group.errors());
        thread::sleep(Duration::from_millis(20));
    }
}

fn wait(ready: &mut dyn FnMut() -> bool, fault: &str) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !ready() {
        assert!(Instant::now() < deadline, "{fault}");
        thread::sleep(Duration::from_millis(50));
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
