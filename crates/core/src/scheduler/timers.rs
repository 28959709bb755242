//! What is to be looked at later.
//!
//! A timer is only a reason to look: whether there is anything to do is seen from the state when
//! it fires, so none is ever cancelled.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::ServiceIndex;
use crate::Timestamp;

/// What to look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// An instance: its back-off, the patience with an unreachable task or with a replacement is
    /// over, or a new task has run for long enough to count.
    Instance { service: ServiceIndex, number: u32 },
    /// A launched task that should have been heard of.
    Launch {
        service: ServiceIndex,
        number: u32,
        run: u32,
    },
    /// A task that should have ended after KILL.
    Kill {
        service: ServiceIndex,
        number: u32,
        run: u32,
    },
    /// Tasks that have not answered the reconciliation.
    Reconcile,
    /// All tasks, as a matter of routine.
    ReconcileAll,
    /// Whether Mesos has told of tasks that have no record.
    Strangers,
    /// Held offers.
    Offers,
    /// Whether to ask for offers.
    Revive,
    /// Unknown tasks.
    KillUnknown,
    /// Whether to let go of the brake.
    Brake,
    /// Questions to modules that have no answer.
    Admission,
}

#[derive(Debug, Default)]
pub(super) struct Timers {
    heap: BinaryHeap<Reverse<(Timestamp, Timer)>>,
}

impl Timers {
    pub(super) fn set(&mut self, at: Timestamp, timer: Timer) {
        self.heap.push(Reverse((at, timer)));
    }

    pub(super) fn pop_due(&mut self, now: Timestamp) -> Option<Timer> {
        let Reverse((at, _)) = self.heap.peek()?;
        if *at > now {
            return None;
        }
        self.heap.pop().map(|Reverse((_, timer))| timer)
    }

    pub(super) fn next(&self) -> Option<Timestamp> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }
}
