//! Development pairs, and a TLS client that trusts exactly those it is given.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use sidewire::tls::self_signed;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{
        ClientConfig, RootCertStore,
        pki_types::{CertificateDer, ServerName},
    },
};

/// A certificate and its key on disk.
#[derive(Clone)]
pub(crate) struct Pair {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Pair {
    /// Makes a pair for `host` in `directory`.
    pub(crate) fn make(host: &str, directory: &Path) -> Self {
        let made = self_signed::write(host, directory).unwrap();
        Self {
            certificate: made.certificate,
            key: made.key,
        }
    }

    pub(crate) fn der(&self) -> CertificateDer<'static> {
        let pem = fs::read(&self.certificate).unwrap();
        let mut pem = pem.as_slice();
        rustls_pemfile::certs(&mut pem).next().unwrap().unwrap()
    }

    /// Puts copies of `certificate` and `key` in the place of these, each at once.
    pub(crate) fn replace(&self, certificate: &Path, key: &Path) {
        for (new, place) in [(key, &self.key), (certificate, &self.certificate)] {
            let beside = place.with_extension("new");
            fs::copy(new, &beside).unwrap();
            fs::rename(&beside, place).unwrap();
        }
    }
}

/// Connects to `port` as to `host`, trusting `roots` alone and offering `protocol`.
pub(crate) async fn connect(
    port: u16,
    host: &str,
    roots: &[CertificateDer<'static>],
    protocol: &str,
) -> TlsStream<TcpStream> {
    let tcp = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    handshake(tcp, host, roots, protocol).await
}

/// As [`connect`], by a connection that is there.
pub(crate) async fn handshake(
    tcp: TcpStream,
    host: &str,
    roots: &[CertificateDer<'static>],
    protocol: &str,
) -> TlsStream<TcpStream> {
    let mut store = RootCertStore::empty();
    for root in roots {
        store.add(root.clone()).unwrap();
    }
    let mut config = ClientConfig::builder()
        .with_root_certificates(store)
        .with_no_client_auth();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    tcp.set_nodelay(true).unwrap();
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(name, tcp).await.unwrap()
}
