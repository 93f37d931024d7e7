//! `sidewire tail`: a subscriber in the terminal, over the same way as a browser.
//!
//! It comes back after a cut and goes on from where it was; what was lost, it says.

mod message;
mod print;
mod session;
mod socket;
mod target;

use std::{path::PathBuf, time::Duration};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use print::Printer;
use session::{End, Session};
use target::Target;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::sleep,
};

use super::{BAD_USAGE, CANNOT, ConfigFile, Configured, Failed, note};

/// Before the first try to come back, and at most; each wait is half of it or more.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(20));

/// What to follow, and how.
#[derive(Clone, Debug, Eq, PartialEq, clap::Args)]
#[command(
    after_help = "Without --url it connects to this machine's own sidecar: the first listener of the \
    configuration,\nby the first host of the site, and trusts the configured certificates beside the \
    system's.\n\
    Examples:\n  sidewire tail site post:26\n  \
    sidewire tail edit:26 --token \"$TOKEN\" --json | jq .data\n  \
    sidewire tail site --url wss://example.org/realtime\n\
    Exit codes: 0 ended by SIGINT or SIGTERM · 1 refused, or cannot connect · 64 bad usage · 78 faults in the configuration"
)]
pub struct Arguments {
    /// The channels to follow, such as site or post:26
    #[arg(required = true, value_name = "CHANNEL")]
    pub channels: Vec<String>,
    /// Names sockets and secrets.
    #[command(flatten)]
    pub config: ConfigFile,
    /// The site whose channels are meant; needed where there are several
    #[arg(long, value_name = "NAME", conflicts_with = "url")]
    pub site: Option<String>,
    /// Connect there, as a browser would
    #[arg(long, value_name = "wss://HOST/realtime")]
    pub url: Option<String>,
    /// The token to connect with, for channels that are not for everyone
    #[arg(
        long,
        value_name = "JWT",
        env = "SIDEWIRE_TOKEN",
        hide_env_values = true
    )]
    pub token: Option<String>,
    /// Trust the certificates in this PEM file, and no others
    #[arg(long, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// One line of JSON a publication
    #[arg(long)]
    pub json: bool,
}

/// A channel that is followed.
#[derive(Debug)]
struct Followed {
    channel: String,
    /// The last publication that was seen, once subscribed.
    position: Option<Position>,
}

/// A place in the order of a channel.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Position {
    offset: u64,
    epoch: String,
}

/// Prints what is published until SIGINT or SIGTERM.
///
/// # Errors
///
/// The first connection fails, or the sidecar refuses for good.
pub async fn run(arguments: Arguments) -> Result<(), Failed> {
    let mut signals = [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
    let target = target(&arguments).await?;
    let mut followed: Vec<Followed> = Vec::new();
    for channel in &arguments.channels {
        if followed.iter().any(|known| known.channel == *channel) {
            let message = format!("sidewire: channel {channel} is named twice");
            return Err((BAD_USAGE, message));
        }
        followed.push(Followed {
            channel: channel.clone(),
            position: None,
        });
    }
    let printer = Printer::new(arguments.json);
    let token = arguments.token.unwrap_or_default();
    let [interrupt, terminate] = &mut signals;
    tokio::select! {
        ended = follow(&target, &token, &mut followed, &printer) => ended,
        () = received(interrupt) => Ok(()),
        () = received(terminate) => Ok(()),
    }
}

async fn target(arguments: &Arguments) -> Result<Target, Failed> {
    match &arguments.url {
        Some(url) => {
            // The file is of use for its certificates, and may be on another machine.
            let configured = Configured::read(&arguments.config.file).ok();
            Target::of_url(url, configured.as_ref(), arguments.ca.as_deref())
        }
        None => {
            let configured = Configured::read(&arguments.config.file)?;
            let site = configured.site(arguments.site.as_deref())?;
            Target::of_site(&configured, site, arguments.ca.as_deref()).await
        }
    }
}

/// Waits for a signal; for ever where the system gives none.
async fn received(signal: &mut std::io::Result<Signal>) {
    match signal {
        Ok(signal) => {
            signal.recv().await;
        }
        Err(_) => std::future::pending().await,
    }
}

async fn follow(
    target: &Target,
    token: &str,
    followed: &mut [Followed],
    printer: &Printer,
) -> Result<(), Failed> {
    let mut was_connected = false;
    let mut wait = BACKOFF.0;
    loop {
        let session = Session::open(target, token, followed, printer).await;
        let end = match session {
            Ok(session) => {
                if was_connected {
                    note("connected again");
                }
                was_connected = true;
                wait = BACKOFF.0;
                session.follow(followed, printer).await
            }
            Err(end) => end,
        };
        match end {
            End::NobodyReads => return Ok(()),
            End::Refused(message) => return Err((CANNOT, format!("sidewire: {message}"))),
            End::Lost(reason) if !was_connected => {
                return Err((CANNOT, format!("sidewire: {target}: {reason}")));
            }
            End::Lost(reason) => {
                note(&format!("{reason}; trying again"));
                sleep(spread(wait)).await;
                wait = (wait * 2).min(BACKOFF.1);
            }
        }
    }
}

/// Half of `wait` to all of it, so that many don't come back at once.
fn spread(wait: Duration) -> Duration {
    let mut random = [0_u8; 1];
    // Without chance everyone waits the same, which is no fault.
    let _ = SystemRandom::new().fill(&mut random);
    let [random] = random;
    wait / 2 + wait / 2 * u32::from(random) / 255
}
