//! Channel names and the rules of their namespaces; pure.

use std::{collections::HashMap, sync::Arc};

use super::protocol::ErrorCode;
use crate::{
    broker::{ChannelName, History, SiteId},
    config::{Namespace, Subscribe},
};

/// Longest channel name in bytes, as Centrifugo has it.
const NAME_MAX: usize = 255;

/// The namespaces of one site.
#[derive(Debug)]
pub(super) struct Rules {
    site: SiteId,
    namespaces: HashMap<String, Namespace>,
}

/// A channel that exists by its site's rules.
#[derive(Debug)]
pub(super) struct Known<'a> {
    pub(super) name: ChannelName,
    pub(super) namespace: &'a Namespace,
}

impl Rules {
    pub(super) fn new(site: SiteId, namespaces: &[Namespace]) -> Self {
        let named = |namespace: &Namespace| (namespace.name.clone(), namespace.clone());
        Self {
            site,
            namespaces: namespaces.iter().map(named).collect(),
        }
    }

    /// The channel called `name`, with its namespace.
    pub(super) fn find(&self, name: &str) -> Result<Known<'_>, ErrorCode> {
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
            namespace,
        })
    }

    /// The channel called `name`, if anyone may subscribe to it.
    pub(super) fn public(&self, name: &str) -> Result<Known<'_>, ErrorCode> {
        let known = self.find(name)?;
        match known.namespace.subscribe {
            Subscribe::Anyone => Ok(known),
            Subscribe::AnyToken | Subscribe::NamedToken => Err(ErrorCode::PermissionDenied),
        }
    }
}

impl Known<'_> {
    pub(super) const fn history(&self) -> History {
        History {
            size: self.namespace.history_size,
            ttl: self.namespace.history_ttl,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn rules() -> Rules {
        let namespace = |name: &str, subscribe| Namespace {
            name: name.into(),
            subscribe,
            history_size: 1,
            history_ttl: Duration::from_secs(1),
        };
        Rules::new(
            SiteId(0),
            &[
                namespace("site", Subscribe::Anyone),
                namespace("post", Subscribe::Anyone),
                namespace("edit", Subscribe::NamedToken),
            ],
        )
    }

    #[test]
    fn a_name_belongs_to_what_stands_before_its_first_colon() {
        let rules = rules();
        for (name, namespace) in [
            ("site", "site"),
            ("post:26", "post"),
            ("post:2/26:x", "post"),
        ] {
            assert_eq!(
                rules.public(name).unwrap().namespace.name,
                namespace,
                "{name}"
            );
        }
    }

    #[test]
    fn what_is_not_public_and_what_is_no_name_are_told_apart() {
        let rules = rules();
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
            assert_eq!(rules.public(name).unwrap_err(), code, "{name}");
        }
    }
}
