//! What a person is told about a configuration.

use super::*;

const SMALLEST: &str = r#"
[[listener]]
address = "127.0.0.1:0"
tls = false

[[site]]
name = "blog"
hosts = ["Blog.Example.ORG"]
[site.upstream]
address = "http://127.0.0.1:8080"
"#;

fn told(text: &str) -> Vec<String> {
    let faults = parse(text).unwrap_err();
    faults
        .iter()
        .map(|f| {
            format!(
                "{} | {} | {}",
                f.key,
                f.value.as_deref().unwrap_or("-"),
                f.remedy
            )
        })
        .collect()
}

#[test]
fn the_smallest_file_has_every_default() {
    let config = parse(SMALLEST).unwrap();
    assert_eq!(config.sites[0].hosts, ["blog.example.org"]);
    let names: Vec<_> = config.sites[0]
        .namespaces
        .iter()
        .map(|n| n.name.as_str())
        .collect();
    assert_eq!(names, ["site", "post", "edit", "user", "staff"]);
    assert_eq!(config.realtime.path, "/realtime");
    assert_eq!(config.front.body_max, Bytes(256 << 20));
}

#[test]
fn an_unknown_key_is_refused_with_the_nearest_one() {
    let told = told(&SMALLEST.replace("hosts", "host"));
    assert!(
        told.contains(
            &"site[0].host | [\"Blog.Example.ORG\"] | unknown key; did you mean `hosts`?".into()
        ),
        "{told:#?}"
    );
}

#[test]
fn all_faults_are_told_at_once() {
    let text = SMALLEST
        .replace("127.0.0.1:0", "localhost")
        .replace("http://127.0.0.1:8080", "127.0.0.1:8080")
        + "\n[realtime]\npath = \"realtime\"\nping_interval = 25\n";
    let keys: Vec<String> = parse(&text)
        .unwrap_err()
        .into_iter()
        .map(|f| f.key)
        .collect();
    assert_eq!(
        keys,
        [
            "listener[0].address",
            "realtime.path",
            "realtime.ping_interval",
            "site[0].upstream.address"
        ]
    );
}

#[test]
fn tls_without_a_certificate_is_refused() {
    let told = told(&SMALLEST.replace("tls = false", "tls = true"));
    assert!(
        told[0].starts_with("certificate | - | missing"),
        "{told:#?}"
    );
}

#[test]
fn a_secret_of_two_sites_is_refused_and_never_shown() {
    let secret = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let key = format!("\n[[site.publish_key]]\nsecret = \"{secret}\"\n");
    let second = "[[site]]\nname = \"shop\"\nhosts = [\"shop.example.org\"]\n\
                  [site.upstream]\naddress = \"unix:/run/shop.sock\"\n";
    let told = told(&format!("{SMALLEST}{key}{second}{key}"));
    assert_eq!(
        told,
        ["site[1].publish_key | - | site \"blog\" has the same secret; give each site its own"]
    );
    let short = parse(&format!("{SMALLEST}{}", key.replace(secret, "whsec_AAEC"))).unwrap_err();
    assert_eq!(short[0].value.as_deref(), Some("\"…\""));
}

#[test]
fn a_publish_key_is_limited_to_what_there_is_and_its_secret_stands_once() {
    let key = |more: &str| {
        let secret = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
        format!("\n[[site.publish_key]]\nsecret = \"{secret}\"\n{more}\n")
    };
    let limits = "methods = [\"publish\", \"batch\"]\nnamespaces = [\"post\", \"stock\"]";
    let namespace = "[[site.namespace]]\nname = \"stock\"\n";
    let config = parse(&format!("{SMALLEST}{}{namespace}", key(limits))).unwrap();
    let [read] = &config.sites[0].publish_keys[..] else {
        panic!()
    };
    assert_eq!(read.methods, ["publish", "batch"]);
    assert_eq!(read.namespaces, ["post", "stock"]);

    let wrong = "methods = [\"publish\", \"sing\"]\nnamespaces = [\"stock\"]";
    let told = told(&format!("{SMALLEST}{}{}", key(wrong), key("")));
    let path = "site[0].publish_key[0]";
    assert_eq!(
        told,
        [
            format!(
                "{path}.methods | [\"publish\", \"sing\"] | there is no \"sing\"; known here: {}",
                METHODS.join(", ")
            ),
            format!(
                "{path}.namespaces | [\"stock\"] | there is no \"stock\"; \
                 known here: site, post, edit, user, staff"
            ),
            "site[0].publish_key | - | another publish_key of this site has the same secret; \
             remove one of them"
                .to_owned(),
        ]
    );
}

#[test]
fn a_host_of_two_sites_is_refused() {
    let twice = format!(
        "{SMALLEST}{}",
        SMALLEST
            .split_once("[[site]]")
            .map(|(_, s)| format!("[[site]]{s}"))
            .unwrap()
            .replace("\"blog\"", "\"shop\"")
    );
    assert_eq!(
        told(&twice),
        ["site[1].hosts | \"blog.example.org\" | site[0] names this host"]
    );
}

#[test]
fn what_is_not_toml_is_told_with_its_line() {
    let faults = parse("[[listener]]\naddress = nothing\n").unwrap_err();
    assert_eq!(faults[0].key, "line 2");
}

#[test]
fn faults_read_as_one_table() {
    let faults = Faults {
        file: "sidewire.toml".into(),
        faults: parse(&SMALLEST.replace("name = \"blog\"\n", "")).unwrap_err(),
    };
    assert_eq!(
        faults.to_string(),
        "sidewire.toml: 1 fault\n  site[0].name  missing; a short name for logs"
    );
}

#[test]
fn tokens_have_defaults_and_a_key_of_two_sites_is_refused() {
    let tokens = parse(SMALLEST).unwrap().sites.remove(0).tokens;
    assert_eq!(tokens.life_max, Duration::from_secs(86_400));
    assert_eq!((tokens.audience.as_str(), tokens.issuer.as_str()), ("", ""));
    assert!(tokens.keys.is_empty() && tokens.jwks.is_none());
    let secret = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    let second = "[[site]]\nname = \"shop\"\nhosts = [\"shop.example.org\"]\n\
                  [site.upstream]\naddress = \"unix:/run/shop.sock\"\n";
    for (first, then) in [
        ("token_key", "token_key"),
        ("publish_key", "token_key"),
        ("token_key", "publish_key"),
    ] {
        let key = |kind: &str| format!("\n[[site.{kind}]]\nsecret = \"{secret}\"\n");
        let told = told(&format!("{SMALLEST}{}{second}{}", key(first), key(then)));
        let expected = format!(
            "site[1].{then} | - | site \"blog\" has the same secret; give each site its own"
        );
        assert_eq!(told, [expected]);
    }
}

#[test]
fn the_spread_of_closing_fits_the_drain() {
    let with = |lines: &str| format!("{SMALLEST}\n[stop]\n{lines}");
    for good in [
        "",
        "drain_timeout = \"0s\"\nclose_spread = \"0s\"",
        "drain_timeout = \"4s\"",
        "close_spread = \"29s\"",
    ] {
        assert!(parse(&with(good)).is_ok(), "{good}");
    }
    for (wrong, key) in [
        ("close_spread = \"30s\"", "stop.close_spread | \"30s\""),
        ("drain_timeout = \"3s\"", "stop.drain_timeout | \"3s\""),
        ("drain_timeout = \"0s\"", "stop.drain_timeout | \"0s\""),
    ] {
        let told = told(&with(wrong));
        assert_eq!(told.len(), 1, "{told:#?}");
        assert!(told[0].starts_with(key), "{told:#?}");
        assert!(told[0].contains("must be less than `drain_timeout`"));
    }
}

#[test]
fn an_age_of_connections_is_none_or_a_second_at_least() {
    let with = |age: &str| format!("{SMALLEST}\n[realtime]\nconnection_age_max = {age:?}");
    for good in ["0s", "1s", "12h"] {
        assert!(parse(&with(good)).is_ok(), "{good}");
    }
    let told = told(&with("999ms"));
    assert!(told[0].starts_with("realtime.connection_age_max | \"999ms\" | "));
    assert!(told[0].contains("\"0s\" for no limit"), "{told:#?}");
}
