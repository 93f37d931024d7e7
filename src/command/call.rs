//! A signed call of the publish API, as PHP makes one.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use serde_json::Value;
use tokio::time::sleep;

use super::{CANNOT, Configured, Failed, client::REPLY_TIMEOUT};
use crate::{
    auth::signature::{self, Content},
    config::{PublishKey, Secret, Site},
};

/// The sidecar has begun so lately that it may be asked only in a moment.
const TOO_EARLY: u64 = 1_006;

/// Longest wait for that moment: it is the next second of a clock that is right.
const MOMENT_MAX: u64 = 5;

/// Calls `method` as a publisher of `site`; the whole reply, which has no error.
pub(super) async fn call(
    configured: &Configured,
    site: &Site,
    method: &str,
    body: String,
) -> Result<Value, Failed> {
    let socket = configured.publish_socket()?;
    let secret = key(configured, site, method)?;
    let body = Bytes::from(body);
    let mut waited = false;
    loop {
        let request = signed(site, secret, method, body.clone());
        let request = request.map_err(|error| (CANNOT, format!("sidewire: {error}")))?;
        let answer = socket.exchange(request, REPLY_TIMEOUT).await?;
        let Some(reply) = answer.json() else {
            let (path, status) = (socket.path.display(), answer.status);
            let message = format!("sidewire: socket {path} answered {status} and no JSON");
            return Err((CANNOT, message));
        };
        let Some(error) = reply.get("error") else {
            return Ok(reply);
        };
        let wait = moment(error).filter(|_| !waited);
        let Some(wait) = wait else {
            return Err(refused(configured, site, method, error));
        };
        waited = true;
        sleep(Duration::from_secs(wait)).await;
    }
}

/// The secret of a key that may call `method`; one that is not limited comes first.
fn key<'a>(configured: &Configured, site: &'a Site, method: &str) -> Result<&'a Secret, Failed> {
    let keys = || site.publish_keys.iter();
    let may = |known: &&PublishKey| {
        known.methods.is_empty() || known.methods.iter().any(|name| name == method)
    };
    let free = keys().find(|key| key.methods.is_empty() && key.namespaces.is_empty());
    let found = free.or_else(|| keys().find(may)).map(|key| &key.secret);
    found.ok_or_else(|| {
        let name = &site.name;
        configured.lacks(&format!(
            "site {name:?} has no [[site.publish_key]] that this user can read and that may call \
             {method:?}; run this as root or as the user whose file it is"
        ))
    })
}

fn signed(
    site: &Site,
    secret: &Secret,
    method: &str,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, Box<dyn std::error::Error>> {
    let mut random = [0_u8; 16];
    let filled = SystemRandom::new().fill(&mut random);
    filled.map_err(|_| "the system gave no random bytes")?;
    let id = format!("{method}_{:032x}", u128::from_be_bytes(random));
    let timestamp = unix_now().to_string();
    let content = Content {
        id: &id,
        timestamp: &timestamp,
        body: &body,
    };
    let signature = signature::sign(secret.as_bytes(), content);
    let request = Request::post(format!("/api/{method}"))
        .header("content-type", "application/json")
        .header("sidewire-site", &site.name)
        .header("webhook-id", &id)
        .header("webhook-timestamp", &timestamp)
        .header("webhook-signature", signature)
        .body(Full::new(body))?;
    Ok(request)
}

/// How many seconds to wait before the same is asked again; `None` where that would not help.
fn moment(error: &Value) -> Option<u64> {
    if error.get("code")?.as_u64()? != TOO_EARLY {
        return None;
    }
    let not_before = error.get("not_before")?.as_u64()?;
    let wait = not_before.saturating_sub(unix_now()).max(1);
    (wait <= MOMENT_MAX).then_some(wait)
}

fn refused(configured: &Configured, site: &Site, method: &str, error: &Value) -> Failed {
    let code = error.get("code").and_then(Value::as_u64);
    let code = code.unwrap_or_default();
    let words = error.get("message").and_then(Value::as_str);
    let words = words.unwrap_or_default();
    let (name, file) = (&site.name, configured.file.display());
    let remedy = match code {
        102 => format!(
            "no namespace of site {name:?} has what stands before its colon; \
             [[site.namespace]] in {file} adds one"
        ),
        104 => format!(
            "the running sidecar has no method {method:?}: it is older than this program; \
             restart it: `systemctl restart sidewire`"
        ),
        1_002 => "the clocks of both sides differ; `timedatectl` shows this machine's".into(),
        1_003 => format!(
            "the running sidecar knows another secret for site {name:?} than {file} has; \
             `sidewire reload` has it read that file"
        ),
        _ => String::new(),
    };
    let mut message = format!("sidewire: {method} was refused: {words} (code {code})");
    if !remedy.is_empty() {
        message = format!("{message}; {remedy}");
    }
    (CANNOT, message)
}

fn unix_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
