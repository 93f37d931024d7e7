//! How the process is, as one JSON object: in all by its metrics, and of each site by the hub.

use std::{
    path::PathBuf,
    process,
    sync::Arc,
    time::{Instant, SystemTime},
};

use serde_json::{Value, json};

use super::{reload::Reloads, unix};
use crate::{
    broker::SiteId,
    publish::{self, Publisher},
    realtime::Realtime,
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
    pub(super) realtime: Realtime,
    pub(super) publisher: Option<Publisher>,
    pub(super) certificates: Arc<Certificates>,
    pub(super) reloads: Reloads,
}

impl Status {
    pub(super) fn is_ready(&self) -> bool {
        self.publisher.as_ref().is_none_or(Publisher::is_ready)
    }

    /// Every metric, the gauges as they are now.
    pub(super) fn metrics(&self) -> String {
        self.realtime.measure();
        self.registry.text()
    }

    pub(super) async fn json(&self) -> Value {
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
            "sites": self.sites().await,
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

    async fn sites(&self) -> Vec<Value> {
        let mut sites = Vec::new();
        for (n, (name, hosts)) in self.facts.sites.iter().enumerate() {
            let holds = self.realtime.status(SiteId(n)).await;
            sites.push(json!({
                "name": name,
                "hosts": hosts,
                "connections": holds.connections,
                "users": holds.users,
                "subscriptions": holds.subscriptions,
                "channels": holds.channels,
                "revocations": holds.revocations,
                "publications": holds.publications,
            }));
        }
        sites
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
