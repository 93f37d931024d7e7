//! What `publish` and `broadcast` take: one publication, checked and brought into the form that
//! is sent to browsers. Which channel it goes to is not looked at here.

use bytes::Bytes;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, value::RawValue};

use super::error::Error;
use crate::broker::Draft;

/// Longest key of a publication, and longest version epoch.
const KEY_MAX: usize = 255;

/// Longest idempotency key: 100,000 of them may be remembered.
const IDEMPOTENCY_KEY_MAX: usize = 64;

/// The body of `publish`, which names one channel, and of `broadcast`, which names several.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Message {
    pub(super) channel: Option<String>,
    pub(super) channels: Option<Vec<String>>,
    /// `null` is a value like any other.
    #[serde(default, deserialize_with = "present")]
    data: Option<Box<RawValue>>,
    #[serde(default)]
    b64data: String,
    #[serde(default)]
    skip_history: bool,
    #[serde(default)]
    tags: Map<String, Value>,
    #[serde(default)]
    idempotency_key: String,
    /// A hint of Centrifugo's; each browser is sent the whole value.
    #[serde(rename = "delta")]
    _delta: Option<bool>,
    key: Option<String>,
    /// 0 as in Centrifugo: no version.
    #[serde(default)]
    version: u64,
    #[serde(default)]
    version_epoch: String,
}

fn present<'de, D: Deserializer<'de>>(value: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::deserialize(value).map(Some)
}

impl Message {
    /// The draft that the message asks for.
    pub(super) fn draft(self, data_max: u64) -> Result<Draft, Error> {
        if !self.b64data.is_empty() {
            return Err(Error::Bad(
                "b64data: binary data is not supported; send JSON in `data`".into(),
            ));
        }
        let data = self.data.ok_or(Error::Bad("data: missing".into()))?;
        // Valid JSON has raw newlines only between its tokens, and a reply is split at them.
        let data = data.get().bytes();
        let data: Vec<u8> = data.filter(|byte| !matches!(byte, b'\n' | b'\r')).collect();
        at_most("version_epoch", &self.version_epoch, KEY_MAX)?;
        at_most(
            "idempotency_key",
            &self.idempotency_key,
            IDEMPOTENCY_KEY_MAX,
        )?;
        let tags = tags(self.tags, self.key.as_deref())?;
        let is_large = |length: usize| length as u64 > data_max;
        if is_large(data.len()) || is_large(tags.as_ref().map_or(0, String::len)) {
            return Err(Error::DataTooLarge(data_max));
        }
        let idempotent = !self.idempotency_key.is_empty();
        Ok(Draft {
            data: Bytes::from(data),
            tags: tags.map(String::into_boxed_str),
            key: self.key.map(String::into_boxed_str),
            version: (self.version > 0).then_some(self.version),
            version_epoch: self.version_epoch.into(),
            skip_history: self.skip_history,
            idempotency_key: idempotent.then(|| self.idempotency_key.into()),
            info: None,
        })
    }
}

/// The tags as JSON, the key among them; `None` where there are none.
fn tags(mut tags: Map<String, Value>, key: Option<&str>) -> Result<Option<String>, Error> {
    if !tags.values().all(Value::is_string) {
        return Err(Error::Bad("tags: every value must be a string".into()));
    }
    if let Some(key) = key {
        if key.is_empty() || key.len() > KEY_MAX {
            return Err(Error::Bad(format!("key: 1 to {KEY_MAX} bytes")));
        }
        tags.insert("key".into(), key.into());
    }
    Ok((!tags.is_empty()).then(|| Value::Object(tags).to_string()))
}

fn at_most(name: &str, value: &str, max: usize) -> Result<(), Error> {
    if value.len() > max {
        return Err(Error::Bad(format!("{name}: at most {max} bytes")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::publish::method::read;

    fn draft(json: &str) -> Result<Draft, Error> {
        let message: Message = read(json.as_bytes())?;
        message.draft(64)
    }

    #[test]
    fn data_is_kept_as_it_was_written_but_for_raw_newlines() {
        let json = "{\"channel\":\"c\",\"data\":{\"z\": 1.50,\r\n\"a\":\"x\\ny\"}}";
        assert_eq!(
            &draft(json).unwrap().data[..],
            b"{\"z\": 1.50,\"a\":\"x\\ny\"}"
        );
        assert_eq!(&draft("{\"data\":null}").unwrap().data[..], b"null");
    }

    #[test]
    fn the_key_is_delivered_as_a_tag() {
        let json = "{\"channel\":\"c\",\"data\":1,\"key\":\"26:price\",\"tags\":{\"a\":\"b\"}}";
        let draft = draft(json).unwrap();
        let tags: Value = serde_json::from_str(&draft.tags.unwrap()).unwrap();
        assert_eq!(tags, json!({ "a": "b", "key": "26:price" }));
        assert_eq!(draft.key.as_deref(), Some("26:price"));
    }

    #[test]
    fn every_field_arrives() {
        let draft = draft(
            "{\"channel\":\"c\",\"data\":1,\"skip_history\":true,\"idempotency_key\":\"once\",\
             \"version\":7,\"version_epoch\":\"e\",\"delta\":true,\"b64data\":\"\"}",
        )
        .unwrap();
        assert!(draft.skip_history);
        assert_eq!(draft.idempotency_key.as_deref(), Some("once"));
        assert_eq!((draft.version, &*draft.version_epoch), (Some(7), "e"));
    }

    #[test]
    fn what_is_empty_is_the_same_as_what_is_not_there() {
        let empty = draft(
            "{\"data\":1,\"skip_history\":false,\"idempotency_key\":\"\",\"version\":0,\
             \"version_epoch\":\"\",\"tags\":{}}",
        )
        .unwrap();
        assert_eq!((empty.version, &empty.idempotency_key), (None, &None));
        assert_eq!((empty.skip_history, empty.tags), (false, None));
    }

    #[test]
    fn what_a_publication_can_not_be_is_refused() {
        let long = format!("{{\"channel\":\"c\",\"data\":\"{}\"}}", "x".repeat(63));
        assert_eq!(draft(&long).unwrap_err(), Error::DataTooLarge(64));
        let tagged = format!("{{\"data\":1,\"tags\":{{\"a\":\"{}\"}}}}", "x".repeat(60));
        assert_eq!(draft(&tagged).unwrap_err(), Error::DataTooLarge(64));
        let once = format!("{{\"data\":1,\"idempotency_key\":\"{}\"}}", "x".repeat(65));
        for json in [
            "{\"channel\":\"c\"}",
            "{\"channel\":\"c\",\"data\":1,\"unknown\":1}",
            "{\"channel\":\"c\",\"data\":1,\"key\":\"\"}",
            "{\"channel\":\"c\",\"data\":1,\"tags\":{\"a\":1}}",
            "{\"channel\":\"c\",\"data\":1,\"version\":-1}",
            "{\"channel\":\"c\",\"data\":nonsense}",
            &once,
        ] {
            assert!(matches!(draft(json), Err(Error::Bad(_))), "{json}");
        }
        let binary = draft("{\"channel\":\"c\",\"b64data\":\"eA==\"}").unwrap_err();
        assert!(binary.to_string().contains("b64data"), "{binary}");
    }
}
