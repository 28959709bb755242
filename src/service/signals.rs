//! SIGTERM and SIGINT.

use std::{io, time::Duration};

use futures_util::FutureExt as _;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// A signal that comes this soon after the first is the same one again.
const ECHO: Duration = Duration::from_millis(300);

/// SIGTERM and SIGINT.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// From now on the signals are ours. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The system refuses.
    pub fn catch() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for one that is meant to hasten the end. Supervisors often send the first one twice,
    /// to the process and to its group.
    pub(super) async fn impatient(&mut self) -> &'static str {
        tokio::time::sleep(ECHO).await;
        while let Some(Some(())) = self.terminate.recv().now_or_never() {}
        while let Some(Some(())) = self.interrupt.recv().now_or_never() {}
        self.next().await
    }

    /// Waits for the next, and tells its name.
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}
