//! The headers of a request that its signature needs, found by name. The others are not kept.

use super::error::Error;

/// Each once, but for the last, which may be left out.
const NAMES: [&str; 4] = [
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
    "sidewire-site",
];

/// The signature's headers among those of a request, in whatever form values are held.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Headers<V>([Seen<V>; NAMES.len()]);

/// How often a header is there.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Seen<V> {
    Never,
    Once(V),
    Often,
}

impl<V> Default for Headers<V> {
    fn default() -> Self {
        Self([const { Seen::Never }; NAMES.len()])
    }
}

impl<V> Headers<V> {
    /// Keeps the header, if it is one that the signature needs.
    pub fn add(&mut self, name: &str, value: V) {
        let mut names = NAMES.iter();
        let Some(n) = names.position(|known| known.eq_ignore_ascii_case(name)) else {
            return;
        };
        if let Some(seen) = self.0.get_mut(n) {
            *seen = match seen {
                Seen::Never => Seen::Once(value),
                Seen::Once(_) | Seen::Often => Seen::Often,
            };
        }
    }

    /// The same headers, with their values in another form.
    pub(super) fn map<'a, W>(&'a self, mut to: impl FnMut(&'a V) -> W) -> Headers<W> {
        Headers(self.0.each_ref().map(|seen| match seen {
            Seen::Never => Seen::Never,
            Seen::Once(value) => Seen::Once(to(value)),
            Seen::Often => Seen::Often,
        }))
    }
}

impl<'a> Headers<&'a [u8]> {
    pub(super) fn id(&self) -> Result<&'a str, Error> {
        self.text(0)
    }

    pub(super) fn timestamp(&self) -> Result<&'a str, Error> {
        self.text(1)
    }

    pub(super) fn signature(&self) -> Result<&'a str, Error> {
        self.text(2)
    }

    /// The site whose keys alone are to be tried.
    pub(super) fn site(&self) -> Result<Option<&'a [u8]>, Error> {
        match &self.0[3] {
            Seen::Never => Ok(None),
            Seen::Once(value) => Ok(Some(value)),
            Seen::Often => Err(Error::MissingHeader(NAMES[3])),
        }
    }

    /// What must be there once, in printable ASCII.
    fn text(&self, n: usize) -> Result<&'a str, Error> {
        let name = NAMES.get(n).copied().unwrap_or_default();
        let printable = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~');
        match self.0.get(n) {
            Some(Seen::Once(value)) if !value.is_empty() && value.iter().all(printable) => {
                std::str::from_utf8(value).map_err(|_| Error::MissingHeader(name))
            }
            _ => Err(Error::MissingHeader(name)),
        }
    }
}
