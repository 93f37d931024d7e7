//! How one TOML value becomes a typed one: durations and sizes carry their unit, addresses their
//! kind.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use toml::Value;

/// A type that one TOML value can be read as.
pub(super) trait FromValue: Sized {
    /// Reads `value`.
    ///
    /// # Errors
    ///
    /// What was expected in its place, as the end of a sentence that begins with "expected".
    fn from_value(value: &Value) -> Result<Self, String>;
}

/// A number of bytes; `"64KiB"` in TOML.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Bytes(pub u64);

impl Bytes {
    /// The number as a length in memory, as large as the machine allows.
    #[must_use]
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

/// Where a back end listens; `"tcp:127.0.0.1:9000"` or `"unix:/run/php/php8.2-fpm.sock"` in TOML.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Address {
    /// Host and port; the host may be a name.
    Tcp(String),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "tcp:{address}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl FromValue for String {
    fn from_value(value: &Value) -> Result<Self, String> {
        value
            .as_str()
            .map(Self::from)
            .ok_or_else(|| "a string in quotes".into())
    }
}

impl FromValue for bool {
    fn from_value(value: &Value) -> Result<Self, String> {
        value.as_bool().ok_or_else(|| "true or false".into())
    }
}

impl FromValue for u64 {
    fn from_value(value: &Value) -> Result<Self, String> {
        value
            .as_integer()
            .and_then(|n| Self::try_from(n).ok())
            .ok_or_else(|| "a whole number, 0 or more".into())
    }
}

impl FromValue for u32 {
    fn from_value(value: &Value) -> Result<Self, String> {
        value
            .as_integer()
            .and_then(|n| Self::try_from(n).ok())
            .ok_or_else(|| "a whole number, 0 to 4294967295".into())
    }
}

impl FromValue for PathBuf {
    fn from_value(value: &Value) -> Result<Self, String> {
        match value.as_str() {
            Some(path) if !path.is_empty() => Ok(path.into()),
            _ => Err("a path in quotes".into()),
        }
    }
}

impl FromValue for SocketAddr {
    fn from_value(value: &Value) -> Result<Self, String> {
        value
            .as_str()
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| "an IP address with a port, such as \"[::]:443\"".into())
    }
}

impl FromValue for Duration {
    fn from_value(value: &Value) -> Result<Self, String> {
        value.as_str().and_then(duration).ok_or_else(|| {
            "a time with its unit, such as \"500ms\", \"30s\", \"5m\", \"12h\"".into()
        })
    }
}

impl FromValue for Bytes {
    fn from_value(value: &Value) -> Result<Self, String> {
        value
            .as_str()
            .and_then(bytes)
            .ok_or_else(|| "a size with its unit, such as \"512B\", \"64KiB\", \"1MiB\"".into())
    }
}

impl FromValue for Address {
    fn from_value(value: &Value) -> Result<Self, String> {
        value.as_str().and_then(address).ok_or_else(|| {
            "\"unix:/path/to.sock\", \"tcp:host:port\" or \"http://host:port\"".into()
        })
    }
}

impl<T: FromValue> FromValue for Vec<T> {
    fn from_value(value: &Value) -> Result<Self, String> {
        let list = value.as_array().ok_or("a list in square brackets")?;
        list.iter()
            .map(|item| T::from_value(item).map_err(|e| format!("a list, each item {e}")))
            .collect()
    }
}

/// Reads a time with its unit: `"500ms"`, `"30s"`, `"5m"`, `"12h"`, `"1d"`.
#[must_use]
pub fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = split_unit(text)?;
    match unit {
        "ms" => Some(Duration::from_millis(number)),
        "s" => Some(Duration::from_secs(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3_600).map(Duration::from_secs),
        "d" => number.checked_mul(86_400).map(Duration::from_secs),
        _ => None,
    }
}

fn bytes(text: &str) -> Option<Bytes> {
    let (number, unit) = split_unit(text)?;
    let scale = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(scale).map(Bytes)
}

fn split_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at_checked(end)?;
    Some((number.parse().ok()?, unit))
}

/// Reads `unix:PATH`, `tcp:HOST:PORT`, and `http://HOST:PORT` for those who think in URLs.
fn address(text: &str) -> Option<Address> {
    if let Some(path) = text.strip_prefix("unix:") {
        return (!path.is_empty()).then(|| Address::Unix(path.into()));
    }
    let tcp = match text.strip_prefix("http://") {
        Some(rest) => rest.strip_suffix('/').unwrap_or(rest),
        None => text.strip_prefix("tcp:")?,
    };
    let (host, port) = tcp.rsplit_once(':')?;
    let port: u16 = port.parse().ok()?;
    let plain = !host.is_empty() && !host.contains(['/', '@', '?', '#', ' ']);
    (plain && port > 0).then(|| Address::Tcp(tcp.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: FromValue>(text: &str) -> Result<T, String> {
        T::from_value(&Value::String(text.into()))
    }

    #[test]
    fn a_duration_needs_its_unit() {
        assert_eq!(read("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(read("2m"), Ok(Duration::from_secs(120)));
        for wrong in ["30", "s", "-1s", "1.5s", "1 s", ""] {
            assert!(read::<Duration>(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_size_that_would_overflow_is_refused() {
        assert_eq!(read("64KiB"), Ok(Bytes(65_536)));
        assert!(read::<Bytes>("99999999999999GiB").is_err());
    }

    #[test]
    fn an_address_says_its_kind() {
        assert_eq!(read("unix:/a/b"), Ok(Address::Unix("/a/b".into())));
        let tcp = Address::Tcp("127.0.0.1:80".into());
        assert_eq!(read("tcp:127.0.0.1:80"), Ok(tcp.clone()));
        assert_eq!(read("http://127.0.0.1:80/"), Ok(tcp));
        for wrong in [
            "127.0.0.1:80",
            "tcp:host",
            "http://h:80/path",
            "unix:",
            "tcp:h:0",
        ] {
            assert!(read::<Address>(wrong).is_err(), "{wrong:?}");
        }
    }
}
