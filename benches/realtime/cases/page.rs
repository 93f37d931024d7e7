//! How long a page takes while browsers are served: Sidewire's own two duties side by side.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use tokio_rustls::rustls::Stream;

use super::{Context, turns};
use crate::{
    browser::Door,
    crowd::Crowd,
    figures::{Goal, Histogram, Row},
    load::{Load, measure},
    message::now,
    peers::Kind,
};

const PAGE: usize = 2_000;
const RATE: u32 = 50;

pub(crate) fn run(context: &mut Context) -> Vec<Row> {
    let mut quiet = (
        Row::new("quiet, p50", "ms", Goal::None),
        Row::new("quiet, p99", "ms", Goal::None),
    );
    let mut busy = (
        Row::new("busy, p50", "ms", Goal::AtMost(2.5)),
        Row::new("busy, p99", "ms", Goal::None),
    );
    let mut above = Row::new("p99 above the quiet one", "ms", Goal::AtMost(10.0));
    let browsers = context.browsers(5_000);
    let length = context.seconds(10);
    turns(context, &[], |context, kind| {
        let server = context.bench.start_with(kind, Some(serve_pages()));
        let door = server.door(&context.bench, false);
        let crowd = Crowd::gather(&door, browsers, 1, |_| vec![0]);
        let span = Duration::from_secs(length.exactly.unwrap_or(10));
        let calm = pages(&door, span);
        let load = Load::Paced {
            rate: 5,
            channels: 1,
        };
        let (measured, loaded) = thread::scope(|scope| {
            let pages = scope.spawn(|| pages(&door, span));
            let measured = measure(&server, &crowd, load, true, length);
            (measured, pages.join().unwrap())
        });
        context.note(Kind::Sidewire, measured.faults);
        quiet.0.add(kind, calm.quantile(0.5));
        quiet.1.add(kind, calm.quantile(0.99));
        busy.0.add(kind, loaded.quantile(0.5));
        busy.1.add(kind, loaded.quantile(0.99));
        above.add(kind, loaded.quantile(0.99) - calm.quantile(0.99));
        eprintln!("bench: {} deliveries beside the pages", measured.delivered);
    });
    vec![quiet.0, quiet.1, busy.0, busy.1, above]
}

/// Asks for a page 50 times a second, on one connection; how long each took.
fn pages(door: &Door, span: Duration) -> Histogram {
    let (mut tls, mut socket) = door.page().unwrap();
    let mut stream = Stream::new(&mut tls, &mut socket);
    let mut took = Histogram::default();
    let started = Instant::now();
    let mut asked = 0;
    while started.elapsed() < span {
        let due = started + Duration::from_secs(1) / RATE * asked;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let before = now();
        stream
            .write_all(b"GET /page HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .unwrap();
        stream.flush().unwrap();
        read_page(&mut stream);
        // The first one holds the handshake.
        if asked > 0 {
            took.add(now() - before);
        }
        asked += 1;
    }
    took
}

fn read_page(stream: &mut impl Read) {
    let mut answer = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let head = answer.windows(4).position(|window| window == b"\r\n\r\n");
        if head.is_some_and(|head| answer.len() >= head + 4 + PAGE) {
            assert!(answer.starts_with(b"HTTP/1.1 200"), "a page failed");
            return;
        }
        let read = stream.read(&mut buffer).unwrap();
        assert!(read > 0, "a page was cut short");
        answer.extend_from_slice(&buffer[..read]);
    }
}

/// A server of one small page, for as long as this program runs.
fn serve_pages() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || answer(stream));
        }
    });
    port
}

fn answer(mut stream: TcpStream) {
    let page = "x".repeat(PAGE);
    let answer = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {PAGE}\r\n\r\n{page}"
    );
    let mut request = [0; 4096];
    // Requests come one by one, each in one piece.
    while stream.read(&mut request).is_ok_and(|read| read > 0) {
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}
