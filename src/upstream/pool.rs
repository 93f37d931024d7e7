//! Connections that are kept between requests: the last one back is the first one out.
//!
//! A kept connection may have been closed by the server a moment ago; whoever takes one must be
//! ready for that.

use std::{
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Duration,
};

use hyper::client::conn::http1::SendRequest;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until, timeout},
};
use tokio_util::sync::DropGuard;

use super::{body::RequestBody, connect::Signs};
use crate::shutdown::Tasks;

/// One connection between requests, or with one under way. Dropping it closes it at once.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) sender: SendRequest<RequestBody>,
    pub(super) signs: Arc<Signs>,
    /// Ends the task that drives the connection.
    pub(super) _close: DropGuard,
}

/// The kept connections of one server.
#[derive(Debug)]
pub(super) struct Pool {
    state: Mutex<State>,
    /// Wakes the task that closes what is kept too long.
    kept: Notify,
    max: usize,
    idle_timeout: Duration,
}

#[derive(Debug, Default)]
struct State {
    /// Oldest first.
    idle: Vec<(Instant, Connection)>,
    closed: bool,
}

impl Pool {
    pub(super) fn new(max: usize, idle_timeout: Duration) -> Self {
        Self {
            state: Mutex::default(),
            kept: Notify::new(),
            max,
            idle_timeout,
        }
    }

    /// A kept connection that was idle for less than `idle_max` and is ready for a request;
    /// `wait` bounds how long one may take to become so.
    pub(super) async fn take(&self, idle_max: Duration, wait: Duration) -> Option<Connection> {
        let idle_max = idle_max.min(self.idle_timeout);
        loop {
            let (since, mut connection) = self.with(|state| state.idle.pop())?;
            if since.elapsed() >= idle_max {
                // All others are older still: good for nothing, or for another request.
                self.with(|state| state.idle.push((since, connection)));
                return None;
            }
            if let Ok(Ok(())) = timeout(wait, connection.sender.ready()).await {
                connection.signs.heard.store(false, Ordering::Release);
                return Some(connection);
            }
        }
    }

    /// Keeps `connection`, unless it is closed, there are enough, or the pool is closed.
    pub(super) fn put(&self, connection: Connection) {
        let shut = connection.signs.shut.load(Ordering::Acquire);
        if shut || connection.sender.is_closed() {
            return;
        }
        let surplus = self.with(|state| {
            if state.closed || state.idle.len() >= self.max {
                return Some(connection);
            }
            state.idle.push((Instant::now(), connection));
            None
        });
        if surplus.is_none() {
            self.kept.notify_one();
        }
    }

    /// Closes connections that are kept too long, and all of them once the stage is told to
    /// stop; ends once the pool is closed.
    pub(super) async fn expire(self: Arc<Self>, tasks: Tasks) {
        while !self.with(|state| state.closed) {
            let oldest = self.with(|state| state.idle.first().map(|(since, _)| *since));
            let wait = async {
                match oldest {
                    Some(since) => sleep_until(since + self.idle_timeout).await,
                    None => self.kept.notified().await,
                }
            };
            tokio::select! {
                () = tasks.stopping() => break,
                () = wait => {}
            }
            let now = Instant::now();
            drop(self.with(|state| {
                let old = |(since, _): &(Instant, Connection)| now - *since >= self.idle_timeout;
                let end = state.idle.iter().take_while(|idle| old(idle)).count();
                state.idle.drain(..end).collect::<Vec<_>>()
            }));
        }
        self.close();
    }

    /// Closes what is kept, and what comes back from now on.
    pub(super) fn close(&self) {
        drop(self.with(|state| {
            state.closed = true;
            std::mem::take(&mut state.idle)
        }));
        self.kept.notify_one();
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.with(|state| state.idle.len())
    }

    fn with<T>(&self, act: impl FnOnce(&mut State) -> T) -> T {
        act(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
