//! Reads a whole request body before PHP hears of the request: into memory, then into a temporary
//! file without a name.
//!
//! PHP reads as many bytes as `CONTENT_LENGTH` says and none without one, and chunked and HTTP/2
//! bodies do not say. It also frees PHP's workers from clients that upload slowly. How much a body
//! may hold, and how long it may take, is decided by whoever made the body; how much the files of
//! all bodies together may hold is decided here.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http_body_util::BodyExt;
use tokio::{
    fs::File,
    io::{AsyncSeekExt, AsyncWriteExt},
};

use crate::exchange::{Body, BodyError, Failure};

/// What is gathered before it is written to the file: a write costs a hand-over to another thread.
const BLOCK: usize = 256 << 10;

/// A body that has been read to its end.
#[derive(Debug)]
pub(super) enum Spool {
    Memory(Bytes),
    /// Positioned at the start.
    File(Spooled),
}

/// A temporary file and the room that it takes, until it is dropped.
#[derive(Debug)]
pub(super) struct Spooled {
    pub(super) file: File,
    taken: Taken,
}

/// Bytes that temporary files may hold altogether.
#[derive(Clone, Debug)]
pub(super) struct Room(Arc<AtomicU64>);

/// A part of the room, given back when dropped.
#[derive(Debug)]
struct Taken {
    room: Room,
    bytes: u64,
}

impl Room {
    pub(super) fn new(bytes: u64) -> Self {
        Self(Arc::new(AtomicU64::new(bytes)))
    }

    fn taken(&self) -> Taken {
        Taken {
            room: self.clone(),
            bytes: 0,
        }
    }
}

impl Taken {
    fn more(&mut self, bytes: u64) -> Result<(), Failure> {
        let left = &self.room.0;
        let taken = left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(bytes));
        taken.map_err(|left| {
            Failure::upstream(
                StatusCode::SERVICE_UNAVAILABLE,
                "spool_full",
                format_args!(
                    "{bytes} more bytes of a request body where `spool_max` leaves {left}"
                ),
            )
        })?;
        self.bytes += bytes;
        Ok(())
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.room.0.fetch_add(self.bytes, Relaxed);
    }
}

impl Spool {
    /// Reads `body` to its end, keeping at most about `memory_max` bytes of it in memory.
    ///
    /// # Errors
    ///
    /// A body that ends in a [`Failure`] fails with just that; any other error is the client's; a
    /// file that cannot be written is ours; 503 when there is no `room` for it.
    pub(super) async fn read(
        mut body: Body,
        memory_max: usize,
        room: &Room,
    ) -> Result<Self, Failure> {
        let mut memory = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(cut)?;
            // Trailers have no place in CGI.
            let Ok(data) = frame.into_data() else {
                continue;
            };
            memory.extend_from_slice(&data);
            if memory.len() > memory_max {
                return to_file(memory, body, room.taken()).await;
            }
        }
        Ok(Self::Memory(memory.freeze()))
    }

    pub(super) const fn length(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File(spooled) => spooled.length(),
        }
    }
}

impl Spooled {
    pub(super) const fn length(&self) -> u64 {
        self.taken.bytes
    }
}

async fn to_file(mut block: BytesMut, mut body: Body, mut taken: Taken) -> Result<Spool, Failure> {
    let file = tokio::task::spawn_blocking(tempfile::tempfile).await;
    let file = file.map_err(|error| Failure::ours("spool", error))?;
    let mut file = File::from_std(file.map_err(unwritable)?);
    loop {
        let frame = body.frame().await.transpose().map_err(cut)?;
        let end = frame.is_none();
        if let Some(Ok(data)) = frame.map(http_body::Frame::into_data) {
            block.extend_from_slice(&data);
        }
        if end || block.len() >= BLOCK {
            taken.more(block.len() as u64)?;
            file.write_all(&block).await.map_err(unwritable)?;
            block.clear();
        }
        if end {
            break;
        }
    }
    file.flush().await.map_err(unwritable)?;
    file.rewind().await.map_err(unwritable)?;
    Ok(Spool::File(Spooled { file, taken }))
}

fn cut(error: BodyError) -> Failure {
    match error.downcast::<Failure>() {
        Ok(failure) => *failure,
        Err(error) => Failure::client(StatusCode::BAD_REQUEST, "request_body_cut", error),
    }
}

fn unwritable(error: std::io::Error) -> Failure {
    let directory = std::env::temp_dir();
    Failure::ours(
        "spool",
        format_args!(
            "a request body cannot be kept in {}: {error}; TMPDIR names another directory",
            directory.display()
        ),
    )
}
