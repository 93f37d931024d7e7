//! The counters of the front.

use std::fmt::{self, Write};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// What happened to connections and requests.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    pub(super) connections: Family<Connection, Gauge>,
    pub(super) requests: Family<Answer, Counter>,
    pub(super) failures: Family<Failed, Counter>,
    pub(super) headers_dropped: Counter,
    pub(super) detached: Gauge,
    pub(super) stalled: Counter,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct Connection {
    pub(super) protocol: Protocol,
}

#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Protocol {
    Http1,
    Http2,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct Answer {
    pub(super) status: u16,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
pub(super) struct Failed {
    pub(super) reason: &'static str,
}

/// A label's value is lower case, as everywhere; derived, it would be the variant's name.
impl EncodeLabelValue for Protocol {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        encoder.write_str(match self {
            Self::Http1 => "http1",
            Self::Http2 => "http2",
        })
    }
}

impl Metrics {
    /// Registers every counter.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "front_connections",
            "Connections that are open",
            metrics.connections.clone(),
        );
        registry.register(
            "front_requests",
            "Requests by the status of their answer",
            metrics.requests.clone(),
        );
        registry.register(
            "front_failures",
            "Requests that no back end answered, by reason",
            metrics.failures.clone(),
        );
        registry.register(
            "front_headers_dropped",
            "Header fields that were not passed on because of their name",
            metrics.headers_dropped.clone(),
        );
        registry.register(
            "front_detached",
            "Requests that would go on without their client",
            metrics.detached.clone(),
        );
        registry.register(
            "front_stalled",
            "Responses given up because their client took nothing, the connection being kept",
            metrics.stalled.clone(),
        );
        metrics
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_are_counted_by_protocol_in_lower_case() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        for protocol in [Protocol::Http1, Protocol::Http2] {
            let gauge = metrics.connections.get_or_create(&Connection { protocol });
            gauge.inc();
        }
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for protocol in ["http1", "http2"] {
            let line = format!("front_connections{{protocol=\"{protocol}\"}} 1\n");
            assert!(text.contains(&line), "{text}");
        }
    }
}
