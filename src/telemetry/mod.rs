//! Where logs and counters go.
//!
//! It knows no counter itself: each module owns its own and registers them in the [`Registry`]
//! that `server` hands in.

use std::{
    io::IsTerminal,
    sync::{Arc, Mutex, PoisonError},
};

use prometheus_client::{encoding::text, registry};
use tracing_subscriber::{EnvFilter, fmt};

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

/// Starts logging to standard error, once a process.
///
/// # Errors
///
/// The filter's own words where `log.filter` cannot be read; nothing is logged then.
pub fn start(log: &Log) -> Result<(), String> {
    let filter = EnvFilter::try_new(&log.filter).map_err(|error| error.to_string())?;
    let builder = fmt()
        .with_env_filter(filter)
        // It would report a log that can't be written by a write that panics.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let started = if log.json {
        builder.json().try_init()
    } else {
        builder.try_init()
    };
    started.map_err(|error| error.to_string())
}
