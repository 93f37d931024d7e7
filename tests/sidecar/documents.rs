//! The files that people copy from are true.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::{collections::BTreeSet, fs};

use sidewire::config;
use tempfile::TempDir;

/// What the examples name below /etc/sidewire.
struct Files(TempDir);

impl Files {
    fn make() -> Self {
        let directory = TempDir::new().unwrap();
        for (name, text) in [
            (
                "blog.secret",
                "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n",
            ),
            (
                "blog.token.secret",
                "whsec_ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=\n",
            ),
            ("blog.jwks", "{\"keys\":[]}\n"),
        ] {
            fs::write(directory.path().join(name), text).unwrap();
        }
        Self(directory)
    }

    /// `text` with what a test machine has put in place of the examples.
    fn adapt(&self, text: &str) -> String {
        text.replace("/var/www/html", "/")
            .replace("/etc/sidewire", self.0.path().to_str().unwrap())
    }
}

#[test]
fn every_file_in_config_loads() {
    let files = Files::make();
    let mut seen = 0;
    for entry in fs::read_dir("config").unwrap() {
        let path = entry.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let text = files.adapt(&text);
        if let Err(faults) = config::parse(&text) {
            panic!("{}: {faults:#?}", path.display());
        }
        seen += 1;
    }
    assert!(seen >= 3);
}

#[test]
fn the_full_example_names_every_key_and_no_other() {
    let text = fs::read_to_string("config/sidewire.toml").unwrap();
    let table: toml::Table = text.parse().unwrap();
    let mut written = BTreeSet::new();
    collect("", &toml::Value::Table(table), &mut written);
    let known = config::keys(&text);
    let missing: Vec<_> = known.difference(&written).collect();
    assert!(
        missing.is_empty(),
        "not in config/sidewire.toml: {missing:?}"
    );
    assert_eq!(written.difference(&known).count(), 0);
}

#[test]
fn the_full_example_shows_the_defaults() {
    let files = Files::make();
    let text = fs::read_to_string("config/sidewire.toml").unwrap();
    let full = config::parse(&files.adapt(&text)).unwrap();
    let bare: String = text
        .lines()
        .filter(|line| {
            let required = [
                "address",
                "name",
                "hosts",
                "certificate",
                "key",
                "secret",
                "secret_file",
                "jwks_file",
                "socket",
                "root",
                "script_root",
                "group",
            ];
            let key = line.split('=').next().unwrap().trim();
            !line.contains(" = ")
                || line.starts_with('#')
                || required.contains(&key)
                || line.contains("tls = false")
                || line.contains("redirect\"\n")
        })
        .map(|line| line.to_owned() + "\n")
        .collect();
    let mut bare = config::parse(&files.adapt(&bare)).unwrap();
    // The second listener shows another mode on purpose.
    bare.listeners[1].mode = full.listeners[1].mode;
    assert_eq!(full, bare);
}

fn collect(path: &str, value: &toml::Value, out: &mut BTreeSet<String>) {
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                let path = if path.is_empty() {
                    key.clone()
                } else {
                    format!("{path}.{key}")
                };
                out.insert(path.clone());
                collect(&path, value, out);
            }
        }
        toml::Value::Array(list) if list.iter().any(toml::Value::is_table) => {
            for item in list {
                collect(&format!("{path}[]"), item, out);
            }
        }
        _ => {}
    }
}
