//! What the runtime measures of itself, as plain numbers that anybody may read at any time.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// A number that one part writes and others read.
#[derive(Debug, Default)]
pub struct Number(AtomicU64);

impl Number {
    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub(crate) fn add(&self, value: u64) {
        self.0.fetch_add(value, Ordering::Relaxed);
    }
}

/// Durations by size, as a Prometheus histogram has them.
#[derive(Debug, Default)]
pub struct Durations {
    buckets: [Number; Self::BOUNDS_MICROS.len()],
    count: Number,
    sum_micros: Number,
}

impl Durations {
    /// Upper bounds of the buckets in microseconds; longer ones are only counted.
    pub const BOUNDS_MICROS: [u64; 10] = [
        50, 250, 1_000, 5_000, 10_000, 25_000, 100_000, 500_000, 2_500_000, 10_000_000,
    ];

    /// How many were measured.
    pub fn count(&self) -> u64 {
        self.count.get()
    }

    /// Their sum.
    pub fn sum(&self) -> Duration {
        Duration::from_micros(self.sum_micros.get())
    }

    /// Upper bound of each bucket with the number of durations up to it, ascending.
    pub fn cumulative(&self) -> impl Iterator<Item = (Duration, u64)> {
        let mut sum = 0;
        self.buckets
            .iter()
            .zip(Self::BOUNDS_MICROS)
            .map(move |(bucket, bound)| {
                sum += bucket.get();
                (Duration::from_micros(bound), sum)
            })
    }

    pub(crate) fn observe(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        let bucket = Self::BOUNDS_MICROS.partition_point(|bound| *bound < micros);
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.add(1);
        }
        self.count.add(1);
        self.sum_micros.add(micros);
    }
}

/// What the runtime measures of itself. Sums since the start, unless said otherwise.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Inputs that wait for the loop, now.
    pub queue_depth: Number,
    /// Inputs taken.
    pub inputs: Number,
    /// Steps of the scheduler.
    pub steps: Durations,
    /// From an offer's coming to the leaving of its ACCEPT, to the millisecond: what the offer
    /// was held, the step and the commit.
    pub offer_to_accept: Durations,
    /// Commits of the store that succeeded, with how long each took.
    pub commits: Durations,
    /// Attempts to commit that failed and were repeated.
    pub commit_failures: Number,
    /// Writes committed.
    pub writes: Number,
    /// Writes in the last commit.
    pub last_batch: Number,
    /// Steps whose effects wait for the store, now.
    pub uncommitted_steps: Number,
    /// Calls handed to the client of the master.
    pub calls: Number,
    /// Views published.
    pub views: Number,
    /// Commands refused because the queue was full, or because Gantry was stopping.
    pub commands_refused_busy: Number,
    /// Items of Mesos that could not be understood and were left out.
    pub items_refused: Number,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_into_their_buckets() {
        let durations = Durations::default();
        for micros in [50, 51, 20_000_000] {
            durations.observe(Duration::from_micros(micros));
        }
        let cumulative: Vec<u64> = durations.cumulative().map(|(_, count)| count).collect();
        assert_eq!(cumulative, [1, 2, 2, 2, 2, 2, 2, 2, 2, 2]);
        assert_eq!(durations.count(), 3);
        assert_eq!(durations.sum(), Duration::from_micros(20_000_101));
    }
}
