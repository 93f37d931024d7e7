//! A site's section on tokens → the keys that they are verified with.

use std::path::PathBuf;

use crate::{
    auth::token::{KeyError, Keys, Rules},
    config,
};

/// Why a site's tokens can't be verified.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The JWKS document, or it together with the secrets.
    #[error("tokens.jwks_file = {file:?}")]
    Jwks {
        /// Where it stands.
        file: PathBuf,
        /// What is wrong with it.
        source: KeyError,
    },
    /// The secrets alone.
    #[error("token_key")]
    Secrets(#[from] KeyError),
}

/// The keys that `site` names.
pub(super) fn keys(site: &config::Site) -> Result<Keys, Error> {
    let tokens = &site.tokens;
    let rules = Rules {
        life_max: tokens.life_max,
        audience: tokens.audience.clone(),
        issuer: tokens.issuer.clone(),
    };
    let secrets = tokens.keys.iter();
    let secrets = secrets.map(|key| (key.kid.as_str(), key.secret.as_bytes()));
    let text = tokens.jwks.as_ref().map(|jwks| jwks.text.as_str());
    Keys::new(rules, secrets, text).map_err(|source| match &tokens.jwks {
        Some(jwks) => Error::Jwks {
            file: jwks.file.clone(),
            source,
        },
        None => Error::Secrets(source),
    })
}
