//! One run of an instance, and where it stands.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use crate::{AgentId, Timestamp, Uuid};

/// The states of a Mesos task (`TaskState`), preceded by our own [`TaskState::Launching`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TaskState {
    /// The intent is recorded; Mesos has not been heard of yet.
    Launching,
    /// TASK_STAGING
    Staging,
    /// TASK_STARTING
    Starting,
    /// TASK_RUNNING
    Running,
    /// TASK_KILLING
    Killing,
    /// TASK_UNREACHABLE: its agent cannot be reached; the task may live.
    Unreachable,
    /// TASK_UNKNOWN: the master knows nothing of the task or its agent.
    Unknown,
    /// TASK_FINISHED
    Finished,
    /// TASK_FAILED
    Failed,
    /// TASK_KILLED
    Killed,
    /// TASK_ERROR
    Error,
    /// TASK_LOST
    Lost,
    /// TASK_DROPPED
    Dropped,
    /// TASK_GONE
    Gone,
    /// TASK_GONE_BY_OPERATOR
    GoneByOperator,
}

impl TaskState {
    /// Every state.
    pub const ALL: [Self; 15] = [
        Self::Launching,
        Self::Staging,
        Self::Starting,
        Self::Running,
        Self::Killing,
        Self::Unreachable,
        Self::Unknown,
        Self::Finished,
        Self::Failed,
        Self::Killed,
        Self::Error,
        Self::Lost,
        Self::Dropped,
        Self::Gone,
        Self::GoneByOperator,
    ];

    /// Whether a task in this state has ended for good.
    pub const fn is_terminal(self) -> bool {
        matches!(
            self,
            Self::Finished
                | Self::Failed
                | Self::Killed
                | Self::Error
                | Self::Lost
                | Self::Dropped
                | Self::Gone
                | Self::GoneByOperator
        )
    }

    /// Whether the task is on its way to run: it occupies a starting place on its agent.
    pub const fn is_starting(self) -> bool {
        matches!(self, Self::Launching | Self::Staging | Self::Starting)
    }

    /// The name Mesos gives it. [`TaskState::Launching`] is shown as TASK_STAGING, as the
    /// original systems did from the moment of launch.
    pub const fn mesos_name(self) -> &'static str {
        match self {
            Self::Launching | Self::Staging => "TASK_STAGING",
            Self::Starting => "TASK_STARTING",
            Self::Running => "TASK_RUNNING",
            Self::Killing => "TASK_KILLING",
            Self::Unreachable => "TASK_UNREACHABLE",
            Self::Unknown => "TASK_UNKNOWN",
            Self::Finished => "TASK_FINISHED",
            Self::Failed => "TASK_FAILED",
            Self::Killed => "TASK_KILLED",
            Self::Error => "TASK_ERROR",
            Self::Lost => "TASK_LOST",
            Self::Dropped => "TASK_DROPPED",
            Self::Gone => "TASK_GONE",
            Self::GoneByOperator => "TASK_GONE_BY_OPERATOR",
        }
    }
}

/// Where an agent is: kept with each of its tasks, shared among them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentAddress {
    /// The agent.
    pub id: AgentId,
    /// Its host name.
    pub hostname: String,
    /// Its IP address.
    pub ip: String,
    /// The port of its HTTP API.
    pub port: u16,
    /// Its attributes as text, in order; a name may occur more than once, the first counts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<(String, String)>,
}

impl AgentAddress {
    /// Of a task of which nobody has said yet where it is: its id is empty.
    pub fn unknown() -> Self {
        Self {
            id: AgentId::new(""),
            hostname: String::new(),
            ip: String::new(),
            port: 0,
            attributes: Vec::new(),
        }
    }

    /// The agent's id, unless nobody has said which it is.
    pub fn known_id(&self) -> Option<AgentId> {
        Some(self.id.clone()).filter(|id| !id.as_str().is_empty())
    }

    /// The value of a constraint's field: `hostname`, or the name of an attribute.
    pub fn field(&self, name: &str) -> Option<&str> {
        if name == "hostname" {
            return Some(&self.hostname);
        }
        self.attributes
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }
}

/// What is to become of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// Keep it alive.
    Run,
    /// Start a second task of the instance and stop this one once that one is ready; give up and
    /// keep this one when that takes longer than the deadline.
    Replace {
        /// When the replacement was asked for.
        since: Timestamp,
        /// When to give up.
        deadline: Timestamp,
        /// Whether an operator asked for it, and not a deployment.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        by_hand: bool,
    },
    /// Stop it. KILL is repeated until it has ended.
    Stop {
        /// Why.
        reason: StopReason,
        /// When it was decided.
        since: Timestamp,
    },
}

impl Goal {
    /// Whether the task is to be stopped.
    pub const fn is_stop(self) -> bool {
        matches!(self, Self::Stop { .. })
    }
}

/// Why a task is being stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// The instance is no longer wanted: the count was lowered or the workload removed.
    Retired,
    /// An operator stopped it; the instance is filled again.
    Killed,
    /// A restart replaces it.
    Restarted,
    /// Its replacement did not become ready in time, so it goes and the old one stays.
    ReplacementFailed,
    /// A second copy of an instance that needs only one.
    Surplus,
}

impl StopReason {
    /// As a clause for people.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Retired => "the instance is no longer wanted",
            Self::Killed => "killed by an operator",
            Self::Restarted => "replaced by a restart or an update",
            Self::ReplacementFailed => "did not become ready in time to replace the running task",
            Self::Surplus => "another task already fills the instance",
        }
    }
}

/// A live task: launched, or about to be.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// The run; with workload and number it makes the task id.
    pub uuid: Uuid,
    /// Revision of the workload's template that it runs.
    pub revision: u32,
    /// Where.
    pub agent: Arc<AgentAddress>,
    /// Host ports, fixed ones first, in the order of `PORT0`, `PORT1`, …
    pub ports: SmallVec<[u16; 4]>,
    /// State as last heard.
    pub state: TaskState,
    /// What is to become of it.
    pub goal: Goal,
    /// Last health reported by Mesos; `None` before the first report or without a check.
    pub healthy: Option<bool>,
    /// What a module last reported: whether it is ready. Counts where the workload
    /// [needs](crate::Workload::needs_readiness) it.
    pub readiness: Option<bool>,
    /// The subscription in which Mesos last spoke of it; see [`crate::FrameworkView::subscription`].
    /// A task that was found in the store, and not spoken of since, was in none: `u32::MAX`.
    pub heard_in: u32,
    /// When the intent was recorded.
    pub launched_at: Timestamp,
    /// When the first status update came.
    pub started_at: Option<Timestamp>,
    /// When it was first seen running.
    pub running_at: Option<Timestamp>,
    /// When its state last changed.
    pub changed_at: Timestamp,
    /// How often KILL was sent.
    pub kills_sent: u16,
    /// When KILL is sent again.
    pub kill_again_at: Option<Timestamp>,
    /// Message of the last status update, when there was one; at most 256 bytes.
    pub message: Option<Arc<str>>,
}

/// In no subscription of this scheduler; see [`Task::heard_in`].
pub(crate) const UNHEARD: u32 = u32::MAX;

impl Task {
    /// Whether it does well, as far as Mesos says.
    pub(crate) fn is_well(&self) -> bool {
        self.state == TaskState::Running && self.healthy != Some(false)
    }
}

/// How a task ended; the history of an instance is made of these.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedTask {
    /// The run.
    pub uuid: Uuid,
    /// Revision it ran.
    pub revision: u32,
    /// Where.
    pub agent: Arc<AgentAddress>,
    /// Its host ports, should it turn out to be alive.
    #[serde(default, skip_serializing_if = "SmallVec::is_empty")]
    pub ports: SmallVec<[u16; 4]>,
    /// Its last state.
    pub state: TaskState,
    /// Mesos' reason, such as `REASON_CONTAINER_LAUNCH_FAILED`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Mesos' message; at most 256 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Whether it failed its health check in the end.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unhealthy: bool,
    /// Why we stopped it, if we did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<StopReason>,
    /// When that was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped_at: Option<Timestamp>,
    /// When the intent was recorded.
    pub launched_at: Timestamp,
    /// When it was first seen running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Timestamp,
}
