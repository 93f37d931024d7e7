//! The document root beside PHP-FPM: which file or script a path means, and files as answers.
//!
//! It runs no script and knows nothing of FastCGI. Files are served with validators and single
//! ranges; they are not compressed.

mod blocks;
mod conditional;
mod find;
mod media_type;
mod range;
mod root;
#[cfg(test)]
mod tests;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use http::{HeaderMap, HeaderValue, Method, StatusCode, header, request};
use http_body_util::BodyExt;
use tokio::task::spawn_blocking;

use self::{
    blocks::{BLOCK, Blocks},
    conditional::{Validators, Verdict},
    range::Range,
    root::Root,
};
use crate::config;
use crate::exchange::{self, Body, Failure, Response, Script};

/// A site's document root.
#[derive(Clone, Debug)]
pub struct StaticFiles {
    root: Arc<Root>,
}

/// Why a document root cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A root is gone, or may not be entered.
    #[error("{}: the document root, or an extra root, cannot be resolved", path.display())]
    Root {
        /// The root as configured.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Where an opened file is cannot be told, so nothing could be served safely.
    #[error("/proc/self/fd does not show where files are; mount /proc")]
    Proc(#[source] io::Error),
}

/// What a path means.
#[derive(Debug)]
pub enum Found {
    /// A file to be sent with [`StaticFiles::answer`].
    File(File),
    /// A script for PHP: the one that the path names, or the site's front page.
    Script(Script),
    /// A directory with an index whose path lacks the slash at its end; [`add_slash`] sends the
    /// client there.
    DirectoryWithoutSlash,
}

/// An open file inside the root. It is opened once: what was checked is what is sent.
#[derive(Debug)]
pub struct File {
    file: Arc<fs::File>,
    length: u64,
    modified: SystemTime,
    media_type: Option<&'static str>,
}

impl StaticFiles {
    /// Resolves the root, so that a fault shows at the start.
    ///
    /// # Errors
    ///
    /// When a root, or `/proc`, is not there.
    pub fn new(config: &config::FastCgi) -> Result<Self, Error> {
        let root = Arc::new(Root::new(config)?);
        Ok(Self { root })
    }

    /// What `path` means: decoded once, normalised, beginning with a slash, without dot segments
    /// and NUL.
    ///
    /// # Errors
    ///
    /// 404 for dotfiles, for what is outside the root, and where not even `/index.php` is there;
    /// 403 for what our user may not read.
    pub async fn find(&self, path: &[u8]) -> Result<Found, Failure> {
        let (root, path) = (Arc::clone(&self.root), path.to_vec());
        let found = spawn_blocking(move || find::find(&root, &path)).await;
        found.map_err(|error| Failure::ours("file_unreadable", error))?
    }

    /// Sends `file`, or what of it is asked for.
    ///
    /// # Errors
    ///
    /// 500 when it cannot be read. A file that becomes shorter while it is sent fails the body.
    pub async fn answer(&self, head: &request::Parts, file: File) -> Result<Response, Failure> {
        if head.method != Method::GET && head.method != Method::HEAD {
            return Ok(not_allowed());
        }
        let validators = Validators::new(file.modified, file.length, SystemTime::now());
        let mut response = Response::new(exchange::empty());
        describe(response.headers_mut(), &file, &validators);
        match validators.verdict(&head.headers) {
            Verdict::Proceed => {}
            Verdict::NotModified => {
                response.headers_mut().remove(header::CONTENT_TYPE);
                *response.status_mut() = StatusCode::NOT_MODIFIED;
                return Ok(response);
            }
            Verdict::Failed => return Ok(bare(StatusCode::PRECONDITION_FAILED)),
        }
        let (offset, length) = match asked(head, &file, &validators) {
            Range::Whole => (0, file.length),
            Range::Part { first, last } => {
                *response.status_mut() = StatusCode::PARTIAL_CONTENT;
                let range = format!("bytes {first}-{last}/{}", file.length);
                insert(response.headers_mut(), header::CONTENT_RANGE, range);
                (first, last - first + 1)
            }
            Range::Unsatisfiable => {
                let mut response = bare(StatusCode::RANGE_NOT_SATISFIABLE);
                let range = format!("bytes */{}", file.length);
                insert(response.headers_mut(), header::CONTENT_RANGE, range);
                return Ok(response);
            }
        };
        response
            .headers_mut()
            .insert(header::CONTENT_LENGTH, length.into());
        if head.method == Method::GET {
            *response.body_mut() = read(file, offset, length).await?;
        }
        Ok(response)
    }
}

impl File {
    fn new(file: fs::File, path: &Path, name: &[u8]) -> Result<Self, Failure> {
        let state = file
            .metadata()
            .and_then(|state| Ok((state.len(), state.modified()?)));
        let (length, modified) = state.map_err(|error| {
            Failure::ours(
                "file_unreadable",
                format_args!("{}: {error}", path.display()),
            )
        })?;
        Ok(Self {
            file: Arc::new(file),
            length,
            modified,
            media_type: media_type::of(name),
        })
    }
}

/// Sends the client to the same address with a slash at the end of its path, so that relative
/// links hold: the answer to [`Found::DirectoryWithoutSlash`].
///
/// The target stays as the client wrote it, query included, and always below this host: two
/// slashes at the start, or one and a backslash, would name another host to a browser.
#[must_use]
pub fn add_slash(head: &request::Parts) -> Response {
    let path = head.uri.path().trim_start_matches(['/', '\\']);
    let mut location = format!("/{}/", path.replace('\\', "%5C"));
    if let Some(query) = head.uri.query() {
        location.push('?');
        location.push_str(query);
    }
    let mut response = bare(match head.method {
        Method::GET | Method::HEAD => StatusCode::MOVED_PERMANENTLY,
        // Keeps the method and the body.
        _ => StatusCode::PERMANENT_REDIRECT,
    });
    insert(response.headers_mut(), header::LOCATION, location);
    response
}

/// A file of one block is read before its head is sent, so that a fault of the disk shows; a
/// larger one as it is sent.
async fn read(file: File, offset: u64, length: u64) -> Result<Body, Failure> {
    if length > BLOCK {
        return Ok(Blocks::new(file.file, offset, length).boxed_unsync());
    }
    if length == 0 {
        return Ok(exchange::empty());
    }
    let block = spawn_blocking(move || blocks::read(&file.file, offset, length)).await;
    match block.map_err(io::Error::from).flatten() {
        Ok(block) => Ok(exchange::full(block)),
        Err(error) => Err(Failure::ours("file_unreadable", error)),
    }
}

fn asked(head: &request::Parts, file: &File, validators: &Validators) -> Range {
    match head.headers.get(header::RANGE) {
        // RFC 9110 14.2: a range is for GET alone.
        Some(value) if head.method == Method::GET && validators.same_for_range(&head.headers) => {
            Range::of(value, file.length)
        }
        _ => Range::Whole,
    }
}

fn describe(headers: &mut HeaderMap, file: &File, validators: &Validators) {
    if let Some(media_type) = file.media_type {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    }
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    insert(headers, header::ETAG, validators.etag.clone());
    if let Some(modified) = validators.modified {
        insert(
            headers,
            header::LAST_MODIFIED,
            httpdate::fmt_http_date(modified),
        );
    }
}

/// Only for values that we made of numbers, dates and a target that was checked as a URI.
fn insert(headers: &mut HeaderMap, name: header::HeaderName, value: String) {
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}

fn not_allowed() -> Response {
    let mut response = bare(StatusCode::METHOD_NOT_ALLOWED);
    let methods = HeaderValue::from_static("GET, HEAD");
    response.headers_mut().insert(header::ALLOW, methods);
    response
}

fn bare(status: StatusCode) -> Response {
    let mut response = Response::new(exchange::empty());
    *response.status_mut() = status;
    response
}
