//! What a publish key may do: which methods, and in which namespaces.

use super::{error::Error, method::Method};
use crate::config::PublishKey;

/// The limits of one key; the default has none.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Scope {
    /// Empty: all.
    methods: Vec<String>,
    /// Empty: all.
    namespaces: Vec<String>,
}

impl Scope {
    pub(super) fn new(key: &PublishKey) -> Self {
        Self {
            methods: key.methods.clone(),
            namespaces: key.namespaces.clone(),
        }
    }

    /// Whether the key may call `method` at all.
    pub(super) fn allows(&self, method: Method) -> Result<(), Error> {
        if self.methods.is_empty() || self.methods.iter().any(|known| known == method.name()) {
            return Ok(());
        }
        Err(Error::Forbidden(format!(
            "this key may not call {}; its `methods` are {}",
            method.name(),
            self.methods.join(", ")
        )))
    }

    /// Whether the key may reach the channel called `name`.
    pub(super) fn reaches(&self, name: &str) -> Result<(), Error> {
        let namespace = name.split_once(':').map_or(name, |(prefix, _)| prefix);
        if self.namespaces.is_empty() || self.namespaces.iter().any(|known| known == namespace) {
            return Ok(());
        }
        Err(Error::Forbidden(format!(
            "this key may not reach this channel; its `namespaces` are {}",
            self.namespaces.join(", ")
        )))
    }

    /// Whether the key may reach every channel, as `what` does.
    pub(super) fn reaches_all(&self, what: &str) -> Result<(), Error> {
        if self.namespaces.is_empty() {
            return Ok(());
        }
        Err(Error::Forbidden(format!(
            "{what} reaches every channel, and this key does not; its `namespaces` are {}",
            self.namespaces.join(", ")
        )))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::config::{self, Secret};

    /// A key without limits.
    pub(in crate::publish) fn key(secret: Secret) -> PublishKey {
        PublishKey {
            secret,
            methods: Vec::new(),
            namespaces: Vec::new(),
        }
    }

    /// A site with these keys.
    pub(in crate::publish) fn site(name: &str, keys: Vec<PublishKey>) -> config::Site {
        let text = format!(
            "[[listener]]\naddress=\"127.0.0.1:0\"\ntls=false\n\
             [[site]]\nname={name:?}\nhosts=[\"a\"]\n[site.upstream]\naddress=\"unix:/a\"\n"
        );
        let mut site = config::parse(&text).unwrap().sites.remove(0);
        site.publish_keys = keys;
        site
    }

    fn scope(methods: &[&str], namespaces: &[&str]) -> Scope {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Scope {
            methods: owned(methods),
            namespaces: owned(namespaces),
        }
    }

    #[test]
    fn a_key_without_limits_may_do_everything() {
        let scope = Scope::default();
        for method in Method::ALL {
            assert_eq!(scope.allows(*method), Ok(()));
        }
        assert_eq!(scope.reaches("post:26"), Ok(()));
        assert_eq!(scope.reaches_all("disconnect"), Ok(()));
    }

    #[test]
    fn a_refusal_names_what_the_key_may_do() {
        let scope = scope(&["publish", "batch"], &["post", "site"]);
        assert_eq!(scope.allows(Method::Batch), Ok(()));
        let refused = scope.allows(Method::Info).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "this key may not call info; its `methods` are publish, batch"
        );
        for name in ["post:26", "post", "site", "post:a:b"] {
            assert_eq!(scope.reaches(name), Ok(()), "{name}");
        }
        for name in ["edit:26", "posts:26", "", ":post", "edit:post:1"] {
            let refused = scope.reaches(name).unwrap_err();
            assert_eq!(
                refused.to_string(),
                "this key may not reach this channel; its `namespaces` are post, site"
            );
        }
        assert!(scope.reaches_all("disconnect").is_err());
    }
}
