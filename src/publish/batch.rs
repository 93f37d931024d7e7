//! What `batch` takes: commands of the other methods, each an object of its own.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error as _, IgnoredAny, MapAccess, Visitor},
};
use serde_json::value::RawValue;

/// Commands are read one by one, so that a faulty one fails alone.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Batch {
    pub(super) commands: Vec<Box<RawValue>>,
    /// Order is worth more here.
    #[serde(rename = "parallel")]
    _parallel: Option<bool>,
}

/// One command of a batch: a method by its name, with its body.
#[derive(Debug)]
pub(super) struct Command(pub(super) String, pub(super) Box<RawValue>);

impl<'de> Deserialize<'de> for Command {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct One;
        impl<'de> Visitor<'de> for One {
            type Value = Command;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with one method")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Command, A::Error> {
                let one = map.next_entry()?;
                let (name, body) = one.ok_or(A::Error::invalid_length(0, &self))?;
                match map.next_key::<IgnoredAny>()? {
                    None => Ok(Command(name, body)),
                    Some(_) => Err(A::Error::invalid_length(2, &self)),
                }
            }
        }
        deserializer.deserialize_map(One)
    }
}
