//! What no site serves, whoever its back end is: secrets, backups, code that is only included,
//! and scripts among uploads.
//!
//! Names alone are judged, in any case of letters; whether the file exists makes no difference.

/// Directories below `wp-content` that WordPress and its plugins write to.
const WRITABLE: [&[u8]; 5] = [
    b"files",
    b"cache",
    b"upgrade",
    b"upgrade-temp-backup",
    b"languages",
];

/// Extensions of what editors, dumps and deployments leave behind.
const LEFT_BEHIND: [&[u8]; 13] = [
    b"bak", b"env", b"ini", b"log", b"old", b"orig", b"phps", b"save", b"sh", b"sql", b"swo",
    b"swp", b"tmp",
];

/// Whether `path`, in normal form, is never served.
pub(super) fn is_denied(path: &[u8]) -> bool {
    let lower = path.to_ascii_lowercase();
    let segments: Vec<&[u8]> = lower
        .split(|byte| *byte == b'/')
        .filter(|segment| !segment.is_empty())
        .collect();
    is_hidden(&segments)
        || segments.iter().any(|segment| is_configuration(segment))
        || segments.last().is_some_and(|name| is_left_behind(name))
        || is_included_code(&segments)
        || is_script_among_uploads(&segments)
}

/// A segment that begins with a dot, but for `/.well-known` at the root.
fn is_hidden(segments: &[&[u8]]) -> bool {
    let rest = match segments {
        [b".well-known", rest @ ..] => rest,
        all => all,
    };
    rest.iter().any(|segment| segment.starts_with(b"."))
}

/// `wp-config.php` and its copies; `wp-config-explained` may be the name of a page.
fn is_configuration(segment: &[u8]) -> bool {
    segment.starts_with(b"wp-config") && segment.iter().any(|byte| b".~".contains(byte))
}

fn is_left_behind(name: &[u8]) -> bool {
    let name = without_trailing_dots(name);
    let mut parts = name.rsplit(|byte| *byte == b'.');
    let last = parts.next().unwrap_or_default();
    let before = parts.next();
    name.ends_with(b"~")
        || matches!(name, b"composer.json" | b"composer.lock")
        || (before.is_some() && LEFT_BEHIND.contains(&last))
        || (before == Some(b"sql") && matches!(last, b"gz" | b"bz2" | b"xz" | b"zip" | b"zst"))
}

/// Code that is only ever included by other code.
fn is_included_code(segments: &[&[u8]]) -> bool {
    let admin = segments
        .windows(2)
        .any(|pair| matches!(pair, [b"wp-admin", b"includes"]));
    admin
        || after(segments, b"wp-includes").any(|below| match below {
            [b"ms-files.php"] | [b"js", b"tinymce", b"wp-tinymce.php"] => false,
            below => below.iter().any(|segment| is_script(segment)),
        })
}

fn is_script_among_uploads(segments: &[&[u8]]) -> bool {
    let has_script = |below: &[&[u8]]| below.iter().any(|segment| is_script(segment));
    after(segments, b"uploads").any(has_script)
        || after(segments, b"blogs.dir").any(has_script)
        || matches!(segments, [b"files", below @ ..] if has_script(below))
        || after(segments, b"wp-content").any(|below| match below {
            [first, below @ ..] => WRITABLE.contains(first) && has_script(below),
            [] => false,
        })
}

/// What stands below each segment called `name`.
fn after<'a, 'b>(
    segments: &'a [&'b [u8]],
    name: &'static [u8],
) -> impl Iterator<Item = &'a [&'b [u8]]> {
    segments
        .iter()
        .enumerate()
        .filter(move |(_, segment)| **segment == name)
        .filter_map(|(n, _)| segments.get(n + 1..))
}

/// Whether a server might run `segment`: any of its extensions counts, since Apache looks at all
/// of them (`x.php.jpg`).
fn is_script(segment: &[u8]) -> bool {
    segment
        .split(|byte| *byte == b'.')
        .skip(1)
        .any(|extension| match extension {
            b"php" | b"phtml" | b"phar" | b"pht" | b"phps" => true,
            [b'p', b'h', b'p', digit] => digit.is_ascii_digit(),
            _ => false,
        })
}

fn without_trailing_dots(mut name: &[u8]) -> &[u8] {
    while let [rest @ .., b'.'] = name {
        name = rest;
    }
    name
}
