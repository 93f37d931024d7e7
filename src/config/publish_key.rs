//! `[[site.publish_key]]`: who may publish, and what that key may do.

use super::{Namespace, Secret, secret, section::Section};

/// The methods of the publish API, as its paths name them.
pub const METHODS: &[&str] = &[
    "publish",
    "broadcast",
    "batch",
    "subscribe",
    "unsubscribe",
    "disconnect",
    "refresh",
    "presence",
    "presence_stats",
    "history",
    "history_remove",
    "channels",
    "info",
];

/// A key that publish requests are signed with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PublishKey {
    /// What signs.
    pub secret: Secret,
    /// The only methods that it may call; empty: all. A batch is a method too, and each of its
    /// commands is one.
    pub methods: Vec<String>,
    /// The only namespaces that it may reach; empty: all. Methods that reach beyond a channel
    /// are not for a key that is limited to some.
    pub namespaces: Vec<String>,
}

impl PublishKey {
    pub(super) fn read(mut section: Section, namespaces: &[Namespace]) -> Option<Self> {
        let secret = secret::read(&mut section);
        let methods = read_names(&mut section, "methods", METHODS);
        let known: Vec<&str> = namespaces.iter().map(|n| n.name.as_str()).collect();
        let namespaces = read_names(&mut section, "namespaces", &known);
        section.finish();
        Some(Self {
            secret: secret?,
            methods,
            namespaces,
        })
    }
}

/// A list of names, each of which must be one of `known`.
fn read_names(section: &mut Section, key: &'static str, known: &[&str]) -> Vec<String> {
    let names: Vec<String> = section.or(key, Vec::new());
    if let Some(name) = names.iter().find(|name| !known.contains(&name.as_str())) {
        section.fault(
            key,
            format_args!("there is no {name:?}; known here: {}", known.join(", ")),
        );
    }
    names
}
