//! The positions of a plain stream's channels as one opaque text: the `id` of an event, and what
//! `since` takes. Pure.
//!
//! `EPOCH.OFFSET.CHANNEL`, joined by commas; a comma or per cent sign of a channel's name is
//! percent-encoded.

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use crate::broker::{Epoch, Since};

const RESERVED: &AsciiSet = &CONTROLS.add(b',').add(b'%');

/// Longest text that is read: a position for each of a few hundred channels.
pub(super) const TEXT_MAX: usize = 16 << 10;

/// The position of one channel.
pub(super) fn one(channel: &str, epoch: Epoch, offset: u64) -> String {
    format!(
        "{epoch}.{offset}.{}",
        utf8_percent_encode(channel, RESERVED)
    )
}

/// The position of `channel` in `text`, or `None` where it is not there or not readable: the
/// subscriber is then told of a gap.
pub(super) fn find(text: &str, channel: &str) -> Option<Since> {
    text.split(',').find_map(|part| {
        let mut fields = part.splitn(3, '.');
        let (epoch, offset, name) = (fields.next()?, fields.next()?, fields.next()?);
        let name = percent_decode_str(name).decode_utf8().ok()?;
        (name == channel && !epoch.is_empty()).then_some(())?;
        Some(Since {
            offset: offset.parse().ok()?,
            epoch: Some(epoch.into()),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_found_again_whatever_the_channel_is_called() {
        let epoch = Epoch::from_bits(0xab);
        let names = ["post:26", "post:a,b", "post:100%", "a.b:c.d"];
        let parts: Vec<String> = (1..).zip(names).map(|(n, c)| one(c, epoch, n)).collect();
        let text = parts.join(",");
        for (offset, name) in (1..).zip(names) {
            let epoch = Some(epoch.to_string().into());
            assert_eq!(find(&text, name), Some(Since { offset, epoch }), "{name}");
        }
        assert_eq!(find(&text, "post:27"), None);
    }

    #[test]
    fn what_is_no_position_is_not_found() {
        for text in ["", "x", "1.2", "a.b.post:26", ".1.post:26", "a.-1.post:26"] {
            assert_eq!(find(text, "post:26"), None, "{text}");
        }
    }
}
