//! Tokens of browsers: none makes the check panic, none holds without a signature of a key of the
//! site over these very bytes, and whatever is signed holds only within the rules.
//!
//! The first byte says what the rest is: a whole token, the claims of one, its header and claims
//! on two lines, or a JWKS document.
#![no_main]

use std::{sync::LazyLock, time::Duration};

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use sidewire::auth::token::{Keys, LEEWAY, Rules, mint};

const NOW: u64 = 1_764_032_523;
const LIFE_MAX: u64 = 86_400;

/// The public key of RFC 8037, appendix A.2.
const JWKS: &str = r#"{"keys":[{"kid":"ed","kty":"OKP","crv":"Ed25519",
    "x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

/// The secret of the vectors, and another.
static SECRETS: LazyLock<[(&str, Vec<u8>); 2]> =
    LazyLock::new(|| [("", (0..32).collect()), ("b", (32..64).collect())]);

static KEYS: LazyLock<Keys> = LazyLock::new(|| {
    let secrets = SECRETS.iter().map(|(kid, secret)| (*kid, &secret[..]));
    Keys::new(rules(), secrets, Some(JWKS)).expect("keys")
});

fn rules() -> Rules {
    Rules {
        life_max: Duration::from_secs(LIFE_MAX),
        audience: String::new(),
        issuer: String::new(),
    }
}

fuzz_target!(|input: &[u8]| {
    let [form, text @ ..] = input else {
        return;
    };
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    let (kid, secret) = &SECRETS[usize::from(form / 4 % 2)];
    match form % 4 {
        0 => judge(text),
        1 => judge(&mint(kid, secret, text)),
        2 => {
            let (header, claims) = text.split_once('\n').unwrap_or((text, ""));
            let encoded = |text: &str| URL_SAFE_NO_PAD.encode(text);
            let signed = format!("{}.{}", encoded(header), encoded(claims));
            let key = hmac::Key::new(HMAC_SHA256, secret);
            let tag = URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes()));
            judge(&format!("{signed}.{tag}"));
        }
        _ => {
            let _ = Keys::new(rules(), [("", &secret[..])], Some(text));
        }
    }
});

fn judge(token: &str) {
    let connection = KEYS.connection(token, NOW);
    let subscription = KEYS.subscription(token, NOW);
    assert!(
        connection.is_err() || subscription.is_err(),
        "of both kinds"
    );
    if let Ok(token_of) = connection {
        let texts = [token_of.info, token_of.meta].into_iter().flatten();
        texts.for_each(|text| delivered(&text));
        for options in token_of.subscriptions.into_values() {
            let texts = [options.info, options.data].into_iter().flatten();
            texts.for_each(|text| delivered(&text));
        }
        holds(token, &token_of.user, token_of.expires_at);
    }
    if let Ok(token_of) = subscription {
        assert!(!token_of.channel.is_empty());
        token_of.info.iter().for_each(|text| delivered(text));
        holds(token, &token_of.user, token_of.expires_at);
    }
}

/// What is handed on must be JSON on one line.
fn delivered(text: &str) {
    assert!(!text.contains(['\n', '\r']), "{text:?}");
    assert!(
        serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok(),
        "{text:?}"
    );
}

/// What the bytes of a token that passed must say.
fn holds(token: &str, user: &str, expires_at: u64) {
    let (signed, signature) = token.rsplit_once('.').expect("three parts");
    let (header, claims) = signed.split_once('.').expect("three parts");
    let decoded = |text: &str| URL_SAFE_NO_PAD.decode(text).expect("base64url");
    let fits = |(_, secret): &(&str, Vec<u8>)| {
        let key = hmac::Key::new(HMAC_SHA256, secret);
        hmac::verify(&key, signed.as_bytes(), &decoded(signature)).is_ok()
    };
    assert!(SECRETS.iter().any(fits), "no secret signed {token}");
    // A plain reader refuses more: nesting, numbers and escapes in what is passed over.
    let read = |text: &str| serde_json::from_slice::<Value>(&decoded(text)).ok();
    if let Some(header) = read(header) {
        assert_eq!(header["alg"], "HS256");
        assert!(header.get("crit").is_none(), "{header}");
    }
    let Some(claims) = read(claims) else {
        return;
    };
    let time = |name: &str| claims.get(name).and_then(Value::as_f64).map(|at| at as u64);
    let (now, ahead) = (NOW, NOW + LEEWAY.as_secs());
    let issued_at = time("iat");
    assert!(time("exp").is_some_and(|exp| exp > now), "{claims}");
    assert!(issued_at.unwrap_or(now) <= ahead, "{claims}");
    assert!(time("nbf").unwrap_or(now) <= ahead, "{claims}");
    assert!(now < expires_at, "{claims}");
    assert!(
        expires_at <= issued_at.unwrap_or(now) + LIFE_MAX,
        "{claims}"
    );
    assert_eq!(
        claims
            .get("sub")
            .and_then(Value::as_str)
            .unwrap_or_default(),
        user
    );
}
