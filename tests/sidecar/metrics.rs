//! The metrics, the document that explains them and the board that draws them are the same.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde_json::{Value, json};

use crate::harness::sidecar::Sidecar;

/// The metrics in the table of the document, as they are exposed, with their types.
fn documented() -> BTreeMap<String, String> {
    let document = fs::read_to_string("docs/OPERATIONS.md").unwrap();
    let rows = document
        .lines()
        .filter(|line| line.starts_with("| `sidewire_"));
    let rows = rows.map(|row| {
        let mut cells = row.trim_matches('|').split('|').map(str::trim);
        let name = cells.next().unwrap().trim_matches('`').to_owned();
        (name, cells.next().unwrap().to_owned())
    });
    let rows: Vec<_> = rows.collect();
    let all: BTreeMap<_, _> = rows.iter().cloned().collect();
    assert_eq!(all.len(), rows.len(), "a metric has two rows");
    all
}

/// The names under which the source registers metrics.
fn registered(directory: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            registered(&path, found);
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        // What tests register is no metric of the product.
        let product = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for call in product.split("registry.register(").skip(1) {
            let name = call.trim_start().strip_prefix('"').unwrap();
            found.insert(format!("sidewire_{}", name.split('"').next().unwrap()));
        }
    }
}

fn base(name: &str) -> &str {
    name.strip_suffix("_total").unwrap_or(name)
}

/// The metric behind a series that is asked for: that of its classes, where it is a histogram.
fn series(name: &str) -> &str {
    name.strip_suffix("_bucket").unwrap_or(name)
}

/// What stands behind `sidewire_` in an expression, wherever it stands.
fn used(expression: &str) -> BTreeSet<String> {
    let starts = expression.match_indices("sidewire_");
    let names = starts.map(|(at, _)| {
        let name = expression.get(at..).unwrap().chars();
        name.take_while(|c| c.is_ascii_alphanumeric() || *c == '_')
            .collect()
    });
    names.collect()
}

#[test]
fn every_metric_of_the_source_is_in_the_document_and_no_other() {
    let mut source = BTreeSet::new();
    registered(Path::new("src"), &mut source);
    assert!(source.len() > 30, "{source:?}");
    let documented = documented();
    let documented: BTreeSet<String> = documented.keys().map(|name| base(name).into()).collect();
    let missing: Vec<_> = source.difference(&documented).collect();
    assert!(missing.is_empty(), "not in docs/OPERATIONS.md: {missing:?}");
    let gone: Vec<_> = documented.difference(&source).collect();
    assert!(gone.is_empty(), "only in docs/OPERATIONS.md: {gone:?}");
}

#[tokio::test]
async fn what_a_running_sidecar_exposes_is_in_the_document_with_its_type() {
    let sidecar = Sidecar::start().await;
    let mut browser = sidecar.browser().await;
    browser.subscribe("site").await;
    sidecar.publisher().publish("site", &json!(1)).await;
    sidecar.get("/", "").await;
    sidecar.admin("POST", "/reload").await;
    let documented = documented();
    let metrics = sidecar.admin("GET", "/metrics").await;
    let mut seen = 0;
    for line in metrics.text().lines() {
        let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|l| l.split_once(' '))
        else {
            continue;
        };
        let name = match kind {
            "counter" => format!("{name}_total"),
            _ => name.to_owned(),
        };
        assert_eq!(
            documented.get(&name).map(String::as_str),
            Some(kind),
            "{name}"
        );
        seen += 1;
    }
    assert!(seen > 25, "{}", metrics.text());
}

#[test]
fn what_the_document_alerts_on_exists() {
    let document = fs::read_to_string("docs/OPERATIONS.md").unwrap();
    let documented = documented();
    for name in used(&document) {
        assert!(documented.contains_key(&name), "no metric {name}");
    }
}

#[test]
fn the_board_draws_metrics_that_exist_in_panels_of_their_own() {
    let text = fs::read_to_string("packaging/grafana/sidewire.json").unwrap();
    let board: Value = serde_json::from_str(&text).unwrap();
    let panels = board["panels"].as_array().unwrap();
    let ids: BTreeSet<_> = panels.iter().map(|p| p["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "two panels have one id");
    let documented = documented();
    let mut drawn = BTreeSet::new();
    for panel in panels {
        let targets = panel["targets"].as_array().into_iter().flatten();
        for target in targets {
            let names = used(target["expr"].as_str().unwrap());
            assert!(!names.is_empty(), "{target}");
            drawn.extend(names);
        }
    }
    for query in board["templating"]["list"].as_array().unwrap() {
        drawn.extend(used(query["query"].as_str().unwrap()));
    }
    for name in &drawn {
        assert!(documented.contains_key(series(name)), "no metric {name}");
    }
    assert!(drawn.len() > 30, "{drawn:?}");
}
