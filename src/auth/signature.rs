//! Signatures of publish requests, as the Standard Webhooks specification defines them: `v1,` and
//! base64 of HMAC-SHA256 over `id.timestamp.body`.

use std::time::Duration;

use aws_lc_rs::{
    constant_time::verify_slices_are_equal,
    hmac::{self, HMAC_SHA256},
};
use base64::{Engine, engine::general_purpose::STANDARD};

/// Signatures of one request that are looked at; a rotation needs two.
const SIGNATURES_MAX: usize = 8;

/// What is signed.
#[derive(Clone, Copy, Debug)]
pub struct Content<'a> {
    /// The `webhook-id` header.
    pub id: &'a str,
    /// The `webhook-timestamp` header, as it was written.
    pub timestamp: &'a str,
    /// The body, byte for byte.
    pub body: &'a [u8],
}

/// Whether one of the `signatures`, separated by spaces, is `key`'s over `content`.
///
/// Compared in constant time. Schemes other than `v1` are passed over.
#[must_use]
pub fn fits(key: &[u8], content: Content<'_>, signatures: &str) -> bool {
    let own = tag(key, content);
    signatures
        .split_ascii_whitespace()
        .take(SIGNATURES_MAX)
        .filter_map(|signature| STANDARD.decode(signature.strip_prefix("v1,")?).ok())
        .any(|tag| verify_slices_are_equal(own.as_ref(), &tag).is_ok())
}

/// Signs `content`; the value of a `webhook-signature` header.
#[must_use]
pub fn sign(key: &[u8], content: Content<'_>) -> String {
    format!("v1,{}", STANDARD.encode(tag(key, content)))
}

/// Whether `timestamp` is at most `window` from `now`, either way; all in Unix seconds.
#[must_use]
pub const fn is_fresh(timestamp: u64, now: u64, window: Duration) -> bool {
    timestamp.abs_diff(now) <= window.as_secs()
}

/// The body may be large, so it is hashed where it lies.
fn tag(key: &[u8], content: Content<'_>) -> hmac::Tag {
    let mut context = hmac::Context::with_key(&hmac::Key::new(HMAC_SHA256, key));
    for part in [content.id, ".", content.timestamp, "."] {
        context.update(part.as_bytes());
    }
    context.update(content.body);
    context.sign()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(serde::Deserialize)]
    struct Vectors {
        cases: Vec<Case>,
    }

    #[derive(serde::Deserialize)]
    struct Case {
        name: String,
        secret: String,
        id: String,
        timestamp: u64,
        body: String,
        signature: String,
        valid: bool,
    }

    #[test]
    fn every_vector_is_judged_as_it_says() {
        let text = include_str!("../../tests/vectors/signatures.json");
        let vectors: Vectors = serde_json::from_str(text).unwrap();
        assert!(vectors.cases.len() >= 10);
        for case in vectors.cases {
            let key = STANDARD.decode(&case.secret["whsec_".len()..]).unwrap();
            let content = Content {
                id: &case.id,
                timestamp: &case.timestamp.to_string(),
                body: case.body.as_bytes(),
            };
            assert_eq!(
                fits(&key, content, &case.signature),
                case.valid,
                "{}",
                case.name
            );
            assert!(fits(&key, content, &sign(&key, content)), "{}", case.name);
        }
    }

    #[test]
    fn a_timestamp_is_fresh_up_to_the_window_and_not_a_second_further() {
        let window = Duration::from_secs(300);
        for (timestamp, fresh) in [(700, true), (699, false), (1_300, true), (1_301, false)] {
            assert_eq!(is_fresh(timestamp, 1_000, window), fresh, "{timestamp}");
        }
    }
}
