//! What the server's side may ask of the hub: publish, end connections and subscriptions, look.
//!
//! Whoever calls has checked who is asking.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::value::RawValue;
use tokio::sync::oneshot;

use super::{
    Realtime,
    channel::{Known, history},
    client::end_subscription,
    close::Close,
    connection::Connection,
    credentials::GRACE,
    hub::{Control, Ending, Hub, Origin, Refused, Subscription},
    kind::Kind,
    protocol,
    tally::Tally,
    users::{Full, Target, Users},
};
use crate::{
    auth::token::LEEWAY,
    broker::{Bounds, ChannelName, Draft, HistoryFilter, Position, Publication, Published, SiteId},
};

/// How a connection is told that the server's side ends it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Disconnect {
    /// 3000 to 4999: below 3500, and from 4000 to 4499, the client comes back.
    pub code: u16,
    /// 1 to 123 bytes that are not JSON.
    pub reason: String,
}

impl Default for Disconnect {
    fn default() -> Self {
        Self {
            code: 3503,
            reason: "force disconnect".into(),
        }
    }
}

/// When a connection ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Expiry {
    /// At once; the client comes back with another token.
    Now,
    /// In this Unix second.
    At(u64),
    /// As long as it likes.
    Never,
}

/// Who is in a channel: the JSON of each by the id of its connection.
pub type Presence = BTreeMap<String, Box<RawValue>>;

/// What a site's browsers hold.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Status {
    /// Connections of every kind.
    pub connections: usize,
    /// Users that are connected, as their tokens name them.
    pub users: usize,
    /// Subscriptions.
    pub subscriptions: usize,
    /// Channels that someone follows.
    pub channels: usize,
    /// Revocations in force.
    pub revocations: usize,
    /// Publications since the start.
    pub publications: u64,
}

impl Realtime {
    /// Orders a publication and hands it to whoever follows the channel. Waits for no browser.
    ///
    /// `draft.data` must be one JSON value without raw newlines or carriage returns.
    ///
    /// # Errors
    ///
    /// Nothing was published then.
    pub async fn publish(
        &self,
        site: SiteId,
        channel: &str,
        draft: Draft,
    ) -> Result<Published, Refused> {
        let known = self.0.hub.find(site, channel)?;
        self.0.hub.publish(&known, draft).await
    }

    /// Closes the connections that `target` means, and lets no token hold any more that its user
    /// was issued until now, or that belongs to its session. How many were closed.
    ///
    /// # Errors
    ///
    /// [`Refused::RevocationsFull`]: nothing was done.
    pub fn disconnect(
        &self,
        site: SiteId,
        target: &Target,
        how: &Disconnect,
    ) -> Result<usize, Refused> {
        self.counted(disconnect((&self.0.hub, site), target, how))
    }

    /// Ends the subscriptions to `channel` of those that `target` means, or of everybody where it
    /// names nobody, and lets no token hold for it any more that was issued until now. When it
    /// returns, nothing of the channel leaves towards them any more, not even what waits.
    ///
    /// # Errors
    ///
    /// Nothing was done then.
    pub async fn unsubscribe(
        &self,
        site: SiteId,
        target: &Target,
        channel: &str,
    ) -> Result<(), Refused> {
        self.counted(unsubscribe((&self.0.hub, site), target, channel).await)
    }

    /// Has the connections that `target` means end at another time than their tokens do: in the
    /// Unix second `expires_at`, never, or now, so that they come back with another token. How
    /// many were meant.
    pub fn refresh(&self, site: SiteId, target: &Target, expiry: Expiry) -> usize {
        let found = self.find(site, target);
        let now = self.0.hub.clock.now();
        for connection in &found {
            let Some(identity) = connection.identity() else {
                continue;
            };
            let second = match expiry {
                Expiry::Now => {
                    connection.close(&Close::Expired);
                    continue;
                }
                Expiry::Never => None,
                Expiry::At(second) => Some(second),
            };
            // Told first: one that is over already is closed as soon as its task looks.
            let ttl = second.map(|second| second.saturating_sub(now));
            if connection.kind == Kind::Protocol {
                connection.say(&protocol::refresh_push(ttl));
            }
            identity.expire_at(second);
            connection.wake();
        }
        found.len()
    }

    /// Has those that `target` means follow `channel`, whatever their tokens say. How many were
    /// told to.
    ///
    /// # Errors
    ///
    /// Nothing was done then.
    pub fn subscribe(
        &self,
        site: SiteId,
        target: &Target,
        channel: &str,
        info: Option<&str>,
    ) -> Result<usize, Refused> {
        let known = self.0.hub.find(site, channel)?;
        let found = self.find(site, target);
        for connection in &found {
            let wish = server_side(connection, &known, info);
            let control = Control::Subscribe(Box::new(wish));
            self.0.hub.control(connection.shard, control);
        }
        Ok(found.len())
    }

    /// Who is in `channel`.
    ///
    /// # Errors
    ///
    /// [`Refused::NotAvailable`] where the namespace keeps no presence.
    pub fn presence(&self, site: SiteId, channel: &str) -> Result<Presence, Refused> {
        let known = self.with_presence(site, channel)?;
        let members = self.0.hub.presence.members(&known.name).into_iter();
        let members = members.filter_map(|member| {
            let info = RawValue::from_string(member.info.to_string()).ok()?;
            Some((member.client.to_string(), info))
        });
        Ok(members.collect())
    }

    /// How many clients and how many users are in `channel`.
    ///
    /// # Errors
    ///
    /// [`Refused::NotAvailable`] where the namespace keeps no presence.
    pub fn presence_stats(&self, site: SiteId, channel: &str) -> Result<(usize, usize), Refused> {
        let known = self.with_presence(site, channel)?;
        Ok(self.0.hub.presence.stats(&known.name))
    }

    fn with_presence(&self, site: SiteId, channel: &str) -> Result<Known, Refused> {
        let known = self.0.hub.find(site, channel)?;
        let offered = known.namespace.presence;
        offered.then_some(known).ok_or(Refused::NotAvailable)
    }

    /// What is kept of `channel`, at most what one recovery may cost.
    ///
    /// # Errors
    ///
    /// [`Refused::Unrecoverable`] where the position is of another epoch, or too old.
    pub fn history(
        &self,
        site: SiteId,
        channel: &str,
        filter: &HistoryFilter,
    ) -> Result<(Position, Vec<Arc<Publication>>), Refused> {
        let known = self.with_history(site, channel)?;
        let bounds = Bounds {
            messages: self.0.config.recovery_messages_max,
            bytes: self.0.config.recovery_bytes_max.as_usize(),
        };
        let kept = history(&known.namespace);
        let found = self.0.hub.broker.history(&known.name, filter, bounds, kept);
        let page = found.map_err(|_| Refused::Unrecoverable)?;
        self.0.metrics.beyond(page.beyond);
        Ok((page.position, page.publications))
    }

    /// Forgets what is kept of `channel`; its position stays.
    ///
    /// # Errors
    ///
    /// [`Refused::NotAvailable`] where the namespace keeps no history.
    pub fn history_remove(&self, site: SiteId, channel: &str) -> Result<(), Refused> {
        let known = self.with_history(site, channel)?;
        self.0.hub.broker.remove_history(&known.name);
        Ok(())
    }

    fn with_history(&self, site: SiteId, channel: &str) -> Result<Known, Refused> {
        let known = self.0.hub.find(site, channel)?;
        let offered = known.namespace.history_size > 0;
        offered.then_some(known).ok_or(Refused::NotAvailable)
    }

    /// The channels of a site that someone follows, with the number of followers.
    pub async fn channels(&self, site: SiteId) -> BTreeMap<Arc<str>, usize> {
        let hub = &self.0.hub;
        let mut all = BTreeMap::new();
        for shard in 0..hub.shards().len() {
            let (counts, counted) = oneshot::channel();
            hub.control(shard, Control::Count { site, counts });
            // A shard that has stopped has no followers any more.
            for (name, count) in counted.await.unwrap_or_default() {
                *all.entry(name).or_default() += count;
            }
        }
        all
    }

    /// What a site's browsers hold now.
    pub async fn status(&self, site: SiteId) -> Status {
        let channels = self.channels(site).await;
        let hub = &self.0.hub;
        let (users, tally) = (hub.users(site), hub.tally(site));
        Status {
            connections: tally.map_or(0, Tally::connections),
            users: users.map_or(0, Users::count),
            subscriptions: channels.values().sum(),
            channels: channels.len(),
            revocations: users.map_or(0, |users| users.revocations(hub.clock.now())),
            publications: tally.map_or(0, Tally::publications),
        }
    }

    /// Has those gauges tell how it is now that nobody keeps up to date meanwhile.
    pub fn measure(&self) {
        let hub = &self.0.hub;
        let now = hub.clock.now();
        let revocations = hub.all_users().map(|users| users.revocations(now)).sum();
        self.0.metrics.measured(revocations, hub.presence.count());
        hub.broker.measure();
    }

    fn counted<T>(&self, done: Result<T, Refused>) -> Result<T, Refused> {
        if matches!(done, Err(Refused::RevocationsFull)) {
            self.0.metrics.limited("revocations_max");
        }
        done
    }

    fn find(&self, site: SiteId, target: &Target) -> Vec<Arc<Connection>> {
        let users = self.0.hub.users(site);
        users.map(|users| users.find(target)).unwrap_or_default()
    }
}

/// See [`Realtime::disconnect`].
pub(super) fn disconnect(
    (hub, site): (&Hub, SiteId),
    target: &Target,
    how: &Disconnect,
) -> Result<usize, Refused> {
    let found = revoke((hub, site), target, None)?;
    for connection in &found {
        let reason = how.reason.as_str().into();
        connection.close(&Close::Asked(how.code, reason));
    }
    Ok(found.len())
}

/// See [`Realtime::unsubscribe`].
pub(super) async fn unsubscribe(
    (hub, site): (&Hub, SiteId),
    target: &Target,
    channel: &str,
) -> Result<(), Refused> {
    let known = hub.find(site, channel)?;
    let name = &known.name.name;
    let found = revoke((hub, site), target, Some(name))?;
    let ending = Ending {
        code: 2000,
        reason: "server unsubscribe".into(),
    };
    for connection in &found {
        end_subscription(hub, connection, name, ending.clone());
    }
    if *target == Target::default() {
        clear(hub, &known.name, &ending).await;
    }
    Ok(())
}

async fn clear(hub: &Hub, channel: &ChannelName, ending: &Ending) {
    let mut waiting = Vec::new();
    for shard in 0..hub.shards().len() {
        let (cleared, done) = oneshot::channel();
        let control = Control::Clear {
            channel: channel.clone(),
            ending: ending.clone(),
            cleared,
        };
        hub.control(shard, control);
        waiting.push(done);
    }
    for done in waiting {
        // A shard that has stopped has nobody any more.
        let _ = done.await;
    }
}

fn revoke(
    (hub, site): (&Hub, SiteId),
    target: &Target,
    channel: Option<&str>,
) -> Result<Vec<Arc<Connection>>, Refused> {
    let (Some(users), Some(rules)) = (hub.users(site), hub.rules(site)) else {
        return Ok(Vec::new());
    };
    // A token may be as far ahead of our clock, and be renewed as long after its end.
    let life = rules.token_life_max + LEEWAY + GRACE;
    let time = (hub.clock.now(), life);
    let revoked = users.revoke(target, channel, time, hub.config.revocations_max);
    revoked.map_err(|Full| Refused::RevocationsFull)
}

fn server_side(connection: &Arc<Connection>, known: &Known, info: Option<&str>) -> Subscription {
    Subscription {
        connection: Arc::clone(connection),
        channel: known.name.clone(),
        namespace: Arc::clone(&known.namespace),
        since: None,
        strict: false,
        join_leave: true,
        info: info.map(Box::from),
        data: None,
        // The server's side stands for it, not a token.
        issued: None,
        ttl: None,
        origin: Origin::Server,
    }
}
