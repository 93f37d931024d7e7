//! The Unix socket on which the machine's owner asks how the process is, and has it re-read its
//! configuration.
//!
//! Never on a public listener. What a reload does is `server`'s.

pub mod reload;
mod reply;
mod status;
#[cfg(test)]
mod tests;

use std::{
    convert::Infallible,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use reload::Reloads;
use reply::Reply;
use serde_json::json;
pub use status::Facts;
use status::Status;
use tokio::{net::UnixStream, time::timeout};

use crate::{
    publish::Publisher, realtime::Realtime, shutdown::Tasks, telemetry::Registry, tls::Certificates,
};

/// For a request's head to arrive, and for its body.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// For a whole connection: one request and its answer, the longest of which is a reload's.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(60);

/// No request here needs a body.
const BODY_MAX: usize = 1_024;

/// What the admin API tells of.
#[derive(Debug)]
pub struct Parts {
    /// What does not change.
    pub facts: Facts,
    /// Every metric.
    pub registry: Registry,
    /// Who knows what each site's browsers hold.
    pub realtime: Realtime,
    /// Who knows whether publishers are heard.
    pub publisher: Option<Publisher>,
    /// The certificates in service.
    pub certificates: Arc<Certificates>,
    /// Where to ask for a reload.
    pub reloads: Reloads,
    /// Owns the connections.
    pub tasks: Tasks,
}

/// The admin API. Clones share it.
#[derive(Clone, Debug)]
pub struct Admin(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    status: Status,
    tasks: Tasks,
}

impl Admin {
    /// An API over `parts`.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let status = Status {
            facts: Arc::new(parts.facts),
            registry: parts.registry,
            realtime: parts.realtime,
            publisher: parts.publisher,
            certificates: parts.certificates,
            reloads: parts.reloads,
        };
        let tasks = parts.tasks;
        Self(Arc::new(Inner { status, tasks }))
    }

    /// Serves one request, until its peer leaves, a deadline passes or the stage stops.
    pub async fn serve(self, stream: std::os::unix::net::UnixStream) {
        let Ok(stream) = UnixStream::from_std(stream) else {
            return;
        };
        let tasks = self.0.tasks.clone();
        let service = service_fn(move |request| {
            let admin = self.clone();
            async move { Ok::<_, Infallible>(admin.handle(request).await) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(READ_TIMEOUT)
            .half_close(true)
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), service);
        tokio::select! {
            // Whoever broke the connection off, or took nothing, has had what it wanted.
            _ = timeout(CONNECTION_TIMEOUT, connection) => {}
            () = tasks.stopping() => {}
        }
    }

    async fn handle(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (head, body) = request.into_parts();
        let reply = match read(body).await {
            Ok(()) => self.answer(&head.method, head.uri.path()).await,
            Err(refused) => refused,
        };
        reply.response()
    }

    async fn answer(&self, method: &Method, path: &str) -> Reply {
        let status = &self.0.status;
        let allowed = match path {
            "/health" | "/status" | "/metrics" => "GET",
            "/reload" => "POST",
            _ => {
                let message = "no such path; there are GET /health, GET /status, GET /metrics \
                               and POST /reload";
                return Reply::error(StatusCode::NOT_FOUND, message);
            }
        };
        if method.as_str() != allowed {
            return Reply::not_allowed(path, allowed);
        }
        match path {
            "/health" => self.health(),
            "/status" => Reply::json(StatusCode::OK, &status.json().await),
            "/metrics" => Reply::metrics(status.metrics()),
            _ => status.reloads.answer(&status.facts.config_file).await,
        }
    }

    fn health(&self) -> Reply {
        let ready = self.0.status.is_ready();
        let status = if ready {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        let body = json!({ "ready": ready, "version": env!("CARGO_PKG_VERSION") });
        Reply::json(status, &body)
    }
}

/// Reads a body that nothing is done with: hyper would cut the answer off otherwise.
async fn read(body: Incoming) -> Result<(), Reply> {
    match timeout(READ_TIMEOUT, Limited::new(body, BODY_MAX).collect()).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            let message = "the body is too large: no request here needs one";
            Err(Reply::error(StatusCode::PAYLOAD_TOO_LARGE, message))
        }
        Ok(Err(_)) => Err(Reply::error(StatusCode::BAD_REQUEST, "the body broke off")),
        Err(_) => {
            let message = "the body did not arrive within 10 seconds";
            Err(Reply::error(StatusCode::REQUEST_TIMEOUT, message))
        }
    }
}

/// Seconds since 1970; 0 on a machine whose clock stands before that.
fn unix(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
