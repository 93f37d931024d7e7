//! The configuration is read again while the process runs: checked as a whole, then applied, or
//! left alone.
//!
//! On any fault everything stays as it was. What cannot change in a running process is named.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use tokio::task::spawn_blocking;

use super::{check, tokens};
use crate::{
    admin::reload::{Asked, Outcome, Reloaded},
    config::{self, Config, Fault, Faults, Site, Written},
    publish::Publisher,
    realtime::Realtime,
    shutdown::Tasks,
    telemetry::{Filter, chain},
    tls::Certificates,
};

/// What a site's table may change while the process runs.
const SITE_KEYS: [&str; 5] = [
    "allowed_origins",
    "namespace",
    "publish_key",
    "token_key",
    "tokens",
];

/// A configuration as it was read, and the keys that stood in its file.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// Without faults.
    pub config: Config,
    /// What it was read from.
    pub written: Written,
}

/// What is counted.
#[derive(Clone, Debug, Default)]
pub(super) struct Metrics {
    reloads: Family<[(&'static str, &'static str); 1], Counter>,
    needs_restart: Gauge,
}

/// Who has parts of the configuration.
#[derive(Debug)]
pub(super) struct Holders {
    pub(super) certificates: Arc<Certificates>,
    pub(super) publisher: Option<Publisher>,
    pub(super) realtime: Realtime,
    pub(super) filter: Filter,
}

/// Carries reloads out, one after the other.
#[derive(Debug)]
pub(super) struct Reload {
    pub(super) file: PathBuf,
    /// What the process started with: in force wherever a reload can't reach.
    pub(super) started: Loaded,
    /// The last one that was applied.
    pub(super) current: Loaded,
    /// The sites as they are now, in the order of the start.
    pub(super) sites: Vec<Site>,
    pub(super) holders: Holders,
    pub(super) metrics: Metrics,
}

impl Metrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "config_reloads",
            "Reloads of the configuration, by outcome",
            metrics.reloads.clone(),
        );
        registry.register(
            "config_needs_restart",
            "Keys of the file that are not in force before a restart",
            metrics.needs_restart.clone(),
        );
        metrics
    }
}

/// Reads `file` and checks it as a whole, the files that it names included.
///
/// # Errors
///
/// Every fault.
pub fn examine(file: &Path) -> Result<Loaded, Vec<Fault>> {
    let text = config::open(file).map_err(|fault| vec![fault])?;
    let (config, mut faults) = config::examine_text(&text);
    faults.extend(config.iter().flat_map(check));
    let written = Written::read(&text);
    match config {
        Some(config) if faults.is_empty() => Ok(Loaded { config, written }),
        _ => Err(faults),
    }
}

impl Reload {
    /// Answers every ask until the stage stops.
    pub(super) async fn run(mut self, mut asked: Asked, tasks: Tasks) {
        loop {
            let ask = tokio::select! {
                () = tasks.stopping() => return,
                ask = asked.next() => ask,
            };
            let Some(ask) = ask else { return };
            let outcome = self.once().await;
            self.tell(&outcome);
            ask.done(outcome);
        }
    }

    async fn once(&mut self) -> Outcome {
        let file = self.file.clone();
        let new = blocking(move || examine(&file)).await??;
        let certificates = Arc::clone(&self.holders.certificates);
        let files = new.config.certificates.clone();
        blocking(move || certificates.configure(&files)).await?;
        Ok(self.apply(new))
    }

    fn apply(&mut self, new: Loaded) -> Reloaded {
        let reloaded = compare(&self.started, &self.current, &new);
        let sites = &mut self.sites;
        for site in sites.iter_mut() {
            take_over(site, &new.config);
        }
        let keys = sites.iter().map(|site| Ok((site, tokens::keys(site)?)));
        match keys.collect::<Result<Vec<_>, tokens::Error>>() {
            Ok(sites) => self.holders.realtime.reload(sites),
            Err(error) => tracing::error!(fault = chain(&error), "the token keys were not taken"),
        }
        let publisher = self.holders.publisher.as_ref();
        if let Some(Err(error)) = publisher.map(|publisher| publisher.reload(sites)) {
            tracing::error!(%error, "the publish keys were not taken");
        }
        if let Err(fault) = self.holders.filter.set(&new.config.log.filter) {
            tracing::error!(fault, "log.filter was not taken");
        }
        self.current = new;
        reloaded
    }

    fn tell(&self, outcome: &Outcome) {
        let label = match outcome {
            Ok(reloaded) => {
                let count = i64::try_from(reloaded.needs_restart.len()).unwrap_or(i64::MAX);
                self.metrics.needs_restart.set(count);
                tracing::info!(
                    changed = reloaded.changed.join(" "),
                    "the configuration was read again and is in force"
                );
                if count > 0 {
                    tracing::warn!(
                        keys = reloaded.needs_restart.join(" "),
                        "these keys have changed and need a restart"
                    );
                }
                "applied"
            }
            Err(faults) => {
                let (file, faults) = (self.file.clone(), faults.clone());
                tracing::error!(
                    "the configuration was not taken, the one before stays in force: {}",
                    Faults { file, faults }
                );
                "refused"
            }
        };
        let reloads = &self.metrics.reloads;
        reloads.get_or_create(&[("outcome", label)]).inc();
    }
}

/// What `new` changes, and what of it waits for a restart.
fn compare(started: &Loaded, current: &Loaded, new: &Loaded) -> Reloaded {
    let runs = |name: &str| {
        let known = |config: &Config| config.sites.iter().any(|site| site.name == name);
        known(&started.config) && known(&new.config)
    };
    let changed = differing(current, new).into_iter();
    let changed = changed.filter(|key| is_applied(key, runs));
    let needs_restart = differing(started, new)
        .into_iter()
        .filter(|key| !is_applied(key, runs));
    let mut needs_restart: Vec<String> = needs_restart
        .map(|key| match site_key(&key) {
            // A whole site that is new or gone: its keys one by one say no more.
            Some((name, _)) if !runs(name) => format!("site[{name}]"),
            _ => key,
        })
        .collect();
    needs_restart.dedup();
    Reloaded {
        changed: changed.collect(),
        needs_restart,
    }
}

/// Off the threads that serve: a disk may hang.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Vec<Fault>> {
    spawn_blocking(work).await.map_err(|error| {
        vec![Fault {
            key: "the file".into(),
            value: None,
            remedy: format!("reading it failed: {error}; this is a fault of sidewire's own"),
        }]
    })
}

/// Has `site` be as `new` says, as far as it can change while the process runs. Where the file
/// names it no more, it stays as it is.
fn take_over(site: &mut Site, new: &Config) {
    if let Some(named) = find(new, &site.name) {
        *site = Site {
            hosts: std::mem::take(&mut site.hosts),
            backend: site.backend.clone(),
            ..named.clone()
        };
    }
}

fn find<'a>(config: &'a Config, name: &str) -> Option<&'a Site> {
    config.sites.iter().find(|site| site.name == name)
}

/// The keys whose values differ; one that only says its default in words does not, and one whose
/// file has other words in it does.
fn differing(old: &Loaded, new: &Loaded) -> BTreeSet<String> {
    let (a, b) = (&old.config, &new.config);
    let same = [
        ("tls.", a.tls == b.tls),
        ("front.", a.front == b.front),
        ("realtime.", a.realtime == b.realtime),
        ("broker.", a.broker == b.broker),
        ("publish.", a.publish == b.publish),
        ("admin.", a.admin == b.admin),
        ("stop.", a.stop == b.stop),
        ("log.", a.log == b.log),
        ("listener[", a.listeners == b.listeners),
        ("certificate[", a.certificates == b.certificates),
    ];
    let mut keys = old.written.differing(&new.written);
    keys.retain(|key| {
        let mut same = same.iter();
        !same.any(|(section, same)| *same && key.starts_with(section))
    });
    for site in &b.sites {
        let Some(old) = find(a, &site.name) else {
            continue;
        };
        let read_from_files = [
            ("publish_key", old.publish_keys == site.publish_keys),
            ("token_key", old.tokens.keys == site.tokens.keys),
            ("tokens.jwks_file", old.tokens.jwks == site.tokens.jwks),
        ];
        for (key, same) in read_from_files {
            let key = format!("site[{}].{key}", site.name);
            if !same && !keys.iter().any(|known| known.starts_with(&key)) {
                keys.insert(key);
            }
        }
    }
    keys
}

/// Whether a change of `key` is in force after a reload. `runs` knows the sites by name.
fn is_applied(key: &str, runs: impl Fn(&str) -> bool) -> bool {
    match site_key(key) {
        Some((name, rest)) => {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            let key = rest.get(..end).unwrap_or_default();
            runs(name) && SITE_KEYS.contains(&key)
        }
        None => key == "log.filter" || key.starts_with("certificate["),
    }
}

/// `site[blog].publish_key[0].secret` → `blog` and `publish_key[0].secret`.
fn site_key(key: &str) -> Option<(&str, &str)> {
    key.strip_prefix("site[")?.split_once("].")
}

#[cfg(test)]
#[path = "reload_tests.rs"]
mod tests;
