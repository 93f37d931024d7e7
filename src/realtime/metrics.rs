//! What the realtime side counts.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::close::Close;

/// Counters of connections and of what is fanned out to them.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    pub(super) connections: Gauge,
    pub(super) subscriptions: Gauge,
    subscriptions_refused: Counter,
    pub(super) messages: Counter,
    pub(super) writes: Counter,
    pub(super) gaps: Counter,
    closes: Family<Reason, Counter>,
    refusals: Family<Reason, Counter>,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Reason {
    reason: &'static str,
}

impl Metrics {
    /// Registers the metrics.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "realtime_connections",
            "Browsers that are connected",
            metrics.connections.clone(),
        );
        registry.register(
            "realtime_subscriptions",
            "Subscriptions of all connections",
            metrics.subscriptions.clone(),
        );
        registry.register(
            "realtime_subscriptions_refused",
            "Subscriptions refused since realtime.subscriptions_max was reached",
            metrics.subscriptions_refused.clone(),
        );
        registry.register(
            "realtime_messages",
            "Messages handed to connections",
            metrics.messages.clone(),
        );
        registry.register(
            "realtime_writes",
            "Times that a connection was handed messages; messages by writes is the joining",
            metrics.writes.clone(),
        );
        registry.register(
            "realtime_gaps",
            "Subscriptions ended since they had missed a publication",
            metrics.gaps.clone(),
        );
        registry.register(
            "realtime_closes",
            "Connections closed, by reason",
            metrics.closes.clone(),
        );
        registry.register(
            "realtime_refusals",
            "Requests to the realtime path that opened nothing, by reason",
            metrics.refusals.clone(),
        );
        metrics
    }

    pub(super) fn closed(&self, close: &Close) {
        let reason = close.label();
        self.closes.get_or_create(&Reason { reason }).inc();
    }

    pub(super) fn subscription_refused(&self) {
        self.subscriptions_refused.inc();
    }

    pub(super) fn refused(&self, reason: &'static str) {
        self.refusals.get_or_create(&Reason { reason }).inc();
    }
}
