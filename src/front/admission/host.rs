//! Which host a request is for: one answer, or none.
//!
//! Whether a site has that host is the router's to know.

use http::{Version, header, request::Parts};

use super::{bad, without_query};
use crate::exchange::{Failure, Scheme};

/// A host as asked for, checked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Host {
    /// Lower case, without a dot at the end.
    pub(super) name: String,
    pub(super) port: Option<u16>,
}

/// The host of a request from its `Host` field, its target or its `:authority`, which must agree.
pub(super) fn of(head: &Parts, scheme: Scheme) -> Result<Host, Failure> {
    let mut fields = head.headers.get_all(header::HOST).iter();
    let field = match (fields.next(), fields.next()) {
        (_, Some(_)) => return Err(bad("host_repeated", "")),
        (Some(value), None) => Some(read(value.as_bytes())?),
        (None, None) => None,
    };
    if !matches!(head.uri.scheme_str(), None | Some("http" | "https")) {
        return Err(bad("target_scheme", without_query(&head.uri)));
    }
    let absolute = head.uri.scheme().is_some();
    let target = match head.uri.authority() {
        // CONNECT's form, which no other method has.
        Some(_) if head.version < Version::HTTP_2 && !absolute => {
            return Err(bad("target_form", without_query(&head.uri)));
        }
        Some(authority) => Some(read(authority.as_str().as_bytes())?),
        None => None,
    };
    match (field, target) {
        (Some(field), Some(target)) if !field.is(&target, scheme) => {
            Err(bad("host_mismatch", without_query(&head.uri)))
        }
        (Some(field), _) => Ok(field),
        // Only HTTP/2 may leave Host to its `:authority`.
        (None, Some(target)) if head.version >= Version::HTTP_2 => Ok(target),
        (None, _) => Err(bad("host_missing", "")),
    }
}

fn read(bytes: &[u8]) -> Result<Host, Failure> {
    std::str::from_utf8(bytes)
        .ok()
        .and_then(parse)
        .ok_or_else(|| bad("host_syntax", bytes.escape_ascii()))
}

/// Reads `name`, `name:port`, `[v6]` or `[v6]:port`.
fn parse(text: &str) -> Option<Host> {
    let (name, port) = if text.starts_with('[') {
        let (address, rest) = text.split_at(text.find(']')? + 1);
        let inside = address.strip_prefix('[')?.strip_suffix(']')?;
        inside.parse::<std::net::Ipv6Addr>().ok()?;
        (address, rest)
    } else {
        let (name, rest) = text.split_at(text.find(':').unwrap_or(text.len()));
        let plain = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
        let name = name.strip_suffix('.').unwrap_or(name);
        let usual = !name.is_empty() && !name.starts_with('.') && !name.ends_with('.');
        (usual && name.len() <= 253 && name.chars().all(plain) && !name.contains(".."))
            .then_some((name, rest))?
    };
    Some(Host {
        name: name.to_ascii_lowercase(),
        port: match port.strip_prefix(':') {
            Some(digits) => Some(parse_port(digits)?),
            None if port.is_empty() => None,
            None => return None,
        },
    })
}

fn parse_port(digits: &str) -> Option<u16> {
    // `u16::from_str` would take a plus sign.
    let decimal = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let port = digits.parse().ok().filter(|_| decimal)?;
    (port > 0).then_some(port)
}

impl Host {
    fn is(&self, other: &Self, scheme: Scheme) -> bool {
        let port = |host: &Self| host.port.unwrap_or(scheme.default_port());
        self.name == other.name && port(self) == port(other)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_with_or_without_a_port() {
        for (text, name, port) in [
            ("example.org", "example.org", None),
            ("EXAMPLE.org.", "example.org", None),
            ("example.org.:443", "example.org", Some(443)),
            ("localhost:8443", "localhost", Some(8443)),
            ("a_b.example", "a_b.example", None),
            ("127.0.0.1:1", "127.0.0.1", Some(1)),
            ("[::1]:65535", "[::1]", Some(65535)),
            ("[2001:DB8::1]", "[2001:db8::1]", None),
        ] {
            let name = name.to_owned();
            assert_eq!(parse(text), Some(Host { name, port }), "{text}");
        }
    }

    #[test]
    fn anything_else_is_no_host() {
        for text in [
            "",
            ".",
            "..",
            ".a",
            "a..b",
            "a..",
            ":80",
            "a:",
            "a:0",
            "a:65536",
            "a:+80",
            "a:80:80",
            "a b",
            "a/b",
            "a@b",
            "user@a",
            "a%41",
            "a,b",
            "a!b",
            "\u{e9}",
            "[::1",
            "[]",
            "[::g]",
            "[::1]x",
            "[::1]:",
            "::1",
            "[1.2.3.4]",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
