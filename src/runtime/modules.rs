//! What modules have a say in, between them and the scheduler.
//!
//! ```ignore
//! let mut questions = handle.questions();
//! handle.need_admission(true);
//! while let Some(question) = questions.next().await {
//!     // question.workload, question.number, question.revision
//!     let verdict = …;
//!     let _ = handle.admit(&question, verdict).await; // `Err`: nobody waits for it any more.
//! }
//! handle.need_admission(false); // Modules are gone: nobody needs to be asked.
//! ```
//!
//! Questions are not lost for good: one that nobody took, or that nobody answered within
//! [`gantry_core::ASK_AGAIN_AFTER`], is asked again, with the same `asked`; either answer counts. So
//! the same question may come twice, and whoever answers slowly may pass over the second. At most
//! [`gantry_core::QUESTIONS_MAX`] questions wait for an answer at once.

use std::sync::{Mutex, PoisonError};

use gantry_core::{Input, QUESTIONS_MAX, Question, Settings, TaskId, Verdict, Workloads};
use tokio::sync::{mpsc, watch};

/// Most words of modules that wait for the loop. At the bound a module waits.
pub(crate) const SAID_MAX: usize = 1_024;

/// What a module says.
#[derive(Debug)]
pub(crate) enum Said {
    Admission(Question, Verdict),
    Readiness(TaskId, bool),
}

impl From<Said> for Input {
    fn from(said: Said) -> Self {
        match said {
            Said::Admission(question, verdict) => Self::Admission {
                workload: question.workload,
                number: question.number,
                asked: question.asked,
                verdict,
            },
            Said::Readiness(task, ready) => Self::Readiness { task, ready },
        }
    }
}

/// What modules have a say in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Needs {
    pub(crate) admission: bool,
    pub(crate) readiness: Workloads,
}

/// What modules have a say in now, and its later changes.
pub(crate) struct NeedsNow {
    now: Needs,
    pub(crate) changes: watch::Receiver<Needs>,
}

impl NeedsNow {
    pub(crate) fn applied_to(&self, settings: Settings) -> Settings {
        Settings {
            admission: self.now.admission,
            readiness: self.now.readiness.clone(),
            ..settings
        }
    }
}

/// The questions of the scheduler to modules, of this and all later terms. See
/// [`crate::runtime::Handle::questions`].
#[derive(Debug)]
pub struct Questions(mpsc::Receiver<Question>);

impl Questions {
    /// The next question, awaited. `None` when another stream has taken the place of this one.
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Question> {
        self.0.recv().await
    }
}

/// The side of the process; lives through all terms.
#[derive(Debug, Default)]
pub(crate) struct Modules {
    needs: watch::Sender<Needs>,
    questions: Mutex<Option<mpsc::Sender<Question>>>,
}

impl Modules {
    pub(crate) fn change(&self, change: impl FnOnce(&mut Needs)) {
        self.needs.send_if_modified(|needs| {
            let before = needs.clone();
            change(needs);
            *needs != before
        });
    }

    pub(crate) fn needs(&self) -> NeedsNow {
        let mut changes = self.needs.subscribe();
        let now = changes.borrow_and_update().clone();
        NeedsNow { now, changes }
    }

    pub(crate) fn questions(&self) -> Questions {
        let (sender, receiver) = mpsc::channel(QUESTIONS_MAX);
        *self.sender() = Some(sender);
        Questions(receiver)
    }

    /// Those that find no room, or nobody who listens, are asked again.
    pub(crate) fn ask(&self, questions: Vec<Question>) {
        if questions.is_empty() {
            return;
        }
        if let Some(sender) = &*self.sender() {
            for question in questions {
                if sender.try_send(question).is_err() {
                    return;
                }
            }
        }
    }

    fn sender(&self) -> std::sync::MutexGuard<'_, Option<mpsc::Sender<Question>>> {
        // Whoever panicked left a sender there, or none.
        self.questions
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
