//! Pushes: what a client is told without having asked.

use super::write_string;
use crate::broker::Publication;

/// The push that carries `publication` to a subscriber of `channel`; `conflated`: in place of
/// earlier ones, which the tag of that name tells.
pub(in crate::realtime) fn publication_push(
    channel: &str,
    publication: &Publication,
    conflated: bool,
) -> Vec<u8> {
    let mut json = Vec::with_capacity(publication.size() + channel.len() + 96);
    begin(&mut json, channel, "pub");
    write_publication(&mut json, publication, conflated);
    json.extend_from_slice(b"}}");
    json
}

/// The push that tells subscribers of `channel` who has come; `info` is a `ClientInfo`.
pub(in crate::realtime) fn join_push(channel: &str, info: &str) -> Vec<u8> {
    info_push(channel, "join", info)
}

/// The push that tells subscribers of `channel` who has gone.
pub(in crate::realtime) fn leave_push(channel: &str, info: &str) -> Vec<u8> {
    info_push(channel, "leave", info)
}

fn info_push(channel: &str, name: &str, info: &str) -> Vec<u8> {
    let mut json = Vec::with_capacity(channel.len() + info.len() + 64);
    begin(&mut json, channel, name);
    json.extend_from_slice(b"{\"info\":");
    json.extend_from_slice(info.as_bytes());
    json.extend_from_slice(b"}}}");
    json
}

/// The push that tells a client of a subscription that the server made for it.
pub(in crate::realtime) fn subscribe_push(channel: &str, result: &[u8]) -> Vec<u8> {
    let mut json = Vec::with_capacity(channel.len() + result.len() + 64);
    begin(&mut json, channel, "subscribe");
    json.extend_from_slice(result);
    json.extend_from_slice(b"}}");
    json
}

/// The push that ends a subscription; the client subscribes again where `code` is 2500 or more.
pub(in crate::realtime) fn unsubscribe_push(channel: &str, code: u32, reason: &str) -> Vec<u8> {
    let mut json = Vec::new();
    begin(&mut json, channel, "unsubscribe");
    json.extend_from_slice(format!("{{\"code\":{code},\"reason\":").as_bytes());
    write_string(&mut json, reason);
    json.extend_from_slice(b"}}}");
    json
}

fn begin(json: &mut Vec<u8>, channel: &str, name: &str) {
    json.extend_from_slice(b"{\"push\":{\"channel\":");
    write_string(json, channel);
    json.extend_from_slice(b",\"");
    json.extend_from_slice(name.as_bytes());
    json.extend_from_slice(b"\":");
}

/// A publication as pushes and replies hold it.
pub(in crate::realtime) fn write_publication(
    json: &mut Vec<u8>,
    publication: &Publication,
    conflated: bool,
) {
    json.extend_from_slice(b"{\"data\":");
    json.extend_from_slice(&publication.data);
    if let Some(info) = &publication.info {
        json.extend_from_slice(b",\"info\":");
        json.extend_from_slice(info.as_bytes());
    }
    if publication.offset > 0 {
        json.extend_from_slice(b",\"offset\":");
        json.extend_from_slice(publication.offset.to_string().as_bytes());
    }
    match (&publication.tags, conflated) {
        (Some(tags), false) => {
            json.extend_from_slice(b",\"tags\":");
            json.extend_from_slice(tags.as_bytes());
        }
        (Some(tags), true) => {
            // Never empty: there is a key at least, or no tags at all.
            json.extend_from_slice(b",\"tags\":{\"conflated\":\"true\",");
            json.extend_from_slice(tags.trim_start_matches('{').as_bytes());
        }
        (None, true) => json.extend_from_slice(b",\"tags\":{\"conflated\":\"true\"}"),
        (None, false) => {}
    }
    json.push(b'}');
}
