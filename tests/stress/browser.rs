//! A browser that speaks the protocol and holds what it is sent against its ledger.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a scenario stops at the first fault"
)]

use std::{collections::VecDeque, time::Duration};

use serde_json::{Value, json};
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::{
    harness::{
        DEADLINE,
        websocket::{CLOSE, FIN, Frame, PING, PONG, Socket, TEXT, frame},
    },
    ledger::Ledger,
    world::Place,
};

pub(crate) struct Browser {
    pub(crate) socket: Socket,
    pub(crate) ledger: Ledger,
    /// What the connect reply said.
    pub(crate) connected: Value,
    /// Of the last command.
    id: u64,
    messages: VecDeque<Value>,
}

/// How a browser's connection ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Ended {
    pub(crate) code: u16,
    pub(crate) reason: String,
}

/// What came next.
#[derive(Debug)]
pub(crate) enum Next {
    Message(Value),
    Ended(Ended),
    /// The connection broke without a close frame.
    Broken,
}

impl Browser {
    /// Connects over an opened socket, with a token or none.
    pub(crate) async fn connect(socket: Socket, site: usize, token: &str) -> Self {
        match Self::try_connect(socket, site, token).await {
            Ok(browser) => browser,
            Err(refused) => panic!("connect: {refused:?}"),
        }
    }

    pub(crate) async fn try_connect(
        socket: Socket,
        site: usize,
        token: &str,
    ) -> Result<Self, Next> {
        let mut browser = Self {
            socket,
            ledger: Ledger::new(site),
            connected: Value::Null,
            id: 0,
            messages: VecDeque::new(),
        };
        let connect = match token {
            "" => json!({ "connect": {} }),
            token => json!({ "connect": { "token": token } }),
        };
        let id = browser.command(connect).await;
        match browser.answer(id).await {
            Next::Message(mut reply) if reply["connect"].is_object() => {
                browser.connected = reply["connect"].take();
                Ok(browser)
            }
            refused => Err(refused),
        }
    }

    /// Its name, as the server gave it.
    pub(crate) fn client(&self) -> String {
        self.connected["client"].as_str().unwrap().to_owned()
    }

    /// Sends a command without waiting for its reply; its id.
    pub(crate) async fn command(&mut self, mut command: Value) -> u64 {
        self.id += 1;
        command["id"] = self.id.into();
        self.socket.say(&command.to_string()).await;
        self.id
    }

    /// An id of its own for a command that is sent by hand.
    pub(crate) const fn next_id(&mut self) -> u64 {
        self.id += 1;
        self.id
    }

    /// The next message; publications are entered, pings answered. Cancel safe but for a pong.
    pub(crate) async fn next(&mut self) -> Next {
        loop {
            let message = match self.socket_message().await {
                Next::Message(message) => message,
                end => return end,
            };
            if message == json!({}) {
                self.socket.say("{}").await;
                continue;
            }
            let push = &message["push"];
            if push["pub"].is_object() {
                let channel = push["channel"].as_str().unwrap();
                self.ledger.publication(channel, &push["pub"]);
            }
            if push["unsubscribe"].is_object() {
                self.ledger.unsubscribed(push["channel"].as_str().unwrap());
            }
            return Next::Message(message);
        }
    }

    /// The next message as it came, entered nowhere; pings of the protocol stay unanswered.
    pub(crate) async fn socket_message(&mut self) -> Next {
        loop {
            if let Some(message) = self.messages.pop_front() {
                return Next::Message(message);
            }
            match self.frame().await {
                Some(Frame {
                    opcode: TEXT,
                    payload,
                }) => {
                    let messages = serde_json::Deserializer::from_slice(&payload).into_iter();
                    self.messages
                        .extend(messages.map(Result::<Value, _>::unwrap));
                }
                Some(Frame {
                    opcode: CLOSE,
                    payload,
                }) => return Next::Ended(Ended::of(&payload)),
                Some(Frame {
                    opcode: PING,
                    payload,
                }) => {
                    self.socket.send(frame(FIN | PONG, &payload)).await;
                }
                Some(Frame { opcode: PONG, .. }) => {}
                Some(other) => panic!("{other:?}"),
                None => return Next::Broken,
            }
        }
    }

    async fn frame(&mut self) -> Option<Frame> {
        self.socket.frame().await.ok().flatten()
    }

    /// The next message of a connection that must go on.
    pub(crate) async fn message(&mut self) -> Value {
        match self.next().await {
            Next::Message(message) => message,
            end => panic!("ended: {end:?}"),
        }
    }

    /// Reads until the reply to the command `id`, or the end.
    pub(crate) async fn answer(&mut self, id: u64) -> Next {
        loop {
            match self.next().await {
                Next::Message(message) if message["id"] == id => return Next::Message(message),
                Next::Message(message) => assert!(
                    message["id"].is_null(),
                    "out of order: the reply {message} before that of {id}"
                ),
                end => return end,
            }
        }
    }

    pub(crate) async fn reply(&mut self, id: u64) -> Value {
        match self.answer(id).await {
            Next::Message(message) => message,
            end => panic!("no reply to {id}: {end:?}"),
        }
    }

    /// Sends a command and reads until its reply.
    pub(crate) async fn ask(&mut self, command: Value) -> Value {
        let id = self.command(command).await;
        self.reply(id).await
    }

    /// Subscribes anew.
    pub(crate) async fn subscribe(&mut self, channel: &str) -> Value {
        self.subscribe_as(json!({ "channel": channel })).await
    }

    /// Subscribes from where its ledger stands.
    pub(crate) async fn recover(&mut self, channel: &str) -> Value {
        let standing = self.ledger.standing(channel);
        let (offset, epoch) = standing.map(|s| (s.offset, s.epoch.clone())).unwrap();
        let subscribe =
            json!({ "channel": channel, "recover": true, "offset": offset, "epoch": epoch });
        self.subscribe_as(subscribe).await
    }

    pub(crate) async fn subscribe_as(&mut self, subscribe: Value) -> Value {
        let channel = subscribe["channel"].as_str().unwrap().to_owned();
        let asked = subscribe["recover"] == true;
        let mut reply = self.ask(json!({ "subscribe": subscribe })).await;
        assert!(reply["subscribe"].is_object(), "{channel}: {reply}");
        let result = reply["subscribe"].take();
        self.ledger.subscribed(&channel, &result, asked);
        result
    }

    pub(crate) async fn unsubscribe(&mut self, channel: &str) {
        let reply = self
            .ask(json!({ "unsubscribe": { "channel": channel } }))
            .await;
        assert!(reply["unsubscribe"].is_object(), "{channel}: {reply}");
        self.ledger.unsubscribed(channel);
    }

    /// Reads until `end`.
    pub(crate) async fn read_until(&mut self, end: Instant) {
        loop {
            tokio::select! {
                biased;
                _ = self.message() => {}
                () = sleep_until(end) => return,
            }
        }
    }

    pub(crate) async fn read_for(&mut self, time: Duration) {
        self.read_until(Instant::now() + time).await;
    }

    /// Reads until the feeds of all its channels have ended; how much came in all.
    pub(crate) async fn read_to_the_end(&mut self) -> u64 {
        while !self.ledger.all_ended() {
            self.message().await;
        }
        self.ledger.received
    }

    /// Reads until `count` publications have come in all.
    pub(crate) async fn read_number(&mut self, count: u64) {
        while self.ledger.received < count {
            self.message().await;
        }
    }

    /// Reads until the server closes.
    pub(crate) async fn ended(&mut self) -> Ended {
        let deadline = Instant::now() + DEADLINE;
        loop {
            match timeout_at(deadline, self.next()).await.unwrap() {
                Next::Message(_) => {}
                Next::Ended(ended) => return ended,
                Next::Broken => panic!("broken without a close frame"),
            }
        }
    }

    /// Is cut off, and goes on over another connection; it follows nothing until it recovers.
    pub(crate) async fn reconnect_cut(self, place: &Place) -> Self {
        let Self { socket, ledger, .. } = self;
        drop(socket);
        let mut next = place.browser(ledger.site()).await;
        next.ledger = ledger;
        next
    }
}

impl Ended {
    /// No close frame came.
    pub(crate) const fn broken() -> Self {
        Self {
            code: 1_006,
            reason: String::new(),
        }
    }

    fn of(payload: &[u8]) -> Self {
        let (code, reason) = payload.split_at(2);
        Self {
            code: u16::from_be_bytes(code.try_into().unwrap()),
            reason: String::from_utf8(reason.to_vec()).unwrap(),
        }
    }
}
