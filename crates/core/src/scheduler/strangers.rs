//! Tasks that run although there is no record of them: an older backup was restored, or what ran
//! before us failed to write them down.
//!
//! A new scheduler whose framework was there before it asks Mesos for all tasks at once, and
//! launches nothing in an instance that was there before until the answer had time to come: what
//! the answer brings is taken in instead. What is asked for from then on is launched at once.

use std::time::Duration;

use super::{Scheduler, ServiceIndex, Timer};
use crate::{TaskId, Timestamp, Waiting};

/// The answer has come when every recorded task has been heard of and nothing came for so long.
const QUIET: Duration = Duration::from_millis(500);

/// Without recorded tasks that answer, it has had time enough after this. A master answers at once
/// with everything it knows; what agents that have yet to register run it does not know, and they
/// may take minutes, so that they are not waited for.
const ANSWERED_WITHIN: Duration = Duration::from_secs(3);

/// Nothing is held longer, also where answers or other news keep coming.
const HELD_MAX: Duration = Duration::from_secs(5);

/// Whether tasks may run of which there is no record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Strangers {
    /// Mesos has told, or there never was a framework to have any.
    #[default]
    Known,
    /// Mesos is still to be asked.
    Possible,
    /// Mesos has been asked.
    Asked {
        since: Timestamp,
        /// When it last spoke of any task.
        heard: Timestamp,
        /// Whether it was asked about recorded tasks too.
        recorded: bool,
    },
}

impl Scheduler {
    /// Whether a task may run in an instance that was there before this scheduler.
    pub(super) fn awaits_strangers(&self) -> bool {
        self.connection.strangers != Strangers::Known
    }

    /// Whether an instance waits for the answer.
    pub(super) fn is_reconciling(&self) -> bool {
        self.awaits_strangers()
            && self
                .services()
                .any(|(_, service)| service.state.counts.reconciling > 0)
    }

    /// At the start.
    pub(super) fn suspect_strangers(&mut self) {
        if self.framework.is_some() {
            self.connection.strangers = Strangers::Possible;
        }
    }

    /// Mesos has subscribed us, as the framework that we were or as another.
    pub(super) fn ask_for_strangers(&mut self, as_before: bool) {
        if !self.awaits_strangers() {
            return;
        }
        if !as_before {
            return self.strangers_known();
        }
        let tasks = self
            .services()
            .map(|(_, service)| service.state.counts.tasks());
        self.connection.strangers = Strangers::Asked {
            since: self.now,
            heard: self.now,
            recorded: tasks.sum::<u32>() > 0,
        };
        self.reconcile_implicitly();
        self.timers.set(self.now + QUIET, Timer::Strangers);
    }

    /// The answer may be lost.
    pub(super) fn stop_asking_for_strangers(&mut self) {
        if self.awaits_strangers() {
            self.connection.strangers = Strangers::Possible;
        }
    }

    /// Mesos has spoken of some task.
    pub(super) fn heard_of_a_task(&mut self) {
        if let Strangers::Asked { heard, .. } = &mut self.connection.strangers {
            *heard = self.now;
        }
    }

    /// Looks whether the answer has come.
    pub(super) fn look_for_strangers(&mut self) {
        let Strangers::Asked {
            since,
            heard,
            recorded,
        } = self.connection.strangers
        else {
            return;
        };
        let confirmed = recorded
            && self
                .services()
                .all(|(_, service)| service.state.counts.unconfirmed == 0);
        let quiet = self.now >= heard + QUIET;
        let answered = quiet && (confirmed || self.now >= since + ANSWERED_WITHIN);
        if answered || self.now >= since + HELD_MAX {
            self.strangers_known();
        } else {
            self.timers.set(self.now + QUIET, Timer::Strangers);
        }
    }

    fn strangers_known(&mut self) {
        self.connection.strangers = Strangers::Known;
        self.take_in_unknown(|_| true);
        self.settle_everything(|instance| {
            matches!(instance.waiting, Some(Waiting::Reconciliation { .. }))
        });
    }

    /// The task of an instance is gone, or it is new: one that nobody knew what to do with may belong
    /// there.
    pub(super) fn take_in_successor(&mut self, index: ServiceIndex, number: u32) {
        if self.unknown_tasks.is_empty() {
            return;
        }
        let Some(service) = self.service(index) else {
            return;
        };
        let framework = &self.settings.framework;
        let start = format!("{framework}.{}-{number}.", service.state.task_name);
        self.take_in_unknown(|task| task.as_str().starts_with(&start));
    }

    fn take_in_unknown(&mut self, which: impl Fn(&TaskId) -> bool) {
        let unknown: Vec<_> = self
            .unknown_tasks
            .iter()
            .filter(|(task, _)| which(task))
            .map(|(_, update)| update.clone())
            .collect();
        for update in unknown {
            self.news_of_unknown(update);
        }
    }
}
