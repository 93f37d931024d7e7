//! The Unix socket that tells the machine's owner how the process is: health and metrics.
//!
//! Never on a public listener. It changes nothing yet.

use std::{convert::Infallible, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::UnixStream;

use crate::{publish::Publisher, shutdown::Tasks, telemetry::Registry};

/// For a request's head to arrive.
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// The admin API. Clones share it.
#[derive(Clone, Debug)]
pub struct Admin(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    publisher: Option<Publisher>,
    tasks: Tasks,
}

impl Admin {
    /// An API over `registry` and the readiness of `publisher`.
    #[must_use]
    pub fn new(registry: Registry, publisher: Option<Publisher>, tasks: Tasks) -> Self {
        Self(Arc::new(Inner {
            registry,
            publisher,
            tasks,
        }))
    }

    /// Serves one connection until its peer leaves or the stage stops.
    pub async fn serve(self, stream: UnixStream) {
        let tasks = self.0.tasks.clone();
        let service = service_fn(move |request| {
            let response = self.answer(&request);
            async move { Ok::<_, Infallible>(response) }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(READ_TIMEOUT)
            .serve_connection(TokioIo::new(stream), service);
        tokio::select! {
            // Whoever broke the connection off has had what it wanted.
            _ = connection => {}
            () = tasks.stopping() => {}
        }
    }

    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let (status, kind, body) = match (request.method(), request.uri().path()) {
            (&Method::GET, "/health") => self.health(),
            (&Method::GET, "/metrics") => {
                let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
                (StatusCode::OK, kind, self.0.registry.text())
            }
            _ => {
                let body = "GET /health or GET /metrics\n".to_owned();
                (StatusCode::NOT_FOUND, "text/plain", body)
            }
        };
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = status;
        let kind = header::HeaderValue::from_static(kind);
        response.headers_mut().insert(header::CONTENT_TYPE, kind);
        response
    }

    fn health(&self) -> (StatusCode, &'static str, String) {
        let ready = self.0.publisher.as_ref().is_none_or(Publisher::is_ready);
        let status = if ready {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        let body = serde_json::json!({ "ready": ready, "version": env!("CARGO_PKG_VERSION") });
        (status, "application/json", format!("{body}\n"))
    }
}
