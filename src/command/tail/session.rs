//! One connection: connect, subscribe from where we were, print, answer pings, until it ends.
//!
//! Whether to come back is decided by how it ended.

use std::{convert::Infallible, time::Duration};

use fastwebsockets::{Frame, OpCode, Payload};
use serde_json::{Value, json};
use tokio::{task::unconstrained, time::timeout};

use super::{
    super::note,
    Followed, Position,
    message::{Message, Push, Refusal, Subscribed, messages},
    print::Printer,
    socket::{self, Socket},
    target::Target,
};

/// For the reply to the connect command.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// How much later than promised a ping may come.
const PING_LATE: Duration = Duration::from_secs(10);

/// For our own words to leave.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// The position that was asked for can't be told any more.
const UNRECOVERABLE_POSITION: u32 = 112;

/// The commands that subscribe count on from here.
const FIRST_SUBSCRIBE: u32 = 2;

/// How a session ended.
#[derive(Debug)]
pub(super) enum End {
    /// Another try may do.
    Lost(String),
    /// It won't.
    Refused(String),
    /// Nobody reads our standard output any more.
    NobodyReads,
}

/// A connection that the server has accepted.
pub(super) struct Session {
    socket: Socket,
    silence_max: Duration,
    pong: bool,
    /// What came with the reply to the connect command.
    first: Vec<u8>,
    /// Channels that the token subscribed us to.
    served: Vec<String>,
}

impl Session {
    /// Connects to `target` with `token`, which may subscribe us to some of `followed`.
    pub(super) async fn open(
        target: &Target,
        token: &str,
        followed: &mut [Followed],
        printer: &Printer,
    ) -> Result<Self, End> {
        let mut session = Self {
            socket: socket::open(target).await?,
            silence_max: REPLY_TIMEOUT,
            pong: true,
            first: Vec::new(),
            served: Vec::new(),
        };
        let mut connect = json!({ "name": "sidewire-tail", "version": env!("CARGO_PKG_VERSION") });
        if let (false, Some(connect)) = (token.is_empty(), connect.as_object_mut()) {
            connect.insert("token".into(), token.into());
            connect.insert("subs".into(), positions(followed));
        }
        let command = json!({ "id": 1, "connect": connect });
        session.say(&command.to_string()).await?;
        session.first = session.frame().await?;
        let Some(Ok(reply)) = messages(&session.first).next() else {
            return Err(End::Refused("the reply to connect is no JSON".into()));
        };
        if let Some(error) = reply.error {
            return Err(error.of("connect was refused"));
        }
        let connected = reply.connect.unwrap_or_default();
        if connected.ping > 0 {
            session.silence_max = Duration::from_secs(connected.ping) + PING_LATE;
        }
        session.pong = connected.pong;
        for known in followed {
            if let Some(subscribed) = connected.subs.get(known.channel.as_str()) {
                subscribed.taken(known, printer)?;
                session.served.push(known.channel.clone());
            }
        }
        Ok(session)
    }

    /// Follows the channels, from their positions where they have one, until the end.
    pub(super) async fn follow(mut self, followed: &mut [Followed], printer: &Printer) -> End {
        match self.take_all(followed, printer).await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    async fn take_all(
        &mut self,
        followed: &mut [Followed],
        printer: &Printer,
    ) -> Result<Infallible, End> {
        let is_served = |known: &Followed| self.served.contains(&known.channel);
        let open: Vec<usize> = (0..followed.len())
            .filter(|n| !followed.get(*n).is_some_and(is_served))
            .collect();
        for n in open {
            self.subscribe(followed, n).await?;
        }
        let mut frame = std::mem::take(&mut self.first);
        // The reply to the connect command was taken.
        let mut taken = 1;
        loop {
            for message in messages(&frame).skip(taken) {
                let message =
                    message.map_err(|error| End::Lost(format!("what came is no JSON: {error}")))?;
                self.take(&message, followed, printer).await?;
            }
            frame = self.frame().await?;
            taken = 0;
        }
    }

    async fn subscribe(&mut self, followed: &[Followed], n: usize) -> Result<(), End> {
        let Some(followed) = followed.get(n) else {
            return Ok(());
        };
        let mut subscribe = json!({ "channel": followed.channel });
        if let (Some(position), Some(fields)) = (&followed.position, subscribe.as_object_mut()) {
            fields.insert("recover".into(), true.into());
            fields.insert("offset".into(), position.offset.into());
            fields.insert("epoch".into(), position.epoch.as_str().into());
        }
        let id = u32::try_from(n)
            .unwrap_or(u32::MAX)
            .saturating_add(FIRST_SUBSCRIBE);
        self.say(&json!({ "id": id, "subscribe": subscribe }).to_string())
            .await
    }

    async fn take(
        &mut self,
        message: &Message<'_>,
        followed: &mut [Followed],
        printer: &Printer,
    ) -> Result<(), End> {
        if message.is_ping() {
            return match self.pong {
                true => self.say("{}").await,
                false => Ok(()),
            };
        }
        if let Some(push) = &message.push {
            return self.pushed(push, followed, printer).await;
        }
        let n = message.id.checked_sub(FIRST_SUBSCRIBE);
        let n = n
            .and_then(|n| usize::try_from(n).ok())
            .unwrap_or(usize::MAX);
        let Some(known) = followed.get_mut(n) else {
            return Ok(());
        };
        match (&message.error, &message.subscribe) {
            (Some(error), _)
                if error.code == UNRECOVERABLE_POSITION && known.position.is_some() =>
            {
                tell_gap(known);
                known.position = None;
                self.subscribe(followed, n).await
            }
            (Some(error), _) => Err(error.of(&format!("channel {} was refused", known.channel))),
            (None, Some(subscribed)) => subscribed.taken(known, printer),
            (None, None) => Ok(()),
        }
    }

    async fn pushed(
        &mut self,
        push: &Push<'_>,
        followed: &mut [Followed],
        printer: &Printer,
    ) -> Result<(), End> {
        if let Some(disconnect) = &push.disconnect {
            return Err(ended(disconnect.code, &disconnect.message));
        }
        let mut channels = followed.iter();
        let Some(n) = channels.position(|known| known.channel == push.channel) else {
            return Ok(());
        };
        if let Some(unsubscribe) = &push.unsubscribe {
            let Refusal { code, message, .. } = unsubscribe;
            // From 2500 on it is to be subscribed again.
            if *code < 2_500 {
                let channel = &push.channel;
                let words = format!("channel {channel} was ended: {message} (code {code})");
                return Err(End::Refused(words));
            }
            if self.served.iter().any(|served| *served == push.channel) {
                // The token subscribes to it, with the next connection.
                let channel = &push.channel;
                return Err(End::Lost(format!("channel {channel} has to begin anew")));
            }
            return self.subscribe(followed, n).await;
        }
        let (Some(publication), Some(known)) = (&push.publication, followed.get_mut(n)) else {
            return Ok(());
        };
        if let Some(position) = &mut known.position {
            position.offset = publication.offset.max(position.offset);
        }
        printed(printer.print(&known.channel, publication))
    }

    async fn say(&mut self, message: &str) -> Result<(), End> {
        let payload = Payload::Owned(message.as_bytes().to_vec());
        let written = self.socket.write_frame(Frame::text(payload));
        // Never put off by the runtime halfway: nothing else would flush what TLS holds by then.
        match timeout(WRITE_TIMEOUT, unconstrained(written)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(End::Lost(format!("the connection broke: {error}"))),
            Err(_) => Err(End::Lost("the other side takes nothing".into())),
        }
    }

    /// The text of the next message.
    async fn frame(&mut self) -> Result<Vec<u8>, End> {
        loop {
            let frame = match timeout(self.silence_max, self.socket.read_frame()).await {
                Ok(Ok(frame)) => frame,
                Ok(Err(error)) => return Err(End::Lost(format!("the connection broke: {error}"))),
                Err(_) => {
                    let seconds = self.silence_max.as_secs();
                    return Err(End::Lost(format!("nothing came for {seconds} s")));
                }
            };
            match frame.opcode {
                OpCode::Text | OpCode::Binary => return Ok(frame.payload.to_vec()),
                OpCode::Close => return Err(closed(&frame.payload)),
                _ => {}
            }
        }
    }
}

impl Subscribed<'_> {
    /// Prints what was recovered and notes where the channel stands.
    fn taken(&self, known: &mut Followed, printer: &Printer) -> Result<(), End> {
        if known.position.is_some() && !(self.was_recovering && self.recovered) {
            tell_gap(known);
        }
        known.position = Some(self.position());
        for publication in &self.publications {
            printed(printer.print(&known.channel, publication))?;
        }
        Ok(())
    }

    /// Where the channel stands once everything that came along was seen.
    fn position(&self) -> Position {
        let last = self.publications.iter().map(|p| p.offset).max();
        Position {
            offset: last.unwrap_or(self.offset),
            epoch: self.epoch.clone(),
        }
    }
}

impl Refusal {
    /// How the session ends by it.
    fn of(&self, what: &str) -> End {
        let Self { code, message, .. } = self;
        let words = format!("{what}: {message} (code {code})");
        if self.temporary {
            End::Lost(words)
        } else {
            End::Refused(words)
        }
    }
}

const fn printed(is_read: bool) -> Result<(), End> {
    if is_read {
        Ok(())
    } else {
        Err(End::NobodyReads)
    }
}

/// From where each channel is to go on, as a connect command says it.
fn positions(followed: &[Followed]) -> Value {
    let known = followed.iter().filter_map(|known| {
        let Position { offset, epoch } = known.position.as_ref()?;
        let since = json!({ "recover": true, "offset": offset, "epoch": epoch });
        Some((known.channel.clone(), since))
    });
    Value::Object(known.collect())
}

fn tell_gap(known: &Followed) {
    let Followed { channel, position } = known;
    let offset = position.as_ref().map_or(0, |position| position.offset);
    note(&format!(
        "gap: what channel {channel} published after offset {offset} is no longer in its history"
    ));
}

/// How a close frame ends the session.
fn closed(payload: &[u8]) -> End {
    match payload.split_first_chunk() {
        Some((code, reason)) => {
            let code = u16::from_be_bytes(*code);
            ended(code.into(), &String::from_utf8_lossy(reason))
        }
        None => End::Lost("the connection was closed".into()),
    }
}

/// The protocol's codes say whether to come back: not from 3500 to 3999 and from 4500 on.
fn ended(code: u32, reason: &str) -> End {
    let words = format!("the connection was closed: {reason} (code {code})");
    match code {
        3_500..=3_999 | 4_500..=4_999 => End::Refused(words),
        _ => End::Lost(words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_says_whether_to_come_back() {
        for code in [1_006, 3_001, 3_499, 4_000, 4_499] {
            assert!(matches!(ended(code, ""), End::Lost(_)), "{code}");
        }
        for code in [3_500, 3_999, 4_500, 4_999] {
            assert!(matches!(ended(code, ""), End::Refused(_)), "{code}");
        }
        assert!(matches!(closed(&[]), End::Lost(_)));
        let End::Refused(words) =
            closed(&[&3_500_u16.to_be_bytes()[..], b"invalid token"].concat())
        else {
            panic!("3500 ends it for good");
        };
        assert!(words.ends_with("invalid token (code 3500)"), "{words}");
    }

    #[test]
    fn where_a_channel_stands_is_known_after_each_subscription() {
        let stands = |text: &str| {
            let subscribed: Subscribed<'_> = serde_json::from_str(text).unwrap();
            let Position { offset, epoch } = subscribed.position();
            (offset, epoch)
        };
        assert_eq!(stands(r#"{"offset":7,"epoch":"a"}"#), (7, "a".into()));
        // A recovery tells the offset that was asked for, and what came after it.
        let recovered = r#"{"offset":7,"epoch":"a","was_recovering":true,"recovered":true,
                            "publications":[{"data":1,"offset":8},{"data":2,"offset":9}]}"#;
        assert_eq!(stands(recovered), (9, "a".into()));
    }
}
