//! What the methods that change connections take: whom they mean, and what becomes of them.

use serde::Deserialize;

use super::{error::Error, method::read};
use crate::{
    auth::object::Object,
    realtime::{Disconnect, Expiry, Target},
};

/// The codes that a client may be closed with: the protocol's own and those of applications.
const CODES: std::ops::RangeInclusive<u16> = 3_000..=4_999;

/// Longest reason of a close frame.
const REASON_MAX: usize = 123;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    channel: Option<String>,
    #[serde(default)]
    user: String,
    #[serde(default)]
    client: String,
    #[serde(default)]
    sid: String,
    /// Centrifugo's name for one connection, which is not a log-in.
    #[serde(default)]
    session: String,
    // Of disconnect.
    disconnect: Option<Object<Close>>,
    #[serde(default)]
    whitelist: Vec<String>,
    // Of refresh.
    expired: Option<bool>,
    expire_at: Option<u64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Close {
    #[serde(default)]
    code: u16,
    #[serde(default)]
    reason: String,
}

/// Which optional fields a method takes beside the target.
#[derive(Clone, Copy)]
enum Takes {
    Channel,
    Disconnect,
    Expiry,
}

/// The body of `unsubscribe`: a channel that names nobody is everybody's.
pub(super) fn unsubscribe(body: &[u8]) -> Result<(Target, String), Error> {
    let (target, body) = whom(body, Takes::Channel)?;
    let channel = body.channel.filter(|channel| !channel.is_empty());
    let channel = channel.ok_or(Error::Bad("channel: missing".into()))?;
    Ok((target, channel))
}

/// The body of `refresh`.
pub(super) fn refresh(body: &[u8]) -> Result<(Target, Expiry), Error> {
    let (target, body) = target(body, Takes::Expiry)?;
    let expiry = match (body.expired, body.expire_at) {
        (Some(true), _) => Expiry::Now,
        (_, None | Some(0)) => Expiry::Never,
        (_, Some(second)) => Expiry::At(second),
    };
    Ok((target, expiry))
}

/// The body of `subscribe`.
pub(super) fn subscribe(body: &[u8]) -> Result<(Target, String), Error> {
    let (target, body) = target(body, Takes::Channel)?;
    let channel = body.channel.filter(|channel| !channel.is_empty());
    let channel = channel.ok_or(Error::Bad("channel: missing".into()))?;
    Ok((target, channel))
}

/// The body of `disconnect`, with the code and the reason that the client is told.
pub(super) fn disconnect(body: &[u8]) -> Result<(Target, Disconnect), Error> {
    let (target, body) = target(body, Takes::Disconnect)?;
    let Some(Object(close)) = body.disconnect else {
        return Ok((target, Disconnect::default()));
    };
    if !CODES.contains(&close.code) {
        return Err(Error::Bad(format!(
            "disconnect.code: {} to {}",
            CODES.start(),
            CODES.end()
        )));
    }
    let reason = close.reason;
    // Clients take a reason that is JSON, or none, for something else than a reason.
    let is_json = serde_json::from_str::<serde::de::IgnoredAny>(&reason).is_ok();
    if reason.is_empty() || reason.len() > REASON_MAX || is_json {
        return Err(Error::Bad(format!(
            "disconnect.reason: 1 to {REASON_MAX} bytes of text, not JSON"
        )));
    }
    let code = close.code;
    Ok((target, Disconnect { code, reason }))
}

/// Reads a body that means somebody.
fn target(body: &[u8], takes: Takes) -> Result<(Target, Body), Error> {
    let (target, body) = whom(body, takes)?;
    if target == Target::default() {
        return Err(Error::Bad("`user`, `client` or `sid` is needed".into()));
    }
    Ok((target, body))
}

/// Reads a body and whom it means, and refuses what the method does not take.
fn whom(body: &[u8], takes: Takes) -> Result<(Target, Body), Error> {
    let body: Body = read(body)?;
    let strange = [
        (
            !matches!(takes, Takes::Channel) && body.channel.is_some(),
            "channel",
        ),
        (
            !matches!(takes, Takes::Disconnect) && body.disconnect.is_some(),
            "disconnect",
        ),
        (
            !matches!(takes, Takes::Expiry) && (body.expired.is_some() || body.expire_at.is_some()),
            "expired, expire_at",
        ),
        (!body.whitelist.is_empty(), "whitelist"),
        (!body.session.is_empty(), "session"),
    ];
    if let Some((_, name)) = strange.iter().find(|(strange, _)| *strange) {
        // To pass over one would mean more connections than were meant.
        return Err(Error::Bad(format!("{name}: not supported by this method")));
    }
    let given = |text: &String| (!text.is_empty()).then(|| text.clone());
    let target = Target {
        user: given(&body.user),
        client: given(&body.client),
        sid: given(&body.sid),
    };
    Ok((target, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(name: &str) -> Target {
        Target {
            user: Some(name.into()),
            ..Target::default()
        }
    }

    #[test]
    fn whom_a_request_means_is_all_that_it_says() {
        let json = "{\"user\":\"7\",\"client\":\"c\",\"sid\":\"s\",\"channel\":\"post:26\"}";
        let everything = Target {
            user: Some("7".into()),
            client: Some("c".into()),
            sid: Some("s".into()),
        };
        let read = subscribe(json.as_bytes()).unwrap();
        assert_eq!(read, (everything, "post:26".into()));
        let empty = b"{\"user\":\"7\",\"client\":\"\",\"channel\":\"site\"}";
        assert_eq!(subscribe(empty).unwrap(), (user("7"), "site".into()));
    }

    #[test]
    fn a_disconnect_has_a_code_and_a_reason_that_clients_understand() {
        let read = disconnect(b"{\"user\":\"7\"}").unwrap();
        assert_eq!(read, (user("7"), Disconnect::default()));
        let json = b"{\"user\":\"7\",\"disconnect\":{\"code\":4000,\"reason\":\"bye\"}}";
        let bye = Disconnect {
            code: 4_000,
            reason: "bye".into(),
        };
        assert_eq!(disconnect(json).unwrap(), (user("7"), bye));
        let long = "x".repeat(124);
        for (code, reason) in [
            (2_999, "bye"),
            (5_000, "bye"),
            (0, "bye"),
            (4_000, ""),
            (4_000, "{\"a\":1}"),
            (4_000, " {}"),
            (4_000, "[]"),
            (4_000, "123"),
            (4_000, "null"),
            (4_000, "\"bye\""),
            (4_000, &*long),
        ] {
            let close = serde_json::json!({ "code": code, "reason": reason });
            let body = serde_json::json!({ "user": "7", "disconnect": close });
            let error = disconnect(body.to_string().as_bytes()).unwrap_err();
            assert!(error.to_string().contains("disconnect."), "{code} {error}");
        }
    }

    #[test]
    fn an_unsubscribe_that_names_nobody_means_everybody_of_its_channel() {
        let read = unsubscribe(b"{\"channel\":\"edit:26\"}").unwrap();
        assert_eq!(read, (Target::default(), "edit:26".into()));
    }

    #[test]
    fn a_refresh_sets_the_end_of_a_connection_or_brings_it() {
        for (json, expiry) in [
            ("{\"user\":\"7\",\"expire_at\":1000}", Expiry::At(1_000)),
            ("{\"user\":\"7\",\"expire_at\":0}", Expiry::Never),
            ("{\"user\":\"7\"}", Expiry::Never),
            ("{\"user\":\"7\",\"expired\":true}", Expiry::Now),
            (
                "{\"user\":\"7\",\"expired\":true,\"expire_at\":9}",
                Expiry::Now,
            ),
        ] {
            let read = refresh(json.as_bytes()).unwrap();
            assert_eq!(read, (user("7"), expiry), "{json}");
        }
    }

    #[test]
    fn what_would_mean_everyone_or_others_than_meant_is_refused() {
        type Read = fn(&[u8]) -> bool;
        let methods: [(&str, Read); 3] = [
            ("subscribe", |body| subscribe(body).is_ok()),
            ("refresh", |body| refresh(body).is_ok()),
            ("disconnect", |body| disconnect(body).is_ok()),
        ];
        for json in [
            "{}",
            "{\"channel\":\"post:26\"}",
            "{\"user\":\"\",\"channel\":\"post:26\"}",
            "{\"user\":7,\"channel\":\"post:26\"}",
            "{\"user\":\"7\",\"disconnect\":[4001,\"bye\"]}",
            "{\"user\":\"7\",\"session\":\"s\",\"channel\":\"post:26\"}",
            "{\"user\":\"7\",\"whitelist\":[\"c\"],\"channel\":\"post:26\"}",
            "{\"user\":\"7\",\"everyone\":true,\"channel\":\"post:26\"}",
        ] {
            for (name, read) in methods {
                assert!(!read(json.as_bytes()), "{name} {json}");
            }
        }
        for body in [&b"{}"[..], b"{\"user\":\"7\"}"] {
            assert!(unsubscribe(body).is_err(), "no channel");
        }
        assert!(subscribe(b"{\"user\":\"7\"}").is_err(), "no channel");
        assert!(unsubscribe(b"{\"user\":\"7\",\"channel\":\"c\",\"expire_at\":9}").is_err());
        assert!(refresh(b"{\"user\":\"7\",\"channel\":\"c\"}").is_err());
        assert!(disconnect(b"{\"user\":\"7\",\"channel\":\"c\"}").is_err());
    }
}
