//! The CGI header block that PHP's output begins with → status and headers.
//!
//! Pure bytes: no socket, no body. What is refused here is never repaired: a response whose head
//! cannot be trusted becomes a 502.

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

/// The longest header block.
const LENGTH_MAX: usize = 64 << 10;

/// The head of a response.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// The length that PHP promised.
    pub(super) length: Option<u64>,
}

/// Why a header block is none.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Invalid {
    #[error("the header block is longer than {LENGTH_MAX} bytes")]
    TooLong,
    #[error("the header line {0:?} has no name, or has characters that no header may have")]
    Line(String),
    #[error("the status {0:?} is not a number from 200 to 599")]
    Status(String),
    #[error("the content length {0:?} is no number, or not the only one")]
    Length(String),
}

/// Collects output until the head is complete.
#[derive(Debug, Default)]
pub(super) struct HeadReader {
    block: BytesMut,
    /// Bytes that hold no end of the block.
    searched: usize,
}

impl HeadReader {
    /// Whether any output has come.
    pub(super) fn is_empty(&self) -> bool {
        self.block.is_empty()
    }

    /// Takes a piece of output; gives the head once it is complete, with what follows it.
    pub(super) fn push(&mut self, piece: &[u8]) -> Result<Option<(Head, Bytes)>, Invalid> {
        self.block.extend_from_slice(piece);
        let Some(end) = end_of_block(&self.block, self.searched) else {
            self.searched = self.block.len().saturating_sub(2);
            return match self.block.len() > LENGTH_MAX {
                true => Err(Invalid::TooLong),
                false => Ok(None),
            };
        };
        if end > LENGTH_MAX {
            return Err(Invalid::TooLong);
        }
        let block = self.block.split_to(end);
        let rest = self.block.split().freeze();
        Ok(Some((parse(&block)?, rest)))
    }
}

/// Where the empty line ends: lines end in LF or in CR LF.
fn end_of_block(block: &[u8], from: usize) -> Option<usize> {
    if from == 0 {
        match block {
            [b'\n', ..] => return Some(1),
            [b'\r', b'\n', ..] => return Some(2),
            _ => {}
        }
    }
    let tail = block.get(from..)?;
    tail.iter().enumerate().find_map(|(at, &byte)| {
        let after = tail.get(at + 1..)?;
        match (byte, after) {
            (b'\n', [b'\n', ..]) => Some(from + at + 2),
            (b'\n', [b'\r', b'\n', ..]) => Some(from + at + 3),
            _ => None,
        }
    })
}

fn parse(block: &[u8]) -> Result<Head, Invalid> {
    let mut headers = HeaderMap::new();
    let mut status = None;
    for line in block.split(|&byte| byte == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        let (name, value) = field(line).ok_or_else(|| Invalid::Line(shown(line)))?;
        if name == "status" {
            status = Some(parse_status(value.as_bytes())?);
        } else if headers.try_append(name, value).is_err() {
            return Err(Invalid::TooLong);
        }
    }
    let length = content_length(&headers)?;
    strip(&mut headers);
    let status = match status {
        Some(status) => status,
        // RFC 3875 6.2.3
        None if headers.contains_key(header::LOCATION) => StatusCode::FOUND,
        None => StatusCode::OK,
    };
    headers.remove(header::CONTENT_LENGTH);
    // RFC 9110 8.6: none in a 204.
    let length = length.filter(|_| status != StatusCode::NO_CONTENT);
    if let Some(length) = length {
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
    Ok(Head {
        status,
        headers,
        length,
    })
}

fn field(line: &[u8]) -> Option<(HeaderName, HeaderValue)> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    let (name, value) = line.split_at_checked(colon)?;
    let value = value.strip_prefix(b":")?.trim_ascii();
    Some((
        HeaderName::from_bytes(name).ok()?,
        HeaderValue::from_bytes(value).ok()?,
    ))
}

/// Reads `404 Not Found`, or `404` alone.
fn parse_status(value: &[u8]) -> Result<StatusCode, Invalid> {
    let (code, reason) = value.split_at_checked(3).unwrap_or((value, b""));
    match StatusCode::from_bytes(code) {
        Ok(status)
            if (200..600).contains(&status.as_u16()) && matches!(reason, [] | [b' ', ..]) =>
        {
            Ok(status)
        }
        _ => Err(Invalid::Status(shown(value))),
    }
}

/// The one length that all `Content-Length` lines agree on. With a `Transfer-Encoding` none can be
/// believed (RFC 9112 6.3).
fn content_length(headers: &HeaderMap) -> Result<Option<u64>, Invalid> {
    if headers.contains_key(header::TRANSFER_ENCODING) {
        return Ok(None);
    }
    let mut length = None;
    for value in headers.get_all(header::CONTENT_LENGTH) {
        let digits = value
            .to_str()
            .ok()
            .filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
        let number = digits.and_then(|text| text.parse::<u64>().ok());
        if number.is_none() || length.is_some_and(|known| Some(known) != number) {
            return Err(Invalid::Length(shown(value.as_bytes())));
        }
        length = number;
    }
    Ok(length)
}

/// Removes what is meant for the server in front of PHP and not for the client: fields of the
/// connection (RFC 9110 7.6.1), those that `Connection` names, and nginx's and others' commands.
fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .filter_map(|name| HeaderName::from_bytes(name.trim_ascii()).ok())
        .collect();
    let stopped: Vec<HeaderName> = headers
        .keys()
        .filter(|name| stops_here(name.as_str()) || (named.contains(name) && !is_ours(name)))
        .cloned()
        .collect();
    for name in stopped {
        headers.remove(name);
    }
}

/// Fields that a `Connection` line cannot take away from a response.
fn is_ours(name: &HeaderName) -> bool {
    matches!(
        name.as_str(),
        "content-length" | "content-type" | "location" | "set-cookie" | "cache-control"
    )
}

fn stops_here(name: &str) -> bool {
    matches!(
        name,
        "connection"
            | "keep-alive"
            | "proxy-connection"
            | "proxy-authenticate"
            | "proxy-authorization"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "x-lighttpd-send-file"
    ) || name.starts_with("x-accel-")
        || name.starts_with("x-sendfile")
}

fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.get(..80).unwrap_or(bytes)).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(block: &str) -> Result<Head, Invalid> {
        let head = HeadReader::default().push(block.as_bytes())?;
        Ok(head.expect("the block is complete").0)
    }

    #[test]
    fn status_is_taken_from_status_then_location_then_is_200() {
        for (block, status) in [
            ("Status: 404 Not Found\r\nX: y\r\n\r\n", 404),
            ("status:503\n\n", 503),
            ("Location: /wp-login.php\r\n\r\n", 302),
            (
                "Status: 301 Moved\r\nLocation: https://a.test/\r\n\r\n",
                301,
            ),
            ("Content-type: text/html\r\n\r\n", 200),
            ("\r\n", 200),
        ] {
            assert_eq!(read(block).unwrap().status, status, "{block:?}");
        }
    }

    #[test]
    fn blocks_that_no_client_should_see_are_refused() {
        for block in [
            "Status: 103 Early Hints\r\n\r\n",
            "Status: 600 No\r\n\r\n",
            "Status: 2000\r\n\r\n",
            "Status: OK\r\n\r\n",
            "Status:\r\n\r\n",
            "no colon\r\n\r\n",
            "X : space before the colon\r\n\r\n",
            ": no name\r\n\r\n",
            "X: a\r\n folded\r\n\r\n",
            "X: a\rSet-Cookie: b\r\n\r\n",
            "X: a\0b\r\n\r\n",
            "Content-Length: 5\r\nContent-Length: 6\r\n\r\n",
            "Content-Length: -1\r\n\r\n",
            "Content-Length: +1\r\n\r\n",
            "Content-Length: 5, 5\r\n\r\n",
            "Content-Length: 99999999999999999999\r\n\r\n",
        ] {
            assert!(read(block).is_err(), "{block:?}");
        }
    }

    #[test]
    fn a_head_in_single_bytes_is_read_like_a_whole_one() {
        for block in ["A: b\r\nC: d\r\n\r\n", "A: b\nC: d\n\n", "A: b\nC: d\n\r\n"] {
            let mut reader = HeadReader::default();
            let (last, first) = block.as_bytes().split_last().unwrap();
            for byte in first {
                assert!(reader.push(&[*byte]).unwrap().is_none(), "{block:?}");
            }
            let (head, rest) = reader.push(&[*last, b'!']).unwrap().unwrap();
            assert_eq!(head.headers.len(), 2, "{block:?}");
            assert_eq!(rest, "!");
        }
    }

    #[test]
    fn a_block_is_refused_once_it_is_too_long_complete_or_not() {
        let mut reader = HeadReader::default();
        let piece = [b'x'; 1_024];
        for _ in 0..64 {
            assert!(reader.push(&piece).unwrap().is_none());
        }
        assert_eq!(reader.push(&piece).unwrap_err(), Invalid::TooLong);
        let whole = format!("X: {}\r\n\r\n", "x".repeat(LENGTH_MAX));
        assert_eq!(read(&whole).unwrap_err(), Invalid::TooLong);
        let fits = format!("X: {}\r\n\r\n", "x".repeat(LENGTH_MAX - 7));
        assert!(read(&fits).is_ok());
    }

    #[test]
    fn only_fields_for_the_client_are_left() {
        let head = read(
            "Connection: close, X-Private, Set-Cookie\r\nX-Private: 1\r\nKeep-Alive: 5\r\n\
             Transfer-Encoding: chunked\r\nContent-Length: 3\r\nUpgrade: h2c\r\nTrailer: X\r\n\
             X-Accel-Redirect: /etc/passwd\r\nX-Accel-Buffering: no\r\nX-Sendfile: /etc/passwd\r\n\
             Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nStatus: 200 OK\r\nX-Robots-Tag: noindex\r\n\r\n",
        );
        let head = head.unwrap();
        let mut names: Vec<_> = head.headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["set-cookie", "x-robots-tag"]);
        assert_eq!(head.headers.get_all("set-cookie").iter().count(), 2);
        assert_eq!(head.length, None);
    }

    #[test]
    fn equal_lengths_become_one_and_a_204_has_none() {
        let head = read("Content-Length: 5\r\nContent-Length: 05\r\n\r\n").unwrap();
        assert_eq!(head.length, Some(5));
        assert_eq!(head.headers.get_all("content-length").iter().count(), 1);
        let head = read("Status: 204\r\nContent-Length: 5\r\n\r\n").unwrap();
        assert_eq!(head.length, None);
        assert!(!head.headers.contains_key("content-length"));
    }
}
