//! What stands in a file, key by key, so that two states of it can be compared.
//!
//! It shows no value: some are secrets. Whether a difference matters is for others to say.

use std::collections::{BTreeMap, BTreeSet};

use toml::{Table, Value};

/// The keys of a file with what stands there.
///
/// A key is written with its tables: `front.body_max`, `certificate[0].key`. Tables that carry a
/// `name` are told apart by it, so that their order does not matter: `site[blog].hosts`.
#[derive(Clone, Default)]
pub struct Written(BTreeMap<String, Value>);

impl Written {
    /// Reads `text`; one that is not TOML has no keys.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let mut written = Self::default();
        if let Ok(table) = text.parse::<Table>() {
            written.add_table("", &table);
        }
        written
    }

    /// The keys that stand in one of both alone, or with another value.
    #[must_use]
    pub fn differing(&self, other: &Self) -> BTreeSet<String> {
        let keys = self.0.keys().chain(other.0.keys());
        keys.filter(|key| self.0.get(*key) != other.0.get(*key))
            .cloned()
            .collect()
    }

    fn add(&mut self, path: String, value: &Value) {
        match value {
            Value::Table(table) => self.add_table(&path, table),
            Value::Array(list) if list.iter().any(Value::is_table) => {
                for (n, item) in list.iter().enumerate() {
                    let name = item.get("name").and_then(Value::as_str);
                    let name = name.map_or_else(|| n.to_string(), str::to_owned);
                    self.add(format!("{path}[{name}]"), item);
                }
            }
            value => {
                self.0.insert(path, value.clone());
            }
        }
    }

    fn add_table(&mut self, path: &str, table: &Table) {
        for (key, value) in table {
            let path = if path.is_empty() {
                key.clone()
            } else {
                format!("{path}.{key}")
            };
            self.add(path, value);
        }
    }
}

impl std::fmt::Debug for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn differing(old: &str, new: &str) -> Vec<String> {
        let differing = Written::read(old).differing(&Written::read(new));
        differing.into_iter().collect()
    }

    #[test]
    fn a_changed_an_added_and_a_removed_key_are_named_with_their_tables() {
        let old = "[front]\nbody_max = \"1MiB\"\nheaders_max = 90\n";
        let new = "[front]\nbody_max = \"2MiB\"\n[stop]\ndrain_timeout = \"1s\"\n";
        assert_eq!(
            differing(old, new),
            ["front.body_max", "front.headers_max", "stop.drain_timeout"]
        );
    }

    #[test]
    fn tables_with_names_may_change_their_order() {
        let blog = "[[site]]\nname = \"blog\"\nhosts = [\"a\"]\n";
        let shop = "[[site]]\nname = \"shop\"\nhosts = [\"b\"]\n";
        let old = format!("{blog}{shop}");
        assert_eq!(differing(&old, &format!("{shop}{blog}")), [""; 0]);
        let moved = format!("{}{blog}", shop.replace("\"b\"", "\"c\""));
        assert_eq!(differing(&old, &moved), ["site[shop].hosts"]);
    }

    #[test]
    fn tables_without_names_are_numbered() {
        let one = "[[certificate]]\nkey = \"a\"\n";
        assert_eq!(
            differing(one, &format!("{one}{one}")),
            ["certificate[1].key"]
        );
    }

    #[test]
    fn a_secret_is_not_shown() {
        let written = Written::read("[[site]]\nname = \"a\"\nsecret = \"whsec_AAAA\"\n");
        assert_eq!(
            format!("{written:?}"),
            "{\"site[a].name\", \"site[a].secret\"}"
        );
    }
}
