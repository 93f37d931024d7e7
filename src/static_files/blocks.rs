//! A part of a file as the body of a response, read block by block away from the async workers.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::task::{JoinHandle, spawn_blocking};

use crate::exchange::BodyError;

/// The most that one hand-over to a blocking thread reads.
pub(super) const BLOCK: u64 = 128 << 10;

/// Reads one block ahead of nobody: the next is read when it is asked for.
#[derive(Debug)]
pub(super) struct Blocks {
    file: Arc<File>,
    offset: u64,
    left: u64,
    reading: Option<JoinHandle<io::Result<Bytes>>>,
}

impl Blocks {
    pub(super) const fn new(file: Arc<File>, offset: u64, length: u64) -> Self {
        Self {
            file,
            offset,
            left: length,
            reading: None,
        }
    }
}

impl Body for Blocks {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let this = &mut *self;
        let reading = this.reading.get_or_insert_with(|| {
            let (file, offset) = (Arc::clone(&this.file), this.offset);
            let length = this.left.min(BLOCK);
            spawn_blocking(move || read(&file, offset, length))
        });
        let block = ready!(Pin::new(reading).poll(cx));
        this.reading = None;
        match block.map_err(io::Error::from).flatten() {
            Ok(block) => {
                this.offset += block.len() as u64;
                this.left -= block.len() as u64;
                Poll::Ready(Some(Ok(Frame::data(block))))
            }
            Err(error) => {
                this.left = 0;
                Poll::Ready(Some(Err(error.into())))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// Reads exactly `length` bytes.
///
/// # Errors
///
/// Also when the file has become shorter than it was when the response's head was made.
pub(super) fn read(file: &File, offset: u64, length: u64) -> io::Result<Bytes> {
    let mut block = vec![0; usize::try_from(length).unwrap_or(usize::MAX)];
    file.read_exact_at(&mut block, offset)?;
    Ok(block.into())
}
