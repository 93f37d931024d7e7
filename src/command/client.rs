//! One HTTP/1.1 request over a Unix socket, under deadlines.
//!
//! It knows no path and no meaning of an answer.

use std::{io, path::Path, pin::pin, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{net::UnixStream, time::timeout};

use super::{CANNOT, Failed};

/// For the socket to take the connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// For the whole answer.
pub(super) const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// More than any answer of ours has.
const ANSWER_MAX: usize = 256 << 20;

/// A socket of the configuration.
#[derive(Clone, Copy, Debug)]
pub(super) struct Socket<'a> {
    pub(super) path: &'a Path,
    /// The key that names it, and the file in which that stands.
    pub(super) key: &'static str,
    pub(super) file: &'a Path,
}

/// What was answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

impl Answer {
    pub(super) fn json(&self) -> Option<serde_json::Value> {
        serde_json::from_slice(&self.body).ok()
    }
}

impl Socket<'_> {
    /// A GET or POST of `path` without a body.
    pub(super) async fn ask(
        self,
        method: &str,
        path: &str,
        reply_timeout: Duration,
    ) -> Result<Answer, Failed> {
        let request = Request::builder().method(method).uri(path);
        let request = request.body(Full::default());
        let request = request.map_err(|error| self.failed(&error.to_string()))?;
        self.exchange(request, reply_timeout).await
    }

    /// Sends `request` and waits for the answer.
    pub(super) async fn exchange(
        self,
        mut request: Request<Full<Bytes>>,
        reply_timeout: Duration,
    ) -> Result<Answer, Failed> {
        let host = http::HeaderValue::from_static("sidewire");
        request.headers_mut().insert(http::header::HOST, host);
        let stream = match timeout(CONNECT_TIMEOUT, UnixStream::connect(self.path)).await {
            Ok(connected) => connected.map_err(|error| self.not_connected(&error))?,
            Err(_) => {
                let seconds = CONNECT_TIMEOUT.as_secs();
                return Err(self.failed(&format!("took no connection within {seconds} s")));
            }
        };
        match timeout(reply_timeout, exchange(stream, request)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(self.failed(&format!("gave no answer: {error}"))),
            Err(_) => {
                let seconds = reply_timeout.as_secs();
                let remedy = "is the machine overloaded? `journalctl -u sidewire` may tell";
                Err(self.failed(&format!("gave no answer within {seconds} s; {remedy}")))
            }
        }
    }

    fn failed(self, what: &str) -> Failed {
        let path = self.path.display();
        (CANNOT, format!("sidewire: socket {path} {what}"))
    }

    fn not_connected(self, error: &io::Error) -> Failed {
        let (key, file) = (self.key, self.file.display());
        let path = self.path.display();
        let what = match error.kind() {
            io::ErrorKind::NotFound => format!(
                "is not there (`{key}` in {file}): sidewire is not running, or runs with another \
                 configuration; `systemctl status sidewire` tells, --config FILE names another"
            ),
            io::ErrorKind::ConnectionRefused => {
                "is there and nobody listens on it: sidewire has ended; \
                 start it: `systemctl start sidewire`"
                    .to_owned()
            }
            io::ErrorKind::PermissionDenied => format!(
                "may not be opened by this user; \
                 be root or a member of its group: `ls -l {path}` shows it"
            ),
            _ => format!("cannot be connected to (`{key}` in {file}): {error}"),
        };
        self.failed(&what)
    }
}

async fn exchange(
    stream: UnixStream,
    request: Request<Full<Bytes>>,
) -> Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let answer = async move {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), ANSWER_MAX);
        let body = body.collect().await?.to_bytes();
        Ok(Answer { status, body })
    };
    let (mut answer, mut connection) = (pin!(answer), pin!(connection));
    let mut is_open = true;
    loop {
        tokio::select! {
            answer = &mut answer => return answer,
            // Whatever ended it, the answer knows.
            _ = &mut connection, if is_open => is_open = false,
        }
    }
}
