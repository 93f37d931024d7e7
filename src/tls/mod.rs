//! The encrypted side of a connection: certificates in service, and the handshake under a
//! deadline.
//!
//! It knows no HTTP but the names of its versions, and no listener: the handshake runs in the
//! connection's own task.

pub mod certificate;
mod reload;
pub mod self_signed;
mod store;
mod stream;
#[cfg(test)]
mod tests;

use std::{fmt, io, sync::Arc, time::Duration};

use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use tokio::{net::TcpStream, sync::Semaphore, time::timeout};
use tokio_rustls::{
    LazyConfigAcceptor,
    rustls::{
        self, ServerConfig,
        crypto::aws_lc_rs,
        server::{self, NoServerSessionStorage},
        version::{TLS12, TLS13},
    },
};

pub use reload::{Certificates, InService};
pub use stream::{Alpn, Stream};

use crate::config;

type Reason = [(&'static str, &'static str); 1];

/// What this module counts.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    handshakes: Counter,
    handshake_failures: Family<Reason, Counter>,
    reloads: Counter,
    reload_failures: Counter,
    not_after: Family<[(&'static str, String); 1], Gauge>,
}

/// Makes TLS connections of accepted ones. Clones share everything.
#[derive(Clone)]
pub struct Acceptor {
    config: Arc<ServerConfig>,
    handshakes: Arc<Semaphore>,
    deadline: Duration,
    metrics: Metrics,
}

/// Why a handshake ended without a connection.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The deadline passed.
    #[error("the handshake took longer than {0:?}")]
    Timeout(Duration),
    /// The client went away.
    #[error("the client closed the connection during the handshake")]
    Closed,
    /// Something that is not TLS, such as `http://` to this port.
    #[error("the client does not speak TLS")]
    NotTls,
    /// No version, cipher or protocol in common.
    #[error("the client and this server have no way of speaking in common")]
    Incompatible(#[source] rustls::Error),
    /// The client ended it, mostly because it does not trust the certificate.
    #[error("the client refused the handshake")]
    Refused(#[source] rustls::Error),
    /// The client broke the protocol, or no certificate is in service.
    #[error("the handshake failed")]
    Failed(#[source] rustls::Error),
    /// The connection failed.
    #[error("the connection failed during the handshake")]
    Io(#[source] io::Error),
}

impl Metrics {
    /// Adds the counters to `registry`.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "tls_handshakes",
            "Completed TLS handshakes",
            metrics.handshakes.clone(),
        );
        registry.register(
            "tls_handshake_failures",
            "TLS handshakes that ended without a connection",
            metrics.handshake_failures.clone(),
        );
        registry.register(
            "tls_certificate_reloads",
            "Certificates taken into service while running",
            metrics.reloads.clone(),
        );
        registry.register(
            "tls_certificate_reload_failures",
            "Distinct faults that kept a changed certificate out of service",
            metrics.reload_failures.clone(),
        );
        registry.register(
            "tls_certificate_not_after_seconds",
            "When each certificate in service ends, in Unix seconds",
            metrics.not_after.clone(),
        );
        metrics
    }
}

impl Acceptor {
    /// An acceptor that serves what `certificates` has in service at the moment of a handshake.
    ///
    /// # Errors
    ///
    /// The system gave no random bytes for the ticket keys.
    pub fn new(
        config: &config::Tls,
        certificates: Arc<Certificates>,
        metrics: Metrics,
    ) -> Result<Self, rustls::Error> {
        let mut server = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into())
            .with_protocol_versions(&[&TLS13, &TLS12])?
            .with_no_client_auth()
            .with_cert_resolver(certificates);
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // Made once and independent of the certificates: sessions resume across reloads.
        server.ticketer = aws_lc_rs::Ticketer::new()?;
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.max_early_data_size = 0;
        Ok(Self {
            config: Arc::new(server),
            handshakes: Arc::new(Semaphore::new(config.handshakes_max)),
            deadline: config.handshake_timeout,
            metrics,
        })
    }

    /// Shakes hands, from the first byte to the last within the configured time.
    ///
    /// A client that has sent no complete hello takes no place among the handshakes under way.
    ///
    /// # Errors
    ///
    /// There is no connection; the failure has been counted, and is the client's in all but
    /// [`Error::Failed`].
    pub async fn handshake(&self, stream: TcpStream) -> Result<Stream, Error> {
        let result = match timeout(self.deadline, self.accept(stream)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(error)) => Err(Error::from(error)),
            Err(_) => Err(Error::Timeout(self.deadline)),
        };
        match &result {
            Ok(_) => self.metrics.handshakes.inc(),
            Err(error) => {
                let reason = [("reason", error.reason())];
                self.metrics.handshake_failures.get_or_create(&reason).inc()
            }
        };
        result
    }

    async fn accept(&self, stream: TcpStream) -> io::Result<Stream> {
        let hello = LazyConfigAcceptor::new(server::Acceptor::default(), stream).await?;
        let _place = self.handshakes.acquire().await.map_err(io::Error::other)?;
        let stream = hello.into_stream(Arc::clone(&self.config)).await?;
        Ok(Stream::Tls(Box::new(stream)))
    }
}

impl fmt::Debug for Acceptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acceptor").finish_non_exhaustive()
    }
}

impl Error {
    /// A fixed word for the counter and the log.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Timeout(_) => "timeout",
            Self::Closed => "closed",
            Self::NotTls => "not_tls",
            Self::Incompatible(_) => "incompatible",
            Self::Refused(_) => "refused",
            Self::Failed(_) => "failed",
            Self::Io(_) => "io",
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        use rustls::Error as Tls;
        let inner = error.get_ref().and_then(|e| e.downcast_ref::<Tls>());
        match inner {
            Some(Tls::InvalidMessage(rustls::InvalidMessage::InvalidContentType)) => Self::NotTls,
            Some(inner @ (Tls::PeerIncompatible(_) | Tls::NoApplicationProtocol)) => {
                Self::Incompatible(inner.clone())
            }
            Some(inner @ Tls::AlertReceived(_)) => Self::Refused(inner.clone()),
            Some(inner) => Self::Failed(inner.clone()),
            None => match error.kind() {
                io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::BrokenPipe => Self::Closed,
                _ => Self::Io(error),
            },
        }
    }
}
