//! One command of the command line each, with its arguments; most speak to a running sidecar over
//! its Unix sockets.
//!
//! They serve nothing. Which command is meant is `cli`'s to say, the exit `main`'s.

mod call;
pub mod channels;
mod client;
pub mod publish;
pub mod reload;
pub mod secret;
pub mod status;
mod table;
pub mod tail;
pub mod token;

use std::{
    future::Future,
    io::{self, Write},
    path::{Path, PathBuf},
};

use crate::config::{self, Config, Fault, Faults, Site};

/// What was asked for could not be had.
pub const CANNOT: u8 = 1;

/// Usage was wrong (`EX_USAGE` of sysexits.h).
pub const BAD_USAGE: u8 = 64;

/// The configuration has faults (`EX_CONFIG` of sysexits.h).
pub const BAD_CONFIG: u8 = 78;

/// An exit code, and what to say on standard error.
pub type Failed = (u8, String);

/// Which configuration names sockets and secrets.
#[derive(Clone, Debug, Eq, PartialEq, clap::Args)]
pub struct ConfigFile {
    /// The configuration, which names the sockets and secrets
    #[arg(
        long = "config",
        value_name = "FILE",
        default_value = "/etc/sidewire/sidewire.toml"
    )]
    pub file: PathBuf,
}

/// A configuration as far as it could be read: a command needs only its own part of it.
#[derive(Debug)]
struct Configured {
    file: PathBuf,
    config: Config,
    faults: Vec<Fault>,
}

impl Configured {
    fn read(file: &Path) -> Result<Self, Failed> {
        let (config, faults) = config::examine(file);
        let file = file.to_owned();
        match config {
            Some(config) => Ok(Self {
                file,
                config,
                faults,
            }),
            None => Err((BAD_CONFIG, Faults { file, faults }.to_string())),
        }
    }

    /// A part of the configuration that a command can't do without is not there.
    fn lacks(&self, what: &str) -> Failed {
        let mut message = format!("sidewire: {}: {what}", self.file.display());
        if !self.faults.is_empty() {
            let (file, faults) = (self.file.clone(), self.faults.clone());
            message = format!("{message}\n{}", Faults { file, faults });
        }
        (BAD_CONFIG, message)
    }

    fn admin_socket(&self) -> Result<client::Socket<'_>, Failed> {
        let Some(admin) = &self.config.admin else {
            return Err(self.lacks(
                "there is no [admin] socket to ask on; \
                 add one: [admin] socket = \"/run/sidewire/admin.sock\", and restart",
            ));
        };
        Ok(client::Socket {
            path: &admin.socket,
            key: "admin.socket",
            file: &self.file,
        })
    }

    fn publish_socket(&self) -> Result<client::Socket<'_>, Failed> {
        let Some(publish) = &self.config.publish else {
            return Err(self.lacks(
                "there is no [publish] socket; \
                 add one: [publish] socket = \"/run/sidewire/publish.sock\", and restart",
            ));
        };
        Ok(client::Socket {
            path: &publish.socket,
            key: "publish.socket",
            file: &self.file,
        })
    }

    /// The site called `name`, or the only one.
    fn site(&self, name: Option<&str>) -> Result<&Site, Failed> {
        let sites = &self.config.sites;
        let names = || {
            let names: Vec<&str> = sites.iter().map(|site| site.name.as_str()).collect();
            names.join(", ")
        };
        match (name, sites.as_slice()) {
            (None, [site]) => Ok(site),
            (_, []) => Err(self.lacks("there is no [[site]] in it that can be read")),
            (None, _) => {
                let message = format!("sidewire: which site? say --site NAME: {}", names());
                Err((BAD_USAGE, message))
            }
            (Some(name), sites) => {
                let found = sites.iter().find(|site| site.name == name);
                found.ok_or_else(|| {
                    let file = self.file.display();
                    let message = format!(
                        "sidewire: {file} has no site called {name:?}; there is {}",
                        names()
                    );
                    (BAD_USAGE, message)
                })
            }
        }
    }
}

/// Runs `command` to its end, on this thread.
///
/// # Errors
///
/// The command's own, or the system has no runtime to give.
pub fn run(command: impl Future<Output = Result<(), Failed>>) -> Result<(), Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| (CANNOT, format!("sidewire: no runtime: {error}")))?;
    let done = runtime.block_on(command);
    // A name server that hangs must not hold the exit.
    runtime.shutdown_background();
    done
}

/// A text for whoever reads our standard output; `false` if nobody does any more.
fn say(text: &str) -> bool {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")
        .and_then(|()| stdout.flush())
        .is_ok()
}

/// A line on standard error, beside what was asked for.
fn note(line: &str) {
    // Whoever closed our standard error wants no words.
    let _ = writeln!(io::stderr(), "sidewire: {line}");
}
