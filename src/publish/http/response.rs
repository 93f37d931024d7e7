//! A reply's bytes on the wire.

use std::{io::Write, time::SystemTime};

use bytes::Buf;
use http::StatusCode;

use crate::publish::replies::Reply;

/// A body up to here is copied behind its head, so that the kernel is given one piece.
const JOINED: usize = 4 << 10;

/// What makes the peer send the body that it holds back.
pub(super) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// What stands around a reply.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    /// No further reply comes on this connection.
    pub(super) close: bool,
    /// It answers a HEAD.
    pub(super) bodiless: bool,
}

/// The bytes of `reply`.
pub(super) fn bytes(reply: &Reply, manner: Manner) -> impl Buf {
    let body: &[u8] = if manner.bodiless { &[] } else { &reply.body };
    let (copied, rest) = if body.len() > JOINED {
        (&[][..], body)
    } else {
        (body, &[][..])
    };
    let mut head = Vec::with_capacity(256 + copied.len());
    // A write to memory can't fail.
    let _ = write_head(&mut head, reply, manner);
    head.extend_from_slice(copied);
    std::io::Cursor::new(head).chain(rest)
}

fn write_head(to: &mut Vec<u8>, reply: &Reply, manner: Manner) -> std::io::Result<()> {
    let reason = reply.status.canonical_reason().unwrap_or_default();
    write!(
        to,
        "HTTP/1.1 {} {reason}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nDate: {}\r\n",
        reply.status.as_str(),
        reply.body.len(),
        httpdate::HttpDate::from(SystemTime::now()),
    )?;
    if reply.status == StatusCode::METHOD_NOT_ALLOWED {
        to.extend_from_slice(b"Allow: POST\r\n");
    }
    if manner.close {
        to.extend_from_slice(b"Connection: close\r\n");
    }
    to.extend_from_slice(b"\r\n");
    Ok(())
}
