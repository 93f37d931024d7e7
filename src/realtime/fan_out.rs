//! How a publication reaches the members of its channel: once each, in order, or with word of a
//! gap.

use std::sync::Arc;

use super::{
    broadcast::{Body, Broadcast},
    item::Item,
    kind::Kind,
    shard::{Member, Shard},
};
use crate::broker::Publication;

impl Shard {
    /// Has a publication due for every member that has not seen it.
    pub(super) fn gather(&mut self, broadcast: &Arc<Broadcast>) {
        let Body::Publication(publication) = &broadcast.body else {
            return;
        };
        let Some(index) = self.names.get(&broadcast.channel).copied() else {
            return;
        };
        let Some(channel) = self.channels.get_mut(index) else {
            return;
        };
        if channel.epoch != broadcast.epoch {
            // It waited in the mailbox while the channel was left, ended and was followed anew.
            // Those who follow it now begin after it.
            return;
        }
        self.work += channel.members.len();
        let mut special = Vec::new();
        for (key, member) in &mut channel.members {
            let Some(browser) = self.browsers.get_mut(member.browser) else {
                continue;
            };
            let plain = browser.connection.kind != Kind::Protocol;
            match member.judge(publication) {
                Judgement::Seen => continue,
                Judgement::Gap => {
                    special.push((key, member.browser));
                    continue;
                }
                Judgement::Next if plain => {
                    special.push((key, member.browser));
                    continue;
                }
                Judgement::Next => {}
            }
            if browser.is_untouched() {
                self.touched.push_back(member.browser);
            }
            browser.due.push(Item::Shared(Arc::clone(broadcast)));
            self.held += 1;
        }
        for (member, slot) in special {
            self.gather_special(broadcast, publication, (index, member, slot));
        }
    }

    /// One delivery to a plain stream, or to a subscription that has missed something.
    fn gather_special(
        &mut self,
        broadcast: &Arc<Broadcast>,
        publication: &Publication,
        (index, key, slot): (usize, usize, usize),
    ) {
        let Some(browser) = self.browsers.get(slot) else {
            return;
        };
        if browser.connection.kind == Kind::Protocol {
            return self.end_gap(slot, index, key);
        }
        let channel = self.channels.get_mut(index);
        let member = channel.and_then(|channel| channel.members.get_mut(key));
        let gap = member.is_some_and(|member| {
            // What was next is counted already.
            let gap = publication.offset > member.last + 1;
            member.last = member.last.max(publication.offset);
            gap
        });
        self.stream(slot, broadcast, gap);
    }

    /// Has word of who comes and goes due for every member that wants to know.
    pub(super) fn gather_announcement(&mut self, broadcast: &Arc<Broadcast>) {
        let index = self.names.get(&broadcast.channel).copied();
        let Some(channel) = index.and_then(|index| self.channels.get(index)) else {
            return;
        };
        self.work += channel.members.len();
        let wanting = channel.members.iter().filter(|(_, m)| m.join_leave);
        let slots: Vec<usize> = wanting.map(|(_, member)| member.browser).collect();
        for slot in slots {
            self.say_item(slot, Item::Shared(Arc::clone(broadcast)), 0);
        }
    }
}

/// Whether a publication is to be delivered.
enum Judgement {
    Next,
    Seen,
    Gap,
}

impl Member {
    /// What `publication` is to this member; the next one is counted as sent.
    fn judge(&mut self, publication: &Publication) -> Judgement {
        let offset = publication.offset;
        if offset == 0 {
            return Judgement::Next;
        }
        if offset <= self.last {
            return Judgement::Seen;
        }
        if offset > self.last + 1 {
            return Judgement::Gap;
        }
        self.last = offset;
        Judgement::Next
    }
}

#[cfg(test)]
#[path = "fan_out_tests.rs"]
mod tests;
