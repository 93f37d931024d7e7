//! The threads of the hub: each with a runtime of its own, on which one shard runs.
//!
//! A publish is a few small steps, and so is its delivery to few browsers: to hand them from one
//! worker of a shared runtime to another costs more than the steps do. So the publish socket is
//! served on the first of these threads, and a publication for its shard needs no other one. What
//! runs there yields often, and never waits for a disk or a lock that is held for long.

use std::{io, thread};

use tokio::runtime::{Builder, Handle};

use crate::shutdown::Tasks;

/// The runtimes of threads that last as long as a stage's tasks.
#[derive(Clone, Debug)]
pub(super) struct Threads(Vec<Handle>);

impl Threads {
    /// Starts `count` threads; they end once `tasks` was finished and its last task has ended.
    ///
    /// # Errors
    ///
    /// The machine has no further thread. Those that were started end with `tasks`.
    pub(super) fn start(count: usize, tasks: &Tasks) -> io::Result<Self> {
        let start = |number| {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            let (handle, tasks) = (runtime.handle().clone(), tasks.clone());
            let thread = thread::Builder::new().name(format!("sidewire-hub-{number}"));
            thread.spawn(move || runtime.block_on(tasks.ended()))?;
            Ok(handle)
        };
        (0..count).map(start).collect::<io::Result<_>>().map(Self)
    }

    /// The runtimes of all of them, one a shard.
    pub(super) fn handles(&self) -> &[Handle] {
        &self.0
    }

    /// The runtime that the publish socket is served on; the caller's where there is no thread.
    pub(super) fn first(&self) -> Handle {
        self.0.first().cloned().unwrap_or_else(Handle::current)
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use super::*;

    #[tokio::test]
    async fn what_runs_there_needs_no_worker_of_the_callers_and_ends_with_its_stage() {
        let tasks = Tasks::new();
        let threads = Threads::start(2, &tasks).unwrap();
        let (name, names) = mpsc::channel();
        for runtime in threads.handles() {
            let (name, stopping) = (name.clone(), tasks.clone());
            tasks.spawn_on(runtime, async move {
                let of_thread = thread::current().name().map(str::to_owned);
                name.send(of_thread).unwrap();
                stopping.stopping().await;
            });
        }
        // The caller's only worker is blocked meanwhile.
        let wait = Duration::from_secs(5);
        let mut seen = [(); 2].map(|()| names.recv_timeout(wait).unwrap().unwrap());
        seen.sort();
        assert_eq!(seen, ["sidewire-hub-0", "sidewire-hub-1"]);
        assert_eq!(tasks.finish(wait).await, Ok(()));
    }
}
