//! A client as the protocol's SDK is one: it keeps the position of each subscription, and holds
//! all that it is told against what really happened.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use serde_json::{Value, json};

use super::{
    truth::{Name, Truth},
    wire::{Frame, frames},
};
use crate::realtime::{client::Client, connection::Connection, hub::Leave, test_hub};

/// Whether a token is needed, so that one issued in the second of its revocation must not help.
pub(super) fn is_private(channel: &str) -> bool {
    channel.starts_with("room") || channel.starts_with("edit")
}

/// A channel to subscribe to, and from where.
type Wish = (&'static str, Option<Position>);

/// Where a subscription stands.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Position {
    pub(super) epoch: String,
    pub(super) offset: u64,
}

/// A connection with its client's memory.
pub(super) struct Browser {
    pub(super) site: usize,
    pub(super) user: String,
    pub(super) client: Client,
    connection: Arc<Connection>,
    _leave: Leave,
    next_id: u32,
    /// Commands that wait for their replies, in order: the id and the channel to subscribe to.
    waiting: VecDeque<(u32, Option<Wish>)>,
    pub(super) subscribed: BTreeMap<&'static str, Position>,
    /// Of the conflating channel: where the subscription began, and what came last of each key.
    began: u64,
    newest: BTreeMap<Option<String>, u64>,
    /// Channels of which nothing may come any more.
    pub(super) forbidden: Vec<&'static str>,
    pub(super) closed: Option<u16>,
}

impl Browser {
    pub(super) fn new(site: usize, user: String, client: Client, leave: Leave) -> Self {
        let connection = Arc::clone(&client.connection);
        Self {
            site,
            user,
            client,
            connection,
            _leave: leave,
            next_id: 0,
            waiting: VecDeque::new(),
            subscribed: BTreeMap::new(),
            began: 0,
            newest: BTreeMap::new(),
            forbidden: Vec::new(),
            closed: None,
        }
    }

    /// Sends a command and expects its reply in its turn.
    pub(super) async fn command(&mut self, name: &str, body: Value) {
        self.send(name, body, None).await;
    }

    pub(super) async fn subscribe(
        &mut self,
        channel: &'static str,
        from: Option<Position>,
        token: Option<String>,
    ) {
        let mut body = json!({ "channel": channel, "join_leave": true });
        if let Some(from) = &from {
            body["recover"] = true.into();
            body["offset"] = from.offset.into();
            body["epoch"] = from.epoch.clone().into();
        }
        if let Some(token) = token {
            body["token"] = token.into();
        }
        self.send("subscribe", body, Some((channel, from))).await;
    }

    async fn send(&mut self, name: &str, body: Value, subscribes: Option<Wish>) {
        if self.connection.is_closing() {
            return;
        }
        self.next_id += 1;
        self.waiting.push_back((self.next_id, subscribes));
        let command = json!({ "id": self.next_id, name: body }).to_string();
        self.client.on_message(command.as_bytes()).await;
    }

    /// Whether a subscription to `channel` is being asked for.
    pub(super) fn awaits(&self, channel: &str) -> bool {
        let asked = self.waiting.iter().filter_map(|(_, s)| s.as_ref());
        asked.map(|(name, _)| *name).any(|name| name == channel)
    }

    /// Takes all that waits for it.
    pub(super) fn read(&mut self, truth: &mut Truth) {
        let connection = Arc::clone(&self.connection);
        for frame in frames(&test_hub::taken(&connection)) {
            assert_eq!(self.closed, None, "something follows the close frame");
            match frame {
                Frame::Text(message) => self.on_message(&message, truth),
                Frame::Close(code) => self.closed = Some(code),
            }
        }
    }

    fn on_message(&mut self, message: &Value, truth: &mut Truth) {
        if let Some(id) = message["id"].as_u64() {
            let (expected, subscribes) = self.waiting.pop_front().expect("an unasked reply");
            assert_eq!(
                id,
                u64::from(expected),
                "replies come in the order of commands"
            );
            if let Some((channel, from)) = subscribes {
                self.on_subscribed(channel, from, message, truth);
            }
            return;
        }
        let push = &message["push"];
        let Some(channel) = push["channel"].as_str() else {
            return;
        };
        if let Some(publication) = push.get("pub") {
            self.on_publication(channel, publication, truth);
        } else if let Some(ending) = push.get("unsubscribe") {
            let code = ending["code"].as_u64().unwrap();
            truth.count(if code >= 2500 {
                "interruptions"
            } else {
                "unsubscriptions"
            });
            let known = self.subscribed.remove(channel);
            // Its reply, with what was recovered, may have been turned into a refusal.
            let taken_back = self.forbidden.contains(&channel);
            assert!(
                known.is_some() || taken_back,
                "{channel} was not subscribed to"
            );
        } else if push.get("join").is_some() || push.get("leave").is_some() {
            truth.count("announcements");
            assert!(self.subscribed.contains_key(channel));
        } else {
            panic!("an unexpected push: {message}");
        }
    }

    fn on_subscribed(
        &mut self,
        channel: &'static str,
        from: Option<Position>,
        message: &Value,
        truth: &mut Truth,
    ) {
        let Some(result) = message.get("subscribe") else {
            truth.count("refusals");
            assert!(message["error"]["code"].is_u64(), "{message}");
            return;
        };
        // An open channel may be subscribed to again. Of a private one, the reply may have been on
        // its way when it was forbidden: the word that it has ended follows.
        self.forbidden
            .retain(|name| *name != channel || is_private(name));
        let epoch = result["epoch"].as_str().unwrap().to_owned();
        assert_eq!(epoch.len(), 16);
        let offset = result["offset"].as_u64().unwrap();
        let top = truth.top((self.site, channel), &epoch);
        assert!(offset <= top, "{message}: nothing was published there yet");
        let before = self.subscribed.insert(channel, Position { epoch, offset });
        assert_eq!(before, None, "subscribed twice to {channel}");
        let recovered = result["recovered"].as_bool() == Some(true);
        if channel == "meter:1" {
            (self.began, self.newest) = (offset, BTreeMap::new());
        }
        match &from {
            Some(from) if recovered && channel != "newest:1" => {
                truth.count("recoveries");
                assert_eq!(
                    result["epoch"],
                    from.epoch.as_str(),
                    "over a change of epoch"
                );
                assert_eq!(offset, from.offset, "from another offset");
            }
            Some(_) if !recovered => truth.count("gaps told"),
            _ => {}
        }
        let empty = Vec::new();
        let publications = result["publications"].as_array().unwrap_or(&empty);
        assert!(recovered || channel == "newest:1" || publications.is_empty());
        for publication in publications {
            if channel == "newest:1" {
                let newest = publication["offset"].as_u64().unwrap();
                assert_eq!(newest, offset, "not the newest");
                truth.count("newest given");
            } else {
                self.on_publication(channel, publication, truth);
            }
        }
    }

    fn on_publication(&mut self, channel: &str, publication: &Value, truth: &mut Truth) {
        truth.count("deliveries");
        assert!(
            !self.forbidden.contains(&channel),
            "{channel} was forbidden before {publication}"
        );
        let number = publication["data"].as_u64().unwrap();
        let accepted = truth.all[usize::try_from(number).unwrap()].clone();
        let accepted = accepted.expect("what was not accepted was delivered");
        let name: Name = accepted.name;
        assert_eq!(
            (name.0, name.1),
            (self.site, channel),
            "misrouted: {publication}"
        );
        let offset = publication["offset"].as_u64().unwrap_or(0);
        assert_eq!(offset, accepted.offset);
        let position = self.subscribed.get_mut(channel);
        let position = position.unwrap_or_else(|| panic!("{channel} was not subscribed to"));
        if offset == 0 {
            return truth.count("outside the stream");
        }
        if position.offset == 0 {
            // An epoch without publications may have been replaced; the first tells the new one.
            position.epoch.clone_from(&accepted.epoch);
        }
        assert_eq!(
            position.epoch, accepted.epoch,
            "another epoch in the middle"
        );
        let conflated = publication["tags"]["conflated"] == "true";
        let skipped = position.offset + 1..offset;
        assert!(
            offset > position.offset,
            "twice or out of order: {publication}"
        );
        if !skipped.is_empty() {
            assert_eq!(
                channel, "meter:1",
                "a gap without a word: {position:?} {publication}"
            );
            truth.count("conflations");
        }
        assert!(!conflated || channel == "meter:1");
        position.offset = offset;
        if channel == "meter:1" {
            self.newest.insert(accepted.key, offset);
        }
    }

    /// Having read all: nothing is missing.
    pub(super) fn check_complete(&self, truth: &Truth) {
        for (channel, position) in &self.subscribed {
            let name = (self.site, *channel);
            let top = truth.top(name, &position.epoch);
            assert_eq!(position.offset, top, "{channel}: the last ones never came");
        }
        let Some(meter) = self.subscribed.get("meter:1") else {
            return;
        };
        for offset in self.began + 1..=meter.offset {
            let accepted = truth.at((self.site, "meter:1"), &meter.epoch, offset);
            let newest = self.newest.get(&accepted.key);
            assert!(
                newest.is_some_and(|newest| *newest >= offset),
                "neither {accepted:?} nor a newer one of its key came"
            );
        }
    }
}
