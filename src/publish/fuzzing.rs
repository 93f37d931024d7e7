//! The check of a publish request's headers, without a socket: the way in for the targets of
//! `fuzz/`.
//!
//! Compiled with `--cfg fuzzing` alone, which cargo-fuzz sets. It judges nothing itself.

use std::time::Duration;

use http::HeaderMap;

use super::{Error, request};
use crate::config::Secret;

/// The keys of some sites, as a publisher of requests meets them.
#[derive(Debug)]
pub struct Verifier(request::Verifier);

impl Verifier {
    /// `started` is the first second whose signatures are accepted.
    #[must_use]
    pub fn new(sites: Vec<(String, Vec<Secret>)>, window: Duration, started: u64) -> Self {
        Self(request::Verifier::new(sites, window, started))
    }

    /// The number of the site that signed.
    ///
    /// # Errors
    ///
    /// Why the request is refused.
    pub fn site(
        &self,
        method: &str,
        headers: &HeaderMap,
        body: &[u8],
        now: u64,
    ) -> Result<usize, Error> {
        let verified = self.0.verify(method, headers, body, now)?;
        Ok(verified.site.0)
    }
}
