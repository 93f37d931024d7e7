//! `[site.tokens]` and `[[site.token_key]]`: what the tokens of a site's browsers are held against.
//!
//! The JWKS file is read here, since it belongs to the configuration, and not understood here.

use std::{fs, path::PathBuf, time::Duration};

use super::{Secret, secret, section::Section};

/// Bytes of a JWKS file.
const JWKS_MAX: usize = 1 << 20;

/// HMAC-SHA256 of a shorter secret is not HS256 (RFC 7518, section 3.2).
const SECRET_MIN: usize = 32;

/// The keys and rules of a site's tokens. Without a key, no token holds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tokens {
    /// The secrets of HS256, each under another `kid`.
    pub keys: Vec<TokenKey>,
    /// The public keys of RS256, ES256 and EdDSA.
    pub jwks: Option<Jwks>,
    /// A token's `exp` − `iat` may not be longer, or `exp` − now where there is no `iat`.
    pub life_max: Duration,
    /// What must be among a token's `aud`; empty: not asked for.
    pub audience: String,
    /// What a token's `iss` must be; empty: not asked for.
    pub issuer: String,
}

/// A secret that tokens are made with.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TokenKey {
    /// What the header of its tokens says; empty: tokens without `kid`.
    pub kid: String,
    /// At least 32 bytes.
    pub secret: Secret,
}

/// A JWKS document as it was read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Jwks {
    /// Where it stands.
    pub file: PathBuf,
    /// Its text.
    pub text: String,
}

impl Tokens {
    /// Reads the tables `tokens` and `token_key` of a site.
    pub(super) fn read(site: &mut Section) -> Self {
        let mut section = site.section_or_empty("tokens");
        let seconds = Duration::from_secs;
        let mut tokens = Self {
            keys: Vec::new(),
            jwks: read_jwks(&mut section),
            life_max: section.within(
                "life_max",
                seconds(86_400),
                seconds(60)..=seconds(365 * 86_400),
            ),
            audience: section.or("audience", String::new()),
            issuer: section.or("issuer", String::new()),
        };
        section.finish();
        for section in site.sections("token_key") {
            if let Some(key) = TokenKey::read(section, &tokens.keys) {
                tokens.keys.push(key);
            }
        }
        tokens
    }
}

impl TokenKey {
    fn read(mut section: Section, others: &[Self]) -> Option<Self> {
        let kid = section.or("kid", String::new());
        let secret = secret::read(&mut section);
        if others.iter().any(|other| other.kid == kid) {
            let remedy = "another token_key of this site has this kid; give each its own";
            section.fault("kid", remedy);
            section.finish();
            return None;
        }
        let is_long = |secret: &Secret| secret.as_bytes().len() >= SECRET_MIN;
        if secret.as_ref().is_some_and(|secret| !is_long(secret)) {
            let key = if section.has("secret") {
                "secret"
            } else {
                "secret_file"
            };
            section.fault(
                key,
                "expected at least 32 bytes, as HS256 does; `sidewire secret new` makes them",
            );
        }
        section.finish();
        Some(Self {
            kid,
            secret: secret?,
        })
    }
}

fn read_jwks(section: &mut Section) -> Option<Jwks> {
    let file = section.optional::<PathBuf>("jwks_file")?;
    match fs::read_to_string(&file) {
        Ok(text) if text.len() <= JWKS_MAX => Some(Jwks { file, text }),
        Ok(_) => {
            section.fault("jwks_file", "expected a JWKS document of at most 1 MiB");
            None
        }
        Err(error) => {
            let remedy = "expected a JWKS document that the sidecar's user may read, \
                          such as {\"keys\":[…]}; remove the key if tokens are HS256 only";
            section.fault(
                "jwks_file",
                format_args!("cannot be read: {error}; {remedy}"),
            );
            None
        }
    }
}
