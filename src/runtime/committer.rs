//! Makes the writes of steps durable, many steps at a time, and lets their other effects go after,
//! as long as the lease holds.

use std::{sync::Arc, time::Duration};

use gantry_core::{Answer, Call, Notice, Question, Refusal, Timestamp, Write};
use gantry_store::{Lease, Store, StoreError};
use tokio::{sync::mpsc, time::Instant};

use super::{
    RuntimeError,
    clock::Clock,
    connection::StoreState,
    driver::Session,
    handle::{CommandError, Reply, Shared},
    news::Line,
};

/// Most steps whose effects wait for the store. At the bound the scheduler takes no inputs.
pub const UNCOMMITTED_STEPS_MAX: usize = 256;

/// No further step joins a batch of this many writes: keeps the pause of one commit short.
const BATCH_WRITES_MAX: usize = 16_384;

/// First pause before a failed commit is repeated; doubles.
const RETRY_FIRST: Duration = Duration::from_millis(100);

/// The longest such pause.
const RETRY_MAX: Duration = Duration::from_secs(5);

/// The effects of one step.
pub(crate) struct Step {
    pub(crate) at: Timestamp,
    pub(crate) session: Option<Session>,
    pub(crate) writes: Vec<Write>,
    pub(crate) calls: Vec<Call>,
    pub(crate) replies: Vec<(Reply, Result<Answer, Refusal>)>,
    pub(crate) notices: Vec<Notice>,
    pub(crate) news: Vec<Line>,
    pub(crate) questions: Vec<Question>,
}

impl Step {
    pub(crate) fn is_empty(&self) -> bool {
        self.writes.is_empty()
            && self.calls.is_empty()
            && self.replies.is_empty()
            && self.notices.is_empty()
            && self.questions.is_empty()
    }

    /// Tells those who asked that nothing has come of it.
    fn refuse(self, error: &CommandError) {
        for (reply, _) in self.replies {
            let _ = reply.send(Err(error.clone()));
        }
    }
}

/// Calls of one step, for the client of the master.
#[derive(Debug)]
pub(crate) struct Calls {
    pub(crate) session: Session,
    pub(crate) calls: Vec<Call>,
}

/// The committer. Keeps the one rule of the scheduler: the writes of a step are durable before its
/// other effects leave, and the effects of one step leave before those of the next. And the rule of
/// the lease: once it has ended nothing leaves and nothing is written, whatever was decided before.
pub(crate) struct Committer {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) lease: Lease,
    pub(crate) clock: Clock,
    pub(crate) shared: Arc<Shared>,
    pub(crate) steps: mpsc::Receiver<Step>,
    pub(crate) calls: mpsc::Sender<Calls>,
}

impl Committer {
    /// Runs until the driver has ended and everything it gave is durable and has left.
    ///
    /// # Errors
    /// The lease has ended, or the store fails in a way that no repetition mends; nothing more
    /// has left. Whoever asked for something whose writes were on their way hears that the outcome
    /// is unknown, by the dropping of the place for the answer.
    pub(crate) async fn run(mut self) -> Result<(), RuntimeError> {
        let lease = self.lease.clone();
        let outcome = tokio::select! {
            biased;
            reason = lease.lost() => Err(RuntimeError::LeaseLost(reason)),
            outcome = self.work() => outcome,
        };
        // Of what was not begun nothing has changed. The driver ends when this end is closed.
        self.steps.close();
        while let Some(step) = self.steps.recv().await {
            step.refuse(&CommandError::NotTaken);
        }
        outcome
    }

    async fn work(&mut self) -> Result<(), RuntimeError> {
        let mut next = None;
        loop {
            let first = match next.take() {
                Some(step) => step,
                None => match self.steps.recv().await {
                    Some(step) => step,
                    None => return Ok(()),
                },
            };
            if first.writes.is_empty() {
                self.release(first).await?;
                continue;
            }
            let mut writes = first.writes.len();
            let mut batch = vec![first];
            while writes < BATCH_WRITES_MAX
                && let Ok(step) = self.steps.try_recv()
            {
                if writes + step.writes.len() > BATCH_WRITES_MAX {
                    next = Some(step);
                    break;
                }
                writes += step.writes.len();
                batch.push(step);
            }
            let waiting = batch.len() + self.steps.len();
            self.shared.metrics.uncommitted_steps.set(waiting as u64);
            // In their order: a home that cuts a large batch keeps a beginning of it.
            let writes = batch
                .iter_mut()
                .flat_map(|step| std::mem::take(&mut step.writes))
                .collect();
            if let Err(error) = self.commit(writes).await {
                if let RuntimeError::Store(StoreError::TooLarge { .. }) = &error {
                    let refusal = CommandError::Unavailable {
                        reason: format!("{error}; nothing has changed"),
                    };
                    batch.into_iter().for_each(|step| step.refuse(&refusal));
                }
                return Err(error);
            }
            for step in batch {
                self.release(step).await?;
            }
            let waiting = self.steps.len() as u64;
            self.shared.metrics.uncommitted_steps.set(waiting);
        }
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<(), RuntimeError> {
        let mut pause = RETRY_FIRST;
        let mut failing_since = None;
        loop {
            self.check_lease().await?;
            let began = Instant::now();
            let outcome = self.store.commit(writes.clone()).await;
            match outcome {
                Ok(()) => {
                    let metrics = &self.shared.metrics;
                    metrics.commits.observe(began.elapsed());
                    metrics.writes.add(writes.len() as u64);
                    metrics.last_batch.set(writes.len() as u64);
                    if failing_since.is_some() {
                        tracing::info!("the store can be written again");
                        self.shared.connection.set_store(StoreState::Writable);
                    }
                    return Ok(());
                }
                Err(error @ StoreError::Unavailable { .. }) => {
                    self.shared.metrics.commit_failures.add(1);
                    let since = *failing_since.get_or_insert_with(|| self.clock.now());
                    tracing::error!(%error, ?pause, "the store was not written; trying again");
                    self.shared.connection.set_store(StoreState::Failing {
                        since,
                        error: error.to_string(),
                    });
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(RETRY_MAX);
                }
                Err(error) => {
                    // Which of the two was seen first says nothing.
                    self.check_lease().await?;
                    return Err(error.into());
                }
            }
        }
    }

    /// Lets go what a step has besides its writes.
    async fn release(&self, step: Step) -> Result<(), RuntimeError> {
        self.check_lease().await?;
        if let Some(session) = step.session
            && !step.calls.is_empty()
        {
            self.shared.metrics.calls.add(step.calls.len() as u64);
            let now = self.clock.now();
            for call in &step.calls {
                if let Call::Accept { offered_at, .. } = call {
                    let took = now.since(*offered_at);
                    self.shared.metrics.offer_to_accept.observe(took);
                }
            }
            let calls = Calls {
                session,
                calls: step.calls,
            };
            // Nobody takes calls once the client has stopped; then none can have an effect.
            let _ = self.calls.send(calls).await;
        }
        for (reply, answer) in step.replies {
            // Whoever asked may have gone.
            let _ = reply.send(answer.map_err(CommandError::Refused));
        }
        step.news.into_iter().for_each(Line::log);
        self.shared.events.tell(step.at, step.notices);
        self.shared.modules.ask(step.questions);
        Ok(())
    }

    async fn check_lease(&self) -> Result<(), RuntimeError> {
        if self.lease.holds() {
            return Ok(());
        }
        Err(RuntimeError::LeaseLost(self.lease.lost().await))
    }
}
