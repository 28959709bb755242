//! The loop around the scheduler: inputs in, steps, a durable store, and effects out in order.
//!
//! ```text
//! HTTP ──▶ Handle ──┐                                            ┌─▶ replies, events
//!                   ├─▶ driver (owns the Scheduler) ─▶ committer ┤
//! master ─▶ link ───┘         │                          │ store └─▶ link ─▶ master
//!                             └─▶ View, swapped for readers
//! ```
//!
//! Three tasks, joined by bounded queues. When the store is slow, steps pile up before the
//! committer; at [`UNCOMMITTED_STEPS_MAX`] the driver takes no more inputs, commands are answered
//! with [`CommandError::Busy`], and the stream of the master is no longer read.
//!
//! A [`Runtime`] lives for one term: as long as the lease of its store holds. A [`Handle`] lives as
//! long as the process. Between the two stands the [`Candidate`], which campaigns, runs a term, and
//! when it has ended stands by and campaigns again.

mod candidate;
mod clock;
mod committer;
mod connection;
mod driver;
mod events;
mod handle;
pub(crate) mod identity;
mod master;
mod metrics;
mod modules;
mod news;
mod role;
mod translate;

#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use gantry_core::{Found, IdGenerator, Record, Scheduler, ServiceSpec, Settings};
use gantry_mesos::{
    scheduler::{Limits, Permission, SchedulerConfig},
    v1::FrameworkInfo,
};
use gantry_store::{Lease, Store, StoreError};
use thiserror::Error;
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};
use tokio_util::sync::CancellationToken;

pub use candidate::{Candidate, Home, Term, Work};
pub(crate) use clock::wall;
pub use committer::UNCOMMITTED_STEPS_MAX;
pub use connection::{ConnectionState, ConnectionStatus, StoreState};
pub use events::{Delivery, EVENTS_KEPT, Event, EventKind, EventStream};
pub(crate) use handle::Shared;
pub use handle::{ANSWER_WITHIN, COMMANDS_MAX, CommandError, Handle};
pub use master::{client, framework_info};
pub use metrics::{Durations, Metrics, Number};
pub use modules::Questions;
pub use role::{Fault, HomeKind, HomeStatus, Reach, Role, Shown, Standing};
pub(crate) use translate::agent_attributes;

use clock::Clock;
use committer::{Calls, Committer};
use driver::{Driver, Heard};
use master::Link;
use news::News;

/// What a runtime is made of.
pub struct Parts {
    /// The scheduler's settings.
    pub settings: Settings,
    /// The declared services.
    pub services: Vec<ServiceSpec>,
    /// Where records are kept; already loaded.
    pub store: Arc<dyn Store>,
    /// All that the store held.
    pub found: Found,
    /// Where the master is.
    pub client: SchedulerConfig,
    /// How the framework presents itself. Its id is taken from the records.
    pub info: FrameworkInfo,
}

/// A running scheduler, for one term. Stop it with [`Runtime::stop`]; dropping it abandons what is
/// under way, as a crash would.
pub struct Runtime {
    stop: CancellationToken,
    tasks: AbortOnDrop<Result<(), RuntimeError>>,
}

/// Why a runtime ended by itself.
#[derive(Debug, Error)]
pub enum RuntimeError {
    /// The right to act has ended. Nothing left after that.
    #[error("the lease has ended: {0}")]
    LeaseLost(String),
    /// The store fails in a way that no repetition mends, or belongs to another process now.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The client of the master could not be made.
    #[error(transparent)]
    Client(#[from] gantry_mesos::http::SetupError),
    /// A task of the runtime panicked: a fault in Gantry. What was stored is whole.
    #[error("a fault in Gantry: {0}")]
    Panic(#[from] tokio::task::JoinError),
}

impl Runtime {
    /// Starts a scheduler behind `handle`, which must have none. Must be called within a tokio
    /// runtime.
    pub fn start(parts: Parts, handle: &Handle) -> Self {
        let stored_id = parts.found.records.iter().find_map(|record| match record {
            Record::Framework(framework) => Some(framework.id.as_str().into()),
            _ => None,
        });
        let info = FrameworkInfo {
            id: stored_id,
            ..parts.info
        };
        let loops = Loops::start(
            parts.settings,
            parts.services,
            parts.store,
            parts.found,
            handle.shared(),
        );
        let permission = loops.lease.clone();
        let client = SchedulerConfig {
            permission: Permission::new(move || permission.holds()),
            limits: Limits {
                failovers_max: FAILOVERS_MAX,
                ..parts.client.limits
            },
            ..parts.client
        };
        let link = Link {
            shared: Arc::clone(handle.shared()),
            lease: loops.lease.clone(),
            heard: loops.heard,
            calls: loops.calls,
        };
        let link = AbortOnDrop(tokio::spawn(link.run(client, info)));
        let stop = loops.stop.clone();
        let closing = Closing {
            shared: Arc::clone(handle.shared()),
            stop: loops.stop,
            state: ConnectionState::StandBy,
            ended: "it was abandoned".to_owned(),
        };
        let committer = AbortOnDrop(loops.committer);
        let driver = AbortOnDrop(loops.driver);
        let tasks = supervise(closing, loops.lease, driver, committer, link);
        Self {
            stop,
            tasks: AbortOnDrop(tokio::spawn(tasks)),
        }
    }

    /// Waits until the runtime ends by itself, which it does only for an error: when this returns,
    /// nothing of it is left. May be cancelled.
    pub async fn ended(&mut self) -> RuntimeError {
        match (&mut self.tasks.0).await {
            Ok(Err(error)) => error,
            Err(error) => RuntimeError::Panic(error),
            Ok(Ok(())) => std::future::pending().await,
        }
    }

    /// Takes no more inputs, makes durable and sends what was decided, and closes the connection.
    /// The tasks of the framework live on. The caller limits the time.
    ///
    /// # Errors
    /// The lease ended or the store failed before the last writes were durable, or there was a
    /// fault.
    pub async fn stop(self) -> Result<(), RuntimeError> {
        self.stop.cancel();
        self.tasks.join().await?
    }
}

/// While the lease holds it is ours to act, whoever subscribes with our id: a former leader whose
/// SUBSCRIBE was late, once. Whoever does so again and again has another store, and an operator must
/// say which of the two is right; within two minutes, this many times are taken for the former.
const FAILOVERS_MAX: usize = 5;

/// What is decided and stored is sent when a runtime stops, and its answers are waited for, but no
/// longer than this: whoever acts next decides anew what a silent master has not taken.
const SENT_WITHIN: Duration = Duration::from_secs(1);

/// Waits for the end of all parts, and tells readers. At a stop the driver ends first, then the
/// committer, then the link; at the end of the lease the committer does, and takes the others along.
async fn supervise(
    mut closing: Closing,
    lease: Lease,
    driver: AbortOnDrop<()>,
    mut committer: AbortOnDrop<Result<(), RuntimeError>>,
    mut link: AbortOnDrop<Result<(), gantry_mesos::http::SetupError>>,
) -> Result<(), RuntimeError> {
    let outcome = run(&lease, &mut committer.0, &mut link.0).await;
    closing.stop.cancel();
    link.end().await;
    committer.end().await;
    let outcome = match (outcome, driver.join().await) {
        (Ok(()), Err(panic)) => Err(RuntimeError::Panic(panic)),
        (outcome, _) => outcome,
    };
    match &outcome {
        Ok(()) => {
            closing.state = ConnectionState::Stopped;
            "it was stopped".clone_into(&mut closing.ended);
        }
        Err(error) => closing.ended = error.to_string(),
    }
    outcome
}

async fn run(
    lease: &Lease,
    committer: &mut JoinHandle<Result<(), RuntimeError>>,
    link: &mut JoinHandle<Result<(), gantry_mesos::http::SetupError>>,
) -> Result<(), RuntimeError> {
    tokio::select! {
        biased;
        outcome = &mut *committer => outcome??,
        // First, only when it could not begin.
        outcome = &mut *link => {
            outcome??;
            return committer.await?;
        }
    }
    tokio::select! {
        outcome = timeout(SENT_WITHIN, link) => match outcome {
            Ok(outcome) => Ok(outcome??),
            Err(_) => {
                tracing::warn!("the master has not answered every call, and is not waited for");
                Ok(())
            }
        },
        // What is still on its way must not leave any more.
        reason = lease.lost() => Err(RuntimeError::LeaseLost(reason)),
    }
}

/// The driver and the committer at work, with the ends that the link to the master holds.
struct Loops {
    stop: CancellationToken,
    lease: Lease,
    heard: mpsc::Sender<Heard>,
    calls: mpsc::Receiver<Calls>,
    driver: JoinHandle<()>,
    committer: JoinHandle<Result<(), RuntimeError>>,
}

impl Loops {
    fn start(
        settings: Settings,
        services: Vec<ServiceSpec>,
        store: Arc<dyn Store>,
        found: Found,
        shared: &Arc<Shared>,
    ) -> Self {
        let needs = shared.modules.needs();
        let settings = needs.applied_to(settings);
        let newest = found.records.iter().map(Record::newest_moment).max();
        let clock = Clock::start(newest.unwrap_or_default());
        let ids = IdGenerator::new(seed());
        let news = News::after(&found.records);
        let (scheduler, first) = Scheduler::start(clock.now(), settings, ids, services, found);
        let lease = store.lease();
        let (requests, said) = shared.open(scheduler.view(), &store);
        let (heard, heard_by_driver) = mpsc::channel(master::HEARD_MAX);
        let (steps, steps_by_committer) = mpsc::channel(UNCOMMITTED_STEPS_MAX);
        let (calls_of_committer, calls) = mpsc::channel(master::CALLS_MAX);
        let stop = CancellationToken::new();
        let driver = Driver {
            scheduler,
            clock,
            shared: Arc::clone(shared),
            requests,
            heard: heard_by_driver,
            said,
            needs: needs.changes,
            news,
            steps,
        };
        let committer = Committer {
            store,
            lease: lease.clone(),
            clock,
            shared: Arc::clone(shared),
            steps: steps_by_committer,
            calls: calls_of_committer,
        };
        Self {
            driver: tokio::spawn(driver.run(first, stop.clone())),
            committer: tokio::spawn(committer.run()),
            stop,
            lease,
            heard,
            calls,
        }
    }
}

/// However a term ends, readers are told.
struct Closing {
    shared: Arc<Shared>,
    stop: CancellationToken,
    state: ConnectionState,
    ended: String,
}

impl Drop for Closing {
    fn drop(&mut self) {
        self.stop.cancel();
        self.shared
            .close(self.state, std::mem::take(&mut self.ended));
    }
}

struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> AbortOnDrop<T> {
    async fn join(mut self) -> Result<T, tokio::task::JoinError> {
        (&mut self.0).await
    }

    /// Ends it, and waits until nothing of it is left.
    async fn end(&mut self) {
        self.0.abort();
        if !self.0.is_finished() {
            let _ = (&mut self.0).await;
        }
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// 256 bits from the operating system.
pub(crate) fn seed() -> [u64; 4] {
    let mut bytes = [0; 32];
    let random = rustls::crypto::aws_lc_rs::default_provider().secure_random;
    if random.fill(&mut bytes).is_err() {
        // Ids must be unique, not secret: keyed hashes of the standard library are enough.
        use std::hash::BuildHasher;
        let state = std::hash::RandomState::new();
        return [0, 1, 2, 3].map(|number: u64| state.hash_one(number));
    }
    let mut words = bytes.chunks_exact(8).map(|chunk| {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        u64::from_le_bytes(word)
    });
    std::array::from_fn(|_| words.next().unwrap_or_default())
}
