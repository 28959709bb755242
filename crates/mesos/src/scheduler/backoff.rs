//! Growing pauses between attempts.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// A number from 0 (included) to 1 (excluded), different each time.
///
/// Randomness here only keeps clients from acting in step; the hasher the standard
/// library seeds for each map is random enough and costs no dependency.
pub(super) fn random() -> f64 {
    let bits = RandomState::new().hash_one(0u8) >> 11;
    bits as f64 / (1u64 << 53) as f64
}

/// Doubling pauses with jitter.
#[derive(Clone, Debug)]
pub(super) struct Backoff {
    initial: Duration,
    max: Duration,
    current: Duration,
}

impl Backoff {
    pub(super) fn new(initial: Duration, max: Duration) -> Self {
        let max = max.max(initial);
        Self {
            initial,
            max,
            current: initial,
        }
    }

    /// The next pause: between half of the current one and all of it.
    pub(super) fn next(&mut self) -> Duration {
        let pause = self.current;
        self.current = pause.saturating_mul(2).min(self.max);
        pause.mul_f64(0.5 + random() / 2.0)
    }

    pub(super) fn reset(&mut self) {
        self.current = self.initial;
    }

    /// From now on, pause as long as ever.
    pub(super) fn exhaust(&mut self) {
        self.current = self.max;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_the_limit_and_start_again() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(5));
        for expected in [1, 2, 4, 5, 5] {
            let pause = backoff.next().as_secs_f64();
            let expected = f64::from(expected);
            assert!(
                (expected / 2.0..=expected).contains(&pause),
                "{pause} of {expected}"
            );
        }
        backoff.reset();
        assert!(backoff.next() <= Duration::from_secs(1));
        backoff.exhaust();
        assert!(backoff.next() >= Duration::from_millis(2500));
        assert_ne!(random().to_bits(), random().to_bits());
    }
}
