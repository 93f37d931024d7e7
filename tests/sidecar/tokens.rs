//! Secrets and tokens at the command line, and what is said of a site's keys that have a fault.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use sidewire::{
    auth::token::{ConnectionToken, Error, Keys, Rules, SubscriptionToken},
    config,
};
use tempfile::TempDir;

use crate::harness::{
    certificate::Pair,
    directory,
    program::{self, Finished},
};

const PUBLISH: &str = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
const FIRST: &str = "whsec_ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";
const SECOND: &str = "whsec_QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXWFlaW1xdXl8=";

/// A site with a publish key, and `rest` after it.
fn config_with(directory: &TempDir, rest: &str) -> String {
    let pair = Pair::make("localhost", directory.path());
    format!(
        "[[listener]]\naddress = \"127.0.0.1:0\"\n\
         [[certificate]]\ncertificate = {:?}\nkey = {:?}\n\
         [[site]]\nname = \"blog\"\nhosts = [\"localhost\"]\n\
         [site.upstream]\naddress = \"http://127.0.0.1:1\"\n\
         [[site.publish_key]]\nsecret = {PUBLISH:?}\n{rest}",
        pair.certificate, pair.key,
    )
}

fn token_key(kid: &str, secret: &str) -> String {
    format!("[[site.token_key]]\nkid = {kid:?}\nsecret = {secret:?}\n")
}

/// Runs `command` with `text` for its configuration.
async fn with(command: &str, arguments: &[&str], directory: &TempDir, text: &str) -> Finished {
    let file = directory.path().join("sidewire.toml");
    fs::write(&file, text).unwrap();
    let command = [command, "--config", file.to_str().unwrap()];
    program::run(&[&command, arguments].concat()).await
}

/// Runs `sidewire token`.
async fn token(arguments: &[&str], directory: &TempDir, text: &str) -> Finished {
    with("token", arguments, directory, text).await
}

/// The one line that was printed.
fn printed(finished: &Finished) -> &str {
    assert_eq!(finished.code, Some(0), "{}", finished.stderr);
    assert_eq!(finished.stderr, "");
    finished.stdout.strip_suffix('\n').unwrap()
}

fn told(finished: &Finished, code: i32) -> &str {
    assert_eq!(finished.code, Some(code), "{}", finished.stderr);
    assert_eq!(finished.stdout, "");
    &finished.stderr
}

fn keys(kid: &str, secret: &str) -> Keys {
    let rules = Rules {
        life_max: Duration::from_secs(86_400),
        audience: String::new(),
        issuer: String::new(),
    };
    let secret = config::Secret::parse(secret).unwrap();
    Keys::new(rules, [(kid, secret.as_bytes())], None).unwrap()
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_secs()
}

fn connection(token: &str) -> Result<ConnectionToken, Error> {
    keys("", FIRST).connection(token, now())
}

fn subscription(token: &str) -> Result<SubscriptionToken, Error> {
    keys("", FIRST).subscription(token, now())
}

#[tokio::test]
async fn token_prints_one_that_holds_for_an_hour() {
    let directory = directory();
    let text = config_with(&directory, &token_key("", FIRST));
    let before = now();
    let finished = token(&[], &directory, &text).await;
    let made = connection(printed(&finished)).unwrap();
    assert_eq!((made.user.as_str(), made.sid), ("", None));
    assert!((before..=now()).contains(&made.issued_at));
    assert_eq!(made.expires_at, made.issued_at + 3_600);
}

#[tokio::test]
async fn token_says_what_it_was_asked_to() {
    let directory = directory();
    let text = config_with(&directory, &token_key("", FIRST));
    let sid = "0123456789abcdef";
    let info = "{\"name\": \"Ada\"}";
    let common = ["--user", "7", "--sid", sid, "--info", info];
    let rest = ["--expires", "2m", "--channels", "site,user:7"];
    let finished = token(&[&common[..], &rest].concat(), &directory, &text).await;
    let made = connection(printed(&finished)).unwrap();
    assert_eq!((made.user.as_str(), made.sid.as_deref()), ("7", Some(sid)));
    assert_eq!(made.info.as_deref(), Some("{\"name\":\"Ada\"}"));
    assert_eq!(made.expires_at, made.issued_at + 120);
    let channels: Vec<_> = made.subscriptions.into_keys().collect();
    assert_eq!(channels, ["site", "user:7"]);

    let rest = ["--channel", "edit:26"];
    let finished = token(&[&common[..], &rest].concat(), &directory, &text).await;
    let made = subscription(printed(&finished)).unwrap();
    assert_eq!(
        (made.user.as_str(), made.channel.as_str()),
        ("7", "edit:26")
    );
    assert_eq!(made.info.as_deref(), Some("{\"name\":\"Ada\"}"));
}

#[tokio::test]
async fn token_signs_with_the_first_key_or_the_one_that_is_named() {
    let directory = directory();
    let both = token_key("2026", FIRST) + &token_key("2027", SECOND);
    let text = config_with(&directory, &both);
    for (arguments, kid, secret) in [
        (&[][..], "2026", FIRST),
        (&["--kid", "2027"], "2027", SECOND),
        (&["--site", "blog"], "2026", FIRST),
    ] {
        let finished = token(arguments, &directory, &text).await;
        let verified = keys(kid, secret).connection(printed(&finished), now());
        assert!(verified.is_ok(), "{arguments:?}");
    }
}

#[tokio::test]
async fn token_follows_the_rules_of_the_site() {
    let directory = directory();
    let rules = "[site.tokens]\nlife_max = \"10m\"\naudience = \"blog\"\nissuer = \"me\"\n";
    let text = config_with(&directory, &(token_key("", FIRST) + rules));
    let finished = token(&[], &directory, &text).await;
    let made = printed(&finished);
    let secret = config::Secret::parse(FIRST).unwrap();
    let rules = Rules {
        life_max: Duration::from_secs(600),
        audience: "blog".into(),
        issuer: "me".into(),
    };
    let keys = Keys::new(rules, [("", secret.as_bytes())], None).unwrap();
    assert!(keys.connection(made, now()).is_ok());
    let finished = token(&["--expires", "11m"], &directory, &text).await;
    let said = told(&finished, 64);
    assert!(said.contains("--expires = \"11m\""), "{said}");
    assert!(said.contains("600 s (tokens.life_max)"), "{said}");
}

#[tokio::test]
async fn token_without_a_key_or_a_site_says_what_to_do() {
    let directory = directory();
    let shop = "[[site]]\nname = \"shop\"\nhosts = [\"shop.example.org\"]\n\
                [site.upstream]\naddress = \"http://127.0.0.1:1\"\n";
    let none = config_with(&directory, "");
    let one = config_with(&directory, &token_key("2026", FIRST));
    let two = one.clone() + shop;
    let no_key = "site \"blog\" has no [[site.token_key]]; make a secret with \
                  `sidewire secret new --out FILE`";
    let no_kid = "--kid = \"2025\"  site \"blog\" has no [[site.token_key]] of this kid; \
                  expected one of: \"2026\"";
    let no_site = "--site = \"block\"  no such site; expected one of: blog";
    let which = "--site is missing; expected one of: blog, shop";
    for (text, arguments, code, words) in [
        (&none, &[][..], 78, no_key),
        (&two, &[], 64, which),
        (&two, &["--site", "shop"], 78, "site \"shop\" has no"),
        (&one, &["--site", "block"], 64, no_site),
        (&one, &["--kid", "2025"], 64, no_kid),
    ] {
        let finished = token(arguments, &directory, text).await;
        let said = told(&finished, code);
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
    let text = one.replace("whsec_ICEi", "whsec-ICEi");
    let finished = token(&[], &directory, &text).await;
    let said = told(&finished, 78);
    assert!(said.contains("site[0].token_key[0].secret"), "{said}");
    assert!(!said.contains("IyQlJico"), "{said}");
}

#[tokio::test]
async fn token_of_what_would_never_hold_says_why() {
    let directory = directory();
    let text = config_with(&directory, &token_key("", FIRST));
    let long = "x".repeat(9_000);
    let no_unit = "--expires = \"60\"  expected a time with its unit";
    for (arguments, words) in [
        (
            ["--sid", "0123"],
            "--sid = \"0123\"  expected 16 hex digits",
        ),
        (["--expires", "60"], no_unit),
        (["--expires", "500ms"], "of a second or more"),
        (["--info", "{name"], "--info = \"{name\"  expected JSON"),
        (["--channel", ""], "expected the name of a channel"),
        (["--channels", "a,,b"], "expected the name of a channel"),
        (["--channels=a", "--channel=b"], "cannot be used with"),
        (["--user", &long], "longer than 8 KiB"),
    ] {
        let finished = token(&arguments, &directory, &text).await;
        let said = told(&finished, 64);
        assert!(said.contains(words), "{arguments:?}: {said}");
    }
}

#[tokio::test]
async fn secret_new_prints_another_one_each_time() {
    let first = program::run(&["secret", "new"]).await;
    let second = program::run(&["secret", "new"]).await;
    for finished in [&first, &second] {
        let secret = config::Secret::parse(printed(finished)).unwrap();
        assert_eq!(secret.as_bytes().len(), 32);
    }
    assert_ne!(first.stdout, second.stdout);
}

#[tokio::test]
async fn secret_new_writes_a_file_of_the_owner_alone_that_the_configuration_takes() {
    let directory = directory();
    let out = directory.path().join("token.secret");
    let out_argument = out.to_str().unwrap();
    let finished = program::run(&["secret", "new", "--out", out_argument]).await;
    assert_eq!(printed(&finished), out_argument);
    let mode = fs::metadata(&out).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o400);
    let key = format!("[[site.token_key]]\nsecret_file = {out_argument:?}\n");
    let text = config_with(&directory, &key);
    let finished = token(&[], &directory, &text).await;
    let secret = fs::read_to_string(&out).unwrap();
    let verified = keys("", &secret).connection(printed(&finished), now());
    assert!(verified.is_ok());
}

#[tokio::test]
async fn secret_new_never_writes_over_a_file() {
    let directory = directory();
    let there = directory.path().join("there");
    let link = directory.path().join("link");
    let dangling = directory.path().join("dangling");
    let nowhere = directory.path().join("no/such/file");
    fs::write(&there, "mine").unwrap();
    symlink(&there, &link).unwrap();
    symlink(directory.path().join("elsewhere"), &dangling).unwrap();
    for (out, words) in [
        (
            &there,
            "a secret is never written over; choose another name",
        ),
        (&link, "never written over"),
        (&dangling, "never written over"),
        (&nowhere, "no such directory"),
    ] {
        let out = out.to_str().unwrap();
        let finished = program::run(&["secret", "new", "--out", out]).await;
        let said = told(&finished, 1);
        assert!(said.contains(&format!("--out = {out:?}")), "{said}");
        assert!(said.contains(words), "{said}");
        assert!(!said.contains("whsec_"), "{said}");
    }
    assert_eq!(fs::read_to_string(&there).unwrap(), "mine");
    assert!(!directory.path().join("elsewhere").exists());
}

#[tokio::test]
async fn keys_of_tokens_with_a_fault_are_told_with_the_rest() {
    let directory = directory();
    let missing = directory.path().join("no.jwks");
    let short = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX";
    let rest = [
        format!("[site.tokens]\nlife_max = \"30s\"\naud = \"x\"\njwks_file = {missing:?}\n"),
        token_key("a", FIRST),
        token_key("a", SECOND),
        token_key("b", short),
        token_key("c", PUBLISH),
        "[[site.token_key]]\nkid = \"d\"\n".into(),
    ];
    let text = config_with(&directory, &rest.concat());
    let finished = with("check", &[], &directory, &text).await;
    let said = told(&finished, 78);
    assert!(
        said.lines().next().unwrap().ends_with(": 7 faults"),
        "{said}"
    );
    for (fault, remedy) in [
        (
            "site[0].tokens.life_max = \"30s\"",
            "expected 60s to 31536000s",
        ),
        ("site[0].tokens.aud = \"x\"", "unknown key"),
        ("site[0].tokens.jwks_file", "No such file"),
        ("site[0].token_key[1].kid = \"a\"", "give each its own"),
        ("site[0].token_key[2].secret = \"…\"", "at least 32 bytes"),
        ("site[0].token_key[4].secret_file", "missing"),
        (
            "site[0].token_key ",
            "a publish_key of this site has the same secret",
        ),
    ] {
        let line = said.lines().find(|line| line.contains(fault));
        let line = line.unwrap_or_else(|| panic!("no {fault} in {said}"));
        assert!(line.contains(remedy), "{line}");
    }
    for secret in [FIRST, short, PUBLISH] {
        assert!(!said.contains(&secret["whsec_".len()..][..12]), "{said}");
    }
}

#[tokio::test]
async fn a_jwks_file_with_a_fault_is_told_by_check_and_stops_the_start() {
    let directory = directory();
    let jwks = directory.path().join("blog.jwks");
    let rules = format!("[site.tokens]\njwks_file = {jwks:?}\n");
    let text = config_with(&directory, &(token_key("k", FIRST) + &rules));
    let good = "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"KID\",\
                \"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}";
    let document = |key: &str| format!("{{\"keys\":[{key}]}}");
    fs::write(&jwks, document(good)).unwrap();
    let finished = with("check", &[], &directory, &text).await;
    assert_eq!((finished.code, &*finished.stderr), (Some(0), ""));
    for (key, words) in [
        (
            "{\"kty\":\"oct\",\"kid\":\"s\",\"k\":\"AAAA\"}",
            "key \"s\": a symmetric key (oct)",
        ),
        (&good.replace("KID", "k"), "kid \"k\" has two keys"),
        ("nonsense", "not a JWKS document"),
    ] {
        fs::write(&jwks, document(key)).unwrap();
        for (command, code) in [("check", 78), ("run", 1)] {
            let finished = with(command, &[], &directory, &text).await;
            let said = told(&finished, code);
            let line = said.lines().find(|line| line.contains(words));
            let line = line.unwrap_or_else(|| panic!("no {words} in {said}"));
            assert!(line.contains("\"blog\""), "{line}");
            assert!(line.contains(jwks.to_str().unwrap()), "{line}");
        }
    }
}
