//! Is this request signed by a site, now, and for this method?

use std::{sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use http::HeaderMap;

use super::{error::Error, scope::Scope};
use crate::{
    auth::signature::{self, Content},
    broker::SiteId,
    config::{self, Secret},
};

/// Longest id that is remembered.
const ID_MAX: usize = 128;

/// The publish keys of every site, and the time rules.
#[derive(Debug)]
pub struct Verifier {
    /// Replaced as a whole, so that a request sees the old keys or the new ones.
    sites: ArcSwap<Vec<Keys>>,
    window: Duration,
    /// The first second whose signatures are accepted.
    started: u64,
}

/// The keys of one site.
#[derive(Debug)]
struct Keys {
    site: String,
    keys: Vec<(Secret, Arc<Scope>)>,
}

/// A request whose signature holds.
#[derive(Debug, Eq, PartialEq)]
pub struct Verified {
    /// Whose key signed it.
    pub site: SiteId,
    /// The `webhook-id`.
    pub id: Box<str>,
    /// When it was signed, in Unix seconds.
    pub timestamp: u64,
    /// What the key may do.
    pub(super) scope: Arc<Scope>,
}

/// The sites are others than before: only their keys can be replaced.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("sites were added, removed, renamed or moved: their publish keys stay as they were")]
pub struct SitesChanged;

impl Verifier {
    /// `started` is the second after the process began.
    #[must_use]
    pub fn new(sites: &[config::Site], window: Duration, started: u64) -> Self {
        Self {
            sites: ArcSwap::from_pointee(read_keys(sites)),
            window,
            started,
        }
    }

    /// Takes the keys of `sites` in place of those known.
    pub(super) fn replace(&self, sites: &[config::Site]) -> Result<(), SitesChanged> {
        let known = self.sites.load();
        let known = known.iter().map(|keys| &keys.site);
        if !known.eq(sites.iter().map(|site| &site.name)) {
            return Err(SitesChanged);
        }
        self.sites.store(Arc::new(read_keys(sites)));
        Ok(())
    }

    pub(super) const fn started(&self) -> u64 {
        self.started
    }

    pub(super) const fn window(&self) -> Duration {
        self.window
    }

    /// Judges headers and body of a request to `method` at the Unix second `now`.
    ///
    /// # Errors
    ///
    /// Why it is refused. Who can't sign learns nothing of our clock or our keys.
    pub fn verify(
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
        let only = headers.get("sidewire-site").map(|name| name.as_bytes());
        let content = Content {
            id,
            timestamp,
            body,
        };
        let sites = self.sites.load();
        let mut candidates = sites
            .iter()
            .enumerate()
            .filter(|(_, known)| only.is_none_or(|only| only == known.site.as_bytes()))
            .flat_map(|(n, known)| known.keys.iter().map(move |key| (SiteId(n), key)));
        let (site, (_, scope)) = candidates
            .find(|(_, (key, _))| signature::fits(key.as_bytes(), content, signatures))
            .ok_or(Error::Signature)?;
        // Only a signed request learns more.
        if !signature::is_fresh(seconds, now, self.window) {
            return Err(Error::Skew {
                seconds: skew(seconds, now),
                window: self.window.as_secs(),
            });
        }
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
            scope: Arc::clone(scope),
        })
    }
}

fn read_keys(sites: &[config::Site]) -> Vec<Keys> {
    let keys = |site: &config::Site| {
        let keys = site.publish_keys.iter();
        keys.map(|key| (key.secret.clone(), Arc::new(Scope::new(key))))
            .collect()
    };
    sites
        .iter()
        .map(|site| Keys {
            site: site.name.clone(),
            keys: keys(site),
        })
        .collect()
}

/// How far `timestamp` is ahead of `now`; negative where it is behind.
fn skew(timestamp: u64, now: u64) -> i64 {
    let distance = i64::try_from(timestamp.abs_diff(now)).unwrap_or(i64::MAX);
    if timestamp < now { -distance } else { distance }
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
    use super::*;
    use crate::publish::scope::tests::{key, site};

    const ID: &str = "publish_0123456789abcdef";
    const BODY: &[u8] = b"{}";

    fn secret(n: u8) -> Secret {
        use base64::{Engine, engine::general_purpose::STANDARD};
        Secret::parse(&format!("whsec_{}", STANDARD.encode([n; 32]))).unwrap()
    }

    fn sites(shop: &[u8]) -> [config::Site; 2] {
        let keys = |numbers: &[u8]| numbers.iter().map(|n| key(secret(*n))).collect();
        [site("blog", keys(&[1])), site("shop", keys(shop))]
    }

    fn verifier() -> Verifier {
        Verifier::new(&sites(&[2, 3]), Duration::from_secs(300), 900)
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
        let mut no_number = signed(1, ID, 1_000);
        no_number.insert("webhook-timestamp", "now".parse().unwrap());
        assert_eq!(judged(&no_number, BODY), Err(Error::Timestamp));
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
    fn who_signs_learns_how_far_the_clocks_differ_and_nobody_else() {
        for (timestamp, expected) in [(588, -412), (699, -301), (1_301, 301), (u64::MAX, i64::MAX)]
        {
            let error = judged(&signed(1, ID, timestamp), BODY).unwrap_err();
            let window = 300;
            let seconds = expected;
            assert_eq!(error, Error::Skew { seconds, window }, "{timestamp}");
            let stranger = judged(&signed(9, ID, timestamp), BODY);
            assert_eq!(stranger, Err(Error::Signature), "{timestamp}");
        }
        let error = judged(&signed(1, ID, 588), BODY).unwrap_err();
        assert_eq!(
            error.to_string(),
            "timestamp is 412 s behind our clock (publish.timestamp_window is 300 s): \
             set the clock"
        );
        assert_eq!(error.json()["skew_seconds"], -412);
    }

    #[test]
    fn replaced_keys_count_from_the_next_request_on() {
        let verifier = verifier();
        let judged = |key: u8| {
            let headers = signed(key, ID, 1_000);
            verifier.verify("publish", &headers, BODY, 1_000).is_ok()
        };
        verifier.replace(&sites(&[3, 4])).unwrap();
        for (key, known) in [(1, true), (2, false), (3, true), (4, true)] {
            assert_eq!(judged(key), known, "{key}");
        }
    }

    #[test]
    fn keys_are_not_replaced_where_the_sites_are_others() {
        let verifier = verifier();
        let [blog, shop] = sites(&[4]);
        for others in [
            vec![shop.clone(), blog.clone()],
            vec![blog.clone()],
            vec![blog.clone(), site("store", Vec::new())],
            vec![blog, shop, site("third", Vec::new())],
        ] {
            assert_eq!(verifier.replace(&others), Err(SitesChanged));
        }
        let old = verifier.verify("publish", &signed(2, ID, 1_000), BODY, 1_000);
        assert!(old.is_ok());
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
            Error::KeysFull,
            Error::Forbidden(String::new()),
            Error::Peer(1),
            Error::FirstFailed,
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
