//! One TOML table while it is being read: every key asked for is known, every other is a fault.
//!
//! Knows no key by itself: each section's type asks for its own.

use std::{cell::RefCell, collections::BTreeSet, fmt::Display, ops::RangeInclusive, rc::Rc};

use toml::{Table, Value};

use super::{fault::Fault, value::FromValue};

/// What one reading of a file found, shared by all its sections.
#[derive(Clone, Default)]
pub(super) struct Findings {
    faults: Rc<RefCell<Vec<Fault>>>,
    keys: Rc<RefCell<BTreeSet<String>>>,
}

/// One table. [`Section::finish`] must be called once everything was asked for.
pub(super) struct Section {
    path: String,
    pattern: String,
    table: Table,
    known: Vec<&'static str>,
    findings: Findings,
}

impl Findings {
    pub(super) fn add(&self, key: impl Into<String>, value: Option<String>, remedy: impl Display) {
        self.faults.borrow_mut().push(Fault {
            key: key.into(),
            value,
            remedy: remedy.to_string(),
        });
    }

    pub(super) fn faults(&self) -> Vec<Fault> {
        self.faults.borrow().clone()
    }

    /// Every key that was asked for, arrays of tables written `site[]`.
    pub(super) fn keys(&self) -> BTreeSet<String> {
        self.keys.borrow().clone()
    }
}

impl Section {
    pub(super) fn root(table: Table, findings: Findings) -> Self {
        Self::new(String::new(), String::new(), table, findings)
    }

    fn new(path: String, pattern: String, table: Table, findings: Findings) -> Self {
        Self {
            path,
            pattern,
            table,
            known: Vec::new(),
            findings,
        }
    }

    /// The value of `key`, or `None` where it is missing or faulty; the fault is recorded.
    pub(super) fn optional<T: FromValue>(&mut self, key: &'static str) -> Option<T> {
        self.know(key);
        let value = self.table.get(key)?;
        match T::from_value(value) {
            Ok(read) => Some(read),
            Err(expected) => {
                self.fault(key, format_args!("expected {expected}"));
                None
            }
        }
    }

    /// The value of `key`, or `default` where it is missing.
    pub(super) fn or<T: FromValue>(&mut self, key: &'static str, default: T) -> T {
        self.optional(key).unwrap_or(default)
    }

    /// One of the `choices`, or `default` where `key` is missing.
    pub(super) fn one_of<T: Copy>(
        &mut self,
        key: &'static str,
        choices: &[(&'static str, T)],
        default: T,
    ) -> T {
        let Some(word) = self.optional::<String>(key) else {
            return default;
        };
        match choices.iter().find(|(name, _)| *name == word) {
            Some((_, value)) => *value,
            None => {
                let names: Vec<String> = choices.iter().map(|(n, _)| format!("{n:?}")).collect();
                self.fault(key, format_args!("expected one of {}", names.join(", ")));
                default
            }
        }
    }

    /// A value of `key` inside `range`, or `default` where it is missing.
    pub(super) fn within<T>(&mut self, key: &'static str, default: T, range: RangeInclusive<T>) -> T
    where
        T: FromValue + PartialOrd + std::fmt::Debug + Copy,
    {
        let value = self.or(key, default);
        if range.contains(&value) {
            return value;
        }
        self.fault(
            key,
            format_args!("expected {:?} to {:?}", range.start(), range.end()),
        );
        default
    }

    /// A whole number inside `range`, as a count of things in memory.
    pub(super) fn count(
        &mut self,
        key: &'static str,
        default: u64,
        range: RangeInclusive<u64>,
    ) -> usize {
        usize::try_from(self.within(key, default, range)).unwrap_or(usize::MAX)
    }

    /// The value of `key`; a missing one is a fault with `remedy`.
    pub(super) fn required<T: FromValue>(&mut self, key: &'static str, remedy: &str) -> Option<T> {
        let value = self.optional(key);
        if !self.table.contains_key(key) {
            self.fault(key, format_args!("missing; {remedy}"));
        }
        value
    }

    /// The table `[key]` below this one.
    pub(super) fn section(&mut self, key: &'static str) -> Option<Self> {
        self.know(key);
        match self.table.get(key)? {
            Value::Table(table) => Some(Self::new(
                join(&self.path, key),
                join(&self.pattern, key),
                table.clone(),
                self.findings.clone(),
            )),
            _ => {
                self.fault(key, format_args!("expected a table, [{key}]"));
                None
            }
        }
    }

    /// The table `[key]` below this one, empty where it is missing: all its keys have defaults.
    pub(super) fn section_or_empty(&mut self, key: &'static str) -> Self {
        self.section(key).unwrap_or_else(|| {
            Self::new(
                join(&self.path, key),
                join(&self.pattern, key),
                Table::new(),
                self.findings.clone(),
            )
        })
    }

    /// The tables `[[key]]` below this one.
    pub(super) fn sections(&mut self, key: &'static str) -> Vec<Self> {
        self.know(key);
        let Some(value) = self.table.get(key) else {
            return Vec::new();
        };
        let tables: Option<Vec<Table>> = value
            .as_array()
            .and_then(|list| list.iter().map(|item| item.as_table().cloned()).collect());
        let Some(tables) = tables else {
            self.fault(key, format_args!("expected tables, each headed [[{key}]]"));
            return Vec::new();
        };
        let path = join(&self.path, key);
        let pattern = join(&self.pattern, key);
        tables
            .into_iter()
            .enumerate()
            .map(|(n, table)| {
                let path = format!("{path}[{n}]");
                Self::new(path, format!("{pattern}[]"), table, self.findings.clone())
            })
            .collect()
    }

    /// Whether `key` stands in the file.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// Records a fault of `key` with the value that stands there.
    pub(super) fn fault(&self, key: &str, remedy: impl Display) {
        let value = self.table.get(key).map(|value| shown(key, value));
        self.findings.add(join(&self.path, key), value, remedy);
    }

    /// Records every key that nothing asked for, with the nearest one that exists.
    pub(super) fn finish(self) {
        for (key, value) in &self.table {
            if self.known.contains(&key.as_str()) {
                continue;
            }
            let nearest = self
                .known
                .iter()
                .map(|known| (strsim::damerau_levenshtein(known, key), known))
                .min()
                .filter(|(distance, _)| *distance <= 3);
            let remedy = match nearest {
                Some((_, known)) => format!("unknown key; did you mean `{known}`?"),
                None => format!("unknown key; known here: {}", self.known.join(", ")),
            };
            self.findings
                .add(join(&self.path, key), Some(shown(key, value)), remedy);
        }
    }

    fn know(&mut self, key: &'static str) {
        if !self.known.contains(&key) {
            self.known.push(key);
            let full = join(&self.pattern, key);
            self.findings.keys.borrow_mut().insert(full);
        }
    }
}

/// A value as TOML, short enough for one line, and never a secret, even a mistyped one under a
/// mistyped key.
fn shown(key: &str, value: &Value) -> String {
    let secret = strsim::damerau_levenshtein("secret", &key.to_ascii_lowercase()) <= 2;
    let text = match value {
        Value::String(_) if secret => "\"…\"".to_owned(),
        Value::Table(_) => "{…}".to_owned(),
        Value::Array(list) if list.iter().any(Value::is_table) => "[…]".to_owned(),
        Value::String(text) if text.starts_with("whsec_") => "\"…\"".to_owned(),
        other => other.to_string(),
    };
    match text.char_indices().nth(48) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}
