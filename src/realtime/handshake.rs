//! Whether a request to the realtime path may open a stream, and of which kind.
//!
//! The opening handshake of RFC 6455 §4.2.1 in full, the Origin rule, and the channels of a plain
//! stream. It decides; it opens nothing.

use aws_lc_rs::digest;
use base64::{Engine, engine::general_purpose::STANDARD};
use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header, uri::Authority,
};
use http_body::Body;
use percent_encoding::percent_decode_str;

use super::{kind::Kind, positions};
use crate::exchange::{Failure, Origin, Request, Scheme};

/// Appended to the key (RFC 6455 §1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// The subprotocol that a plain stream with a token names.
const SUBPROTOCOL: &str = "sidewire";

/// A request that may open a stream.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) kind: Kind,
    /// The channels of a plain stream or of server-sent events.
    pub(super) channels: Vec<String>,
    /// The token of a plain stream.
    pub(super) token: Option<String>,
    /// From where a plain stream is to go on.
    pub(super) since: Option<String>,
    /// Whether a plain stream is to be told its positions.
    pub(super) positions: bool,
    /// The headers of a 101; empty for server-sent events.
    pub(super) headers: HeaderMap,
}

/// Judges `request`.
///
/// # Errors
///
/// What the client is answered in place of the stream.
pub(super) fn judge(request: &Request, allowed_origins: &[String]) -> Result<Opening, Failure> {
    check_origin(&request.head.headers, &request.origin, allowed_origins)?;
    if request.head.method != Method::GET {
        let status = StatusCode::METHOD_NOT_ALLOWED;
        return Err(Failure::client(status, "method", &request.head.method));
    }
    let query = request.head.uri.query().unwrap_or_default();
    let headers = &request.head.headers;
    let mut opening = Opening {
        kind: Kind::Protocol,
        channels: parameters(query, "channel")?,
        token: None,
        since: parameters(query, "since")?.pop(),
        positions: parameters(query, "position")? == ["1"],
        headers: HeaderMap::new(),
    };
    if opening
        .since
        .as_ref()
        .is_some_and(|id| id.len() > positions::TEXT_MAX)
    {
        return Err(bad("`since` is longer than any position"));
    }
    if !has_token(headers, &header::UPGRADE, "websocket") {
        return event_stream(headers, opening);
    }
    if !opening.channels.is_empty() {
        opening.kind = Kind::Plain;
    }
    opening.headers = upgrade(request)?;
    let (offered, token) = subprotocol(headers)?;
    if offered {
        let name = HeaderValue::from_static(SUBPROTOCOL);
        opening.headers.insert(header::SEC_WEBSOCKET_PROTOCOL, name);
    }
    if token.is_some() && opening.kind == Kind::Protocol {
        return Err(bad(
            "a token comes in the connect command, or with ?channel=",
        ));
    }
    opening.token = token.map(str::to_owned);
    Ok(opening)
}

fn event_stream(headers: &HeaderMap, mut opening: Opening) -> Result<Opening, Failure> {
    if !accepts(headers, "text/event-stream") {
        let detail = "neither a WebSocket nor server-sent events were asked for";
        return Err(Failure::client(
            StatusCode::UPGRADE_REQUIRED,
            "no_upgrade",
            detail,
        ));
    }
    if opening.channels.is_empty() {
        return Err(bad("server-sent events without ?channel="));
    }
    opening.kind = Kind::EventStream;
    opening.positions = true;
    // What the browser has seen stands above what the page was made with.
    if let Some(id) = single(headers, &HeaderName::from_static("last-event-id")) {
        if id.len() > positions::TEXT_MAX {
            return Err(bad("`Last-Event-ID` is longer than any position"));
        }
        opening.since = Some(id.to_owned());
    }
    Ok(opening)
}

fn upgrade(request: &Request) -> Result<HeaderMap, Failure> {
    let headers = &request.head.headers;
    if request.head.version != Version::HTTP_11 {
        return Err(bad("a WebSocket upgrade needs HTTP/1.1"));
    }
    // Its bytes would be read as frames, by us or by whoever is between.
    if !request.body.is_end_stream() {
        return Err(bad("a WebSocket upgrade has no body"));
    }
    if !has_token(headers, &header::CONNECTION, "upgrade") {
        return Err(bad("Connection does not name the upgrade"));
    }
    if single(headers, &header::SEC_WEBSOCKET_VERSION) != Some("13") {
        let status = StatusCode::UPGRADE_REQUIRED;
        return Err(Failure::client(
            status,
            "websocket_version",
            "version other than 13",
        ));
    }
    let key = single(headers, &header::SEC_WEBSOCKET_KEY)
        .filter(|key| STANDARD.decode(key).is_ok_and(|bytes| bytes.len() == 16))
        .ok_or_else(|| bad("not one Sec-WebSocket-Key of 16 bytes"))?;
    let mut answer = HeaderMap::new();
    answer.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    answer.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    let accept =
        HeaderValue::from_str(&accept(key)).map_err(|error| Failure::ours("accept", error))?;
    answer.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    Ok(answer)
}

/// Whether our subprotocol was offered, and the token beside it, which is never echoed.
fn subprotocol(headers: &HeaderMap) -> Result<(bool, Option<&str>), Failure> {
    let mut offered = false;
    let mut token = None;
    for name in tokens(headers, &header::SEC_WEBSOCKET_PROTOCOL) {
        if let Some(text) = name.strip_prefix("token.")
            && token.replace(text).is_some()
        {
            return Err(bad("two tokens in Sec-WebSocket-Protocol"));
        }
        offered |= name == SUBPROTOCOL;
    }
    Ok((offered, token))
}

fn accept(key: &str) -> String {
    let text = [key.as_bytes(), GUID].concat();
    STANDARD.encode(digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, &text))
}

/// Origin must be the request's own scheme, host and port, or be allowed by name. None at all
/// passes: clients that are no browser send none, and cookies never authenticate here.
fn check_origin(headers: &HeaderMap, own: &Origin, allowed: &[String]) -> Result<(), Failure> {
    let refused = |detail: &str| Err(Failure::client(StatusCode::FORBIDDEN, "origin", detail));
    let mut values = headers.get_all(header::ORIGIN).iter();
    let Some(value) = values.next() else {
        return Ok(());
    };
    let Some(origin) = value.to_str().ok().filter(|_| values.next().is_none()) else {
        return refused("not one readable Origin");
    };
    if allowed
        .iter()
        .any(|allowed| allowed.eq_ignore_ascii_case(origin))
        || is_own(origin, own)
    {
        return Ok(());
    }
    refused(origin)
}

fn is_own(origin: &str, own: &Origin) -> bool {
    let (scheme, authority) = match origin.split_once("://") {
        Some(("https", authority)) => (Scheme::Https, authority),
        Some(("http", authority)) => (Scheme::Http, authority),
        _ => return false,
    };
    let Ok(authority) = authority.parse::<Authority>() else {
        return false;
    };
    let port = authority
        .port_u16()
        .unwrap_or_else(|| scheme.default_port());
    scheme == own.scheme
        && authority.host().eq_ignore_ascii_case(&own.host)
        && port == own.public_port()
        && !origin.contains('@')
}

/// The parameters of a query called `name`, in order.
fn parameters(query: &str, name: &str) -> Result<Vec<String>, Failure> {
    let values = query.split('&').filter_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        (key == name).then_some(value)
    });
    let decoded = values.map(|value| {
        let decoded = percent_decode_str(value).decode_utf8();
        let text = decoded.map_err(|_| bad(&format!("`{name}` is not UTF-8")))?;
        Ok(text.into_owned())
    });
    decoded.collect()
}

fn bad(detail: &str) -> Failure {
    Failure::client(StatusCode::BAD_REQUEST, "handshake", detail)
}

/// The value of a header that stands exactly once.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value.trim())
}

fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    tokens(headers, name).any(|found| found.eq_ignore_ascii_case(token))
}

/// Whether `media_type` is accepted by its own name, with parameters or without.
fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    tokens(headers, &header::ACCEPT).any(|found| {
        let found = found.split(';').next().unwrap_or_default();
        found.trim().eq_ignore_ascii_case(media_type)
    })
}

#[cfg(test)]
#[path = "handshake_tests.rs"]
mod tests;
