//! `/realtime`: browsers hold a stream here, and publications are fanned out to them.
//!
//! [`Realtime::admit`] decides over a request; [`Seat::open`] takes its socket over. Publishers
//! come in by [`Realtime::publish`]. HTTP, TLS handshakes and signatures are the work of others.

mod backlog;
mod channel;
mod close;
mod connection;
mod direct;
mod event_stream;
mod frame;
#[cfg(fuzzing)]
pub mod fuzzing;
mod handshake;
mod hub;
mod kind;
mod metrics;
mod protocol;
mod queued;
mod session;
mod shard;

use std::{collections::HashMap, sync::Arc};

use backlog::Limits;
use bytes::Bytes;
use channel::Rules;
use connection::{Connection, Outgoing};
use direct::Direct;
use event_stream::EventStream;
use handshake::Opening;
use http::{StatusCode, header};
use http_body_util::BodyExt;
pub use hub::Refused;
use hub::{Hub, MAILBOX, Mail, Mailbox, Subscription};
use kind::Kind;
pub use metrics::Metrics;
use queued::Queued;
use session::Session;
use shard::Shard;
use slab::Slab;
use tokio::{
    net::TcpStream,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
};
use tokio_rustls::server::TlsStream;

use crate::{
    broker::{Draft, Published, SiteId, memory::Memory},
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
    allowed_origins: Box<[Vec<String>]>,
    seats: Arc<Semaphore>,
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
    channels: Vec<String>,
    permit: OwnedSemaphorePermit,
}

impl Realtime {
    /// Starts the shards as tasks of `tasks`, which also owns every connection.
    #[must_use]
    pub fn start(
        config: &config::Realtime,
        sites: &[config::Site],
        broker: &Arc<Memory>,
        tasks: Tasks,
        metrics: Metrics,
    ) -> Self {
        let mut mailboxes = Vec::new();
        for number in 0..config.shards {
            let (mail, mail_receiver) = mpsc::channel(MAILBOX);
            let (control, control_receiver) = mpsc::unbounded_channel();
            let shard = Shard {
                number,
                mail: mail_receiver,
                control: control_receiver,
                broker: Arc::clone(broker),
                channels_per_connection_max: config.channels_per_connection_max,
                metrics: metrics.clone(),
                browsers: Slab::new(),
                channels: Slab::new(),
                names: HashMap::new(),
                backlog_bytes_max: config.backlog_bytes_max.as_usize(),
                touched: Vec::new(),
                work: 0,
                replied: 0,
                stopping: false,
            };
            tasks.spawn(shard.run(tasks.clone()));
            mailboxes.push(Mailbox { mail, control });
        }
        let rules = sites.iter().enumerate();
        let rules = rules.map(|(n, site)| Arc::new(Rules::new(SiteId(n), &site.namespaces)));
        let hub = Hub::new(mailboxes.into(), Arc::clone(broker), rules.collect());
        Self(Arc::new(Inner {
            config: Arc::new(config.clone()),
            hub: Arc::new(hub),
            allowed_origins: sites
                .iter()
                .map(|site| site.allowed_origins.clone())
                .collect(),
            seats: Arc::new(Semaphore::new(config.connections_max)),
            tasks,
            metrics,
        }))
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
        let origins = self.0.allowed_origins.get(site.0);
        let opening = handshake::judge(request, origins.map_or(&[], Vec::as_slice))?;
        self.check_channels(site, &opening)?;
        let permit = Arc::clone(&self.0.seats).try_acquire_owned();
        let permit = permit.map_err(|_| {
            let status = StatusCode::SERVICE_UNAVAILABLE;
            Failure::client(
                status,
                "connections_max",
                "realtime.connections_max is reached",
            )
        })?;
        if opening.kind == Kind::EventStream {
            return self
                .event_stream(site, &opening, permit)
                .map(Admission::Answer);
        }
        let mut response = Response::new(exchange::empty());
        *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        *response.headers_mut() = opening.headers;
        let seat = Seat {
            realtime: self.clone(),
            site,
            kind: opening.kind,
            channels: opening.channels,
            permit,
        };
        Ok(Admission::Upgrade { response, seat })
    }

    /// A plain stream learns before it opens that a channel is not for it.
    fn check_channels(&self, site: SiteId, opening: &Opening) -> Result<(), Failure> {
        let most = self.0.config.channels_per_connection_max;
        if opening.channels.len() > most {
            let detail = "more channels than realtime.channels_per_connection_max";
            return Err(Failure::client(
                StatusCode::BAD_REQUEST,
                "channels_max",
                detail,
            ));
        }
        let rules = self.0.hub.rules(site);
        for channel in &opening.channels {
            let public = rules.map(|rules| rules.public(channel).is_ok());
            if public != Some(true) {
                return Err(Failure::client(StatusCode::FORBIDDEN, "channel", channel));
            }
        }
        Ok(())
    }

    fn event_stream(
        &self,
        site: SiteId,
        opening: &Opening,
        permit: OwnedSemaphorePermit,
    ) -> Result<Response, Failure> {
        let inner = &self.0;
        let outgoing = Outgoing::Queued(Queued::new(self.limits()));
        let connection = self.connection(Kind::EventStream, outgoing, permit);
        let leave = inner.hub.leave(&connection);
        let mut mails = vec![Mail::Join(Arc::clone(&connection))];
        let wishes = self.subscriptions(site, &connection, &opening.channels);
        mails.extend(wishes.into_iter().map(Mail::Subscribe));
        for mail in mails {
            if !inner.hub.try_mail(connection.shard, mail) {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                return Err(Failure::client(
                    status,
                    "busy",
                    "the shard's mailbox is full",
                ));
            }
        }
        let body = EventStream::new(connection, inner.config.ping_interval, leave);
        let response = http::Response::builder()
            .header(header::CONTENT_TYPE, "text/event-stream")
            .header(header::CACHE_CONTROL, "no-store")
            .body(body.boxed_unsync());
        response.map_err(|error| Failure::ours("event_stream", error))
    }

    fn limits(&self) -> Limits {
        Limits {
            bytes: self.0.config.backlog_bytes_max.as_usize(),
            messages: self.0.config.backlog_messages_max,
        }
    }

    fn connection(
        &self,
        kind: Kind,
        outgoing: Outgoing,
        permit: OwnedSemaphorePermit,
    ) -> Arc<Connection> {
        let shard = self.0.hub.next_shard();
        let metrics = self.0.metrics.clone();
        Arc::new(Connection::new(kind, shard, outgoing, metrics, permit))
    }

    fn subscriptions(
        &self,
        site: SiteId,
        connection: &Arc<Connection>,
        channels: &[String],
    ) -> Vec<Subscription> {
        let Some(rules) = self.0.hub.rules(site) else {
            return Vec::new();
        };
        channels
            .iter()
            .filter_map(|channel| {
                let known = rules.public(channel).ok()?;
                Some(Subscription {
                    connection: Arc::clone(connection),
                    id: 0,
                    history: known.history(),
                    channel: known.name,
                    since: None,
                    strict: false,
                })
            })
            .collect()
    }

    /// Orders a publication and hands it to whoever follows the channel. Waits for no browser.
    ///
    /// `draft.data` must be one JSON value without raw newlines or carriage returns.
    ///
    /// # Errors
    ///
    /// Nothing was published then.
    pub async fn publish(
        &self,
        site: SiteId,
        channel: &str,
        draft: Draft,
    ) -> Result<Published, Refused> {
        self.0.hub.publish(site, channel, draft).await
    }

    /// Tells every connection that the process stops, each in its own words.
    pub fn close_all(&self) {
        self.0.hub.stop();
    }
}

impl Seat {
    /// Serves the WebSocket on `socket` in a task of its own. `read_ahead` is what was read past
    /// the handshake.
    pub fn open(self, socket: Socket, read_ahead: Bytes) {
        let Self {
            realtime,
            site,
            kind,
            channels,
            permit,
        } = self;
        let inner = &realtime.0;
        let Some(rules) = inner.hub.rules(site) else {
            return;
        };
        let (tcp, tls) = match socket {
            Socket::Plain(tcp) => (tcp, None),
            Socket::Tls(stream) => {
                let (tcp, session) = stream.into_inner();
                (tcp, Some(Box::new(session)))
            }
        };
        // What the kernel buffers is out of the backlog's reach; keep it small.
        let _ = socket2::SockRef::from(&tcp).set_tcp_notsent_lowat(16 << 10);
        let direct = Direct::new(tcp, tls, realtime.limits());
        let connection = realtime.connection(kind, Outgoing::Direct(direct), permit);
        let wishes = realtime.subscriptions(site, &connection, &channels);
        let (hub, config) = (Arc::clone(&inner.hub), Arc::clone(&inner.config));
        let session = Session::new(connection, hub, Arc::clone(rules), config);
        inner.tasks.spawn(session.run(wishes, read_ahead));
    }
}
