//! The sidecars that scenarios share, and how browsers and publishers come to them.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a scenario stops at the first fault"
)]

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use serde_json::{Value, json};
use sidewire::{auth::token, config::Secret};
use tokio::{
    net::{TcpSocket, TcpStream, UnixStream},
    sync::Mutex,
    task::JoinSet,
    time::Instant,
};
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{ClientConfig, RootCertStore, pki_types::ServerName},
};

use crate::{
    browser::Browser,
    harness::{
        http::{Client, Response},
        publisher::{Publisher, Request},
        sidecar::{Builder, Sidecar, Site},
        unix_now,
        websocket::{Socket, opening},
        within,
    },
};

/// What the tokens of both sites are made with.
const TOKENS: [&str; 2] = [
    "whsec_YmxvZydzIGJyb3dzZXJzLCBmb3IgdGhlaXIgdG9rZW5zLi4u",
    "whsec_c2hvcCdzIGJyb3dzZXJzLCBmb3IgdGhlaXIgdG9rZW5zLi4u",
];

/// The sites of every place: name and host.
const SITES: [(&str, &str); 2] = [("blog", "blog.test"), ("shop", "shop.test")];

const NAMESPACES: &str = "
[[site.namespace]]
name = \"post\"
subscribe = \"anyone\"
history_size = 1_000
[[site.namespace]]
name = \"short\"
subscribe = \"anyone\"
history_size = 3
[[site.namespace]]
name = \"large\"
subscribe = \"anyone\"
history_size = 10
[[site.namespace]]
name = \"fast\"
subscribe = \"anyone\"
history_size = 10
backlog = \"conflate\"
[[site.namespace]]
name = \"room\"
subscribe = \"any_token\"
presence = true
join_leave = true
leave_grace = \"1s\"
";

/// Browsers that one scenario opens at the same time.
const AT_ONCE: usize = 32;

/// Everything that scenarios share.
pub(crate) struct World {
    /// Takes whatever comes.
    pub(crate) busy: Arc<Place>,
    /// Its limits are low.
    pub(crate) tight: Arc<Place>,
    /// Its deadlines are short.
    pub(crate) hasty: Arc<Place>,
    /// When load that goes on and on is to end.
    pub(crate) ends: Instant,
    /// Held by whoever counts browsers that are closed as slow.
    pub(crate) slow: Mutex<()>,
}

/// A sidecar with two sites.
pub(crate) struct Place {
    pub(crate) sidecar: Sidecar,
    pub(crate) pid: i32,
    connector: TlsConnector,
    before: Footprint,
}

/// What a process holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Footprint {
    pub(crate) files: usize,
    pub(crate) kib: u64,
}

impl World {
    /// Starts the sidecars; the load is to end so early that all is over after `time`.
    pub(crate) async fn start(time: Duration) -> Self {
        let busy = "commands_per_second_max = 60_000";
        let tight = "backlog_bytes_max = \"256KiB\"\nbacklog_messages_max = 20\n\
                     connections_per_user_max = 3";
        let hasty = "ping_interval = \"1100ms\"\npong_timeout = \"1s\"\nconnect_timeout = \"1s\"";
        let (busy, tight, hasty) = tokio::join!(
            Place::start(busy, |builder| builder),
            // One request may not be more than half of what waits for a browser.
            Place::start(tight, |builder| {
                builder.section("publish", "body_max = \"128KiB\"\nbatch_max = 10")
            }),
            Place::start(hasty, |builder| builder),
        );
        Self {
            busy,
            tight,
            hasty,
            ends: Instant::now() + time * 11 / 20,
            slow: Mutex::new(()),
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        Instant::now() >= self.ends
    }
}

impl Place {
    /// Starts a sidecar with `lines` in its `realtime` section, and whatever else `also` adds.
    pub(crate) async fn start(lines: &str, also: impl FnOnce(Builder) -> Builder) -> Arc<Self> {
        let mut builder = also(Sidecar::builder().section("realtime", lines));
        for ((name, host), secret) in SITES.iter().zip(TOKENS) {
            let backend = format!(
                "[site.upstream]\naddress = \"http://127.0.0.1:1\"\n\
                 [[site.token_key]]\nsecret = {secret:?}\n{NAMESPACES}"
            );
            builder = builder.site(Site::new(name, host).backend(backend));
        }
        let sidecar = builder.start().await;
        let mut roots = RootCertStore::empty();
        for root in &sidecar.roots {
            roots.add(root.clone()).unwrap();
        }
        let connector = connector(roots);
        // The admin socket's peer is the process.
        let socket = sidecar.directory.path().join("admin.sock");
        let admin = UnixStream::connect(socket).await.unwrap();
        let pid = admin.peer_cred().unwrap().pid().unwrap();
        drop(admin);
        let mut place = Self {
            sidecar,
            pid,
            connector,
            before: Footprint { files: 0, kib: 0 },
        };
        // Whatever is made once is made now.
        for site in 0..SITES.len() {
            let mut browser = place.browser(site).await;
            browser.subscribe("post:0").await;
            let first = json!({ "site": site, "channel": "post:0" });
            place.publisher(site).publish("post:0", &first).await;
            browser.message().await;
        }
        place.settled().await;
        place.before = place.footprint();
        Arc::new(place)
    }

    /// What its process held before any scenario.
    pub(crate) const fn before(&self) -> Footprint {
        self.before
    }

    pub(crate) fn footprint(&self) -> Footprint {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:"));
        let kib = line.unwrap().split_whitespace().nth(1).unwrap();
        Footprint {
            files: fs::read_dir(format!("/proc/{}/fd", self.pid))
                .unwrap()
                .count(),
            kib: kib.parse().unwrap(),
        }
    }

    /// Waits until no browser is connected any more.
    pub(crate) async fn settled(&self) {
        crate::harness::until("every browser to be forgotten", || async {
            let connections = self.sidecar.metric("realtime_connections").await;
            let subscriptions = self.sidecar.metric("realtime_subscriptions").await;
            (connections + subscriptions == 0).then_some(())
        })
        .await;
    }

    pub(crate) fn publisher(&self, site: usize) -> Publisher {
        self.sidecar.publisher_of(site)
    }

    /// The number of connections that were closed for `reason`.
    pub(crate) async fn closed_as(&self, reason: &str) -> u64 {
        let name = format!("realtime_closes_total{{reason={reason:?}}}");
        self.sidecar.metric(&name).await
    }

    /// A token of `user` that lives for `life` seconds.
    pub(crate) fn token(site: usize, user: &str, life: u64, more: Value) -> String {
        let mut claims = more;
        let now = unix_now();
        claims["sub"] = user.into();
        claims["iat"] = now.into();
        claims["exp"] = (now + life).into();
        Self::token_of(site, &claims)
    }

    /// A token of these claims.
    pub(crate) fn token_of(site: usize, claims: &Value) -> String {
        let secret = Secret::parse(TOKENS[site]).unwrap();
        token::mint("", secret.as_bytes(), &claims.to_string())
    }

    /// A TLS connection from one of many addresses.
    pub(crate) async fn tls(&self, site: usize, receive: Option<u32>) -> TlsStream<TcpStream> {
        let name = ServerName::try_from(SITES[site].1).unwrap();
        let tcp = within("the TCP connection", connect(self.sidecar.port, receive)).await;
        within("the handshake", self.connector.connect(name, tcp))
            .await
            .unwrap()
    }

    fn opening(&self, site: usize, target: &str, fields: &str) -> String {
        opening(&self.sidecar.authority_of(SITES[site].1), target, fields)
    }

    /// An upgraded connection, or why there is none.
    pub(crate) async fn upgrade(
        &self,
        site: usize,
        target: &str,
        fields: &str,
    ) -> Result<Socket, Response> {
        let client = Client::new(self.tls(site, None).await);
        Socket::open(client, &self.opening(site, target, fields)).await
    }

    pub(crate) async fn socket(&self, site: usize) -> Socket {
        self.upgrade(site, "/realtime", "").await.unwrap()
    }

    /// A socket that holds little of what is not read.
    pub(crate) async fn small_socket(&self, site: usize) -> Socket {
        let client = Client::new(self.tls(site, Some(4_096)).await);
        let opening = self.opening(site, "/realtime", "");
        Socket::open(client, &opening).await.unwrap()
    }

    /// A browser without a token.
    pub(crate) async fn browser(&self, site: usize) -> Browser {
        self.browser_with(site, "").await
    }

    pub(crate) async fn browser_with(&self, site: usize, token: &str) -> Browser {
        Browser::connect(self.socket(site).await, site, token).await
    }

    /// Many browsers that follow `channels`, opened a few at a time.
    pub(crate) async fn browsers(
        self: &Arc<Self>,
        site: usize,
        count: usize,
        channels: &[String],
    ) -> Vec<Browser> {
        let (mut opening, mut open) = (JoinSet::new(), Vec::new());
        for _ in 0..count {
            if opening.len() == AT_ONCE {
                open.extend(opening.join_next().await.map(Result::unwrap));
            }
            let (place, channels) = (Arc::clone(self), channels.to_vec());
            opening.spawn(async move {
                let mut browser = place.browser(site).await;
                for channel in channels {
                    browser.subscribe(&channel).await;
                }
                browser
            });
        }
        open.extend(opening.join_all().await);
        open
    }

    /// The event stream of `channels`, with its head read.
    pub(crate) async fn events(&self, site: usize, query: &str, since: Option<&str>) -> Client {
        let authority = self.sidecar.authority_of(SITES[site].1);
        let since = since.map(|id| format!("Last-Event-ID: {id}\r\n"));
        let mut client = Client::new(self.tls(site, None).await);
        let request = format!(
            "GET /realtime?{query} HTTP/1.1\r\nHost: {authority}\r\n\
             Accept: text/event-stream\r\n{}\r\n",
            since.unwrap_or_default()
        );
        client.send(request).await;
        client
    }

    /// Calls a method of the publish API that must succeed.
    pub(crate) async fn call(&self, site: usize, method: &str, body: &Value) -> Value {
        let request = Request::new(method, body.to_string());
        self.publisher(site).call(request).await
    }
}

pub(crate) fn connector(roots: RootCertStore) -> TlsConnector {
    let mut config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    TlsConnector::from(Arc::new(config))
}

/// Connects from the next of many addresses, each of which has ports of its own.
pub(crate) async fn connect(port: u16, receive: Option<u32>) -> TcpStream {
    static SOURCE: AtomicU32 = AtomicU32::new(0);
    let [.., low] = (SOURCE.fetch_add(1, Ordering::Relaxed) % 200 + 2).to_be_bytes();
    let socket = TcpSocket::new_v4().unwrap();
    if let Some(size) = receive {
        socket.set_recv_buffer_size(size).unwrap();
    }
    let source = SocketAddr::from((Ipv4Addr::new(127, 0, 0, low), 0));
    socket.bind(source).unwrap();
    let stream = socket
        .connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
        .await;
    let stream = stream.unwrap();
    stream.set_nodelay(true).unwrap();
    stream
}
