//! The layering of `docs/ARCHITECTURE.md`, held against every `crate::` in `src`.
//!
//! It reads text: an import hidden in a macro, or a `super::` that climbs to the crate's root, it
//! does not see.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// Module → the modules it may import, lowest layer first. A row may name only rows above it, so
/// the table cannot describe a cycle.
const ALLOWED: &[(&str, &[&str])] = &[
    ("config", &[]),
    ("shutdown", &[]),
    ("auth", &[]),
    ("exchange", &[]),
    ("router", &["config"]),
    ("telemetry", &["config", "shutdown"]),
    ("listener", &["config", "shutdown"]),
    ("tls", &["config", "shutdown"]),
    ("upstream", &["config", "exchange", "shutdown"]),
    ("fastcgi", &["config", "exchange", "shutdown"]),
    ("static_files", &["config", "exchange", "shutdown"]),
    ("broker", &["config", "shutdown"]),
    (
        "realtime",
        &["auth", "broker", "config", "exchange", "shutdown"],
    ),
    (
        "publish",
        &[
            "auth", "broker", "config", "listener", "realtime", "shutdown",
        ],
    ),
    (
        "admin",
        &[
            "auth",
            "broker",
            "config",
            "fastcgi",
            "listener",
            "publish",
            "realtime",
            "shutdown",
            "telemetry",
            "tls",
            "upstream",
        ],
    ),
    (
        "front",
        &[
            "auth",
            "broker",
            "config",
            "exchange",
            "fastcgi",
            "realtime",
            "router",
            "shutdown",
            "static_files",
            "telemetry",
            "tls",
            "upstream",
        ],
    ),
    (
        "server",
        &[
            "admin",
            "auth",
            "broker",
            "config",
            "exchange",
            "fastcgi",
            "front",
            "listener",
            "publish",
            "realtime",
            "router",
            "shutdown",
            "static_files",
            "telemetry",
            "tls",
            "upstream",
        ],
    ),
    ("command", &["auth", "config", "telemetry", "tls"]),
    ("cli", &["command"]),
];

#[test]
fn a_row_names_only_rows_above_it() {
    let mut above = BTreeSet::new();
    for (module, imports) in ALLOWED {
        for import in *imports {
            assert!(above.contains(import), "{module} → {import} points down");
        }
        above.insert(module);
    }
}

#[test]
fn every_module_imports_only_what_its_row_allows() {
    let mut breaches = Vec::new();
    for file in rust_files(Path::new("src")) {
        let module = module_of(&file);
        if matches!(module.as_str(), "main" | "lib") {
            continue;
        }
        let Some((_, allowed)) = ALLOWED.iter().find(|(name, _)| *name == module) else {
            breaches.push(format!("{}: module `{module}` has no row", file.display()));
            continue;
        };
        for (line, import) in imports(&fs::read_to_string(&file).unwrap()) {
            let place = format!("{}:{line}", file.display());
            if import.is_empty() {
                breaches.push(format!(
                    "{place}: glob or unreadable import of the crate's root"
                ));
            } else if import != module && !allowed.contains(&import.as_str()) {
                breaches.push(format!("{place}: `{module}` imports `{import}`"));
            }
        }
    }
    assert!(breaches.is_empty(), "\n{}", breaches.join("\n"));
}

#[test]
fn every_file_says_what_it_is() {
    for file in rust_files(Path::new("src")) {
        let text = fs::read_to_string(&file).unwrap();
        assert!(
            text.starts_with("//!"),
            "{} opens without //!",
            file.display()
        );
    }
}

#[test]
fn the_architecture_document_has_the_same_rows() {
    let document = fs::read_to_string("docs/ARCHITECTURE.md").unwrap();
    for (module, imports) in ALLOWED {
        let row = document
            .lines()
            .find(|line| line.starts_with(&format!("| `{module}` |")))
            .unwrap_or_else(|| panic!("docs/ARCHITECTURE.md has no row for `{module}`"));
        let listed = row.trim_end_matches('|').rsplit('|').next().unwrap().trim();
        let expected = match imports {
            [] => "–".to_owned(),
            imports => imports.join(", "),
        };
        assert_eq!(listed, expected, "the row of `{module}`");
    }
}

#[test]
fn planted_breaches_are_seen() {
    let text = "use crate::{\n    broker::{SiteId, memory::Memory},\n    config,\n};\nuse crate::tls::Stream;\nfn f() { crate::front::x() } // crate::cli\n";
    let seen: Vec<String> = imports(text)
        .into_iter()
        .map(|(_, import)| import)
        .collect();
    assert_eq!(seen, ["broker", "config", "tls", "front"]);
}

/// The top-level modules that `text` names after `crate::`, grouped ones too, with their lines.
fn imports(text: &str) -> Vec<(usize, String)> {
    let code: String = text
        .lines()
        .map(|line| line.split("//").next().unwrap_or_default().to_owned() + "\n")
        .collect();
    let mut found = Vec::new();
    for (at, _) in code.match_indices("crate::") {
        let line = code[..at].matches('\n').count() + 1;
        let rest = &code[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(group) => found.extend(group_heads(group).into_iter().map(|head| (line, head))),
            None => found.push((line, identifier(rest))),
        }
    }
    found
}

/// The first names of a group's members, up to its closing brace.
fn group_heads(group: &str) -> Vec<String> {
    let mut depth = 0;
    let mut member = String::new();
    let mut heads = Vec::new();
    for c in group.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => heads.push(std::mem::take(&mut member)),
            _ if depth == 0 => member.push(c),
            _ => {}
        }
    }
    heads.push(member);
    heads
        .iter()
        .map(|head| identifier(head.trim()))
        .filter(|head| !head.is_empty())
        .collect()
}

fn identifier(text: &str) -> String {
    text.chars()
        .take_while(|c| c.is_alphanumeric() || *c == '_')
        .collect()
}

/// `src/tls/reload.rs` and `src/tls.rs` both belong to `tls`.
fn module_of(file: &Path) -> String {
    let first = file
        .components()
        .nth(1)
        .unwrap()
        .as_os_str()
        .to_str()
        .unwrap();
    first.strip_suffix(".rs").unwrap_or(first).to_owned()
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}
