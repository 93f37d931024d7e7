//! Tokens that browsers connect and subscribe with: JWTs with Centrifugo's claims.
//!
//! HS256 with secrets, and RS256, ES256, EdDSA with the keys of a JWKS document. A `kid` has one
//! algorithm, whatever a token's header says. What a token lets its bearer do is for the hub to
//! say; here it is only whether the token holds, and what it carries.
//!
//! Beside the signature: `exp` is required and has no leeway; `iat` and `nbf` may lie
//! [`LEEWAY`] ahead of our clock; `exp` − `iat` (or `exp` − now, without `iat`) is at most
//! [`Rules::life_max`]. `expire_at` replaces `exp` as the end of the connection or subscription,
//! never as that of the token. It stands under the same longest life, and 0, which elsewhere
//! means never, is refused: a revocation has to outlive all that it revokes.

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    fmt,
    time::Duration,
};

use aws_lc_rs::{
    hmac::{self, HMAC_SHA256},
    signature::ParsedPublicKey,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::de::DeserializeOwned;

use super::{
    claims::{self, Claims, Header},
    jwks, object,
};

/// Bytes of a token.
pub const TOKEN_MAX: usize = 8 << 10;

/// How far the clock of who made a token may be ahead of ours, for `iat` and `nbf`.
pub const LEEWAY: Duration = Duration::from_secs(60);

/// What is asked of every token, whatever its key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rules {
    /// The longest life, from `iat` or else from now.
    pub life_max: Duration,
    /// Must be among the token's `aud`; empty: not asked for.
    pub audience: String,
    /// Must be the token's `iss`; empty: not asked for.
    pub issuer: String,
}

/// The keys of one site, and its rules.
pub struct Keys {
    rules: Rules,
    /// By `kid`; that of tokens without one is empty.
    keys: HashMap<String, Key>,
}

enum Key {
    Secret(Box<hmac::Key>),
    Public {
        algorithm: &'static str,
        key: ParsedPublicKey,
    },
}

/// Why a site's keys can't be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyError {
    /// A `kid` with two keys would have two algorithms, or none for certain.
    #[error("kid {0:?} has two keys (\"\": those without kid); give each key a kid of its own")]
    Twice(String),
    /// The JWKS document.
    #[error(transparent)]
    Jwks(#[from] jwks::Error),
}

/// Why a token does not hold. Neither form says anything of the token's content.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// It held until its time was over: its bearer may fetch another.
    #[error("the token has expired")]
    Expired,
    /// It does not hold, for this reason; it would not have held earlier either.
    #[error("the token is invalid: {0}")]
    Invalid(&'static str),
}

/// What a connection token that holds says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConnectionToken {
    /// `sub`; empty for somebody without a name.
    pub user: String,
    /// When the connection expires: `expire_at`, or else `exp`. Unix seconds, after now.
    pub expires_at: u64,
    /// `iat`, or 0 where there is none.
    pub issued_at: u64,
    /// The session that the token belongs to: 16 hex digits in lower case.
    pub sid: Option<String>,
    /// `info` or `b64info`: JSON on one line, shown to others by presence and join.
    pub info: Option<String>,
    /// `meta`: JSON on one line, shown to nobody.
    pub meta: Option<String>,
    /// `channels` and `subs`: the channels that the server subscribes the connection to.
    pub subscriptions: BTreeMap<String, SubscriptionOptions>,
}

/// What `subs` says of a channel; nothing for one of `channels`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SubscriptionOptions {
    /// `info` or `b64info`: JSON on one line, the channel's part of the client's info.
    pub info: Option<String>,
    /// `data` or `b64data`: JSON on one line, handed to the client with the subscription.
    pub data: Option<String>,
}

/// What a subscription token that holds says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SubscriptionToken {
    /// `sub`; must equal the connection's user.
    pub user: String,
    /// The channel that it is for; never empty.
    pub channel: String,
    /// Where there is one, it must equal the id of the client.
    pub client: Option<String>,
    /// When the subscription expires: `expire_at`, or else `exp`. Unix seconds, after now.
    pub expires_at: u64,
    /// `iat`, or 0 where there is none.
    pub issued_at: u64,
    /// The session that the token belongs to: 16 hex digits in lower case.
    pub sid: Option<String>,
    /// `info` or `b64info`: JSON on one line, the channel's part of the client's info.
    pub info: Option<String>,
}

impl Keys {
    /// The keys of a site: `secrets` by `kid` (empty: for tokens without), and those of a JWKS
    /// document.
    ///
    /// # Errors
    ///
    /// Which key can't be used, and why.
    pub fn new<'a>(
        rules: Rules,
        secrets: impl IntoIterator<Item = (&'a str, &'a [u8])>,
        jwks: Option<&str>,
    ) -> Result<Self, KeyError> {
        let mut keys = HashMap::new();
        let mut add = |kid: String, key| match keys.entry(kid) {
            Entry::Occupied(entry) => Err(KeyError::Twice(entry.key().clone())),
            Entry::Vacant(entry) => {
                entry.insert(key);
                Ok(())
            }
        };
        for (kid, secret) in secrets {
            let key = hmac::Key::new(HMAC_SHA256, secret);
            add(kid.to_owned(), Key::Secret(Box::new(key)))?;
        }
        for public in jwks.map(jwks::read).transpose()?.unwrap_or_default() {
            let key = Key::Public {
                algorithm: public.algorithm,
                key: public.key,
            };
            add(public.kid, key)?;
        }
        Ok(Self { rules, keys })
    }

    /// Whether no token can hold.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Verifies a connection token; `now` in Unix seconds.
    ///
    /// # Errors
    ///
    /// See [`Error`]. A token that carries `channel` is no connection token.
    pub fn connection(&self, token: &str, now: u64) -> Result<ConnectionToken, Error> {
        let claims = self.verify(token)?;
        if claims.channel.is_some() {
            return Err(Error::Invalid("it is a subscription token: it has channel"));
        }
        let checked = self.check(&claims, now)?;
        let token = ConnectionToken {
            user: claims.sub.unwrap_or_default(),
            expires_at: checked.expires_at,
            issued_at: checked.issued_at,
            sid: claims.sid,
            info: json(claims.info, claims.b64info.as_deref())?,
            meta: json(claims.meta, None)?,
            subscriptions: subscriptions(claims.channels, claims.subs)?,
        };
        checked.in_time(now).map(|()| token)
    }

    /// Verifies a subscription token; `now` in Unix seconds. Whether its user, client and channel
    /// are those of the connection that brings it is the caller's to compare.
    ///
    /// # Errors
    ///
    /// See [`Error`]. A token without `channel` is no subscription token.
    pub fn subscription(&self, token: &str, now: u64) -> Result<SubscriptionToken, Error> {
        let claims = self.verify(token)?;
        let checked = self.check(&claims, now)?;
        let channel = claims.channel.filter(|channel| !channel.is_empty());
        let token = SubscriptionToken {
            user: claims.sub.unwrap_or_default(),
            channel: channel.ok_or(Error::Invalid("it has no channel"))?,
            client: claims.client.filter(|client| !client.is_empty()),
            expires_at: checked.expires_at,
            issued_at: checked.issued_at,
            sid: claims.sid,
            info: json(claims.info, claims.b64info.as_deref())?,
        };
        checked.in_time(now).map(|()| token)
    }

    /// The claims of a token whose signature holds.
    fn verify(&self, token: &str) -> Result<Claims, Error> {
        if token.len() > TOKEN_MAX {
            return Err(Error::Invalid("it is longer than 8 KiB"));
        }
        let parts = token.rsplit_once('.').and_then(|(signed, signature)| {
            let (header, payload) = signed.split_once('.')?;
            Some((signed, header, payload, signature))
        });
        let (signed, header, payload, signature) =
            parts.ok_or(Error::Invalid("it has not three parts"))?;
        let header: Header = part(header, "its header is not JSON of a header")?;
        if header.crit {
            return Err(Error::Invalid("its header has crit"));
        }
        let kid = header.kid.as_deref().unwrap_or_default();
        let key = self.keys.get(kid);
        let key = key.ok_or(Error::Invalid("no key has its kid"))?;
        if header.alg != key.algorithm() {
            return Err(Error::Invalid("its alg is not the one of its key"));
        }
        let signature = URL_SAFE_NO_PAD.decode(signature);
        let signature = signature.map_err(|_| Error::Invalid("its signature is not base64url"))?;
        if !key.fits(signed.as_bytes(), &signature) {
            return Err(Error::Invalid("its signature does not fit"));
        }
        part(payload, "its payload is not JSON of claims")
    }

    /// The rules that hold for tokens of both kinds, but for the end of their time.
    fn check(&self, claims: &Claims, now: u64) -> Result<Checked, Error> {
        let ahead = now.saturating_add(LEEWAY.as_secs());
        let invalid = |why| Err(Error::Invalid(why));
        let exp = claims.exp.ok_or(Error::Invalid("it has no exp"))?.0;
        let expires_at = claims.expire_at.map_or(exp, |at| at.0);
        let issued_at = claims.iat.map(|iat| iat.0);
        if expires_at == 0 {
            return invalid("its expire_at is 0: nothing lasts for ever");
        }
        if issued_at.is_some_and(|iat| iat > ahead) {
            return invalid("its iat is more than 60 s ahead");
        }
        if claims.nbf.is_some_and(|nbf| nbf.0 > ahead) {
            return invalid("its nbf is more than 60 s ahead");
        }
        let life = exp.max(expires_at).saturating_sub(issued_at.unwrap_or(now));
        if life > self.rules.life_max.as_secs() {
            return invalid("it lives longer than life_max");
        }
        let (audience, issuer) = (&self.rules.audience, &self.rules.issuer);
        let is_for_us = |aud: &claims::Audience| aud.contains(audience);
        if !audience.is_empty() && !claims.aud.as_ref().is_some_and(is_for_us) {
            return invalid("its aud is not the site's");
        }
        if !issuer.is_empty() && claims.iss.as_deref() != Some(issuer) {
            return invalid("its iss is not the site's");
        }
        if claims.sid.as_deref().is_some_and(|sid| !is_sid(sid)) {
            return invalid("its sid is not 16 hex digits in lower case");
        }
        Ok(Checked {
            exp,
            expires_at,
            issued_at: issued_at.unwrap_or_default(),
        })
    }
}

/// Says which kids there are, and nothing of the keys.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kids = self.keys.iter().map(|(kid, key)| (kid, key.algorithm()));
        f.debug_struct("Keys")
            .field("rules", &self.rules)
            .field("keys", &kids.collect::<BTreeMap<_, _>>())
            .finish()
    }
}

/// The times of a token that holds but for them.
struct Checked {
    exp: u64,
    expires_at: u64,
    issued_at: u64,
}

impl Checked {
    /// Asked last: who is told that a token has expired, fetches another, and it must be of use.
    const fn in_time(&self, now: u64) -> Result<(), Error> {
        if now < self.exp && now < self.expires_at {
            Ok(())
        } else {
            Err(Error::Expired)
        }
    }
}

impl Key {
    const fn algorithm(&self) -> &'static str {
        match self {
            Self::Secret(_) => HS256,
            Self::Public { algorithm, .. } => algorithm,
        }
    }

    /// Whether `signature` is this key's over `signed`; in constant time where it is a secret.
    fn fits(&self, signed: &[u8], signature: &[u8]) -> bool {
        match self {
            Self::Secret(key) => hmac::verify(key, signed, signature).is_ok(),
            Self::Public { key, .. } => key.verify_sig(signed, signature).is_ok(),
        }
    }
}

const HS256: &str = "HS256";

/// Makes an HS256 token of `claims`, the text of a JSON object.
#[must_use]
pub fn mint(kid: &str, secret: &[u8], claims: &str) -> String {
    let header = if kid.is_empty() {
        serde_json::json!({"alg": HS256, "typ": "JWT"})
    } else {
        serde_json::json!({"alg": HS256, "kid": kid, "typ": "JWT"})
    };
    let encoded = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let signed = format!("{}.{}", encoded(&header.to_string()), encoded(claims));
    let key = hmac::Key::new(HMAC_SHA256, secret);
    let tag = hmac::sign(&key, signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
}

/// Whether `text` is the form of a `sid`: 16 hex digits in lower case, so that each has one
/// spelling to be revoked by.
#[must_use]
pub fn is_sid(text: &str) -> bool {
    text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn part<T: DeserializeOwned>(text: &str, why: &'static str) -> Result<T, Error> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok();
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    text.and_then(|text| object::read(&text).ok())
        .ok_or(Error::Invalid(why))
}

type Raw = Option<Box<serde_json::value::RawValue>>;

fn json(raw: Raw, base64: Option<&str>) -> Result<Option<String>, Error> {
    claims::json(raw, base64).ok_or(Error::Invalid("a b64… claim is not base64 of JSON"))
}

fn subscriptions(
    channels: Option<Vec<String>>,
    subs: Option<claims::Subs>,
) -> Result<BTreeMap<String, SubscriptionOptions>, Error> {
    let channels = channels.into_iter().flatten();
    let mut all: BTreeMap<_, _> = channels
        .map(|channel| (channel, SubscriptionOptions::default()))
        .collect();
    for (channel, options) in subs.map(|subs| subs.0).unwrap_or_default() {
        let options = SubscriptionOptions {
            info: json(options.info, options.b64info.as_deref())?,
            data: json(options.data, options.b64data.as_deref())?,
        };
        all.insert(channel, options);
    }
    if all.contains_key("") {
        return Err(Error::Invalid("a channel of it has no name"));
    }
    Ok(all)
}
