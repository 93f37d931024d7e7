//! The sidecar under test, with a configuration, sockets and certificates of its own.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::{
    collections::BTreeMap,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::{client::TlsStream, rustls::pki_types::CertificateDer};

use super::{
    certificate::{self, Pair},
    directory,
    http::{Client, Http2, Response},
    program::{self, Process},
    publisher::Publisher,
    within,
};

/// A site of the configuration.
#[derive(Clone)]
pub(crate) struct Site {
    name: String,
    host: String,
    lines: String,
    backend: String,
}

/// A sidecar to be.
pub(crate) struct Builder {
    directory: TempDir,
    sites: Vec<Site>,
    sections: BTreeMap<&'static str, String>,
    log: Option<PathBuf>,
}

/// A running sidecar.
pub(crate) struct Sidecar {
    pub(crate) port: u16,
    /// The pair of each site, in their order.
    pub(crate) pairs: Vec<Pair>,
    pub(crate) directory: TempDir,
    sites: Vec<Site>,
    /// The certificates of the start, which its clients trust.
    pub(crate) roots: Vec<CertificateDer<'static>>,
    process: Option<Process>,
}

impl Site {
    /// A site whose back end nobody serves.
    pub(crate) fn new(name: &str, host: &str) -> Self {
        Self {
            name: name.into(),
            host: host.into(),
            lines: String::new(),
            backend: "[site.upstream]\naddress = \"http://127.0.0.1:1\"".into(),
        }
    }

    /// Lines of the site's own table.
    pub(crate) fn lines(mut self, lines: &str) -> Self {
        self.lines = lines.into();
        self
    }

    /// The table of the back end, such as `[site.upstream]`.
    pub(crate) fn backend(mut self, table: impl Into<String>) -> Self {
        self.backend = table.into();
        self
    }

    /// Further tables below the site's own, such as `[[site.namespace]]`.
    pub(crate) fn tables(mut self, tables: &str) -> Self {
        self.backend.push('\n');
        self.backend.push_str(tables);
        self
    }

    fn secret(&self) -> String {
        let mut secret = format!("{:-<32}", self.name);
        secret.truncate(32);
        format!("whsec_{}", STANDARD.encode(secret))
    }
}

impl Builder {
    /// Lines of the table `name`.
    pub(crate) fn section(mut self, name: &'static str, lines: &str) -> Self {
        let table = self.sections.entry(name).or_default();
        table.push_str(lines);
        table.push('\n');
        self
    }

    /// Has its standard error go to `path`.
    pub(crate) fn log_to(mut self, path: &str) -> Self {
        self.log = Some(path.into());
        self
    }

    pub(crate) fn site(mut self, site: Site) -> Self {
        self.sites.push(site);
        self
    }

    pub(crate) async fn start(mut self) -> Sidecar {
        if self.sites.is_empty() {
            self.sites.push(Site::new("main", "localhost"));
        }
        let pairs = self.sites.iter();
        let pairs = pairs.map(|site| Pair::make(&site.host, self.directory.path()));
        let pairs: Vec<Pair> = pairs.collect();
        let config = self.directory.path().join("sidewire.toml");
        fs::write(&config, self.text(&pairs)).unwrap();
        let log = self.log.take();
        let log = log.unwrap_or_else(|| self.directory.path().join("log"));
        let (process, lines) = program::serve(&config, &log).await;
        let port = lines
            .iter()
            .find_map(|line| line.strip_prefix("sidewire: listening https 127.0.0.1:"));
        Sidecar {
            port: port.unwrap().parse().unwrap(),
            roots: pairs.iter().map(Pair::der).collect(),
            pairs,
            directory: self.directory,
            sites: self.sites,
            process: Some(process),
        }
    }

    fn text(&self, pairs: &[Pair]) -> String {
        let mut text = "[[listener]]\naddress = \"127.0.0.1:0\"\n".to_owned();
        for pair in pairs {
            let (certificate, key) = (&pair.certificate, &pair.key);
            writeln!(
                text,
                "[[certificate]]\ncertificate = {certificate:?}\nkey = {key:?}"
            )
            .unwrap();
        }
        let socket = |name: &str| {
            let path = self.directory.path().join(name);
            format!("socket = {path:?}\n")
        };
        let mut tables = BTreeMap::from([
            ("publish", socket("publish.sock")),
            ("admin", socket("admin.sock")),
            (
                "log",
                "filter = \"info,sidewire::front=debug\"\n".to_owned(),
            ),
        ]);
        for (name, lines) in &self.sections {
            tables.entry(name).or_default().push_str(lines);
        }
        for (name, lines) in tables {
            writeln!(text, "[{name}]\n{lines}").unwrap();
        }
        for site in &self.sites {
            let Site {
                name,
                host,
                lines,
                backend,
            } = site;
            let secret = site.secret();
            writeln!(
                text,
                "[[site]]\nname = {name:?}\nhosts = [{host:?}]\n{lines}\n{backend}\n\
                 [[site.publish_key]]\nsecret = {secret:?}"
            )
            .unwrap();
        }
        text
    }
}

impl Sidecar {
    pub(crate) fn builder() -> Builder {
        Builder {
            directory: directory(),
            sites: Vec::new(),
            sections: BTreeMap::new(),
            log: None,
        }
    }

    pub(crate) async fn start() -> Self {
        Self::builder().start().await
    }

    /// The sidecar's own address as a client of the first site writes it.
    pub(crate) fn authority(&self) -> String {
        self.authority_of(&self.sites.first().unwrap().host)
    }

    pub(crate) fn authority_of(&self, host: &str) -> String {
        format!("{host}:{}", self.port)
    }

    pub(crate) async fn tls(&self, host: &str, protocol: &str) -> TlsStream<TcpStream> {
        let connection = certificate::connect(self.port, host, &self.roots, protocol);
        within("the handshake", connection).await
    }

    /// An HTTP/1.1 connection to the first site.
    pub(crate) async fn http1(&self) -> Client {
        let host = &self.sites.first().unwrap().host;
        Client::new(self.tls(host, "http/1.1").await)
    }

    pub(crate) async fn http2(&self) -> Http2 {
        let host = &self.sites.first().unwrap().host;
        Http2::new(self.tls(host, "h2").await).await
    }

    /// The answer to a GET with further header `fields`, each ended by CR LF.
    pub(crate) async fn get(&self, target: &str, fields: &str) -> Response {
        let host = self.authority();
        let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{fields}\r\n");
        self.http1().await.exchange(request).await
    }

    pub(crate) fn publish_socket(&self) -> PathBuf {
        self.directory.path().join("publish.sock")
    }

    /// A publisher of the first site.
    pub(crate) fn publisher(&self) -> Publisher {
        self.publisher_of(0)
    }

    pub(crate) fn publisher_of(&self, site: usize) -> Publisher {
        let secret = self.sites.get(site).unwrap().secret();
        Publisher::new(self.publish_socket(), &secret)
    }

    /// The answer of the admin socket.
    pub(crate) async fn admin(&self, method: &str, path: &str) -> Response {
        let socket = self.directory.path().join("admin.sock");
        let mut client = Client::new(UnixStream::connect(socket).await.unwrap());
        let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        client.exchange(request).await
    }

    /// The value of a metric, written with its labels and without `sidewire_`; 0 where it is not
    /// there yet.
    pub(crate) async fn metric(&self, name: &str) -> u64 {
        let metrics = self.admin("GET", "/metrics").await;
        let line = metrics.text().lines().find_map(|line| {
            let rest = line.strip_prefix("sidewire_")?.strip_prefix(name)?;
            rest.strip_prefix(' ')?.parse().ok()
        });
        line.unwrap_or_default()
    }

    /// The file that it reads.
    pub(crate) fn config_file(&self) -> PathBuf {
        self.directory.path().join("sidewire.toml")
    }

    pub(crate) fn config(&self) -> String {
        fs::read_to_string(self.config_file()).unwrap()
    }

    /// Has `text` in place of its configuration, for the next reload.
    pub(crate) fn write_config(&self, text: &str) {
        fs::write(self.config_file(), text).unwrap();
    }

    /// What the process has logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        self.process.as_ref().unwrap().signal(signal);
    }

    /// Waits for the process to end by itself.
    pub(crate) async fn exit_code(&mut self) -> Option<i32> {
        self.process.take().unwrap().exit_code().await
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the sidecar's log:\n{}", self.log());
        }
    }
}

/// The table of a FastCGI back end.
pub(crate) fn fastcgi(socket: &Path, root: &Path) -> String {
    let address = format!("unix:{}", socket.display());
    format!("[site.fastcgi]\naddress = {address:?}\nroot = {root:?}")
}
