//! `sidewire token`: a token for trying out, made with a secret of the configuration.

use std::{
    path::PathBuf,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Map, Value};

use super::{BAD_CONFIG, BAD_USAGE, Failed, say};
use crate::{
    auth::token::{self, Keys, Rules},
    config::{self, Site, TokenKey},
};

/// How long a token holds where nobody says.
const EXPIRES: Duration = Duration::from_secs(3_600);

/// What a token is to say.
#[derive(clap::Args, Clone, Debug, Eq, PartialEq)]
pub struct Token {
    /// The configuration
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/sidewire/sidewire.toml"
    )]
    pub config: PathBuf,
    /// The site, by its name; needed where there are several
    #[arg(long, value_name = "NAME")]
    pub site: Option<String>,
    /// The user that it is for; without one, nobody in particular
    #[arg(long, value_name = "ID")]
    pub user: Option<String>,
    /// The session that it belongs to: 16 hex digits
    #[arg(long, value_name = "HEX")]
    pub sid: Option<String>,
    /// How long it holds [default: 1h, or the site's tokens.life_max]
    #[arg(long, value_name = "TIME")]
    pub expires: Option<String>,
    /// Make a subscription token, for this channel
    #[arg(long)]
    pub channel: Option<String>,
    /// The channels that the connection is subscribed to by the server
    #[arg(
        long,
        value_name = "CHANNEL,…",
        value_delimiter = ',',
        conflicts_with = "channel"
    )]
    pub channels: Vec<String>,
    /// What others are told of the user, as JSON
    #[arg(long, value_name = "JSON")]
    pub info: Option<String>,
    /// The site's key to sign with, by its kid; without it, the first
    #[arg(long)]
    pub kid: Option<String>,
}

/// Prints the token that `asked` describes.
///
/// # Errors
///
/// What was asked for can't be, or would be refused by the sidecar itself.
pub fn print_token(asked: &Token) -> Result<(), Failed> {
    let config = config::load(&asked.config).map_err(|faults| (BAD_CONFIG, faults.to_string()))?;
    let site = site(&config.sites, asked.site.as_deref())?;
    let key = key(site, asked.kid.as_deref())?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or_default().as_secs();
    let claims = claims(site, asked, now)?;
    let token = token::mint(&key.kid, key.secret.as_bytes(), &claims);
    verify(site, key, (&token, asked.channel.is_some()), now)?;
    say(&token);
    Ok(())
}

fn usage(key: &str, value: &str, remedy: impl std::fmt::Display) -> Failed {
    let told = format!("sidewire: {key} = {value:?}  {remedy}");
    (BAD_USAGE, told)
}

fn site<'a>(sites: &'a [Site], name: Option<&str>) -> Result<&'a Site, Failed> {
    let names: Vec<&str> = sites.iter().map(|site| site.name.as_str()).collect();
    let names = names.join(", ");
    match (name, sites) {
        (None, [only]) => Ok(only),
        (None, _) => {
            let told = format!("sidewire: --site is missing; expected one of: {names}");
            Err((BAD_USAGE, told))
        }
        (Some(name), _) => {
            let site = sites.iter().find(|site| site.name == name);
            site.ok_or_else(|| {
                let remedy = format!("no such site; expected one of: {names}");
                usage("--site", name, remedy)
            })
        }
    }
}

fn key<'a>(site: &'a Site, kid: Option<&str>) -> Result<&'a TokenKey, Failed> {
    let keys = &site.tokens.keys;
    let Some(first) = keys.first() else {
        let told = format!(
            "sidewire: site {:?} has no [[site.token_key]]; make a secret with \
             `sidewire secret new --out FILE`, and add the table with secret_file = \"FILE\"",
            site.name
        );
        return Err((BAD_CONFIG, told));
    };
    let Some(kid) = kid else { return Ok(first) };
    keys.iter().find(|key| key.kid == kid).ok_or_else(|| {
        let known: Vec<String> = keys.iter().map(|key| format!("{:?}", key.kid)).collect();
        let remedy = format!(
            "site {:?} has no [[site.token_key]] of this kid; expected one of: {}",
            site.name,
            known.join(", ")
        );
        usage("--kid", kid, remedy)
    })
}

/// The claims as JSON.
fn claims(site: &Site, asked: &Token, now: u64) -> Result<String, Failed> {
    let life = life(site, asked.expires.as_deref())?;
    let mut claims = Map::new();
    let mut set = |claim: &str, value: Value| claims.insert(claim.to_owned(), value);
    if let Some(user) = &asked.user {
        set("sub", user.as_str().into());
    }
    set("iat", now.into());
    set("exp", now.saturating_add(life.as_secs()).into());
    for (claim, value) in [("aud", &site.tokens.audience), ("iss", &site.tokens.issuer)] {
        if !value.is_empty() {
            set(claim, value.as_str().into());
        }
    }
    if let Some(sid) = &asked.sid {
        if !token::is_sid(sid) {
            return Err(usage("--sid", sid, "expected 16 hex digits in lower case"));
        }
        set("sid", sid.as_str().into());
    }
    for channel in asked.channel.iter().chain(&asked.channels) {
        if channel.is_empty() {
            return Err(usage("--channel", "", "expected the name of a channel"));
        }
    }
    if let Some(channel) = &asked.channel {
        set("channel", channel.as_str().into());
    }
    if !asked.channels.is_empty() {
        set("channels", asked.channels.clone().into());
    }
    if let Some(info) = &asked.info {
        let failed = |error| usage("--info", info, format_args!("expected JSON: {error}"));
        let value: Value = serde_json::from_str(info).map_err(failed)?;
        set("info", value);
    }
    Ok(Value::Object(claims).to_string())
}

fn life(site: &Site, expires: Option<&str>) -> Result<Duration, Failed> {
    let life_max = site.tokens.life_max;
    let Some(expires) = expires else {
        return Ok(EXPIRES.min(life_max));
    };
    let life = config::duration(expires).filter(|life| life.as_secs() > 0);
    let life = life.ok_or_else(|| {
        let remedy = "expected a time with its unit, of a second or more, such as \"15m\", \"1h\"";
        usage("--expires", expires, remedy)
    })?;
    if life > life_max {
        let remedy = format!(
            "site {:?} takes tokens of at most {} s (tokens.life_max); choose a shorter time",
            site.name,
            life_max.as_secs()
        );
        return Err(usage("--expires", expires, remedy));
    }
    Ok(life)
}

/// Nobody is to puzzle over a token that was never going to hold.
fn verify(
    site: &Site,
    key: &TokenKey,
    (token, subscribes): (&str, bool),
    now: u64,
) -> Result<(), Failed> {
    let rules = Rules {
        life_max: site.tokens.life_max,
        audience: site.tokens.audience.clone(),
        issuer: site.tokens.issuer.clone(),
    };
    let told = |error: &dyn std::error::Error| {
        let told = format!("sidewire: this would be refused: {error}; ask for less");
        (BAD_USAGE, told)
    };
    let secret = (key.kid.as_str(), key.secret.as_bytes());
    let keys = Keys::new(rules, [secret], None).map_err(|error| told(&error))?;
    let verified = if subscribes {
        keys.subscription(token, now).map(|_| ())
    } else {
        keys.connection(token, now).map(|_| ())
    };
    verified.map_err(|error| told(&error))
}
