//! The one certificate of all servers, P-256, and the browsers' side of TLS.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use tokio_rustls::rustls::{
    CipherSuite, ClientConfig, ClientConnection, RootCertStore,
    client::{ClientSessionMemoryCache, Resumption},
    crypto::aws_lc_rs,
    pki_types::CertificateDer,
    version::TLS13,
};

/// The name that every server is asked for.
pub(crate) const HOST: &str = "localhost";

/// A certificate and its key, in PEM.
pub(crate) struct Pair {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    root: CertificateDer<'static>,
}

impl Pair {
    pub(crate) fn make(directory: &Path) -> Self {
        // rcgen's own choice of a key is P-256.
        let made = rcgen::generate_simple_self_signed([HOST.to_owned()]).unwrap();
        let (certificate, key) = (directory.join("bench.crt"), directory.join("bench.key"));
        fs::write(&certificate, made.cert.pem()).unwrap();
        fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        Self {
            certificate,
            key,
            root: made.cert.der().clone(),
        }
    }

    /// A browser's TLS: 1.3 alone; with `resuming`, it keeps the tickets that it gets.
    pub(crate) fn client(&self, resuming: bool) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.root.clone()).unwrap();
        let mut provider = aws_lc_rs::default_provider();
        // What browsers on such machines offer first.
        provider
            .cipher_suites
            .sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
        let provider = Arc::new(provider);
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = if resuming {
            Resumption::store(Arc::new(ClientSessionMemoryCache::new(64)))
        } else {
            Resumption::disabled()
        };
        Arc::new(config)
    }
}

pub(crate) fn connection(config: &Arc<ClientConfig>) -> ClientConnection {
    ClientConnection::new(Arc::clone(config), HOST.try_into().unwrap()).unwrap()
}
