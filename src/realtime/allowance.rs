//! How many commands a connection may send: a rate, and a burst above it.

use tokio::time::Instant;

use crate::config;

/// What is left to one connection.
#[derive(Debug)]
pub(super) struct Allowance {
    left: f32,
    refilled: Instant,
}

impl Allowance {
    pub(super) fn new(config: &config::Realtime) -> Self {
        Self {
            left: burst(config),
            refilled: Instant::now(),
        }
    }

    /// Takes one command off; `false` once too many came.
    pub(super) fn spend(&mut self, config: &config::Realtime) -> bool {
        let now = Instant::now();
        let refill = now.duration_since(self.refilled).as_secs_f32() * rate(config);
        self.left = (self.left + refill).min(burst(config)) - 1.0;
        self.refilled = now;
        self.left >= 0.0
    }
}

fn rate(config: &config::Realtime) -> f32 {
    small(config.commands_per_second_max as usize)
}

/// A page connects and subscribes to all its channels at once: that may always come in a burst,
/// and a second's commands more.
fn burst(config: &config::Realtime) -> f32 {
    small(config.channels_per_connection_max) + 1.0 + rate(config)
}

/// Exact up to 65,535, and no limit that counts is above that.
fn small(n: usize) -> f32 {
    f32::from(u16::try_from(n).unwrap_or(u16::MAX))
}
