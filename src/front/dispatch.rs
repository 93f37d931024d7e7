//! Route → the back end that answers.
//!
//! It knows which of them there are; how each answers is its own affair.

use std::future::Future;

use bytes::Bytes;

use crate::{
    exchange::{Failure, Request, Response},
    fastcgi::FastCgi,
    realtime::{self, Realtime},
    router::{Route, Target},
    static_files::{self, Found, StaticFiles},
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
                    Found::DirectoryWithoutSlash => Ok(static_files::add_slash(&request.head)),
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
