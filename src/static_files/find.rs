//! The path of a URL → a file, a script with the rest of the path, or the site's front page.
//!
//! The order is that of the servers that WordPress is used to: a directory's index, a script, a
//! file, and else `/index.php`, which WordPress takes apart itself.

use std::{os::unix::ffi::OsStrExt, path::Path};

use http::StatusCode;

use super::{
    File, Found,
    root::{Entry, Place, Root},
};
use crate::exchange::{Failure, Script};

const FRONT_PAGE: &[u8] = b"/index.php";

/// Where visitors or plugins put files: nothing there is ever run.
const NEVER_RUN: [&str; 5] = ["uploads", "files", "blogs.dir", "cache", "upgrade"];

pub(super) fn find(root: &Root, path: &[u8]) -> Result<Found, Failure> {
    if is_hidden(path) {
        return Err(absent("hidden", path));
    }
    let found = match root.look(path)? {
        Entry::Directory if path.ends_with(b"/") => index(root, path)?,
        Entry::Directory => {
            let index = index(root, &[path, b"/"].concat())?;
            index.map(|_| Found::DirectoryWithoutSlash)
        }
        Entry::File(place) if is_script(path) => script(&place, path, b"").map(Found::Script),
        Entry::File(place) => file(&place, path)?.map(Found::File),
        Entry::Absent => split(root, path)?.map(Found::Script),
    };
    match found {
        Some(found) => Ok(found),
        None => front_page(root, path),
    }
}

/// `path` ends with a slash.
fn index(root: &Root, path: &[u8]) -> Result<Option<Found>, Failure> {
    let name = [path, b"index.php"].concat();
    if let Entry::File(place) = root.look(&name)?
        && let Some(script) = script(&place, &name, b"")
    {
        return Ok(Some(Found::Script(script)));
    }
    let name = [path, b"index.html"].concat();
    match root.look(&name)? {
        Entry::File(place) => Ok(file(&place, &name)?.map(Found::File)),
        _ => Ok(None),
    }
}

/// The longest part of the path that is a script, with the rest. PHP is never left to guess where
/// a script's name ends.
fn split(root: &Root, path: &[u8]) -> Result<Option<Script>, Failure> {
    let ends = path.windows(b".php/".len()).enumerate().rev();
    for (at, _) in ends.filter(|(_, window)| *window == b".php/") {
        let (name, rest) = path
            .split_at_checked(at + b".php".len())
            .unwrap_or((path, b""));
        if let Entry::File(place) = root.look(name)? {
            return Ok(script(&place, name, rest));
        }
    }
    Ok(None)
}

fn front_page(root: &Root, path: &[u8]) -> Result<Found, Failure> {
    if let Entry::File(place) = root.look(FRONT_PAGE)?
        && let Some(script) = script(&place, FRONT_PAGE, b"")
    {
        return Ok(Found::Script(script));
    }
    Err(absent("not_found", path))
}

/// None when this file may not be run, by its own name or by that of what a link leads to.
fn script(place: &Place, name: &[u8], rest: &[u8]) -> Option<Script> {
    let real = place.inside.as_os_str().as_bytes();
    if !is_script(real) || !may_run(name) || !may_run(real) {
        return None;
    }
    Some(Script {
        file: place.real.clone(),
        name: std::str::from_utf8(name).ok()?.to_owned(),
        path_info: String::from_utf8_lossy(rest).into_owned(),
    })
}

/// None when this file may not be shown: a script's text may hold passwords, whatever name a link
/// to it has.
fn file(place: &Place, name: &[u8]) -> Result<Option<File>, Failure> {
    let real = place.real.file_name().unwrap_or_default().as_bytes();
    if is_php(name) || is_php(real) || real.starts_with(b".") {
        return Ok(None);
    }
    File::new(place.open()?, &place.real, name).map(Some)
}

/// A name that PHP-FPM runs by default. Bytes, not letters: folding letters is how other names came
/// to be run elsewhere.
fn is_script(path: &[u8]) -> bool {
    path.ends_with(b".php")
}

/// A name that some PHP set-up would run.
fn is_php(path: &[u8]) -> bool {
    let extension = path.rsplit(|&byte| byte == b'.').next().unwrap_or_default();
    match extension.to_ascii_lowercase().as_slice() {
        b"phtml" | b"phar" | b"pht" | b"phps" | b"php" => true,
        [b'p', b'h', b'p', version] => version.is_ascii_digit(),
        _ => false,
    }
}

fn may_run(path: &[u8]) -> bool {
    let segments: Vec<&[u8]> = path.split(|&byte| byte == b'/').collect();
    let is = |segment: &[u8], name: &str| segment.eq_ignore_ascii_case(name.as_bytes());
    // An old network's uploads have a directory of their own.
    if matches!(segments.as_slice(), [b"", first, _, ..] if is(first, "files")) {
        return false;
    }
    !segments.windows(2).any(|pair| match pair {
        [parent, child] => is(parent, "wp-content") && NEVER_RUN.iter().any(|name| is(child, name)),
        _ => false,
    })
}

/// A path that no request may see: a segment begins with a dot, other than the one that other
/// standards use; or the path is not normal, which its sender has to make sure of.
fn is_hidden(path: &[u8]) -> bool {
    let Some(inside) = path.strip_prefix(b"/") else {
        return true;
    };
    let open = inside.strip_prefix(b".well-known/").unwrap_or(inside);
    path.contains(&0)
        || open
            .split(|&byte| byte == b'/')
            .any(|name| name.starts_with(b"."))
}

fn absent(reason: &'static str, path: &[u8]) -> Failure {
    let path = Path::new(std::ffi::OsStr::from_bytes(path)).display();
    Failure::client(StatusCode::NOT_FOUND, reason, path)
}
