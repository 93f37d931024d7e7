//! What the broker counts.

use prometheus_client::{
    metrics::{counter::Counter, gauge::Gauge},
    registry::Registry,
};

/// What the broker counts.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    pub(super) publications: Counter,
    pub(super) outdated: Counter,
    pub(super) repeats: Counter,
    pub(super) keys_full: Counter,
    pub(super) evictions: Counter,
    pub(super) channels: Gauge,
    pub(super) dropped: Counter,
    pub(super) versions_dropped: Counter,
    pub(super) fingerprints_full: Counter,
    pub(super) history_bytes: Gauge,
}

impl Metrics {
    /// Registers the broker's metrics.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "broker_publications",
            "Publications that were ordered",
            metrics.publications.clone(),
        );
        registry.register(
            "broker_outdated",
            "Publications left out, since a newer version was there",
            metrics.outdated.clone(),
        );
        registry.register(
            "broker_repeats",
            "Publications left out, since their idempotency key was seen before",
            metrics.repeats.clone(),
        );
        registry.register(
            "broker_keys_full",
            "Publications refused, since no further idempotency key could be remembered",
            metrics.keys_full.clone(),
        );
        registry.register(
            "broker_evictions",
            "Channels that made room for others",
            metrics.evictions.clone(),
        );
        registry.register(
            "broker_channels",
            "Channels with a position of their own",
            metrics.channels.clone(),
        );
        registry.register(
            "broker_history_dropped",
            "Publications that left history early, since broker.history_bytes_max was reached",
            metrics.dropped.clone(),
        );
        registry.register(
            "broker_history_bytes",
            "Bytes of all history and of all remembered versions together",
            metrics.history_bytes.clone(),
        );
        metrics.register_memory(registry);
        metrics
    }

    /// What was forgotten that somebody may still ask for.
    fn register_memory(&self, registry: &mut Registry) {
        registry.register(
            "broker_versions_dropped",
            "Versions forgotten, since broker.versions_max or broker.history_bytes_max was reached",
            self.versions_dropped.clone(),
        );
        registry.register(
            "broker_fingerprints_full",
            "Times that broker.fingerprints_max was reached, and positions became void",
            self.fingerprints_full.clone(),
        );
    }
}
