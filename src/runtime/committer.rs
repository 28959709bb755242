//! Makes the writes of steps durable, many steps at a time, and lets their other effects go after.

use std::{collections::HashMap, sync::Arc, time::Duration};

use gantry_core::{Answer, Call, Notice, Refusal, Timestamp, Write};
use gantry_store::{Store, StoreError};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{clock::Clock, connection::StoreState, driver::Session, handle::Shared};

/// Most steps whose effects wait for the store. At the bound the scheduler takes no inputs.
pub const UNCOMMITTED_STEPS_MAX: usize = 256;

/// No further step joins a batch of this many writes: keeps the pause of one commit short.
const BATCH_WRITES_MAX: usize = 16_384;

/// First pause before a failed commit is repeated; doubles.
const RETRY_FIRST: Duration = Duration::from_millis(100);

/// The longest such pause.
const RETRY_MAX: Duration = Duration::from_secs(5);

/// Where the answer to a command goes.
pub(crate) type Reply = oneshot::Sender<Result<Answer, Refusal>>;

/// The effects of one step.
pub(crate) struct Step {
    pub(crate) at: Timestamp,
    pub(crate) session: Option<Session>,
    pub(crate) writes: Vec<Write>,
    pub(crate) calls: Vec<Call>,
    pub(crate) replies: Vec<(Reply, Result<Answer, Refusal>)>,
    pub(crate) notices: Vec<Notice>,
}

impl Step {
    pub(crate) fn is_empty(&self) -> bool {
        self.writes.is_empty()
            && self.calls.is_empty()
            && self.replies.is_empty()
            && self.notices.is_empty()
    }
}

/// Calls of one step, for the client of the master.
#[derive(Debug)]
pub(crate) struct Calls {
    pub(crate) session: Session,
    pub(crate) calls: Vec<Call>,
}

/// The committer. Keeps the one rule of the scheduler: the writes of a step are durable before its
/// other effects leave, and the effects of one step leave before those of the next.
pub(crate) struct Committer {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Clock,
    pub(crate) shared: Arc<Shared>,
    pub(crate) steps: mpsc::Receiver<Step>,
    pub(crate) calls: mpsc::Sender<Calls>,
}

impl Committer {
    /// Runs until the driver has ended and everything it gave is durable.
    ///
    /// # Errors
    /// The store refuses this process for good; nothing more has left.
    pub(crate) async fn run(mut self) -> Result<(), StoreError> {
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
                self.release(first).await;
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
            let writes = merge(
                batch
                    .iter_mut()
                    .map(|step| std::mem::take(&mut step.writes)),
            );
            self.commit(writes).await?;
            for step in batch {
                self.release(step).await;
            }
            let waiting = self.steps.len() as u64;
            self.shared.metrics.uncommitted_steps.set(waiting);
        }
    }

    async fn commit(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        let mut pause = RETRY_FIRST;
        let mut failing_since = None;
        loop {
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
                Err(error @ StoreError::Refused { .. }) => {
                    let text = error.to_string();
                    tracing::error!(error = text, "stopping: another process owns the store");
                    let state = StoreState::Refused { error: text };
                    self.shared.connection.set_store(state);
                    return Err(error);
                }
                Err(error) => {
                    // Even what a repetition is not known to mend is repeated: nothing that
                    // depends on the writes may leave, and an operator may yet make room.
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
            }
        }
    }

    async fn release(&self, step: Step) {
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
            let _ = reply.send(answer);
        }
        self.shared.events.tell(step.at, step.notices);
    }
}

/// One batch of the writes of several steps. Records are whole, so that of several writes to one key
/// the last is enough; and as a batch is atomic, the order of keys does not matter.
fn merge(mut steps: impl Iterator<Item = Vec<Write>>) -> Vec<Write> {
    let mut merged = steps.next().unwrap_or_default();
    let Some(second) = steps.next() else {
        return merged;
    };
    let key = |write: &Write| match write {
        Write::Put(record) => record.key(),
        Write::Delete(key) => key.clone(),
    };
    let mut positions: HashMap<_, _> = merged
        .iter()
        .enumerate()
        .map(|(position, write)| (key(write), position))
        .collect();
    for write in second.into_iter().chain(steps.flatten()) {
        let position = *positions.entry(key(&write)).or_insert(merged.len());
        match merged.get_mut(position) {
            Some(earlier) => *earlier = write,
            None => merged.push(write),
        }
    }
    merged
}
