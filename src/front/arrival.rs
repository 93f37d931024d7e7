//! What is known of a request before its first byte is read.

use std::{net::SocketAddr, sync::Arc};

use crate::{config::Mode, exchange::Scheme};

/// How a connection came in.
#[derive(Clone, Debug)]
pub(super) struct Arrival {
    pub(super) client: SocketAddr,
    pub(super) local: SocketAddr,
    pub(super) scheme: Scheme,
    pub(super) mode: Mode,
    /// The name that the client asked for in its handshake.
    pub(super) server_name: Option<Arc<str>>,
}
