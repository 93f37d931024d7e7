//! One client of the protocol: what its commands do, what its tokens permit, and when they end.
//!
//! It reads no socket and changes no subscription itself: commands come in as messages, and
//! subscriptions are its shard's work.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::value::RawValue;
use tokio::{sync::oneshot, time::Instant};

use super::{
    allowance::Allowance,
    channel::Known,
    close::Close,
    connection::Connection,
    credentials::GRACE,
    hub::{Control, Ending, Hub, Inquiry, Mail, Origin, Question, Refused, Subscription},
    protocol::{self, ErrorCode, Request, SubscriptionRequest},
};
use crate::broker::{Draft, HistoryFilter, Since};

/// The state of a client beside its subscriptions.
pub(super) struct Client {
    pub(super) connection: Arc<Connection>,
    pub(super) hub: Arc<Hub>,
    pub(super) connected: bool,
    allowance: Allowance,
    /// When subscriptions end unless their tokens are renewed.
    pub(super) subscriptions: Vec<(Instant, Arc<str>)>,
}

impl Client {
    pub(super) fn new(connection: Arc<Connection>, hub: Arc<Hub>) -> Self {
        Self {
            connection,
            connected: false,
            allowance: Allowance::new(&hub.config),
            hub,
            subscriptions: Vec::new(),
        }
    }

    /// Does what the commands of one message say.
    pub(super) async fn on_message(&mut self, message: &[u8]) {
        let mut commands = protocol::commands(message).peekable();
        if commands.peek().is_none() {
            return self.close(&Close::BadRequest);
        }
        for command in commands {
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

    async fn on_request(&mut self, id: u32, request: Request<'_>) {
        self.spend();
        if matches!(request, Request::Pong) {
            return;
        }
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
        let by_connection = permit.issued.is_some() && permit.expires_at.is_none();
        if by_connection && now > identity.holds_until() + GRACE.as_secs() {
            return Err(ErrorCode::TokenExpired);
        }
        if let Some(end) = permit.expires_at {
            self.expire_subscription(&known.name.name, end)?;
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
            data: None,
            issued: permit.issued,
            ttl: permit.expires_at.map(|end| end - now),
            origin: Origin::Command(id),
        })
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
        if self.hub.clock.now() > identity.holds_until() + GRACE.as_secs() {
            return Err(ErrorCode::TokenExpired);
        }
        let users = self.hub.users(self.connection.site);
        if users.is_none_or(|users| users.revokes(identity.bearer(), Some(channel))) {
            return Err(ErrorCode::PermissionDenied);
        }
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

    pub(super) fn find(&self, channel: &str) -> Result<Known, ErrorCode> {
        let rules = self.hub.rules(self.connection.site);
        rules.ok_or(ErrorCode::Internal)?.find(channel)
    }

    /// Has the shard do something; one that has stopped can't close us by itself any more.
    pub(super) async fn mail(&self, mail: Mail) {
        if !self.hub.mail(self.connection.shard, mail).await {
            self.close(&Close::Shutdown);
        }
    }

    /// Replies by way of the shard, so that no reply overtakes an earlier one.
    pub(super) async fn say(&self, json: Vec<u8>) {
        let connection = Arc::clone(&self.connection);
        self.mail(Mail::Say { connection, json }).await;
    }

    pub(super) async fn refuse(&self, id: u32, error: ErrorCode) {
        self.say(protocol::refused(id, error)).await;
    }

    pub(super) fn close(&self, reason: &Close) {
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
pub(super) fn since(request: &SubscriptionRequest<'_>) -> Result<Option<Since>, ErrorCode> {
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
        since: history
            .since
            .as_ref()
            .map(|since| &since.0)
            .map(|since| Since {
                offset: since.offset,
                epoch: (!since.epoch.is_empty()).then(|| since.epoch.as_ref().into()),
            }),
        reverse: history.reverse,
    }
}
