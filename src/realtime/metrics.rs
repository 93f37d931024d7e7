//! What the realtime side counts.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use super::close::Close;
use crate::broker::Beyond;

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
    limits: Family<Limit, Counter>,
    revocations: Gauge,
    presence: Gauge,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Limit {
    limit: &'static str,
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
        metrics.register_limits(registry);
        metrics
    }

    fn register_limits(&self, registry: &mut Registry) {
        registry.register(
            "realtime_limits",
            "Times that a limit was reached which closes and refuses no connection, by its key",
            self.limits.clone(),
        );
        registry.register(
            "realtime_revocations",
            "Revocations in force",
            self.revocations.clone(),
        );
        registry.register(
            "realtime_presence",
            "Subscribers that channels with presence or join/leave list",
            self.presence.clone(),
        );
    }

    pub(super) fn closed(&self, close: &Close) {
        let reason = close.label();
        self.closes.get_or_create(&Reason { reason }).inc();
    }

    pub(super) fn subscription_refused(&self) {
        self.subscriptions_refused.inc();
    }

    /// The limit with the key `limit` was reached.
    pub(super) fn limited(&self, limit: &'static str) {
        self.limits.get_or_create(&Limit { limit }).inc();
    }

    /// A recovery was beyond that bound, or a page of history was cut at it.
    pub(super) fn beyond(&self, beyond: Option<Beyond>) {
        match beyond {
            Some(Beyond::Messages) => self.limited("recovery_messages_max"),
            Some(Beyond::Bytes) => self.limited("recovery_bytes_max"),
            None => {}
        }
    }

    pub(super) fn measured(&self, revocations: usize, presence: usize) {
        let gauge = |count| i64::try_from(count).unwrap_or(i64::MAX);
        self.revocations.set(gauge(revocations));
        self.presence.set(gauge(presence));
    }

    pub(super) fn refused(&self, reason: &'static str) {
        self.refusals.get_or_create(&Reason { reason }).inc();
    }
}
