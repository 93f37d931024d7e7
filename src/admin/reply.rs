//! What the admin API answers: JSON, but for the metrics.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use serde_json::{Value, json};

/// One answer.
#[derive(Debug)]
pub(super) struct Reply {
    status: StatusCode,
    kind: &'static str,
    allow: Option<&'static str>,
    body: String,
}

impl Reply {
    pub(super) fn json(status: StatusCode, body: &Value) -> Self {
        Self {
            status,
            kind: "application/json",
            allow: None,
            body: format!("{body}\n"),
        }
    }

    pub(super) const fn metrics(body: String) -> Self {
        Self {
            status: StatusCode::OK,
            kind: "application/openmetrics-text; version=1.0.0; charset=utf-8",
            allow: None,
            body,
        }
    }

    pub(super) fn error(status: StatusCode, message: &str) -> Self {
        let body = json!({ "error": { "code": status.as_u16(), "message": message } });
        Self::json(status, &body)
    }

    /// The path is there, the method is not.
    pub(super) fn not_allowed(path: &str, allow: &'static str) -> Self {
        let message = format!("{path} takes {allow} alone");
        let mut reply = Self::error(StatusCode::METHOD_NOT_ALLOWED, &message);
        reply.allow = Some(allow);
        reply
    }

    pub(super) fn response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(Bytes::from(self.body)));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.kind));
        if let Some(allow) = self.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}
