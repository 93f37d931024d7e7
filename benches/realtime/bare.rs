//! The floor: a loop of `write(2)` over plain sockets, of as many bytes as a TLS record of the message has.
//!
//! It runs as a process of its own, this program called with `--bare SOCKET`, so that its CPU time
//! is read as every server's is.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    os::unix::net::UnixListener,
    sync::{Arc, Mutex},
    thread,
};

/// A message of 200 bytes as a TLS 1.3 record with a WebSocket's header: 5 + 4 + 200 + 1 + 16.
pub(crate) const RECORD: usize = 226;

/// Serves until it is ended.
pub(crate) fn serve(socket: &str) {
    let publications = UnixListener::bind(socket).unwrap();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    println!("ready {}", listener.local_addr().unwrap().port());
    let browsers: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
    let all = Arc::clone(&browsers);
    thread::spawn(move || {
        for browser in listener.incoming() {
            let browser = browser.unwrap();
            browser.set_nodelay(true).unwrap();
            let mut all = all.lock().unwrap();
            all.push(browser);
            // Noted: what is published from now on comes to it.
            all.last_mut().unwrap().write_all(b".").unwrap();
        }
    });
    for publisher in publications.incoming() {
        let mut publisher = publisher.unwrap();
        let mut record = [0; RECORD];
        while publisher.read_exact(&mut record).is_ok() {
            for browser in &*browsers.lock().unwrap() {
                // One that has gone is the benchmark's to notice.
                let mut browser = browser;
                drop(browser.write(&record));
            }
        }
    }
}
