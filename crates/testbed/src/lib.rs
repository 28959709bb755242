//! What tests run against: real ZooKeeper servers ([`Ensemble`]), and a proxy that cuts
//! connections off in the ways that networks do ([`Proxy`]).
//!
//! Everything listens on 127.0.0.1, on ports that were free, and is ended and removed when
//! dropped. A failure to start panics: there is nothing a test could do about it.

#![expect(
    clippy::expect_used,
    reason = "a test bed reports by panicking, wherever it is called from"
)]

mod ports;
mod proxy;
mod zookeeper;

pub use ports::free_port;
pub use proxy::{Link, Proxy, Traffic};
pub use zookeeper::{Ensemble, Role, SESSION_MAX, Server, Setup};

use std::time::Duration;

/// Longer than any step of a test takes, even on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for what should happen soon.
///
/// # Panics
/// When it does not happen within [`PATIENCE`].
pub async fn soon<T>(what: &str, event: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, event)
        .await
        .unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}"))
}
