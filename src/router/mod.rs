//! Host and path → which site, and who answers there.
//!
//! Pure: no file is looked at and no header is read. Host syntax is `front`'s to check; whether
//! a file exists is `static_files`' to know.

mod deny;
mod path;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use http::StatusCode;

use crate::config::{Backend, Site};

/// The sites and the one path that no back end sees.
#[derive(Clone, Debug)]
pub struct Router {
    sites: HashMap<String, usize>,
    files: Vec<bool>,
    realtime_path: String,
}

/// Where a request goes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Route {
    /// The index of the site in the configuration.
    pub site: usize,
    /// Who answers.
    pub target: Target,
}

/// Who answers a request of a site.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Target {
    /// `realtime`.
    Realtime,
    /// The site's HTTP server; it gets the target as the client wrote it.
    Upstream,
    /// The document root, and PHP-FPM for what is a script there.
    Files {
        /// The path, decoded once and normalised: begins with a slash, has no empty, `.` or `..`
        /// segment, no NUL, CR or LF. An encoded slash stays `%2F`; bytes need not be UTF-8.
        path: Vec<u8>,
    },
}

/// Why a request has no route.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Refused {
    /// What the client is told.
    pub status: StatusCode,
    /// A fixed word for the counter and the log.
    pub reason: &'static str,
}

impl Router {
    /// Prepares the routes of `sites`, whose hosts are unique.
    #[must_use]
    pub fn new(sites: &[Site], realtime_path: &str) -> Self {
        let hosts = sites
            .iter()
            .enumerate()
            .flat_map(|(n, site)| site.hosts.iter().map(move |host| (host.clone(), n)));
        Self {
            sites: hosts.collect(),
            files: sites
                .iter()
                .map(|site| matches!(site.backend, Backend::FastCgi(_)))
                .collect(),
            realtime_path: realtime_path.to_owned(),
        }
    }

    /// The site that `host` (lower case, no port) belongs to. There is no default site.
    #[must_use]
    pub fn site(&self, host: &str) -> Option<usize> {
        self.sites.get(host).copied()
    }

    /// The route of a request for `path`, as the client wrote it, at `host`.
    ///
    /// # Errors
    ///
    /// 421 for a host of no site, 400 for a path that cannot be meant, and 404 for one that is
    /// never served: the same answer as for a file that is not there.
    pub fn route(&self, host: &str, path: &str) -> Result<Route, Refused> {
        let site = self.site(host).ok_or(Refused {
            status: StatusCode::MISDIRECTED_REQUEST,
            reason: "unknown_host",
        })?;
        if path == self.realtime_path {
            return Ok(Route {
                site,
                target: Target::Realtime,
            });
        }
        let files = self.files.get(site).copied().unwrap_or(false);
        let normal = path::normalise(path.as_bytes(), path::EncodedSlash::Keep)?;
        if deny::is_denied(&normal) {
            return Err(DENIED);
        }
        if files {
            let target = Target::Files { path: normal };
            return Ok(Route { site, target });
        }
        // Some servers take %2F for a slash: what they would then serve is judged as well.
        let decoded = path::normalise(path.as_bytes(), path::EncodedSlash::Decode)?;
        if deny::is_denied(&decoded) {
            return Err(DENIED);
        }
        Ok(Route {
            site,
            target: Target::Upstream,
        })
    }
}

const DENIED: Refused = Refused {
    status: StatusCode::NOT_FOUND,
    reason: "denied_path",
};
