//! The methods of the API: which there are, and what each one does.
//!
//! The shapes of bodies and replies are those of Centrifugo's server API.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::{
    json,
    value::{RawValue, to_raw_value},
};

use super::{
    Metrics,
    batch::{Batch, Command},
    channel_replies, channel_requests, client_requests,
    error::Error,
    message::Message,
    scope::Scope,
};
use crate::{
    broker::{Draft, Published, SiteId},
    realtime::Realtime,
};

/// What the plugin may rely on; grows when a method or a field is added.
pub const API_LEVEL: u32 = 1;

/// Bounds of one request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) data: u64,
    pub(super) batch: usize,
    /// Bytes of one reply.
    pub(super) reply: u64,
}

/// A method of the API.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Method {
    Publish,
    Broadcast,
    Batch,
    Subscribe,
    Unsubscribe,
    Disconnect,
    Refresh,
    Presence,
    PresenceStats,
    History,
    HistoryRemove,
    Channels,
    Info,
}

/// JSON as it is sent.
type Json = Box<RawValue>;

impl Method {
    pub(super) const ALL: &'static [Self] = &[
        Self::Publish,
        Self::Broadcast,
        Self::Batch,
        Self::Subscribe,
        Self::Unsubscribe,
        Self::Disconnect,
        Self::Refresh,
        Self::Presence,
        Self::PresenceStats,
        Self::History,
        Self::HistoryRemove,
        Self::Channels,
        Self::Info,
    ];

    /// The method that a path names: `/api/publish`.
    pub(super) fn of(path: &str) -> Option<Self> {
        Self::named(path.strip_prefix("/api/")?)
    }

    fn named(name: &str) -> Option<Self> {
        let mut all = Self::ALL.iter();
        all.find(|method| method.name() == name).copied()
    }

    /// Whether it changes nothing: asked again, it is answered anew.
    pub(super) const fn only_reads(self) -> bool {
        match self {
            Self::Presence | Self::PresenceStats | Self::History | Self::Channels | Self::Info => {
                true
            }
            Self::Publish
            | Self::Broadcast
            | Self::Batch
            | Self::Subscribe
            | Self::Unsubscribe
            | Self::Disconnect
            | Self::Refresh
            | Self::HistoryRemove => false,
        }
    }

    /// Whether it takes rights away: never put off for want of memory, and harmless when it is
    /// done twice.
    pub(super) const fn revokes(self) -> bool {
        matches!(self, Self::Unsubscribe | Self::Disconnect)
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Broadcast => "broadcast",
            Self::Batch => "batch",
            Self::Subscribe => "subscribe",
            Self::Unsubscribe => "unsubscribe",
            Self::Disconnect => "disconnect",
            Self::Refresh => "refresh",
            Self::Presence => "presence",
            Self::PresenceStats => "presence_stats",
            Self::History => "history",
            Self::HistoryRemove => "history_remove",
            Self::Channels => "channels",
            Self::Info => "info",
        }
    }
}

/// Commands of one site's publisher, within what its key may do.
#[derive(Clone, Debug)]
pub(super) struct Commands {
    pub(super) realtime: Realtime,
    pub(super) site: SiteId,
    pub(super) scope: std::sync::Arc<Scope>,
    pub(super) limits: Limits,
    pub(super) metrics: Metrics,
}

impl Commands {
    /// Carries `method` out; the whole reply.
    ///
    /// # Errors
    ///
    /// Nothing was published then, but for a batch, whose commands fail one by one inside the
    /// reply.
    pub(super) async fn call(&self, method: Method, body: &[u8]) -> Result<Json, Error> {
        if method == Method::Batch {
            return self.batch(read(body)?).await;
        }
        let result = self.bounded(method, body, 0).await?;
        Ok(write(&HashMap::from([("result", result)])))
    }

    /// The result of `method`, where the reply has `used` bytes already. What was done is told
    /// even when that is too much; what only reads is refused then.
    async fn bounded(&self, method: Method, body: &[u8], used: u64) -> Result<Json, Error> {
        let most = self.limits.reply;
        if used >= most {
            return Err(Error::ReplyTooLarge(most));
        }
        let result = self.result(method, body).await?;
        let bytes = used.saturating_add(result.get().len() as u64);
        if method.only_reads() && bytes > most {
            return Err(Error::ReplyTooLarge(most));
        }
        Ok(result)
    }

    /// Carries `method` out, alone or as a command of a batch.
    async fn result(&self, method: Method, body: &[u8]) -> Result<Json, Error> {
        match method {
            Method::Publish => self.publish(read(body)?).await,
            Method::Broadcast => self.broadcast(read(body)?).await,
            Method::Info => Ok(write(&json!({
                "version": env!("CARGO_PKG_VERSION"),
                "api_level": API_LEVEL,
            }))),
            Method::Subscribe | Method::Unsubscribe | Method::Disconnect | Method::Refresh => {
                self.connections(method, body).await
            }
            Method::Channels => self.channels(body).await,
            Method::Presence | Method::PresenceStats | Method::History | Method::HistoryRemove => {
                self.channel(method, body)
            }
            Method::Batch => Err(Error::UnknownMethod),
        }
    }

    /// What changes the connections of somebody.
    async fn connections(&self, method: Method, body: &[u8]) -> Result<Json, Error> {
        let (realtime, site) = (&self.realtime, self.site);
        match method {
            Method::Disconnect => {
                let (target, how) = client_requests::disconnect(body)?;
                self.scope.reaches_all(method.name())?;
                realtime.disconnect(site, &target, &how)?;
            }
            Method::Refresh => {
                let (target, expiry) = client_requests::refresh(body)?;
                self.scope.reaches_all(method.name())?;
                realtime.refresh(site, &target, expiry);
            }
            Method::Subscribe => {
                let (target, channel) = client_requests::subscribe(body)?;
                self.scope.reaches(&channel)?;
                realtime.subscribe(site, &target, &channel, None)?;
            }
            _ => {
                let (target, channel) = client_requests::unsubscribe(body)?;
                self.scope.reaches(&channel)?;
                realtime.unsubscribe(site, &target, &channel).await?;
            }
        }
        Ok(write(&json!({})))
    }

    /// What looks at one channel, or forgets what it kept.
    fn channel(&self, method: Method, body: &[u8]) -> Result<Json, Error> {
        let (realtime, site) = (&self.realtime, self.site);
        if method == Method::History {
            let (channel, filter) = channel_requests::history(body)?;
            self.scope.reaches(&channel)?;
            let (position, kept) = realtime.history(site, &channel, &filter)?;
            return Ok(channel_replies::history(position, &kept));
        }
        let channel = channel_requests::channel(body)?;
        self.scope.reaches(&channel)?;
        Ok(match method {
            Method::Presence => channel_replies::presence(&realtime.presence(site, &channel)?),
            Method::PresenceStats => {
                let (clients, users) = realtime.presence_stats(site, &channel)?;
                channel_replies::presence_stats(clients, users)
            }
            _ => {
                realtime.history_remove(site, &channel)?;
                write(&json!({}))
            }
        })
    }

    async fn channels(&self, body: &[u8]) -> Result<Json, Error> {
        let pattern = channel_requests::pattern(body)?;
        self.scope.reaches_all(Method::Channels.name())?;
        let followed = self.realtime.channels(self.site).await;
        let followed = followed.iter();
        let found = followed.filter(|(name, _)| channel_requests::matches(&pattern, name));
        Ok(channel_replies::channels(found))
    }

    async fn publish(&self, mut message: Message) -> Result<Json, Error> {
        let (Some(channel), None) = (message.channel.take(), &message.channels) else {
            return Err(Error::Bad("publish takes `channel`".into()));
        };
        let draft = message.draft(self.limits.data)?;
        self.order(&channel, draft).await
    }

    async fn broadcast(&self, mut message: Message) -> Result<Json, Error> {
        let (Some(channels), None) = (message.channels.take(), &message.channel) else {
            return Err(Error::Bad("broadcast takes `channels`".into()));
        };
        if channels.len() > self.limits.batch {
            return Err(Error::Bad(format!(
                "channels: at most {}",
                self.limits.batch
            )));
        }
        let draft = message.draft(self.limits.data)?;
        let mut responses = Vec::with_capacity(channels.len());
        for channel in &channels {
            responses.push(HashMap::from([
                match self.order(channel, draft.clone()).await {
                    Ok(result) => ("result", result),
                    Err(error) => self.failed(&error),
                },
            ]));
        }
        Ok(write(&HashMap::from([("responses", responses)])))
    }

    /// Publishes on one channel; where it stands then.
    async fn order(&self, channel: &str, draft: Draft) -> Result<Json, Error> {
        self.scope.reaches(channel)?;
        let skipped = draft.skip_history;
        let published = self.realtime.publish(self.site, channel, draft).await?;
        Ok(position(published, skipped))
    }

    async fn batch(&self, batch: Batch) -> Result<Json, Error> {
        if batch.commands.len() > self.limits.batch {
            return Err(Error::Bad(format!(
                "commands: at most {}",
                self.limits.batch
            )));
        }
        let mut replies = Vec::with_capacity(batch.commands.len());
        let mut used = 0_u64;
        for command in batch.commands {
            let (name, result) = match self.command(command.get(), used).await {
                Ok((method, result)) => (method.name(), result),
                Err(error) => self.failed(&error),
            };
            used = used.saturating_add(result.get().len() as u64);
            replies.push(HashMap::from([(name, result)]));
        }
        Ok(write(&HashMap::from([("replies", replies)])))
    }

    async fn command(&self, command: &str, used: u64) -> Result<(Method, Json), Error> {
        let Command(name, body) = read(command.as_bytes())?;
        let method = Method::named(&name).filter(|method| *method != Method::Batch);
        let method = method.ok_or(Error::UnknownMethod)?;
        self.scope.allows(method)?;
        let result = self.bounded(method, body.get().as_bytes(), used).await?;
        Ok((method, result))
    }

    /// What stands in the place of a command that was refused, which is counted like a request.
    fn failed(&self, error: &Error) -> (&'static str, Json) {
        self.metrics.refused(error.label());
        tracing::debug!(%error, "a command of a publish request was refused");
        ("error", write(&error.json()))
    }
}

/// Where a channel stands, but for what took no place in it.
fn position(published: Published, skipped: bool) -> Json {
    if skipped {
        return write(&json!({}));
    }
    let (offset, epoch) = (
        published.position.offset,
        published.position.epoch.to_string(),
    );
    write(&match published.outdated {
        // Nobody was sent it.
        true => json!({ "offset": offset, "epoch": epoch, "outdated": true }),
        false => json!({ "offset": offset, "epoch": epoch }),
    })
}

/// A body, which must be one JSON object.
pub(super) fn read<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T, Error> {
    if !body.trim_ascii_start().starts_with(b"{") {
        // A list would be taken for the fields in their order.
        return Err(Error::Bad("expected a JSON object".into()));
    }
    serde_json::from_slice(body).map_err(|error| Error::Bad(error.to_string()))
}

/// What is made here has string keys and no cycles: it can always be written.
pub(super) fn write(value: &impl Serialize) -> Json {
    to_raw_value(value).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    #[test]
    fn the_configuration_knows_exactly_the_methods_that_there_are() {
        let names = Method::ALL.iter().map(|method| method.name());
        assert!(names.eq(config::METHODS.iter().copied()));
        for method in Method::ALL {
            let path = format!("/api/{}", method.name());
            assert_eq!(Method::of(&path), Some(*method));
        }
        for path in ["/api/", "/api/sing", "/publish", "/api/publish/", "/api"] {
            assert_eq!(Method::of(path), None, "{path}");
        }
    }
}
