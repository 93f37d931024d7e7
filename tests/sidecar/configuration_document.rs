//! docs/CONFIGURATION.md has every key with its default and its range, and tells what a reload
//! applies.
#![expect(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may stop at the first surprise"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use sidewire::config;
use toml::{Table, Value};

use crate::harness::document::rows;

/// A row: the table that the key stands in, and the cells.
struct Row {
    table: String,
    key: String,
    kind: String,
    default: String,
    range: String,
    changed_by: String,
}

impl Row {
    /// The key as [`config::keys`] writes it.
    fn path(&self) -> String {
        let table = self.table.replace("site", "site[]");
        let many = ["publish_key", "token_key", "namespace"];
        let table = match table.rsplit_once('.') {
            Some((site, name)) if many.contains(&name) => format!("{site}.{name}[]"),
            None if table == "listener" || table == "certificate" => format!("{table}[]"),
            _ => table,
        };
        format!("{table}.{}", self.key)
    }
}

fn documented() -> Vec<Row> {
    let document = fs::read_to_string("docs/CONFIGURATION.md").unwrap();
    let tables = document.split("\n## `").skip(1);
    let each = tables.flat_map(|text| {
        let (table, text) = text.split_once('`').unwrap();
        let rows = rows(text).into_iter().skip(1);
        let read = rows.map(|cells| {
            let cells: Vec<String> = cells.iter().map(|cell| cell.replace('`', "")).collect();
            assert_eq!(cells.len(), 6, "{table}: {cells:?}");
            Row {
                table: table.to_owned(),
                key: cells[0].clone(),
                kind: cells[1].clone(),
                default: cells[2].clone(),
                range: cells[3].clone(),
                changed_by: cells[5].clone(),
            }
        });
        read.collect::<Vec<_>>()
    });
    each.collect()
}

fn example() -> Table {
    let text = fs::read_to_string("config/sidewire.toml").unwrap();
    text.parse().unwrap()
}

/// The table `path` of `table`, the first one that has `key`: `site.namespace` is in any site.
fn find<'a>(table: &'a mut Table, path: &str, key: &str) -> Option<&'a mut Table> {
    let Some((first, rest)) = path
        .split_once('.')
        .or(Some((path, "")))
        .filter(|p| !p.0.is_empty())
    else {
        return table.contains_key(key).then_some(table);
    };
    match table.get_mut(first)? {
        Value::Table(table) => find(table, rest, key),
        Value::Array(list) => {
            let mut tables = list.iter_mut().filter_map(Value::as_table_mut);
            tables.find_map(|table| find(table, rest, key))
        }
        _ => None,
    }
}

#[test]
fn every_key_has_a_row_and_no_other() {
    let text = fs::read_to_string("config/sidewire.toml").unwrap();
    let mut known = config::keys(&text);
    let tables: BTreeSet<String> = known
        .iter()
        .filter(|key| {
            known.iter().any(|other| {
                other.starts_with(&format!("{key}.")) || other.starts_with(&format!("{key}[]."))
            })
        })
        .cloned()
        .collect();
    known.retain(|key| !tables.contains(key));
    let rows = documented();
    let told: BTreeSet<String> = rows.iter().map(Row::path).collect();
    assert_eq!(told.len(), rows.len(), "a key has two rows");
    let missing: Vec<_> = known.difference(&told).collect();
    assert!(
        missing.is_empty(),
        "not in docs/CONFIGURATION.md: {missing:?}"
    );
    let gone: Vec<_> = told.difference(&known).collect();
    assert!(gone.is_empty(), "only in docs/CONFIGURATION.md: {gone:?}");
}

#[test]
fn defaults_are_those_of_the_full_example() {
    // That these are the defaults, another test holds.
    let mut example = example();
    let mut seen = 0;
    for row in documented().iter().filter(|row| row.default != "–") {
        let told: Table = format!("v = {}", row.default).parse().unwrap();
        let table = find(&mut example, &row.table, &row.key).unwrap();
        assert_eq!(table[&row.key], told["v"], "{}", row.path());
        seen += 1;
    }
    assert!(seen > 60, "{seen}");
}

/// The number that `text` stands for, and how it is written one lower and one higher.
fn edge(kind: &str, text: &str) -> (Value, Option<Value>, Value) {
    let text = text.replace('_', "");
    let around = |n: u64, write: &dyn Fn(u64) -> Value| {
        (write(n), n.checked_sub(1).map(write), write(n + 1))
    };
    match kind {
        "count" => around(text.parse().unwrap(), &|n| {
            Value::Integer(n.try_into().unwrap())
        }),
        "time" => {
            let time = config::duration(&text).unwrap().as_millis();
            around(time.try_into().unwrap(), &|n| {
                Value::String(format!("{n}ms"))
            })
        }
        _ => {
            let digits = text.trim_end_matches(|c: char| c.is_alphabetic());
            let unit = match &text[digits.len()..] {
                "B" => 0,
                "KiB" => 10,
                "MiB" => 20,
                "GiB" => 30,
                other => panic!("{other}: which unit is that?"),
            };
            let bytes = digits.parse::<u64>().unwrap() << unit;
            around(bytes, &|n| Value::String(format!("{n}B")))
        }
    }
}

/// What is told of `row`'s key being out of its range, where it has `value`.
fn out_of_range(row: &Row, value: Value) -> Option<String> {
    let mut example = example();
    let table = find(&mut example, &row.table, &row.key).unwrap();
    table.insert(row.key.clone(), value);
    let faults = config::parse(&example.to_string())
        .err()
        .unwrap_or_default();
    let mut told = faults.into_iter().filter(|fault| {
        let key = fault.key.rsplit('.').next();
        key == Some(&row.key) && fault.remedy.starts_with("expected ")
    });
    // Rules between keys are told in words.
    let range = told.find(|fault| fault.remedy.contains(" to ") && fault.value.is_some());
    range.map(|fault| fault.remedy)
}

#[test]
fn ranges_are_those_of_the_program() {
    let mut seen = BTreeMap::new();
    for row in documented() {
        if !["count", "time", "size"].contains(&row.kind.as_str()) {
            continue;
        }
        let (low, high) = row.range.split_once(" to ").unwrap();
        let (lowest, below, _) = edge(&row.kind, low);
        let (highest, _, above) = edge(&row.kind, high);
        let path = row.path();
        for inside in [lowest, highest] {
            assert_eq!(
                out_of_range(&row, inside.clone()),
                None,
                "{path} = {inside}"
            );
        }
        // A negative number is none of the kind at all.
        for outside in below.into_iter().chain([above]) {
            let told = out_of_range(&row, outside.clone());
            assert!(told.is_some(), "{path} = {outside} is taken");
        }
        *seen.entry(row.kind.clone()).or_insert(0) += 1;
    }
    assert!(seen.values().sum::<i32>() > 55, "{seen:?}");
}

#[test]
fn what_a_reload_applies_is_told_and_nothing_else() {
    let source = fs::read_to_string("src/server/reload.rs").unwrap();
    let list = source.split("const SITE_KEYS").nth(1).unwrap();
    let list = list.split(';').nth(1).unwrap();
    let keys: BTreeSet<&str> = list.split('"').skip(1).step_by(2).collect();
    assert!(keys.contains("namespace") && keys.len() > 3, "{keys:?}");
    let others = "None => key == \"log.filter\" || key.starts_with(\"certificate[\"),";
    assert!(
        source.contains(others),
        "the rule has changed: look at this test"
    );
    for row in documented() {
        let path = row.path();
        let applied = match path.strip_prefix("site[].") {
            Some(rest) => keys.contains(rest.split(['.', '[']).next().unwrap()),
            None => path == "log.filter" || path.starts_with("certificate["),
        };
        let told = if applied { "reload" } else { "restart" };
        assert_eq!(row.changed_by, told, "{path}");
    }
}
