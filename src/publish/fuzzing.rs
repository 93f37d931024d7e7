//! What publishers send, read without a connection: the way in for the targets of `fuzz/`.
//!
//! Compiled with `--cfg fuzzing` alone, which cargo-fuzz sets. It judges nothing itself.

use super::http::Reader;

/// What was made of some bytes.
#[derive(Debug, Default, Eq, PartialEq)]
pub struct Reading {
    /// The requests, in their order.
    pub requests: Vec<Request>,
    /// Why the next one was refused.
    pub refusal: Option<String>,
}

/// A whole request.
#[derive(Debug, Eq, PartialEq)]
pub struct Request {
    /// What its head was read as, as [`Debug`] writes it.
    pub head: String,
    /// Bytes of its head.
    pub end: usize,
    /// Its body.
    pub body: Vec<u8>,
    /// The signature's headers, as [`Debug`] writes them.
    pub signature: String,
}

/// Feeds `pieces` to the reader of a connection; `held` hears of the memory that it keeps.
pub fn requests<'a>(
    pieces: impl Iterator<Item = &'a [u8]>,
    body_max: u64,
    mut held: impl FnMut(usize),
) -> Reading {
    let mut reader = Reader::new(body_max);
    let mut reading = Reading::default();
    for mut piece in pieces {
        while !piece.is_empty() {
            let room = reader.room();
            let (now, later) = piece.split_at(piece.len().min(room.capacity() - room.len()));
            room.extend_from_slice(now);
            piece = later;
            if let Err(error) = take(&mut reader, &mut reading.requests) {
                reading.refusal = Some(format!("{error:?}"));
                return reading;
            }
            held(reader.held());
        }
    }
    reading
}

/// Takes the requests that are whole.
fn take(reader: &mut Reader, requests: &mut Vec<Request>) -> Result<(), super::Error> {
    while !reader.is_idle() && reader.advance()? {
        if let Some(request) = reader.request() {
            requests.push(Request {
                head: format!("{:?}", request.head),
                end: request.head.end,
                body: request.body.to_vec(),
                signature: format!("{:?}", request.signature),
            });
        }
        reader.next();
    }
    Ok(())
}
