//! Who is in a channel, for namespaces that want to know.
//!
//! Someone whose connection broke off still counts as there for a while: a page that reloads
//! neither leaves nor joins. It delivers nothing: whoever calls is told what to announce.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::Notify, time::Instant};

use super::connection::ClientId;
use crate::broker::ChannelName;

/// One subscriber, as others see it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Member {
    pub(super) client: ClientId,
    /// Empty for whoever brought no token.
    pub(super) user: Arc<str>,
    /// The JSON of who it is.
    pub(super) info: Arc<str>,
}

/// Everyone in every channel.
#[derive(Debug, Default)]
pub(super) struct Presence {
    rooms: Mutex<Rooms>,
    /// Something is due earlier than before.
    changed: Notify,
}

#[derive(Debug, Default)]
struct Rooms {
    by_channel: HashMap<ChannelName, Room>,
    /// Those who have lost their connection, by when they will have left.
    leaving: BTreeSet<Leaving>,
}

/// When, who, and of which channel.
type Leaving = (Instant, ClientId, ChannelName);

#[derive(Debug, Default)]
struct Room {
    members: HashMap<ClientId, Present>,
}

#[derive(Debug)]
struct Present {
    member: Member,
    /// Set once its connection is lost.
    leaves: Option<Instant>,
}

impl Presence {
    /// `member` is in `channel` now. Whether others are to be told; `None` where the channel has
    /// `members_max` and takes in no more.
    pub(super) fn join(
        &self,
        channel: &ChannelName,
        member: Member,
        members_max: usize,
    ) -> Option<bool> {
        let mut guard = self.lock();
        let rooms = &mut *guard;
        let room = rooms.by_channel.entry(channel.clone()).or_default();
        let before = room.members.values().find(|present| {
            let same = !member.user.is_empty() && present.member.user == member.user;
            same && present.leaves.is_some()
        });
        let before = before.map(|present| (present.leaves, present.member.client));
        if let Some((Some(leaves), client)) = before {
            // Back in time: in its own place, as if it had never been away.
            room.members.remove(&client);
            rooms.leaving.remove(&(leaves, client, channel.clone()));
        }
        if room.members.len() >= members_max {
            return None;
        }
        let client = member.client;
        let leaves = None;
        room.members.insert(client, Present { member, leaves });
        Some(before.is_none())
    }

    /// `client` has left `channel` of its own will, or is to be counted as there for `grace` more.
    /// Who it was, if others are to be told now.
    pub(super) fn leave(
        &self,
        channel: &ChannelName,
        client: ClientId,
        grace: Option<Duration>,
    ) -> Option<Member> {
        let mut guard = self.lock();
        let rooms = &mut *guard;
        let room = rooms.by_channel.get_mut(channel)?;
        let present = room.members.get_mut(&client)?;
        // Whoever has no name can't be known again.
        if let Some(grace) = grace.filter(|_| !present.member.user.is_empty()) {
            let leaves = Instant::now() + grace;
            present.leaves = Some(leaves);
            let place = (leaves, client, channel.clone());
            rooms.leaving.insert(place.clone());
            if rooms.leaving.first() == Some(&place) {
                self.changed.notify_one();
            }
            return None;
        }
        let gone = room.members.remove(&client);
        if room.members.is_empty() {
            rooms.by_channel.remove(channel);
        }
        gone.map(|present| present.member)
    }

    /// Waits until someone's time is over, and tells who it was. Cancel safe.
    pub(super) async fn next_left(&self) -> (ChannelName, Member) {
        loop {
            let first = self.lock().leaving.first().map(|(due, _, _)| *due);
            match first {
                Some(due) if due <= Instant::now() => {
                    if let Some(left) = self.remove_first() {
                        return left;
                    }
                }
                Some(due) => {
                    tokio::select! {
                        () = tokio::time::sleep_until(due) => {}
                        () = self.changed.notified() => {}
                    }
                }
                None => self.changed.notified().await,
            }
        }
    }

    /// Takes out who is the first to have left, if its time is over.
    fn remove_first(&self) -> Option<(ChannelName, Member)> {
        let mut guard = self.lock();
        let rooms = &mut *guard;
        let due = rooms.leaving.first().map(|(due, _, _)| *due)?;
        if due > Instant::now() {
            return None;
        }
        let (_, client, channel) = rooms.leaving.pop_first()?;
        let room = rooms.by_channel.get_mut(&channel)?;
        let gone = room.members.remove(&client)?;
        if room.members.is_empty() {
            rooms.by_channel.remove(&channel);
        }
        Some((channel, gone.member))
    }

    /// Everyone in `channel`.
    pub(super) fn members(&self, channel: &ChannelName) -> Vec<Member> {
        let rooms = self.lock();
        let room = rooms.by_channel.get(channel);
        let members = room.map(|room| room.members.values().map(|p| p.member.clone()));
        members.map(Iterator::collect).unwrap_or_default()
    }

    /// How many clients and how many users are in `channel`.
    pub(super) fn stats(&self, channel: &ChannelName) -> (usize, usize) {
        let rooms = self.lock();
        let Some(room) = rooms.by_channel.get(channel) else {
            return (0, 0);
        };
        let users = room.members.values().map(|present| &present.member.user);
        let users: std::collections::HashSet<&Arc<str>> = users.collect();
        (room.members.len(), users.len())
    }

    /// Whether nobody is anywhere, or about to leave.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let rooms = self.lock();
        rooms.by_channel.is_empty() && rooms.leaving.is_empty()
    }

    /// Everyone in every channel, each as often as it is in one.
    pub(super) fn count(&self) -> usize {
        let rooms = self.lock();
        rooms
            .by_channel
            .values()
            .map(|room| room.members.len())
            .sum()
    }

    fn lock(&self) -> MutexGuard<'_, Rooms> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "presence_tests.rs"]
mod tests;
