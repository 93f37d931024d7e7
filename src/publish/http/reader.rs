//! Bytes of a connection → requests, one after the other, out of one buffer. It reads no socket.

use super::head::{Head, Scanner};
use crate::publish::{error::Error, headers::Headers};

/// Bytes of a buffer that nothing waits in.
const SMALL: usize = 8 << 10;

/// What a connection that is between two requests may hold.
const KEPT: usize = 64 << 10;

/// Most that is made room for at once: memory follows what came, not what was announced.
const STEP: usize = 256 << 10;

/// The requests of one connection.
#[derive(Debug)]
pub(in crate::publish) struct Reader {
    buffer: Vec<u8>,
    scanner: Scanner,
    /// Of the request under way, once it is there.
    head: Option<Head>,
    body_max: u64,
}

/// A whole request.
#[derive(Debug)]
pub(in crate::publish) struct Request<'a> {
    pub(in crate::publish) head: &'a Head,
    pub(in crate::publish) signature: Headers<&'a [u8]>,
    pub(in crate::publish) body: &'a [u8],
}

impl Reader {
    pub(in crate::publish) fn new(body_max: u64) -> Self {
        Self {
            buffer: Vec::new(),
            scanner: Scanner::default(),
            head: None,
            body_max,
        }
    }

    /// Whether nothing of a request has come.
    pub(in crate::publish) const fn is_idle(&self) -> bool {
        self.buffer.is_empty()
    }

    /// The head of the request under way.
    pub(super) const fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// Whether the request under way is whole. Where not, more is to be put into [`Self::room`].
    ///
    /// # Errors
    ///
    /// It is refused by its head; what comes behind can't be told apart any more.
    pub(in crate::publish) fn advance(&mut self) -> Result<bool, Error> {
        if self.head.is_none()
            && let Some(end) = self.scanner.end(&self.buffer)?
        {
            let head = Head::read(self.buffer.get(..end).unwrap_or_default())?;
            if head.length > self.body_max {
                return Err(Error::TooLarge(self.body_max));
            }
            if head.length > 0 {
                // Nobody wants to read a body for this.
                head.call()?;
            }
            self.head = Some(head);
        }
        Ok(self.head.is_some() && self.missing() == 0)
    }

    /// Where further bytes go: behind those that are there.
    pub(in crate::publish) fn room(&mut self) -> &mut Vec<u8> {
        let wanted = match self.head {
            Some(_) => self.missing().min(self.buffer.len().max(STEP)),
            None => SMALL / 2,
        };
        let free = self.buffer.capacity() - self.buffer.len();
        if self.buffer.capacity() == 0 {
            self.buffer.reserve_exact(SMALL);
        } else if free < wanted {
            // One byte more than is missing: a read that fills the buffer has to be tried again.
            self.buffer.reserve_exact(wanted + 1);
        }
        &mut self.buffer
    }

    /// The request, where [`Self::advance`] found it whole.
    pub(in crate::publish) fn request(&self) -> Option<Request<'_>> {
        let head = self.head.as_ref().filter(|_| self.missing() == 0)?;
        Some(Request {
            head,
            signature: head.signature(&self.buffer),
            body: self.buffer.get(head.end..self.end())?,
        })
    }

    /// Goes on to the next request; what was read of it stays.
    pub(in crate::publish) fn next(&mut self) {
        let end = self.end().min(self.buffer.len());
        self.buffer.drain(..end);
        self.head = None;
        self.scanner = Scanner::default();
        if self.buffer.capacity() > KEPT {
            self.buffer.shrink_to(SMALL);
        }
    }

    /// Takes no further request: what came is forgotten.
    pub(super) fn forget(&mut self) {
        self.buffer.clear();
        self.head = None;
    }

    /// Bytes of memory.
    #[cfg(any(test, fuzzing))]
    pub(in crate::publish) const fn held(&self) -> usize {
        self.buffer.capacity()
    }

    /// Where the request under way ends; no body is longer than `body_max`.
    fn end(&self) -> usize {
        self.head.as_ref().map_or(0, |head| {
            let length = usize::try_from(head.length).unwrap_or(usize::MAX);
            head.end.saturating_add(length)
        })
    }

    fn missing(&self) -> usize {
        self.end().saturating_sub(self.buffer.len())
    }
}
