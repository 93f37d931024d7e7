//! `[[listener]]`, `[[certificate]]` and `[tls]`: where browsers arrive, and with what identity
//! they are met.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use super::section::Section;

/// One address that browsers connect to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listener {
    /// Port 0 asks the kernel for a free one.
    pub address: SocketAddr,
    /// Whether connections begin with a TLS handshake.
    pub tls: bool,
    /// What a plain listener does with a request.
    pub mode: Mode,
    /// Connections at the same time; more wait in the kernel's backlog.
    pub connections_max: usize,
}

/// What a listener does with a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// Answers it.
    Serve,
    /// Sends the client to the same address with `https`.
    Redirect,
}

/// One certificate with its key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Certificate {
    /// PEM: the site's certificate first, then the intermediate ones.
    pub certificate: PathBuf,
    /// PEM: the private key of the first certificate.
    pub key: PathBuf,
}

/// What holds for every handshake.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tls {
    /// From the accepted connection to the end of the handshake.
    pub handshake_timeout: Duration,
    /// Handshakes under way at the same time.
    pub handshakes_max: usize,
    /// How often the files of every pair are looked at.
    pub poll_interval: Duration,
}

impl Listener {
    pub(super) fn read(mut section: Section) -> Option<Self> {
        let address = section.required("address", "such as \"[::]:443\"");
        let tls = section.or("tls", true);
        let mode = match section.or("mode", "serve".to_owned()).as_str() {
            "serve" => Mode::Serve,
            "redirect" if tls => {
                section.fault("mode", "redirects to https, so it needs `tls = false`");
                Mode::Serve
            }
            "redirect" => Mode::Redirect,
            _ => {
                section.fault("mode", "expected \"serve\" or \"redirect\"");
                Mode::Serve
            }
        };
        let connections_max = section.count("connections_max", 10_000, 1..=1_000_000);
        section.finish();
        Some(Self {
            address: address?,
            tls,
            mode,
            connections_max,
        })
    }
}

impl Certificate {
    pub(super) fn read(mut section: Section) -> Option<Self> {
        let certificate = section.required("certificate", "the PEM file with the chain");
        let key = section.required("key", "the PEM file with the private key");
        section.finish();
        Some(Self {
            certificate: certificate?,
            key: key?,
        })
    }
}

impl Tls {
    pub(super) fn read(mut section: Section) -> Self {
        let seconds = Duration::from_secs;
        let tls = Self {
            handshake_timeout: section.within(
                "handshake_timeout",
                seconds(10),
                seconds(1)..=seconds(120),
            ),
            handshakes_max: section.count("handshakes_max", 512, 1..=100_000),
            poll_interval: section.within(
                "poll_interval",
                seconds(1),
                Duration::from_millis(100)..=seconds(3_600),
            ),
        };
        section.finish();
        tls
    }
}
