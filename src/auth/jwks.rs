//! A JWKS document (RFC 7517) → public keys, each with the one algorithm that it is good for.
//!
//! It reads no file and fetches nothing. A key that is not understood is an error, not passed
//! over: whoever wrote it down expects tokens of it to pass. Keys marked `"use": "enc"` are passed
//! over, since documents of identity providers hold them beside the others.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RsaPublicKeyComponents,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Deserializer, de::IgnoredAny};

use super::object::{self, Object};

/// Bits of an RSA modulus.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2_048..=8_192;

/// Why a document gives no keys.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// The text as a whole.
    #[error("not a JWKS document: {0}; expected {{\"keys\":[…]}}")]
    Document(String),
    /// One key of it.
    #[error("key {key}: {why}")]
    Key {
        /// Its `kid`, or its place in the list where it has none.
        key: String,
        /// What is wrong, and what to do.
        why: &'static str,
    },
}

/// One key of a document.
pub(super) struct PublicKey {
    /// Empty where the key has none.
    pub(super) kid: String,
    /// What the header of its tokens must name.
    pub(super) algorithm: &'static str,
    pub(super) key: ParsedPublicKey,
}

#[derive(Deserialize)]
struct Document {
    keys: Vec<Object<Jwk>>,
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    alg: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    key_ops: Option<Vec<String>>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
    /// Whether the private half stands there.
    #[serde(default, deserialize_with = "present")]
    d: bool,
}

/// The keys of `document`; at least one.
pub(super) fn read(document: &str) -> Result<Vec<PublicKey>, Error> {
    let Document { keys } =
        object::read(document).map_err(|error| Error::Document(error.to_string()))?;
    let mut read = Vec::new();
    for (place, Object(jwk)) in keys.into_iter().enumerate() {
        if jwk.purpose.as_deref() == Some("enc") {
            continue;
        }
        read.push(jwk.read().map_err(|why| Error::Key {
            key: name(jwk.kid.as_deref(), place),
            why,
        })?);
    }
    if read.is_empty() {
        return Err(Error::Document("it has no key to verify with".into()));
    }
    Ok(read)
}

fn name(kid: Option<&str>, place: usize) -> String {
    match kid {
        Some(kid) => format!("{kid:?}"),
        None => format!("number {} (without kid)", place + 1),
    }
}

impl Jwk {
    fn read(&self) -> Result<PublicKey, &'static str> {
        if self.kty == "oct" {
            return Err("a symmetric key (oct) has no place here; \
                        make it a [[site.token_key]] of the configuration");
        }
        if self.d {
            return Err("it holds the private half (d); leave the public members only");
        }
        if self
            .purpose
            .as_deref()
            .is_some_and(|purpose| purpose != "sig")
        {
            return Err("its use is neither \"sig\" nor \"enc\"");
        }
        if let Some(ops) = &self.key_ops
            && !ops.iter().any(|op| op == "verify")
        {
            return Err("its key_ops do not name \"verify\"");
        }
        let (algorithm, key) = match self.kty.as_str() {
            "RSA" => (self.algorithm(&["RS256"])?, self.rsa()?),
            "EC" => (self.algorithm(&["ES256"])?, self.p256()?),
            "OKP" => (self.algorithm(&["EdDSA", "Ed25519"])?, self.ed25519()?),
            _ => return Err("its kty is unknown; expected \"RSA\", \"EC\" or \"OKP\""),
        };
        Ok(PublicKey {
            kid: self.kid.clone().unwrap_or_default(),
            algorithm,
            key,
        })
    }

    /// The one algorithm of a key whose type is good for `names`, two names of the same.
    fn algorithm(&self, names: &[&'static str]) -> Result<&'static str, &'static str> {
        let named = match &self.alg {
            Some(alg) => names.iter().find(|name| *name == alg),
            None => names.first(),
        };
        named.copied().ok_or(
            "its alg does not go with its kty; \
             expected \"RS256\" (RSA), \"ES256\" (EC) or \"EdDSA\" (OKP)",
        )
    }

    fn rsa(&self) -> Result<ParsedPublicKey, &'static str> {
        let n = decoded(self.n.as_deref(), "its n is not base64url of a number")?;
        let e = decoded(self.e.as_deref(), "its e is not base64url of a number")?;
        let bits = |number: &[u8]| match number.first() {
            Some(first) => number.len() * 8 - first.leading_zeros() as usize,
            None => 0,
        };
        if bits(&n) < *RSA_BITS.start() {
            return Err("an RSA key of less than 2048 bits can be broken; use a longer one");
        }
        if bits(&n) > *RSA_BITS.end() {
            return Err("an RSA key of more than 8192 bits takes too long to verify with");
        }
        // With 1 for an exponent everybody can sign.
        if bits(&e) < 2 || e.last().is_none_or(|last| last % 2 == 0) {
            return Err("its e is no public exponent; expected an odd number above 1");
        }
        RsaPublicKeyComponents { n, e }
            .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
            .map_err(|_| "its n and e are no RSA key")
    }

    fn p256(&self) -> Result<ParsedPublicKey, &'static str> {
        if self.crv.as_deref() != Some("P-256") {
            return Err("its crv is not supported; expected \"P-256\" for EC");
        }
        let x = decoded(self.x.as_deref(), "its x is not base64url")?;
        let y = decoded(self.y.as_deref(), "its y is not base64url")?;
        if (x.len(), y.len()) != (32, 32) {
            return Err("its x and y are not 32 bytes each");
        }
        let point = [&[4], x.as_slice(), y.as_slice()].concat();
        ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
            .map_err(|_| "its x and y are no point of the curve")
    }

    fn ed25519(&self) -> Result<ParsedPublicKey, &'static str> {
        if self.crv.as_deref() != Some("Ed25519") {
            return Err("its crv is not supported; expected \"Ed25519\" for OKP");
        }
        let x = decoded(self.x.as_deref(), "its x is not base64url")?;
        ParsedPublicKey::new(&ED25519, x).map_err(|_| "its x is no key of 32 bytes")
    }
}

fn decoded(text: Option<&str>, why: &'static str) -> Result<Vec<u8>, &'static str> {
    let bytes = text.and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    bytes.filter(|bytes| !bytes.is_empty()).ok_or(why)
}

fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    IgnoredAny::deserialize(deserializer).map(|_| true)
}
