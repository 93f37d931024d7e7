//! One client of the protocol: what its commands do, what its tokens permit, and when they end.
//!
//! It reads no socket and changes no subscription itself: commands come in as messages, and
//! subscriptions are its shard's work.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use serde_json::value::RawValue;
use tokio::{sync::oneshot, time::Instant};

use super::{
    allowance::Allowance,
    channel::Known,
    close::Close,
    connection::{Connection, Identity},
    hub::{Connect, Control, Ending, Hub, Inquiry, Mail, Origin, Question, Refused, Subscription},
    protocol::{self, Connected, ErrorCode, Request, SubscriptionRequest},
    users::Denied,
};
use crate::{
    auth::token::{self, ConnectionToken},
    broker::{Draft, HistoryFilter, Since},
};

/// How long after the end of a token its bearer has to bring another: the SDK renews by what we
/// told it, not by being told.
const GRACE: Duration = Duration::from_secs(25);

/// The state of a client beside its subscriptions.
pub(super) struct Client {
    pub(super) connection: Arc<Connection>,
    hub: Arc<Hub>,
    pub(super) connected: bool,
    allowance: Allowance,
    /// When the connection ends unless its token is renewed.
    expires: Option<Instant>,
    /// When subscriptions end unless their tokens are renewed.
    subscriptions: Vec<(Instant, Arc<str>)>,
}

impl Client {
    pub(super) fn new(connection: Arc<Connection>, hub: Arc<Hub>) -> Self {
        Self {
            connection,
            connected: false,
            allowance: Allowance::new(&hub.config),
            hub,
            expires: None,
            subscriptions: Vec::new(),
        }
    }

    /// Does what the commands of one message say.
    pub(super) async fn on_message(&mut self, message: &[u8]) {
        for command in protocol::commands(message) {
            let Ok(command) = command else {
                return self.close(&Close::BadRequest);
            };
            let id = command.id;
            self.on_request(id, command.request()).await;
            if self.connection.is_closing() {
                return;
            }
        }
    }

    /// Takes one command off the allowance.
    pub(super) fn spend(&mut self) {
        if !self.allowance.spend(&self.hub.config) {
            self.close(&Close::TooManyRequests);
        }
    }

    /// When [`Client::on_time`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let subscriptions = self.subscriptions.iter().map(|(end, _)| *end).min();
        self.expires.into_iter().chain(subscriptions).min()
    }

    /// Ends what has not been renewed in time.
    pub(super) fn on_time(&mut self) {
        let now = Instant::now();
        if self.expires.is_some_and(|end| end <= now) {
            return self.close(&Close::Expired);
        }
        let (connection, hub) = (&self.connection, &self.hub);
        self.subscriptions.retain(|(end, channel)| {
            if *end <= now {
                let ending = Ending {
                    code: 2501,
                    reason: "expired".into(),
                };
                end_subscription(hub, connection, channel, ending);
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

    /// Has the connection end with its token, at the Unix second `expires_at`, or `grace` later.
    pub(super) fn expire_at(&mut self, expires_at: u64, grace: Duration) {
        self.expires = Some(self.instant(expires_at) + grace);
    }

    async fn on_request(&mut self, id: u32, request: Request<'_>) {
        if matches!(request, Request::Pong) {
            return;
        }
        self.spend();
        let ordered = match request {
            Request::Connect(_) => !self.connected,
            _ => self.connected,
        };
        if !ordered || (id == 0 && !matches!(request, Request::Send)) {
            return self.close(&Close::BadRequest);
        }
        match request {
            Request::Connect(connect) => self.on_connect(id, &connect).await,
            Request::Subscribe(subscribe) => self.on_subscribe(id, &subscribe).await,
            Request::Unsubscribe(channel) => self.on_unsubscribe(id, &channel).await,
            Request::Publish(channel, data) => self.on_publish(id, &channel, data).await,
            Request::Refresh(token) => self.on_refresh(id, &token).await,
            Request::SubRefresh(channel, token) => self.on_sub_refresh(id, &channel, &token).await,
            other => self.on_question(id, other).await,
        }
    }

    /// A command that changes nothing.
    async fn on_question(&self, id: u32, request: Request<'_>) {
        match request {
            Request::Presence(channel) => self.ask(id, &channel, Question::Presence).await,
            Request::PresenceStats(channel) => {
                self.ask(id, &channel, Question::PresenceStats).await;
            }
            Request::History(history) => {
                let question = Question::History(filter(&history));
                self.ask(id, &history.channel, question).await;
            }
            Request::Ping => self.say(protocol::ponged(id)).await,
            Request::Refused(error) => self.refuse(id, error).await,
            _ => {}
        }
    }

    async fn on_connect(&mut self, id: u32, connect: &protocol::Connect<'_>) {
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
        if let Some(token) = &token {
            self.expire_at(token.expires_at, GRACE);
        }
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
                since: request.and_then(|request| since(request).ok()?),
                strict: false,
                join_leave: true,
                info: options.info.as_deref().map(Box::from),
                issued: Some(token.issued_at),
                ttl: None,
                origin: Origin::Connect,
            })
        });
        wishes.collect()
    }

    async fn on_subscribe(&mut self, id: u32, subscribe: &protocol::Subscribe<'_>) {
        match self.check(id, subscribe) {
            Ok(wish) => self.mail(Mail::Subscribe(Box::new(wish))).await,
            Err(error) => self.refuse(id, error).await,
        }
    }

    fn check(
        &mut self,
        id: u32,
        subscribe: &protocol::Subscribe<'_>,
    ) -> Result<Subscription, ErrorCode> {
        // Maps and shared polls are other things than streams.
        if subscribe.kind != 0 {
            return Err(ErrorCode::NotAvailable);
        }
        let since = since(&SubscriptionRequest {
            recover: subscribe.recover,
            offset: subscribe.offset,
            epoch: subscribe.epoch.as_ref().into(),
        })?;
        let rules = self.hub.rules(self.connection.site);
        let rules = rules.ok_or(ErrorCode::Internal)?;
        let known = rules.find(&subscribe.channel)?;
        let connection = Arc::clone(&self.connection);
        let identity = connection.identity().ok_or(ErrorCode::Internal)?;
        let now = self.hub.clock.now();
        let token = (!subscribe.token.is_empty()).then(|| {
            let bearer = (identity, &*subscribe.channel);
            rules.subscription_token(&subscribe.token, bearer, now)
        });
        let permit = known.permit(Some(identity), token.transpose()?)?;
        if let Some(end) = permit.expires_at {
            self.expire_subscription(&known.name.name, end);
        }
        Ok(Subscription {
            connection: Arc::clone(&connection),
            channel: known.name,
            namespace: known.namespace,
            since,
            // Flag 2 asks for an error in place of `recovered: false`.
            strict: subscribe.flag & 2 != 0,
            join_leave: subscribe.join_leave,
            info: permit.info,
            issued: permit.issued,
            ttl: permit.expires_at.map(|end| end - now),
            origin: Origin::Command(id),
        })
    }

    /// Has a subscription end at the Unix second `end`, unless it is renewed.
    fn expire_subscription(&mut self, channel: &Arc<str>, end: u64) {
        let end = self.instant(end) + GRACE;
        self.subscriptions.retain(|(_, known)| known != channel);
        if self.subscriptions.len() < self.hub.config.channels_per_connection_max {
            self.subscriptions.push((end, Arc::clone(channel)));
        }
    }

    async fn on_unsubscribe(&mut self, id: u32, channel: &str) {
        self.subscriptions.retain(|(_, known)| **known != *channel);
        let connection = Arc::clone(&self.connection);
        let channel = channel.into();
        self.mail(Mail::Unsubscribe {
            connection,
            id,
            channel,
        })
        .await;
    }

    async fn on_publish(&self, id: u32, channel: &str, data: Option<&RawValue>) {
        match self.publish(channel, data).await {
            Ok(()) => self.say(protocol::published(id)).await,
            Err(error) => self.refuse(id, error).await,
        }
    }

    async fn publish(&self, channel: &str, data: Option<&RawValue>) -> Result<(), ErrorCode> {
        let known = self.find(channel)?;
        let identity = self.connection.identity().ok_or(ErrorCode::Internal)?;
        let subscribed = known.may_publish(identity);
        let must_subscribe = subscribed.ok_or(ErrorCode::PermissionDenied)?;
        let data = data.ok_or(ErrorCode::BadRequest)?;
        if must_subscribe && !self.is_subscribed(&known).await {
            return Err(ErrorCode::PermissionDenied);
        }
        let client = identity.client.to_string();
        let info = protocol::client_info(&identity.user, &client, identity.info.as_deref(), None);
        let draft = Draft {
            data: Bytes::from(protocol::on_one_line(data)),
            info: Some((*info).into()),
            ..Draft::default()
        };
        let published = self.hub.publish(&known, draft).await;
        published.map(drop).map_err(|refused| match refused {
            Refused::Stopping => ErrorCode::Internal,
            _ => ErrorCode::NotAvailable,
        })
    }

    async fn is_subscribed(&self, known: &Known) -> bool {
        let (answer, subscribed) = oneshot::channel();
        self.inquire(0, known.clone(), Question::Subscribed(answer))
            .await;
        // A shard that stops answers no more.
        subscribed.await.unwrap_or(false)
    }

    async fn ask(&self, id: u32, channel: &str, question: Question) {
        let known = self.find(channel).and_then(|known| {
            let namespace = &known.namespace;
            let offered = match question {
                Question::Presence | Question::PresenceStats => namespace.presence,
                Question::History(_) => namespace.history_size > 0,
                Question::Subscribed(_) => true,
            };
            offered.then_some(known).ok_or(ErrorCode::NotAvailable)
        });
        match known {
            Ok(known) => self.inquire(id, known, question).await,
            Err(error) => self.refuse(id, error).await,
        }
    }

    async fn inquire(&self, id: u32, known: Known, question: Question) {
        self.mail(Mail::Ask(Box::new(Inquiry {
            connection: Arc::clone(&self.connection),
            id,
            channel: known.name,
            namespace: known.namespace,
            question,
        })))
        .await;
    }

    async fn on_refresh(&mut self, id: u32, token: &str) {
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
        if token.user != *identity.user || token.sid.as_deref() != identity.sid.as_deref() {
            return self.close(&Close::InvalidToken);
        }
        let bearer = super::users::Bearer {
            issued: token.issued_at,
            ..identity.bearer()
        };
        let users = self.hub.users(self.connection.site);
        if users.is_none_or(|users| users.revokes(bearer, None)) {
            return self.close(&Close::Expired);
        }
        identity.reissue(token.issued_at);
        let client = identity.client.to_string();
        let reply = protocol::refreshed(id, &client, token.expires_at - now);
        self.expire_at(token.expires_at, GRACE);
        self.say(reply).await;
    }

    async fn on_sub_refresh(&mut self, id: u32, channel: &str, token: &str) {
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
        let bearer = super::users::Bearer {
            issued: token.issued_at,
            ..identity.bearer()
        };
        let users = self.hub.users(self.connection.site);
        if users.is_none_or(|users| users.revokes(bearer, Some(channel))) {
            return Err(ErrorCode::PermissionDenied);
        }
        self.expire_subscription(name, token.expires_at);
        Ok(token.expires_at - now)
    }

    fn find(&self, channel: &str) -> Result<Known, ErrorCode> {
        let rules = self.hub.rules(self.connection.site);
        rules.ok_or(ErrorCode::Internal)?.find(channel)
    }

    fn instant(&self, second: u64) -> Instant {
        let seconds = second.saturating_sub(self.hub.clock.now());
        // A life is bounded by its site's longest one, far below what an instant can be.
        Instant::now() + Duration::from_secs(seconds.min(10 * 365 * 86_400))
    }

    /// Has the shard do something; one that has stopped can't close us by itself any more.
    pub(super) async fn mail(&self, mail: Mail) {
        if !self.hub.mail(self.connection.shard, mail).await {
            self.close(&Close::Shutdown);
        }
    }

    /// Replies by way of the shard, so that no reply overtakes an earlier one.
    async fn say(&self, json: Vec<u8>) {
        let connection = Arc::clone(&self.connection);
        self.mail(Mail::Say { connection, json }).await;
    }

    async fn refuse(&self, id: u32, error: ErrorCode) {
        self.say(protocol::refused(id, error)).await;
    }

    fn close(&self, reason: &Close) {
        self.connection.close(reason);
    }
}

/// Lets nothing of `channel` leave towards `connection` any more, and has its shard end the
/// subscription.
pub(super) fn end_subscription(
    hub: &Hub,
    connection: &Arc<Connection>,
    channel: &Arc<str>,
    ending: Ending,
) {
    connection.forbid(channel);
    let (connection, channel) = (Arc::clone(connection), Arc::clone(channel));
    let shard = connection.shard;
    let control = Control::Unsubscribe {
        connection,
        channel,
        ending,
    };
    hub.control(shard, control);
}

/// From where a subscription is to go on; an offset says nothing without its epoch.
fn since(request: &SubscriptionRequest<'_>) -> Result<Option<Since>, ErrorCode> {
    if !request.recover {
        return Ok(None);
    }
    if request.offset > 0 && request.epoch.is_empty() {
        return Err(ErrorCode::BadRequest);
    }
    let epoch = (!request.epoch.is_empty()).then(|| request.epoch.as_ref().into());
    let offset = request.offset;
    Ok(Some(Since { offset, epoch }))
}

fn filter(history: &protocol::History<'_>) -> HistoryFilter {
    HistoryFilter {
        limit: usize::try_from(history.limit).ok(),
        since: history.since.as_ref().map(|since| Since {
            offset: since.offset,
            epoch: (!since.epoch.is_empty()).then(|| since.epoch.as_ref().into()),
        }),
        reverse: history.reverse,
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
        identity.reissue(token.issued_at);
        identity
    }
}
