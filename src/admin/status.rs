//! How the process is, as one JSON object.
//!
//! Counts of each site are to come from the hub; until then there are the totals of the metrics.

use std::{
    path::PathBuf,
    process,
    sync::Arc,
    time::{Instant, SystemTime},
};

use serde_json::{Value, json};

use super::{reload::Reloads, unix};
use crate::{
    publish::{self, Publisher},
    telemetry::Registry,
    tls::{Certificates, InService},
};

const DAY: i64 = 86_400;

/// What does not change while the process runs.
#[derive(Clone, Debug)]
pub struct Facts {
    /// What is listened on, a line each: `https 127.0.0.1:8443`.
    pub addresses: Vec<String>,
    /// The file that the configuration was read from.
    pub config_file: PathBuf,
    /// The names of the sites, and their hosts.
    pub sites: Vec<(String, Vec<String>)>,
    /// When the process began.
    pub started: (SystemTime, Instant),
}

/// Where the status is gathered from.
#[derive(Clone, Debug)]
pub(super) struct Status {
    pub(super) facts: Arc<Facts>,
    pub(super) registry: Registry,
    pub(super) publisher: Option<Publisher>,
    pub(super) certificates: Arc<Certificates>,
    pub(super) reloads: Reloads,
}

impl Status {
    pub(super) fn is_ready(&self) -> bool {
        self.publisher.as_ref().is_none_or(Publisher::is_ready)
    }

    pub(super) fn json(&self) -> Value {
        let facts = &self.facts;
        let (started, since) = facts.started;
        let listeners = facts.addresses.iter().filter_map(|line| {
            let (kind, address) = line.split_once(' ')?;
            Some(json!({ "kind": kind, "address": address }))
        });
        let now = i64::try_from(unix(SystemTime::now())).unwrap_or(i64::MAX);
        let certificates = self.certificates.list();
        let certificates = certificates.iter().map(|pair| certificate(pair, now));
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "api_level": publish::API_LEVEL,
            "ready": self.is_ready(),
            "pid": process::id(),
            "started": unix(started),
            "uptime_seconds": since.elapsed().as_secs(),
            "config_file": facts.config_file,
            "last_reload": self.reloads.last(),
            "listeners": listeners.collect::<Vec<_>>(),
            "totals": self.totals(),
            "sites": self.sites(),
            "certificates": certificates.collect::<Vec<_>>(),
        })
    }

    fn totals(&self) -> Value {
        let total = |name| self.registry.total(name);
        json!({
            "connections": total("realtime_connections"),
            "subscriptions": total("realtime_subscriptions"),
            "channels": total("broker_channels"),
            "publications": total("broker_publications_total"),
        })
    }

    /// The place for the hub's counts of each site: `connections`, `subscriptions`, `channels`,
    /// `publications` beside these, named as in the totals.
    fn sites(&self) -> Vec<Value> {
        let sites = self.facts.sites.iter();
        sites
            .map(|(name, hosts)| json!({ "name": name, "hosts": hosts }))
            .collect()
    }
}

fn certificate(pair: &InService, now: i64) -> Value {
    json!({
        "file": pair.certificate,
        "names": pair.names,
        "not_after": pair.not_after,
        "days_left": pair.not_after.map(|end| (end - now).div_euclid(DAY)),
        "faults": pair.faults,
    })
}
