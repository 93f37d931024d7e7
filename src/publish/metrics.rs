//! What the publish API counts.

use std::{sync::OnceLock, time::Duration};

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};

use super::method::Method;

/// What the publish API counts.
#[derive(Clone, Debug)]
pub struct Metrics {
    requests: Family<MethodLabel, Counter>,
    /// The same, by the number of the method: to find one by its label takes a lock and a hash.
    by_method: [OnceLock<Counter>; Method::ALL.len()],
    pub(super) repeats: Counter,
    refusals: Family<Reason, Counter>,
    seconds: Histogram,
}

/// Upper ends of the classes of times, in seconds: one publication takes less than the first, a
/// batch of a thousand some milliseconds.
const SECONDS: [f64; 12] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 2.5,
];

impl Default for Metrics {
    fn default() -> Self {
        Self {
            requests: Family::default(),
            by_method: [const { OnceLock::new() }; Method::ALL.len()],
            repeats: Counter::default(),
            refusals: Family::default(),
            seconds: Histogram::new(SECONDS),
        }
    }
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct MethodLabel {
    method: &'static str,
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
            "publish_requests",
            "Requests whose signature held, by method",
            metrics.requests.clone(),
        );
        registry.register(
            "publish_repeats",
            "Requests that were answered with the reply of the first one of their id",
            metrics.repeats.clone(),
        );
        registry.register(
            "publish_refusals",
            "Requests that were refused, by reason",
            metrics.refusals.clone(),
        );
        registry.register(
            "publish_seconds",
            "From a whole request to its reply, where it was carried out",
            metrics.seconds.clone(),
        );
        metrics
    }
    /// A request to `method`, whose signature held.
    pub(super) fn requested(&self, method: Method) {
        let counter = || {
            let method = method.name();
            Counter::clone(&self.requests.get_or_create(&MethodLabel { method }))
        };
        if let Some(known) = self.by_method.get(method as usize) {
            known.get_or_init(counter).inc();
        }
    }

    /// A request was refused for `reason`.
    pub(super) fn refused(&self, reason: &'static str) {
        self.refusals.get_or_create(&Reason { reason }).inc();
    }

    /// How long a request took that was carried out.
    pub(super) fn took(&self, time: Duration) {
        self.seconds.observe(time.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_method_has_a_counter_of_its_own() {
        let metrics = Metrics::default();
        for (n, method) in Method::ALL.iter().enumerate() {
            assert_eq!(*method as usize, n);
            metrics.requested(*method);
            let method = method.name();
            let counted = metrics
                .requests
                .get_or_create(&MethodLabel { method })
                .get();
            assert_eq!(counted, 1, "{method}");
        }
    }
}
