//! One request's connection to PHP-FPM: sends and receives at once, under deadlines.
//!
//! It knows records, not HTTP. It is driven by whoever polls it and by nobody else: when the client
//! reads slowly, so does this, and PHP waits. Dropping it closes the connection.

use std::{
    pin::{Pin, pin},
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, Bytes, BytesMut};
use http::StatusCode;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::{Instant, Sleep, sleep},
};

use super::{
    record::{self, Header},
    sender::Sender,
    stderr::Stderr,
};
use crate::exchange::Failure;

/// Room that a read gets.
const READ: usize = 32 << 10;

/// The least room that a read gets.
const READ_MIN: usize = 4 << 10;

/// Length of the content of END_REQUEST (§5.5).
const END_LEN: usize = 8;

/// What PHP sends.
#[derive(Debug)]
pub(super) enum Event {
    /// A piece of the output, as soon as it is here; never empty.
    Output(Bytes),
    /// The request is done; nothing follows.
    End,
}

pub(super) struct Connection {
    sender: Sender,
    sending: bool,
    read: Box<dyn AsyncRead + Send + Unpin>,
    buffer: BytesMut,
    record: Option<Header>,
    stderr: Stderr,
    deadline: Deadline,
}

/// The time that PHP has for its next step. It runs while we wait for PHP, and not while the
/// client keeps us waiting.
struct Deadline {
    sleep: Pin<Box<Sleep>>,
    limit: Duration,
    running: bool,
    phase: Phase,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Phase {
    /// From the sent request to the end of the head.
    Head,
    /// Between two pieces of output.
    Body,
}

impl Connection {
    pub(super) fn new(
        sender: Sender,
        read: Box<dyn AsyncRead + Send + Unpin>,
        stderr: Stderr,
        head_limit: Duration,
    ) -> Self {
        Self {
            sender,
            sending: true,
            read,
            buffer: BytesMut::new(),
            record: None,
            stderr,
            deadline: Deadline {
                sleep: Box::pin(sleep(head_limit)),
                limit: head_limit,
                running: false,
                phase: Phase::Head,
            },
        }
    }

    /// From here on, `limit` is the time between two pieces of output.
    pub(super) fn head_is_complete(&mut self, limit: Duration) {
        self.deadline.limit = limit;
        self.deadline.phase = Phase::Body;
        self.deadline.running = false;
    }

    /// The next piece of output, or the end. Cancel safe.
    ///
    /// # Errors
    ///
    /// After any of them the connection is of no use: PHP took too long, closed early, does not
    /// speak FastCGI, or has no worker for us.
    pub(super) fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Result<Event, Failure>> {
        if self.sending {
            let before = self.sender.written();
            match self.sender.poll_send(cx) {
                Poll::Ready(Ok(())) => self.sending = false,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Failure::ours("spool", error))),
                Poll::Pending => {}
            }
            if self.sender.written() > before {
                self.deadline.running = false;
            }
        }
        loop {
            if let Some(event) = self.buffered()? {
                return Poll::Ready(Ok(event));
            }
            match self.poll_read(cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(self.closed("end of stream"))),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(self.closed(error))),
                Poll::Pending => return self.deadline.poll(cx).map(Err),
            }
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<std::io::Result<usize>> {
        if self.buffer.capacity() - self.buffer.len() < READ_MIN {
            self.buffer.reserve(READ);
        }
        pin!(self.read.read_buf(&mut self.buffer)).poll(cx)
    }

    /// What the buffer holds of an event; a record's output does not wait for the record's end.
    fn buffered(&mut self) -> Result<Option<Event>, Failure> {
        loop {
            let Some(mut record) = self.record else {
                let Some(bytes) = self.buffer.first_chunk::<{ record::HEADER_LEN }>() else {
                    return Ok(None);
                };
                self.record = Some(Header::parse(*bytes).map_err(protocol)?);
                self.buffer.advance(record::HEADER_LEN);
                continue;
            };
            if record.kind == record::END_REQUEST {
                return self.end(record);
            }
            if record.content + record.padding == 0 {
                self.record = None;
                continue;
            }
            if self.buffer.is_empty() {
                return Ok(None);
            }
            if record.content == 0 {
                let count = record.padding.min(self.buffer.len());
                self.buffer.advance(count);
                record.padding -= count;
                self.record = Some(record);
                continue;
            }
            let piece = self.buffer.split_to(record.content.min(self.buffer.len()));
            record.content -= piece.len();
            self.record = Some(record);
            match record.kind {
                record::STDOUT => {
                    if self.deadline.phase == Phase::Body {
                        self.deadline.running = false;
                    }
                    return Ok(Some(Event::Output(piece.freeze())));
                }
                record::STDERR => self.stderr.push(piece.freeze()),
                _ => {}
            }
        }
    }

    fn end(&mut self, record: Header) -> Result<Option<Event>, Failure> {
        if record.content < END_LEN {
            return Err(protocol("an END_REQUEST of fewer than eight bytes"));
        }
        let Some([_, _, _, _, status, ..]) = self.buffer.first_chunk::<END_LEN>() else {
            return Ok(None);
        };
        self.stderr.finish();
        match status {
            0 => Ok(Some(Event::End)),
            // §5.5: FCGI_CANT_MPX_CONN, FCGI_OVERLOADED
            1 | 2 => Err(Failure::upstream(
                StatusCode::SERVICE_UNAVAILABLE,
                "fastcgi_overloaded",
                format_args!("the FastCGI server refused the request: protocol status {status}"),
            )),
            status => Err(protocol(format_args!("protocol status {status}"))),
        }
    }

    fn closed(&mut self, how: impl std::fmt::Display) -> Failure {
        self.stderr.finish();
        Failure::upstream(
            StatusCode::BAD_GATEWAY,
            "fastcgi_closed_early",
            format_args!(
                "{how} before the end of the request; PHP-FPM's log says whether the worker was \
                 killed, ran out of memory or reached request_terminate_timeout"
            ),
        )
    }
}

impl Deadline {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Failure> {
        if !self.running {
            self.sleep.as_mut().reset(Instant::now() + self.limit);
            self.running = true;
        }
        // The clock is asked too: a flood that yields nothing uses up this task's turn, and a timer
        // is never ready in a turn that is used up.
        let elapsed = self.sleep.as_mut().poll(cx).is_ready();
        if !elapsed && Instant::now() < self.sleep.deadline() {
            return Poll::Pending;
        }
        Poll::Ready(Failure::upstream(
            StatusCode::GATEWAY_TIMEOUT,
            match self.phase {
                Phase::Head => "fastcgi_response_timeout",
                Phase::Body => "fastcgi_idle_timeout",
            },
            format_args!("nothing came from PHP within {:?}", self.limit),
        ))
    }
}

fn protocol(error: impl std::fmt::Display) -> Failure {
    Failure::upstream(
        StatusCode::BAD_GATEWAY,
        "fastcgi_protocol",
        format_args!("{error}; is site.fastcgi.address that of PHP-FPM?"),
    )
}
