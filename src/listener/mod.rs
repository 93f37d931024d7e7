//! Bound TCP sockets → accepted connections, each with the permit that counts it.
//!
//! Reads and writes no byte of a connection: TLS and HTTP are for whoever is given it. The Unix
//! twin is [`unix`].

mod accept;
mod metrics;
mod permits;
#[cfg(test)]
mod tests;
pub mod unix;

use std::{
    future::Future,
    io,
    net::{IpAddr, SocketAddr},
};

pub use metrics::Metrics;
pub use permits::{Permit, Permits};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

use crate::config;
use crate::shutdown::Tasks;

/// Connections that the kernel holds for us; the kernel's own `somaxconn` may lower it.
const BACKLOG: i32 = 4_096;

/// One connection of a browser.
#[derive(Debug)]
pub struct Accepted {
    /// Ready to read, with `TCP_NODELAY` set.
    pub stream: TcpStream,
    /// Who connected; an IPv4 client of an IPv6 socket shows its IPv4 address.
    pub peer: SocketAddr,
    /// The address that it connected to.
    pub local: SocketAddr,
    /// Counts the connection while it is held.
    pub permit: Permit,
}

/// A bound TCP socket that accepts nothing yet.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    permits: Permits,
}

/// Why an address could not be bound.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody listens there.
    #[error(
        "address {address} is in use by another process; stop that one \
         (`ss -ltnp 'sport = :{port}'` names it) or choose another address",
        port = address.port()
    )]
    InUse {
        /// As configured.
        address: SocketAddr,
        /// The kernel's word.
        source: io::Error,
    },
    /// A port that needs a privilege.
    #[error(
        "no right to bind {address}: ports below 1024 need \
         AmbientCapabilities=CAP_NET_BIND_SERVICE in the systemd unit, or root"
    )]
    Privileged {
        /// As configured.
        address: SocketAddr,
        /// The kernel's word.
        source: io::Error,
    },
    /// No interface has the address.
    #[error(
        "this machine has no address {ip}; \"[::]:{port}\" binds all that it has",
        ip = address.ip(), port = address.port()
    )]
    NoSuchAddress {
        /// As configured.
        address: SocketAddr,
        /// The kernel's word.
        source: io::Error,
    },
    /// Anything else that the kernel refused.
    #[error("cannot bind {address}")]
    Bind {
        /// As configured.
        address: SocketAddr,
        /// The kernel's word.
        source: io::Error,
    },
}

impl Listener {
    /// Binds the address of `config`. Must be called inside the runtime.
    ///
    /// # Errors
    ///
    /// The process cannot serve this address; each message names it and the remedy.
    pub fn bind(config: &config::Listener, metrics: &Metrics) -> Result<Self, Error> {
        let bound = bind(config.address).and_then(|socket| {
            let address = socket.local_addr()?;
            Ok((socket, address))
        });
        let (socket, address) = bound.map_err(|source| Error::new(config.address, source))?;
        Ok(Self {
            socket,
            address,
            permits: metrics.permits(&address, config.connections_max),
        })
    }

    /// The bound address, with the port that the kernel chose where the configuration said 0.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Hands every accepted connection to `serve`, as a task of `tasks`, until the stage is told
    /// to stop; the socket is closed then.
    ///
    /// Connections beyond the configured number wait in the kernel's backlog.
    pub async fn run<F, Fut>(self, tasks: Tasks, serve: F)
    where
        F: Fn(Accepted) -> Fut,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let serve = |(stream, peer): (TcpStream, SocketAddr), permit| {
            // Only a wildcard leaves open which address it was.
            let local = match self.address.ip().is_unspecified() {
                true => stream.local_addr().unwrap_or(self.address),
                false => self.address,
            };
            serve(Accepted {
                stream,
                peer: canonical(peer),
                local: canonical(local),
                permit,
            })
        };
        accept::run(&self.socket, self.permits, &tasks, serve).await;
    }
}

impl accept::Source for TcpListener {
    type Connection = (TcpStream, SocketAddr);

    async fn next(&self) -> io::Result<Self::Connection> {
        self.accept().await
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking(),
        Some(Protocol::TCP),
    )?;
    // A restart must not wait for the connections of the process before to leave TIME_WAIT.
    socket.set_reuse_address(true)?;
    if matches!(address.ip(), IpAddr::V6(ip) if ip.is_unspecified()) {
        socket.set_only_v6(false)?;
    }
    // What is accepted inherits it.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// The IPv4 address inside an IPv4-mapped IPv6 one, so that one client has one address
/// everywhere.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

impl Error {
    fn new(address: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::InUse { address, source },
            io::ErrorKind::PermissionDenied if (1..1024).contains(&address.port()) => {
                Self::Privileged { address, source }
            }
            io::ErrorKind::AddrNotAvailable => Self::NoSuchAddress { address, source },
            _ => Self::Bind { address, source },
        }
    }
}
