//! The task of one WebSocket: what the client sends is read and judged here, and pings and
//! deadlines are kept.
//!
//! It changes no subscription itself: that is its shard's work.

use std::{
    future::{pending, poll_fn},
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
    channel::{Known, Rules},
    close::Close,
    connection::{Connection, random_id},
    direct::{Direct, Input},
    frame::{self, Event, Reader},
    hub::{Hub, Mail, Subscription},
    kind::Kind,
    protocol::{self, Command, ErrorCode, Request},
};
use crate::{broker::Since, config};

/// Reads in one turn, so that a peer that sends without pause can't keep others waiting.
const READS_A_TURN: usize = 16;

/// For the peer to read the close frame and to close its side.
const LINGER: Duration = Duration::from_secs(5);

/// The connection's own task, while its WebSocket lives.
pub(super) struct Session {
    connection: Arc<Connection>,
    hub: Arc<Hub>,
    rules: Arc<Rules>,
    config: Arc<config::Realtime>,
    reader: Reader,
    connected: bool,
    /// Commands that may come at once, at most `burst`, refilled by time.
    allowance: f64,
    burst: f64,
    refilled: Instant,
    /// When something is due: the connect command, our next ping, or the answer to it.
    next: Instant,
    age: Age,
    awaits_pong: bool,
}

enum Wakeup {
    Readable(io::Result<()>),
    Writable(io::Result<()>),
    Called,
    Due,
}

impl Session {
    pub(super) fn new(
        connection: Arc<Connection>,
        hub: Arc<Hub>,
        rules: Arc<Rules>,
        config: Arc<config::Realtime>,
    ) -> Self {
        let now = Instant::now();
        let protocol = connection.kind == Kind::Protocol;
        let first = if protocol {
            config.connect_timeout
        } else {
            config.ping_interval
        };
        let next = now + first;
        // A page connects and subscribes to all its channels at once: that may always come in a
        // burst, and a second's commands more.
        let channels = u32::try_from(config.channels_per_connection_max).unwrap_or(u32::MAX);
        let rate = f64::from(config.commands_per_second_max);
        let burst = f64::from(channels) + 1.0 + rate;
        Self {
            connection,
            hub,
            rules,
            reader: Reader::new(config.message_max.as_usize()),
            connected: !protocol,
            allowance: burst,
            burst,
            refilled: now,
            next,
            age: Age::new(config.connection_age_max, now),
            awaits_pong: false,
            config,
        }
    }

    /// Serves the connection until it is closed; `read_ahead` is what came with the handshake.
    pub(super) async fn run(mut self, channels: Vec<Subscription>, read_ahead: Bytes) {
        let connection = Arc::clone(&self.connection);
        let Some(direct) = connection.direct() else {
            return;
        };
        // Held from before the shard hears of us, so that it hears of our end in any case.
        let _leave = self.hub.leave(&connection);
        self.mail(Mail::Join(Arc::clone(&connection))).await;
        for subscription in channels {
            self.mail(Mail::Subscribe(subscription)).await;
        }
        self.take(&read_ahead).await;
        drop(read_ahead);
        // The TLS session may hold bytes already, of which the socket will not tell again.
        let mut served = self.read(direct).await;
        while served.is_ok() && !direct.is_closing() {
            served = self.turn(direct).await;
        }
        if served.is_err() {
            return;
        }
        // Whoever lingers longer is cut off.
        let _ = timeout(LINGER, linger(direct)).await;
    }

    async fn turn(&mut self, direct: &Direct) -> io::Result<()> {
        let stalled = direct.stalled_since();
        let next = self.age.min(self.next);
        let next = match stalled {
            Some(since) => next.min(Instant::from_std(since) + self.config.write_stall_timeout),
            None => next,
        };
        match wait(direct, stalled.is_some(), next).await {
            Wakeup::Readable(ready) => {
                ready?;
                self.read(direct).await
            }
            Wakeup::Writable(ready) => {
                ready?;
                direct.flush()
            }
            Wakeup::Called => Ok(()),
            Wakeup::Due => {
                self.on_time(direct);
                Ok(())
            }
        }
    }

    async fn read(&mut self, direct: &Direct) -> io::Result<()> {
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
        yield_now().await;
        Ok(())
    }

    /// Reads frames out of `bytes` and does what they say.
    async fn take(&mut self, mut bytes: &[u8]) {
        loop {
            match self.reader.feed(&mut bytes) {
                Ok(Some(event)) if !self.connection.is_closing() => self.on_event(event).await,
                Ok(Some(_)) => return,
                Ok(None) => return,
                Err(violation) => return self.connection.close(Close::Violation(violation)),
            }
        }
    }

    async fn on_event(&mut self, event: Event) {
        self.alive();
        match event {
            Event::Text(message) if self.connection.kind == Kind::Protocol => {
                self.on_message(&message).await;
            }
            Event::Binary if self.connection.kind == Kind::Protocol => {
                self.connection.close(Close::BadRequest);
            }
            // A plain stream has nothing to say.
            Event::Text(_) | Event::Binary => self.spend(),
            Event::Ping(payload) => {
                self.spend();
                if let Some(direct) = self.connection.direct() {
                    direct.control(frame::pong(&payload));
                }
            }
            Event::Pong => {}
            Event::Close(code) => self.connection.close(Close::Peer(code)),
        }
    }

    async fn on_message(&mut self, message: &[u8]) {
        for command in protocol::commands(message) {
            let Ok(command) = command else {
                return self.connection.close(Close::BadRequest);
            };
            self.on_command(command).await;
            if self.connection.is_closing() {
                return;
            }
        }
    }

    async fn on_command(&mut self, command: Command<'_>) {
        let id = command.id;
        let request = command.request();
        if matches!(request, Request::Pong) {
            return;
        }
        self.spend();
        let ordered = match request {
            Request::Connect(_) => !self.connected,
            _ => self.connected,
        };
        if !ordered || (id == 0 && !matches!(request, Request::Send)) {
            return self.connection.close(Close::BadRequest);
        }
        match request {
            Request::Connect(connect) => self.on_connect(id, &connect),
            Request::Subscribe(subscribe) => self.on_subscribe(id, subscribe).await,
            Request::Unsubscribe(unsubscribe) => {
                let connection = Arc::clone(&self.connection);
                let channel = unsubscribe.channel.into();
                self.mail(Mail::Unsubscribe {
                    connection,
                    id,
                    channel,
                })
                .await;
            }
            Request::Ping => self.say(protocol::ponged(id)).await,
            Request::Refused(error) => self.say(protocol::refused(id, error)).await,
            Request::Send | Request::Pong => {}
        }
    }

    fn on_connect(&mut self, id: u32, connect: &protocol::Connect) {
        // No site has token keys yet: a token can't hold, and nobody is made anonymous in silence.
        if !connect.token.is_empty() {
            return self.connection.close(Close::InvalidToken);
        }
        self.connected = true;
        self.next = Instant::now() + self.config.ping_interval;
        let ping = self.config.ping_interval.as_secs();
        let reply = protocol::connected(id, &random_id(), ping);
        self.connection.say(&reply);
    }

    async fn on_subscribe(&self, id: u32, subscribe: protocol::Subscribe<'_>) {
        let checked = self.check(&subscribe);
        let mail = match checked {
            Ok((known, since)) => Subscription {
                connection: Arc::clone(&self.connection),
                id,
                history: known.history(),
                channel: known.name,
                since,
                // Flag 2 asks for an error in place of `recovered: false`.
                strict: subscribe.flag & 2 != 0,
            },
            Err(error) => return self.say(protocol::refused(id, error)).await,
        };
        self.mail(Mail::Subscribe(mail)).await;
    }

    /// Has the shard do something; one that has stopped can't close us by itself any more.
    async fn mail(&self, mail: Mail) {
        if !self.hub.mail(mail).await {
            self.connection.close(Close::Shutdown);
        }
    }

    /// Replies by way of the shard, so that no reply overtakes an earlier one.
    async fn say(&self, json: Vec<u8>) {
        let connection = Arc::clone(&self.connection);
        self.mail(Mail::Say { connection, json }).await;
    }

    fn check(
        &self,
        subscribe: &protocol::Subscribe<'_>,
    ) -> Result<(Known<'_>, Option<Since>), ErrorCode> {
        if subscribe.kind != 0 {
            return Err(ErrorCode::NotAvailable);
        }
        let known = self.rules.public(&subscribe.channel)?;
        if !subscribe.recover {
            return Ok((known, None));
        }
        if subscribe.offset > 0 && subscribe.epoch.is_empty() {
            return Err(ErrorCode::BadRequest);
        }
        let epoch = (!subscribe.epoch.is_empty()).then(|| subscribe.epoch.as_ref().into());
        let offset = subscribe.offset;
        Ok((known, Some(Since { offset, epoch })))
    }

    /// The peer lives: our ping, if one was out, counts as answered.
    fn alive(&mut self) {
        if self.awaits_pong {
            self.awaits_pong = false;
            self.next += self
                .config
                .ping_interval
                .saturating_sub(self.config.pong_timeout);
        }
    }

    /// Takes one command off the allowance.
    fn spend(&mut self) {
        let now = Instant::now();
        let rate = f64::from(self.config.commands_per_second_max);
        let refill = now.duration_since(self.refilled).as_secs_f64() * rate;
        self.allowance = (self.allowance + refill).min(self.burst);
        self.refilled = now;
        self.allowance -= 1.0;
        if self.allowance < 0.0 {
            self.connection.close(Close::TooManyRequests);
        }
    }

    /// Something is due.
    fn on_time(&mut self, direct: &Direct) {
        let now = Instant::now();
        let stall = self.config.write_stall_timeout;
        if direct
            .stalled_since()
            .is_some_and(|since| since.elapsed() >= stall)
        {
            return self.connection.close(Close::Stalled);
        }
        if self.age.is_over(now) {
            return self.connection.close(Close::Age);
        }
        if now < self.next {
            return;
        }
        if !self.connected {
            return self.connection.close(Close::Stale);
        }
        if self.awaits_pong {
            return self.connection.close(Close::NoPong);
        }
        self.awaits_pong = true;
        self.next = now + self.config.pong_timeout;
        match self.connection.kind {
            Kind::Protocol => self.connection.say(protocol::PING),
            Kind::Plain | Kind::EventStream => {
                direct.control(frame::ping());
            }
        }
    }
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
        poll_fn(|cx| direct.poll_readable(cx)).await?;
        if matches!(direct.read(&mut buffer)?, Input::End) {
            return Ok(());
        }
        yield_now().await;
    }
}
