//! What the methods that look at channels take: history, presence, and the list of channels.

use serde::Deserialize;

use super::{error::Error, method::read};
use crate::{
    auth::object::Object,
    broker::{HistoryFilter, Since},
};

/// Longest pattern of `channels`.
const PATTERN_MAX: usize = 255;

/// The body of `presence`, `presence_stats` and `history_remove`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Channel {
    channel: String,
}

/// The body of `history`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct History {
    channel: String,
    #[serde(default)]
    limit: i64,
    since: Option<Object<From>>,
    #[serde(default)]
    reverse: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct From {
    #[serde(default)]
    offset: u64,
    #[serde(default)]
    epoch: String,
}

/// The body of `channels`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Channels {
    #[serde(default)]
    pattern: String,
}

/// The channel that a body names and nothing else.
pub(super) fn channel(body: &[u8]) -> Result<String, Error> {
    let Channel { channel } = read(body)?;
    Ok(channel)
}

/// The channel and the part of its history that a body asks for.
pub(super) fn history(body: &[u8]) -> Result<(String, HistoryFilter), Error> {
    let request: History = read(body)?;
    let limit = match usize::try_from(request.limit) {
        Ok(limit) => Some(limit),
        Err(_) if request.limit == -1 => None,
        Err(_) => {
            let expected = "limit: -1 for all, 0 for the position alone, or a number";
            return Err(Error::Bad(expected.into()));
        }
    };
    let since = request.since.map(|Object(from)| Since {
        offset: from.offset,
        epoch: (!from.epoch.is_empty()).then(|| from.epoch.into()),
    });
    if request.reverse && since.as_ref().is_some_and(|since| since.offset == 0) {
        return Err(Error::Bad("since.offset: nothing comes before 0".into()));
    }
    let filter = HistoryFilter {
        limit,
        since,
        reverse: request.reverse,
    };
    Ok((request.channel, filter))
}

/// The pattern that `channels` asks for; empty: every channel.
pub(super) fn pattern(body: &[u8]) -> Result<String, Error> {
    let Channels { pattern } = read(body)?;
    if pattern.len() > PATTERN_MAX {
        let expected = format!("pattern: at most {PATTERN_MAX} bytes");
        return Err(Error::Bad(expected));
    }
    Ok(pattern)
}

/// Whether `name` is what `pattern` describes: `*` stands for anything, and an empty pattern for
/// every channel.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern.is_empty() || pattern == name;
    };
    let Some(mut left) = name.strip_prefix(first) else {
        return false;
    };
    let mut parts = rest.split('*');
    let last = parts.next_back().unwrap_or_default();
    for part in parts {
        let Some((_, after)) = left.split_once(part) else {
            return false;
        };
        left = after;
    }
    left.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_anything() {
        for (pattern, name, fits) in [
            ("", "site", true),
            ("*", "site", true),
            ("site", "site", true),
            ("site", "site:1", false),
            ("post:*", "post:26", true),
            ("post:*", "edit:26", false),
            ("*:26", "post:26", true),
            ("*:26", "post:261", false),
            ("p*:*6", "post:26", true),
            ("p*x*6", "post:26", false),
            ("po*ost", "post", false),
            ("**", "post", true),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }

    fn filter(json: &str) -> HistoryFilter {
        history(json.as_bytes()).unwrap().1
    }

    #[test]
    fn a_history_request_is_read_as_centrifugo_reads_it() {
        let (name, bare) = history(b"{\"channel\":\"post:26\"}").unwrap();
        assert_eq!(name, "post:26");
        assert_eq!((bare.limit, bare.reverse), (Some(0), false));
        assert!(bare.since.is_none());
        assert_eq!(filter("{\"channel\":\"c\",\"limit\":-1}").limit, None);
        let full = filter(
            "{\"channel\":\"c\",\"limit\":10,\"reverse\":true,\
             \"since\":{\"offset\":7,\"epoch\":\"e\"}}",
        );
        let since = full.since.unwrap();
        assert_eq!((full.limit, full.reverse), (Some(10), true));
        assert_eq!((since.offset, since.epoch.as_deref()), (7, Some("e")));
        let unknown = filter("{\"channel\":\"c\",\"since\":{\"offset\":7,\"epoch\":\"\"}}");
        assert_eq!(unknown.since.unwrap().epoch, None);
    }

    #[test]
    fn what_no_history_can_be_asked_for_is_refused() {
        for json in [
            "{}",
            "{\"channel\":1}",
            "{\"channel\":\"c\",\"limit\":-2}",
            "{\"channel\":\"c\",\"limit\":1.5}",
            "{\"channel\":\"c\",\"since\":{\"offset\":-1}}",
            "{\"channel\":\"c\",\"since\":7}",
            "{\"channel\":\"c\",\"since\":{\"offset\":0},\"reverse\":true}",
            "{\"channel\":\"c\",\"page\":1}",
            "[\"c\"]",
        ] {
            let error = history(json.as_bytes()).unwrap_err();
            assert!(matches!(error, Error::Bad(_)), "{json}: {error:?}");
        }
    }

    #[test]
    fn a_body_with_a_channel_alone_takes_nothing_else() {
        assert_eq!(channel(b"{\"channel\":\"c\"}").unwrap(), "c");
        assert!(channel(b"{\"channel\":\"c\",\"user\":\"1\"}").is_err());
        assert_eq!(pattern(b"{}").unwrap(), "");
        assert_eq!(pattern(b"{\"pattern\":\"post:*\"}").unwrap(), "post:*");
        let long = format!("{{\"pattern\":\"{}\"}}", "x".repeat(256));
        assert!(pattern(long.as_bytes()).is_err());
    }
}
