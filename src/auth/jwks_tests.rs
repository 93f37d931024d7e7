//! Which documents give keys, and that a key verifies tokens of its one algorithm and no other.

use std::{sync::OnceLock, time::Duration};

use aws_lc_rs::{
    hmac,
    rand::SystemRandom,
    rsa::{KeyPair as RsaKeyPair, KeySize},
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
        RSA_PSS_SHA256,
    },
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use super::token::{Error, KeyError, Keys, Rules};

const NOW: u64 = 1_764_032_523;

fn keys(keys: &[Value]) -> Result<Keys, KeyError> {
    let rules = Rules {
        life_max: Duration::from_secs(86_400),
        audience: String::new(),
        issuer: String::new(),
    };
    Keys::new(rules, [], Some(&json!({ "keys": keys }).to_string()))
}

/// Why `document` gives no keys.
fn fault(document: &str) -> String {
    let rules = Rules {
        life_max: Duration::from_secs(86_400),
        audience: String::new(),
        issuer: String::new(),
    };
    let secret: &[u8] = &[7; 32];
    match Keys::new(rules, [("hmac", secret)], Some(document)) {
        Ok(keys) => panic!("{document}: {keys:?}"),
        Err(error) => error.to_string(),
    }
}

fn b64(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A token for an hour whose header says `alg` and `kid`.
fn token(alg: &str, kid: &str, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let header = json!({"alg": alg, "kid": kid}).to_string();
    let claims = json!({"sub": "7", "iat": NOW, "exp": NOW + 3_600}).to_string();
    let signed = format!("{}.{}", b64(header.as_bytes()), b64(claims.as_bytes()));
    let signature = sign(signed.as_bytes());
    format!("{signed}.{}", b64(&signature))
}

/// One key of each type, made for the test.
struct Made {
    rsa: RsaKeyPair,
    ec: EcdsaKeyPair,
    ed: Ed25519KeyPair,
}

impl Made {
    /// Made once: an RSA key takes its time.
    fn get() -> &'static Self {
        static MADE: OnceLock<Made> = OnceLock::new();
        MADE.get_or_init(|| Self {
            rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
            ec: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
            ed: Ed25519KeyPair::generate().unwrap(),
        })
    }

    /// As a provider publishes them, with members that are none of our business.
    fn jwks(&self) -> [Value; 3] {
        // RSAPublicKey of 2048 bits: 9 bytes of headers, n, 2 bytes of headers, e.
        let der = self.rsa.public_key().as_ref();
        let (n, e) = (&der[9..265], &der[267..]);
        let point = self.ec.public_key().as_ref();
        let ed = self.ed.public_key().as_ref();
        [
            json!({"kty": "RSA", "kid": "rsa", "alg": "RS256", "use": "sig", "n": b64(n),
                "e": b64(e), "x5t": "x", "x5c": ["x"]}),
            json!({"kty": "EC", "kid": "ec", "crv": "P-256", "x": b64(&point[1..33]),
                "y": b64(&point[33..])}),
            json!({"kty": "OKP", "kid": "ed", "crv": "Ed25519", "x": b64(ed),
                "key_ops": ["verify"]}),
        ]
    }

    fn sign_rsa(&self, message: &[u8]) -> Vec<u8> {
        self.sign_rsa_with(&RSA_PKCS1_SHA256, message)
    }

    fn sign_rsa_with(
        &self,
        encoding: &'static dyn aws_lc_rs::signature::RsaEncoding,
        message: &[u8],
    ) -> Vec<u8> {
        let mut signature = vec![0; self.rsa.public_modulus_len()];
        let random = SystemRandom::new();
        let signed = self.rsa.sign(encoding, &random, message, &mut signature);
        signed.unwrap();
        signature
    }

    fn sign_ec(&self, message: &[u8]) -> Vec<u8> {
        let signature = self.ec.sign(&SystemRandom::new(), message).unwrap();
        signature.as_ref().to_vec()
    }

    fn sign_ed(&self, message: &[u8]) -> Vec<u8> {
        self.ed.sign(message).as_ref().to_vec()
    }
}

/// `key` with `member` set to `value`; null takes it away.
fn with(key: &Value, member: &str, value: Value) -> Value {
    let mut key = key.clone();
    let members = key.as_object_mut().unwrap();
    if value.is_null() {
        members.remove(member);
    } else {
        members.insert(member.into(), value);
    }
    key
}

#[test]
fn each_type_verifies_the_tokens_of_its_algorithm() {
    let made = Made::get();
    let keys = keys(&made.jwks()).unwrap();
    assert!(!keys.is_empty());
    for token in [
        token("RS256", "rsa", |m| made.sign_rsa(m)),
        token("ES256", "ec", |m| made.sign_ec(m)),
        token("EdDSA", "ed", |m| made.sign_ed(m)),
    ] {
        assert_eq!(keys.connection(&token, NOW).unwrap().user, "7", "{token}");
        let expired = keys.connection(&token, NOW + 3_600);
        assert_eq!(expired, Err(Error::Expired));
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let mut signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        signature[20] ^= 1;
        let changed = format!("{signed}.{}", b64(&signature));
        let error = Error::Invalid("its signature does not fit");
        assert_eq!(keys.connection(&changed, NOW), Err(error), "{token}");
    }
}

#[test]
fn a_kid_has_one_algorithm_whatever_a_header_says() {
    let made = Made::get();
    let jwks = made.jwks();
    let keys = keys(&jwks).unwrap();
    // The classic: HMAC with the public key, which everybody has, for its secret.
    let confused = |public: &[u8], message: &[u8]| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, public);
        hmac::sign(&key, message).as_ref().to_vec()
    };
    let rsa = made.rsa.public_key();
    let ec = made.ec.public_key();
    let ed = made.ed.public_key();
    for forged in [
        token("HS256", "rsa", |m| confused(rsa.as_ref(), m)),
        token("HS256", "ec", |m| confused(ec.as_ref(), m)),
        token("HS256", "ed", |m| confused(ed.as_ref(), m)),
        token("none", "rsa", |_| Vec::new()),
        token("none", "ed", |_| Vec::new()),
        token("PS256", "rsa", |m| made.sign_rsa_with(&RSA_PSS_SHA256, m)),
        token("RS512", "rsa", |m| made.sign_rsa(m)),
        token("Ed25519", "ed", |m| made.sign_ed(m)),
        token("EdDSA", "ec", |m| made.sign_ed(m)),
        token("ES256", "rsa", |m| made.sign_ec(m)),
    ] {
        let error = Error::Invalid("its alg is not the one of its key");
        assert_eq!(keys.connection(&forged, NOW), Err(error), "{forged}");
    }
    for forged in [
        token("RS256", "rsa", |m| made.sign_rsa_with(&RSA_PSS_SHA256, m)),
        token("RS256", "rsa", |m| confused(rsa.as_ref(), m)),
        token("ES256", "ec", |m| made.sign_ed(m)),
        token("ES256", "ec", |_| vec![0; 64]),
        token("EdDSA", "ed", |_| vec![0; 64]),
        token("EdDSA", "ed", |_| Vec::new()),
    ] {
        let error = Error::Invalid("its signature does not fit");
        assert_eq!(keys.connection(&forged, NOW), Err(error), "{forged}");
    }
}

#[test]
fn a_key_may_call_its_algorithm_ed25519_and_its_tokens_must_then() {
    let made = Made::get();
    let [.., ed] = made.jwks();
    let keys = keys(&[with(&ed, "alg", "Ed25519".into())]).unwrap();
    let right = token("Ed25519", "ed", |m| made.sign_ed(m));
    assert!(keys.connection(&right, NOW).is_ok());
    let wrong = token("EdDSA", "ed", |m| made.sign_ed(m));
    assert!(keys.connection(&wrong, NOW).is_err());
}

#[test]
fn a_key_for_encryption_is_passed_over_and_the_others_are_taken() {
    let made = Made::get();
    let [rsa, ec, _] = made.jwks();
    let encryption = with(&with(&rsa, "use", "enc".into()), "alg", "RSA-OAEP".into());
    let keys = keys(&[encryption.clone(), ec]).unwrap();
    assert!(
        keys.connection(&token("ES256", "ec", |m| made.sign_ec(m)), NOW)
            .is_ok()
    );
    assert!(
        keys.connection(&token("RS256", "rsa", |m| made.sign_rsa(m)), NOW)
            .is_err()
    );
    let told = fault(&json!({ "keys": [encryption] }).to_string());
    assert!(told.contains("no key to verify with"), "{told}");
}

/// Holds that a document with each key, beside a good one, is refused with these words.
fn assert_told<const N: usize>(cases: [(Value, &str); N]) {
    let [.., ed] = Made::get().jwks();
    for (key, expected) in cases {
        let fine = with(&ed, "kid", "fine".into());
        let told = fault(&json!({ "keys": [fine, key] }).to_string());
        assert!(told.contains(expected), "{key}: {told}");
    }
}

#[test]
fn a_key_that_cannot_be_used_is_named_with_the_reason() {
    let [rsa, ec, ed] = Made::get().jwks();
    let oct = json!({"kty": "oct", "kid": "s", "k": "AAAA"});
    let ops = json!(["encrypt"]);
    let nameless = with(&with(&ed, "kid", Value::Null), "crv", Value::Null);
    assert_told([
        (
            with(&rsa, "kid", "hmac".into()),
            "kid \"hmac\" has two keys",
        ),
        (
            with(&rsa, "kid", "fine".into()),
            "kid \"fine\" has two keys",
        ),
        (oct, "key \"s\": a symmetric key"),
        (
            with(&rsa, "kty", "rsa".into()),
            "key \"rsa\": its kty is unknown",
        ),
        (with(&rsa, "alg", "RS512".into()), "its alg does not go"),
        (with(&rsa, "alg", "HS256".into()), "its alg does not go"),
        (with(&ec, "alg", "RS256".into()), "its alg does not go"),
        (with(&ed, "alg", "ES256".into()), "its alg does not go"),
        (with(&rsa, "d", "AQAB".into()), "it holds the private half"),
        (with(&rsa, "use", "tls".into()), "its use is neither"),
        (
            with(&rsa, "key_ops", ops),
            "its key_ops do not name \"verify\"",
        ),
        (nameless, "key number 2 (without kid)"),
    ]);
}

#[test]
fn an_rsa_key_has_2048_to_8192_bits_and_an_exponent() {
    let [rsa, ..] = Made::get().jwks();
    let n = |bytes: &[u8]| with(&rsa, "n", b64(bytes).into());
    let e = |bytes: &[u8]| with(&rsa, "e", b64(bytes).into());
    let mut bits_2047 = [0xff; 256];
    bits_2047[0] = 0x7f;
    assert_told([
        (
            n(&[0xff; 255]),
            "key \"rsa\": an RSA key of less than 2048 bits",
        ),
        (n(&bits_2047), "less than 2048 bits"),
        (n(&[0xff; 1_025]), "more than 8192 bits"),
        (with(&rsa, "n", Value::Null), "its n is not base64url"),
        (with(&rsa, "n", "+/".into()), "its n is not base64url"),
        (e(&[1]), "its e is no public exponent"),
        (e(&[1, 0, 0]), "its e is no public exponent"),
        (with(&rsa, "e", "".into()), "its e is not base64url"),
    ]);
}

#[test]
fn a_curve_is_p_256_or_ed25519_and_a_key_is_a_point_of_it() {
    let [_, ec, ed] = Made::get().jwks();
    assert_told([
        (
            with(&ec, "crv", "P-384".into()),
            "key \"ec\": its crv is not supported",
        ),
        (with(&ec, "crv", Value::Null), "its crv is not supported"),
        (with(&ec, "y", Value::Null), "its y is not base64url"),
        (with(&ec, "x", b64(&[1; 31]).into()), "not 32 bytes each"),
        (
            with(&ec, "x", b64(&[1; 32]).into()),
            "no point of the curve",
        ),
        (
            with(&ed, "crv", "X25519".into()),
            "key \"ed\": its crv is not supported",
        ),
        (
            with(&ed, "x", b64(&[1; 31]).into()),
            "its x is no key of 32 bytes",
        ),
    ]);
}

#[test]
fn what_is_no_document_of_keys_is_refused() {
    let [.., ed] = Made::get().jwks();
    let list = format!("[[{ed}]]");
    let twice = format!("{{\"keys\":[],\"keys\":[{ed}]}}");
    let member_twice = "{\"keys\":[{\"kty\":\"RSA\",\"kty\":\"OKP\"}]}";
    let key_as_list = "{\"keys\":[[\"RSA\"]]}";
    for document in [
        "",
        "{}",
        "[]",
        "null",
        "{\"keys\":{}}",
        "{\"keys\":[]}",
        "{\"keys\":[{}]}",
        "-----BEGIN PUBLIC KEY-----",
        &list,
        &twice,
        member_twice,
        key_as_list,
    ] {
        let told = fault(document);
        assert!(
            told.starts_with("not a JWKS document: "),
            "{document}: {told}"
        );
    }
}
