//! A request path → one normal form.
//!
//! Bytes only: no file system, no judgement of what may be served.

use http::StatusCode;

use super::Refused;

/// What becomes of `%2F`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum EncodedSlash {
    /// It stays three characters inside its segment, so it never reaches another directory.
    Keep,
    /// It separates segments.
    Decode,
}

/// Decodes `path` once, merges slashes and resolves dot segments lexically. A slash at the end
/// stays.
///
/// # Errors
///
/// 400 where a percent sign begins no byte, a control that no file name of a site has is hidden in
/// it, or dot segments climb above the root.
pub(super) fn normalise(path: &[u8], slash: EncodedSlash) -> Result<Vec<u8>, Refused> {
    let decoded = decode(path, slash)?;
    let mut segments: Vec<&[u8]> = Vec::new();
    let mut open = true;
    for segment in decoded.split(|byte| *byte == b'/') {
        open = true;
        match segment {
            b"" | b"." => {}
            b".." => {
                segments.pop().ok_or(refused("path_above_root"))?;
            }
            name => {
                segments.push(name);
                open = false;
            }
        }
    }
    let mut normal = Vec::with_capacity(decoded.len() + 1);
    for segment in &segments {
        normal.push(b'/');
        normal.extend_from_slice(segment);
    }
    if open {
        normal.push(b'/');
    }
    Ok(normal)
}

fn decode(path: &[u8], slash: EncodedSlash) -> Result<Vec<u8>, Refused> {
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&byte, after)) = rest.split_first() {
        let (value, after) = match (byte, after) {
            (b'%', [high, low, after @ ..]) => match (hex(*high), hex(*low)) {
                (Some(high), Some(low)) => (high << 4 | low, after),
                _ => return Err(refused("path_encoding")),
            },
            (b'%', _) => return Err(refused("path_encoding")),
            _ => (byte, after),
        };
        match value {
            0 | b'\r' | b'\n' => return Err(refused("path_control")),
            b'/' if byte == b'%' && slash == EncodedSlash::Keep => decoded.extend(b"%2F"),
            value => decoded.push(value),
        }
        rest = after;
    }
    Ok(decoded)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit)
        .to_digit(16)
        .and_then(|n| u8::try_from(n).ok())
}

const fn refused(reason: &'static str) -> Refused {
    Refused {
        status: StatusCode::BAD_REQUEST,
        reason,
    }
}
