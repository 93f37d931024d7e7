//! `sidewire publish`: one publication, signed and sent as PHP does.

use std::{collections::BTreeMap, io::Read};

use serde::Serialize;
use serde_json::{Value, value::RawValue};

use super::{BAD_USAGE, CANNOT, ConfigFile, Configured, Failed, call::call, say};

/// More than `publish.data_max` may ever allow.
const INPUT_MAX: u64 = 64 << 20;

/// What to publish.
#[derive(Clone, Debug, Eq, PartialEq, clap::Args)]
#[command(after_help = "Examples:\n  \
    sidewire publish site '{\"type\":\"notice\",\"text\":\"Back in five minutes\"}'\n  \
    sidewire publish post:26 '\"text wants quotes of its own\"'\n  \
    jq -n '{price: 9.9}' | sidewire publish post:26 - --key 26:price --version 7\n\
    Exit codes: 0 published · 1 refused, or nobody answers · 64 bad usage · 78 faults in the configuration")]
pub struct Arguments {
    /// The channel, such as post:26
    pub channel: String,
    /// The data, as JSON; - reads it from standard input
    #[arg(value_name = "JSON", allow_negative_numbers = true)]
    pub data: String,
    /// Names sockets and secrets.
    #[command(flatten)]
    pub config: ConfigFile,
    /// The site to publish for; needed where there are several
    #[arg(long, value_name = "NAME")]
    pub site: Option<String>,
    /// What the publication is the state of, such as 26:price
    #[arg(long)]
    pub key: Option<String>,
    /// The version of that state: a lower one than the last of its key is left out
    #[arg(long, value_name = "N")]
    pub version: Option<u64>,
    /// A tag that is delivered beside the data; may be said several times
    #[arg(long = "tags", value_name = "KEY=VALUE", value_parser = tag)]
    pub tags: Vec<(String, String)>,
    /// Keep it out of the channel's history
    #[arg(long)]
    pub skip_history: bool,
}

#[derive(Serialize)]
struct Body<'a> {
    channel: &'a str,
    data: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tags: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    skip_history: bool,
}

/// Publishes, and tells where the channel stands then.
///
/// # Errors
///
/// Nothing was published, but where no answer came in time: then it may have been.
pub async fn run(arguments: Arguments) -> Result<(), Failed> {
    let text = match arguments.data.as_str() {
        "-" => input()?,
        _ => arguments.data.clone(),
    };
    let data = json(&arguments, &text)?;
    let configured = Configured::read(&arguments.config.file)?;
    let site = configured.site(arguments.site.as_deref())?;
    let tags = arguments.tags.iter();
    let body = Body {
        channel: &arguments.channel,
        data: &data,
        key: arguments.key.as_deref(),
        version: arguments.version,
        tags: tags.map(|(k, v)| (k.as_str(), v.as_str())).collect(),
        skip_history: arguments.skip_history,
    };
    let body =
        serde_json::to_string(&body).map_err(|error| (CANNOT, format!("sidewire: {error}")))?;
    let reply = call(&configured, site, "publish", body).await?;
    let result = reply.get("result").unwrap_or(&Value::Null);
    let offset = result.get("offset").and_then(Value::as_u64);
    let epoch = result.get("epoch").and_then(Value::as_str);
    let channel = &arguments.channel;
    let outdated = result.get("outdated").and_then(Value::as_bool);
    say(&match (offset, epoch) {
        (Some(offset), Some(epoch)) if outdated == Some(true) => format!(
            "{channel}: left out, since this version or a newer one is published already; \
             offset {offset}, epoch {epoch}"
        ),
        (Some(offset), Some(epoch)) => format!("{channel}: offset {offset}, epoch {epoch}"),
        // It has no place in the channel.
        _ => format!("{channel}: sent to whoever follows it now, kept for nobody"),
    });
    Ok(())
}

fn input() -> Result<String, Failed> {
    let mut text = String::new();
    let mut input = std::io::stdin().lock().take(INPUT_MAX);
    input.read_to_string(&mut text).map_err(|error| {
        let message = format!("sidewire: standard input cannot be read as text: {error}");
        (CANNOT, message)
    })?;
    Ok(text)
}

fn json(arguments: &Arguments, text: &str) -> Result<Box<RawValue>, Failed> {
    serde_json::from_str::<Box<RawValue>>(text).map_err(|error| {
        let mut message = format!("sidewire: the data is not JSON: {error}");
        if let Some(line) = text.lines().nth(error.line().saturating_sub(1)) {
            let column = error.column().saturating_sub(1);
            let from = column.saturating_sub(40);
            let shown: String = line.chars().skip(from).take(80).collect();
            message = format!("{message}\n  {shown}\n  {:>1$}", "^", column - from + 1);
        }
        // One word is mostly text that the shell took the quotes of.
        let quoted = serde_json::to_string(text.trim()).unwrap_or_default();
        let quoted = quoted.replace('\'', r"'\''");
        let channel = &arguments.channel;
        message = format!(
            "{message}\n  text wants quotes of its own, inside those of the shell:\n  \
             sidewire publish {channel} '{quoted}'"
        );
        (BAD_USAGE, message)
    })
}

fn tag(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.into(), value.into())),
        _ => Err("expected KEY=VALUE, such as source=cron".into()),
    }
}
