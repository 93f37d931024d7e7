//! The Unix socket that PHP publishes on: a verified request → the hub.
//!
//! `POST /api/METHOD` over HTTP/1.1. Every request is signed; its id makes it safe to repeat. What
//! a channel is and who follows it is the work of `realtime` and `broker`.

mod batch;
mod channel_replies;
mod channel_requests;
mod client_requests;
mod error;
mod message;
mod method;
mod replies;
mod request;
mod scope;

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
pub use error::Error;
use http::{HeaderMap, Request, Response, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
pub use method::API_LEVEL;
use method::{Commands, Limits, Method};
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, histogram::Histogram},
    registry::Registry,
};
use replies::{Replies, Reply, Room, Turn};
pub use request::{SitesChanged, Verified, Verifier};
use serde_json::value::RawValue;
use tokio::{net::UnixStream, sync::watch, time::timeout};

use crate::{config, realtime::Realtime, shutdown::Tasks};

/// The publish API of every site. Clones share it.
#[derive(Clone, Debug)]
pub struct Publisher(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: config::Publish,
    verifier: Verifier,
    replies: Arc<Replies>,
    realtime: Realtime,
    tasks: Tasks,
    metrics: Metrics,
}

/// What the publish API counts.
#[derive(Clone, Debug)]
pub struct Metrics {
    requests: Family<MethodLabel, Counter>,
    repeats: Counter,
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
}

impl Metrics {
    /// A request, or a command of one, was refused for `reason`.
    fn refused(&self, reason: &'static str) {
        self.refusals.get_or_create(&Reason { reason }).inc();
    }
}

impl Publisher {
    /// The API for the keys of `sites`. `tasks` owns the requests under way.
    #[must_use]
    pub fn new(
        config: &config::Publish,
        sites: &[config::Site],
        realtime: Realtime,
        tasks: Tasks,
        metrics: Metrics,
    ) -> Self {
        // What was signed in the second of our start may have been handled by the process before.
        let started = unix_now() + 1;
        let verifier = Verifier::new(sites, config.timestamp_window, started);
        let room = Room {
            sites: sites.len(),
            ids: config.ids_max,
            bytes: config.replies_max.as_usize(),
        };
        let replies = Replies::new(room, verifier.window());
        Self(Arc::new(Inner {
            config: config.clone(),
            replies: Arc::new(replies),
            verifier,
            realtime,
            tasks,
            metrics,
        }))
    }

    /// Whether requests that are signed now are accepted.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        unix_now() >= self.0.verifier.started()
    }

    /// Takes the publish keys of `sites` in place of those known. Requests under way go on, and
    /// what is remembered of ids stays.
    ///
    /// # Errors
    ///
    /// The sites are not the ones of the start, in their order; the keys stay as they were.
    pub fn reload(&self, sites: &[config::Site]) -> Result<(), SitesChanged> {
        self.0.verifier.replace(sites)
    }

    /// Serves one connection until the publisher closes it, a deadline passes, or the stage stops.
    pub async fn serve(self, stream: UnixStream) {
        let tasks = self.0.tasks.clone();
        let read_timeout = self.0.config.read_timeout;
        let stranger = self.stranger(&stream);
        let service = service_fn(move |request| {
            let publisher = self.clone();
            async move {
                Ok::<_, Infallible>(match stranger {
                    Some(uid) => publisher.turn_away(uid),
                    None => publisher.answer(request).await,
                })
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .half_close(true)
            .header_read_timeout(read_timeout)
            .max_buf_size(64 << 10)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            ended = &mut connection => ended,
            () = tasks.stopping() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a publisher's connection broke");
        }
    }

    /// The user at the other end, if it is none of those who are answered. A user that the kernel
    /// does not name is nobody.
    fn stranger(&self, stream: &UnixStream) -> Option<u32> {
        let known = &self.0.config.peer_uids;
        if known.is_empty() {
            return None;
        }
        let uid = stream.peer_cred().map_or(u32::MAX, |peer| peer.uid());
        (!known.contains(&uid)).then_some(uid)
    }

    /// Answers a stranger, unread, and lets go of the connection.
    fn turn_away(&self, uid: u32) -> Response<Full<Bytes>> {
        let mut response = respond(self.refuse(&Error::Peer(uid)));
        let close = header::HeaderValue::from_static("close");
        response.headers_mut().insert(header::CONNECTION, close);
        response
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let reply = match self.handle(request).await {
            Ok(reply) => reply,
            Err(error) => self.refuse(&error),
        };
        respond(reply)
    }

    fn refuse(&self, error: &Error) -> Reply {
        self.0.metrics.refused(error.label());
        tracing::debug!(%error, "a publish request was refused");
        Reply {
            status: error.codes().0,
            body: serde_json::json!({ "error": error.json() })
                .to_string()
                .into(),
        }
    }

    async fn handle(&self, request: Request<Incoming>) -> Result<Reply, Error> {
        let method = Method::of(request.uri().path()).ok_or(Error::UnknownMethod)?;
        if request.method() != http::Method::POST {
            return Err(Error::NotPost);
        }
        let (head, body) = request.into_parts();
        let body = self.read(body).await?;
        let began = Instant::now();
        let reply = self.call(method, &head.headers, body).await?;
        let seconds = began.elapsed().as_secs_f64();
        self.0.metrics.seconds.observe(seconds);
        Ok(reply)
    }

    async fn read(&self, body: Incoming) -> Result<Bytes, Error> {
        let config = &self.0.config;
        let limited = Limited::new(body, config.body_max.as_usize()).collect();
        match timeout(config.read_timeout, limited).await {
            Ok(Ok(collected)) => Ok(collected.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => {
                Err(Error::TooLarge(config.body_max.0))
            }
            Ok(Err(_)) | Err(_) => Err(Error::Incomplete),
        }
    }

    async fn call(&self, method: Method, headers: &HeaderMap, body: Bytes) -> Result<Reply, Error> {
        let inner = &self.0;
        let now = unix_now();
        let verified = inner.verifier.verify(method.name(), headers, &body, now)?;
        let label = MethodLabel {
            method: method.name(),
        };
        inner.metrics.requests.get_or_create(&label).inc();
        verified.scope.allows(method)?;
        let turn = match method.only_reads() {
            true => None,
            false => match inner.replies.enter(&verified, &body, now) {
                // What takes rights away is carried out even if its reply can't be kept.
                Err(Error::IdsFull) if method.revokes() => None,
                turn => Some(turn?),
            },
        };
        let pending = match turn {
            None => None,
            Some(Turn::First(pending)) => Some(pending),
            Some(Turn::Again(reply)) => {
                inner.metrics.repeats.inc();
                return Ok(reply);
            }
            Some(Turn::Awaited(reply)) => return self.first_one(reply).await,
        };
        // A task of its own: a publisher that hangs up halfway must not leave a batch half
        // published.
        let commands = self.commands(&verified);
        let handled = inner.tasks.spawn(async move {
            let reply = reply(commands.call(method, &body).await?);
            if let Some(pending) = pending {
                pending.done(reply.clone());
            }
            Ok(reply)
        });
        handled.await.map_err(|_| Error::Stopping)?
    }

    /// The reply of the request of the same id that is being handled.
    async fn first_one(&self, mut reply: watch::Receiver<Option<Reply>>) -> Result<Reply, Error> {
        self.0.metrics.repeats.inc();
        let reply = reply.wait_for(Option::is_some).await;
        reply
            .ok()
            .and_then(|reply| reply.clone())
            .ok_or(Error::FirstFailed)
    }

    fn commands(&self, verified: &Verified) -> Commands {
        Commands {
            realtime: self.0.realtime.clone(),
            site: verified.site,
            scope: Arc::clone(&verified.scope),
            limits: Limits {
                data: self.0.config.data_max.0,
                batch: self.0.config.batch_max,
                reply: self.0.config.reply_max.0,
            },
            metrics: self.0.metrics.clone(),
        }
    }
}

fn reply(json: Box<RawValue>) -> Reply {
    Reply {
        status: http::StatusCode::OK,
        body: String::from(Box::<str>::from(json)).into(),
    }
}

fn respond(reply: Reply) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(reply.body));
    *response.status_mut() = reply.status;
    let json = header::HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

/// Seconds since 1970; 0 on a machine whose clock stands before that.
fn unix_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
