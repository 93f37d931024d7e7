//! Whether a client has the file already, or has another one than it thinks (RFC 9110 13). Pure:
//! the clock is an argument.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// The year 10000: no HTTP date can be written from here on.
const DATES_END: Duration = Duration::from_secs(253_402_300_800);

/// What tells two states of one file apart.
#[derive(Debug)]
pub(super) struct Validators {
    /// A strong entity tag, quotes included.
    pub(super) etag: String,
    /// To the second, as HTTP dates are; none for a time that no HTTP date can show.
    pub(super) modified: Option<SystemTime>,
    /// The date names one state of the file: a later change would have got another date.
    date_is_strong: bool,
}

/// What preconditions say about a GET or HEAD.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Verdict {
    Proceed,
    NotModified,
    Failed,
}

impl Validators {
    pub(super) fn new(modified: SystemTime, length: u64, now: SystemTime) -> Self {
        let age = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
        // The dash keeps a time and a size from reading like another time and size.
        let etag = format!(
            "\"{}-{}\"",
            base36(age.as_nanos()),
            base36(u128::from(length))
        );
        let seconds = Duration::from_secs(age.as_secs());
        let known = modified >= UNIX_EPOCH && seconds < DATES_END;
        let date = UNIX_EPOCH + seconds;
        Self {
            etag,
            // RFC 9110 8.8.2.1: never later than now.
            modified: known.then(|| date.min(now)),
            date_is_strong: now >= date + Duration::from_secs(2),
        }
    }

    /// In the order of RFC 9110 13.2.2, as far as `Range`.
    pub(super) fn verdict(&self, headers: &HeaderMap) -> Verdict {
        let unmodified = if headers.contains_key(header::IF_MATCH) {
            self.is_listed(headers, header::IF_MATCH, Comparison::Strong)
        } else {
            let since = date(headers, header::IF_UNMODIFIED_SINCE);
            !self.is_newer(since)
        };
        if !unmodified {
            return Verdict::Failed;
        }
        let held = if headers.contains_key(header::IF_NONE_MATCH) {
            self.is_listed(headers, header::IF_NONE_MATCH, Comparison::Weak)
        } else {
            let since = date(headers, header::IF_MODIFIED_SINCE);
            since.is_some() && self.modified.is_some() && !self.is_newer(since)
        };
        match held {
            true => Verdict::NotModified,
            false => Verdict::Proceed,
        }
    }

    /// Whether a part may be sent: without `If-Range`, or when the client's other parts are of this
    /// very state.
    pub(super) fn same_for_range(&self, headers: &HeaderMap) -> bool {
        let Some(value) = headers.get(header::IF_RANGE) else {
            return true;
        };
        match date(headers, header::IF_RANGE) {
            Some(date) => self.date_is_strong && self.modified == Some(date),
            None => value.as_bytes() == self.etag.as_bytes(),
        }
    }

    fn is_newer(&self, since: Option<SystemTime>) -> bool {
        matches!((self.modified, since), (Some(modified), Some(since)) if modified > since)
    }

    fn is_listed(&self, headers: &HeaderMap, name: HeaderName, comparison: Comparison) -> bool {
        let mut values = headers.get_all(name).iter().map(HeaderValue::as_bytes);
        values.any(|value| lists(value, self.etag.as_bytes(), comparison))
    }
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Comparison {
    Strong,
    Weak,
}

/// Whether a list of entity tags is `*` or has `etag`. A tag may hold commas, so the list is read
/// tag by tag, up to the first thing that is none.
fn lists(mut list: &[u8], etag: &[u8], comparison: Comparison) -> bool {
    if list.trim_ascii() == b"*" {
        return true;
    }
    loop {
        while let [b' ' | b'\t' | b',', rest @ ..] = list {
            list = rest;
        }
        let (weak, tag) = match list.strip_prefix(b"W/") {
            Some(tag) => (true, tag),
            None => (false, list),
        };
        let Some(opaque) = tag.strip_prefix(b"\"") else {
            return false;
        };
        let Some(length) = opaque.iter().position(|&byte| byte == b'"') else {
            return false;
        };
        let (tag, rest) = tag.split_at_checked(length + 2).unwrap_or((tag, b""));
        if tag == etag && !(weak && comparison == Comparison::Strong) {
            return true;
        }
        list = rest;
    }
}

/// None for a date that is none: the header is then to be ignored.
fn date(headers: &HeaderMap, name: HeaderName) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(name)?.to_str().ok()?).ok()
}

fn base36(mut number: u128) -> String {
    let mut digits = Vec::new();
    loop {
        let digit = (number % 36) as u8;
        digits.push(match digit {
            0..10 => b'0' + digit,
            _ => b'a' + digit - 10,
        });
        number /= 36;
        if number == 0 {
            break;
        }
    }
    digits.iter().rev().copied().map(char::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODIFIED: &str = "Sun, 09 Sep 2001 01:46:40 GMT";
    const EARLIER: &str = "Sun, 09 Sep 2001 01:46:39 GMT";
    const LATER: &str = "Sun, 09 Sep 2001 01:46:41 GMT";

    fn validators() -> Validators {
        let modified = UNIX_EPOCH + Duration::new(1_000_000_000, 5);
        Validators::new(modified, 36, modified + Duration::from_secs(60))
    }

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let lines = lines.iter().map(|(name, value)| {
            let value = value.replace("ETAG", &validators().etag);
            (HeaderName::from_static(name), value.parse().unwrap())
        });
        let mut headers = HeaderMap::new();
        lines.for_each(|(name, value)| {
            headers.append(name, value);
        });
        headers
    }

    #[test]
    fn a_tag_holds_the_time_in_nanoseconds_and_the_size() {
        let tag = validators().etag;
        let (time, size) = tag.trim_matches('"').split_once('-').unwrap();
        assert_eq!(u64::from_str_radix(time, 36), Ok(1_000_000_000_000_000_005));
        assert_eq!(size, "10");
    }

    #[test]
    fn preconditions_are_weighed_in_the_standard_s_order() {
        use Verdict::{Failed, NotModified, Proceed};
        let cases: &[(&[(&str, &str)], Verdict)] = &[
            (&[], Proceed),
            (&[("if-none-match", "ETAG")], NotModified),
            (&[("if-none-match", "W/ETAG")], NotModified),
            (&[("if-none-match", "\"a,b\", W/\"c\",ETAG")], NotModified),
            (
                &[("if-none-match", "\"a\""), ("if-none-match", "ETAG")],
                NotModified,
            ),
            (&[("if-none-match", "*")], NotModified),
            (&[("if-none-match", "\"other\"")], Proceed),
            (&[("if-none-match", "\"open, ETAG")], Proceed),
            (&[("if-none-match", "garbage, ETAG")], Proceed),
            (&[("if-modified-since", MODIFIED)], NotModified),
            (&[("if-modified-since", LATER)], NotModified),
            (&[("if-modified-since", EARLIER)], Proceed),
            (&[("if-modified-since", "yesterday")], Proceed),
            (
                &[("if-none-match", "\"other\""), ("if-modified-since", LATER)],
                Proceed,
            ),
            (&[("if-match", "ETAG")], Proceed),
            (&[("if-match", "*")], Proceed),
            (&[("if-match", "W/ETAG")], Failed),
            (&[("if-match", "\"other\"")], Failed),
            (
                &[("if-match", "\"other\""), ("if-none-match", "ETAG")],
                Failed,
            ),
            (
                &[("if-match", "ETAG"), ("if-none-match", "ETAG")],
                NotModified,
            ),
            (&[("if-unmodified-since", MODIFIED)], Proceed),
            (&[("if-unmodified-since", EARLIER)], Failed),
            (&[("if-unmodified-since", "never")], Proceed),
            (
                &[("if-match", "ETAG"), ("if-unmodified-since", EARLIER)],
                Proceed,
            ),
        ];
        for (lines, verdict) in cases {
            assert_eq!(validators().verdict(&headers(lines)), *verdict, "{lines:?}");
        }
    }

    #[test]
    fn a_part_needs_the_very_state_that_the_client_has() {
        for (value, same) in [
            ("ETAG", true),
            ("W/ETAG", false),
            ("\"other\"", false),
            (MODIFIED, true),
            (LATER, false),
            (EARLIER, false),
        ] {
            let headers = headers(&[("if-range", value)]);
            assert_eq!(validators().same_for_range(&headers), same, "{value}");
        }
        assert!(validators().same_for_range(&HeaderMap::new()));
        let modified = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let young = Validators::new(modified, 36, modified + Duration::from_secs(1));
        assert!(!young.same_for_range(&headers(&[("if-range", MODIFIED)])));
    }

    #[test]
    fn times_that_http_cannot_show_are_not_shown() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        for (modified, shown) in [
            (UNIX_EPOCH - Duration::from_secs(1), None),
            (UNIX_EPOCH + DATES_END, None),
            (now + Duration::from_secs(3_600), Some(now)),
            (UNIX_EPOCH, Some(UNIX_EPOCH)),
        ] {
            assert_eq!(Validators::new(modified, 1, now).modified, shown);
        }
    }
}
