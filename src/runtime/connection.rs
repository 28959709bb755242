//! How the connections to the master and to the store are, for those who ask.

use std::{
    sync::{Mutex, PoisonError},
    time::Instant,
};

use gantry_core::Timestamp;

/// How the connections are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionStatus {
    /// The connection to the master.
    pub state: ConnectionState,
    /// Since when it is so.
    pub since: Timestamp,
    /// `host:port` of the master last spoken to.
    pub master: Option<String>,
    /// The framework's id that the master was told, or has given.
    pub framework_id: Option<String>,
    /// When the master was last heard of: an event or a heartbeat. By a clock that nobody sets, as
    /// only the time that has passed since is of interest.
    pub last_heard: Option<Instant>,
    /// Why the last connection ended or could not be made, as a clause. Kept while subscribed.
    pub last_error: Option<String>,
    /// The store.
    pub store: StoreState,
}

/// The connection to the master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectionState {
    /// Being made, or waited for.
    Connecting,
    /// Events flow.
    Subscribed,
    /// The master says that this framework has been removed. Nothing is tried any more, as a new
    /// id would abandon the recorded tasks: an operator has to decide.
    Removed,
    /// Another scheduler has subscribed with our id, as often as we did: it does not share our store.
    /// Nothing is tried any more, as the two would end each other's subscriptions for ever.
    FailedOver,
    /// The master refuses us for a reason that repeating does not mend.
    Refused,
    /// Not wanted: this Gantry stands by.
    StandBy,
    /// Gantry is stopping.
    Stopped,
}

impl ConnectionState {
    /// The word for it in APIs.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Subscribed => "subscribed",
            Self::Removed => "removed",
            Self::FailedOver => "failed_over",
            Self::Refused => "refused",
            Self::StandBy => "stand_by",
            Self::Stopped => "stopped",
        }
    }
}

/// The store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreState {
    /// The last commit succeeded.
    Writable,
    /// Commits fail and are repeated; what depends on them waits.
    Failing {
        /// Since when.
        since: Timestamp,
        /// Why, as a clause.
        error: String,
    },
}

impl ConnectionStatus {
    /// Why Gantry cannot do its work at the moment, as a clause; `None` when it can.
    pub fn problem(&self) -> Option<String> {
        if let Some(problem) = self.store.problem() {
            return Some(problem);
        }
        let error = self.last_error.as_deref();
        match self.state {
            ConnectionState::Subscribed | ConnectionState::StandBy => None,
            ConnectionState::Connecting => Some(match error {
                Some(error) => format!("not subscribed to the Mesos master: {error}"),
                None => "not yet subscribed to the Mesos master".to_owned(),
            }),
            ConnectionState::Removed => Some(format!(
                "the Mesos master has removed this framework and ended its tasks: restart Gantry \
                 with `--forget-framework-id={}` to begin with a new id",
                self.framework_id.as_deref().unwrap_or("ID")
            )),
            ConnectionState::FailedOver => Some(
                "another scheduler has subscribed with this framework's id again and again, and is not \
                 kept away by the store, so it must have another one: stop one of the two, then \
                 restart the other"
                    .to_owned(),
            ),
            ConnectionState::Refused => Some(format!(
                "the Mesos master refuses this framework: {}",
                error.unwrap_or("without a reason")
            )),
            ConnectionState::Stopped => Some("Gantry is stopping".to_owned()),
        }
    }
}

impl StoreState {
    /// Why nothing can be stored, as a clause.
    pub fn problem(&self) -> Option<String> {
        match self {
            Self::Writable => None,
            Self::Failing { error, .. } => Some(format!("the store cannot be written: {error}")),
        }
    }
}

/// The status, as the runtime keeps it.
pub(crate) struct Connection(Mutex<ConnectionStatus>);

impl Connection {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self(Mutex::new(ConnectionStatus {
            state: ConnectionState::StandBy,
            since: now,
            master: None,
            framework_id: None,
            last_heard: None,
            last_error: None,
            store: StoreState::Writable,
        }))
    }

    /// A term begins, or has ended: what was said in it is void, but where the master was.
    pub(crate) fn reset(&self, state: ConnectionState, now: Timestamp) {
        let mut status = self.lock();
        *status = ConnectionStatus {
            state,
            since: now,
            master: status.master.take(),
            framework_id: None,
            last_heard: None,
            last_error: None,
            store: StoreState::Writable,
        };
    }

    pub(crate) fn status(&self) -> ConnectionStatus {
        self.lock().clone()
    }

    pub(crate) fn store_problem(&self) -> Option<String> {
        self.lock().store.problem()
    }

    pub(crate) fn set_state(&self, state: ConnectionState, now: Timestamp) {
        let mut status = self.lock();
        if status.state != state {
            status.state = state;
            status.since = now;
        }
    }

    pub(crate) fn set_master(&self, master: String) {
        self.lock().master = Some(master);
    }

    pub(crate) fn set_framework_id(&self, id: String) {
        self.lock().framework_id = Some(id);
    }

    pub(crate) fn heard(&self, at: Instant) {
        self.lock().last_heard = Some(at);
    }

    pub(crate) fn failed(&self, error: String) {
        self.lock().last_error = Some(error);
    }

    pub(crate) fn set_store(&self, store: StoreState) {
        self.lock().store = store;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, ConnectionStatus> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
