//! What a shard answers to questions about a channel: subscribers alone may ask.

use std::sync::{Arc, atomic::Ordering};

use super::{
    channel::history,
    frame,
    hub::{Inquiry, Question},
    item::{Item, Reply},
    protocol::{self, ErrorCode},
    shard::Shard,
};
use crate::broker::Bounds;

impl Shard {
    /// Whether as much waits for a connection already as one page may cost.
    fn is_behind(&self, slot: usize) -> bool {
        let most = self.hub.config.recovery_bytes_max.as_usize();
        self.browsers.get(slot).is_some_and(|browser| {
            let due = browser.due.bytes(browser.connection.kind);
            due + browser.connection.waiting() >= most
        })
    }

    pub(super) fn on_inquiry(&mut self, inquiry: Inquiry) {
        let slot = inquiry.connection.slot.load(Ordering::Relaxed);
        let Some(browser) = self.browsers.get(slot) else {
            return;
        };
        let index = self.names.get(&inquiry.channel);
        let subscribed = index.is_some_and(|i| browser.follows.iter().any(|f| f.channel == *i));
        let id = inquiry.id;
        let json = match inquiry.question {
            Question::Subscribed(answer) => {
                // Whoever asked waits for it, or has gone.
                let _ = answer.send(subscribed);
                return;
            }
            _ if !subscribed => protocol::refused(id, ErrorCode::PermissionDenied),
            Question::Presence => {
                let members = self.hub.presence.members(&inquiry.channel);
                let members = members.into_iter().map(|m| (m.client.to_string(), m.info));
                protocol::presence(id, &members.collect::<Vec<_>>())
            }
            Question::PresenceStats => {
                let (clients, users) = self.hub.presence.stats(&inquiry.channel);
                protocol::presence_stats(id, clients, users)
            }
            Question::History(_) if self.is_behind(slot) => {
                // A page is this connection's alone: it may not ask for more than it reads.
                self.metrics.limited("recovery_bytes_max");
                protocol::refused(id, ErrorCode::LimitExceeded)
            }
            Question::History(filter) => {
                let config = &self.hub.config;
                let bounds = Bounds {
                    messages: config.recovery_messages_max,
                    bytes: config.recovery_bytes_max.as_usize(),
                };
                let (channel, kept) = (&inquiry.channel, history(&inquiry.namespace));
                match self.hub.broker.history(channel, &filter, bounds, kept) {
                    Ok(page) => {
                        self.metrics.beyond(page.beyond);
                        protocol::history(id, page.position, &page.publications)
                    }
                    Err(_) => protocol::refused(id, ErrorCode::UnrecoverablePosition),
                }
            }
        };
        // It tells of the channel, and must not leave once that is forbidden.
        let (bytes, channel) = (frame::text(&json), Arc::clone(&inquiry.channel.name));
        let reply = Item::Reply(Box::new(Reply { bytes, id, channel }));
        self.say_item(slot, reply, json.len());
    }
}
