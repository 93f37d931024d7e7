//! The methods of the API and the shape of their bodies, as Centrifugo's server API has them.

use std::collections::HashMap;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Map, Value, json, value::RawValue};

use super::error::Error;
use crate::{
    broker::{Draft, Published, SiteId},
    realtime::Realtime,
};

/// Longest key of a publication.
const KEY_MAX: usize = 255;

/// What the plugin may rely on; grows when a method or a field is added.
pub const API_LEVEL: u32 = 1;

/// Bounds of one request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) data: u64,
    pub(super) batch: usize,
}

/// A method of the API.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Method {
    Publish,
    Broadcast,
    Batch,
    Info,
}

/// The body of `publish`, which names one channel, and of `broadcast`, which names several.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Message {
    channel: Option<String>,
    channels: Option<Vec<String>>,
    data: Box<RawValue>,
    key: Option<String>,
    version: Option<u64>,
    #[serde(default)]
    version_epoch: String,
    #[serde(default)]
    tags: Map<String, Value>,
}

/// Commands are read one by one, so that a faulty one fails alone.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch {
    commands: Vec<Box<RawValue>>,
}

impl Method {
    /// The method that a path names: `/api/publish`.
    pub(super) fn of(path: &str) -> Option<Self> {
        match path.strip_prefix("/api/")? {
            "publish" => Some(Self::Publish),
            "broadcast" => Some(Self::Broadcast),
            "batch" => Some(Self::Batch),
            "info" => Some(Self::Info),
            _ => None,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Broadcast => "broadcast",
            Self::Batch => "batch",
            Self::Info => "info",
        }
    }
}

/// Commands of one site's publisher.
#[derive(Clone, Debug)]
pub(super) struct Commands {
    pub(super) realtime: Realtime,
    pub(super) site: SiteId,
    pub(super) limits: Limits,
}

impl Commands {
    /// Carries `method` out; the whole reply.
    ///
    /// # Errors
    ///
    /// Nothing was published then, but for a batch, whose commands fail one by one inside the
    /// reply.
    pub(super) async fn call(&self, method: Method, body: &[u8]) -> Result<Value, Error> {
        match method {
            Method::Publish => {
                let result = self.publish(read(body)?).await?;
                Ok(json!({ "result": result }))
            }
            Method::Broadcast => {
                let result = self.broadcast(read(body)?).await?;
                Ok(json!({ "result": result }))
            }
            Method::Batch => self.batch(read(body)?).await,
            Method::Info => Ok(json!({ "result": {
                "version": env!("CARGO_PKG_VERSION"),
                "api_level": API_LEVEL,
            } })),
        }
    }

    async fn publish(&self, mut message: Message) -> Result<Value, Error> {
        let (Some(channel), None) = (message.channel.take(), &message.channels) else {
            return Err(Error::Bad("publish takes `channel`".into()));
        };
        let draft = message.draft(self.limits.data)?;
        let published = self.realtime.publish(self.site, &channel, draft).await?;
        Ok(position(published))
    }

    async fn broadcast(&self, mut message: Message) -> Result<Value, Error> {
        let (Some(channels), None) = (message.channels.take(), &message.channel) else {
            return Err(Error::Bad("broadcast takes `channels`".into()));
        };
        if channels.len() > self.limits.batch {
            return Err(Error::Bad(format!(
                "channels: at most {}",
                self.limits.batch
            )));
        }
        let draft = message.draft(self.limits.data)?;
        let mut responses = Vec::with_capacity(channels.len());
        for channel in &channels {
            let published = self
                .realtime
                .publish(self.site, channel, draft.clone())
                .await;
            responses.push(match published {
                Ok(published) => json!({ "result": position(published) }),
                Err(refused) => json!({ "error": Error::from(refused).json() }),
            });
        }
        Ok(json!({ "responses": responses }))
    }

    async fn batch(&self, batch: Batch) -> Result<Value, Error> {
        if batch.commands.len() > self.limits.batch {
            return Err(Error::Bad(format!(
                "commands: at most {}",
                self.limits.batch
            )));
        }
        let mut replies = Vec::with_capacity(batch.commands.len());
        for command in batch.commands {
            replies.push(match self.command(command.get()).await {
                Ok(reply) => reply,
                Err(error) => json!({ "error": error.json() }),
            });
        }
        Ok(json!({ "replies": replies }))
    }

    async fn command(&self, command: &str) -> Result<Value, Error> {
        let command: HashMap<String, Box<RawValue>> = read(command.as_bytes())?;
        let mut entries = command.into_iter();
        let (Some((name, body)), None) = (entries.next(), entries.next()) else {
            return Err(Error::Bad("a command is an object with one method".into()));
        };
        let body = body.get().as_bytes();
        match name.as_str() {
            "publish" => {
                let result = self.publish(read(body)?).await?;
                Ok(json!({ "publish": result }))
            }
            "broadcast" => {
                let result = self.broadcast(read(body)?).await?;
                Ok(json!({ "broadcast": result }))
            }
            _ => Err(Error::UnknownMethod),
        }
    }
}

impl Message {
    /// Checks the message and brings it into the form that is sent to browsers.
    fn draft(self, data_max: u64) -> Result<Draft, Error> {
        // Valid JSON has raw newlines only between its tokens, and a reply is split at them.
        let data: Vec<u8> = self
            .data
            .get()
            .bytes()
            .filter(|byte| !matches!(byte, b'\n' | b'\r'))
            .collect();
        if data.len() as u64 > data_max {
            return Err(Error::DataTooLarge(data_max));
        }
        let mut tags = self.tags;
        if !tags.values().all(Value::is_string) {
            return Err(Error::Bad("tags: every value must be a string".into()));
        }
        if let Some(key) = &self.key {
            if key.is_empty() || key.len() > KEY_MAX {
                return Err(Error::Bad(format!("key: 1 to {KEY_MAX} bytes")));
            }
            tags.insert("key".into(), Value::String(key.clone()));
        }
        if self.version_epoch.len() > KEY_MAX {
            return Err(Error::Bad(format!(
                "version_epoch: at most {KEY_MAX} bytes"
            )));
        }
        let tags = (!tags.is_empty()).then(|| Value::Object(tags).to_string());
        if tags
            .as_ref()
            .is_some_and(|tags| tags.len() as u64 > data_max)
        {
            return Err(Error::DataTooLarge(data_max));
        }
        Ok(Draft {
            data: Bytes::from(data),
            tags: tags.map(String::into_boxed_str),
            key: self.key.map(String::into_boxed_str),
            version: self.version,
            version_epoch: self.version_epoch.into(),
            ..Draft::default()
        })
    }
}

fn position(published: Published) -> Value {
    let position = published.position;
    json!({ "offset": position.offset, "epoch": position.epoch.to_string() })
}

fn read<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T, Error> {
    if !body.trim_ascii_start().starts_with(b"{") {
        // A list would be taken for the fields in their order.
        return Err(Error::Bad("expected a JSON object".into()));
    }
    serde_json::from_slice(body).map_err(|error| Error::Bad(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(json: &str) -> Result<Draft, Error> {
        let message: Message = read(json.as_bytes())?;
        message.draft(64)
    }

    #[test]
    fn data_is_kept_as_it_was_written_but_for_raw_newlines() {
        let json = "{\"channel\":\"c\",\"data\":{\"z\": 1.50,\r\n\"a\":\"x\\ny\"}}";
        let draft = draft(json).unwrap();
        assert_eq!(&draft.data[..], b"{\"z\": 1.50,\"a\":\"x\\ny\"}");
    }

    #[test]
    fn the_key_is_delivered_as_a_tag() {
        let json = "{\"channel\":\"c\",\"data\":1,\"key\":\"26:price\",\"tags\":{\"a\":\"b\"}}";
        let tags: Value = serde_json::from_str(&draft(json).unwrap().tags.unwrap()).unwrap();
        assert_eq!(tags, json!({ "a": "b", "key": "26:price" }));
    }

    #[test]
    fn what_a_publication_can_not_be_is_refused() {
        let long = format!("{{\"channel\":\"c\",\"data\":\"{}\"}}", "x".repeat(63));
        assert_eq!(draft(&long).unwrap_err(), Error::DataTooLarge(64));
        for json in [
            "{\"channel\":\"c\"}",
            "{\"channel\":\"c\",\"data\":1,\"unknown\":1}",
            "{\"channel\":\"c\",\"data\":1,\"key\":\"\"}",
            "{\"channel\":\"c\",\"data\":1,\"tags\":{\"a\":1}}",
            "{\"channel\":\"c\",\"data\":1,\"version\":-1}",
            "{\"channel\":\"c\",\"data\":nonsense}",
        ] {
            assert!(matches!(draft(json), Err(Error::Bad(_))), "{json}");
        }
    }
}
