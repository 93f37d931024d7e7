//! `[front]`: what a request may cost before and while it is answered.

use std::time::Duration;

use super::{Bytes, section::Section};

/// Limits and deadlines of HTTP connections.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Front {
    /// From the first byte of a connection, or from the answer before, to the end of the head.
    pub header_timeout: Duration,
    /// Header fields of a request.
    pub headers_max: usize,
    /// Bytes of all header fields of a request together.
    pub header_bytes_max: Bytes,
    /// Bytes of the request target.
    pub target_max: Bytes,
    /// Bytes of a request body.
    pub body_max: Bytes,
    /// Between two pieces of a request body.
    pub body_idle_timeout: Duration,
    /// How long a client may take no byte of what waits for it; over HTTP/2, and of the response
    /// to an unsafe request, no further 16 KiB of a response.
    pub write_stall_timeout: Duration,
    /// How long an HTTP/2 connection without a request stays open.
    pub http2_idle_timeout: Duration,
    /// Requests at the same time on one HTTP/2 connection.
    pub http2_streams_max: u32,
    /// Requests that go on though their client has gone (unsafe methods, `wp-cron.php`), at the
    /// same time; beyond that number they end with their client.
    pub detached_max: usize,
}

impl Front {
    pub(super) fn read(mut section: Section) -> Self {
        let seconds = Duration::from_secs;
        let deadline = seconds(1)..=seconds(86_400);
        let front = Self {
            header_timeout: section.within("header_timeout", seconds(30), deadline.clone()),
            headers_max: section.count("headers_max", 100, 10..=10_000),
            header_bytes_max: section.within(
                "header_bytes_max",
                Bytes(16 << 10),
                Bytes(8 << 10)..=Bytes(64 << 10),
            ),
            target_max: section.within(
                "target_max",
                Bytes(8 << 10),
                Bytes(1 << 10)..=Bytes(60 << 10),
            ),
            body_max: section.within("body_max", Bytes(256 << 20), Bytes(0)..=Bytes(1 << 40)),
            body_idle_timeout: section.within("body_idle_timeout", seconds(60), deadline.clone()),
            write_stall_timeout: section.within(
                "write_stall_timeout",
                seconds(60),
                deadline.clone(),
            ),
            http2_idle_timeout: section.within("http2_idle_timeout", seconds(120), deadline),
            http2_streams_max: u32::try_from(section.count("http2_streams_max", 100, 1..=10_000))
                .unwrap_or(100),
            detached_max: section.count("detached_max", 256, 1..=100_000),
        };
        section.finish();
        front
    }
}
