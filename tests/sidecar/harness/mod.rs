//! What the tests run on: the built sidecar, the peers behind it, and raw clients in front of it.
//!
//! Everything binds a free port or a path in a directory of its own, and ends with the value that
//! stands for it. It asserts nothing about the product.
#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test may stop at the first surprise"
)]

pub(crate) mod certificate;
pub(crate) mod http;
pub(crate) mod origin;
pub(crate) mod php_fpm;
pub(crate) mod program;
pub(crate) mod publisher;
pub(crate) mod sidecar;
pub(crate) mod token;
pub(crate) mod websocket;

use std::{
    fs::Permissions,
    future::Future,
    os::unix::fs::PermissionsExt,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tempfile::TempDir;
use tokio::time::{Instant, sleep, timeout};

/// Longer than anything here takes on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Waits for `future`, not for ever.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match timeout(DEADLINE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what}: nothing within {DEADLINE:?}"),
    }
}

/// Looks until there is something to see.
pub(crate) async fn until<T, F>(what: &str, mut look: impl FnMut() -> F) -> T
where
    F: Future<Output = Option<T>>,
{
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(Instant::now() < deadline, "{what}: not within {DEADLINE:?}");
        sleep(Duration::from_millis(10)).await;
    }
}

/// A directory that other users may enter, removed at the end.
pub(crate) fn directory() -> TempDir {
    let mode = Permissions::from_mode(0o755);
    tempfile::Builder::new()
        .prefix("sidewire-")
        .permissions(mode)
        .tempdir()
        .unwrap()
}

/// Seconds since 1970.
pub(crate) fn unix_now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_secs()
}
