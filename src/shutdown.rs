//! Owns every task of one stage of the process: starts it, tells it to stop, waits under a
//! deadline, gives up.
//!
//! It decides no order among stages: `server` holds one [`Tasks`] a stage and stops them one
//! after the other.

use std::{future::Future, time::Duration};

use tokio::{runtime::Handle, task::JoinHandle, time::timeout};
use tokio_util::{
    sync::{CancellationToken, WaitForCancellationFuture},
    task::TaskTracker,
};

/// The tasks of one stage. Clones share the stage.
#[derive(Clone, Debug, Default)]
pub struct Tasks {
    tracker: TaskTracker,
    stop: CancellationToken,
}

/// Tasks that were still running when the deadline passed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0} tasks were still running at the deadline")]
pub struct Unfinished(pub usize);

impl Tasks {
    /// Starts an empty stage.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts `future`; [`Tasks::finish`] will wait for it.
    ///
    /// The one way to start a task in this crate: `tokio::spawn` is refused by the linter.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        self.tracker.spawn(future)
    }

    /// As [`Tasks::spawn`], on another runtime than the caller's.
    pub fn spawn_on<F>(&self, runtime: &Handle, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        self.tracker.spawn_on(future, runtime)
    }

    /// Resolves once the stage has been told to stop. Cancel safe.
    pub fn stopping(&self) -> WaitForCancellationFuture<'_> {
        self.stop.cancelled()
    }

    /// Whether the stage has been told to stop.
    #[must_use]
    pub fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Tells every task of the stage to stop; returns at once.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// How many tasks of the stage are running.
    #[must_use]
    pub fn running(&self) -> usize {
        self.tracker.len()
    }

    /// Resolves once the stage was finished and its last task has ended. Cancel safe.
    pub async fn ended(&self) {
        self.tracker.wait().await;
    }

    /// Tells every task to stop and waits for the last one, `deadline` at most.
    ///
    /// # Errors
    ///
    /// [`Unfinished`] when some ran on; they end with the process, so the caller logs it and
    /// goes on to the next stage.
    pub async fn finish(&self, deadline: Duration) -> Result<(), Unfinished> {
        self.stop();
        self.tracker.close();
        match timeout(deadline, self.tracker.wait()).await {
            Ok(()) => Ok(()),
            Err(_) => Err(Unfinished(self.running())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn finish_waits_for_a_task_that_heeds_the_stop() {
        let tasks = Tasks::new();
        let inside = tasks.clone();
        tasks.spawn(async move { inside.stopping().await });
        assert_eq!(tasks.finish(Duration::from_secs(5)).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn finish_gives_up_at_the_deadline_and_counts_what_runs_on() {
        let tasks = Tasks::new();
        tasks.spawn(std::future::pending::<()>());
        assert_eq!(
            tasks.finish(Duration::from_secs(5)).await,
            Err(Unfinished(1))
        );
    }
}
