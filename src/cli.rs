//! Arguments → one command. It runs nothing and reads no file.

use std::{path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::command::{channels, publish, reload, status, tail, token::Token};

pub use crate::command::{BAD_CONFIG, BAD_USAGE, CANNOT};

#[derive(Debug, Parser)]
#[command(
    name = "sidewire",
    version,
    about = "Live pages for WordPress: a TLS front for PHP-FPM or Apache that carries its own WebSockets.",
    after_help = "Exit codes: 0 stopped as asked · 1 cannot start, or refused · 64 bad usage · 78 faults in the configuration"
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// What the program is asked to do.
#[derive(Clone, Debug, Eq, PartialEq, Subcommand)]
pub enum Command {
    /// Serve until SIGTERM or SIGINT; SIGHUP reads the configuration and the certificates anew
    Run {
        /// The configuration
        #[arg(
            long,
            value_name = "FILE",
            default_value = "/etc/sidewire/sidewire.toml"
        )]
        config: PathBuf,
    },
    /// Check a configuration and its certificates, and tell every fault
    Check {
        /// The configuration
        #[arg(
            long,
            value_name = "FILE",
            default_value = "/etc/sidewire/sidewire.toml"
        )]
        config: PathBuf,
    },
    /// Certificates
    #[command(subcommand)]
    Certs(Certs),
    /// Tell how the running sidecar is
    Status(status::Arguments),
    /// Have the running sidecar read its configuration again
    Reload(reload::Arguments),
    /// Publish to a channel
    Publish(publish::Arguments),
    /// List the channels that are followed now
    Channels(channels::Arguments),
    /// Follow channels in the terminal
    Tail(tail::Arguments),
    /// Secrets that publish requests and tokens are signed with
    #[command(subcommand)]
    Secret(Secret),
    /// Print a token to connect or subscribe with, for trying out
    Token(Token),
}

/// What to do about certificates.
#[derive(Clone, Debug, Eq, PartialEq, Subcommand)]
pub enum Certs {
    /// Make a self-signed pair for development; one that is in date is kept
    Dev {
        /// The host name to make it for
        #[arg(long, default_value = "localhost")]
        host: String,
        /// The directory to write HOST.crt and HOST.key to
        #[arg(long, value_name = "DIR", default_value = "certs")]
        out: PathBuf,
    },
}

/// What to do about secrets.
#[derive(Clone, Debug, Eq, PartialEq, Subcommand)]
pub enum Secret {
    /// Make a secret, whsec_…; print it, or write it to a new file
    New {
        /// The file to write it to, of mode 0400; one that exists is left alone
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// Reads the process's arguments.
///
/// # Errors
///
/// What was to be printed has been; exit with the code.
pub fn parse() -> Result<Command, ExitCode> {
    match Arguments::try_parse() {
        Ok(arguments) => Ok(arguments.command),
        Err(error) => {
            // Whoever closed our standard error wants no words.
            let _ = error.print();
            let code = if error.use_stderr() { BAD_USAGE } else { 0 };
            Err(ExitCode::from(code))
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn run_takes_a_file() {
        let arguments = Arguments::try_parse_from(["sidewire", "run", "--config", "a.toml"]);
        let config = PathBuf::from("a.toml");
        assert_eq!(arguments.unwrap().command, Command::Run { config });
    }
}
