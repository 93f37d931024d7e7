//! Centrifugal's client protocol in JSON, as a client reads it. Fields that are not needed are
//! passed over.

use std::{borrow::Cow, collections::BTreeMap};

use serde::Deserialize;
use serde_json::value::RawValue;

/// A reply or a push; without any field, a ping.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Message<'a> {
    pub(super) id: u32,
    pub(super) error: Option<Refusal>,
    #[serde(borrow)]
    pub(super) connect: Option<Connected<'a>>,
    #[serde(borrow)]
    pub(super) subscribe: Option<Subscribed<'a>>,
    #[serde(borrow)]
    pub(super) push: Option<Push<'a>>,
}

/// Why something was refused or ended.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Refusal {
    pub(super) code: u32,
    #[serde(alias = "reason")]
    pub(super) message: String,
    pub(super) temporary: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Connected<'a> {
    /// Seconds between two pings of the server.
    pub(super) ping: u64,
    /// Whether it wants an answer to each.
    pub(super) pong: bool,
    /// What the token subscribes the connection to.
    #[serde(borrow)]
    pub(super) subs: BTreeMap<Cow<'a, str>, Subscribed<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Subscribed<'a> {
    pub(super) offset: u64,
    pub(super) epoch: String,
    pub(super) was_recovering: bool,
    pub(super) recovered: bool,
    #[serde(borrow)]
    pub(super) publications: Vec<Publication<'a>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Push<'a> {
    #[serde(borrow)]
    pub(super) channel: Cow<'a, str>,
    #[serde(borrow, rename = "pub")]
    pub(super) publication: Option<Publication<'a>>,
    pub(super) unsubscribe: Option<Refusal>,
    pub(super) disconnect: Option<Refusal>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Publication<'a> {
    #[serde(borrow)]
    pub(super) data: &'a RawValue,
    #[serde(default)]
    pub(super) offset: u64,
    #[serde(borrow, default)]
    pub(super) tags: Option<&'a RawValue>,
}

/// The messages of one frame.
pub(super) fn messages(frame: &[u8]) -> impl Iterator<Item = serde_json::Result<Message<'_>>> {
    let lines = frame.split(|byte| *byte == b'\n');
    let lines = lines.filter(|line| !line.trim_ascii().is_empty());
    lines.map(serde_json::from_slice)
}

impl Message<'_> {
    pub(super) const fn is_ping(&self) -> bool {
        self.id == 0 && self.push.is_none() && self.error.is_none()
    }
}
