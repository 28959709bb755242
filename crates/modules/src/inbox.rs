//! What waits for a module's thread: three bounded queues and a bell.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use serde_json::Value;
use tokio::sync::oneshot;

use crate::{
    answer::Answer,
    module::{NoAnswer, Question},
};

/// A question with the place its answer goes to.
pub(crate) struct Ask {
    pub(crate) question: Question,
    pub(crate) reply: oneshot::Sender<Result<Answer, NoAnswer>>,
}

/// The outcome of what the module had asked of the world.
pub(crate) struct Outcome {
    pub(crate) request: u32,
    pub(crate) result: Result<Value, String>,
}

/// The next thing for the thread to do.
pub(crate) enum Next {
    Ask(Ask),
    Outcome(Outcome),
    Event(Arc<str>),
    /// The time is up.
    Nothing,
    /// Nobody wants the module any more.
    Closed,
}

pub(crate) struct Inbox {
    queues: Mutex<Queues>,
    bell: Condvar,
}

#[derive(Default)]
struct Queues {
    asks: VecDeque<Ask>,
    /// Asks that were taken and are not answered.
    open: usize,
    // Bounded by the requests that may be under way.
    outcomes: VecDeque<Outcome>,
    events: VecDeque<Arc<str>>,
    dropped: u64,
    closed: bool,
}

impl Inbox {
    pub(crate) fn new() -> Self {
        Self {
            queues: Mutex::default(),
            bell: Condvar::new(),
        }
    }

    /// Puts an event in; it is dropped and counted when `max` wait.
    pub(crate) fn tell(&self, event: Arc<str>, max: usize) {
        let mut queues = self.lock();
        if queues.closed {
            return;
        }
        if queues.events.len() >= max {
            queues.dropped += 1;
            return;
        }
        queues.events.push_back(event);
        if queues.events.len() == 1 {
            self.bell.notify_one();
        }
    }

    /// Puts a question in, unless `max` wait or are being answered.
    pub(crate) fn ask(&self, ask: Ask, max: usize) -> Result<(), NoAnswer> {
        let mut queues = self.lock();
        if queues.closed {
            return Err(NoAnswer::Stopped);
        }
        if queues.asks.len() + queues.open >= max {
            return Err(NoAnswer::Busy);
        }
        queues.asks.push_back(ask);
        self.bell.notify_one();
        Ok(())
    }

    pub(crate) fn complete(&self, outcome: Outcome) {
        let mut queues = self.lock();
        if !queues.closed {
            queues.outcomes.push_back(outcome);
            self.bell.notify_one();
        }
    }

    /// A question that was taken has its answer.
    pub(crate) fn answered(&self) {
        let mut queues = self.lock();
        queues.open = queues.open.saturating_sub(1);
    }

    /// Ends everything: what waits is dropped, which tells those who asked.
    pub(crate) fn close(&self) {
        let mut queues = self.lock();
        *queues = Queues {
            dropped: queues.dropped,
            closed: true,
            ..Queues::default()
        };
        self.bell.notify_one();
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    pub(crate) fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// The next thing to do, awaited until `until`; events only when they are wanted.
    pub(crate) fn next(&self, until: Option<Instant>, events_wanted: bool) -> Next {
        let mut queues = self.lock();
        loop {
            if queues.closed {
                return Next::Closed;
            }
            if let Some(outcome) = queues.outcomes.pop_front() {
                return Next::Outcome(outcome);
            }
            if let Some(ask) = queues.asks.pop_front() {
                queues.open += 1;
                return Next::Ask(ask);
            }
            if events_wanted && let Some(event) = queues.events.pop_front() {
                return Next::Event(event);
            }
            queues = match until {
                None => self
                    .bell
                    .wait(queues)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(until) => {
                    let left = until.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Next::Nothing;
                    }
                    let waited = self.bell.wait_timeout(queues, left);
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
