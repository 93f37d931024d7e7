//! Is this request signed by a site, now, and for this method?

use std::{sync::Arc, time::Duration};

use super::{error::Error, headers::Headers, scope::Scope};
use crate::{
    auth::signature::{self, Content},
    broker::SiteId,
    config::{self, Secret},
};
use arc_swap::ArcSwap;

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
        headers: &Headers<&[u8]>,
        body: &[u8],
        now: u64,
    ) -> Result<Verified, Error> {
        let (id, timestamp) = (headers.id()?, headers.timestamp()?);
        let signatures = headers.signature()?;
        let seconds: u64 = timestamp.parse().map_err(|_| Error::Timestamp)?;
        let only = headers.site()?;
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

    /// Header fields that can still be changed.
    type Fields = Vec<(&'static str, String)>;

    fn signed(n: u8, id: &str, timestamp: u64) -> Fields {
        let timestamp = timestamp.to_string();
        let content = Content {
            id,
            timestamp: &timestamp,
            body: BODY,
        };
        let signature = signature::sign(secret(n).as_bytes(), content);
        vec![
            ("webhook-id", id.to_owned()),
            ("Webhook-Timestamp", timestamp),
            ("WEBHOOK-SIGNATURE", signature),
        ]
    }

    fn headers(fields: &Fields) -> Headers<&[u8]> {
        let mut headers = Headers::default();
        for (name, value) in fields {
            headers.add(name, value.as_bytes());
        }
        headers
    }

    fn judged(fields: &Fields, body: &[u8]) -> Result<SiteId, Error> {
        let verified = verifier().verify("publish", &headers(fields), body, 1_000);
        verified.map(|verified| verified.site)
    }

    #[test]
    fn the_key_says_which_site() {
        for (key, site) in [(1, 0), (2, 1), (3, 1)] {
            assert_eq!(judged(&signed(key, ID, 1_000), BODY), Ok(SiteId(site)));
        }
        let mut other = signed(1, ID, 1_000);
        other.push(("sidewire-site", "shop".to_owned()));
        assert_eq!(judged(&other, BODY), Err(Error::Signature));
        let mut own = signed(1, ID, 1_000);
        own.push(("sidewire-site", "blog".to_owned()));
        assert_eq!(judged(&own, BODY), Ok(SiteId(0)));
        own.push(("sidewire-site", "blog".to_owned()));
        let twice = Error::MissingHeader("sidewire-site");
        assert_eq!(judged(&own, BODY), Err(twice));
    }

    #[test]
    fn each_refusal_has_its_own_error() {
        assert_eq!(judged(&signed(9, ID, 1_000), BODY), Err(Error::Signature));
        assert_eq!(judged(&signed(1, ID, 1_000), b"{ }"), Err(Error::Signature));
        let mut no_number = signed(1, ID, 1_000);
        no_number[1].1 = "now".to_owned();
        assert_eq!(judged(&no_number, BODY), Err(Error::Timestamp));
        let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
        for (n, name) in names.into_iter().enumerate() {
            let missing = Err(Error::MissingHeader(name));
            let mut fields = signed(1, ID, 1_000);
            fields.push((name, fields[n].1.clone()));
            assert_eq!(judged(&fields, BODY), missing, "twice");
            fields.pop();
            for value in ["", "v1,\u{e9}", "a\u{0}b"] {
                fields[n].1 = value.to_owned();
                assert_eq!(judged(&fields, BODY), missing, "{value:?}");
            }
            fields.remove(n);
            assert_eq!(judged(&fields, BODY), missing, "never");
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
            let fields = signed(key, ID, 1_000);
            let verified = verifier.verify("publish", &headers(&fields), BODY, 1_000);
            verified.is_ok()
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
        let old = signed(2, ID, 1_000);
        let old = verifier.verify("publish", &headers(&old), BODY, 1_000);
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
