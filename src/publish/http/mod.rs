//! HTTP/1.1 on the publish socket: one connection → requests in their order, each answered before
//! the next is looked at.
//!
//! Strict, and no more of HTTP than PHP, curl and our own command speak. What a request means, and
//! whether it is signed, is not judged here.

mod head;
mod reader;
mod response;
#[cfg(test)]
mod tests;
mod wire;

use std::{io, os::unix::net::UnixStream, pin::pin};

use head::Verb;
pub(super) use head::{FIELDS_MAX, HEAD_MAX};
pub(super) use reader::{Reader, Request};
use response::Manner;
use tokio::{
    sync::SemaphorePermit,
    task::consume_budget,
    time::{Instant, sleep_until},
};
use wire::{Clock, Silence, Socket, Wire};

use super::{Publisher, error::Error};

/// One publisher's connection.
#[derive(Debug)]
struct Connection<'a, 't> {
    publisher: &'a Publisher,
    wire: Wire<'a, 't>,
    reader: Reader,
    /// What the body under way holds of `publish.bodies_max`.
    room: Option<SemaphorePermit<'a>>,
}

/// Why there is no further request.
enum End {
    /// The peer has gone, was silent for too long, or the stage stops: nobody hears a reply.
    Silent,
    /// The socket failed.
    Broken(io::Error),
    /// Something was sent that is refused, and closes the connection.
    Refused(Error),
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

/// Serves `stream` until its peer closes it, a deadline passes or the stage stops. `stranger` is
/// the number of a user who is not answered.
pub(super) async fn serve(publisher: &Publisher, stream: UnixStream, stranger: Option<u32>) {
    let patience = publisher.0.config.read_timeout;
    let deadline = Instant::now() + patience;
    let timer = pin!(sleep_until(deadline));
    let stopping = pin!(publisher.0.tasks.stopping());
    let mut connection = Connection {
        publisher,
        wire: Wire {
            socket: Socket::new(stream),
            patience,
            stopping,
            clock: Clock { timer, deadline },
        },
        reader: Reader::new(publisher.0.config.body_max.0),
        room: None,
    };
    let ended = match stranger {
        Some(uid) => connection.turn_away(uid).await,
        None => connection.converse().await,
    };
    if let Err(error) = ended {
        if error.kind() == io::ErrorKind::TimedOut {
            publisher.0.metrics.refused("unread");
        }
        tracing::debug!(%error, "a publisher's connection broke");
    }
}

impl Connection<'_, '_> {
    async fn converse(&mut self) -> io::Result<()> {
        loop {
            match self.receive().await {
                Ok(()) => {}
                Err(End::Silent) => return Ok(()),
                Err(End::Broken(error)) => return Err(error),
                Err(End::Refused(error)) => return self.refuse(&error).await,
            }
            // Nothing looks at the socket before the reply is there: a publisher who hangs up
            // halfway leaves no batch half published.
            let Some(request) = self.reader.request() else {
                return Ok(());
            };
            let reply = self.publisher.answer(&request).await;
            let manner = Manner {
                close: request.head.close || self.publisher.0.tasks.is_stopping(),
                bodiless: request.head.verb == Verb::Head,
            };
            self.wire.write(response::bytes(&reply, manner)).await?;
            if manner.close {
                return Ok(());
            }
            self.reader.next();
            self.room = None;
            // Others run on this thread too, however much is sent at once.
            consume_budget().await;
        }
    }

    /// Reads on until a request is whole.
    async fn receive(&mut self) -> Result<(), End> {
        if self.reader.is_idle() {
            self.wire.wait_anew();
            match self.wire.read(self.reader.room(), true).await {
                Ok(1..) => {}
                Err(Silence::Broken(error)) => return Err(End::Broken(error)),
                Ok(0) | Err(_) => return Err(End::Silent),
            }
        }
        // From its first byte to its last.
        self.wire.wait_anew();
        let mut judged = false;
        while !self.reader.advance()? {
            if let Some(head) = self.reader.head().filter(|_| !judged) {
                judged = true;
                self.room = self.publisher.0.bodies.take(head.length)?;
                if head.waits {
                    let written = self.wire.write(response::CONTINUE).await;
                    written.map_err(End::Broken)?;
                }
            }
            match self.wire.read(self.reader.room(), false).await {
                Ok(1..) => {}
                ended => return Err(self.broken_off(ended)),
            }
        }
        Ok(())
    }

    /// What to tell of a request that does not come to its end.
    fn broken_off(&self, ended: Result<usize, Silence>) -> End {
        let has_head = self.reader.head().is_some();
        match ended {
            Err(Silence::Broken(error)) => End::Broken(error),
            Err(Silence::Stopping) => End::Silent,
            _ if has_head => End::Refused(Error::Incomplete),
            Ok(_) => End::Refused(Error::Malformed("the head breaks off")),
            Err(Silence::Late) => End::Refused(Error::HeadTimeout),
        }
    }

    /// Answers a stranger, unread, and lets go of the connection.
    async fn turn_away(&mut self, uid: u32) -> io::Result<()> {
        match self.wire.read(self.reader.room(), true).await {
            Ok(1..) => self.refuse(&Error::Peer(uid)).await,
            Ok(0) | Err(_) => Ok(()),
        }
    }

    /// Answers with `error`, and ends the connection.
    async fn refuse(&mut self, error: &Error) -> io::Result<()> {
        let reply = self.publisher.refuse(error);
        let manner = Manner {
            close: true,
            bodiless: false,
        };
        self.wire.write(response::bytes(&reply, manner)).await?;
        self.reader.forget();
        self.wire.linger(self.reader.room()).await;
        Ok(())
    }
}
