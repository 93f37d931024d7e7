//! Keeps the store in step with the files: looks, checks, swaps, or leaves what is in service.
//!
//! Files are polled by what their paths lead to at that moment. Events would miss a swapped link
//! above the file, a target rewritten in place and every network file system.

use std::{
    collections::BTreeSet,
    error::Error as StdError,
    fs,
    os::unix::fs::MetadataExt,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{task::spawn_blocking, time::sleep};
use tokio_rustls::rustls::{
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::{
    Metrics,
    certificate::{Error, Pair},
    store::Store,
};
use crate::config;
use crate::shutdown::Tasks;

/// A file that changed this recently may change again without its time moving on.
const SETTLED: Duration = Duration::from_secs(2);

/// The certificates in service, and the files that they come from.
#[derive(Debug)]
pub struct Certificates {
    store: Store,
    entries: Mutex<Vec<Entry>>,
    metrics: Metrics,
}

/// A configured pair, as a person wants to know it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InService {
    /// As configured.
    pub certificate: PathBuf,
    /// The names of the certificate that is in service; none where none ever loaded.
    pub names: Vec<String>,
    /// Its last second, in Unix seconds.
    pub not_after: Option<i64>,
    /// Why the files as they are now were not taken.
    pub faults: Vec<String>,
}

/// One configured pair.
#[derive(Debug)]
struct Entry {
    files: config::Certificate,
    /// In service; the last one that was right.
    pair: Option<Arc<Pair>>,
    /// What the files were when they were read and right. Without it they are read at each look.
    seen: Option<[Identity; 2]>,
    /// Faults that the log has since the files were last right.
    told: BTreeSet<String>,
}

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Identity {
    device: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Certificates {
    /// Reads every pair and puts those that load in service, an expired one included: its site
    /// is better served with a warning in the browser than not at all.
    ///
    /// The faults are for the caller to log; [`Certificates::watch`] does not repeat them.
    #[must_use]
    pub fn load(files: &[config::Certificate], metrics: Metrics) -> (Arc<Self>, Vec<Error>) {
        let mut faults = Vec::new();
        let mut entries = Vec::new();
        for files in files {
            let mut entry = Entry::new(files);
            let checked = Pair::load(files).and_then(|pair| {
                let dates = pair.check_dates();
                entry.pair = Some(Arc::new(pair));
                dates
            });
            if let Err(fault) = checked {
                entry.told.insert(whole(&fault));
                faults.push(fault);
            }
            entries.push(entry);
        }
        let certificates = Self {
            store: Store::default(),
            entries: Mutex::default(),
            metrics,
        };
        certificates.serve(&entries);
        *certificates
            .entries
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = entries;
        (Arc::new(certificates), faults)
    }

    /// Reads every pair again, whether its files seem changed or not, and returns the faults,
    /// each of which is logged.
    ///
    /// Blocks on the disk.
    pub fn reload(&self) -> Vec<Error> {
        self.look(true, SystemTime::now())
    }

    /// Has `files` in place of the pairs configured before, and reads every pair again; returns
    /// the faults, each of which is logged. Pairs that stay configured stay in service.
    ///
    /// Blocks on the disk.
    pub fn configure(&self, files: &[config::Certificate]) -> Vec<Error> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = std::mem::take(&mut *entries);
        for files in files {
            let place = known.iter().position(|entry| entry.files == *files);
            entries.push(match place {
                Some(place) => known.swap_remove(place),
                None => Entry::new(files),
            });
        }
        let faults = self.look_at(&mut entries, true, SystemTime::now());
        // In any case: the order says which one is the default.
        self.serve(&entries);
        faults
    }

    /// Every configured pair and how it is.
    #[must_use]
    pub fn list(&self) -> Vec<InService> {
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let list = entries.iter().map(|entry| InService {
            certificate: entry.files.certificate.clone(),
            names: entry.pair.iter().flat_map(|p| p.names.clone()).collect(),
            not_after: entry.pair.as_ref().map(|pair| pair.not_after()),
            faults: entry.told.iter().cloned().collect(),
        });
        list.collect()
    }

    /// Looks at the files every `interval` until the stage is told to stop.
    pub async fn watch(self: Arc<Self>, interval: Duration, tasks: Tasks) {
        loop {
            tokio::select! {
                () = tasks.stopping() => return,
                () = sleep(interval) => {}
            }
            let certificates = Arc::clone(&self);
            // A file system that hangs must hold no worker of the runtime.
            let look = move || certificates.look(false, SystemTime::now());
            if let Err(error) = spawn_blocking(look).await {
                tracing::error!(%error, "looking at the certificates failed");
            }
        }
    }

    /// Every name and address that a certificate in service is for.
    #[must_use]
    pub fn names(&self) -> BTreeSet<String> {
        self.store.names()
    }

    /// Whether a client that asked for `server_name` in its handshake was shown a certificate
    /// that is not for `host` while another one is: the request belongs on another connection
    /// (421).
    #[must_use]
    pub fn misdirected(&self, server_name: Option<&str>, host: &str) -> bool {
        self.store.misdirected(server_name, host)
    }

    pub(super) fn look(&self, all: bool, now: SystemTime) -> Vec<Error> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        self.look_at(&mut entries, all, now)
    }

    fn look_at(&self, entries: &mut [Entry], all: bool, now: SystemTime) -> Vec<Error> {
        let mut faults = Vec::new();
        let mut replaced = false;
        for entry in &mut *entries {
            match entry.look(all, now) {
                Ok(false) => {}
                Ok(true) => {
                    replaced = true;
                    self.metrics.reloads.inc();
                }
                Err(fault) => {
                    if entry.told.insert(whole(&fault)) || all {
                        self.metrics.reload_failures.inc();
                        entry.tell(&fault);
                    }
                    faults.push(fault);
                }
            }
        }
        if replaced {
            self.serve(entries);
        }
        faults
    }

    /// Puts the pairs of `entries` in service.
    fn serve(&self, entries: &[Entry]) {
        self.store.replace(in_service(entries));
        let gauges = &self.metrics.not_after;
        gauges.clear();
        for entry in entries {
            if let Some(pair) = &entry.pair {
                let certificate = entry.files.certificate.display().to_string();
                let gauge = gauges.get_or_create(&[("certificate", certificate)]);
                gauge.set(pair.not_after());
            }
        }
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.store.resolve(hello)
    }
}

impl Entry {
    fn new(files: &config::Certificate) -> Self {
        Self {
            files: files.clone(),
            pair: None,
            seen: None,
            told: BTreeSet::new(),
        }
    }

    /// Takes up a new pair, if there is one that is right. `Ok(true)`: there was.
    fn look(&mut self, all: bool, now: SystemTime) -> Result<bool, Error> {
        let before = self.identities();
        if !all && before.is_some() && before == self.seen {
            return Ok(false);
        }
        self.seen = None;
        let pair = Pair::load(&self.files)?;
        pair.check_dates()?;
        self.told.clear();
        // Read while it changed, or changed a moment ago: the next look reads it again.
        self.seen = before.filter(|ids| {
            Some(*ids) == self.identities() && ids.iter().all(|id| id.is_settled(now))
        });
        let same = |old: &Arc<Pair>| old.key.cert == pair.key.cert;
        if self.pair.as_ref().is_some_and(same) {
            return Ok(false);
        }
        tracing::info!(
            certificate = %self.files.certificate.display(),
            names = %pair.names.join(" "),
            last_day = %pair.last_day(),
            "certificate taken into service"
        );
        self.pair = Some(Arc::new(pair));
        Ok(true)
    }

    fn identities(&self) -> Option<[Identity; 2]> {
        let certificate = Identity::of(&self.files.certificate)?;
        Some([certificate, Identity::of(&self.files.key)?])
    }

    fn tell(&self, fault: &Error) {
        match &self.pair {
            Some(pair) => tracing::error!(
                fault = %whole(fault),
                last_day = %pair.last_day(),
                "new certificate not taken; the one before stays in service"
            ),
            None => tracing::error!(
                fault = %whole(fault),
                "certificate still not in service"
            ),
        }
    }
}

impl Identity {
    /// Follows links, each time anew.
    fn of(path: &std::path::Path) -> Option<Self> {
        let found = fs::metadata(path).ok()?;
        Some(Self {
            device: found.dev(),
            inode: found.ino(),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }

    fn is_settled(&self, now: SystemTime) -> bool {
        let changed = u64::try_from(self.changed.0).unwrap_or_default();
        let changed = UNIX_EPOCH + Duration::from_secs(changed);
        now.duration_since(changed).is_ok_and(|age| age > SETTLED)
    }
}

fn in_service(entries: &[Entry]) -> Vec<Arc<Pair>> {
    entries.iter().filter_map(|e| e.pair.clone()).collect()
}

/// The fault with its causes, on one line.
fn whole(fault: &Error) -> String {
    let mut text = fault.to_string();
    let mut cause = fault.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
