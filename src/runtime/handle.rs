//! What everybody but the loop sees of the runtime.

use std::{
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use gantry_core::{Actor, Answer, Command, Refusal, ReplyToken, View};
use gantry_store::{Loaded, Store};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use super::{
    connection::{Connection, ConnectionStatus},
    events::{EventLog, EventStream},
    metrics::Metrics,
};

/// Most commands that wait for the loop. At the bound a command is answered with
/// [`CommandError::Busy`].
pub const COMMANDS_MAX: usize = 1_024;

/// How long a command may take, storing its effect included.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// How long reading the whole store may take.
const READ_WITHIN: Duration = Duration::from_secs(120);

/// The way into the runtime: commands go in, views and events come out. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
    requests: mpsc::Sender<Request>,
}

impl Handle {
    /// The state as it was at most 20 ms ago, or as it is when nothing happens. Immutable.
    pub fn view(&self) -> Arc<View> {
        self.shared.view.load_full()
    }

    /// Asks for something. The answer comes when its effect is durable.
    ///
    /// # Errors
    /// See [`CommandError`]. After [`CommandError::TimedOut`] the command may still take effect.
    pub async fn command(&self, actor: Actor, command: Command) -> Result<Answer, CommandError> {
        if let Some(reason) = self.shared.connection.store_problem() {
            return Err(CommandError::Unavailable { reason });
        }
        let (reply, answer) = oneshot::channel();
        let request = Request {
            token: ReplyToken(self.shared.tokens.fetch_add(1, Ordering::Relaxed)),
            actor,
            command,
            reply,
        };
        self.requests.try_send(request).map_err(|error| {
            self.shared.metrics.commands_refused_busy.add(1);
            match error {
                mpsc::error::TrySendError::Full(_) => CommandError::Busy,
                mpsc::error::TrySendError::Closed(_) => CommandError::stopping(),
            }
        })?;
        match tokio::time::timeout(ANSWER_WITHIN, answer).await {
            Ok(Ok(answer)) => answer.map_err(CommandError::Refused),
            Ok(Err(_)) => Err(CommandError::stopping()),
            Err(_) => Err(CommandError::TimedOut),
        }
    }

    /// All that is stored, as the store of this term reads it. Takes a second for some 100,000
    /// tasks.
    ///
    /// # Errors
    /// [`CommandError::Unavailable`] when it cannot be read, or Gantry is stopping.
    pub async fn stored(&self) -> Result<Loaded, CommandError> {
        let store = self.shared.store();
        let store = store.ok_or_else(CommandError::stopping)?;
        match tokio::time::timeout(READ_WITHIN, store.load()).await {
            Ok(Ok(loaded)) => Ok(loaded),
            Ok(Err(error)) => Err(CommandError::Unavailable {
                reason: error.to_string(),
            }),
            Err(_) => Err(CommandError::TimedOut),
        }
    }

    /// The events after `after` that are still remembered, then those to come; only the latter
    /// without `after`.
    pub fn events(&self, after: Option<u64>) -> EventStream {
        self.shared.events.subscribe(after)
    }

    /// How the connections to Mesos and to the store are.
    pub fn connection(&self) -> ConnectionStatus {
        self.shared.connection.status()
    }

    /// What the runtime measures of itself.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }
}

/// Why a command has no answer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CommandError {
    /// The scheduler says no; nothing has changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Too many inputs wait; nothing has changed.
    #[error("the scheduler has more work queued than it takes: try again in a moment")]
    Busy,
    /// The store cannot be written, or Gantry is stopping.
    #[error("{reason}")]
    Unavailable {
        /// Why, as a clause.
        reason: String,
    },
    /// No answer in time; the command may still take effect.
    #[error(
        "no answer within {} seconds: look whether the command took effect before repeating it",
        ANSWER_WITHIN.as_secs()
    )]
    TimedOut,
}

impl CommandError {
    fn stopping() -> Self {
        Self::Unavailable {
            reason: "the scheduler is stopping".to_owned(),
        }
    }
}

/// A command on its way to the loop, with the place its answer goes to.
pub(crate) struct Request {
    pub(crate) token: ReplyToken,
    pub(crate) actor: Actor,
    pub(crate) command: Command,
    pub(crate) reply: oneshot::Sender<Result<Answer, Refusal>>,
}

/// What handles and the loop share.
pub(crate) struct Shared {
    pub(crate) view: ArcSwap<View>,
    pub(crate) events: Arc<EventLog>,
    pub(crate) connection: Connection,
    pub(crate) metrics: Metrics,
    // Held by those who write it: what is kept here must not outlive the term.
    store: Mutex<Option<Weak<dyn Store>>>,
    tokens: AtomicU64,
}

impl Shared {
    /// From now on [`Handle::stored`] reads this store, as long as somebody else holds it.
    pub(crate) fn set_store(&self, store: &Arc<dyn Store>) {
        *self.store.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::downgrade(store));
    }

    fn store(&self) -> Option<Arc<dyn Store>> {
        let store = self.store.lock().unwrap_or_else(PoisonError::into_inner);
        store.as_ref()?.upgrade()
    }
}

/// A handle on `view` and the loop's end of it: what is shared, and the commands as they come.
pub(crate) fn channel(view: View) -> (Handle, Arc<Shared>, mpsc::Receiver<Request>) {
    let (requests, receiver) = mpsc::channel(COMMANDS_MAX);
    let shared = Arc::new(Shared {
        events: EventLog::new(view.at),
        connection: Connection::new(view.at),
        metrics: Metrics::default(),
        store: Mutex::new(None),
        tokens: AtomicU64::new(1),
        view: ArcSwap::from_pointee(view),
    });
    let handle = Handle {
        shared: Arc::clone(&shared),
        requests,
    };
    (handle, shared, receiver)
}
