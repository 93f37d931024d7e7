//! docs/PROTOCOL.md tells the program's codes, methods, options and claims, and no others.
#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test may stop at the first surprise"
)]

use std::{collections::BTreeSet, fs};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;
use sidewire::config::{self, METHODS};

use crate::harness::{
    document::{self, examples, rows},
    publisher::{Publisher, Request},
};

fn document() -> String {
    fs::read_to_string("docs/PROTOCOL.md").unwrap()
}

fn section(title: &str) -> String {
    document::section(&document(), title)
}

/// The first cell of each row that is a number.
fn codes(section_title: &str) -> BTreeSet<u32> {
    let rows = rows(&section(section_title));
    rows.iter().filter_map(|row| row[0].parse().ok()).collect()
}

/// The source of the realtime side, without its tests.
fn realtime(files: &[&str]) -> String {
    let read = |file: &&str| {
        let text = fs::read_to_string(format!("src/realtime/{file}")).unwrap();
        text.split("#[cfg(test)]").next().unwrap().to_owned()
    };
    files.iter().map(read).collect()
}

/// The pairs `(NUMBER, "words")` of `source`.
fn pairs(source: &str) -> BTreeSet<(u32, String)> {
    let starts = source.match_indices('(');
    let pairs = starts.filter_map(|(at, _)| {
        let (number, rest) = source.get(at + 1..)?.split_once(", \"")?;
        Some((number.parse().ok()?, rest.split('"').next()?.to_owned()))
    });
    pairs.collect()
}

/// The numbers that stand behind `before` in `source`.
fn behind(source: &str, before: &str) -> BTreeSet<u32> {
    let rest = source.split(before).skip(1);
    let numbers = rest.filter_map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_digit())?;
        rest.get(..end)?.parse().ok()
    });
    numbers.collect()
}

#[test]
fn every_close_code_is_told_with_its_reason_and_no_other() {
    let mut source = pairs(&realtime(&["close.rs"]));
    assert!(source.len() > 20, "{source:?}");
    source.insert((3503, "force disconnect".into()));
    source.insert((1009, "message too big".into()));
    let told = rows(&section("Close codes"));
    for (code, reason) in &source {
        let row = told.iter().find(|row| row[0] == code.to_string());
        let row = row.unwrap_or_else(|| panic!("no row for {code}"));
        assert!(
            row[1].split(" · ").any(|told| told == reason),
            "{code} {reason}"
        );
    }
    let mut known: BTreeSet<u32> = source.into_iter().map(|(code, _)| code).collect();
    let violations = behind(&realtime(&["frame.rs"]), "code: ");
    assert!(violations.contains(&1007), "{violations:?}");
    known.extend(violations);
    assert_eq!(codes("Close codes"), known);
}

#[test]
fn every_error_code_is_told_with_its_message_and_no_other() {
    let source = pairs(&realtime(&["protocol/reply.rs"]));
    let told = rows(&section("Error codes"));
    let told = told
        .iter()
        .filter_map(|row| Some((row[0].parse().ok()?, row[1].clone())));
    assert_eq!(told.collect::<BTreeSet<_>>(), source);
}

#[test]
fn every_code_that_ends_a_subscription_is_told_and_no_other() {
    let files = fs::read_dir("src/realtime").unwrap();
    let files = files.map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|end| end == "rs"));
    let sources = files.map(|path| fs::read_to_string(path).unwrap());
    let source: String = sources.collect();
    // As the code of an `Ending`, or handed to what writes the push.
    let mut known = behind(&source, "code: ");
    for call in source.split("unsubscribe_push(").skip(1) {
        let arguments = call.split(')').next().unwrap().split(',');
        known.extend(arguments.filter_map(|argument| argument.trim().parse::<u32>().ok()));
    }
    known.retain(|code| (2_000..3_000).contains(code));
    assert_eq!(codes("Unsubscribe codes"), known);
}

#[test]
fn every_code_of_the_publish_api_is_told_with_its_status_and_no_other() {
    let source = fs::read_to_string("src/publish/error.rs").unwrap();
    let mut known = BTreeSet::new();
    for line in source.split("(StatusCode::").skip(1) {
        let (name, rest) = line.split_once(", ").unwrap();
        let code: u32 = rest.split(')').next().unwrap().parse().unwrap();
        let status = match name {
            "BAD_REQUEST" => "400",
            "UNAUTHORIZED" => "401",
            "FORBIDDEN" => "403",
            "NOT_FOUND" => "404",
            "METHOD_NOT_ALLOWED" => "405",
            "REQUEST_TIMEOUT" => "408",
            "CONFLICT" => "409",
            "LENGTH_REQUIRED" => "411",
            "PAYLOAD_TOO_LARGE" => "413",
            "EXPECTATION_FAILED" => "417",
            "REQUEST_HEADER_FIELDS_TOO_LARGE" => "431",
            "INTERNAL_SERVER_ERROR" => "500",
            "SERVICE_UNAVAILABLE" => "503",
            other => panic!("{other}: which status is that?"),
        };
        known.insert((code, status.to_owned()));
    }
    let mut told = BTreeSet::new();
    for row in rows(&section("Publish codes")) {
        if let Ok(code) = row[0].parse::<u32>() {
            told.extend(row[1].split(", ").map(|status| (code, status.to_owned())));
        }
    }
    assert_eq!(told, known);
}

#[test]
fn every_namespace_option_and_every_claim_is_told_and_no_other() {
    let text = fs::read_to_string("config/sidewire.toml").unwrap();
    let keys = config::keys(&text).into_iter();
    let options = keys.filter_map(|key| Some(key.strip_prefix("site[].namespace[].")?.to_owned()));
    let options: BTreeSet<String> = options.collect();
    let first_cells = |title: &str| -> BTreeSet<String> {
        let rows = rows(&section(title)).into_iter();
        let names = rows.map(|row| row[0].replace('`', ""));
        names
            .flat_map(|names| names.split(", ").map(str::to_owned).collect::<Vec<_>>())
            .collect()
    };
    let told = first_cells("Channels and namespaces");
    let missing: Vec<_> = options.difference(&told).collect();
    assert!(missing.is_empty() && options.len() > 10, "{missing:?}");
    let channels = [
        "channel",
        "option",
        "site",
        "post:26",
        "edit:26",
        "staff:comments",
        "user:7",
    ];
    let known = options.into_iter().chain(channels.map(str::to_owned));
    assert_eq!(told, known.collect());

    let source = fs::read_to_string("src/auth/claims.rs").unwrap();
    let claims = source.split("struct Claims {").nth(1).unwrap();
    let claims = claims.split('}').next().unwrap().lines();
    let claims = claims.filter_map(|line| line.trim().strip_prefix("pub(super) "));
    let claims: BTreeSet<String> = claims
        .map(|c| c.split(':').next().unwrap().into())
        .collect();
    let told = first_cells("Tokens");
    assert!(claims.len() > 10);
    let missing: Vec<_> = claims.difference(&told).collect();
    assert!(missing.is_empty(), "{missing:?}");
    let others = ["claim", "key", "[[site.token_key]]", "tokens.jwks_file"];
    let known = claims.into_iter().chain(others.map(str::to_owned));
    assert_eq!(told, known.collect());
}

#[test]
fn every_method_of_the_publish_api_has_a_place_of_its_own_and_no_other() {
    let methods = section("Methods");
    let told = methods
        .lines()
        .filter_map(|line| line.strip_prefix("#### `"));
    let told: Vec<_> = told
        .map(|rest| rest.trim_end_matches('`').to_owned())
        .collect();
    assert_eq!(told, METHODS);
}

#[test]
fn every_example_is_json_and_the_signed_one_is_a_shared_vector() {
    let examples = examples(&document());
    assert!(examples.len() > 25, "{}", examples.len());
    let vectors = fs::read_to_string("tests/vectors/signatures.json").unwrap();
    let vectors: Value = serde_json::from_str(&vectors).unwrap();
    let case = &vectors["cases"][0];
    let signing = section("Signing");
    let cells: BTreeSet<String> = rows(&signing)
        .into_iter()
        .map(|row| row[1].clone())
        .collect();
    for field in ["secret", "id", "body", "signature"] {
        let value = format!("`{}`", case[field].as_str().unwrap());
        assert!(cells.contains(&value), "{field}: {value}");
    }
    assert!(cells.contains(&format!("`{}`", case["timestamp"])));
    let request = Request {
        path: "/api/publish".into(),
        id: case["id"].as_str().unwrap().into(),
        timestamp: case["timestamp"].as_u64().unwrap(),
        body: case["body"].as_str().unwrap().into(),
    };
    let publisher = Publisher::new("unused".into(), case["secret"].as_str().unwrap());
    let signature = publisher.sign(request).field("webhook-signature");
    assert!(cells.contains(&format!("`{signature}`")));
    // The snippets decode the secret as the text says.
    let key = STANDARD.decode(&case["secret"].as_str().unwrap()["whsec_".len()..]);
    assert!(key.is_ok());
}
