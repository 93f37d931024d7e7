//! A request → the CGI variables that PHP finds in `$_SERVER`.
//!
//! Names come from the list below or are `HTTP_` and a header's name; nothing that a client sends
//! can become any other, so `PHP_VALUE` and its like are out of reach.

use std::{net::IpAddr, os::unix::ffi::OsStrExt, path::Path};

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, StatusCode, Version, header, request};

use super::record;
use crate::exchange::{Failure, Origin, Scheme, Script};

/// The most that all names and values take together: PHP-FPM resets the connection on far more,
/// and the client had better hear why.
const TOTAL_MAX: usize = 64 << 10;

const SOFTWARE: &str = concat!("sidewire/", env!("CARGO_PKG_VERSION"));

/// Where PHP finds the script.
#[derive(Clone, Copy, Debug)]
pub(super) struct Location<'a> {
    /// The document root as PHP sees it.
    pub(super) root: &'a Path,
    pub(super) script: &'a Script,
}

/// Name-value pairs, encoded as they are pushed (§3.4).
///
/// PHP reads every PARAMS record by itself, so a pair never crosses from one into the next.
#[derive(Debug, Default)]
pub(super) struct Params {
    records: BytesMut,
    open: BytesMut,
    total: usize,
}

impl Params {
    /// All variables but `CONTENT_LENGTH`, which is known once the body has been read.
    ///
    /// # Errors
    ///
    /// 431 when they are too long together. The body has not been asked for by then.
    pub(super) fn of(
        head: &request::Parts,
        origin: &Origin,
        location: Location<'_>,
    ) -> Result<Self, Failure> {
        let mut params = Self::default();
        params.push_script(location)?;
        params.push_request(head)?;
        params.push_origin(origin)?;
        params.push_headers(&head.headers)?;
        Ok(params)
    }

    /// `CONTENT_LENGTH` and the end: the PARAMS records, the empty one included.
    pub(super) fn finish(mut self, content_length: u64) -> Result<Bytes, Failure> {
        // RFC 3875 4.1.2: no number when there is no body.
        let length = match content_length {
            0 => String::new(),
            length => length.to_string(),
        };
        self.push("CONTENT_LENGTH", length)?;
        record::push(&mut self.records, record::PARAMS, &self.open);
        record::push(&mut self.records, record::PARAMS, &[]);
        Ok(self.records.freeze())
    }

    fn push_script(&mut self, Location { root, script }: Location<'_>) -> Result<(), Failure> {
        let root = root.as_os_str().as_bytes();
        let root = root.strip_suffix(b"/").unwrap_or(root);
        let below = |path: &str| [root, path.as_bytes()].concat();
        self.push("SCRIPT_FILENAME", below(&script.name))?;
        self.push("SCRIPT_NAME", &script.name)?;
        self.push("DOCUMENT_URI", &script.name)?;
        self.push("DOCUMENT_ROOT", if root.is_empty() { b"/" } else { root })?;
        if !script.path_info.is_empty() {
            self.push("PATH_INFO", &script.path_info)?;
            self.push("PATH_TRANSLATED", below(&script.path_info))?;
        }
        Ok(())
    }

    fn push_request(&mut self, head: &request::Parts) -> Result<(), Failure> {
        let target = head
            .uri
            .path_and_query()
            .map_or("/", |target| target.as_str());
        let content_type = head.headers.get(header::CONTENT_TYPE);
        self.push("GATEWAY_INTERFACE", "CGI/1.1")?;
        self.push("SERVER_SOFTWARE", SOFTWARE)?;
        // What PHP asks for where it was built to run behind a redirect only.
        self.push("REDIRECT_STATUS", "200")?;
        self.push("REQUEST_METHOD", head.method.as_str())?;
        self.push("REQUEST_URI", target)?;
        self.push("QUERY_STRING", head.uri.query().unwrap_or_default())?;
        self.push("SERVER_PROTOCOL", protocol(head.version))?;
        self.push(
            "CONTENT_TYPE",
            content_type.map_or(&b""[..], |v| v.as_bytes()),
        )
    }

    fn push_origin(&mut self, origin: &Origin) -> Result<(), Failure> {
        let address = |ip: IpAddr| ip.to_canonical().to_string();
        self.push("REMOTE_ADDR", address(origin.client.ip()))?;
        // A client that a trusted proxy names has no port.
        if origin.client.port() != 0 {
            self.push("REMOTE_PORT", origin.client.port().to_string())?;
        }
        self.push("SERVER_ADDR", address(origin.local.ip()))?;
        self.push("SERVER_NAME", &origin.host)?;
        self.push("SERVER_PORT", origin.public_port().to_string())?;
        self.push("REQUEST_SCHEME", origin.scheme.as_str())?;
        // Absent, not "off": WordPress takes any value but "on" and "1" for plain HTTP, and an
        // absent one for a reason to look at the port.
        if origin.scheme == Scheme::Https {
            self.push("HTTPS", "on")?;
        }
        self.push("HTTP_HOST", origin.authority())
    }

    fn push_headers(&mut self, headers: &HeaderMap) -> Result<(), Failure> {
        for name in headers.keys().filter(|name| passes(name)) {
            let variable = format!(
                "HTTP_{}",
                name.as_str().to_ascii_uppercase().replace('-', "_")
            );
            // RFC 9113 8.2.3: HTTP/2 may send a cookie in several lines.
            let separator = if name == header::COOKIE { "; " } else { ", " };
            let lines: Vec<&[u8]> = headers.get_all(name).iter().map(|v| v.as_bytes()).collect();
            self.push(&variable, lines.join(separator.as_bytes()))?;
        }
        Ok(())
    }

    fn push(&mut self, name: &str, value: impl AsRef<[u8]>) -> Result<(), Failure> {
        let value = value.as_ref();
        let length = length_size(name.len()) + length_size(value.len()) + name.len() + value.len();
        self.total += length;
        if self.total > TOTAL_MAX || length > record::CONTENT_MAX {
            return Err(Failure::client(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "params_too_large",
                format_args!("{name}: the CGI variables take more than {TOTAL_MAX} bytes"),
            ));
        }
        if self.open.len() + length > record::CONTENT_MAX {
            record::push(&mut self.records, record::PARAMS, &self.open);
            self.open.clear();
        }
        put_length(&mut self.open, name.len());
        put_length(&mut self.open, value.len());
        self.open.put_slice(name.as_bytes());
        self.open.put_slice(value);
        Ok(())
    }
}

/// Whether a header becomes a variable. `Content-*` have names of their own, `Host` was set from
/// what was checked, and `Proxy` would be taken for an outgoing proxy by PHP programs. A name with
/// an underscore or a dot would be one variable with a header of another name.
fn passes(name: &HeaderName) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    !matches!(
        name.as_str(),
        "content-type" | "content-length" | "host" | "proxy" | "transfer-encoding"
    ) && name.as_str().bytes().all(plain)
}

/// WordPress knows these spellings, and answers as HTTP/1.0 to any other.
fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_09 | Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        _ => "HTTP/1.1",
    }
}

const fn length_size(length: usize) -> usize {
    if length < 128 { 1 } else { 4 }
}

/// Lengths below 128 take one byte, others four with the highest bit set (§3.4). Called with
/// lengths below [`TOTAL_MAX`] only.
fn put_length(into: &mut BytesMut, length: usize) {
    match length_size(length) {
        1 => into.put_u8(length as u8),
        _ => into.put_u32(length as u32 | 1 << 31),
    }
}
