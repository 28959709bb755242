//! The account of a run.

use std::{
    collections::VecDeque,
    fmt,
    hash::{DefaultHasher, Hasher},
};

/// How many lines the end of an account has.
const LINES: usize = 250;

/// How much of an account is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    None,
    /// The last things that happened.
    End,
    All,
}

/// What happened, and a fingerprint of it.
#[derive(Debug)]
pub(crate) struct Trace {
    detail: Detail,
    lines: VecDeque<String>,
    hasher: DefaultHasher,
}

impl Trace {
    pub(crate) fn new(detail: Detail) -> Self {
        Self {
            detail,
            lines: VecDeque::new(),
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
        if self.detail == Detail::None {
            return;
        }
        if self.detail == Detail::End && self.lines.len() == LINES {
            self.lines.pop_front();
        }
        let line = format!("{:>9.3} {}", now as f64 / 1000.0, what());
        self.lines.push_back(line);
    }

    pub(crate) fn into_lines(self) -> Vec<String> {
        self.lines.into()
    }
}
