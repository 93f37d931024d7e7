//! TLS, or nothing, between frames and a socket of ours. It never waits.

use std::io::{self, IoSlice, Read, Write};

use rustix::net::{RecvFlags, recv};
use tokio::{io::Interest, net::TcpStream};
use tokio_rustls::rustls::ServerConnection;

use super::backlog::RECORD_MAX;

#[derive(Debug)]
pub(super) enum Sealer {
    Plain,
    Tls(Box<ServerConnection>),
}

/// Seals what `slices` hold into one record; how many bytes were taken.
pub(super) fn seal(session: &mut ServerConnection, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    debug_assert!(slices.iter().map(|s| s.len()).sum::<usize>() <= RECORD_MAX);
    match session.writer().write_vectored(slices)? {
        0 => Err(io::ErrorKind::WriteZero.into()),
        sealed => Ok(sealed),
    }
}

pub(super) fn read_tls(
    session: &mut ServerConnection,
    socket: &TcpStream,
    buffer: &mut [u8],
) -> io::Result<usize> {
    loop {
        match session.reader().read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // A peer that leaves without close_notify has left all the same.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
            done => return done,
        }
        if session.read_tls(&mut TryIo(socket))? == 0 {
            return Ok(0);
        }
        session.process_new_packets().map_err(io::Error::other)?;
    }
}

/// Reads what the socket has. A read that comes up short has emptied it: the runtime is told so at
/// once, and the next one asks the kernel only when there is more, or the end.
pub(super) fn read_plain(socket: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let mut short = None;
    let most = buffer.len();
    let read = socket.try_io(Interest::READABLE, || {
        let (read, _) = recv(socket, &mut *buffer, RecvFlags::DONTWAIT)?;
        if (1..most).contains(&read) {
            short = Some(read);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(read)
    });
    short.map_or(read, Ok)
}

/// Lets rustls read and write a socket without waiting.
pub(super) struct TryIo<'a>(pub(super) &'a TcpStream);

impl Read for TryIo<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        read_plain(self.0, buffer)
    }
}

impl Write for TryIo<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        // One record, nearly always: the plain call costs the kernel less.
        match slices {
            [slice] => self.0.try_write(slice),
            _ => self.0.try_write_vectored(slices),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
