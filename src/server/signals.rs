//! The signals that the process heeds.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The signals that the process heeds; created before anything is bound, so that none is lost.
#[derive(Debug)]
pub struct Signals {
    pub(super) terminate: Signal,
    pub(super) interrupt: Signal,
    pub(super) hang_up: Signal,
}

impl Signals {
    /// Starts to listen for SIGTERM, SIGINT and SIGHUP.
    ///
    /// # Errors
    ///
    /// The operating system's; the process can't be stopped cleanly then, so it must not start.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }
}
