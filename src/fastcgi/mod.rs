//! Answers one request through PHP-FPM, as a FastCGI 1.0 client of its own.
//!
//! A connection carries one request: PHP-FPM would give a kept idle one a worker of its own, and
//! connecting anew costs some 40 µs. Which script answers is decided elsewhere; the one named here
//! exists inside the document root.

mod connection;
mod dial;
mod output;
mod params;
mod record;
mod response;
mod sender;
mod spool;
mod stderr;
#[cfg(test)]
mod tests;

use std::{
    ffi::OsStr,
    future::poll_fn,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};

use self::{
    connection::{Connection, Event},
    output::{Output, Remains},
    params::{Location, Params},
    response::{Head, HeadReader, Invalid},
    sender::Sender,
    spool::{Room, Spool},
    stderr::Stderr,
};
use crate::config;
use crate::exchange::{self, Failure, Request, Response, Script};
use crate::shutdown::Tasks;

/// A site's PHP-FPM.
#[derive(Debug)]
pub struct FastCgi {
    config: config::FastCgi,
    /// The document root with links resolved, as it was when last looked up.
    root: ArcSwapOption<PathBuf>,
    /// What temporary files may still hold.
    room: Room,
    tasks: Tasks,
    metrics: Metrics,
}

/// What is counted; clones count together.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    requests: Counter,
    failures: Family<Reason, Counter>,
    stderr_lines: Counter,
}

#[derive(Clone, Debug, Eq, Hash, PartialEq, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

impl Metrics {
    /// Registers the counters of this module.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "fastcgi_requests",
            "Requests meant for PHP-FPM",
            metrics.requests.clone(),
        );
        registry.register(
            "fastcgi_failures",
            "Requests that got no answer of PHP-FPM, or not the whole of it",
            metrics.failures.clone(),
        );
        registry.register(
            "fastcgi_stderr_lines",
            "Lines that PHP wrote to its error stream",
            metrics.stderr_lines.clone(),
        );
        metrics
    }

    fn failed(&self, failure: &Failure) {
        let reason = Reason {
            reason: failure.reason,
        };
        self.failures.get_or_create(&reason).inc();
    }
}

impl FastCgi {
    /// Nothing is opened before a request asks for it. `tasks` is the stage in which output is
    /// read that no response has use for.
    #[must_use]
    pub fn new(config: &config::FastCgi, tasks: Tasks, metrics: Metrics) -> Self {
        Self {
            config: config.clone(),
            root: ArcSwapOption::empty(),
            room: Room::new(config.spool_max.0),
            tasks,
            metrics,
        }
    }

    /// Lets `script` answer `request`.
    ///
    /// The request's body is read to its end first; dropping this future, or the response's body,
    /// closes the connection to PHP.
    ///
    /// # Errors
    ///
    /// 431 when the headers are too long for PHP; 503 when temporary files hold all they may; 502,
    /// 503 and 504 for what PHP-FPM does wrong, each with a reason of its own; whatever [`Failure`] the request's body ends with. The
    /// response's body fails when PHP's output is cut off, so that it never looks whole.
    pub async fn answer(&self, request: Request, script: Script) -> Result<Response, Failure> {
        self.metrics.requests.inc();
        let answer = self.exchange(request, &script).await;
        if let Err(failure) = &answer {
            self.metrics.failed(failure);
        }
        answer
    }

    async fn exchange(&self, request: Request, script: &Script) -> Result<Response, Failure> {
        let Request { head, body, origin } = request;
        let root = self.document_root(script).await?;
        let location = Location {
            root: &root,
            script,
        };
        let params = Params::of(&head, &origin, location)?;
        let body = Spool::read(body, self.config.body_memory_max.as_usize(), &self.room).await?;
        let params = params.finish(body.length())?;
        let halves = dial::dial(&self.config.address, self.config.connect_timeout).await?;
        let mut connection = Connection::new(
            Sender::new(halves.write, &params, body),
            halves.read,
            Stderr::new(origin.id, self.metrics.stderr_lines.clone()),
            self.config.response_timeout,
        );
        let (answer, first) = read_head(&mut connection).await?;
        connection.head_is_complete(self.config.idle_timeout);
        let remains = Remains {
            tasks: self.tasks.clone(),
            limit: self.config.idle_timeout,
            request: origin.id,
        };
        let has_body = head.method != Method::HEAD
            && answer.status != StatusCode::NO_CONTENT
            && answer.status != StatusCode::NOT_MODIFIED;
        let mut response = Response::new(if has_body {
            let metrics = self.metrics.clone();
            Output::new(connection, first, answer.length, remains, metrics).boxed_unsync()
        } else {
            remains.discard(connection);
            exchange::empty()
        });
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        Ok(response)
    }

    /// The document root that PHP is told, so that root and script name make the script's file.
    ///
    /// Where PHP shares our view, this is the root with links resolved: with a root that is a link
    /// to the newest release, one request sees one release, and PHP's opcode cache never mixes two.
    ///
    /// It is looked up again when the script is not below the root that is known: the root leads
    /// elsewhere by now, or a link inside it leads to the script.
    async fn document_root(&self, script: &Script) -> Result<Arc<PathBuf>, Failure> {
        if let Some(root) = &self.config.script_root {
            return Ok(Arc::new(root.clone()));
        }
        if let Some(root) = self.root.load_full()
            && root_of(script) == Some(root.as_path())
        {
            return Ok(root);
        }
        let root = tokio::fs::canonicalize(&self.config.root).await;
        let root = root.map(Arc::new).map_err(|error| {
            let root = self.config.root.display();
            Failure::ours("root_missing", format_args!("{root}: {error}"))
        })?;
        self.root.store(Some(Arc::clone(&root)));
        Ok(root)
    }
}

/// The script's file without its name, where the file is where its name says.
fn root_of(script: &Script) -> Option<&Path> {
    let root = script
        .file
        .as_os_str()
        .as_bytes()
        .strip_suffix(script.name.as_bytes())?;
    Some(Path::new(OsStr::from_bytes(root)))
}

async fn read_head(connection: &mut Connection) -> Result<(Head, Bytes), Failure> {
    let mut reader = HeadReader::default();
    loop {
        match poll_fn(|cx| connection.poll_event(cx)).await? {
            Event::Output(piece) => {
                if let Some(found) = reader.push(&piece).map_err(|error| invalid(&error))? {
                    return Ok(found);
                }
            }
            Event::End => return Err(no_head(&reader)),
        }
    }
}

fn invalid(error: &Invalid) -> Failure {
    Failure::upstream(StatusCode::BAD_GATEWAY, "fastcgi_invalid_header", error)
}

fn no_head(reader: &HeadReader) -> Failure {
    let (reason, detail) = match reader.is_empty() {
        true => ("fastcgi_empty", "PHP ended the request without any output"),
        false => (
            "fastcgi_invalid_header",
            "PHP ended the request inside the header block",
        ),
    };
    Failure::upstream(StatusCode::BAD_GATEWAY, reason, detail)
}
