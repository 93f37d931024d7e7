//! What holds, what has expired and what never held: the shared vectors, and tokens of public keys.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::token::{Error, Keys, Rules, TOKEN_MAX, mint};

const NOW: u64 = 1_764_032_523;
const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

fn rules() -> Rules {
    Rules {
        life_max: Duration::from_secs(86_400),
        audience: String::new(),
        issuer: String::new(),
    }
}

fn secret_keys() -> Keys {
    Keys::new(rules(), [("", SECRET)], None).unwrap()
}

fn minted(claims: &Value) -> String {
    mint("", SECRET, &claims.to_string())
}

#[derive(serde::Deserialize)]
struct Vectors {
    cases: Vec<Case>,
}

#[derive(serde::Deserialize)]
struct Case {
    name: String,
    kind: String,
    kid: String,
    secret: String,
    #[serde(default)]
    rules: CaseRules,
    now: u64,
    claims: Option<Value>,
    token: String,
    expected: String,
}

#[derive(Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct CaseRules {
    life_max: Option<u64>,
    audience: String,
    issuer: String,
}

#[test]
fn every_vector_is_judged_as_it_says() {
    let text = include_str!("../../tests/vectors/tokens.json");
    let vectors: Vectors = serde_json::from_str(text).unwrap();
    assert!(vectors.cases.len() >= 90);
    for case in vectors.cases {
        let secret = STANDARD.decode(&case.secret["whsec_".len()..]).unwrap();
        let rules = Rules {
            life_max: Duration::from_secs(case.rules.life_max.unwrap_or(86_400)),
            audience: case.rules.audience,
            issuer: case.rules.issuer,
        };
        let keys = Keys::new(rules, [(case.kid.as_str(), secret.as_slice())], None).unwrap();
        let judged = |token: &str| {
            let judged = match case.kind.as_str() {
                "connection" => keys.connection(token, case.now).map(|_| ()),
                "subscription" => keys.subscription(token, case.now).map(|_| ()),
                other => panic!("kind {other:?}"),
            };
            match judged {
                Ok(()) => "valid",
                Err(Error::Expired) => "expired",
                Err(Error::Invalid(_)) => "invalid",
            }
        };
        assert_eq!(judged(&case.token), case.expected, "{}", case.name);
        if let Some(claims) = case.claims {
            let own = mint(&case.kid, &secret, &claims.to_string());
            assert_eq!(judged(&own), case.expected, "minted: {}", case.name);
        }
    }
}

#[test]
fn a_connection_token_says_all_that_it_carries() {
    let token = minted(&json!({
        "sub": "7", "iat": NOW, "exp": NOW + 600, "expire_at": NOW + 900,
        "sid": "0123456789abcdef", "info": {"name": "Ada"}, "meta": [1],
        "channels": ["site", "site", "post:1"],
        "subs": {
            "user:7": {"info": {"a": 1}, "data": "hello"},
            "post:1": {"b64info": STANDARD.encode("{\"b\":2}"), "b64data": STANDARD.encode("3")},
            "post:2": null,
        },
    }));
    let token = secret_keys().connection(&token, NOW).unwrap();
    assert_eq!((token.user.as_str(), token.issued_at), ("7", NOW));
    assert_eq!(token.expires_at, NOW + 900);
    assert_eq!(token.sid.as_deref(), Some("0123456789abcdef"));
    assert_eq!(token.info.as_deref(), Some("{\"name\":\"Ada\"}"));
    assert_eq!(token.meta.as_deref(), Some("[1]"));
    let subscriptions: Vec<_> = token
        .subscriptions
        .iter()
        .map(|(channel, s)| (channel.as_str(), s.info.as_deref(), s.data.as_deref()))
        .collect();
    assert_eq!(
        subscriptions,
        [
            ("post:1", Some("{\"b\":2}"), Some("3")),
            ("post:2", None, None),
            ("site", None, None),
            ("user:7", Some("{\"a\":1}"), Some("\"hello\"")),
        ]
    );
}

#[test]
fn a_token_that_says_little_is_of_nobody_and_counts_as_issued_at_0() {
    let token = minted(&json!({"exp": NOW + 600}));
    let token = secret_keys().connection(&token, NOW).unwrap();
    assert_eq!((token.user.as_str(), token.issued_at), ("", 0));
    assert_eq!((token.expires_at, token.info), (NOW + 600, None));
    assert!(token.subscriptions.is_empty());
}

#[test]
fn a_subscription_token_says_its_channel_and_client() {
    let claims = json!({"sub": "7", "exp": NOW + 600, "channel": "edit:26", "client": "c-1",
        "info": {"a": 1}, "sid": "0123456789abcdef"});
    let token = secret_keys().subscription(&minted(&claims), NOW).unwrap();
    assert_eq!(
        (token.user.as_str(), token.channel.as_str()),
        ("7", "edit:26")
    );
    assert_eq!(token.client.as_deref(), Some("c-1"));
    assert_eq!(token.sid.as_deref(), Some("0123456789abcdef"));
    assert_eq!(token.info.as_deref(), Some("{\"a\":1}"));
    assert_eq!((token.expires_at, token.issued_at), (NOW + 600, 0));
}

#[test]
fn what_is_delivered_later_stands_on_one_line_and_is_otherwise_as_it_was_written() {
    let claims = format!(
        "{{\"exp\":{}, \"info\":{{\n \"n\": 1.50,\r\n\"t\":\"a\\n\"}}}}",
        NOW + 9
    );
    let token = secret_keys().connection(&mint("", SECRET, &claims), NOW);
    let info = token.unwrap().info.unwrap();
    assert_eq!(info, "{ \"n\": 1.50,\"t\":\"a\\n\"}");
}

#[test]
fn a_token_may_have_8_kib_and_not_a_byte_more() {
    let keys = secret_keys();
    let padded = |length: usize| minted(&json!({"exp": NOW + 600, "padding": "a".repeat(length)}));
    let lengths = 5_900..6_200;
    let fits = lengths.clone().find(|n| padded(*n).len() == TOKEN_MAX);
    assert!(keys.connection(&padded(fits.unwrap()), NOW).is_ok());
    let longer = lengths.clone().find(|n| padded(*n).len() > TOKEN_MAX);
    let longer = padded(longer.unwrap());
    assert!(longer.len() <= TOKEN_MAX + 2);
    let error = Error::Invalid("it is longer than 8 KiB");
    assert_eq!(keys.connection(&longer, NOW), Err(error));
}

#[test]
fn neither_an_error_nor_debug_shows_a_token_or_a_secret() {
    let keys = secret_keys();
    let error = keys.connection("eyJ.secretive.part", NOW).unwrap_err();
    let shown = format!("{error} {error:?} {keys:?}");
    assert!(!shown.contains("secretive"), "{shown}");
    assert!(!shown.contains("0123456789"), "{shown}");
    assert!(shown.contains("HS256"), "{shown}");
}

#[test]
fn without_a_key_no_token_holds() {
    let keys = Keys::new(rules(), [], None).unwrap();
    assert!(keys.is_empty());
    let token = minted(&json!({"exp": NOW + 600}));
    let error = Error::Invalid("no key has its kid");
    assert_eq!(keys.connection(&token, NOW), Err(error));
    assert!(!secret_keys().is_empty());
}

#[test]
fn secrets_rotate_by_kid() {
    let other = b"another secret, of 32 bytes also";
    let keys = [("a", SECRET), ("b", other.as_slice())];
    let keys = Keys::new(rules(), keys, None).unwrap();
    let claims = json!({"exp": NOW + 600}).to_string();
    assert!(keys.connection(&mint("a", SECRET, &claims), NOW).is_ok());
    assert!(keys.connection(&mint("b", other, &claims), NOW).is_ok());
    for wrong in [
        mint("a", other, &claims),
        mint("b", SECRET, &claims),
        mint("", SECRET, &claims),
    ] {
        assert!(keys.connection(&wrong, NOW).is_err());
    }
}
