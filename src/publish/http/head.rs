//! The head of a request: where it ends and what it says, as strictly as RFC 9112 lets a server be.
//!
//! Pure. What can't be read for certain is refused: nobody but PHP, curl and our own command
//! writes here, and none of them needs leniency.

use std::{mem::MaybeUninit, ops::Range};

use httparse::{Header, Status};

use crate::publish::{error::Error, headers::Headers, method::Method};

/// Bytes of a head, its empty line included.
pub(in crate::publish) const HEAD_MAX: usize = 64 << 10;

/// Header fields of a head.
pub(in crate::publish) const FIELDS_MAX: usize = 64;

/// Looks for the end of a head in bytes that come bit by bit; reads none of them twice.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    /// Where the line under way begins.
    line: usize,
    /// Up to where was looked.
    seen: usize,
    /// Whether a line that is not empty was there; empty ones before it are passed over.
    begun: bool,
}

/// What a head says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::publish) struct Head {
    /// Bytes up to the body.
    pub(in crate::publish) end: usize,
    /// Bytes of the body.
    pub(super) length: u64,
    pub(super) verb: Verb,
    /// The method of the API that the target names.
    method: Option<Method>,
    /// Whether the peer wants no further reply on this connection.
    pub(super) close: bool,
    /// Whether the peer waits for a 100 before it sends the body.
    pub(super) waits: bool,
    /// Where the values of the signature's headers stand.
    signature: Headers<Range<usize>>,
}

/// The method of HTTP.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verb {
    Post,
    /// Answered with a head alone.
    Head,
    Other,
}

impl Scanner {
    /// Where the head ends, its empty line included; `None` where that is still to come.
    ///
    /// The verdict depends on the bytes alone, never on how they were cut.
    pub(super) fn end(&mut self, bytes: &[u8]) -> Result<Option<usize>, Error> {
        let window = bytes.get(..HEAD_MAX).unwrap_or(bytes);
        while let Some(rest) = window.get(self.seen..)
            && let Some(found) = rest.iter().position(|byte| *byte == b'\n')
        {
            let end = self.seen + found;
            let line = window.get(self.line..end);
            self.seen = end + 1;
            self.line = self.seen;
            match line {
                Some(b"\r") if self.begun => return Ok(Some(self.seen)),
                Some(b"\r") => {}
                Some([.., b'\r']) => self.begun = true,
                _ => return Err(Error::Malformed("a line ends with LF alone")),
            }
        }
        self.seen = window.len();
        if window.len() == HEAD_MAX {
            return Err(Error::HeadTooLarge);
        }
        Ok(None)
    }
}

impl Head {
    /// Reads a whole head.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Error> {
        let mut room = [const { MaybeUninit::uninit() }; FIELDS_MAX];
        let mut request = httparse::Request::new(&mut []);
        match request.parse_with_uninit_headers(bytes, &mut room) {
            Ok(Status::Complete(end)) if end == bytes.len() => {}
            Ok(_) => return Err(Error::Malformed("the head ends in the middle")),
            Err(error) => return Err(unreadable(error)),
        }
        let mut fields = Fields::default();
        for field in request.headers.iter() {
            fields.add(field, bytes)?;
        }
        let verb = match request.method {
            Some("POST") => Verb::Post,
            Some("HEAD") => Verb::Head,
            _ => Verb::Other,
        };
        let old = request.version == Some(0);
        fields.check_host(old)?;
        Ok(Self {
            end: bytes.len(),
            length: fields.body(verb)?,
            verb,
            method: Method::of(path(request.path.unwrap_or_default())),
            close: fields.close || old,
            waits: fields.waits(old)?,
            signature: fields.signature,
        })
    }

    /// What is called.
    pub(in crate::publish) fn call(&self) -> Result<Method, Error> {
        let method = self.method.ok_or(Error::UnknownMethod)?;
        match self.verb {
            Verb::Post => Ok(method),
            Verb::Head | Verb::Other => Err(Error::NotPost),
        }
    }

    /// The signature's headers, out of the bytes that the head was read from.
    pub(super) fn signature<'a>(&self, bytes: &'a [u8]) -> Headers<&'a [u8]> {
        self.signature
            .map(|place| bytes.get(place.clone()).unwrap_or_default())
    }
}

/// The header fields that are heeded.
#[derive(Debug, Default)]
struct Fields {
    hosts: usize,
    length: Option<u64>,
    coded: bool,
    close: bool,
    waits: bool,
    /// Something is expected that is not offered here.
    expects: bool,
    signature: Headers<Range<usize>>,
}

impl Fields {
    fn add(&mut self, field: &Header<'_>, bytes: &[u8]) -> Result<(), Error> {
        let (name, value) = (field.name, field.value);
        let is = |known: &str| known.eq_ignore_ascii_case(name);
        if is("content-length") {
            if self.length.is_some() {
                return Err(Error::Malformed("two Content-Length"));
            }
            self.length = Some(length(value)?);
        } else if is("host") {
            self.hosts += 1;
            if !value.iter().all(is_of_host) {
                return Err(Error::Malformed("Host names no host"));
            }
        } else if is("transfer-encoding") {
            self.coded = true;
        } else if is("connection") {
            let mut options = value.split(|byte| *byte == b',');
            self.close |= options.any(|each| each.trim_ascii().eq_ignore_ascii_case(b"close"));
        } else if is("expect") {
            let known = value.eq_ignore_ascii_case(b"100-continue");
            self.waits |= known;
            self.expects |= !known;
        } else {
            let start = value.as_ptr().addr().wrapping_sub(bytes.as_ptr().addr());
            let place = start..start.saturating_add(value.len());
            self.signature.add(name, place);
        }
        Ok(())
    }

    /// RFC 9112 section 3.2.
    const fn check_host(&self, old: bool) -> Result<(), Error> {
        match self.hosts {
            1 => Ok(()),
            0 if old => Ok(()),
            0 => Err(Error::Malformed("no Host")),
            _ => Err(Error::Malformed("two Host")),
        }
    }

    /// Bytes of the body.
    ///
    /// No transfer coding is read, not even `chunked`: every publisher knows its body's length
    /// beforehand, and RFC 9112 section 6.3 lets a server insist on it with 411, which names the
    /// remedy, as the 501 of section 6.1 would not.
    fn body(&self, verb: Verb) -> Result<u64, Error> {
        match self.length {
            Some(length) if !self.coded => Ok(length),
            None if !self.coded && verb != Verb::Post => Ok(0),
            _ => Err(Error::NoLength),
        }
    }

    /// HTTP/1.0 knows no 100; whoever asks for one there is not heeded.
    const fn waits(&self, old: bool) -> Result<bool, Error> {
        if self.expects {
            return Err(Error::Expectation);
        }
        Ok(self.waits && !old)
    }
}

/// Digits alone: no sign, no list, no space.
fn length(value: &[u8]) -> Result<u64, Error> {
    let digits = value.iter().all(u8::is_ascii_digit);
    let text = std::str::from_utf8(value).ok().filter(|_| digits);
    text.and_then(|text| text.parse().ok())
        .ok_or(Error::Malformed("Content-Length is no number of bytes"))
}

/// What may stand in a host and port; nobody is there, who would heed it.
const fn is_of_host(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.'
                | b'_'
                | b'~'
                | b'%'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
                | b':'
                | b'['
                | b']'
        )
}

/// The path of a target in origin or absolute form, without its query.
fn path(target: &str) -> &str {
    let is_web =
        |scheme: &str| scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    let path = match target.split_once("://") {
        Some((scheme, rest)) if is_web(scheme) => {
            let authority = rest.find(['/', '?']).unwrap_or(rest.len());
            rest.get(authority..).unwrap_or_default()
        }
        _ => target,
    };
    path.split_once('?').map_or(path, |(path, _)| path)
}

const fn unreadable(error: httparse::Error) -> Error {
    Error::Malformed(match error {
        httparse::Error::TooManyHeaders => return Error::HeadTooLarge,
        httparse::Error::HeaderName => "a header field has no name that may be",
        httparse::Error::HeaderValue => "a header field has a value that may not be",
        httparse::Error::Version => "the version is not HTTP/1.1 or 1.0",
        _ => "the request line is none",
    })
}
