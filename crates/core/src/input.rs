//! What the scheduler is told.

use std::{sync::Arc, time::Duration};

use crate::{
    Actor, AgentAddress, AgentId, DeploymentId, FrameworkId, OfferEntry, OfferId, TaskId,
    TaskState, Timestamp, Verdict, WorkloadName, Workloads,
};

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// On the connection to Mesos.
    Mesos(MesosEvent),
    /// An operator asks for something; the answer carries the token.
    Command {
        /// Returned with the answer.
        token: ReplyToken,
        /// Who asks.
        actor: Actor,
        /// What is asked.
        command: Command,
    },
    /// Modules answer a [`crate::Question`]. Void, and passed over, when the question no longer
    /// stands.
    Admission {
        /// Whose instance.
        workload: WorkloadName,
        /// Which.
        number: u32,
        /// Of the question.
        asked: Timestamp,
        /// The answer.
        verdict: Verdict,
    },
    /// A module reports whether a task is ready: whether it counts for restarts, updates and
    /// WAIT_HEALTHY. Passed over when there is no such live task.
    Readiness {
        /// Which.
        task: TaskId,
        /// Whether it is.
        ready: bool,
    },
    /// From now on the tasks of these workloads need to be reported ready, and no others; see
    /// [`crate::Settings::readiness`].
    ReadinessNeeded(Workloads),
    /// From now on instances are launched only after modules have admitted them, or without; see
    /// [`crate::Settings::admission`].
    AdmissionNeeded(bool),
}

/// Ties an answer to its question. Chosen by the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReplyToken(pub u64);

/// An event on the connection to Mesos.
#[derive(Clone, Debug)]
pub enum MesosEvent {
    /// The subscription was accepted. All offers known before are void.
    Subscribed {
        /// Our id.
        framework_id: FrameworkId,
    },
    /// The subscription ended, or a call failed with unknown outcome. Nothing can be sent until
    /// the next [`MesosEvent::Subscribed`].
    Disconnected,
    /// New offers.
    Offers(Vec<Offer>),
    /// An offer is void.
    Rescinded(OfferId),
    /// News of a task.
    Status(StatusUpdate),
    /// An agent was removed (FAILURE without an executor).
    AgentRemoved(AgentId),
    /// The operator wants an agent to be vacated.
    InverseOffers(Vec<OfferId>),
}

/// Resources of one agent for one role, ours until answered.
#[derive(Clone, Debug)]
pub struct Offer {
    /// Its id.
    pub id: OfferId,
    /// Where, with the agent's attributes.
    pub agent: Arc<AgentAddress>,
    /// The role that it is allocated to.
    pub role: Arc<str>,
    /// What there is. Revocable and shared resources, volumes and disk sources are left out by
    /// the translator, as no service can ask for them.
    pub entries: Vec<OfferEntry>,
    /// Maintenance of the agent, when some is scheduled. It stays in offers when it is over, until
    /// the operator takes it off the schedule.
    pub unavailable: Option<Unavailability>,
}

/// A window of maintenance (`Unavailability`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unavailability {
    /// It begins then.
    pub from: Timestamp,
    /// It is over then; absent when nobody has said.
    pub until: Option<Timestamp>,
}

impl Unavailability {
    /// Whether it is under way, or begins before `lead` has passed.
    pub fn is_near(&self, now: Timestamp, lead: Duration) -> bool {
        self.from < now + lead && self.until.is_none_or(|until| now < until)
    }
}

/// News of a task (`TaskStatus`).
#[derive(Clone, Debug)]
pub struct StatusUpdate {
    /// Which task.
    pub task: TaskId,
    /// Where, when known.
    pub agent: Option<AgentId>,
    /// Its state; never [`TaskState::Launching`].
    pub state: TaskState,
    /// To be acknowledged with this; absent in what the master makes up itself.
    pub uuid: Option<[u8; 16]>,
    /// Why, without interpretation: `REASON_…`; absent when Mesos gave none.
    pub reason: Option<Arc<str>>,
    /// For people; cut to 256 bytes by the scheduler.
    pub message: Option<String>,
    /// Health, when there is a check.
    pub healthy: Option<bool>,
}

/// What an operator can ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Keep this many instances.
    Scale {
        /// Of what.
        workload: WorkloadName,
        /// How many; at most [`crate::Settings::instances_max`].
        instances: u32,
    },
    /// Replace one task by a fresh one of the same instance.
    Restart {
        /// Which.
        task: TaskId,
    },
    /// Replace all tasks, one at a time.
    RollingRestart {
        /// Of one workload, or of all.
        workload: Option<WorkloadName>,
    },
    /// Stop every task; they are started again.
    KillAll {
        /// Of one workload, or of all.
        workload: Option<WorkloadName>,
    },
    /// Hold a deployment.
    PauseDeployment(DeploymentId),
    /// Let a paused deployment go on.
    ResumeDeployment(DeploymentId),
    /// End a deployment where it is.
    AbortDeployment(DeploymentId),
    /// Move back what an update has moved.
    RollbackDeployment(DeploymentId),
    /// Let go of the disaster brake.
    ReleaseBrake,
    /// Stop a task of this framework that no workload knows.
    KillUnknown {
        /// Which.
        task: TaskId,
    },
    /// Keep a value for a module, or forget it. Leaves no audit entry: a module writes often, and
    /// what it writes is its own.
    PutModuleValue {
        /// The module's name; see [`crate::MODULE_NAME_BYTES_MAX`].
        module: Arc<str>,
        /// The module's own key; see [`crate::MODULE_KEY_BYTES_MAX`].
        key: Arc<str>,
        /// The value, see [`crate::MODULE_VALUE_BYTES_MAX`]; `None` to forget it.
        value: Option<Arc<str>>,
    },
    /// End every session that has begun by now.
    EndSessions {
        /// Of one user, or of all.
        user: Option<String>,
    },
}
