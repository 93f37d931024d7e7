//! What PHP writes to its error stream → lines in our log, never in an answer.

use bytes::{Buf, Bytes, BytesMut};
use prometheus_client::metrics::counter::Counter;
use tracing::warn;

use crate::exchange::RequestId;

/// The most of one request that is logged, in bytes.
const TOTAL_MAX: usize = 8 << 10;

/// The error stream of one request.
#[derive(Debug)]
pub(super) struct Stderr {
    request: RequestId,
    lines: Counter,
    open: BytesMut,
    logged: usize,
}

impl Stderr {
    pub(super) fn new(request: RequestId, lines: Counter) -> Self {
        Self {
            request,
            lines,
            open: BytesMut::new(),
            logged: 0,
        }
    }

    /// Takes a piece of the stream, logs the lines that it completes.
    pub(super) fn push(&mut self, mut bytes: Bytes) {
        while let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
            self.keep(&bytes.split_to(end));
            bytes.advance(1);
            self.end_line();
        }
        self.keep(&bytes);
    }

    /// Logs what is left without a line's end.
    pub(super) fn finish(&mut self) {
        if !self.open.is_empty() {
            self.end_line();
        }
    }

    /// A line without end is kept as far as it could still be logged.
    fn keep(&mut self, bytes: &[u8]) {
        let room = TOTAL_MAX.saturating_sub(self.open.len());
        let kept = bytes.get(..room).unwrap_or(bytes);
        self.open.extend_from_slice(kept);
    }

    fn end_line(&mut self) {
        self.lines.inc();
        let line = self.open.split();
        let room = TOTAL_MAX.saturating_sub(self.logged);
        if room == 0 {
            return;
        }
        let shown = printable(line.get(..room).unwrap_or(&line));
        self.logged += line.len().max(1);
        warn!(request = %self.request, line = shown, "PHP wrote to its error stream");
        if self.logged >= TOTAL_MAX {
            warn!(request = %self.request, "more of this request's error stream is not logged");
        }
    }
}

/// Text for one line of a log: a script could otherwise write lines of its own into it.
fn printable(line: &[u8]) -> String {
    let line = line.trim_ascii_end();
    String::from_utf8_lossy(line)
        .chars()
        .map(|c| {
            if c.is_control() && c != '\t' {
                '\u{fffd}'
            } else {
                c
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stderr() -> (Stderr, Counter) {
        let lines = Counter::default();
        (Stderr::new(RequestId(1), lines.clone()), lines)
    }

    #[test]
    fn a_line_in_two_records_is_one_line() {
        let (mut stderr, lines) = stderr();
        stderr.push(Bytes::from_static(b"PHP message: one\nPHP mess"));
        stderr.push(Bytes::from_static(b"age: two"));
        assert_eq!(lines.get(), 1);
        stderr.finish();
        stderr.finish();
        assert_eq!(lines.get(), 2);
    }

    #[test]
    fn a_flood_is_counted_but_neither_kept_nor_logged() {
        let (mut stderr, lines) = stderr();
        for _ in 0..1_000 {
            stderr.push(Bytes::from(vec![b'x'; 1_000]));
        }
        assert_eq!(stderr.open.len(), TOTAL_MAX);
        stderr.push(Bytes::from(vec![b'\n'; 5_000]));
        assert_eq!(lines.get(), 5_000);
        assert_eq!(stderr.logged, TOTAL_MAX);
    }

    #[test]
    fn control_characters_do_not_reach_the_log() {
        assert_eq!(printable(b"a\x1b[31mb\r"), "a\u{fffd}[31mb");
    }
}
