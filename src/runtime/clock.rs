//! The time of a term: the wall clock as it was at the start, and the time that has passed since.

use std::time::{SystemTime, UNIX_EPOCH};

use gantry_core::Timestamp;
use tokio::time::Instant;

/// Never goes back, whatever is done to the wall clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    wall: Timestamp,
    started: Instant,
}

impl Clock {
    /// Starts no earlier than `newest`, the newest moment that any record tells of: another machine
    /// may have written it, with a clock that is ahead of ours.
    pub(crate) fn start(newest: Timestamp) -> Self {
        Self {
            wall: wall().max(newest),
            started: Instant::now(),
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.wall + self.started.elapsed()
    }

    /// When it will be `timestamp`: rounded up, so that waking then is never too early.
    pub(crate) fn instant(&self, timestamp: Timestamp) -> Instant {
        self.started + timestamp.since(self.wall)
    }
}

/// The wall clock: only to tell how long ago something was.
pub(crate) fn wall() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    let millis = since_epoch.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(0));
    Timestamp::from_millis(millis)
}
