//! `/realtime`: browsers hold a stream here, and publications are fanned out to them.
//!
//! [`Realtime::admit`] decides over a request; [`Seat::open`] takes its socket over. Publishers
//! come in by [`Realtime::publish`]. HTTP, TLS handshakes and signatures are the work of others.

mod age;
mod allowance;
mod api;
mod backlog;
mod broadcast;
mod channel;
mod client;
mod clock;
mod close;
mod closing;
mod connection;
mod credentials;
mod direct;
mod event_stream;
mod fan_out;
mod frame;
#[cfg(fuzzing)]
pub mod fuzzing;
mod handshake;
mod hub;
mod inquiries;
mod item;
mod kind;
mod metrics;
mod notice;
mod plain;
mod positions;
mod presence;
mod protocol;
mod queued;
mod quota;
#[cfg(test)]
mod revocation_tests;
mod sealer;
mod seats;
mod session;
mod shard;
#[cfg(test)]
mod simulation;
mod streams;
mod subscriptions;
mod tally;
#[cfg(test)]
mod test_hub;
mod users;

use std::{sync::Arc, time::Duration};

pub use api::{Disconnect, Expiry, Presence, Status};
use backlog::Limits;
use bytes::Bytes;
use channel::Rules;
use client::Client;
use clock::Clock;
use closing::Pace;
use connection::{Connection, Outgoing};
use direct::Direct;
use http::{HeaderValue, StatusCode, header};
pub use hub::Refused;
use hub::{Hub, MAILBOX, Mailbox};
use kind::Kind;
pub use metrics::Metrics;
use plain::Stream;
use seats::{Address, Permit, Seats};
use session::Session;
use shard::Shard;
use tokio::{
    net::TcpStream,
    runtime::Handle,
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tokio_rustls::server::TlsStream;
pub use users::Target;

use crate::{
    auth::token::Keys,
    broker::{SiteId, memory::Memory},
    config,
    exchange::{self, Failure, Request, Response},
    shutdown::Tasks,
};

/// The realtime side of every site. Clones share it.
#[derive(Clone, Debug)]
pub struct Realtime(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: Arc<config::Realtime>,
    hub: Arc<Hub>,
    seats: Seats,
    tasks: Tasks,
    metrics: Metrics,
}

/// What becomes of a request to the realtime path.
#[derive(Debug)]
pub enum Admission {
    /// Answer with `response`, a 101, and give the socket to the `seat`.
    Upgrade {
        /// The complete response.
        response: Response,
        /// Where the socket goes.
        seat: Seat,
    },
    /// Answer with this; its body lives as long as the stream.
    Answer(Response),
}

/// The socket that a handshake leaves behind.
#[derive(Debug)]
pub enum Socket {
    /// Without TLS.
    Plain(TcpStream),
    /// With TLS.
    Tls(Box<TlsStream<TcpStream>>),
}

/// A place for one WebSocket, counted against the limits until it is dropped.
#[derive(Debug)]
pub struct Seat {
    realtime: Realtime,
    site: SiteId,
    kind: Kind,
    stream: Box<Stream>,
    permit: Permit,
}

impl Realtime {
    /// Starts the shards as tasks of `tasks`, which also owns every connection: one on each of
    /// `runtimes`. Each site comes with the keys of its tokens.
    #[must_use]
    pub fn start(
        config: &config::Realtime,
        sites: Vec<(&config::Site, Keys)>,
        broker: &Arc<Memory>,
        (tasks, runtimes): (Tasks, &[Handle]),
        metrics: Metrics,
    ) -> Self {
        let config = Arc::new(config.clone());
        let mut mailboxes = Vec::new();
        let mut receivers = Vec::new();
        for _ in runtimes {
            let (mail, mail_receiver) = mpsc::channel(MAILBOX);
            let (control, control_receiver) = mpsc::unbounded_channel();
            mailboxes.push(Mailbox { mail, control });
            receivers.push((mail_receiver, control_receiver));
        }
        let hub = Hub::new(
            Arc::clone(&config),
            mailboxes.into(),
            Arc::clone(broker),
            rules(sites),
            Clock::System,
        );
        let hub = Arc::new(hub);
        for (number, (mailbox, runtime)) in receivers.into_iter().zip(runtimes).enumerate() {
            let shard = Shard::new(number, Arc::clone(&hub), mailbox, metrics.clone());
            tasks.spawn_on(runtime, shard.run(tasks.clone()));
        }
        let (leaves, stopping) = (Arc::clone(&hub), tasks.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = leaves.announce_leaves() => {}
                () = stopping.stopping() => {}
            }
        });
        Self(Arc::new(Inner {
            seats: Seats::new(&config, Instant::now()),
            config,
            hub,
            tasks,
            metrics,
        }))
    }

    /// Has the rules of `sites` hold from now on: their namespaces, token keys and origins. The
    /// same sites in the same order; no connection is closed.
    pub fn reload(&self, sites: Vec<(&config::Site, Keys)>) {
        self.0.hub.set_rules(rules(sites));
    }

    /// Decides over a request to the realtime path of the site numbered `site`.
    ///
    /// # Errors
    ///
    /// What the client is answered in place of the stream; each refusal is counted.
    pub fn admit(&self, site: usize, request: &Request) -> Result<Admission, Failure> {
        let admission = self.decide(SiteId(site), request);
        if let Err(failure) = &admission {
            self.0.metrics.refused(failure.reason);
        }
        admission
    }

    fn decide(&self, site: SiteId, request: &Request) -> Result<Admission, Failure> {
        let rules = self.0.hub.rules(site);
        let origins = rules.as_ref().map(|rules| rules.allowed_origins.as_slice());
        let mut opening = handshake::judge(request, origins.unwrap_or_default())?;
        let headers = std::mem::take(&mut opening.headers);
        let kind = opening.kind;
        let stream = self.stream(site, opening)?;
        let address = Address::of(&request.origin);
        let permit = self.0.seats.take(address, Instant::now())?;
        if kind == Kind::EventStream {
            let mut response = self.event_stream(site, stream, permit)?;
            if let Some(origin) = request.head.headers.get(header::ORIGIN) {
                // It was let in: a page of another origin may read the answer.
                let headers = response.headers_mut();
                headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
                headers.insert(header::VARY, HeaderValue::from_static("Origin"));
            }
            return Ok(Admission::Answer(response));
        }
        let mut response = Response::new(exchange::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        *response.headers_mut() = headers;
        let seat = Seat {
            realtime: self.clone(),
            site,
            kind,
            stream: Box::new(stream),
            permit,
        };
        Ok(Admission::Upgrade { response, seat })
    }

    fn limits(&self) -> Limits {
        Limits {
            bytes: self.0.config.backlog_bytes_max.as_usize(),
            messages: self.0.config.backlog_messages_max,
        }
    }

    fn connection(
        &self,
        (kind, positions): (Kind, bool),
        site: SiteId,
        outgoing: Outgoing,
        permit: Permit,
    ) -> Arc<Connection> {
        let shard = self.0.hub.next_shard();
        let metrics = self.0.metrics.clone();
        let (kind, place) = ((kind, positions), (site, shard));
        Arc::new(Connection::new(
            kind,
            place,
            outgoing,
            metrics,
            Some(permit),
        ))
    }

    /// Tells every connection that the process stops, each in its own words, evenly over
    /// `spread`; nobody new is let in meanwhile. Returns once the last one was told.
    pub async fn close_all(&self, spread: Duration) {
        let Inner { seats, hub, .. } = &*self.0;
        seats.stop();
        let pace = Pace::new(seats.taken(), spread);
        for (due, left) in pace.batches(Instant::now()) {
            sleep_until(due).await;
            hub.stop(left);
            if seats.taken() == 0 {
                return;
            }
        }
    }
}

fn rules(sites: Vec<(&config::Site, Keys)>) -> Box<[Arc<Rules>]> {
    let each = sites.into_iter().enumerate();
    let each = each.map(|(n, (site, keys))| Arc::new(Rules::new(SiteId(n), site, keys)));
    each.collect()
}

impl Seat {
    /// Serves the WebSocket on `socket` in a task of its own. `read_ahead` is what was read past
    /// the handshake.
    pub fn open(self, socket: Socket, read_ahead: Bytes) {
        let Self {
            realtime,
            site,
            kind,
            stream,
            permit,
        } = self;
        let inner = &realtime.0;
        let (tcp, tls) = match socket {
            Socket::Plain(tcp) => (tcp, None),
            Socket::Tls(stream) => {
                let (tcp, session) = stream.into_inner();
                (tcp, Some(Box::new(session)))
            }
        };
        // What the kernel buffers is out of the backlog's reach; keep it small.
        let _ = socket2::SockRef::from(&tcp).set_tcp_notsent_lowat(16 << 10);
        let direct = Direct::new(tcp, tls, kind, realtime.limits());
        let kind = (kind, stream.positions);
        let connection = realtime.connection(kind, site, Outgoing::Direct(direct), permit);
        let mut client = Client::new(Arc::clone(&connection), Arc::clone(&inner.hub));
        let wishes = stream.begin(&mut client);
        let session = Session::new(client, Arc::clone(&inner.hub));
        inner.tasks.spawn(session.run(wishes, read_ahead));
    }
}
