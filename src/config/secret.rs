//! Secrets: their form, where they stand, and that each has one use only.

use std::{fmt, fs, path::PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{
    Site,
    section::{Findings, Section},
};

/// The key of a `whsec_…` secret. Never shown.
#[derive(Clone, Eq, PartialEq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Reads `whsec_` and base64 of 24 to 64 bytes, as Standard Webhooks writes secrets.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = STANDARD.decode(text.trim().strip_prefix("whsec_")?).ok()?;
        (24..=64).contains(&bytes.len()).then_some(Self(bytes))
    }

    /// The bytes to sign with.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("whsec_…")
    }
}

const SECRET: &str =
    "expected whsec_ and base64 of 24 to 64 bytes; `sidewire secret new` makes one";

/// The secret of a key's table: in the configuration, or in a file of its own.
pub(super) fn read(section: &mut Section) -> Option<Secret> {
    let inline = section.optional::<String>("secret");
    let file = section.optional::<PathBuf>("secret_file");
    match (inline, file) {
        (Some(text), None) => {
            let secret = Secret::parse(&text);
            if secret.is_none() {
                section.fault("secret", SECRET);
            }
            secret
        }
        (None, Some(path)) => match fs::read_to_string(&path) {
            Ok(text) => {
                let secret = Secret::parse(&text);
                if secret.is_none() {
                    section.fault("secret_file", format_args!("the file: {SECRET}"));
                }
                secret
            }
            Err(error) => {
                let remedy = "make one with: sidewire secret new --out FILE";
                section.fault(
                    "secret_file",
                    format_args!("cannot be read: {error}; {remedy}"),
                );
                None
            }
        },
        (Some(_), Some(_)) => {
            section.fault("secret", "one of `secret` and `secret_file`, not both");
            None
        }
        (None, None) => {
            // A mistyped one has been told where it stands.
            if !section.has("secret") && !section.has("secret_file") {
                section.fault("secret_file", "missing; name the file that holds whsec_…");
            }
            None
        }
    }
}

/// A secret of two sites would let one speak for the other, and who may make tokens is not to
/// publish with what makes them.
pub(super) fn check_unique(sites: &[Site], findings: &Findings) {
    let mut known: Vec<(&Secret, usize, &str)> = Vec::new();
    for (n, site) in sites.iter().enumerate() {
        let publish = site.publish_keys.iter();
        let publish = publish.map(|key| (&key.secret, "publish_key"));
        let token = site.tokens.keys.iter();
        let token = token.map(|key| (&key.secret, "token_key"));
        for (secret, kind) in publish.chain(token) {
            let other = known.iter().find(|(other, ..)| *other == secret);
            let remedy = match other {
                Some((_, other, _)) if *other != n => {
                    let name = sites.get(*other).map_or("", |site| &site.name);
                    format!("site {name:?} has the same secret; give each site its own")
                }
                Some((_, _, other)) if *other != kind => format!(
                    "a {other} of this site has the same secret; \
                     `sidewire secret new` makes another"
                ),
                // What the key may do would depend on the order of the file.
                Some(_) if kind == "publish_key" => {
                    "another publish_key of this site has the same secret; remove one of them"
                        .to_owned()
                }
                _ => {
                    known.push((secret, n, kind));
                    continue;
                }
            };
            findings.add(format!("site[{n}].{kind}"), None, remedy);
        }
    }
}
