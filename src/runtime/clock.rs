//! The time of a run: the wall clock as it was at the start, and the time that has passed since.

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
    pub(crate) fn start() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH);
        let millis = wall.map_or(0, |wall| u64::try_from(wall.as_millis()).unwrap_or(0));
        Self {
            wall: Timestamp::from_millis(millis),
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
