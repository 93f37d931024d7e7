//! The JSON of a token: its header and its claims, named as Centrifugo names them.
//!
//! It reads and types them, no more: whether they hold is for `token` to say. Members that are
//! unknown are passed over; one that is known and stands twice is refused.

use std::{collections::BTreeMap, fmt};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{
    Deserialize, Deserializer,
    de::{Error, IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::object::Object;

/// The header of a JWS.
#[derive(Deserialize)]
pub(super) struct Header {
    pub(super) alg: String,
    pub(super) kid: Option<String>,
    /// Whether `crit` stands there, whatever it says.
    #[serde(default, deserialize_with = "present")]
    pub(super) crit: bool,
}

/// The claims of a connection or a subscription token.
#[derive(Deserialize)]
pub(super) struct Claims {
    pub(super) sub: Option<String>,
    pub(super) exp: Option<Seconds>,
    pub(super) iat: Option<Seconds>,
    pub(super) nbf: Option<Seconds>,
    pub(super) aud: Option<Audience>,
    pub(super) iss: Option<String>,
    pub(super) sid: Option<String>,
    pub(super) expire_at: Option<Seconds>,
    pub(super) info: Option<Box<RawValue>>,
    pub(super) b64info: Option<String>,
    pub(super) meta: Option<Box<RawValue>>,
    pub(super) channels: Option<Vec<String>>,
    pub(super) subs: Option<Subs>,
    pub(super) channel: Option<String>,
    pub(super) client: Option<String>,
}

/// What `subs` says of one channel.
#[derive(Default, Deserialize)]
pub(super) struct Options {
    pub(super) info: Option<Box<RawValue>>,
    pub(super) b64info: Option<String>,
    pub(super) data: Option<Box<RawValue>>,
    pub(super) b64data: Option<String>,
}

/// A time in Unix seconds. Fractions are allowed, and cut off: some issuers divide milliseconds.
#[derive(Clone, Copy)]
pub(super) struct Seconds(pub(super) u64);

/// Whom a token is for: one, or a list.
#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum Audience {
    One(String),
    Many(Vec<String>),
}

/// `subs`: a channel once, each with its options.
pub(super) struct Subs(pub(super) BTreeMap<String, Options>);

impl Audience {
    pub(super) fn contains(&self, audience: &str) -> bool {
        match self {
            Self::One(one) => one == audience,
            Self::Many(many) => many.iter().any(|one| one == audience),
        }
    }
}

/// The JSON of a value that was given as JSON or, which counts more, as base64 of it; `None` where
/// the base64 is not of JSON.
///
/// On one line: what is delivered is split at newlines. Inside of JSON's strings there are none.
pub(super) fn json(raw: Option<Box<RawValue>>, base64: Option<&str>) -> Option<Option<String>> {
    let text = match (raw, base64) {
        (_, Some(base64)) if !base64.is_empty() => {
            let bytes = STANDARD.decode(base64).ok()?;
            let raw: Box<RawValue> = serde_json::from_slice(&bytes).ok()?;
            raw.get().to_owned()
        }
        (Some(raw), _) => raw.get().to_owned(),
        (None, _) => return Some(None),
    };
    Some(Some(if text.contains(['\n', '\r']) {
        text.replace(['\n', '\r'], "")
    } else {
        text
    }))
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SecondsVisitor)
    }
}

struct SecondsVisitor;

impl Visitor<'_> for SecondsVisitor {
    type Value = Seconds;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a time in Unix seconds")
    }

    fn visit_u64<E: Error>(self, seconds: u64) -> Result<Seconds, E> {
        Ok(Seconds(seconds))
    }

    fn visit_f64<E: Error>(self, seconds: f64) -> Result<Seconds, E> {
        // Past 2^53 a fraction is no longer told from its neighbours.
        if (0.0..9_007_199_254_740_992.0).contains(&seconds) {
            Ok(Seconds(seconds as u64))
        } else {
            Err(E::custom("out of range"))
        }
    }
}

impl<'de> Deserialize<'de> for Subs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(SubsVisitor)
    }
}

struct SubsVisitor;

impl<'de> Visitor<'de> for SubsVisitor {
    type Value = Subs;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of channels")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Subs, A::Error> {
        let mut subs = BTreeMap::new();
        while let Some((channel, options)) = map.next_entry::<String, Option<Object<Options>>>()? {
            let options = options.map(|object| object.0).unwrap_or_default();
            if subs.insert(channel, options).is_some() {
                return Err(A::Error::custom("a channel twice"));
            }
        }
        Ok(Subs(subs))
    }
}
