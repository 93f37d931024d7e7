//! One connection → its requests → their answers.
//!
//! Checks every request before anything behind sees it, chooses who answers, and turns failures
//! into pages. Accepting, TLS and the answers themselves are other modules' work.

mod activity;
mod admission;
mod arrival;
mod connection;
mod detached;
mod dispatch;
mod door;
mod metrics;
mod refusal;
mod request_body;
mod stall;
#[cfg(test)]
mod tests;
mod watched;

use std::{fmt, net::SocketAddr, sync::Arc};

use tokio::sync::Semaphore;

use self::{arrival::Arrival, dispatch::Destinations, door::Door};
pub use self::{dispatch::Backend, metrics::Metrics};
use crate::{
    config::{self, Mode},
    exchange::Scheme,
    realtime::Realtime,
    router::Router,
    shutdown::Tasks,
    tls,
};

/// What a [`Front`] is made of.
pub struct Parts {
    /// Limits and deadlines.
    pub config: config::Front,
    /// Which site and who answers.
    pub router: Router,
    /// One a site, in the order of the configuration.
    pub backends: Vec<Backend>,
    /// What clients were shown, to tell which requests belong on another connection.
    pub certificates: Arc<tls::Certificates>,
    /// Who answers the realtime path.
    pub realtime: Realtime,
    /// The stage that connections and detached requests belong to.
    pub tasks: Tasks,
    /// Counters.
    pub metrics: Metrics,
}

/// Serves connections. Clones share everything.
#[derive(Clone)]
pub struct Front(Arc<Door<Destinations>>);

impl Front {
    /// Puts the parts together.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let destination = Destinations::new(parts.backends, parts.realtime);
        Self(Arc::new(Door {
            detached: Arc::new(Semaphore::new(parts.config.detached_max)),
            config: parts.config,
            router: parts.router,
            destination,
            certificates: parts.certificates,
            tasks: parts.tasks,
            metrics: parts.metrics,
        }))
    }

    /// Serves one connection to its end: HTTP/1.1 or HTTP/2, whichever ALPN chose.
    ///
    /// Returns when the peer or a deadline ends it, when it was upgraded and belongs to
    /// `realtime`, or, once the stage is told to stop, after the requests under way.
    pub async fn serve(
        &self,
        stream: tls::Stream,
        peer: SocketAddr,
        local: SocketAddr,
        mode: Mode,
    ) {
        let scheme = match &stream {
            tls::Stream::Plain(_) => Scheme::Http,
            tls::Stream::Tls(_) => Scheme::Https,
        };
        let arrival = Arrival {
            client: SocketAddr::new(peer.ip().to_canonical(), peer.port()),
            local,
            scheme,
            mode,
            server_name: stream.server_name().map(Arc::from),
        };
        let door = Arc::clone(&self.0);
        // Boxed: the caller's task also held the handshake, and would keep the room of both for
        // as long as the connection is open.
        match stream.alpn() {
            tls::Alpn::Http1 => Box::pin(door.http1(stream, arrival)).await,
            tls::Alpn::Http2 => Box::pin(door.http2(stream, arrival)).await,
        }
    }
}

impl fmt::Debug for Front {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Front").finish_non_exhaustive()
    }
}
