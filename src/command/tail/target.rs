//! Where to connect: a URL, or a site of the configuration on this machine.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
};

use tokio_rustls::rustls::RootCertStore;

use super::super::{BAD_USAGE, CANNOT, Configured, Failed, status};
use crate::{
    config::{Config, Mode, Site},
    telemetry::chain,
    tls::certificate,
};

/// What Debian's and Ubuntu's `ca-certificates` keeps.
const SYSTEM: &str = "/etc/ssl/certs/ca-certificates.crt";

/// A realtime path of some host.
#[derive(Debug)]
pub(super) struct Target {
    /// The name of the host, without a port.
    pub(super) host: String,
    pub(super) port: u16,
    /// Where to dial; the host's own addresses where it is not said.
    pub(super) address: Option<SocketAddr>,
    pub(super) path: String,
    /// Whom to trust; without it the connection is plain.
    pub(super) trusted: Option<RootCertStore>,
}

impl Target {
    /// What `url` names.
    pub(super) fn of_url(
        url: &str,
        configured: Option<&Configured>,
        ca: Option<&Path>,
    ) -> Result<Self, Failed> {
        let bad = || {
            let message = format!(
                "sidewire: --url {url:?} is no address of a WebSocket; \
                 expected such as wss://example.org/realtime"
            );
            (BAD_USAGE, message)
        };
        let uri: http::Uri = url.parse().map_err(|_| bad())?;
        let (tls, port) = match uri.scheme_str() {
            Some("wss") => (true, 443),
            Some("ws") => (false, 80),
            _ => return Err(bad()),
        };
        let host = uri.host().ok_or_else(bad)?;
        let config = configured.map(|configured| &configured.config);
        let path = match uri.path_and_query().map(|path| path.as_str()) {
            None | Some("" | "/") => config.map_or("/realtime", |c| c.realtime.path.as_str()),
            Some(path) => path,
        };
        Ok(Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: uri.port_u16().unwrap_or(port),
            address: None,
            path: path.to_owned(),
            trusted: trusted(tls, config, ca)?,
        })
    }

    /// The first listener that serves, by the first host of `site`.
    pub(super) async fn of_site(
        configured: &Configured,
        site: &Site,
        ca: Option<&Path>,
    ) -> Result<Self, Failed> {
        let config = &configured.config;
        let serving = || {
            let listeners = config.listeners.iter().enumerate();
            listeners.filter(|(_, listener)| listener.mode == Mode::Serve)
        };
        let tls = serving().find(|(_, listener)| listener.tls);
        let Some((n, listener)) = tls.or_else(|| serving().next()) else {
            return Err(configured.lacks("there is no [[listener]] that serves; name one by --url"));
        };
        let host = site.hosts.first().ok_or_else(|| {
            configured.lacks(&format!(
                "site {:?} has no host; name it by --url",
                site.name
            ))
        })?;
        let address = match listener.address {
            address if address.port() > 0 => address,
            _ => chosen(configured, n).await?,
        };
        Ok(Self {
            host: host.clone(),
            port: address.port(),
            address: Some(reachable(address)),
            path: config.realtime.path.clone(),
            trusted: trusted(listener.tls, Some(config), ca)?,
        })
    }

    /// The host as the Host header has it.
    pub(super) fn authority(&self) -> String {
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        let default = if self.trusted.is_some() { 443 } else { 80 };
        if self.port == default {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.trusted.is_some() { "wss" } else { "ws" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)?;
        match self.address {
            Some(address) => write!(f, " at {address}"),
            None => Ok(()),
        }
    }
}

/// The address that the system chose for the listener numbered `n`, whose port is 0.
async fn chosen(configured: &Configured, n: usize) -> Result<SocketAddr, Failed> {
    let status = status::ask(configured).await?;
    let listeners = status.get("listeners").and_then(|list| list.as_array());
    let listener = listeners.into_iter().flatten().nth(n);
    let address = listener.and_then(|listener| listener["address"].as_str()?.parse().ok());
    address.ok_or_else(|| {
        let message = format!(
            "sidewire: listener[{n}].address has port 0, and `sidewire status` doesn't say which one \
             was chosen; name it by --url"
        );
        (CANNOT, message)
    })
}

/// This machine, where `address` stands for all that it has.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// `ca` alone; without it the configured certificates, so that a pair made for development is
/// trusted, and the system's.
fn trusted(
    tls: bool,
    config: Option<&Config>,
    ca: Option<&Path>,
) -> Result<Option<RootCertStore>, Failed> {
    if !tls {
        return Ok(None);
    }
    let cannot = |error| (CANNOT, format!("sidewire: {}", chain(&error)));
    if let Some(ca) = ca {
        return certificate::trusted(&[ca]).map(Some).map_err(cannot);
    }
    let mut files: Vec<&Path> = Vec::new();
    for pair in config.iter().flat_map(|config| &config.certificates) {
        files.push(&pair.certificate);
    }
    if Path::new(SYSTEM).exists() {
        files.push(Path::new(SYSTEM));
    }
    certificate::trusted(&files).map(Some).map_err(cannot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_says_host_port_and_path() {
        for (url, authority, path) in [
            ("ws://example.org", "example.org", "/realtime"),
            ("ws://example.org:80/live", "example.org", "/live"),
            ("ws://[::1]:8080/", "[::1]:8080", "/realtime"),
        ] {
            let target = Target::of_url(url, None, None).unwrap();
            assert_eq!(target.authority(), authority, "{url}");
            assert_eq!(target.path, path, "{url}");
        }
        for url in ["example.org", "https://example.org", "wss://", "/realtime"] {
            let (code, message) = Target::of_url(url, None, None).unwrap_err();
            assert_eq!(code, BAD_USAGE);
            assert!(message.contains("wss://example.org/realtime"), "{message}");
        }
    }

    #[test]
    fn an_address_that_stands_for_all_is_reached_on_loopback() {
        let reached = |address: &str| reachable(address.parse().unwrap()).to_string();
        assert_eq!(reached("0.0.0.0:443"), "127.0.0.1:443");
        assert_eq!(reached("[::]:443"), "[::1]:443");
        assert_eq!(reached("192.0.2.1:443"), "192.0.2.1:443");
    }
}
