//! The `Range` header → the bytes of a file that are asked for (RFC 9110 14.2). Pure.

use http::HeaderValue;

/// What of a file to send.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Range {
    /// All of it: nothing else was asked for, or nothing that is understood.
    Whole,
    /// From the first to the last byte, both included and both inside the file.
    Part { first: u64, last: u64 },
    /// Nothing that was asked for is inside the file.
    Unsatisfiable,
}

impl Range {
    /// The part of a file of `length` bytes. Several ranges at once get the whole file, as the
    /// standard allows.
    pub(super) fn of(value: &HeaderValue, length: u64) -> Self {
        parse(value.as_bytes(), length).unwrap_or(Self::Whole)
    }
}

/// None for what is to be ignored.
fn parse(value: &[u8], length: u64) -> Option<Range> {
    let (unit, set) = value.split_at_checked("bytes=".len())?;
    if !unit.eq_ignore_ascii_case(b"bytes=") {
        return None;
    }
    let set = set.trim_ascii();
    let dash = set.iter().position(|&byte| byte == b'-')?;
    let (first, last) = (set.get(..dash)?, set.get(dash + 1..)?);
    let end = length.checked_sub(1);
    let range = match (number(first)?, number(last)?, end) {
        (None, None, _) => return None,
        (Some(first), Some(last), _) if last < first => return None,
        (Some(first), last, Some(end)) if first <= end => Range::Part {
            first,
            last: last.unwrap_or(end).min(end),
        },
        (None, Some(count), Some(end)) if count > 0 => Range::Part {
            first: length.saturating_sub(count),
            last: end,
        },
        _ => Range::Unsatisfiable,
    };
    Some(range)
}

/// No digits are no number, too many a number larger than any file; anything else is an error.
fn number(digits: &[u8]) -> Option<Option<u64>> {
    if !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let text = std::str::from_utf8(digits).ok()?;
    Some(match text.parse() {
        Ok(number) => Some(number),
        Err(_) => (!text.is_empty()).then_some(u64::MAX),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_standard_says() {
        let part = |first, last| Range::Part { first, last };
        for (value, length, range) in [
            ("bytes=0-4", 10, part(0, 4)),
            ("bytes=0-0", 10, part(0, 0)),
            ("bytes=5-", 10, part(5, 9)),
            ("bytes=5-100", 10, part(5, 9)),
            ("bytes=-3", 10, part(7, 9)),
            ("bytes=-30", 10, part(0, 9)),
            ("BYTES=1-2", 10, part(1, 2)),
            ("bytes=1-99999999999999999999999", 10, part(1, 9)),
            ("bytes=-99999999999999999999999", 10, part(0, 9)),
            ("bytes=10-", 10, Range::Unsatisfiable),
            ("bytes=99999999999999999999999-", 10, Range::Unsatisfiable),
            ("bytes=-0", 10, Range::Unsatisfiable),
            ("bytes=0-", 0, Range::Unsatisfiable),
            ("bytes=-1", 0, Range::Unsatisfiable),
            ("bytes=4-2", 10, Range::Whole),
            ("bytes=-", 10, Range::Whole),
            ("bytes=", 10, Range::Whole),
            ("bytes", 10, Range::Whole),
            ("bytes=0-1,3-4", 10, Range::Whole),
            ("bytes=+1-2", 10, Range::Whole),
            ("bytes=1-2x", 10, Range::Whole),
            ("bytes=1--2", 10, Range::Whole),
            ("items=0-4", 10, Range::Whole),
        ] {
            let header = HeaderValue::from_static(value);
            assert_eq!(Range::of(&header, length), range, "{value} of {length}");
        }
    }
}
