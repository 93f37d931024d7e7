//! What a request's head must look like before it goes upstream, and a response's before it goes
//! on: pure, header by header.
//!
//! Which requests are admitted at all is decided before; how a message is framed towards the
//! client is decided after.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version,
    header::{
        ALT_SVC, CONNECTION, CONTENT_LENGTH, EXPECT, FORWARDED, HOST, LOCATION, PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
    },
    request, response,
    uri::PathAndQuery,
};
use http_body::{Body, SizeHint};

use crate::exchange::{Failure, Origin, Scheme};

/// Headers of one connection (RFC 9110 §7.6.1 and what is in use beside it).
const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// The head to send: origin form, HTTP/1.1, framed by `size`, naming the client.
pub(super) fn request(
    head: request::Parts,
    size: &SizeHint,
    origin: &Origin,
) -> Result<http::Request<()>, Failure> {
    let mut headers = head.headers;
    remove_hop_by_hop(&mut headers);
    remove_starting(&mut headers, "x-forwarded-");
    for name in [&X_REAL_IP, &FORWARDED, &HOST, &EXPECT, &CONTENT_LENGTH] {
        headers.remove(name);
    }
    headers.remove("proxy");
    name_client(&mut headers, origin)?;
    frame(&mut headers, &head.method, size);

    let target = head.uri.into_parts().path_and_query;
    let mut request = http::Request::new(());
    *request.method_mut() = head.method;
    *request.uri_mut() = Uri::from(target.unwrap_or_else(|| PathAndQuery::from_static("/")));
    *request.version_mut() = Version::HTTP_11;
    *request.headers_mut() = headers;
    Ok(request)
}

/// Says who asks, and for what, whatever the client said.
fn name_client(headers: &mut HeaderMap, origin: &Origin) -> Result<(), Failure> {
    let client = origin.client.ip().to_canonical().to_string();
    let port = origin.public_port().to_string();
    for (name, value) in [
        (HOST, origin.authority()),
        (HeaderName::from_static("x-forwarded-for"), client.clone()),
        (
            HeaderName::from_static("x-forwarded-proto"),
            origin.scheme.as_str().to_owned(),
        ),
        (
            HeaderName::from_static("x-forwarded-host"),
            origin.authority(),
        ),
        (HeaderName::from_static("x-forwarded-port"), port),
        (X_REAL_IP, client),
    ] {
        let value = HeaderValue::try_from(value)
            .map_err(|_| Failure::ours("upstream_head", format_args!("{name} cannot be sent")))?;
        headers.insert(name, value);
    }
    Ok(())
}

/// hyper guesses where nothing is said, and would lose the body of a GET without a length.
fn frame(headers: &mut HeaderMap, method: &Method, size: &SizeHint) {
    match size.exact() {
        // Some servers ask those that usually have a body for its length.
        Some(0) if !matches!(*method, Method::POST | Method::PUT | Method::PATCH) => {}
        Some(length) => {
            headers.insert(CONTENT_LENGTH, length.into());
        }
        None => {
            headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
        }
    }
}

/// The exact size of `body`, when it has ended as well.
pub(super) fn size<B: Body>(body: &B) -> SizeHint {
    if body.is_end_stream() {
        SizeHint::with_exact(0)
    } else {
        body.size_hint()
    }
}

/// Makes a response's head fit to go on. `Ok(false)`: the connection may not be used again.
pub(super) fn response(head: &mut response::Parts, origin: &Origin) -> Result<bool, Failure> {
    let status = head.status;
    if !(200..600).contains(&status.as_u16()) {
        return Err(invalid(format_args!("status {status}, unasked")));
    }
    let headers = &mut head.headers;
    let chunked = is_chunked(headers)?;
    let length = content_length(headers)?;
    remove_hop_by_hop(headers);
    headers.remove(ALT_SVC);
    remove_starting(headers, "x-accel-");
    headers.remove(CONTENT_LENGTH);
    if let Some(length) = length
        && !chunked
        && status != StatusCode::NO_CONTENT
    {
        headers.insert(CONTENT_LENGTH, length.into());
    }
    if origin.scheme == Scheme::Https {
        secure_location(headers, &origin.authority());
    }
    head.version = Version::HTTP_11;
    head.extensions.clear();
    // RFC 9112 §6.3: both at once is an attempt at smuggling, or a server that does not know what
    // it sends.
    Ok(!(chunked && length.is_some()))
}

/// A server that does not know of our TLS redirects to itself without it.
fn secure_location(headers: &mut HeaderMap, authority: &str) {
    let Some(location) = headers.get(LOCATION).and_then(|v| v.to_str().ok()) else {
        return;
    };
    let Some((scheme, rest)) = location.split_once("://") else {
        return;
    };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let host = rest.get(..end).unwrap_or_default();
    if !scheme.eq_ignore_ascii_case("http") || !host.eq_ignore_ascii_case(authority) {
        return;
    }
    if let Ok(secure) = HeaderValue::try_from(format!("https://{rest}")) {
        headers.insert(LOCATION, secure);
    }
}

/// Whether the body is chunked; any other coding would go on undecoded and unnamed.
fn is_chunked(headers: &HeaderMap) -> Result<bool, Failure> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(false),
        (Some(one), None) if one.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(true),
        (Some(one), _) => Err(invalid(format_args!("Transfer-Encoding {one:?}"))),
    }
}

/// The one length that all `Content-Length` values agree on.
fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Failure> {
    let mut length = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        for one in value.as_bytes().split(|&byte| byte == b',') {
            let one = one.trim_ascii();
            let digits = !one.is_empty() && one.iter().all(u8::is_ascii_digit);
            let number = str::from_utf8(one).ok().and_then(|s| s.parse::<u64>().ok());
            let number = number
                .filter(|number| digits && length.is_none_or(|length| length == *number))
                .ok_or_else(|| invalid(format_args!("Content-Length {value:?}")))?;
            length = Some(number);
        }
    }
    Ok(length)
}

fn invalid(detail: impl std::fmt::Display) -> Failure {
    Failure::upstream(StatusCode::BAD_GATEWAY, "upstream_invalid", detail)
}

/// Removes the list and whatever `Connection` nominates beside it.
fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let nominated: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .filter(|name| !is_end_to_end(name.as_str()))
        .collect();
    for name in nominated.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Headers that nobody may nominate away: taking them off a request changes who asks for what.
fn is_end_to_end(name: &str) -> bool {
    let kept = ["host", "cookie", "set-cookie", "authorization", "x-real-ip"];
    kept.contains(&name) || name.starts_with("content-") || name.starts_with("x-forwarded-")
}

fn remove_starting(headers: &mut HeaderMap, prefix: &str) {
    let names: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with(prefix))
        .cloned()
        .collect();
    for name in names {
        headers.remove(name);
    }
}
