//! `sidewire status`: how the running sidecar is, for a person or as JSON.

use std::time::{Duration, UNIX_EPOCH};

use http::StatusCode;
use serde_json::Value;

use super::{CANNOT, ConfigFile, Configured, Failed, client::REPLY_TIMEOUT, say, table::table};

/// What is counted of each site.
const COUNTS: [&str; 6] = [
    "connections",
    "users",
    "subscriptions",
    "channels",
    "revocations",
    "publications",
];

/// Which sidecar is meant, and how to tell.
#[derive(Clone, Debug, Eq, PartialEq, clap::Args)]
#[command(after_help = "Exit codes: 0 told · 1 nobody answers · 78 faults in the configuration")]
pub struct Arguments {
    /// Names sockets and secrets.
    #[command(flatten)]
    pub config: ConfigFile,
    /// Tell it as JSON
    #[arg(long)]
    pub json: bool,
}

/// Asks, and tells.
///
/// # Errors
///
/// Nobody answered, or not with a status.
pub async fn run(arguments: Arguments) -> Result<(), Failed> {
    let configured = Configured::read(&arguments.config.file)?;
    let status = ask(&configured).await?;
    let text = if arguments.json {
        serde_json::to_string_pretty(&status).unwrap_or_default()
    } else {
        shown(&status)
    };
    say(&text);
    Ok(())
}

/// The status of the running sidecar.
pub(super) async fn ask(configured: &Configured) -> Result<Value, Failed> {
    let socket = configured.admin_socket()?;
    let answer = socket.ask("GET", "/status", REPLY_TIMEOUT).await?;
    match answer.json() {
        Some(status) if answer.status == StatusCode::OK => Ok(status),
        _ => {
            let (path, status) = (socket.path.display(), answer.status);
            let message = format!(
                "sidewire: socket {path} answered {status} and no status: the running sidecar is \
                 another version than this program; restart it: `systemctl restart sidewire`"
            );
            Err((CANNOT, message))
        }
    }
}

fn shown(status: &Value) -> String {
    let sections = [
        head(status),
        listeners(status),
        sites(status),
        certificates(status),
    ];
    sections.join("\n\n")
}

fn head(status: &Value) -> String {
    let ready = if status["ready"] == true {
        "yes"
    } else {
        "not yet: publishers are heard from the next second on"
    };
    let row = |name: &str, text: String| vec![name.to_owned(), text];
    table(
        "",
        &[
            row(
                "version",
                format!(
                    "{}, API level {}",
                    text(&status["version"]),
                    text(&status["api_level"])
                ),
            ),
            row("process", text(&status["pid"])),
            row("ready", ready.to_owned()),
            row(
                "up",
                up(status["uptime_seconds"].as_u64().unwrap_or_default()),
            ),
            row("configuration", text(&status["config_file"])),
            row("last reload", last_reload(&status["last_reload"])),
        ],
    )
}

fn last_reload(last: &Value) -> String {
    let Some(at) = last["at"].as_u64() else {
        return "none since the start".into();
    };
    let at = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(at));
    let outcome = match last["outcome"].as_str() {
        Some("applied") => {
            let waiting: Vec<String> = list(&last["needs_restart"]).map(text).collect();
            if waiting.is_empty() {
                "in force".to_owned()
            } else {
                format!(
                    "in force, but for these until a restart: {}",
                    waiting.join(" ")
                )
            }
        }
        _ => {
            let count = list(&last["faults"]).count();
            format!("refused, faults: {count}; `sidewire check` tells them")
        }
    };
    format!("{at}: {outcome}")
}

fn listeners(status: &Value) -> String {
    let listeners = list(&status["listeners"]);
    let rows = listeners.map(|listener| vec![text(&listener["kind"]), text(&listener["address"])]);
    let mut all = vec![vec!["LISTENS".to_owned(), "AT".to_owned()]];
    all.extend(rows);
    table("", &all)
}

fn sites(status: &Value) -> String {
    let mut head = vec!["SITE".to_owned()];
    head.extend(COUNTS.map(str::to_uppercase));
    head.push("HOSTS".to_owned());
    let mut rows = vec![head];
    for site in list(&status["sites"]) {
        let mut row = vec![text(&site["name"])];
        row.extend(COUNTS.map(|count| text(&site[count])));
        let hosts: Vec<String> = list(&site["hosts"]).map(text).collect();
        row.push(hosts.join(" "));
        rows.push(row);
    }
    if rows.len() > 2 {
        let mut all = vec!["(all)".to_owned()];
        all.extend(COUNTS.map(|count| {
            let each = list(&status["sites"]).filter_map(|site| site[count].as_u64());
            each.sum::<u64>().to_string()
        }));
        rows.push(all);
    }
    table("", &rows)
}

fn certificates(status: &Value) -> String {
    let head = ["CERTIFICATE", "DAYS LEFT", "NAMES"].map(str::to_owned);
    let (mut rows, mut faults) = (vec![head.to_vec()], Vec::new());
    for certificate in list(&status["certificates"]) {
        let names: Vec<String> = list(&certificate["names"]).map(text).collect();
        rows.push(vec![
            text(&certificate["file"]),
            text(&certificate["days_left"]),
            names.join(" "),
        ]);
        faults.extend(list(&certificate["faults"]).map(text));
    }
    let mut told = table("", &rows);
    for fault in faults {
        told.push_str("\nfault: ");
        told.push_str(&fault);
    }
    told
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn up(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {} min", minutes % 60),
        _ => format!("{days} d {} h", hours % 24),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_status_is_told_in_aligned_columns() {
        let status = json!({
            "version": "1.2.3", "api_level": 1, "ready": true, "pid": 7,
            "uptime_seconds": 90_061, "config_file": "/etc/s.toml", "last_reload": null,
            "listeners": [{ "kind": "https", "address": "[::]:443" }],
            "sites": [
                {
                    "name": "blog", "hosts": ["a.test", "b.test"], "connections": 5, "users": 4,
                    "subscriptions": 6, "channels": 7, "revocations": 0, "publications": 8,
                },
                {
                    "name": "shop", "hosts": ["c.test"], "connections": 10, "users": 1,
                    "subscriptions": 10, "channels": 1, "revocations": 2, "publications": 100,
                },
            ],
            "certificates": [{ "file": "a.crt", "names": ["a.test"], "days_left": 42, "faults": [] }],
        });
        let expected = "\
version        1.2.3, API level 1
process        7
ready          yes
up             1 d 1 h
configuration  /etc/s.toml
last reload    none since the start

LISTENS  AT
https    [::]:443

SITE   CONNECTIONS  USERS  SUBSCRIPTIONS  CHANNELS  REVOCATIONS  PUBLICATIONS  HOSTS
blog   5            4      6              7         0            8             a.test b.test
shop   10           1      10             1         2            100           c.test
(all)  15           5      16             8         2            108

CERTIFICATE  DAYS LEFT  NAMES
a.crt        42         a.test";
        assert_eq!(shown(&status), expected);
    }

    #[test]
    fn the_last_reload_tells_what_waits_for_a_restart() {
        let applied = json!({ "at": 0, "outcome": "applied", "needs_restart": ["log.json"] });
        assert!(last_reload(&applied).ends_with("until a restart: log.json"));
        let refused = json!({ "at": 0, "outcome": "refused", "faults": [{}, {}] });
        assert!(last_reload(&refused).contains("refused, faults: 2"));
    }
}
