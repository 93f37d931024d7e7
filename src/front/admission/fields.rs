//! Which header fields of a client go on to a back end.
//!
//! Back ends write their own identity and framing fields; here those of the client go.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Fields that end at this hop (RFC 9110, 7.6.1), or that would speak for it.
const HOP_BY_HOP: [&str; 10] = [
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Fields that a request needs or that we answer for: `Connection` cannot take them away.
const OURS: [&str; 5] = [
    "authorization",
    "content-type",
    "cookie",
    "origin",
    "x-http-method-override",
];

/// Fields that no browser sends and that back ends act on: who the client is, what the address
/// was, which file to send, and the variable `HTTP_PROXY`.
const NEVER: [&str; 18] = [
    "cf-connecting-ip",
    "cf-visitor",
    "client-ip",
    "content-length",
    "early-data",
    "fastly-client-ip",
    "forwarded",
    "front-end-https",
    "host",
    "proxy",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-original-url",
    "x-real-ip",
    "x-rewrite-url",
    "x-scheme",
    "x-url-scheme",
];

const NEVER_PREFIXES: [&str; 3] = ["x-accel-", "x-forwarded", "x-sendfile"];

/// Drops what never goes on and joins cookies; says how many fields were dropped for their name.
pub(super) fn clean(headers: &mut HeaderMap) -> usize {
    let unwanted: Vec<HeaderName> = headers
        .keys()
        .filter(|name| !is_plain(name) || is_never(name))
        .cloned()
        .collect();
    let dropped = unwanted.iter().filter(|name| !is_framing(name)).count();
    for name in unwanted {
        headers.remove(name);
    }
    join_cookies(headers);
    dropped
}

/// Takes away what concerns this connection alone, `Connection`'s own list included.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let nominated: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .filter(|name| !OURS.contains(&name.as_str()))
        .collect();
    for name in nominated {
        headers.remove(name);
    }
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}

/// PHP and others write `-`, `_` and `.` alike, so `X_Real_IP` would pass for `X-Real-IP`.
fn is_plain(name: &HeaderName) -> bool {
    name.as_str()
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

fn is_never(name: &HeaderName) -> bool {
    let name = name.as_str();
    NEVER.contains(&name) || NEVER_PREFIXES.iter().any(|start| name.starts_with(start))
}

/// `Host` and `Content-Length` go on in another form: that is no loss to count.
fn is_framing(name: &HeaderName) -> bool {
    *name == header::HOST || *name == header::CONTENT_LENGTH
}

/// HTTP/2 sends cookies one by one. Joined by a comma, as other fields are, WordPress would read
/// them as one (RFC 9113, 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut cookies = headers.get_all(header::COOKIE).iter();
    let (Some(first), Some(second)) = (cookies.next(), cookies.next()) else {
        return;
    };
    let mut joined = first.as_bytes().to_vec();
    for cookie in std::iter::once(second).chain(cookies) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(cookie.as_bytes());
    }
    // Valid parts joined by valid bytes are valid.
    if let Ok(joined) = HeaderValue::from_bytes(&joined) {
        headers.insert(header::COOKIE, joined);
    }
}
