//! The pairs in service, by name: exact, then wildcard, then the first of all.
//!
//! Swapped as a whole; a handshake reads it without a lock. It reads no file.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use arc_swap::ArcSwap;
use tokio_rustls::rustls::{
    SignatureScheme,
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::certificate::Pair;

/// The pairs in service.
#[derive(Debug, Default)]
pub(super) struct Store(ArcSwap<Pairs>);

/// One state of the store.
#[derive(Debug, Default)]
struct Pairs {
    /// In the order of the configuration.
    all: Vec<Arc<Pair>>,
    /// Several for one name are the same site's keys of different kinds.
    by_name: HashMap<String, Vec<Arc<Pair>>>,
}

impl Store {
    /// Puts `all` in service in place of what was there.
    pub(super) fn replace(&self, all: Vec<Arc<Pair>>) {
        let mut by_name: HashMap<String, Vec<Arc<Pair>>> = HashMap::new();
        for pair in &all {
            for name in &pair.names {
                by_name
                    .entry(name.clone())
                    .or_default()
                    .push(Arc::clone(pair));
            }
        }
        self.0.store(Arc::new(Pairs { all, by_name }));
    }

    /// The key for a client that asks for `name` and can check `schemes`.
    fn key(&self, name: Option<&str>, schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let pairs = self.0.load();
        let found = pairs.find(name);
        let checkable = found
            .iter()
            .find(|pair| pair.key.key.choose_scheme(schemes).is_some());
        checkable
            .or(found.first())
            .map(|pair| Arc::clone(&pair.key))
    }

    /// Every name in service.
    pub(super) fn names(&self) -> BTreeSet<String> {
        self.0.load().by_name.keys().cloned().collect()
    }

    /// Whether a client that asked for `server_name` was shown a certificate that is not for
    /// `host` while another one is.
    pub(super) fn misdirected(&self, server_name: Option<&str>, host: &str) -> bool {
        let pairs = self.0.load();
        let shown = pairs.find(server_name).iter().any(|p| p.covers(host));
        !shown && pairs.all.iter().any(|p| p.covers(host))
    }
}

impl Pairs {
    fn find(&self, name: Option<&str>) -> &[Arc<Pair>] {
        let exact = name.and_then(|name| self.by_name.get(name));
        let wildcard = || {
            let (_, parent) = name?.split_once('.')?;
            self.by_name.get(&format!("*.{parent}"))
        };
        // The default has its twin of another kind with it, where there is one.
        let default = || {
            let name = self.all.first()?.names.first()?;
            self.by_name.get(name)
        };
        match exact.or_else(wildcard).or_else(default) {
            Some(found) => found,
            None => self.all.get(..1).unwrap_or_default(),
        }
    }
}

impl ResolvesServerCert for Store {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.key(hello.server_name(), hello.signature_schemes())
    }
}
