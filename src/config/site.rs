//! `[[site]]`: its hosts, its one back end, its keys, its namespaces.

use std::{path::PathBuf, time::Duration};

use super::{Address, Bytes, Namespace, PublishKey, Tokens, namespace, section::Section};

/// One WordPress site (or network).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Site {
    /// Names the site in logs, metrics and `Sidewire-Site`.
    pub name: String,
    /// Host names in lower case, without ports.
    pub hosts: Vec<String>,
    /// Origins that may open `/realtime` beside the site's own, such as `https://app.example.org`.
    pub allowed_origins: Vec<String>,
    /// Who answers what `/realtime` does not.
    pub backend: Backend,
    /// Keys that a publish request may be signed with.
    pub publish_keys: Vec<PublishKey>,
    /// What the tokens of its browsers are held against.
    pub tokens: Tokens,
    /// The rules of channels by what stands before their first colon; never empty.
    pub namespaces: Vec<Namespace>,
}

/// Who answers ordinary requests of a site.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Backend {
    /// PHP-FPM, with the document root served beside it.
    FastCgi(FastCgi),
    /// Apache, nginx or any other HTTP/1.1 server.
    Upstream(Upstream),
}

/// PHP-FPM and the document root.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FastCgi {
    /// Where PHP-FPM listens.
    pub address: Address,
    /// The document root, an existing directory.
    pub root: PathBuf,
    /// Directories outside the root that links inside it may lead to.
    pub extra_roots: Vec<PathBuf>,
    /// Where PHP-FPM sees the document root, when it is elsewhere (containers).
    pub script_root: Option<PathBuf>,
    /// To connect.
    pub connect_timeout: Duration,
    /// From the sent request to the end of the response's head.
    pub response_timeout: Duration,
    /// Between two pieces of the response.
    pub idle_timeout: Duration,
    /// Bytes of a request body that are kept in memory; the rest goes to a temporary file.
    pub body_memory_max: Bytes,
    /// Bytes of all request bodies together that temporary files may hold at the same time.
    pub spool_max: Bytes,
}

/// An HTTP server behind us.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Upstream {
    /// Where it listens.
    pub address: Address,
    /// To connect.
    pub connect_timeout: Duration,
    /// From the sent request to the head of the response.
    pub response_timeout: Duration,
    /// Between two pieces of the response.
    pub idle_timeout: Duration,
    /// Idle connections that are kept.
    pub pool_max: usize,
    /// How long an idle connection is kept: less than the server's own time (Apache: 5 s).
    pub pool_idle_timeout: Duration,
}

impl Site {
    pub(super) fn read(mut section: Section) -> Option<Self> {
        let name = section.required::<String>("name", "a short name for logs");
        if name.as_ref().is_some_and(String::is_empty) {
            section.fault("name", "expected a short name for logs");
        }
        let hosts = section.required::<Vec<String>>("hosts", "such as [\"example.org\"]");
        let hosts: Vec<String> = hosts
            .unwrap_or_default()
            .iter()
            .map(|host| host.to_ascii_lowercase())
            .collect();
        if section.has("hosts") && (hosts.is_empty() || !hosts.iter().all(|h| is_host(h))) {
            section.fault("hosts", "expected host names without scheme, port or path");
        }
        let allowed_origins: Vec<String> = section.or("allowed_origins", Vec::new());
        if !allowed_origins.iter().all(|origin| is_origin(origin)) {
            section.fault(
                "allowed_origins",
                "expected origins without a path, such as \"https://app.example.org\"",
            );
        }
        let backend = read_backend(&mut section);
        let namespaces = namespace::read(&mut section);
        let publish_keys = section
            .sections("publish_key")
            .into_iter()
            .filter_map(|key| PublishKey::read(key, &namespaces))
            .collect();
        let tokens = Tokens::read(&mut section);
        section.finish();
        Some(Self {
            name: name?,
            hosts,
            allowed_origins,
            backend: backend?,
            publish_keys,
            tokens,
            namespaces,
        })
    }
}

fn read_backend(section: &mut Section) -> Option<Backend> {
    let fastcgi = section.section("fastcgi");
    let upstream = section.section("upstream");
    match (fastcgi, upstream) {
        (Some(section), None) => FastCgi::read(section).map(Backend::FastCgi),
        (None, Some(section)) => Upstream::read(section).map(Backend::Upstream),
        (Some(fastcgi), Some(upstream)) => {
            // Each is told its own faults, too.
            FastCgi::read(fastcgi);
            Upstream::read(upstream);
            section.fault(
                "upstream",
                "a site has one back end; remove this or `fastcgi`",
            );
            None
        }
        (None, None) => {
            section.fault(
                "fastcgi",
                "missing; a site needs [site.fastcgi] or [site.upstream]",
            );
            None
        }
    }
}

impl FastCgi {
    fn read(mut section: Section) -> Option<Self> {
        let seconds = Duration::from_secs;
        let deadline = seconds(1)..=seconds(86_400);
        let address = section.required("address", "such as \"unix:/run/php/php8.2-fpm.sock\"");
        let root = section.required::<PathBuf>("root", "the directory with wp-config.php");
        if root.as_ref().is_some_and(|root| !root.is_dir()) {
            section.fault("root", "no such directory, or not to be entered");
        }
        let extra_roots: Vec<PathBuf> = section.or("extra_roots", Vec::new());
        if !extra_roots.iter().all(|root| root.is_dir()) {
            section.fault("extra_roots", "expected existing directories");
        }
        let script_root = section.optional("script_root");
        let connect_timeout = section.within("connect_timeout", seconds(3), deadline.clone());
        let response_timeout = section.within("response_timeout", seconds(120), deadline.clone());
        let idle_timeout = section.within("idle_timeout", seconds(120), deadline);
        let memory = Bytes(0)..=Bytes(1 << 30);
        let body_memory_max = section.within("body_memory_max", Bytes(64 << 10), memory);
        let spool_max = section.within("spool_max", Bytes(4 << 30), Bytes(0)..=Bytes(1 << 50));
        section.finish();
        Some(Self {
            address: address?,
            root: root?,
            extra_roots,
            script_root,
            connect_timeout,
            response_timeout,
            idle_timeout,
            body_memory_max,
            spool_max,
        })
    }
}

impl Upstream {
    fn read(mut section: Section) -> Option<Self> {
        let seconds = Duration::from_secs;
        let deadline = seconds(1)..=seconds(86_400);
        let address = section.required("address", "such as \"http://127.0.0.1:8080\"");
        let upstream = Self {
            address: address.unwrap_or_else(|| Address::Tcp(String::new())),
            connect_timeout: section.within("connect_timeout", seconds(3), deadline.clone()),
            response_timeout: section.within("response_timeout", seconds(120), deadline.clone()),
            idle_timeout: section.within("idle_timeout", seconds(120), deadline.clone()),
            pool_max: section.count("pool_max", 32, 0..=10_000),
            pool_idle_timeout: section.within("pool_idle_timeout", seconds(4), deadline),
        };
        section.finish();
        Some(upstream)
    }
}

fn is_host(host: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    !host.is_empty() && host.len() <= 253 && host.chars().all(plain) && !host.starts_with('.')
}

fn is_origin(origin: &str) -> bool {
    origin.parse::<http::Uri>().is_ok_and(|uri| {
        let scheme = matches!(uri.scheme_str(), Some("http" | "https"));
        scheme && uri.path_and_query().is_none_or(|p| p.as_str() == "/") && !origin.ends_with('/')
    })
}
