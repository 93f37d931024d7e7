//! Answers a request by asking another HTTP/1.1 server, over TCP or a Unix socket, streaming both
//! ways.
//!
//! It knows no client: a caller that goes away drops the future or the body, and the connection
//! to the server is closed with it.

mod body;
mod connect;
mod head;
mod pool;
#[cfg(test)]
mod tests;

use std::{
    error::Error as StdError,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use http::{Method, StatusCode};
use http_body_util::BodyExt;
use hyper::{body::Incoming, client::conn::http1};
use hyper_util::rt::TokioIo;
use prometheus_client::{
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use tokio::time::sleep_until;
use tokio_util::sync::CancellationToken;

use self::{
    body::{Lease, RequestBody, ResponseBody, Upload},
    connect::Connector,
    pool::{Connection, Pool},
};
use crate::config;
use crate::exchange::{self, Failure};
use crate::shutdown::Tasks;

type Label = [(&'static str, &'static str); 1];

/// Header fields of a response.
const HEADERS_MAX: usize = 200;
/// Bytes of a response's head, and of what is read of its body at once.
const BUFFER_MAX: usize = 64 << 10;
/// How long a connection may have been idle before a request that could not be sent again.
/// Servers close idle connections by the clock, seldom within their first second.
const IDLE_MAX_ONE_SHOT: Duration = Duration::from_secs(1);

/// What this module counts.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    connections: Counter,
    reused: Counter,
    retries: Family<Label, Counter>,
    failures: Family<Label, Counter>,
    cut: Counter,
}

/// A client of one server, with the connections that it keeps.
#[derive(Debug)]
pub struct Upstream {
    connector: Connector,
    pool: Arc<Pool>,
    response_timeout: Duration,
    idle_timeout: Duration,
    tasks: Tasks,
    metrics: Metrics,
}

/// A request that got no response on a connection.
struct Unanswered {
    /// The request, if not a byte of it was sent.
    unsent: Option<http::Request<RequestBody>>,
    /// Whether the server sent nothing at all.
    unheard: bool,
    failure: Failure,
}

impl Metrics {
    /// Adds the counters to `registry`.
    #[must_use]
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "upstream_connections",
            "Connections made to upstream servers",
            metrics.connections.clone(),
        );
        registry.register(
            "upstream_reused",
            "Requests sent on a kept connection",
            metrics.reused.clone(),
        );
        registry.register(
            "upstream_retries",
            "Attempts repeated, by what failed before",
            metrics.retries.clone(),
        );
        registry.register(
            "upstream_failures",
            "Requests that got no response from their upstream server",
            metrics.failures.clone(),
        );
        registry.register(
            "upstream_cut_responses",
            "Responses of upstream servers that broke off",
            metrics.cut.clone(),
        );
        metrics
    }

    fn retry(&self, after: &'static str) {
        self.retries.get_or_create(&[("after", after)]).inc();
    }
}

impl Upstream {
    /// A client of the server that `config` names; nothing is connected yet. Must be called
    /// inside the runtime.
    ///
    /// Kept connections are closed when `tasks` is told to stop; requests under way go on.
    #[must_use]
    pub fn new(config: &config::Upstream, tasks: Tasks, metrics: Metrics) -> Self {
        let pool = Arc::new(Pool::new(config.pool_max, config.pool_idle_timeout));
        tasks.spawn(Arc::clone(&pool).expire(tasks.clone()));
        Self {
            connector: Connector {
                address: config.address.clone(),
                timeout: config.connect_timeout,
                metrics: metrics.clone(),
            },
            pool,
            response_timeout: config.response_timeout,
            idle_timeout: config.idle_timeout,
            tasks,
            metrics,
        }
    }

    /// Passes `request` on and returns the response as soon as its head is there, in HTTP/1.1
    /// and without hop-by-hop headers. It has one `Content-Length`, or none; its body ends with
    /// an error unless it was whole.
    ///
    /// # Errors
    ///
    /// No response, or none that may be passed on: 502 `upstream_refused`, `upstream_no_socket`,
    /// `upstream_reset`, `upstream_invalid`; 504 `upstream_timeout`; and the client's failure
    /// where the request's body broke off.
    pub async fn answer(&self, request: exchange::Request) -> Result<exchange::Response, Failure> {
        let answer = self.ask(request).await;
        if let Err(failure) = &answer {
            let label = [("reason", failure.reason)];
            self.metrics.failures.get_or_create(&label).inc();
        }
        answer
    }

    async fn ask(&self, request: exchange::Request) -> Result<exchange::Response, Failure> {
        let exchange::Request { head, body, origin } = request;
        let size = head::size(&body);
        let safe = matches!(head.method, Method::GET | Method::HEAD | Method::OPTIONS);
        let repeatable = safe && size.exact() == Some(0);
        let ready = head::request(head, &size, &origin)?;
        let (body, mut upload) = RequestBody::new(body);

        let mut kept = self.kept(repeatable).await;
        let mut spare = (kept.is_some() && repeatable).then(|| ready.clone());
        let mut sending = ready.map(|()| body);
        loop {
            let reused = kept.is_some();
            let mut connection = match kept.take() {
                Some(connection) => connection,
                None => self.connect().await?,
            };
            let unanswered = match self.send(&mut connection, sending, &upload).await {
                Ok(response) => return self.take_over(response, connection, upload, &origin),
                Err(unanswered) => unanswered,
            };
            // The server closed a kept connection while this request was on its way to it.
            sending = match (unanswered.unsent, spare.take()) {
                (Some(unsent), _) if reused => {
                    self.metrics.retry("unsent");
                    unsent
                }
                (None, Some(spare)) if unanswered.unheard => {
                    self.metrics.retry("reset");
                    let (body, again) = RequestBody::new(exchange::empty());
                    upload = again;
                    spare.map(|()| body)
                }
                _ => return Err(unanswered.failure),
            };
        }
    }

    async fn kept(&self, repeatable: bool) -> Option<Connection> {
        let idle_max = if repeatable {
            Duration::MAX
        } else {
            IDLE_MAX_ONE_SHOT
        };
        let kept = self.pool.take(idle_max, self.connector.timeout).await?;
        self.metrics.reused.inc();
        Some(kept)
    }

    async fn connect(&self) -> Result<Connection, Failure> {
        let wire = self.connector.connect().await?;
        let signs = wire.signs();
        let (sender, driver) = http1::Builder::new()
            .max_headers(HEADERS_MAX)
            .max_buf_size(BUFFER_MAX)
            .handshake(TokioIo::new(wire))
            .await
            .map_err(|error| unusable(&error))?;
        let close = CancellationToken::new();
        let closed = close.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                // Whoever waits for the response hears of the failure.
                _ = driver => {}
                () = closed.cancelled() => {}
            }
        });
        Ok(Connection {
            sender,
            signs,
            _close: close.drop_guard(),
        })
    }

    async fn send(
        &self,
        connection: &mut Connection,
        request: http::Request<RequestBody>,
        upload: &Upload,
    ) -> Result<http::Response<Incoming>, Unanswered> {
        upload.begin();
        let mut response = std::pin::pin!(connection.sender.try_send_request(request));
        loop {
            let deadline = upload.deadline(self.response_timeout);
            tokio::select! {
                result = &mut response => return result.map_err(|mut error| Unanswered {
                    unsent: error.take_message(),
                    unheard: !connection.signs.heard.load(Ordering::Acquire),
                    failure: upload.take_failure().unwrap_or_else(|| unusable(&error.into_error())),
                }),
                () = sleep_until(deadline) => {}
            }
            if upload.deadline(self.response_timeout) <= deadline {
                return Err(self.silent());
            }
        }
    }

    fn silent(&self) -> Unanswered {
        let time = self.response_timeout;
        let detail = format_args!("no response after {time:?}");
        Unanswered {
            unsent: None,
            unheard: false,
            failure: Failure::upstream(StatusCode::GATEWAY_TIMEOUT, "upstream_timeout", detail),
        }
    }

    /// Makes the server's response ours.
    fn take_over(
        &self,
        response: http::Response<Incoming>,
        connection: Connection,
        upload: Arc<Upload>,
        origin: &exchange::Origin,
    ) -> Result<exchange::Response, Failure> {
        let (mut head, body) = response.into_parts();
        let reusable = head::response(&mut head, origin)?;
        let lease = Lease {
            connection,
            pool: Arc::clone(&self.pool),
            upload,
            reusable,
        };
        if http_body::Body::is_end_stream(&body) {
            lease.end();
            return Ok(exchange::Response::from_parts(head, exchange::empty()));
        }
        let body = ResponseBody::new(body, lease, self.idle_timeout, self.metrics.clone());
        Ok(exchange::Response::from_parts(head, body.boxed_unsync()))
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.pool.close();
    }
}

/// A connection that gave no response: its words were wrong, or it broke.
fn unusable(error: &hyper::Error) -> Failure {
    let reason = if error.is_parse() {
        "upstream_invalid"
    } else {
        "upstream_reset"
    };
    let detail = match error.source() {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    };
    Failure::upstream(StatusCode::BAD_GATEWAY, reason, detail)
}
