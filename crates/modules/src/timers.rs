//! A module's timers.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// Shortest time between two runs of one timer: less is spinning.
pub(crate) const SHORTEST: Duration = Duration::from_millis(10);

/// Longest time that a timer may wait.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);

/// Timers with what they carry, by the time they are due.
pub(crate) struct Timers<F> {
    due: BTreeMap<(Instant, u32), Timer<F>>,
    /// Those taken out to run that go on afterwards.
    out: BTreeSet<u32>,
    last: u32,
}

pub(crate) struct Timer<F> {
    pub(crate) id: u32,
    pub(crate) function: F,
    /// How often, when it goes on.
    pub(crate) every: Option<Duration>,
}

impl<F> Timers<F> {
    pub(crate) fn new() -> Self {
        Self {
            due: BTreeMap::new(),
            out: BTreeSet::new(),
            last: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.due.len() + self.out.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A new timer that is due in `millis`, and that often again when it repeats.
    pub(crate) fn add(&mut self, now: Instant, function: F, millis: f64, repeat: bool) -> u32 {
        let wait = if millis.is_finite() {
            millis.max(0.0)
        } else {
            0.0
        };
        let wait = Duration::try_from_secs_f64(wait / 1000.0)
            .unwrap_or(LONGEST)
            .min(LONGEST);
        self.last = self.last.wrapping_add(1);
        let id = self.last;
        let every = repeat.then(|| wait.max(SHORTEST));
        let timer = Timer {
            id,
            function,
            every,
        };
        self.due.insert((now + every.unwrap_or(wait), id), timer);
        id
    }

    pub(crate) fn remove(&mut self, id: u32) {
        if !self.out.remove(&id) {
            self.due.retain(|(_, timer), _| *timer != id);
        }
    }

    /// When the next one is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.due.first_key_value().map(|((due, _), _)| *due)
    }

    /// Takes the next one out, when it is due.
    pub(crate) fn take(&mut self, now: Instant) -> Option<Timer<F>> {
        let entry = self.due.first_entry()?;
        let timer = (entry.key().0 <= now).then(|| entry.remove())?;
        if timer.every.is_some() {
            self.out.insert(timer.id);
        }
        Some(timer)
    }

    /// Puts one back that goes on, unless it was removed meanwhile: its next run is counted from
    /// now, so that none pile up.
    pub(crate) fn again(&mut self, now: Instant, timer: Timer<F>) {
        if let Some(every) = timer.every
            && self.out.remove(&timer.id)
        {
            self.due.insert((now + every, timer.id), timer);
        }
    }
}
