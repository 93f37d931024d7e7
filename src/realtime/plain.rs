//! Plain streams: their channels stand in the address, and they speak no protocol.

use std::sync::Arc;

use http::{StatusCode, header};
use http_body_util::BodyExt;

use super::{
    Realtime,
    channel::{Known, Permit},
    client::Client,
    close::Close,
    connection::{Connection, Identity, Outgoing},
    event_stream::EventStream,
    handshake::Opening,
    hub::{Mail, Origin, Subscription},
    kind::Kind,
    positions,
    protocol::ErrorCode,
    queued::Queued,
    seats::Permit as Place,
    users::{Bearer, Denied},
};
use crate::{
    auth::token::{self, ConnectionToken},
    broker::{Since, SiteId},
    exchange::{Failure, Response},
};

/// What a plain stream asked for and may have; empty for a client of the protocol.
#[derive(Debug, Default)]
pub(super) struct Stream {
    channels: Vec<(Known, Permit)>,
    token: Option<ConnectionToken>,
    since: Option<String>,
    pub(super) positions: bool,
}

impl Realtime {
    /// A plain stream learns before it opens that its token does not hold, or that a channel is
    /// not for it.
    pub(super) fn stream(&self, site: SiteId, opening: Opening) -> Result<Stream, Failure> {
        if opening.kind == Kind::Protocol {
            return Ok(Stream::default());
        }
        let refused = |status, reason, detail: &str| Err(Failure::client(status, reason, detail));
        let hub = &self.0.hub;
        let most = hub.config.channels_per_connection_max;
        if opening.channels.len() > most {
            let detail = "more channels than realtime.channels_per_connection_max";
            let reason = "channels_per_connection_max";
            return refused(StatusCode::BAD_REQUEST, reason, detail);
        }
        let Some(rules) = hub.rules(site) else {
            return refused(StatusCode::NOT_FOUND, "site", "no such site");
        };
        let token = opening.token.as_deref();
        let token = token.map(|token| rules.keys.connection(token, hub.clock.now()));
        let token = match token.transpose() {
            Ok(token) => token,
            Err(token::Error::Expired) => {
                return refused(StatusCode::UNAUTHORIZED, "token", "token expired");
            }
            Err(token::Error::Invalid(reason)) => {
                return refused(StatusCode::UNAUTHORIZED, "token", reason);
            }
        };
        let identity = token.as_ref().map(|token| Identity::of(Some(token)));
        let revoked = identity.as_ref().is_some_and(|identity| {
            let users = hub.users(site);
            users.is_none_or(|users| users.revokes(identity.bearer(), None))
        });
        if revoked {
            return refused(StatusCode::UNAUTHORIZED, "token", "revoked");
        }
        if !hub.quota.has_room(opening.channels.len()) {
            let status = StatusCode::SERVICE_UNAVAILABLE;
            let detail = "realtime.subscriptions_max is reached";
            return refused(status, "subscriptions_max", detail);
        }
        let mut channels = Vec::new();
        for name in opening.channels {
            let known = rules.find(&name);
            let permitted = known.and_then(|known| {
                let permit = permit(&known, identity.as_ref(), token.as_ref())?;
                let bearer = identity.as_ref().map(Identity::bearer);
                match self.is_revoked((site, &name), bearer, &permit) {
                    true => Err(ErrorCode::PermissionDenied),
                    false => Ok((known, permit)),
                }
            });
            match permitted {
                Ok(permitted) => channels.push(permitted),
                Err(_) => return refused(StatusCode::FORBIDDEN, "channel", &name),
            }
        }
        Ok(Stream {
            channels,
            token,
            since: opening.since,
            positions: opening.positions,
        })
    }

    /// Whether a right that rests on the token of `bearer` was revoked for this channel.
    fn is_revoked(
        &self,
        (site, channel): (SiteId, &str),
        bearer: Option<Bearer<'_>>,
        permit: &Permit,
    ) -> bool {
        let (Some(bearer), Some(issued)) = (bearer, permit.issued) else {
            return false;
        };
        let users = self.0.hub.users(site);
        users.is_none_or(|users| users.revokes(Bearer { issued, ..bearer }, Some(channel)))
    }

    pub(super) fn event_stream(
        &self,
        site: SiteId,
        stream: Stream,
        permit: Place,
    ) -> Result<Response, Failure> {
        let inner = &self.0;
        let kind = Kind::EventStream;
        let outgoing = Outgoing::Queued(Queued::new(kind, self.limits()));
        let connection = self.connection((kind, true), site, outgoing, permit);
        let leave = inner.hub.leave(&connection);
        let mut mails = vec![Mail::Join(Arc::clone(&connection))];
        mails.push(Mail::Address(stream.wishes(&connection)));
        for mail in mails {
            if !inner.hub.try_mail(connection.shard, mail) {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                return Err(Failure::client(
                    status,
                    "busy",
                    "the shard's mailbox is full",
                ));
            }
        }
        let body = EventStream::new(connection, &inner.config, leave);
        let response = http::Response::builder()
            .header(header::CONTENT_TYPE, "text/event-stream")
            .header(header::CACHE_CONTROL, "no-store")
            .body(body.boxed_unsync());
        response.map_err(|error| Failure::ours("event_stream", error))
    }
}

/// The right of a plain stream to a channel: by the rules, or since its token names the channel.
fn permit(
    known: &Known,
    identity: Option<&Identity>,
    token: Option<&ConnectionToken>,
) -> Result<Permit, ErrorCode> {
    let named = token.filter(|token| token.subscriptions.contains_key(&*known.name.name));
    match named {
        Some(token) => Ok(Permit {
            issued: Some(token.issued_at),
            ..Permit::default()
        }),
        None => known.permit(identity, None),
    }
}

impl Stream {
    /// Has `client` be who the token says, for as long as it holds; what it is to follow.
    pub(super) fn begin(self, client: &mut Client) -> Vec<Subscription> {
        if self.channels.is_empty() {
            return Vec::new();
        }
        client.connected = true;
        if let Some(token) = &self.token {
            let entered = client.enter(Identity::of(Some(token)));
            let reason = match entered {
                Ok(()) => None,
                Err(Denied::TooMany) => Some(Close::ConnectionLimit),
                // Since it was admitted.
                Err(Denied::Revoked) => Some(Close::Expired),
            };
            if let Some(reason) = reason {
                client.connection.close(&reason);
                return Vec::new();
            }
        }
        let connection = Arc::clone(&client.connection);
        self.wishes(&connection)
    }

    fn wishes(self, connection: &Arc<Connection>) -> Vec<Subscription> {
        let gaps = self.positions || self.since.is_some();
        let since = self.since;
        let wishes = self.channels.into_iter().map(|(known, permit)| {
            let since = since.as_deref().map(|text| {
                // Where nothing can be told of the channel, there is a gap.
                let unknown = Since {
                    offset: u64::MAX,
                    epoch: None,
                };
                positions::find(text, &known.name.name).unwrap_or(unknown)
            });
            Subscription {
                connection: Arc::clone(connection),
                channel: known.name,
                namespace: known.namespace,
                since,
                strict: false,
                join_leave: false,
                info: None,
                data: None,
                issued: permit.issued,
                ttl: None,
                origin: Origin::Address { gaps },
            }
        });
        wishes.collect()
    }
}
