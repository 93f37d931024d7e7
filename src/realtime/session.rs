//! The task of one WebSocket: frames are read and judged here, and pings and deadlines are kept.
//!
//! What a client's messages do is told elsewhere.

use std::{
    future::{Future, pending, poll_fn},
    io,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    task::yield_now,
    time::{Instant, sleep_until, timeout},
};

use super::{
    age::Age,
    client::Client,
    close::Close,
    connection::Connection,
    direct::{Direct, Input},
    frame::{self, Event, Reader},
    hub::{Hub, Mail, Subscription},
    kind::Kind,
    protocol,
};
use crate::config;

/// Reads in one turn, so that a peer that sends without pause can't keep others waiting.
const READS_A_TURN: usize = 16;

/// For the peer to read the close frame and to close its side.
const LINGER: Duration = Duration::from_secs(5);

/// Pings are due at common moments: what many connections do at once costs a fraction of what it
/// costs one by one, each with a sleep and a wake-up of its own.
const PINGS_TOGETHER: Duration = Duration::from_millis(250);

/// The connection's own task, while its WebSocket lives.
pub(super) struct Session {
    client: Client,
    hub: Arc<Hub>,
    reader: Reader,
    /// When something is due: the connect command, our next ping, or the answer to it.
    next: Instant,
    age: Age,
    awaits_pong: bool,
    /// More was there than one turn reads: the socket need not tell of it again.
    unread: bool,
}

enum Wakeup {
    Readable(io::Result<()>),
    Writable(io::Result<()>),
    Called,
    Due,
}

impl Session {
    pub(super) fn new(client: Client, hub: Arc<Hub>) -> Self {
        let config = &hub.config;
        let now = Instant::now();
        let next = if client.connected {
            together(hub.began, now + config.ping_interval)
        } else {
            now + config.connect_timeout
        };
        Self {
            client,
            reader: Reader::new(config.message_max.as_usize()),
            next,
            age: Age::new(config.connection_age_max, now),
            awaits_pong: false,
            unread: false,
            hub,
        }
    }

    /// Serves the connection until it is closed; `read_ahead` is what came with the handshake.
    ///
    /// Each idle connection keeps this future: what is not waited in for long is boxed.
    #[expect(
        clippy::manual_async_fn,
        reason = "an async fn would hold its arguments twice"
    )]
    pub(super) fn run(
        mut self,
        channels: Vec<Subscription>,
        read_ahead: Bytes,
    ) -> impl Future<Output = ()> + Send {
        async move {
            // Held from before the shard hears of us, so that it hears of our end in any case.
            let _leave = self.hub.leave(&self.client.connection);
            let mut served = Box::pin(self.begin(channels, read_ahead)).await;
            while served.is_ok() && !self.connection().is_closing() {
                served = self.turn().await;
            }
            if served.is_ok() {
                Box::pin(self.end()).await;
            }
        }
    }

    async fn begin(&mut self, channels: Vec<Subscription>, read_ahead: Bytes) -> io::Result<()> {
        let connection = Arc::clone(&self.client.connection);
        self.client.mail(Mail::Join(connection)).await;
        if !channels.is_empty() {
            self.client.mail(Mail::Address(channels)).await;
        }
        self.take(&read_ahead).await;
        drop(read_ahead);
        // The TLS session may hold bytes already, of which the socket will not tell again.
        self.read().await
    }

    async fn end(&self) {
        if let Some(direct) = self.connection().direct() {
            // Whoever lingers longer is cut off.
            let _ = timeout(LINGER, linger(direct)).await;
        }
    }

    async fn turn(&mut self) -> io::Result<()> {
        let Some(direct) = self.client.connection.direct() else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        if self.unread {
            yield_now().await;
            if self.deadline(direct.stalled_since()) <= Instant::now() {
                self.on_time();
            }
            return Box::pin(self.read()).await;
        }
        let stalled = direct.stalled_since();
        let next = self.deadline(stalled);
        match wait(direct, stalled.is_some(), next).await {
            Wakeup::Readable(ready) => {
                ready?;
                Box::pin(self.read()).await
            }
            Wakeup::Writable(ready) => {
                ready?;
                direct.flush()
            }
            Wakeup::Called => Ok(()),
            Wakeup::Due => {
                self.on_time();
                Ok(())
            }
        }
    }

    fn deadline(&self, stalled: Option<std::time::Instant>) -> Instant {
        let timeout = self.config().write_stall_timeout;
        let stall = stalled.map(|since| Instant::from_std(since) + timeout);
        let others = stall.into_iter().chain(self.client.deadline());
        others.fold(self.age.min(self.next), Instant::min)
    }

    async fn read(&mut self) -> io::Result<()> {
        let connection = Arc::clone(&self.client.connection);
        let Some(direct) = connection.direct() else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        self.unread = false;
        for _ in 0..READS_A_TURN {
            // Taken only now: a buffer held while waiting would cost every idle connection.
            let mut buffer = Vec::new();
            match direct.read(&mut buffer)? {
                Input::Bytes => self.take(&buffer).await,
                Input::Nothing => return Ok(()),
                Input::End => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
            if direct.is_closing() {
                return Ok(());
            }
        }
        self.unread = true;
        Ok(())
    }

    /// Reads frames out of `bytes` and does what they say.
    async fn take(&mut self, mut bytes: &[u8]) {
        loop {
            match self.reader.feed(&mut bytes) {
                Ok(Some(event)) if !self.connection().is_closing() => self.on_event(event).await,
                Ok(Some(_)) => return,
                Ok(None) => return,
                Err(violation) => return self.connection().close(&Close::Violation(violation)),
            }
        }
    }

    async fn on_event(&mut self, event: Event) {
        self.alive();
        match event {
            Event::Text(message) if self.connection().kind == Kind::Protocol => {
                let connected = self.client.connected;
                self.client.on_message(&message).await;
                if self.client.connected && !connected {
                    let due = Instant::now() + self.config().ping_interval;
                    self.next = together(self.hub.began, due);
                }
            }
            Event::Binary if self.connection().kind == Kind::Protocol => {
                self.connection().close(&Close::BadRequest);
            }
            // A plain stream has nothing to say.
            Event::Text(_) | Event::Binary => self.client.spend(),
            Event::Ping(payload) => {
                self.client.spend();
                if let Some(direct) = self.connection().direct() {
                    direct.control(frame::pong(&payload));
                }
            }
            Event::Pong => self.client.spend(),
            Event::Close(code) => self.connection().close(&Close::Peer(code)),
        }
    }

    fn connection(&self) -> &Connection {
        &self.client.connection
    }

    fn config(&self) -> &config::Realtime {
        &self.hub.config
    }

    /// The peer lives: our ping, if one was out, counts as answered.
    fn alive(&mut self) {
        if self.awaits_pong {
            self.awaits_pong = false;
            let config = &self.hub.config;
            let due = self.next + config.ping_interval.saturating_sub(config.pong_timeout);
            self.next = together(self.hub.began, due);
        }
    }

    /// Something is due.
    fn on_time(&mut self) {
        self.client.on_time();
        let connection = Arc::clone(&self.client.connection);
        let Some(direct) = connection.direct() else {
            return;
        };
        let now = Instant::now();
        let stall = self.config().write_stall_timeout;
        if direct
            .stalled_since()
            .is_some_and(|since| since.elapsed() >= stall)
        {
            return self.connection().close(&Close::Stalled);
        }
        if self.age.is_over(now) {
            return self.connection().close(&Close::Age);
        }
        if now < self.next {
            return;
        }
        if !self.client.connected {
            return self.connection().close(&Close::Stale);
        }
        if self.awaits_pong {
            return self.connection().close(&Close::NoPong);
        }
        self.awaits_pong = true;
        self.next = now + self.config().pong_timeout;
        match self.connection().kind {
            Kind::Protocol => self.connection().say(protocol::PING),
            Kind::Plain | Kind::EventStream => {
                direct.control(frame::ping());
            }
        }
    }
}

/// The moment nearest to `due`, counted from `began`, at which pings are sent.
fn together(began: Instant, due: Instant) -> Instant {
    let since = due.saturating_duration_since(began) + PINGS_TOGETHER / 2;
    let moments = since.as_millis() / PINGS_TOGETHER.as_millis();
    began + PINGS_TOGETHER * u32::try_from(moments).unwrap_or(u32::MAX)
}

/// Waits for whatever comes first. Cancel safe: nothing is taken from the socket here.
async fn wait(direct: &Direct, pending_write: bool, next: Instant) -> Wakeup {
    let writable = async {
        if pending_write {
            poll_fn(|cx| direct.poll_writable(cx)).await
        } else {
            pending().await
        }
    };
    tokio::select! {
        ready = poll_fn(|cx| direct.poll_readable(cx)) => Wakeup::Readable(ready),
        ready = writable => Wakeup::Writable(ready),
        () = direct.wake.notified() => Wakeup::Called,
        () = sleep_until(next) => Wakeup::Due,
    }
}

/// Writes the close frame out, ends our side, and reads until the peer has ended its own: a socket
/// closed over unread bytes would be reset, and the close frame with it.
async fn linger(direct: &Direct) -> io::Result<()> {
    while direct.stalled_since().is_some() {
        poll_fn(|cx| direct.poll_writable(cx)).await?;
        direct.flush()?;
    }
    direct.finish();
    let mut buffer = Vec::new();
    loop {
        match direct.read(&mut buffer)? {
            Input::End => return Ok(()),
            Input::Bytes => yield_now().await,
            Input::Nothing => poll_fn(|cx| direct.poll_readable(cx)).await?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each idle connection costs as much.
    #[test]
    fn the_task_of_a_connection_is_small() {
        fn size<F: Future>(_: impl FnOnce(Session, Vec<Subscription>, Bytes) -> F) -> usize {
            size_of::<F>()
        }
        let size = size(Session::run);
        println!("{size} bytes");
        assert!(size <= 768, "{size}");
    }

    #[test]
    fn pings_of_many_connections_are_due_at_common_moments_and_hardly_off_their_own() {
        let began = Instant::now();
        let interval = Duration::from_secs(25);
        let due = |came: u64| together(began, began + Duration::from_millis(came) + interval);
        let moments: std::collections::BTreeSet<Instant> = (0..10_000).map(due).collect();
        assert_eq!(moments.len(), 41, "four a second");
        for came in [0, 124, 125, 249, 9_999] {
            let own = began + Duration::from_millis(came) + interval;
            let off = due(came).max(own) - due(came).min(own);
            assert!(off <= PINGS_TOGETHER / 2, "{came}: {off:?}");
        }
    }
}
