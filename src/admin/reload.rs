//! A wish to re-read the configuration, on its way to whoever can, and what came of it.
//!
//! It reads and applies nothing: `server` holds the other end.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use http::StatusCode;
use serde_json::{Value, json};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};

use super::{reply::Reply, unix};
use crate::config::Fault;

/// Reloads that may wait for the one under way.
const WAITING: usize = 16;

/// For a reload to end: disks may be slow.
const DEADLINE: Duration = Duration::from_secs(30);

/// What a reload changed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Reloaded {
    /// Keys whose new values are in force.
    pub changed: Vec<String>,
    /// Keys that differ from what the process started with and are not in force.
    pub needs_restart: Vec<String>,
}

/// What became of a reload: with faults, everything stays as it was.
pub type Outcome = Result<Reloaded, Vec<Fault>>;

type Last = Arc<Mutex<Option<(SystemTime, Outcome)>>>;

/// Asks for reloads, and knows what became of the last one. Clones share it.
#[derive(Clone, Debug)]
pub struct Reloads {
    asks: mpsc::Sender<Option<oneshot::Sender<Outcome>>>,
    last: Last,
}

/// The other end: who carries the reloads out, one after the other.
#[derive(Debug)]
pub struct Asked {
    asks: mpsc::Receiver<Option<oneshot::Sender<Outcome>>>,
    last: Last,
}

/// One wish. It is answered once.
#[derive(Debug)]
pub struct Ask {
    answer: Option<oneshot::Sender<Outcome>>,
    last: Last,
}

impl Reloads {
    /// Both ends.
    #[must_use]
    pub fn channel() -> (Self, Asked) {
        let (sender, receiver) = mpsc::channel(WAITING);
        let last = Last::default();
        let asked = Asked {
            asks: receiver,
            last: Arc::clone(&last),
        };
        let reloads = Self { asks: sender, last };
        (reloads, asked)
    }

    /// Asks for a reload and waits for nothing.
    pub fn ask(&self) {
        // A full queue: those that wait will read the file as it is by then.
        let _ = self.asks.try_send(None);
    }

    /// The answer to `POST /reload` of `file`.
    pub(super) async fn answer(&self, file: &Path) -> Reply {
        let (sender, receiver) = oneshot::channel();
        let outcome = async {
            self.asks.send(Some(sender)).await.ok()?;
            receiver.await.ok()
        };
        match timeout(DEADLINE, outcome).await {
            Ok(Some(outcome)) => {
                let status = match outcome {
                    Ok(_) => StatusCode::OK,
                    Err(_) => StatusCode::UNPROCESSABLE_ENTITY,
                };
                let mut told = shown(&outcome);
                if let Some(told) = told.as_object_mut() {
                    told.insert("file".into(), file.to_string_lossy().into());
                }
                Reply::json(status, &told)
            }
            Ok(None) => Reply::error(StatusCode::SERVICE_UNAVAILABLE, "the process is stopping"),
            Err(_) => Reply::error(
                StatusCode::GATEWAY_TIMEOUT,
                "the reload is still under way: a disk may hang; GET /status tells what became of it",
            ),
        }
    }

    /// The last reload as `GET /status` shows it; null where there was none.
    pub(super) fn last(&self) -> Value {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().map_or(Value::Null, |(at, outcome)| {
            let mut last = shown(outcome);
            if let Some(last) = last.as_object_mut() {
                last.insert("at".into(), unix(*at).into());
            }
            last
        })
    }
}

impl Asked {
    /// The next wish; `None` once nobody can have one any more.
    pub async fn next(&mut self) -> Option<Ask> {
        let answer = self.asks.recv().await?;
        let last = Arc::clone(&self.last);
        Some(Ask { answer, last })
    }
}

impl Ask {
    /// Says what became of it.
    pub fn done(self, outcome: Outcome) {
        let now = SystemTime::now();
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((now, outcome.clone()));
        if let Some(answer) = self.answer {
            // Whoever asked may have gone.
            let _ = answer.send(outcome);
        }
    }
}

fn shown(outcome: &Outcome) -> Value {
    match outcome {
        Ok(reloaded) => json!({
            "outcome": "applied",
            "changed": reloaded.changed,
            "needs_restart": reloaded.needs_restart,
        }),
        Err(faults) => {
            let faults = faults.iter().map(
                |fault| json!({ "key": fault.key, "value": fault.value, "remedy": fault.remedy }),
            );
            json!({
                "outcome": "refused",
                "error": {
                    "code": 422,
                    "message": "the configuration has faults; the one before stays in force",
                },
                "faults": faults.collect::<Vec<_>>(),
            })
        }
    }
}
