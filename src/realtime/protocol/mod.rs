//! Centrifugal's client protocol in JSON: commands read, replies and pushes written.
//!
//! Source: the protocol's public specification and its schema `client.proto`. Bytes and types
//! only: what a command does is decided elsewhere.

mod command;
mod push;
mod reply;

pub(super) use command::{Connect, History, Request, Subscribe, SubscriptionRequest, commands};
pub(super) use push::{join_push, leave_push, publication_push, subscribe_push, unsubscribe_push};
pub(super) use reply::{
    Connected, ErrorCode, Recovered, Subscribed, client_info, connected, history, ponged, presence,
    presence_stats, published, refreshed, refused, subscribed, subscription_refreshed,
    unsubscribed, weight,
};

/// Our ping; the client answers with the same.
pub(super) const PING: &[u8] = b"{}";

/// `value` without the line breaks that JSON allows between its tokens: replies are split at them.
pub(super) fn on_one_line(value: &serde_json::value::RawValue) -> Vec<u8> {
    let bytes = value.get().bytes();
    bytes
        .filter(|byte| !matches!(byte, b'\n' | b'\r'))
        .collect()
}

fn write_string(json: &mut Vec<u8>, text: &str) {
    // A string always serialises.
    let _ = serde_json::to_writer(json, text);
}

#[cfg(test)]
#[path = "../protocol_tests.rs"]
mod tests;
