//! How a publication looks: a line, JSON, or unfolded where a person looks on.

use std::{
    io::{self, IsTerminal},
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use super::{super::say, message::Publication};

/// Where publications go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Printer {
    json: bool,
    terminal: bool,
}

impl Printer {
    pub(super) fn new(json: bool) -> Self {
        let terminal = io::stdout().is_terminal();
        Self { json, terminal }
    }

    /// Prints it; `false` once nobody reads.
    pub(super) fn print(self, channel: &str, publication: &Publication<'_>) -> bool {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = since.map_or(0, |since| since.as_millis());
        say(&self.shown(channel, publication, now))
    }

    /// `now` is in milliseconds since 1970.
    fn shown(self, channel: &str, publication: &Publication<'_>, now: u128) -> String {
        let (offset, data) = (publication.offset, publication.data.get());
        if self.json {
            // The data as it was sent: numbers would lose digits otherwise.
            let tags = publication.tags.map(|tags| format!(",\"tags\":{tags}"));
            let (channel, tags) = (json!(channel), tags.unwrap_or_default());
            return format!(
                "{{\"time\":{now},\"channel\":{channel},\"offset\":{offset}{tags},\"data\":{data}}}"
            );
        }
        let seconds = now / 1_000 % 86_400;
        let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
        let head = format!(
            "{hours:02}:{minutes:02}:{:02}Z  {channel}  {offset}",
            seconds % 60
        );
        let unfolded = match serde_json::from_str::<Value>(data) {
            Ok(value) if self.terminal && (value.is_object() || value.is_array()) => {
                serde_json::to_string_pretty(&value).ok()
            }
            _ => None,
        };
        match unfolded {
            Some(text) => format!("{head}\n  {}", text.replace('\n', "\n  ")),
            None => format!("{head}  {data}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(json: bool, terminal: bool) -> String {
        let text = r#"{"data":{"price":9.90},"offset":7,"tags":{"key":"26:price"}}"#;
        let publication: Publication<'_> = serde_json::from_str(text).unwrap();
        let now = (86_400 + 3_600 * 4 + 62) * 1_000;
        Printer { json, terminal }.shown("post:26", &publication, now)
    }

    #[test]
    fn a_publication_is_a_line_or_unfolded_for_a_person() {
        assert_eq!(
            shown(false, false),
            "04:01:02Z  post:26  7  {\"price\":9.90}"
        );
        let person = "04:01:02Z  post:26  7\n  {\n    \"price\": 9.9\n  }";
        assert_eq!(shown(false, true), person);
    }

    #[test]
    fn as_json_the_data_stays_as_it_was_sent() {
        assert_eq!(
            shown(true, true),
            "{\"time\":100862000,\"channel\":\"post:26\",\"offset\":7,\
             \"tags\":{\"key\":\"26:price\"},\"data\":{\"price\":9.90}}"
        );
    }
}
