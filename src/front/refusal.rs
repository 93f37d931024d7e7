//! A failure → what the client is told, what the log is told.
//!
//! The client gets a status, a fixed sentence and a reference; the cause is in the log under that
//! reference, once.

use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header, request::Parts};

use super::metrics::{Failed, Metrics};
use crate::exchange::{Blame, Failure, RequestId, Response, empty, full};

/// Methods of WordPress and its REST API, and whatever else a back end may know.
pub(super) const ALLOW: HeaderValue =
    HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");

/// What of a request decides the form of its refusal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader {
    id: RequestId,
    json: bool,
    head: bool,
    closable: bool,
}

impl Reader {
    pub(super) fn of(request: &Parts, id: RequestId) -> Self {
        Self {
            id,
            json: prefers_json(&request.headers),
            head: request.method == Method::HEAD,
            closable: request.version < Version::HTTP_2,
        }
    }

    /// The page for `failure`, which is logged and counted here.
    pub(super) fn refuse(self, failure: &Failure, metrics: &Metrics) -> Response {
        log(failure, self.id, metrics);
        let status = failure.status;
        let (text, kind) = self.page(status);
        let length = text.len();
        let mut response = http::Response::new(if self.head { empty() } else { full(text) });
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(header::CONTENT_LENGTH, length.into());
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match status {
            StatusCode::METHOD_NOT_ALLOWED => {
                headers.insert(header::ALLOW, ALLOW);
            }
            StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(header::RETRY_AFTER, self.retry_after());
            }
            StatusCode::UPGRADE_REQUIRED => {
                // RFC 6455 4.4: the version that is spoken here, whatever was wrong.
                let version = HeaderValue::from_static("13");
                headers.insert(header::SEC_WEBSOCKET_VERSION, version);
            }
            _ => {}
        }
        if self.closable && status == StatusCode::UPGRADE_REQUIRED {
            // RFC 9110 15.5.22 and 7.8; HTTP/2 has neither field.
            headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
            let connection = HeaderValue::from_static("upgrade, close");
            headers.insert(header::CONNECTION, connection);
        } else if self.closable && failure.blame == Blame::Client {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// Seconds until a client that met a full or starting server should come again: not the same
    /// for all that are turned away together. The name of the request is random.
    fn retry_after(self) -> HeaderValue {
        let spread = u8::try_from(self.id.0 % 5).unwrap_or_default();
        HeaderValue::from(3 + u16::from(spread))
    }

    fn page(self, status: StatusCode) -> (String, &'static str) {
        let number = status.as_u16();
        let title = status.canonical_reason().unwrap_or("Error");
        let sentence = sentence(status);
        let reference = self.id;
        if self.json {
            let page = format!(
                "{{\"error\":{{\"code\":{number},\"message\":\"{sentence}\",\
                 \"reference\":\"{reference}\"}}}}\n"
            );
            return (page, "application/json");
        }
        let page = format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width\">\n\
             <title>{number} {title}</title>\n<h1>{title}</h1>\n<p>{sentence}</p>\n\
             <p>Reference: <code>{reference}</code></p>\n</html>\n"
        );
        (page, "text/html; charset=utf-8")
    }
}

/// Logs `failure` of request `id` at the level of whose fault it is, and counts it.
pub(super) fn log(failure: &Failure, id: RequestId, metrics: &Metrics) {
    let Failure {
        status,
        reason,
        detail,
        ..
    } = failure;
    let status = status.as_u16();
    match failure.blame {
        Blame::Client => tracing::debug!(%id, status, reason, detail, "request refused"),
        Blame::Upstream => tracing::warn!(%id, status, reason, detail, "back end failed"),
        Blame::Ours => tracing::error!(%id, status, reason, detail, "request failed"),
    }
    metrics.failures.get_or_create(&Failed { reason }).inc();
}

const fn sentence(status: StatusCode) -> &'static str {
    match status.as_u16() {
        404 => "There is nothing at this address.",
        405 | 501 => "This server does not do that.",
        408 => "The request took too long to arrive.",
        413 => "The request is larger than this site accepts.",
        414 | 431 => "The address or the header of the request is too long.",
        421 => "This server does not serve that site.",
        426 => "This address expects a WebSocket.",
        400..=499 => "The request could not be accepted.",
        502 => "The site gave no valid answer.",
        503 => "The site is busy. Please try again in a moment.",
        504 => "The site took too long to answer.",
        _ => "Something went wrong here.",
    }
}

/// Whether JSON is asked for, and before any HTML.
fn prefers_json(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|a| a.to_str().ok());
    accept.is_some_and(|accept| match accept.find("application/json") {
        Some(json) => accept.find("text/html").is_none_or(|html| json < html),
        None => false,
    })
}
