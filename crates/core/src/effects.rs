//! What the scheduler wants done.

use std::{sync::Arc, time::Duration};

use thiserror::Error;

use crate::{
    AddedEnvironment, AgentAddress, AgentId, DeploymentId, OfferId, Piece, Question, ReplyToken,
    TaskId, TaskState, Template, Timestamp, USER_BYTES_MAX, WorkloadName, Write,
};

/// Everything that one step wants done, in this order: the writes are durable before anything
/// else leaves; calls leave in their order.
#[derive(Debug, Default)]
#[must_use]
pub struct Effects {
    /// Changes of the store, to be committed as one.
    pub writes: Vec<Write>,
    /// Calls to the Mesos master, in this order.
    pub calls: Vec<Call>,
    /// Answers to commands.
    pub replies: Vec<(ReplyToken, Result<Answer, Refusal>)>,
    /// News for those who watch.
    pub notices: Vec<Notice>,
    /// Questions to modules; see [`crate::Settings::admission`]. A question that is lost is asked
    /// again.
    pub questions: Vec<Question>,
    /// Call [`crate::Scheduler::step`] again at this time, if not before.
    pub wake_at: Option<Timestamp>,
}

/// A call to the Mesos master.
#[derive(Clone, Debug)]
pub enum Call {
    /// Use an offer.
    Accept {
        /// The offer.
        offer: OfferId,
        /// Its agent.
        agent: AgentId,
        /// What is launched on it; never empty.
        launches: Vec<Launch>,
        /// For how long the rest of the offer is refused.
        refuse: Duration,
        /// When the offer came.
        offered_at: Timestamp,
    },
    /// Give offers back.
    Decline {
        /// The offers; never empty.
        offers: Vec<OfferId>,
        /// For how long the same resources are refused.
        refuse: Duration,
    },
    /// Decline to vacate: tasks are moved when they end.
    DeclineInverse {
        /// The inverse offers; never empty.
        offers: Vec<OfferId>,
    },
    /// Stop a task.
    Kill {
        /// Which.
        task: TaskId,
        /// Where, when known.
        agent: Option<AgentId>,
        /// Time between SIGTERM and SIGKILL, when not the executor's default.
        grace: Option<Duration>,
    },
    /// A status update has been taken in.
    Acknowledge {
        /// Whose.
        task: TaskId,
        /// Where.
        agent: AgentId,
        /// Which.
        uuid: [u8; 16],
    },
    /// Ask for the state of these tasks; of all of ours when empty.
    Reconcile {
        /// The tasks and where they are.
        tasks: Vec<(TaskId, Option<AgentId>)>,
    },
    /// No more offers, please.
    Suppress,
    /// Offers, please; also forgets all refusals.
    Revive,
}

/// One task to be launched.
#[derive(Clone, Debug)]
pub struct Launch {
    /// Its id.
    pub task: TaskId,
    /// The instance it fills, `web-3`.
    pub instance: Arc<str>,
    /// The workload, as in task ids: the name of the Mesos task.
    pub workload: Arc<str>,
    /// What it is made of.
    pub template: Arc<Template>,
    /// Where it goes.
    pub agent: Arc<AgentAddress>,
    /// Host ports, fixed ones first, in the order of `PORT0`, `PORT1`, …
    pub ports: Vec<u16>,
    /// Its resources, in the kinds they were offered in.
    pub pieces: Vec<Piece>,
    /// What modules add to its environment.
    pub environment: AddedEnvironment,
}

/// The answer to a command that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The count was changed, or was already right.
    Scaled {
        /// Before.
        from: u32,
        /// Now.
        to: u32,
    },
    /// The task is being replaced.
    Restarting,
    /// A deployment was started or changed.
    Deployment(DeploymentId),
    /// So many tasks are being stopped.
    Stopping {
        /// How many.
        tasks: u32,
    },
    /// The disaster brake is off.
    Released,
    /// A module's value is stored, or forgotten.
    Stored,
    /// The sessions that began before have ended.
    SessionsEnded,
}

/// Why a command was not taken. Nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// There is no such workload.
    #[error("there is no workload named `{0}`")]
    UnknownWorkload(WorkloadName),
    /// The declaration forbids scaling.
    #[error("`{0}` may not be scaled: its declaration sets ALLOW_SCALING to false")]
    NotScalable(WorkloadName),
    /// More than the limit.
    #[error("{asked} instances are more than the limit of {limit}")]
    TooManyInstances {
        /// Asked for.
        asked: u32,
        /// Allowed.
        limit: u32,
    },
    /// There is no such live task.
    #[error("there is no live task `{0}`")]
    UnknownTask(TaskId),
    /// The task is being replaced or stopped already.
    #[error("task `{0}` is already being replaced or stopped")]
    AlreadyChanging(TaskId),
    /// One at a time.
    #[error("deployment {0} is still at work on these tasks: wait for it or abort it")]
    DeploymentRunning(DeploymentId),
    /// There is no such deployment.
    #[error("there is no deployment {0}")]
    UnknownDeployment(DeploymentId),
    /// It has ended, or is not in the state the command is for.
    #[error("deployment {id} is {}: it cannot be {wanted}", .status.replace('_', " "))]
    DeploymentState {
        /// Which.
        id: DeploymentId,
        /// What it is.
        status: &'static str,
        /// What was asked.
        wanted: &'static str,
    },
    /// There is nothing to go back to, or it could not be started.
    #[error("deployment {id} cannot be rolled back: {reason}")]
    NoWayBack {
        /// Which.
        id: DeploymentId,
        /// Why, as a clause.
        reason: String,
    },
    /// The disaster brake is not on.
    #[error("the brake is not on")]
    BrakeNotOn,
    /// A module keeps too much.
    #[error("the value of the module `{module}` is not stored: {reason}")]
    NotStored {
        /// Which.
        module: Arc<str>,
        /// Why, as a clause.
        reason: String,
    },
    /// Nobody can be named so.
    #[error("the name of a user has 1 to {USER_BYTES_MAX} bytes and no control characters")]
    NoUser,
}

/// News for those who watch: the event stream, metrics, logs.
#[derive(Clone, Debug)]
pub enum Notice {
    /// A task came to be or changed its state.
    Task {
        /// Its id.
        task: TaskId,
        /// Whose.
        workload: WorkloadName,
        /// Which instance.
        number: u32,
        /// Its state now.
        state: TaskState,
        /// Health as last heard.
        healthy: Option<bool>,
        /// Mesos' reason, or ours.
        reason: Option<Arc<str>>,
        /// For people.
        message: Option<Arc<str>>,
    },
    /// The wanted count of a workload changed.
    Scaled {
        /// Whose.
        workload: WorkloadName,
        /// Before.
        from: u32,
        /// Now.
        to: u32,
    },
    /// A workload was added, changed its revision, or was removed.
    WorkloadChanged {
        /// Which.
        workload: WorkloadName,
    },
    /// A deployment moved.
    Deployment {
        /// Which.
        id: DeploymentId,
    },
    /// The disaster brake went on or off.
    Brake {
        /// On now.
        on: bool,
    },
    /// The subscription began or ended.
    Connection {
        /// Subscribed now.
        subscribed: bool,
    },
    /// A task of this framework that no workload knows was found.
    UnknownTask {
        /// Which.
        task: TaskId,
        /// Its state.
        state: TaskState,
    },
    /// An operator acted.
    Audit {
        /// Position in the audit ring's sequence.
        sequence: u64,
    },
}
