//! A document in Markdown, taken apart: its sections, their tables and their examples.
#![expect(clippy::unwrap_used, reason = "a test may stop at the first surprise")]

use serde_json::Value;

/// What stands below the heading `title`, up to the next one of its level or above.
pub(crate) fn section(document: &str, title: &str) -> String {
    let mut lines = document.lines();
    let heading = lines
        .by_ref()
        .find(|line| line.starts_with('#') && line.trim_start_matches('#').trim() == title);
    let heading = heading.unwrap_or_default();
    let level = heading.len() - heading.trim_start_matches('#').len();
    assert!(level > 0, "no heading {title:?}");
    let mut code = false;
    let below = lines.take_while(|line| {
        code ^= line.starts_with("```");
        let marks = line.len() - line.trim_start_matches('#').len();
        code || marks == 0 || marks > level
    });
    below.fold(String::new(), |text, line| text + line + "\n")
}

/// The cells of each row of the tables in `text`.
pub(crate) fn rows(text: &str) -> Vec<Vec<String>> {
    let rows = text.lines().filter(|line| line.starts_with("| "));
    let cells = |row: &str| {
        let cells = row.trim_matches('|').split(" | ");
        cells.map(|cell| cell.trim().to_owned()).collect()
    };
    rows.map(cells).collect()
}

/// The JSON values of each example, in order.
pub(crate) fn examples(text: &str) -> Vec<Vec<Value>> {
    let blocks = text.split("```json\n").skip(1);
    let values = blocks.map(|block| {
        let block = block.split("```").next().unwrap();
        let values = serde_json::Deserializer::from_str(block).into_iter();
        values.map(|value| value.unwrap()).collect()
    });
    values.collect()
}
