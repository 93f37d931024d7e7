//! Real handshakes over loopback, with pairs made for each test in a directory of its own.

mod certificate;
mod handshake;
mod reload;
mod self_signed;

use std::{
    fs,
    net::SocketAddr,
    path::Path,
    time::{Duration, SystemTime},
};

use rcgen::{CertificateParams, KeyPair};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{
    TlsConnector, client,
    rustls::{
        ClientConfig, DigitallySignedStruct, SignatureScheme,
        client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        crypto::CryptoProvider,
        pki_types::{CertificateDer, ServerName, UnixTime},
    },
};

use super::*;
use crate::shutdown::Tasks;

const SOON: Duration = Duration::from_secs(5);
const DAY: Duration = Duration::from_secs(86_400);

/// A pair in memory.
struct Made {
    certificate: String,
    key: String,
    der: CertificateDer<'static>,
}

fn make(names: &[&str]) -> Made {
    make_until(names, SystemTime::now() + 30 * DAY)
}

fn make_until(names: &[&str], not_after: SystemTime) -> Made {
    let key = KeyPair::generate().unwrap();
    let names: Vec<String> = names.iter().map(|&name| name.into()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = (SystemTime::now() - 30 * DAY).into();
    params.not_after = not_after.into();
    let certificate = params.self_signed(&key).unwrap();
    Made {
        certificate: certificate.pem(),
        key: key.serialize_pem(),
        der: certificate.der().clone(),
    }
}

impl Made {
    fn write(&self, dir: &Path, name: &str) -> config::Certificate {
        let files = paths(dir, name);
        fs::write(&files.certificate, &self.certificate).unwrap();
        fs::write(&files.key, &self.key).unwrap();
        files
    }
}

fn paths(dir: &Path, name: &str) -> config::Certificate {
    config::Certificate {
        certificate: dir.join(format!("{name}.crt")),
        key: dir.join(format!("{name}.key")),
    }
}

fn settings() -> config::Tls {
    config::Tls {
        handshake_timeout: SOON,
        handshakes_max: 16,
        poll_interval: Duration::from_millis(100),
    }
}

/// A server that answers each TLS connection with an echo.
struct Server {
    address: SocketAddr,
    metrics: Metrics,
    tasks: Tasks,
}

async fn echo(acceptor: Acceptor, stream: TcpStream) {
    if let Ok(stream) = acceptor.handshake(stream).await {
        let (mut read, mut write) = tokio::io::split(stream);
        let _ = tokio::io::copy(&mut read, &mut write).await;
    }
}

impl Server {
    async fn start(certificates: Arc<Certificates>, settings: config::Tls) -> Self {
        let metrics = Metrics::default();
        let acceptor = Acceptor::new(&settings, certificates, metrics.clone()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tasks = Tasks::new();
        let spawner = tasks.clone();
        tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                spawner.spawn(echo(acceptor.clone(), stream));
            }
        });
        Self {
            address,
            metrics,
            tasks,
        }
    }

    async fn connect(&self, name: &str) -> io::Result<client::TlsStream<TcpStream>> {
        self.connect_with(name, &Client::default()).await
    }

    async fn connect_with(
        &self,
        name: &str,
        client: &Client,
    ) -> io::Result<client::TlsStream<TcpStream>> {
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let connect = TlsConnector::from(Arc::clone(&client.0)).connect(name, stream);
        timeout(SOON, connect).await.unwrap()
    }

    /// The certificate that a client which asks for `name` is shown.
    async fn shown(&self, name: &str) -> CertificateDer<'static> {
        peer_certificate(&self.connect(name).await.unwrap())
    }

    fn failures(&self, reason: &'static str) -> u64 {
        let reason = [("reason", reason)];
        self.metrics.handshake_failures.get_or_create(&reason).get()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.stop();
    }
}

fn peer_certificate(stream: &client::TlsStream<TcpStream>) -> CertificateDer<'static> {
    let chain = stream.get_ref().1.peer_certificates().unwrap();
    chain[0].clone().into_owned()
}

/// A client that trusts everybody, since what it is shown is what the tests look at.
struct Client(Arc<ClientConfig>);

impl Default for Client {
    fn default() -> Self {
        Self::with_alpn(&["h2", "http/1.1"])
    }
}

impl Client {
    fn with_alpn(protocols: &[&str]) -> Self {
        let provider: Arc<CryptoProvider> = aws_lc_rs::default_provider().into();
        let mut config = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Trusting(provider)))
            .with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|p| p.as_bytes().to_vec()).collect();
        Self(Arc::new(config))
    }
}

#[derive(Debug)]
struct Trusting(Arc<CryptoProvider>);

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
