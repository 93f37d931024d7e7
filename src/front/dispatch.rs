//! Route → the back end that answers.
//!
//! It knows which of them there are; how each answers is its own affair.

use std::future::Future;

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, Uri, header, uri::PathAndQuery};

use crate::{
    exchange::{Failure, Request, Response, empty},
    fastcgi::FastCgi,
    realtime::{self, Realtime},
    router::{Route, Target},
    static_files::{Found, StaticFiles},
    tls,
    upstream::Upstream,
};

/// Who answers what `realtime` does not, for one site.
pub enum Backend {
    /// PHP-FPM with the document root beside it.
    FastCgi {
        /// Runs the scripts.
        fastcgi: FastCgi,
        /// Finds them, and serves everything else.
        files: StaticFiles,
    },
    /// Any HTTP server.
    Upstream(Upstream),
}

/// Everything behind the front; its tests put their own in its place.
pub(super) trait Destination: Send + Sync + 'static {
    /// What takes over a connection once it is upgraded.
    type Seat: Send + 'static;

    /// Decides about a request for the realtime path.
    fn admit(&self, site: usize, request: &Request) -> Result<Admission<Self::Seat>, Failure>;

    /// Answers any other request.
    fn answer(
        &self,
        route: Route,
        request: Request,
    ) -> impl Future<Output = Result<Response, Failure>> + Send;
}

/// What becomes of a request for the realtime path.
pub(super) enum Admission<Seat> {
    Upgrade { response: Response, seat: Seat },
    Answer(Response),
}

/// Takes over a connection of type `S`.
pub(super) trait Seat<S> {
    fn open(self, stream: S, read_ahead: Bytes);
}

/// The back ends of the configuration.
pub(super) struct Destinations {
    backends: Vec<Backend>,
    realtime: Realtime,
}

impl Destinations {
    pub(super) const fn new(backends: Vec<Backend>, realtime: Realtime) -> Self {
        Self { backends, realtime }
    }
}

impl Destination for Destinations {
    type Seat = realtime::Seat;

    fn admit(&self, site: usize, request: &Request) -> Result<Admission<Self::Seat>, Failure> {
        Ok(match self.realtime.admit(site, request)? {
            realtime::Admission::Upgrade { response, seat } => {
                Admission::Upgrade { response, seat }
            }
            realtime::Admission::Answer(response) => Admission::Answer(response),
        })
    }

    async fn answer(&self, route: Route, request: Request) -> Result<Response, Failure> {
        match (self.backends.get(route.site), route.target) {
            (Some(Backend::Upstream(upstream)), Target::Upstream) => upstream.answer(request).await,
            (Some(Backend::FastCgi { fastcgi, files }), Target::Files { path }) => {
                match files.find(&path).await? {
                    Found::File(file) => files.answer(&request.head, file).await,
                    Found::Script(script) => fastcgi.answer(request, script).await,
                    Found::DirectoryWithoutSlash => Ok(to_directory(&request)),
                }
            }
            (_, target) => Err(Failure::ours(
                "wiring",
                format!("{target:?} of the wrong site"),
            )),
        }
    }
}

impl Seat<tls::Stream> for realtime::Seat {
    fn open(self, stream: tls::Stream, read_ahead: Bytes) {
        let socket = match stream {
            tls::Stream::Plain(stream) => realtime::Socket::Plain(stream),
            tls::Stream::Tls(stream) => realtime::Socket::Tls(stream),
        };
        self.open(socket, read_ahead);
    }
}

/// Sends the client to the same address with a slash at the end, so that relative links hold.
fn to_directory(request: &Request) -> Response {
    let mut response = http::Response::new(empty());
    *response.status_mut() = match request.head.method {
        Method::GET | Method::HEAD => StatusCode::MOVED_PERMANENTLY,
        _ => StatusCode::PERMANENT_REDIRECT,
    };
    if let Ok(location) = HeaderValue::from_bytes(&with_slash(&request.head.uri)) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

/// The target as the client wrote it with a slash after its path, always below this host: two
/// slashes at the start, or one and a backslash, would name another host to a browser.
fn with_slash(uri: &Uri) -> Vec<u8> {
    let path = uri.path().trim_start_matches(['/', '\\']);
    let mut location = format!("/{}/", path.replace('\\', "%5C"));
    if let Some(query) = uri.path_and_query().and_then(PathAndQuery::query) {
        location.push('?');
        location.push_str(query);
    }
    location.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_redirect_keeps_path_and_query_and_stays_on_this_host() {
        for (target, location) in [
            ("/wp-admin", "/wp-admin/"),
            ("/a%20b?x=1&y=%2F", "/a%20b/?x=1&y=%2F"),
            ("/a?", "/a/?"),
            ("//evil.example/wp-admin", "/evil.example/wp-admin/"),
            ("/\\evil.example", "/evil.example/"),
            ("/a\\b", "/a%5Cb/"),
        ] {
            let uri: Uri = target.parse().unwrap();
            let made = String::from_utf8(with_slash(&uri)).unwrap();
            assert_eq!(made, location, "{target}");
        }
    }
}
