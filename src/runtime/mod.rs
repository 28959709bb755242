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

mod clock;
mod committer;
mod connection;
mod driver;
mod events;
mod handle;
mod master;
mod metrics;
mod translate;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use gantry_core::{IdGenerator, Record, Scheduler, ServiceSpec, Settings};
use gantry_mesos::{scheduler::SchedulerConfig, v1::FrameworkInfo};
use gantry_store::{Store, StoreError};
use thiserror::Error;
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_util::sync::CancellationToken;

pub use committer::UNCOMMITTED_STEPS_MAX;
pub use connection::{ConnectionState, ConnectionStatus, StoreState};
pub use events::{Delivery, EVENTS_KEPT, Event, EventKind, EventStream};
pub use handle::{COMMANDS_MAX, CommandError, Handle};
pub use master::{client, framework_info};
pub use metrics::{Durations, Metrics, Number};

#[cfg(test)]
pub(crate) use handle::channel;

use clock::Clock;
use committer::{Calls, Committer};
use driver::{Driver, Heard};
use handle::Shared;
use master::Link;

/// What a runtime is made of.
pub struct Parts {
    /// The scheduler's settings.
    pub settings: Settings,
    /// The declared services.
    pub services: Vec<ServiceSpec>,
    /// Where records are kept; already loaded.
    pub store: Arc<dyn Store>,
    /// All that the store held.
    pub records: Vec<Record>,
    /// Where the master is.
    pub client: SchedulerConfig,
    /// How the framework presents itself. Its id is taken from the records.
    pub info: FrameworkInfo,
}

/// A running scheduler. Stop it with [`Runtime::stop`]; dropping it abandons what is under way, as
/// a crash would.
pub struct Runtime {
    stop: CancellationToken,
    shared: Arc<Shared>,
    clock: Clock,
    tasks: JoinHandle<Result<(), RuntimeError>>,
}

/// Why a runtime ended by itself.
#[derive(Debug, Error)]
pub enum RuntimeError {
    /// The store belongs to another process now, which acts in our place.
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
    /// Starts a scheduler. Must be called within a tokio runtime.
    pub fn start(parts: Parts) -> (Handle, Self) {
        let stored_id = parts.records.iter().find_map(|record| match record {
            Record::Framework(framework) => Some(framework.id.as_str().into()),
            _ => None,
        });
        let info = FrameworkInfo {
            id: stored_id,
            ..parts.info
        };
        let (handle, loops) =
            Loops::start(parts.settings, parts.services, parts.store, parts.records);
        let Loops {
            stop,
            shared,
            clock,
            heard,
            calls,
            driver,
            committer,
        } = loops;
        let link = Link {
            shared: Arc::clone(&shared),
            clock,
            heard,
            calls,
        };
        let link = tokio::spawn(link.run(parts.client, info));
        let events = Arc::clone(&shared);
        let tasks = tokio::spawn(async move {
            let _close = CloseEvents(events);
            // Dropping the link's handle does not end it; aborting does, and is what is wanted when
            // the store refuses: not one more call may leave.
            let link = AbortOnDrop(link);
            driver.await?;
            committer.await??;
            link.join().await??;
            Ok(())
        });
        let runtime = Self {
            stop,
            shared,
            clock,
            tasks,
        };
        (handle, runtime)
    }

    /// Waits until the runtime ends by itself, which it does only for an error. May be cancelled.
    pub async fn ended(&mut self) -> RuntimeError {
        match (&mut self.tasks).await {
            Ok(Err(error)) => error,
            Err(error) => RuntimeError::Panic(error),
            Ok(Ok(())) => std::future::pending().await,
        }
    }

    /// Takes no more inputs, makes durable and sends what was decided, and closes the connection.
    /// The tasks of the framework live on. The caller limits the time.
    ///
    /// # Errors
    /// The store refused the last writes, or there was a fault.
    pub async fn stop(self) -> Result<(), RuntimeError> {
        self.stop.cancel();
        let now = self.clock.now();
        let outcome = self.tasks.await;
        self.shared
            .connection
            .set_state(ConnectionState::Stopped, now);
        outcome?
    }
}

/// The driver and the committer at work, with the ends that the link to the master holds.
struct Loops {
    stop: CancellationToken,
    shared: Arc<Shared>,
    clock: Clock,
    heard: mpsc::Sender<Heard>,
    calls: mpsc::Receiver<Calls>,
    driver: JoinHandle<()>,
    committer: JoinHandle<Result<(), StoreError>>,
}

impl Loops {
    fn start(
        settings: Settings,
        services: Vec<ServiceSpec>,
        store: Arc<dyn Store>,
        records: Vec<Record>,
    ) -> (Handle, Self) {
        let clock = Clock::start();
        let ids = IdGenerator::new(seed());
        let (scheduler, first) = Scheduler::start(clock.now(), settings, ids, services, records);
        let (handle, shared, requests) = handle::channel(scheduler.view());
        shared.set_store(&store);
        let (heard, heard_by_driver) = mpsc::channel(master::HEARD_MAX);
        let (steps, steps_by_committer) = mpsc::channel(UNCOMMITTED_STEPS_MAX);
        let (calls_of_committer, calls) = mpsc::channel(master::CALLS_MAX);
        let stop = CancellationToken::new();
        let driver = Driver {
            scheduler,
            clock,
            shared: Arc::clone(&shared),
            requests,
            heard: heard_by_driver,
            steps,
        };
        let committer = Committer {
            store,
            clock,
            shared: Arc::clone(&shared),
            steps: steps_by_committer,
            calls: calls_of_committer,
        };
        let loops = Self {
            driver: tokio::spawn(driver.run(first, stop.clone())),
            committer: tokio::spawn(committer.run()),
            stop,
            shared,
            clock,
            heard,
            calls,
        };
        (handle, loops)
    }
}

struct CloseEvents(Arc<Shared>);

impl Drop for CloseEvents {
    fn drop(&mut self) {
        self.0.events.close();
    }
}

struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> AbortOnDrop<T> {
    async fn join(mut self) -> Result<T, tokio::task::JoinError> {
        (&mut self.0).await
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
