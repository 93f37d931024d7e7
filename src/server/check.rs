//! What `sidewire check` looks at beside the text: the machine.

use super::tokens;
use crate::{
    config::{self, Config, Fault},
    listener::unix,
    static_files::StaticFiles,
    telemetry::{self, chain},
    tls::{self, Certificates},
};

/// Faults that only looking at the machine can show: certificates, document roots, the keys
/// of tokens, groups, and the log's filter. `config` may be one with faults of its own.
#[must_use]
pub fn check(config: &Config) -> Vec<Fault> {
    let fault = |key: &str, value: Option<String>, remedy: String| Fault {
        key: key.to_owned(),
        value,
        remedy,
    };
    let mut faults = Vec::new();
    let (_, pairs) = Certificates::load(&config.certificates, tls::Metrics::default());
    for pair in &pairs {
        faults.push(fault("certificate", None, chain(pair)));
    }
    for site in &config.sites {
        if let config::Backend::FastCgi(fastcgi) = &site.backend
            && let Err(error) = StaticFiles::new(fastcgi)
        {
            faults.push(fault(&format!("site {:?}", site.name), None, chain(&error)));
        }
        if let Err(error) = tokens::keys(site) {
            let key = format!("site {:?}", site.name);
            faults.push(fault(&key, None, chain(&error)));
        }
    }
    let publish = config
        .publish
        .as_ref()
        .and_then(|publish| publish.group.as_ref());
    let admin = config.admin.as_ref().and_then(|admin| admin.group.as_ref());
    for (key, group) in [("publish.group", publish), ("admin.group", admin)] {
        if let Some(group) = group.filter(|group| !unix::is_group(group)) {
            let remedy = "no such group on this machine; `groupadd` makes one".to_owned();
            faults.push(fault(key, Some(format!("{group:?}")), remedy));
        }
    }
    if let Err(error) = telemetry::check(&config.log.filter) {
        faults.push(fault(
            "log.filter",
            Some(format!("{:?}", config.log.filter)),
            error,
        ));
    }
    faults
}
