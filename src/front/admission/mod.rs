//! Whether a request may go on, decided in one place for HTTP/1.1 and HTTP/2.
//!
//! hyper has parsed the head and chosen how the body is framed; what it lets through is judged
//! here, in the order of the functions, before a route is looked for. What is left afterwards
//! is what [`exchange::Request`](crate::exchange::Request) promises.

mod fields;
mod host;

use http::{
    Method, StatusCode, Uri, Version, header,
    request::Parts,
    uri::{Authority, PathAndQuery},
};

pub(super) use self::fields::strip_hop_by_hop;
use super::arrival::Arrival;
use crate::{
    config,
    exchange::{Failure, Origin, RequestId},
};

/// Checks and cleans `head`; `length` is what is known of the body's.
///
/// Hop-by-hop fields are still there, since the realtime path decides by them:
/// [`strip_hop_by_hop`] takes them away before a back end sees the request. Returns who asks,
/// for what site, and how many fields were dropped.
///
/// # Errors
///
/// The client's mistake. Over HTTP/1.1 the connection must be closed: where the next request
/// would begin is then the client's word alone.
pub(super) fn admit(
    head: &mut Parts,
    length: Option<u64>,
    config: &config::Front,
    arrival: &Arrival,
    id: RequestId,
) -> Result<(Origin, usize), Failure> {
    method(&head.method)?;
    framing(head)?;
    let host = host::of(head, arrival.scheme)?;
    head.uri = origin_form(head)?;
    size(head, length, config)?;
    expectation(head)?;
    let dropped = fields::clean(&mut head.headers);
    let origin = Origin {
        client: arrival.client,
        local: arrival.local,
        scheme: arrival.scheme,
        host: host.name,
        port: host.port,
        id,
    };
    Ok((origin, dropped))
}

fn method(method: &Method) -> Result<(), Failure> {
    if *method == Method::CONNECT || *method == Method::TRACE {
        let status = StatusCode::METHOD_NOT_ALLOWED;
        return Err(Failure::client(status, "method_not_allowed", method));
    }
    // Methods are case sensitive; back ends that forget it would see another one than we do.
    if !method
        .as_str()
        .bytes()
        .all(|byte| byte.is_ascii_uppercase())
    {
        return Err(bad("method_syntax", method));
    }
    Ok(())
}

/// `chunked`, once, is the only transfer coding that one reader cannot read differently from
/// another. hyper refuses it in HTTP/1.0, and where `Content-Length` stands beside it, reads
/// chunks, removes the length and closes the connection afterwards.
fn framing(head: &Parts) -> Result<(), Failure> {
    let mut codings = head.headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(coding) = codings.next() else {
        return Ok(());
    };
    if codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked") {
        let status = StatusCode::NOT_IMPLEMENTED;
        return Err(Failure::client(
            status,
            "transfer_coding",
            format!("{coding:?}"),
        ));
    }
    Ok(())
}

/// The target without scheme and authority, which [`host::of`] has checked.
fn origin_form(head: &Parts) -> Result<Uri, Failure> {
    let target = head.uri.path_and_query().map_or("", PathAndQuery::as_str);
    let absolute = head.uri.scheme().is_some();
    if target == "*" && head.method == Method::OPTIONS && !absolute {
        return Ok(head.uri.clone());
    }
    let target = match target.as_bytes().first() {
        Some(b'/') => head.uri.path_and_query().cloned(),
        None | Some(b'?') if absolute => format!("/{target}").parse().ok(),
        _ => None,
    };
    target
        .map(Uri::from)
        .ok_or_else(|| bad("target_form", without_query(&head.uri)))
}

fn size(head: &Parts, length: Option<u64>, config: &config::Front) -> Result<(), Failure> {
    let target = head.uri.path_and_query().map_or(0, |t| t.as_str().len());
    if target > config.target_max.as_usize() {
        let status = StatusCode::URI_TOO_LONG;
        return Err(Failure::client(status, "target_too_long", target));
    }
    // HTTP/2 splits one Cookie into a field for each cookie, and only there.
    let cookies = head.headers.get_all(header::COOKIE).iter().count();
    let count = head.headers.len() - cookies.saturating_sub(1);
    let bytes: usize = head
        .headers
        .iter()
        .map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len())
        .sum();
    if count > config.headers_max || bytes > config.header_bytes_max.as_usize() {
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        let detail = format!("{count} fields, {bytes} bytes");
        return Err(Failure::client(status, "header_too_large", detail));
    }
    match length {
        Some(length) if length > config.body_max.0 => {
            let status = StatusCode::PAYLOAD_TOO_LARGE;
            Err(Failure::client(status, "body_too_large", length))
        }
        _ => Ok(()),
    }
}

/// hyper says `100 Continue` by itself once the body is asked for.
fn expectation(head: &mut Parts) -> Result<(), Failure> {
    let expected = |value: &http::HeaderValue| {
        let value = value.as_bytes().trim_ascii();
        value.eq_ignore_ascii_case(b"100-continue") && head.version != Version::HTTP_10
    };
    if !head.headers.get_all(header::EXPECT).iter().all(expected) {
        let status = StatusCode::EXPECTATION_FAILED;
        return Err(Failure::client(status, "expectation", ""));
    }
    head.headers.remove(header::EXPECT);
    Ok(())
}

/// What of a target may stand in a log: a query may hold the key of a password reset, or a token.
fn without_query(uri: &Uri) -> String {
    let authority = uri.authority().map_or("", Authority::as_str);
    format!("{authority}{}", uri.path())
}

fn bad(reason: &'static str, detail: impl std::fmt::Display) -> Failure {
    Failure::client(StatusCode::BAD_REQUEST, reason, detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::Scheme;

    #[test]
    fn a_refusal_tells_the_log_authority_and_path_and_no_query() {
        for (target, reason, told) in [
            (
                "http://other.example/wp-login.php?key=secret",
                "host_mismatch",
                "other.example/wp-login.php",
            ),
            (
                "ftp://site.example/a?key=secret",
                "target_scheme",
                "site.example/a",
            ),
            ("site.example:80", "target_form", "site.example:80"),
            ("*", "target_form", "*"),
        ] {
            let request = http::Request::get(target).header("host", "site.example");
            let (head, ()) = request.body(()).unwrap().into_parts();
            let refused = host::of(&head, Scheme::Http).map(|_| origin_form(&head));
            let failure = match refused {
                Err(failure) | Ok(Err(failure)) => failure,
                Ok(Ok(target)) => panic!("{target} was let through"),
            };
            assert_eq!((failure.reason, failure.detail.as_str()), (reason, told));
        }
    }
}
