//! Reads a whole request body before PHP hears of the request: into memory, then into a temporary
//! file without a name.
//!
//! PHP reads as many bytes as `CONTENT_LENGTH` says and none without one, and chunked and HTTP/2
//! bodies do not say. It also frees PHP's workers from clients that upload slowly. How much a body
//! may hold, and how long it may take, is decided by whoever made the body.

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
    File {
        file: File,
        length: u64,
    },
}

impl Spool {
    /// Reads `body` to its end, keeping at most about `memory_max` bytes of it in memory.
    ///
    /// # Errors
    ///
    /// A body that ends in a [`Failure`] fails with just that; any other error is the client's; a
    /// file that cannot be written is ours.
    pub(super) async fn read(mut body: Body, memory_max: usize) -> Result<Self, Failure> {
        let mut memory = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(cut)?;
            // Trailers have no place in CGI.
            let Ok(data) = frame.into_data() else {
                continue;
            };
            memory.extend_from_slice(&data);
            if memory.len() > memory_max {
                return to_file(memory, body).await;
            }
        }
        Ok(Self::Memory(memory.freeze()))
    }

    pub(super) const fn length(&self) -> u64 {
        match self {
            Self::Memory(bytes) => bytes.len() as u64,
            Self::File { length, .. } => *length,
        }
    }
}

async fn to_file(mut block: BytesMut, mut body: Body) -> Result<Spool, Failure> {
    let file = tokio::task::spawn_blocking(tempfile::tempfile).await;
    let file = file.map_err(|error| Failure::ours("spool", error))?;
    let mut file = File::from_std(file.map_err(unwritable)?);
    let mut length = 0;
    loop {
        let frame = body.frame().await.transpose().map_err(cut)?;
        let end = frame.is_none();
        if let Some(Ok(data)) = frame.map(http_body::Frame::into_data) {
            block.extend_from_slice(&data);
        }
        if end || block.len() >= BLOCK {
            file.write_all(&block).await.map_err(unwritable)?;
            length += block.len() as u64;
            block.clear();
        }
        if end {
            break;
        }
    }
    file.flush().await.map_err(unwritable)?;
    file.rewind().await.map_err(unwritable)?;
    Ok(Spool::File { file, length })
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
