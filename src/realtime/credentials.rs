//! Who a client is: what its tokens say, for how long they hold, and how they are renewed.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{
    client::{Client, since},
    close::Close,
    connection::Identity,
    hub::{Connect, Control, Mail, Origin, Subscription},
    kind::Kind,
    protocol::{self, Connected, ErrorCode},
    users::{Bearer, Denied},
};
use crate::auth::token::{self, ConnectionToken};

/// How long after the end of a token its bearer has to bring another: the SDK renews by what we
/// told it, not by being told.
pub(super) const GRACE: Duration = Duration::from_secs(25);

impl Client {
    /// When [`Client::on_time`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let subscriptions = self.subscriptions.iter().map(|(end, _)| *end).min();
        let end = self.end().map(|second| self.instant(second));
        end.into_iter().chain(subscriptions).min()
    }

    /// The Unix second in which the connection ends unless its token is renewed. No instant: one
    /// that is made anew each time from what is left never comes.
    fn end(&self) -> Option<u64> {
        let second = self.connection.identity()?.expires_at()?;
        let grace = match self.connection.kind {
            Kind::Protocol => GRACE,
            // A plain stream can't bring another token.
            Kind::Plain | Kind::EventStream => Duration::ZERO,
        };
        Some(second.saturating_add(grace.as_secs()))
    }

    /// Ends what has not been renewed in time.
    pub(super) fn on_time(&mut self) {
        if self
            .end()
            .is_some_and(|second| second <= self.hub.clock.now())
        {
            return self.close(&Close::Expired);
        }
        let now = Instant::now();
        let (connection, hub) = (&self.connection, &self.hub);
        self.subscriptions.retain(|(end, channel)| {
            if *end <= now {
                let (connection, channel) = (Arc::clone(connection), Arc::clone(channel));
                let shard = connection.shard;
                let control = Control::Expire {
                    connection,
                    channel,
                };
                hub.control(shard, control);
            }
            *end > now
        });
    }

    /// Takes the connection in as `identity`.
    pub(super) fn enter(&self, identity: Identity) -> Result<(), Denied> {
        let most = self.hub.config.connections_per_user_max;
        let users = self.hub.users(self.connection.site);
        // A site that is gone has nobody.
        users.map_or(Err(Denied::Revoked), |users| {
            users.enter(&self.connection, identity, most)
        })
    }

    pub(super) async fn on_connect(&mut self, id: u32, connect: &protocol::Connect<'_>) {
        let Some(rules) = self.hub.rules(self.connection.site) else {
            return self.close(&Close::Shutdown);
        };
        let now = self.hub.clock.now();
        let mut token = None;
        if !connect.token.is_empty() {
            token = match rules.keys.connection(&connect.token, now) {
                Ok(token) => Some(token),
                Err(token::Error::Expired) => {
                    return self.refuse(id, ErrorCode::TokenExpired).await;
                }
                Err(token::Error::Invalid(reason)) => {
                    // Nobody is made anonymous in silence.
                    tracing::debug!(reason, "a connection token does not hold");
                    return self.close(&Close::InvalidToken);
                }
            };
        }
        let identity = Identity::of(token.as_ref());
        let client = identity.client.to_string();
        match self.enter(identity) {
            Ok(()) => {}
            // It may fetch another.
            Err(Denied::Revoked) => return self.refuse(id, ErrorCode::TokenExpired).await,
            Err(Denied::TooMany) => return self.close(&Close::ConnectionLimit),
        }
        self.connected = true;
        let reply = Connected {
            client,
            ping: self.hub.config.ping_interval.as_secs(),
            ttl: token.as_ref().map(|token| token.expires_at - now),
        };
        let subscriptions = self.server_side(token.as_ref(), connect);
        self.mail(Mail::Connect(Box::new(Connect {
            connection: Arc::clone(&self.connection),
            id,
            reply,
            subscriptions,
        })))
        .await;
    }

    /// What the token subscribes the connection to.
    fn server_side(
        &self,
        token: Option<&ConnectionToken>,
        connect: &protocol::Connect<'_>,
    ) -> Vec<Subscription> {
        let Some(token) = token else {
            return Vec::new();
        };
        let channels = token.subscriptions.iter();
        let wishes = channels.filter_map(|(name, options)| {
            let rules = self.hub.rules(self.connection.site)?;
            let known = rules
                .find(name)
                .inspect_err(|error| {
                    tracing::debug!(channel = name, ?error, "a token names a channel in vain");
                })
                .ok()?;
            let request = connect.subs.get(name.as_str());
            Some(Subscription {
                connection: Arc::clone(&self.connection),
                channel: known.name,
                namespace: known.namespace,
                since: request.and_then(|request| since(&request.0).ok()?),
                strict: false,
                join_leave: true,
                info: options.info.as_deref().map(Box::from),
                data: options.data.as_deref().map(Box::from),
                issued: Some(token.issued_at),
                ttl: None,
                origin: Origin::Connect,
            })
        });
        wishes.collect()
    }

    /// Has a subscription end at the Unix second `end`, unless it is renewed. As many ends are
    /// kept in mind as there may be channels, those of refused subscriptions among them; one that
    /// would have none must not begin.
    pub(super) fn expire_subscription(
        &mut self,
        channel: &Arc<str>,
        end: u64,
    ) -> Result<(), ErrorCode> {
        let end = self.instant(end) + GRACE;
        self.subscriptions.retain(|(_, known)| known != channel);
        if self.subscriptions.len() >= self.hub.config.channels_per_connection_max {
            self.connection.limited("channels_per_connection_max");
            return Err(ErrorCode::LimitExceeded);
        }
        self.subscriptions.push((end, Arc::clone(channel)));
        Ok(())
    }

    pub(super) async fn on_refresh(&self, id: u32, token: &str) {
        let (Some(rules), Some(identity)) = (
            self.hub.rules(self.connection.site),
            self.connection.identity(),
        ) else {
            return;
        };
        let now = self.hub.clock.now();
        let token = match rules.keys.connection(token, now) {
            Ok(token) => token,
            // The SDK takes error 109 here for the end: it comes back with another token instead.
            Err(token::Error::Expired) => return self.close(&Close::Expired),
            Err(token::Error::Invalid(_)) => return self.close(&Close::InvalidToken),
        };
        if token.user != *identity.user {
            return self.close(&Close::InvalidToken);
        }
        if token.sid.as_deref() != identity.sid.as_deref() {
            // The user has logged in anew: a new connection is of the new session.
            return self.close(&Close::Expired);
        }
        let bearer = Bearer {
            issued: token.issued_at,
            ..identity.bearer()
        };
        let users = self.hub.users(self.connection.site);
        if users.is_none_or(|users| users.revokes(bearer, None)) {
            return self.close(&Close::Expired);
        }
        identity.reissue(token.issued_at, token.expires_at);
        let client = identity.client.to_string();
        let reply = protocol::refreshed(id, &client, token.expires_at - now);
        self.say(reply).await;
    }

    pub(super) async fn on_sub_refresh(&mut self, id: u32, channel: &str, token: &str) {
        match self.renew(channel, token) {
            Ok(ttl) => self.say(protocol::subscription_refreshed(id, ttl)).await,
            Err(error) => self.refuse(id, error).await,
        }
    }

    /// Seconds for which the new token of a subscription holds.
    fn renew(&mut self, channel: &str, token: &str) -> Result<u64, ErrorCode> {
        let known = self.find(channel)?;
        let name = &known.name.name;
        if !self.subscriptions.iter().any(|(_, known)| known == name) {
            return Err(ErrorCode::PermissionDenied);
        }
        let rules = self.hub.rules(self.connection.site);
        let rules = rules.ok_or(ErrorCode::Internal)?;
        let identity = self.connection.identity().ok_or(ErrorCode::Internal)?;
        let now = self.hub.clock.now();
        let token = rules.subscription_token(token, (identity, channel), now)?;
        let bearer = Bearer {
            issued: token.issued_at,
            ..identity.bearer()
        };
        let users = self.hub.users(self.connection.site);
        if users.is_none_or(|users| users.revokes(bearer, Some(channel))) {
            return Err(ErrorCode::PermissionDenied);
        }
        self.expire_subscription(name, token.expires_at)?;
        Ok(token.expires_at - now)
    }

    fn instant(&self, second: u64) -> Instant {
        let seconds = second.saturating_sub(self.hub.clock.now());
        // A life is bounded by its site's longest one, far below what an instant can be.
        Instant::now() + Duration::from_secs(seconds.min(10 * 365 * 86_400))
    }
}

impl Identity {
    /// The bearer of `token`, or nobody.
    pub(super) fn of(token: Option<&ConnectionToken>) -> Self {
        let Some(token) = token else {
            return Self::new("", None, None);
        };
        let sid = token.sid.as_deref().map(Box::from);
        let info = token.info.as_deref().map(Box::from);
        let identity = Self::new(&token.user, sid, info);
        identity.reissue(token.issued_at, token.expires_at);
        identity
    }
}
