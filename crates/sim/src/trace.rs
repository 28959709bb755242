//! The account of a run.

use std::{
    collections::VecDeque,
    fmt,
    hash::{DefaultHasher, Hasher},
};

/// How many lines are kept.
const LINES: usize = 250;

/// The last things that happened, and a fingerprint of all.
#[derive(Debug)]
pub(crate) struct Trace {
    lines: Option<VecDeque<String>>,
    hasher: DefaultHasher,
}

impl Trace {
    pub(crate) fn new(kept: bool) -> Self {
        Self {
            lines: kept.then(VecDeque::new),
            hasher: DefaultHasher::new(),
        }
    }

    /// Adds to the fingerprint.
    pub(crate) fn count(&mut self, number: u64) {
        self.hasher.write_u64(number);
    }

    pub(crate) fn fingerprint(&self) -> u64 {
        self.hasher.finish()
    }

    /// Adds a line; `what` is only asked for when lines are kept.
    pub(crate) fn line<T: fmt::Display>(&mut self, now: u64, what: impl FnOnce() -> T) {
        if let Some(lines) = &mut self.lines {
            if lines.len() == LINES {
                lines.pop_front();
            }
            lines.push_back(format!("{:>9.3} {}", now as f64 / 1000.0, what()));
        }
    }

    pub(crate) fn into_lines(self) -> Vec<String> {
        self.lines.unwrap_or_default().into()
    }
}
