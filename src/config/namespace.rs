//! `[[site.namespace]]`: the rules of channels by what stands before their first colon.

use std::time::Duration;

use super::section::Section;

/// The rules of the channels `name` and `name:…`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Namespace {
    /// What stands before the first colon of a channel.
    pub name: String,
    /// Who may subscribe.
    pub subscribe: Subscribe,
    /// Which browsers may publish.
    pub publish: Publish,
    /// Publications that are kept; 0 keeps none and offers no recovery.
    pub history_size: usize,
    /// How long a publication is kept.
    pub history_ttl: Duration,
    /// What a browser that comes back is given.
    pub recovery: Recovery,
    /// Whether subscribers may ask who is there.
    pub presence: bool,
    /// Whether subscribers are told who comes and goes.
    pub join_leave: bool,
    /// How long someone whose connection broke off still counts as there.
    pub leave_grace: Duration,
    /// Subscribers of one channel that are listed and announced; more are neither.
    pub presence_max: usize,
    /// What becomes of what waits for a browser that can't keep up.
    pub backlog: Backlog,
}

/// Who may subscribe to the channels of a namespace.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Subscribe {
    /// Everyone, without a token.
    Anyone,
    /// Whoever connected with a token.
    AnyToken,
    /// Whoever brings a token that names the channel.
    NamedToken,
    /// Whoever connected with a token whose user is what stands after the colon.
    User,
}

/// Which browsers may publish to the channels of a namespace.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Publish {
    /// None: PHP alone publishes.
    Nobody,
    /// Those that connected with a token.
    AnyToken,
    /// Those that connected with a token and have subscribed to the channel.
    Subscriber,
}

/// What a browser that comes back is given.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Recovery {
    /// All that it has missed, in order, or word that this can't be told.
    Stream,
    /// The newest publication, at every subscribe.
    Cache,
    /// Nothing.
    Off,
}

/// What becomes of what waits for a browser that can't keep up.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Backlog {
    /// All of it waits; past the limits the browser is disconnected, and recovers.
    Disconnect,
    /// Only the newest publication of each key waits.
    Conflate,
}

const SUBSCRIBE: &[(&str, Subscribe)] = &[
    ("anyone", Subscribe::Anyone),
    ("any_token", Subscribe::AnyToken),
    ("named_token", Subscribe::NamedToken),
    ("user", Subscribe::User),
];

const PUBLISH: &[(&str, Publish)] = &[
    ("nobody", Publish::Nobody),
    ("any_token", Publish::AnyToken),
    ("subscriber", Publish::Subscriber),
];

const RECOVERY: &[(&str, Recovery)] = &[
    ("stream", Recovery::Stream),
    ("cache", Recovery::Cache),
    ("off", Recovery::Off),
];

const BACKLOG: &[(&str, Backlog)] = &[
    ("disconnect", Backlog::Disconnect),
    ("conflate", Backlog::Conflate),
];

impl Namespace {
    /// A namespace whose other rules are the defaults.
    #[must_use]
    pub fn new(name: &str, subscribe: Subscribe) -> Self {
        Self {
            name: name.to_owned(),
            subscribe,
            publish: Publish::Nobody,
            history_size: 100,
            history_ttl: Duration::from_secs(300),
            recovery: Recovery::Stream,
            presence: false,
            join_leave: false,
            leave_grace: Duration::from_secs(5),
            presence_max: 1_000,
            backlog: Backlog::Disconnect,
        }
    }

    /// Whether a browser can take up where it left off.
    #[must_use]
    pub fn recovers(&self) -> bool {
        self.history_size > 0 && self.recovery != Recovery::Off
    }

    /// Whether anyone wants to know who is there.
    #[must_use]
    pub const fn knows_who(&self) -> bool {
        self.presence || self.join_leave
    }

    fn read(mut section: Section) -> Option<Self> {
        let seconds = Duration::from_secs;
        let name = section.required::<String>("name", "what stands before a channel's colon");
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name
            .as_ref()
            .is_some_and(|n| n.is_empty() || !n.chars().all(plain))
        {
            section.fault("name", "expected letters, digits, `-`, `_` and `.`");
        }
        let read = Self {
            name: name.clone().unwrap_or_default(),
            subscribe: section.one_of("subscribe", SUBSCRIBE, Subscribe::NamedToken),
            publish: section.one_of("publish", PUBLISH, Publish::Nobody),
            history_size: section.count("history_size", 100, 0..=100_000),
            history_ttl: section.within(
                "history_ttl",
                seconds(300),
                seconds(1)..=seconds(365 * 86_400),
            ),
            recovery: section.one_of("recovery", RECOVERY, Recovery::Stream),
            presence: section.or("presence", false),
            join_leave: section.or("join_leave", false),
            leave_grace: section.within("leave_grace", seconds(5), seconds(0)..=seconds(300)),
            presence_max: section.count("presence_max", 1_000, 1..=1_000_000),
            backlog: section.one_of("backlog", BACKLOG, Backlog::Disconnect),
        };
        if read.recovery == Recovery::Cache && read.history_size == 0 {
            section.fault(
                "recovery",
                "\"cache\" sends the newest publication: expected a `history_size` of 1 or more",
            );
        }
        section.finish();
        name.map(|_| read)
    }
}

/// The namespaces of a site's file, and the ones that WordPress needs where the file does not say
/// otherwise.
pub(super) fn read(section: &mut Section) -> Vec<Namespace> {
    let mut namespaces: Vec<Namespace> = section
        .sections("namespace")
        .into_iter()
        .filter_map(Namespace::read)
        .collect();
    for (name, subscribe) in [
        ("site", Subscribe::Anyone),
        ("post", Subscribe::Anyone),
        ("edit", Subscribe::NamedToken),
        ("user", Subscribe::User),
        ("staff", Subscribe::NamedToken),
    ] {
        if !namespaces.iter().any(|known| known.name == name) {
            namespaces.push(Namespace::new(name, subscribe));
        }
    }
    namespaces
}
