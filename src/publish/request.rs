//! Is this request signed by a site, now, and for this method?

use http::HeaderMap;

use super::error::Error;
use crate::{
    auth::signature::{self, Content},
    broker::SiteId,
    config::Secret,
};

/// Longest id that is remembered.
const ID_MAX: usize = 128;

/// The publish keys of every site, and the time rules.
#[derive(Debug)]
pub(super) struct Verifier {
    sites: Vec<(String, Vec<Secret>)>,
    window: std::time::Duration,
    /// The first second whose signatures are accepted.
    started: u64,
}

/// A request whose signature holds.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Verified {
    pub(super) site: SiteId,
    pub(super) id: Box<str>,
    pub(super) timestamp: u64,
}

impl Verifier {
    /// `started` is the second after the process began.
    pub(super) const fn new(
        sites: Vec<(String, Vec<Secret>)>,
        window: std::time::Duration,
        started: u64,
    ) -> Self {
        Self {
            sites,
            window,
            started,
        }
    }

    /// Whether `sites` have the names of those here, in their order.
    pub(super) fn has_sites(&self, sites: &[(String, Vec<Secret>)]) -> bool {
        let names = |sites: &[(String, Vec<Secret>)]| -> Vec<String> {
            sites.iter().map(|(name, _)| name.clone()).collect()
        };
        names(&self.sites) == names(sites)
    }

    pub(super) const fn started(&self) -> u64 {
        self.started
    }

    pub(super) const fn window(&self) -> std::time::Duration {
        self.window
    }

    /// Judges headers and body of a request to `method` at the Unix second `now`.
    pub(super) fn verify(
        &self,
        method: &str,
        headers: &HeaderMap,
        body: &[u8],
        now: u64,
    ) -> Result<Verified, Error> {
        let id = header(headers, "webhook-id")?;
        let timestamp = header(headers, "webhook-timestamp")?;
        let signatures = header(headers, "webhook-signature")?;
        let seconds: u64 = timestamp.parse().map_err(|_| Error::Timestamp)?;
        if !signature::is_fresh(seconds, now, self.window) {
            return Err(Error::Timestamp);
        }
        let only = headers.get("sidewire-site").map(|name| name.as_bytes());
        let content = Content {
            id,
            timestamp,
            body,
        };
        let site = self
            .sites
            .iter()
            .enumerate()
            .filter(|(_, (name, _))| only.is_none_or(|only| only == name.as_bytes()))
            .find(|(_, (_, keys))| {
                let mut keys = keys.iter();
                keys.any(|key| signature::fits(key.as_bytes(), content, signatures))
            })
            .map(|(n, _)| SiteId(n))
            .ok_or(Error::Signature)?;
        // Only a signed request learns more.
        if !names_method(id, method) {
            return Err(Error::IdForm(method.to_owned()));
        }
        if seconds < self.started {
            let not_before = self.started;
            return Err(Error::BeforeStart { not_before });
        }
        Ok(Verified {
            site,
            id: id.into(),
            timestamp: seconds,
        })
    }
}

/// `METHOD_RANDOM`, so that a captured request can't be played to another method.
fn names_method(id: &str, method: &str) -> bool {
    let Some((named, random)) = id.rsplit_once('_') else {
        return false;
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    named == method
        && id.len() <= ID_MAX
        && (16..=64).contains(&random.len())
        && random.chars().all(plain)
}

fn header<'a>(headers: &'a HeaderMap, name: &'static str) -> Result<&'a str, Error> {
    let mut values = headers.get_all(name).iter();
    match (values.next().map(|value| value.to_str()), values.next()) {
        (Some(Ok(value)), None) if !value.is_empty() => Ok(value),
        _ => Err(Error::MissingHeader(name)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const ID: &str = "publish_0123456789abcdef";
    const BODY: &[u8] = b"{}";

    fn secret(n: u8) -> Secret {
        use base64::{Engine, engine::general_purpose::STANDARD};
        Secret::parse(&format!("whsec_{}", STANDARD.encode([n; 32]))).unwrap()
    }

    fn verifier() -> Verifier {
        let sites = vec![
            ("blog".into(), vec![secret(1)]),
            ("shop".into(), vec![secret(2), secret(3)]),
        ];
        Verifier::new(sites, Duration::from_secs(300), 900)
    }

    fn signed(n: u8, id: &str, timestamp: u64) -> HeaderMap {
        let timestamp = timestamp.to_string();
        let content = Content {
            id,
            timestamp: &timestamp,
            body: BODY,
        };
        let signature = signature::sign(secret(n).as_bytes(), content);
        let mut headers = HeaderMap::new();
        headers.insert("webhook-id", id.parse().unwrap());
        headers.insert("webhook-timestamp", timestamp.parse().unwrap());
        headers.insert("webhook-signature", signature.parse().unwrap());
        headers
    }

    fn judged(headers: &HeaderMap, body: &[u8]) -> Result<SiteId, Error> {
        let verified = verifier().verify("publish", headers, body, 1_000);
        verified.map(|verified| verified.site)
    }

    #[test]
    fn the_key_says_which_site() {
        for (key, site) in [(1, 0), (2, 1), (3, 1)] {
            assert_eq!(judged(&signed(key, ID, 1_000), BODY), Ok(SiteId(site)));
        }
        let mut other = signed(1, ID, 1_000);
        other.insert("sidewire-site", "shop".parse().unwrap());
        assert_eq!(judged(&other, BODY), Err(Error::Signature));
    }

    #[test]
    fn each_refusal_has_its_own_error() {
        assert_eq!(judged(&signed(9, ID, 1_000), BODY), Err(Error::Signature));
        assert_eq!(judged(&signed(1, ID, 1_000), b"{ }"), Err(Error::Signature));
        assert_eq!(judged(&signed(1, ID, 699), BODY), Err(Error::Timestamp));
        assert_eq!(judged(&signed(1, ID, 1_301), BODY), Err(Error::Timestamp));
        for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
            let mut headers = signed(1, ID, 1_000);
            headers.remove(name);
            assert_eq!(judged(&headers, BODY), Err(Error::MissingHeader(name)));
        }
        let before = signed(1, ID, 899);
        assert_eq!(
            judged(&before, BODY),
            Err(Error::BeforeStart { not_before: 900 })
        );
    }

    #[test]
    fn an_id_must_name_the_method_and_be_random_enough() {
        let long = format!("publish_{}", "x".repeat(65));
        for id in [
            "batch_0123456789abcdef",
            "publish_0123456789abcde",
            "0123456789abcdef0123",
            "publish_0123456789abcde!",
            &long,
        ] {
            let error = judged(&signed(1, id, 1_000), BODY);
            assert_eq!(error, Err(Error::IdForm("publish".into())), "{id}");
        }
    }

    #[test]
    fn every_code_is_its_own() {
        let errors = [
            Error::MissingHeader("x"),
            Error::Timestamp,
            Error::Signature,
            Error::IdReused,
            Error::IdForm(String::new()),
            Error::BeforeStart { not_before: 1 },
            Error::IdsFull,
            Error::TooLarge(1),
            Error::DataTooLarge(1),
        ];
        let codes: std::collections::HashSet<u32> = errors.iter().map(|e| e.codes().1).collect();
        assert_eq!(codes.len(), errors.len());
    }
}
