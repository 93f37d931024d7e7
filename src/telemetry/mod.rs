//! Where logs and counters go.
//!
//! It knows no counter itself: each module owns its own and registers them in the [`Registry`]
//! that `server` hands in.

use std::{
    fmt,
    io::IsTerminal,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus_client::{encoding::text, registry};
use tracing_subscriber::EnvFilter;

use crate::config::Log;

/// The registry of every metric, shared by what registers and what prints.
#[derive(Clone, Debug)]
pub struct Registry(Arc<Mutex<registry::Registry>>);

impl Default for Registry {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(registry::Registry::with_prefix(
            "sidewire",
        ))))
    }
}

impl Registry {
    /// Lets `register` add its metrics.
    pub fn add<T>(&self, register: impl FnOnce(&mut registry::Registry) -> T) -> T {
        register(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// All metrics in the OpenMetrics text format.
    #[must_use]
    pub fn text(&self) -> String {
        let mut out = String::new();
        let registry = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing to a String cannot fail.
        let _ = text::encode(&mut out, &registry);
        out
    }

    /// The sum of the metric `name`, written without `sidewire_`, over all its labels; 0 where
    /// nothing was counted yet.
    #[must_use]
    pub fn total(&self, name: &str) -> u64 {
        let text = self.text();
        let values = text.lines().filter_map(|line| {
            let rest = line.strip_prefix("sidewire_")?.strip_prefix(name)?;
            let (labels, value) = rest.rsplit_once(' ')?;
            let is_it = labels.is_empty() || labels.starts_with('{');
            value.parse::<u64>().ok().filter(|_| is_it)
        });
        values.sum()
    }
}

/// `error` and what caused it, in one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        // Some errors tell their cause themselves.
        if !line.contains(&words) {
            line.push_str(": ");
            line.push_str(&words);
        }
        cause = error.source();
    }
    line
}

/// Whether `filter` can be read.
///
/// # Errors
///
/// What is wrong with it.
pub fn check(filter: &str) -> Result<(), String> {
    EnvFilter::try_new(filter)
        .map(|_| ())
        .map_err(|error| chain(&error))
}

/// What is logged, while the process runs.
#[derive(Clone)]
pub struct Filter(Arc<dyn Fn(EnvFilter) -> Result<(), String> + Send + Sync>);

impl Filter {
    /// Logs what `filter` says from now on.
    ///
    /// # Errors
    ///
    /// What is wrong with it; the one before stays.
    pub fn set(&self, filter: &str) -> Result<(), String> {
        let filter = EnvFilter::try_new(filter).map_err(|error| chain(&error))?;
        (self.0)(filter)
    }
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Filter").finish_non_exhaustive()
    }
}

/// Starts logging to standard error, once a process.
///
/// # Errors
///
/// The filter's own words where `log.filter` cannot be read; nothing is logged then.
pub fn start(log: &Log) -> Result<Filter, String> {
    let filter = EnvFilter::try_new(&log.filter).map_err(|error| error.to_string())?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        // It would report a log that can't be written by a write that panics.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let (set, started): (Filter, _) = if log.json {
        let builder = builder.json().with_filter_reloading();
        let handle = builder.reload_handle();
        let set = move |filter| handle.reload(filter).map_err(|error| error.to_string());
        (Filter(Arc::new(set)), builder.try_init())
    } else {
        let builder = builder.with_filter_reloading();
        let handle = builder.reload_handle();
        let set = move |filter| handle.reload(filter).map_err(|error| error.to_string());
        (Filter(Arc::new(set)), builder.try_init())
    };
    started.map_err(|error| error.to_string())?;
    Ok(set)
}

#[cfg(test)]
mod tests {
    use prometheus_client::metrics::{counter::Counter, family::Family};

    use super::*;

    #[test]
    fn a_total_is_the_sum_over_the_labels_of_that_metric_alone() {
        let registry = Registry::default();
        let requests = Family::<[(&str, &str); 1], Counter>::default();
        let others = Counter::<u64>::default();
        registry.add(|registry| {
            registry.register("requests", "by method", requests.clone());
            registry.register("requests_refused", "another", others.clone());
        });
        assert_eq!(registry.total("requests_total"), 0);
        requests.get_or_create(&[("method", "a")]).inc_by(2);
        requests.get_or_create(&[("method", "b")]).inc_by(3);
        others.inc_by(7);
        assert_eq!(registry.total("requests_total"), 5);
        assert_eq!(registry.total("requests_refused_total"), 7);
    }
}
