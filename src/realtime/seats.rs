//! Who may open a stream: so many in all, so many of one client address, so many a second.
//!
//! Asked before the upgrade, so that whoever is refused is answered 503 and comes again; a close
//! code would end clients of the protocol for good. What a stream carries is not looked at.

use std::{
    collections::{BTreeMap, HashMap},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::StatusCode;
use tokio::time::Instant;

use super::notice::Notice;
use crate::{
    config,
    exchange::{Failure, Origin},
};

/// What may open at once is what may open in this time.
const BURST: Duration = Duration::from_secs(1);

/// All the seats there are. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Seats(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    connections_max: usize,
    per_address_max: usize,
    /// Between two streams that open, on average.
    interval: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    taken: usize,
    /// Addresses with a seat at least, so never more than there are seats.
    addresses: HashMap<Address, usize>,
    /// When the next stream would open if they came evenly; it may be ahead by [`BURST`].
    next: Instant,
    stopping: bool,
    notices: BTreeMap<Full, Notice>,
}

/// What counts as one client address. An IPv6 client has a /64 to itself and changes inside it as
/// it likes.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Address {
    V4(Ipv4Addr),
    V6([u8; 8]),
}

/// One seat; dropping it gives it back everywhere it counts.
#[derive(Debug)]
pub(super) struct Permit {
    seats: Arc<Inner>,
    address: Option<Address>,
}

/// Why there is no seat.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Full {
    /// The process stops.
    Stopping,
    /// One address has as many as it may.
    Address,
    /// There are as many as may be.
    Connections,
    /// Too many opened just now.
    Rate,
}

impl Address {
    /// The address that the client of `origin` is counted by; none for those that are not: a
    /// server on this machine that passes on what others ask has one address for all of them.
    pub(super) fn of(origin: &Origin) -> Option<Self> {
        let client = origin.client.ip().to_canonical();
        let local = origin.local.ip().to_canonical();
        // The machine's own connections come from the address that they go to, but for those to
        // an unusual loopback address such as 127.0.1.1: these come from 127.0.0.1.
        let own = client == local || (client == Ipv4Addr::LOCALHOST && local.is_loopback());
        (!own).then(|| Self::from(client))
    }
}

impl From<IpAddr> for Address {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(address) => Self::V4(address),
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, g, h, ..] = address.octets();
                Self::V6([a, b, c, d, e, f, g, h])
            }
        }
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::V4(address) => address.fmt(f),
            Self::V6(prefix) => {
                let bits = u128::from(u64::from_be_bytes(*prefix)) << 64;
                write!(f, "{}/64", Ipv6Addr::from_bits(bits))
            }
        }
    }
}

impl Seats {
    pub(super) fn new(config: &config::Realtime, now: Instant) -> Self {
        Self(Arc::new(Inner {
            connections_max: config.connections_max,
            per_address_max: config.connections_per_address_max,
            interval: BURST / config.upgrades_per_second_max.max(1),
            state: Mutex::new(State {
                taken: 0,
                addresses: HashMap::new(),
                next: now,
                stopping: false,
                notices: BTreeMap::new(),
            }),
        }))
    }

    /// A seat for a client, counted by `address` where there is one.
    pub(super) fn take(&self, address: Option<Address>, now: Instant) -> Result<Permit, Full> {
        let inner = &self.0;
        let mut state = inner.lock();
        let full = match inner.check(&mut state, address, now) {
            Ok(()) => {
                state.taken += 1;
                if let Some(address) = address {
                    *state.addresses.entry(address).or_default() += 1;
                }
                return Ok(Permit {
                    seats: Arc::clone(inner),
                    address,
                });
            }
            Err(full) => full,
        };
        let notice = state.notices.entry(full).or_insert_with(Notice::new);
        let due = notice.note(now);
        // Standard error may be slow; nobody else waits for it.
        drop(state);
        if let Some(refused) = due {
            full.warn(refused, address);
        }
        Err(full)
    }

    /// How many are taken.
    pub(super) fn taken(&self) -> usize {
        self.0.lock().taken
    }

    /// Refuses everybody from now on.
    pub(super) fn stop(&self) {
        self.0.lock().stopping = true;
    }
}

impl Inner {
    /// Whoever is refused for themselves uses up nothing of what others may.
    fn check(&self, state: &mut State, address: Option<Address>, now: Instant) -> Result<(), Full> {
        if state.stopping {
            return Err(Full::Stopping);
        }
        let held = address.and_then(|address| state.addresses.get(&address));
        if held.is_some_and(|held| *held >= self.per_address_max) {
            return Err(Full::Address);
        }
        if state.taken >= self.connections_max {
            return Err(Full::Connections);
        }
        let next = state.next.max(now);
        if next > now + BURST.saturating_sub(self.interval) {
            return Err(Full::Rate);
        }
        state.next = next + self.interval;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.seats.lock();
        state.taken -= 1;
        let Some(address) = self.address else {
            return;
        };
        if let Some(held) = state.addresses.get_mut(&address) {
            *held -= 1;
            if *held == 0 {
                state.addresses.remove(&address);
            }
        }
        // After a crowd the room goes as well.
        let room = state.addresses.capacity();
        if room > 1_024 && state.addresses.len() < room / 8 {
            state.addresses.shrink_to(room / 4);
        }
    }
}

impl Full {
    const fn reason(self) -> &'static str {
        match self {
            Self::Stopping => "stopping",
            Self::Address => "connections_per_address_max",
            Self::Connections => "connections_max",
            Self::Rate => "upgrades_per_second_max",
        }
    }

    fn warn(self, refused: u64, address: Option<Address>) {
        match self {
            Self::Stopping => {}
            Self::Address => {
                let address = address.map(|address| address.to_string());
                tracing::warn!(
                    refused,
                    address,
                    "realtime.connections_per_address_max is reached: streams of this address are \
                     refused; raise it if many people share the address"
                );
            }
            Self::Connections => tracing::warn!(
                refused,
                "realtime.connections_max is reached: streams are refused; raise it if memory \
                 allows"
            ),
            Self::Rate => tracing::warn!(
                refused,
                "realtime.upgrades_per_second_max is reached: streams are refused and come again \
                 in some seconds; raise it if the machine is not busy meanwhile"
            ),
        }
    }
}

impl From<Full> for Failure {
    fn from(full: Full) -> Self {
        let detail = match full {
            Full::Stopping => "the process stops",
            Full::Address => "realtime.connections_per_address_max is reached",
            Full::Connections => "realtime.connections_max is reached",
            Full::Rate => "realtime.upgrades_per_second_max is reached",
        };
        Self::client(StatusCode::SERVICE_UNAVAILABLE, full.reason(), detail)
    }
}

#[cfg(test)]
#[path = "seats_tests.rs"]
mod tests;
