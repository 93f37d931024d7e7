//! `sidewire channels`: which channels are followed now, and by how many.

use serde_json::{Value, json};

use super::{ConfigFile, Configured, Failed, call::call, say, table::table};

/// Which channels to list.
#[derive(Clone, Debug, Eq, PartialEq, clap::Args)]
#[command(after_help = "Example:\n  sidewire channels 'post:*'\n\
    Exit codes: 0 listed · 1 refused, or nobody answers · 64 bad usage · 78 faults in the configuration")]
pub struct Arguments {
    /// Only channels that this fits, with * for any signs; quote it for the shell
    pub pattern: Option<String>,
    /// Names sockets and secrets.
    #[command(flatten)]
    pub config: ConfigFile,
    /// The site whose channels are meant; needed where there are several
    #[arg(long, value_name = "NAME")]
    pub site: Option<String>,
}

/// Lists the channels, most followed first.
///
/// # Errors
///
/// Nobody answered, or not with a list.
pub async fn run(arguments: Arguments) -> Result<(), Failed> {
    let configured = Configured::read(&arguments.config.file)?;
    let site = configured.site(arguments.site.as_deref())?;
    let body = match &arguments.pattern {
        Some(pattern) => json!({ "pattern": pattern }),
        None => json!({}),
    };
    let reply = call(&configured, site, "channels", body.to_string()).await?;
    say(&listed(&reply));
    Ok(())
}

fn listed(reply: &Value) -> String {
    let channels = reply.pointer("/result/channels");
    let channels = channels.and_then(Value::as_object);
    let mut channels: Vec<(&String, u64)> = channels
        .into_iter()
        .flatten()
        .map(|(name, of)| {
            let clients = of.get("num_clients").and_then(Value::as_u64);
            (name, clients.unwrap_or_default())
        })
        .collect();
    if channels.is_empty() {
        return "no channel is followed".into();
    }
    channels.sort_by(|(a, some), (b, others)| others.cmp(some).then(a.cmp(b)));
    let mut rows = vec![vec!["CHANNEL".to_owned(), "CLIENTS".to_owned()]];
    let channels = channels.into_iter();
    rows.extend(channels.map(|(name, clients)| vec![name.clone(), clients.to_string()]));
    table("", &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_followed_channel_comes_first() {
        let reply = json!({ "result": { "channels": {
            "post:1": { "num_clients": 2 },
            "post:26": { "num_clients": 30 },
            "a": { "num_clients": 2 },
        } } });
        assert_eq!(
            listed(&reply),
            "CHANNEL  CLIENTS\npost:26  30\na        2\npost:1   2"
        );
        let none = json!({ "result": { "channels": {} } });
        assert_eq!(listed(&none), "no channel is followed");
    }
}
