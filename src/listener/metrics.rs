//! What the listeners count.

#[cfg(test)]
use std::net::SocketAddr;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::permits::Permits;

/// Counters of connections, by the address that is listened on.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    open: Family<Address, Gauge>,
    waits: Family<Address, Counter>,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Address {
    address: String,
}

impl Metrics {
    /// Registers the metrics.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "listener_connections",
            "Connections that are open, by listener; a browser whose WebSocket was opened is no \
             longer among them",
            metrics.open.clone(),
        );
        registry.register(
            "listener_waits",
            "Times that no more connections were accepted for a while, since the listener's \
             connections_max was reached, by listener",
            metrics.waits.clone(),
        );
        metrics
    }

    /// The places of the listener at `address`.
    #[must_use]
    pub fn permits(&self, address: &impl ToString, most: usize) -> Permits {
        let address = Address {
            address: address.to_string(),
        };
        let open = self.open.get_or_create(&address).clone();
        let waits = self.waits.get_or_create(&address).clone();
        Permits::new(most, open, waits)
    }

    #[cfg(test)]
    pub(super) fn open(&self, address: SocketAddr) -> i64 {
        let address = address.to_string();
        self.open.get_or_create(&Address { address }).get()
    }

    #[cfg(test)]
    pub(super) fn waits(&self, address: SocketAddr) -> u64 {
        let address = address.to_string();
        self.waits.get_or_create(&Address { address }).get()
    }
}
