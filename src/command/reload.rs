//! `sidewire reload`: has the running sidecar read its configuration again.

use std::{path::PathBuf, time::Duration};

use http::StatusCode;
use serde_json::Value;

use super::{BAD_CONFIG, CANNOT, ConfigFile, Configured, Failed, say};
use crate::config::{Fault, Faults};

/// The sidecar itself gives up after 30 seconds, and says so.
const REPLY_TIMEOUT: Duration = Duration::from_secs(35);

/// Which sidecar is meant.
#[derive(Clone, Debug, Eq, PartialEq, clap::Args)]
#[command(
    after_help = "Certificates, keys, namespaces and origins of sites, and the log's filter are in force \
    at once;\nother keys that have changed are named and need a restart. SIGHUP (`systemctl reload sidewire`) does the same and \
    tells the log.\n\
    Exit codes: 0 in force · 1 nobody answers · 78 faults in the configuration: the one before stays"
)]
pub struct Arguments {
    /// Names sockets and secrets.
    #[command(flatten)]
    pub config: ConfigFile,
}

/// Reloads, and tells what came of it.
///
/// # Errors
///
/// The configuration before stays in force.
pub async fn run(arguments: Arguments) -> Result<(), Failed> {
    let configured = Configured::read(&arguments.config.file)?;
    let socket = configured.admin_socket()?;
    let answer = socket.ask("POST", "/reload", REPLY_TIMEOUT).await?;
    let body = answer.json().unwrap_or_default();
    match answer.status {
        StatusCode::OK => {
            say(&applied(&body));
            Ok(())
        }
        StatusCode::UNPROCESSABLE_ENTITY => {
            let faults = faults(&body);
            // Which file is read the running process knows; ours only named its socket.
            let read = body.get("file").and_then(Value::as_str);
            let file = read.map_or_else(|| configured.file.clone(), PathBuf::from);
            let message = format!(
                "{}\nthe configuration before stays in force",
                Faults { file, faults }
            );
            Err((BAD_CONFIG, message))
        }
        status => {
            let words = body.pointer("/error/message").and_then(Value::as_str);
            let words = words.unwrap_or("is it a sidecar that listens there?");
            let path = socket.path.display();
            Err((
                CANNOT,
                format!("sidewire: socket {path} answered {status}: {words}"),
            ))
        }
    }
}

fn applied(body: &Value) -> String {
    let list = |name: &str| {
        let keys = body.get(name).and_then(Value::as_array);
        let keys = keys.into_iter().flatten().filter_map(Value::as_str);
        keys.fold(String::new(), |list, key| format!("{list}\n  {key}"))
    };
    let (changed, waiting) = (list("changed"), list("needs_restart"));
    let file = body.get("file").and_then(Value::as_str);
    let file = file.unwrap_or("the configuration");
    let mut text = if changed.is_empty() {
        format!("{file} was read again; nothing that a reload applies has changed")
    } else {
        format!("{file} was read again; in force now:{changed}")
    };
    if !waiting.is_empty() {
        text.push_str(&format!(
            "\nneeds a restart (`systemctl restart sidewire`):{waiting}"
        ));
    }
    text
}

fn faults(body: &Value) -> Vec<Fault> {
    let faults = body.get("faults").and_then(Value::as_array);
    let faults = faults.into_iter().flatten().map(|fault| {
        let text = |name| fault.get(name).and_then(Value::as_str).map(str::to_owned);
        Fault {
            key: text("key").unwrap_or_default(),
            value: text("value"),
            remedy: text("remedy").unwrap_or_default(),
        }
    });
    faults.collect()
}
