//! The words that `front` and the back ends share: request, response, body, failure.
//!
//! Types only: nothing here reads a socket, chooses a back end or writes a page.

use std::{error::Error as StdError, fmt, net::SocketAddr, path::PathBuf};

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, Empty, Full, combinators::UnsyncBoxBody};

/// Why a body ended early. Whoever reads it must end its own side unclean, so that a cut body
/// never looks whole.
pub type BodyError = Box<dyn StdError + Send + Sync>;

/// The bytes of a request or a response, streamed.
pub type Body = UnsyncBoxBody<Bytes, BodyError>;

/// What a back end answers.
pub type Response = http::Response<Body>;

/// One admitted request: its head was checked, its identity headers were replaced.
#[derive(Debug)]
pub struct Request {
    /// Method, target and headers. The target is in origin form, as the client wrote it; hop-by-hop
    /// headers, `Host`, `Content-Length` and `Transfer-Encoding` are gone.
    pub head: http::request::Parts,
    /// The body; its exact length, where known, is its size hint.
    pub body: Body,
    /// Who asks, and for which site.
    pub origin: Origin,
}

/// Who sent a request, and what they call us.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Origin {
    /// The client: the peer, or whom a trusted peer names.
    pub client: SocketAddr,
    /// The address that the connection arrived at.
    pub local: SocketAddr,
    /// `https`, or `http` on a plain listener whose peer is not a trusted TLS front.
    pub scheme: Scheme,
    /// The host as asked for, checked and in lower case, without the port.
    pub host: String,
    /// The port as asked for, when the client named one.
    pub port: Option<u16>,
    /// A name for this request in every log.
    pub id: RequestId,
}

/// The scheme that the client sees.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// With TLS, here or at a trusted front.
    Https,
}

/// 128 random bits, shown as 32 hex digits.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub struct RequestId(pub u128);

impl Scheme {
    /// The scheme as in a URL.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    /// The port that a URL of this scheme leaves out.
    #[must_use]
    pub const fn default_port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

impl Origin {
    /// `host` or `host:port`, exactly as far as the client named the port: WordPress compares it
    /// with its own address, port included.
    #[must_use]
    pub fn authority(&self) -> String {
        match self.port {
            Some(port) => format!("{}:{port}", self.host),
            None => self.host.clone(),
        }
    }

    /// The port of the public address.
    #[must_use]
    pub fn public_port(&self) -> u16 {
        self.port.unwrap_or_else(|| self.scheme.default_port())
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A PHP script that exists inside the document root, and what of the path is left for it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Script {
    /// The file, links resolved.
    pub file: PathBuf,
    /// Its path below the document root, as in a URL: `/index.php`. Always begins with a slash.
    pub name: String,
    /// The decoded rest of the path, such as `/2026/11`; empty when there is none.
    pub path_info: String,
}

/// Whose fault a failure is; it decides the level of the log line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Blame {
    /// The client sent something wrong, or went away: debug.
    Client,
    /// The back end failed: warn.
    Upstream,
    /// We did: error.
    Ours,
}

/// A request that gets no answer of its back end. `front` turns it into a response.
#[derive(Debug, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct Failure {
    /// What the client is told; nothing else of this reaches it.
    pub status: StatusCode,
    /// Whose fault it is.
    pub blame: Blame,
    /// A fixed word for the counter and the log, such as `upstream_refused`.
    pub reason: &'static str,
    /// What happened, for the log only: addresses, paths and causes may stand here.
    pub detail: String,
}

impl Failure {
    /// The client's fault.
    #[must_use]
    pub fn client(status: StatusCode, reason: &'static str, detail: impl fmt::Display) -> Self {
        Self::new(Blame::Client, status, reason, detail)
    }

    /// The back end's fault.
    #[must_use]
    pub fn upstream(status: StatusCode, reason: &'static str, detail: impl fmt::Display) -> Self {
        Self::new(Blame::Upstream, status, reason, detail)
    }

    /// Our fault: 500.
    #[must_use]
    pub fn ours(reason: &'static str, detail: impl fmt::Display) -> Self {
        Self::new(
            Blame::Ours,
            StatusCode::INTERNAL_SERVER_ERROR,
            reason,
            detail,
        )
    }

    fn new(
        blame: Blame,
        status: StatusCode,
        reason: &'static str,
        detail: impl fmt::Display,
    ) -> Self {
        Self {
            status,
            blame,
            reason,
            detail: detail.to_string(),
        }
    }
}

/// A body of no bytes.
#[must_use]
pub fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A body of bytes that are at hand.
#[must_use]
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into())
        .map_err(|never| match never {})
        .boxed_unsync()
}
