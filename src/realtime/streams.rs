//! What a shard tells plain streams: events with their positions, and honest word of a gap.

use std::sync::Arc;

use super::{
    broadcast::Broadcast, frame, hub::Subscription, item::Item, kind::Kind, positions,
    shard::Shard, subscriptions::Made,
};

impl Shard {
    /// The first words of a plain stream about one of its channels: what it missed, or that there
    /// is a gap.
    pub(super) fn begin_stream(
        &mut self,
        slot: usize,
        wish: &Subscription,
        made: &Made,
        gaps: bool,
    ) {
        let recovered = made.recovered.as_deref();
        if gaps && wish.since.is_some() && recovered.is_none() {
            self.tell_gap(slot, &wish.channel.name);
        }
        for publication in recovered.unwrap_or_default() {
            let broadcast = Broadcast::publication(
                wish.channel.clone(),
                made.position.epoch,
                Arc::clone(publication),
                &wish.namespace,
            );
            let broadcast = Arc::new(broadcast);
            if wish.connection.kind == Kind::EventStream {
                // The position moves once all of it was sent: a stream that breaks off before
                // comes back with the one that it had.
                let bytes = broadcast.event_without_id();
                self.make_due(slot, Item::Marked(bytes, broadcast));
            } else {
                self.stream(slot, &broadcast, false);
            }
        }
        if wish.connection.positions {
            self.mark_moved(slot);
        }
    }

    /// Has a publication due for a plain stream, after word of a gap where there is one.
    pub(super) fn stream(&mut self, slot: usize, broadcast: &Arc<Broadcast>, gap: bool) {
        let Some(browser) = self.browsers.get(slot) else {
            return;
        };
        let (kind, positions) = (browser.connection.kind, browser.connection.positions);
        let several = browser.follows.len() > 1;
        if gap {
            self.metrics.gaps.inc();
            if positions {
                self.tell_gap(slot, &broadcast.channel.name);
            }
        }
        if kind == Kind::EventStream && several {
            let bytes = broadcast.event(Some(&self.positions(slot)));
            self.make_due(slot, Item::Marked(bytes, Arc::clone(broadcast)));
        } else {
            self.make_due(slot, Item::Shared(Arc::clone(broadcast)));
        }
        if kind == Kind::Plain && positions {
            self.mark_moved(slot);
        }
    }

    fn tell_gap(&mut self, slot: usize, channel: &str) {
        let gap = serde_json::json!({ "type": "sidewire_gap", "channel": channel });
        self.tell(slot, &gap.to_string(), None);
    }

    /// Tells a plain stream where its channels stand, if that is to be told in this turn.
    pub(super) fn tell_positions(&mut self, slot: usize) {
        let Some(browser) = self.browsers.get_mut(slot) else {
            return;
        };
        if !std::mem::take(&mut browser.moved) {
            return;
        }
        // Still touched: what follows is no new touch.
        let due = std::mem::take(&mut browser.due);
        let id = self.positions(slot);
        let position = serde_json::json!({ "type": "sidewire_position", "id": id });
        let item = self.word(slot, &position.to_string(), Some(&id));
        if let (Some(browser), Some(item)) = (self.browsers.get_mut(slot), item) {
            browser.due = due;
            browser.due.push(item);
            self.held += 1;
        }
    }

    fn tell(&mut self, slot: usize, json: &str, id: Option<&str>) {
        if let Some(item) = self.word(slot, json, id) {
            self.make_due(slot, item);
        }
    }

    /// A word of our own to a plain stream. An event stream takes its position as an id without
    /// an event.
    fn word(&self, slot: usize, json: &str, id: Option<&str>) -> Option<Item> {
        let kind = self.browsers.get(slot)?.connection.kind;
        let bytes = match (kind, id) {
            (Kind::EventStream, Some(id)) => format!("id: {id}\n\n").into(),
            (Kind::EventStream, None) => format!("data: {json}\n\n").into(),
            (Kind::Protocol | Kind::Plain, _) => frame::text(json.as_bytes()),
        };
        Some(Item::Own(bytes))
    }

    /// Where the channels of a plain stream stand.
    fn positions(&self, slot: usize) -> String {
        let follows = self.browsers.get(slot).map(|browser| &browser.follows);
        let each = follows.into_iter().flatten().filter_map(|follows| {
            let channel = self.channels.get(follows.channel)?;
            let member = channel.members.get(follows.member)?;
            Some(positions::one(
                &channel.name.name,
                channel.epoch,
                member.last,
            ))
        });
        each.collect::<Vec<_>>().join(",")
    }
}
