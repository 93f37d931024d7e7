//! The Unix socket that PHP publishes on: a verified request → the hub.
//!
//! `POST /api/METHOD` over HTTP/1.1. Every request is signed; its id makes it safe to repeat. What
//! a channel is and who follows it is the work of `realtime` and `broker`.

mod batch;
mod bodies;
mod channel_replies;
mod channel_requests;
mod client_requests;
mod error;
#[cfg(fuzzing)]
pub mod fuzzing;
mod headers;
mod http;
mod message;
mod method;
mod metrics;
mod replies;
mod request;
mod scope;

use std::{
    future::{Future, poll_fn},
    os::unix::net::UnixStream,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::pin,
    sync::Arc,
    task::Poll,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use ::http::StatusCode;
use bodies::Bodies;
pub use error::Error;
pub use headers::Headers;
use http::Request;
pub use method::API_LEVEL;
use method::{Commands, Limits, Method};
pub use metrics::Metrics;
use replies::{Replies, Reply, Room, Turn};
pub use request::{SitesChanged, Verified, Verifier};
use rustix::net::sockopt::socket_peercred;
use serde_json::value::RawValue;
use tokio::sync::watch;

use crate::{config, realtime::Realtime, shutdown::Tasks};

/// The publish API of every site. Clones share it.
#[derive(Clone, Debug)]
pub struct Publisher(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: config::Publish,
    verifier: Verifier,
    replies: Arc<Replies>,
    bodies: Bodies,
    realtime: Realtime,
    tasks: Tasks,
    metrics: Metrics,
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
            bodies: Bodies::new(config),
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
        let stranger = self.stranger(&stream);
        http::serve(&self, stream, stranger).await;
    }

    /// The user at the other end, if it is none of those who are answered. A user that the kernel
    /// does not name is nobody.
    fn stranger(&self, stream: &UnixStream) -> Option<u32> {
        let known = &self.0.config.peer_uids;
        if known.is_empty() {
            return None;
        }
        let uid = socket_peercred(stream).map_or(u32::MAX, |peer| peer.uid.as_raw());
        (!known.contains(&uid)).then_some(uid)
    }

    async fn answer(&self, request: &Request<'_>) -> Reply {
        match self.handle(request).await {
            Ok(reply) => reply,
            Err(error) => self.refuse(&error),
        }
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

    async fn handle(&self, request: &Request<'_>) -> Result<Reply, Error> {
        let method = request.head.call()?;
        let began = Instant::now();
        let reply = self.call(method, request).await?;
        self.0.metrics.took(began.elapsed());
        Ok(reply)
    }

    async fn call(&self, method: Method, request: &Request<'_>) -> Result<Reply, Error> {
        let inner = &self.0;
        let (headers, body) = (&request.signature, request.body);
        let now = unix_now();
        let verified = inner.verifier.verify(method.name(), headers, body, now)?;
        inner.metrics.requested(method);
        verified.scope.allows(method)?;
        let turn = match method.only_reads() {
            true => None,
            false => match inner.replies.enter(&verified, body, now) {
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
        let commands = self.commands(verified);
        let reply = match unless_it_panics(commands.call(method, body)).await {
            Some(json) => reply(json?),
            // A part of it may be done: the same id must not do it again.
            None => self.refuse(&Error::Internal),
        };
        if let Some(pending) = pending {
            pending.done(reply.clone());
        }
        Ok(reply)
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

    fn commands(&self, verified: Verified) -> Commands {
        Commands {
            realtime: self.0.realtime.clone(),
            site: verified.site,
            scope: verified.scope,
            limits: Limits {
                data: self.0.config.data_max.0,
                batch: self.0.config.batch_max,
                reply: self.0.config.reply_max.0,
            },
            metrics: self.0.metrics.clone(),
        }
    }
}

/// What `work` comes to; `None` where it panics. Whoever has called is told then, and the
/// connection goes on.
async fn unless_it_panics<T>(work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|cx| {
        // It is not polled again, and no lock that it may have poisoned is trusted less for that.
        let polled = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx)));
        polled.map_or(Poll::Ready(None), |polled| polled.map(Some))
    })
    .await
}

fn reply(json: Box<RawValue>) -> Reply {
    Reply {
        status: StatusCode::OK,
        body: String::from(Box::<str>::from(json)).into(),
    }
}

/// Seconds since 1970; 0 on a machine whose clock stands before that.
fn unix_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_that_panics_is_told_apart_from_work_that_ends() {
        assert_eq!(unless_it_panics(async { 1 }).await, Some(1));
        let halfway = async {
            tokio::task::yield_now().await;
            panic!("as wanted")
        };
        assert_eq!(unless_it_panics::<()>(halfway).await, None);
    }
}
