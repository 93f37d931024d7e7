//! Writes one request: BEGIN_REQUEST, PARAMS, the body as STDIN records, and its end.
//!
//! It is polled beside the reader and never waits for it: PHP may answer before it has read the
//! body, or without ever reading it.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    record,
    spool::{Spool, Spooled},
};

/// A request on its way to PHP.
pub(super) struct Sender {
    socket: Box<dyn AsyncWrite + Send + Unpin>,
    /// Encoded and not yet written.
    wire: BytesMut,
    source: Source,
    written: u64,
}

enum Source {
    Memory(Bytes),
    File {
        spooled: Spooled,
        left: u64,
        block: Box<[u8]>,
    },
    /// The empty STDIN record has been encoded.
    Ended,
    /// The peer takes no more.
    Refused,
}

impl Sender {
    pub(super) fn new(
        socket: Box<dyn AsyncWrite + Send + Unpin>,
        params: &Bytes,
        body: Spool,
    ) -> Self {
        let mut wire = BytesMut::new();
        record::push_begin(&mut wire);
        wire.extend_from_slice(params);
        let source = match body {
            Spool::Memory(bytes) => Source::Memory(bytes),
            Spool::File(spooled) => Source::File {
                left: spooled.length(),
                spooled,
                block: vec![0; record::CONTENT_MAX].into(),
            },
        };
        Self {
            socket,
            wire,
            source,
            written: 0,
        }
    }

    /// Bytes that the peer's socket has taken.
    pub(super) const fn written(&self) -> u64 {
        self.written
    }

    /// Writes what can be written now; ready once all of it is, or once the peer takes no more,
    /// which is no error: its answer may be there to read.
    ///
    /// # Errors
    ///
    /// Only of the temporary file: the body cannot be sent as promised.
    pub(super) fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            while self.wire.has_remaining() {
                match ready!(Pin::new(&mut self.socket).poll_write(cx, &self.wire)) {
                    Ok(count) if count > 0 => {
                        self.wire.advance(count);
                        self.written += count as u64;
                    }
                    _ => {
                        self.wire.clear();
                        self.source = Source::Refused;
                    }
                }
            }
            if matches!(self.source, Source::Ended | Source::Refused) {
                return Poll::Ready(Ok(()));
            }
            ready!(self.poll_encode(cx))?;
        }
    }

    fn poll_encode(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.source {
            Source::Memory(bytes) if bytes.has_remaining() => {
                let length = bytes.len().min(record::CONTENT_MAX);
                record::push(&mut self.wire, record::STDIN, &bytes.split_to(length));
            }
            Source::File {
                spooled,
                left,
                block,
            } if *left > 0 => {
                let length = usize::try_from(*left).unwrap_or(usize::MAX);
                let length = length.min(block.len());
                let mut room = ReadBuf::new(block.get_mut(..length).unwrap_or_default());
                ready!(Pin::new(&mut spooled.file).poll_read(cx, &mut room))?;
                if room.filled().is_empty() {
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
                *left -= room.filled().len() as u64;
                record::push(&mut self.wire, record::STDIN, room.filled());
            }
            _ => {
                record::push(&mut self.wire, record::STDIN, &[]);
                self.source = Source::Ended;
            }
        }
        Poll::Ready(Ok(()))
    }
}
