//! The TOML text → checked values, with every fault told at once.
//!
//! Each section has a type of its own that reads itself; other modules receive their section and
//! never the whole [`Config`]. Nothing is opened here but the files that hold secrets and
//! keys.

mod fault;
mod front;
mod listener;
mod namespace;
mod publish;
mod publish_key;
mod realtime;
mod secret;
mod section;
mod site;
#[cfg(test)]
mod tests;
mod tokens;
mod value;
mod written;

use std::{
    collections::{BTreeSet, HashMap},
    fs,
    path::Path,
    time::Duration,
};

pub use fault::{Fault, Faults};
pub use front::Front;
pub use listener::{Certificate, Listener, Mode, Tls};
pub use namespace::{Backlog, Namespace, Publish as ClientPublish, Recovery, Subscribe};
pub use publish::{Admin, Publish};
pub use publish_key::{METHODS, PublishKey};
pub use realtime::{Broker, Realtime};
pub use secret::Secret;
use section::{Findings, Section};
pub use site::{Backend, FastCgi, Site, Upstream};
pub use tokens::{Jwks, TokenKey, Tokens};
pub use value::{Address, Bytes, duration};
pub use written::Written;

/// A whole configuration that can be run: hosts, names and secrets are unique, and TLS has a
/// certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Config {
    /// At least one.
    pub listeners: Vec<Listener>,
    /// At least one where a listener speaks TLS.
    pub certificates: Vec<Certificate>,
    /// `[tls]`
    pub tls: Tls,
    /// `[front]`
    pub front: Front,
    /// `[realtime]`
    pub realtime: Realtime,
    /// `[broker]`
    pub broker: Broker,
    /// `[publish]`; without it nothing can be published.
    pub publish: Option<Publish>,
    /// `[admin]`
    pub admin: Option<Admin>,
    /// `[stop]`
    pub stop: Stop,
    /// `[log]`
    pub log: Log,
    /// At least one.
    pub sites: Vec<Site>,
}

/// How the process ends.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Stop {
    /// For requests under way to be answered.
    pub drain_timeout: Duration,
    /// Over which browsers' streams are closed, so that they don't all come back at once.
    pub close_spread: Duration,
}

/// What is logged to standard error.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Log {
    /// A level, or `tracing` directives such as `info,sidewire::front=debug`.
    pub filter: String,
    /// Lines of JSON in place of text.
    pub json: bool,
}

/// Reads and checks `file`.
///
/// # Errors
///
/// All faults that can be found in one reading; the caller shows them and exits with 78.
pub fn load(file: &Path) -> Result<Config, Faults> {
    match examine(file) {
        (Some(config), faults) if faults.is_empty() => Ok(config),
        (_, faults) => Err(Faults {
            file: file.into(),
            faults,
        }),
    }
}

/// Reads `file`: its faults, and what could be read in spite of them. Good for looking further,
/// not for running unless there are none.
#[must_use]
pub fn examine(file: &Path) -> (Option<Config>, Vec<Fault>) {
    match open(file) {
        Ok(text) => examine_text(&text),
        Err(fault) => (None, vec![fault]),
    }
}

/// As [`examine`], for the text of a file.
#[must_use]
pub fn examine_text(text: &str) -> (Option<Config>, Vec<Fault>) {
    let (config, findings) = read(text);
    (config, findings.faults())
}

/// The text of `file`.
///
/// # Errors
///
/// The fault of a file that cannot be read.
pub fn open(file: &Path) -> Result<String, Fault> {
    fs::read_to_string(file).map_err(|error| Fault {
        key: "the file".into(),
        value: None,
        remedy: format!("cannot be read: {error}"),
    })
}

/// Checks the text of a configuration.
///
/// # Errors
///
/// All faults that can be found in one reading.
pub fn parse(text: &str) -> Result<Config, Vec<Fault>> {
    let (config, findings) = read(text);
    match config {
        Some(config) if findings.faults().is_empty() => Ok(config),
        _ => Err(findings.faults()),
    }
}

/// Every key that reading `text` asked for, arrays of tables written `site[]`; for the test that
/// holds the documents against the code.
#[must_use]
pub fn keys(text: &str) -> BTreeSet<String> {
    read(text).1.keys()
}

fn read(text: &str) -> (Option<Config>, Findings) {
    let findings = Findings::default();
    match text.parse::<toml::Table>() {
        Ok(table) => {
            let config = read_root(Section::root(table, findings.clone()), &findings);
            (config, findings)
        }
        Err(error) => {
            let line = error
                .span()
                .and_then(|span| text.get(..span.start))
                .map_or(1, |before| before.matches('\n').count() + 1);
            let message = error
                .message()
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned();
            findings.add(
                format!("line {line}"),
                None,
                format_args!("not TOML: {message}"),
            );
            (None, findings)
        }
    }
}

fn read_root(mut root: Section, findings: &Findings) -> Option<Config> {
    let listeners = root.sections("listener");
    let config = Config {
        listeners: listeners.into_iter().filter_map(Listener::read).collect(),
        certificates: root
            .sections("certificate")
            .into_iter()
            .filter_map(Certificate::read)
            .collect(),
        tls: Tls::read(root.section_or_empty("tls")),
        front: Front::read(root.section_or_empty("front")),
        realtime: Realtime::read(root.section_or_empty("realtime")),
        broker: Broker::read(root.section_or_empty("broker")),
        publish: root.section("publish").and_then(Publish::read),
        admin: root.section("admin").and_then(Admin::read),
        stop: Stop::read(root.section_or_empty("stop")),
        log: Log::read(root.section_or_empty("log")),
        sites: root
            .sections("site")
            .into_iter()
            .filter_map(Site::read)
            .collect(),
    };
    for (key, example) in [("listener", "[[listener]]"), ("site", "[[site]]")] {
        if !root.has(key) {
            findings.add(
                key,
                None,
                format_args!("missing; at least one {example} is needed"),
            );
        }
    }
    root.finish();
    check_whole(&config, findings);
    Some(config)
}

/// The rules that no section can check by itself.
fn check_whole(config: &Config, findings: &Findings) {
    if config.listeners.iter().any(|l| l.tls) && config.certificates.is_empty() {
        findings.add(
            "certificate",
            None,
            "missing; a TLS listener needs a [[certificate]], \
             `sidewire certs dev` makes one for development",
        );
    }
    check_backlog(config, findings);
    let mut names = HashMap::new();
    let mut hosts = HashMap::new();
    for (n, site) in config.sites.iter().enumerate() {
        if let Some(other) = names.insert(&site.name, n) {
            let key = format!("site[{n}].name");
            findings.add(
                key,
                Some(format!("{:?}", site.name)),
                format_args!("site[{other}] has this name"),
            );
        }
        for host in &site.hosts {
            if let Some(other) = hosts.insert(host, n) {
                let key = format!("site[{n}].hosts");
                findings.add(
                    key,
                    Some(format!("{host:?}")),
                    format_args!("site[{other}] names this host"),
                );
            }
        }
    }
    secret::check_unique(&config.sites, findings);
}

/// One request may publish a whole batch to two channels of one browser: that alone must make no
/// browser slow.
fn check_backlog(config: &Config, findings: &Findings) {
    let Some(publish) = &config.publish else {
        return;
    };
    let realtime = &config.realtime;
    if realtime.backlog_bytes_max.0 < publish.body_max.0.saturating_mul(2) {
        findings.add(
            "realtime.backlog_bytes_max",
            Some(format!("\"{}B\"", realtime.backlog_bytes_max.0)),
            "expected at least twice `publish.body_max`: one batch would make every browser slow",
        );
    }
    if realtime.backlog_messages_max < publish.batch_max.saturating_mul(2) {
        findings.add(
            "realtime.backlog_messages_max",
            Some(realtime.backlog_messages_max.to_string()),
            "expected at least twice `publish.batch_max`: one batch would make every browser slow",
        );
    }
}

impl Stop {
    fn read(mut section: Section) -> Self {
        let seconds = Duration::from_secs;
        let stop = Self {
            drain_timeout: section.within(
                "drain_timeout",
                seconds(30),
                seconds(0)..=seconds(3_600),
            ),
            close_spread: section.within("close_spread", seconds(3), seconds(0)..=seconds(3_600)),
        };
        if !stop.close_spread.is_zero() && stop.close_spread >= stop.drain_timeout {
            let key = if section.has("close_spread") {
                "close_spread"
            } else {
                "drain_timeout"
            };
            section.fault(
                key,
                format_args!(
                    "`close_spread` ({:?}) must be less than `drain_timeout` ({:?}), or \"0s\"",
                    stop.close_spread, stop.drain_timeout
                ),
            );
        }
        section.finish();
        stop
    }
}

impl Log {
    fn read(mut section: Section) -> Self {
        let log = Self {
            filter: section.or("filter", "info".to_owned()),
            json: section.or("json", false),
        };
        section.finish();
        log
    }
}
