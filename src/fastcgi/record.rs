//! The records that FastCGI is made of: eight bytes of header, content, padding.
//!
//! Pure bytes: this file opens no socket and knows no HTTP. Sections named here are those of the
//! FastCGI 1.0 specification.

use bytes::{BufMut, BytesMut};

/// Length of a record's header on the wire (§3.3).
pub(super) const HEADER_LEN: usize = 8;

/// The longest content we send: the largest length of 16 bits that needs no padding. PHP counts
/// the padding too, and refuses more than 65,531 bytes.
pub(super) const CONTENT_MAX: usize = 65_528;

/// The one request of a connection. Connections are never shared, so it has no other name.
const REQUEST_ID: u16 = 1;

const VERSION: u8 = 1;
const RESPONDER: u16 = 1;

/// The record types that matter to a client (§8).
pub(super) const BEGIN_REQUEST: u8 = 1;
pub(super) const END_REQUEST: u8 = 3;
pub(super) const PARAMS: u8 = 4;
pub(super) const STDIN: u8 = 5;
pub(super) const STDOUT: u8 = 6;
pub(super) const STDERR: u8 = 7;

/// What a record carries and how long it is; always of protocol version 1 and of our request, or
/// of none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Header {
    /// The type as sent. A record that belongs to no request (§3.3: id 0) has 0 here, which is no
    /// type: the reader skips it as it skips any that it does not know.
    pub(super) kind: u8,
    pub(super) content: usize,
    pub(super) padding: usize,
}

/// Why eight bytes are no header: the two sides have lost step, and nothing that follows can be
/// trusted.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(super) enum Error {
    #[error("a record of FastCGI version {0}, expected 1")]
    Version(u8),
    #[error("a record for request {0}, but this connection carries request 1 alone")]
    Request(u16),
}

impl Header {
    pub(super) fn parse(bytes: [u8; HEADER_LEN]) -> Result<Self, Error> {
        let [version, kind, id_1, id_0, len_1, len_0, padding, _reserved] = bytes;
        if version != VERSION {
            return Err(Error::Version(version));
        }
        let kind = match u16::from_be_bytes([id_1, id_0]) {
            REQUEST_ID => kind,
            0 => 0,
            other => return Err(Error::Request(other)),
        };
        Ok(Self {
            kind,
            content: usize::from(u16::from_be_bytes([len_1, len_0])),
            padding: usize::from(padding),
        })
    }
}

/// Appends the record that opens the request: role responder, connection closed after it (§5.1).
pub(super) fn push_begin(into: &mut BytesMut) {
    let [role_1, role_0] = RESPONDER.to_be_bytes();
    push(into, BEGIN_REQUEST, &[role_1, role_0, 0, 0, 0, 0, 0, 0]);
}

/// Appends one record, padded to a multiple of eight bytes as §3.3 recommends. Empty content ends
/// a stream.
///
/// # Panics
///
/// When `content` is longer than [`CONTENT_MAX`]. A length that were cut to its 16 bits would let
/// the rest of the content pass for records of its own, so the limit holds in every build.
pub(super) fn push(into: &mut BytesMut, kind: u8, content: &[u8]) {
    assert!(
        content.len() <= CONTENT_MAX,
        "a record's content is too long"
    );
    let padding = content.len().next_multiple_of(8) - content.len();
    into.reserve(HEADER_LEN + content.len() + padding);
    into.put_u8(VERSION);
    into.put_u8(kind);
    into.put_u16(REQUEST_ID);
    into.put_u16(content.len() as u16);
    into.put_u8(padding as u8);
    into.put_u8(0);
    into.put_slice(content);
    into.put_bytes(0, padding);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_padded_to_eight_bytes_and_read_back() {
        for (length, padding) in [(0, 0), (1, 7), (7, 1), (8, 0), (9, 7), (CONTENT_MAX, 0)] {
            let mut bytes = BytesMut::new();
            push(&mut bytes, STDIN, &vec![b'x'; length]);
            assert_eq!(bytes.len(), HEADER_LEN + length + padding);
            let header = Header::parse(bytes[..HEADER_LEN].try_into().unwrap());
            let expected = Header {
                kind: STDIN,
                content: length,
                padding,
            };
            assert_eq!(header, Ok(expected));
        }
    }

    #[test]
    fn content_of_one_byte_too_many_is_never_sent() {
        let pushed = std::panic::catch_unwind(|| {
            push(&mut BytesMut::new(), STDIN, &vec![0; CONTENT_MAX + 1]);
        });
        assert!(pushed.is_err());
    }

    #[test]
    fn headers_of_another_version_or_request_are_refused() {
        let cases = [
            ([2, 6, 0, 1, 0, 0, 0, 0], Error::Version(2)),
            (
                [b'H', b'T', b'T', b'P', b'/', b'1', b'.', b'1'],
                Error::Version(b'H'),
            ),
            ([1, 6, 0, 2, 0, 0, 0, 0], Error::Request(2)),
            ([1, 6, 1, 1, 0, 0, 0, 0], Error::Request(257)),
        ];
        for (bytes, error) in cases {
            assert_eq!(Header::parse(bytes), Err(error));
        }
    }

    #[test]
    fn a_record_of_no_request_is_one_to_skip() {
        let header = Header::parse([1, STDOUT, 0, 0, 0, 4, 4, 0]).unwrap();
        assert_eq!((header.kind, header.content, header.padding), (0, 4, 4));
    }
}
