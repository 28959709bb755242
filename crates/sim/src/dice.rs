//! Chance.

use gantry_core::IdGenerator;

/// All that is random in a world.
#[derive(Debug)]
pub(crate) struct Dice(IdGenerator);

impl Dice {
    pub(crate) fn new(seed: u64, purpose: u64) -> Self {
        // Neighbouring seeds must not make similar worlds (splitmix64).
        let mut state = seed ^ purpose.rotate_left(32);
        let words = [(); 4].map(|()| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut word = state;
            word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            word ^ (word >> 31)
        });
        Self(IdGenerator::new(words))
    }

    pub(crate) fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A generator of ids for one life of the scheduler.
    pub(crate) fn ids(&mut self) -> IdGenerator {
        IdGenerator::new([self.bits(), self.bits(), self.bits(), self.bits()])
    }

    /// 0 to `limit - 1`; 0 for no limit at all.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        if limit == 0 { 0 } else { self.bits() % limit }
    }

    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// True so many times in a thousand.
    pub(crate) fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }

    /// Mostly short, sometimes many times as long.
    pub(crate) fn around(&mut self, mean: u64) -> u64 {
        let mut time = self.below(mean.max(1) * 3 / 2);
        if self.chance(100) {
            time *= 5;
        }
        time + 1
    }

    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        items.get(self.below(items.len() as u64) as usize)
    }
}
