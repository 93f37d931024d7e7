//! One site's rules: its channels and their namespaces, its token keys, its origins; pure.

use std::{collections::HashMap, sync::Arc};

use super::{connection::Identity, protocol::ErrorCode};
use crate::{
    auth::token::{self, Keys, SubscriptionToken},
    broker::{Bounds, ChannelName, History, Recovery, Since, SiteId},
    config::{self, ClientPublish, Namespace, Subscribe},
};

/// Longest channel name in bytes, as Centrifugo has it.
const NAME_MAX: usize = 255;

/// What holds for one site's browsers.
#[derive(Debug)]
pub(super) struct Rules {
    site: SiteId,
    namespaces: HashMap<String, Arc<Namespace>>,
    pub(super) allowed_origins: Vec<String>,
    pub(super) keys: Keys,
    /// The longest life of a token, and so of a revocation.
    pub(super) token_life_max: std::time::Duration,
}

/// A channel that exists by its site's rules.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) name: ChannelName,
    pub(super) namespace: Arc<Namespace>,
}

/// The right to subscribe to a channel.
#[derive(Debug, Default)]
pub(super) struct Permit {
    /// When the token was issued that it rests on; `None` where anyone may.
    pub(super) issued: Option<u64>,
    /// The Unix second in which it ends, where it rests on a token of its own.
    pub(super) expires_at: Option<u64>,
    /// What others are told of the client in this channel, as JSON.
    pub(super) info: Option<Box<str>>,
}

impl Rules {
    pub(super) fn new(site: SiteId, config: &config::Site, keys: Keys) -> Self {
        let named = |namespace: &Namespace| (namespace.name.clone(), Arc::new(namespace.clone()));
        Self {
            site,
            namespaces: config.namespaces.iter().map(named).collect(),
            allowed_origins: config.allowed_origins.clone(),
            keys,
            token_life_max: config.tokens.life_max,
        }
    }

    /// The channel called `name`, with its namespace.
    pub(super) fn find(&self, name: &str) -> Result<Known, ErrorCode> {
        let printable = name.bytes().all(|byte| byte.is_ascii_graphic());
        if name.is_empty() || name.len() > NAME_MAX || !printable {
            return Err(ErrorCode::BadRequest);
        }
        let prefix = name.split_once(':').map_or(name, |(prefix, _)| prefix);
        let namespace = self
            .namespaces
            .get(prefix)
            .ok_or(ErrorCode::UnknownChannel)?;
        Ok(Known {
            name: ChannelName {
                site: self.site,
                name: Arc::from(name),
            },
            namespace: Arc::clone(namespace),
        })
    }

    /// Reads a subscription token that `identity` brings for the channel `name`.
    pub(super) fn subscription_token(
        &self,
        token: &str,
        (identity, name): (&Identity, &str),
        now: u64,
    ) -> Result<SubscriptionToken, ErrorCode> {
        let read = match self.keys.subscription(token, now) {
            Ok(read) => read,
            Err(token::Error::Expired) => return Err(ErrorCode::TokenExpired),
            Err(token::Error::Invalid(reason)) => {
                tracing::debug!(reason, channel = name, "a subscription token does not hold");
                return Err(ErrorCode::PermissionDenied);
            }
        };
        let client = read.client.as_deref();
        let own = client.is_none_or(|client| client == identity.client.to_string());
        let sid = read.sid.as_deref();
        let session = sid.is_none_or(|sid| identity.sid.as_deref() == Some(sid));
        if read.channel != name || read.user != *identity.user || !own || !session {
            return Err(ErrorCode::PermissionDenied);
        }
        Ok(read)
    }
}

impl Known {
    pub(super) fn history(&self) -> History {
        history(&self.namespace)
    }

    /// The right of `identity` to subscribe, by `token` where it brings one for this channel.
    pub(super) fn permit(
        &self,
        identity: Option<&Identity>,
        token: Option<SubscriptionToken>,
    ) -> Result<Permit, ErrorCode> {
        if let Some(token) = token {
            return Ok(Permit {
                issued: Some(token.issued_at),
                expires_at: Some(token.expires_at),
                info: token.info.map(String::into_boxed_str),
            });
        }
        let named = identity.filter(|identity| !identity.is_anonymous());
        let by_token = named.map(|identity| Permit {
            issued: Some(identity.issued()),
            ..Permit::default()
        });
        let permit = match self.namespace.subscribe {
            Subscribe::Anyone => Some(Permit::default()),
            Subscribe::AnyToken => by_token,
            Subscribe::User => {
                by_token.filter(|_| named.is_some_and(|identity| self.is_of(&identity.user)))
            }
            Subscribe::NamedToken => None,
        };
        permit.ok_or(ErrorCode::PermissionDenied)
    }

    /// Whether what stands after the colon is `user`.
    fn is_of(&self, user: &str) -> bool {
        let rest = self.name.name.split_once(':').map(|(_, rest)| rest);
        rest == Some(user)
    }

    /// Whether `identity` may publish; `Some(true)`: if it has subscribed.
    pub(super) fn may_publish(&self, identity: &Identity) -> Option<bool> {
        match self.namespace.publish {
            _ if identity.is_anonymous() => None,
            ClientPublish::Nobody => None,
            ClientPublish::AnyToken => Some(false),
            ClientPublish::Subscriber => Some(true),
        }
    }
}

/// What is kept of the publications of a namespace's channels.
pub(super) const fn history(namespace: &Namespace) -> History {
    History {
        size: namespace.history_size,
        ttl: namespace.history_ttl,
    }
}

/// What a subscriber of a namespace is given of what was published before.
pub(super) fn recovery<'a>(
    namespace: &Namespace,
    since: Option<&'a Since>,
    bounds: Bounds,
) -> Recovery<'a> {
    match (namespace.recovery, since) {
        (config::Recovery::Cache, _) => Recovery::Newest,
        (config::Recovery::Stream, Some(since)) => Recovery::Since(since, bounds),
        (config::Recovery::Stream, None) | (config::Recovery::Off, _) => Recovery::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn rules() -> Rules {
        let config = config::parse(
            "[[listener]]\naddress=\"127.0.0.1:0\"\ntls=false\n[[site]]\nname=\"a\"\nhosts=[\"a\"]\n\
             [site.upstream]\naddress=\"unix:/a\"\n\
             [[site.namespace]]\nname=\"members\"\nsubscribe=\"any_token\"\n",
        )
        .unwrap();
        let site = &config.sites[0];
        let rules = token::Rules {
            life_max: site.tokens.life_max,
            audience: String::new(),
            issuer: String::new(),
        };
        let keys = Keys::new(rules, [], None).unwrap();
        Rules::new(SiteId(0), site, keys)
    }

    fn permit(name: &str, user: Option<&str>) -> Result<Permit, ErrorCode> {
        let identity = user.map(|user| Identity::new(user, None, None));
        rules().find(name)?.permit(identity.as_ref(), None)
    }

    #[test]
    fn a_name_belongs_to_what_stands_before_its_first_colon() {
        for (name, namespace) in [
            ("site", "site"),
            ("post:26", "post"),
            ("post:2/26:x", "post"),
        ] {
            assert_eq!(
                rules().find(name).unwrap().namespace.name,
                namespace,
                "{name}"
            );
        }
    }

    #[test]
    fn what_is_not_public_and_what_is_no_name_are_told_apart() {
        let long = "post:".to_owned() + &"x".repeat(251);
        for (name, code) in [
            ("edit:26", ErrorCode::PermissionDenied),
            ("nothing:26", ErrorCode::UnknownChannel),
            ("posts", ErrorCode::UnknownChannel),
            ("", ErrorCode::BadRequest),
            ("post:a b", ErrorCode::BadRequest),
            ("post:\u{e4}", ErrorCode::BadRequest),
            (&long, ErrorCode::BadRequest),
        ] {
            assert_eq!(permit(name, None).unwrap_err(), code, "{name}");
        }
    }

    #[test]
    fn each_namespace_lets_in_whom_it_says() {
        for (name, user, may) in [
            ("post:26", None, true),
            ("post:26", Some(""), true),
            ("members:26", None, false),
            ("members:26", Some(""), false),
            ("members:26", Some("7"), true),
            ("user:7", None, false),
            ("user:7", Some(""), false),
            ("user:", Some(""), false),
            ("user:7", Some("7"), true),
            ("user:7", Some("77"), false),
            ("user:7:x", Some("7"), false),
            ("user", Some("7"), false),
            ("edit:26", Some("7"), false),
        ] {
            assert_eq!(permit(name, user).is_ok(), may, "{name} {user:?}");
        }
    }
}
