//! What can be set about the scheduler itself.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use crate::WorkloadName;

/// Settings of the scheduler. Every time and count has a default with a reason.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The framework's name as it stands in task ids (blanks replaced).
    pub framework: Arc<str>,
    /// Names and addresses of the scheduler's own host, for [`crate::Placement::avoid_scheduler_host`].
    pub scheduler_hosts: Vec<String>,
    /// Most instances an operator may ask of one workload.
    pub instances_max: u32,
    /// Most tasks that may be starting on one agent at once. A real agent that was given 500 at
    /// once failed 97 of them; batches of 20 ran smoothly.
    pub starting_per_agent_max: u32,
    /// How long offers that nothing waits for are refused.
    pub refuse_idle: Duration,
    /// How long an offer may be held while its agent's starting places are taken.
    pub hold_max: Duration,
    /// A launched task that has not been heard of for so long is asked about.
    pub launch_deadline: Duration,
    /// Time to the second reconciliation of tasks that did not answer; doubles.
    pub reconcile_initial: Duration,
    /// The longest such time.
    pub reconcile_max: Duration,
    /// All tasks are asked about this often.
    pub reconcile_every: Duration,
    /// An unreachable task is replaced after this time.
    pub unreachable_after: Duration,
    /// Time to the second KILL of a task that goes on living; doubles.
    pub kill_initial: Duration,
    /// The longest such time.
    pub kill_max: Duration,
    /// Shortest time between two REVIVE calls.
    pub revive_every: Duration,
    /// A replacement that is not ready after this time is given up.
    pub replace_deadline: Duration,
    /// Stop tasks of this framework that no workload knows, once every known task has answered
    /// and all agents had time to return.
    pub kill_unknown: Option<Duration>,
    /// When many tasks fail at once, nothing is stopped or started again automatically.
    pub brake: Option<BrakePolicy>,
    /// Whether modules are asked before an instance is launched, at first; changed by
    /// [`crate::Input::AdmissionNeeded`].
    pub admission: bool,
    /// The workloads whose tasks count as ready only once a module has reported them to be, at
    /// first; changed by [`crate::Input::ReadinessNeeded`].
    pub readiness: Workloads,
}

/// Some of the workloads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Workloads {
    /// None.
    #[default]
    None,
    /// All.
    All,
    /// Those of these names.
    Named(BTreeSet<WorkloadName>),
}

impl Workloads {
    /// Whether this one is among them.
    pub fn contains(&self, name: &WorkloadName) -> bool {
        match self {
            Self::None => false,
            Self::All => true,
            Self::Named(names) => names.contains(name),
        }
    }
}

/// When the disaster brake goes on: more than `share` of the tasks that were well, and at least
/// `tasks_min` of them, turn unhealthy or are lost (unreachable, lost, gone) within `window`.
///
/// It goes off when an operator releases it, or when for `window` no more than half of `share` of
/// the tasks are unhealthy or unreachable and every task has been heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrakePolicy {
    /// Part of the tasks, in thousandths; 1 to 1000.
    pub share_thousandths: u32,
    /// Time within which they fail.
    pub window: Duration,
    /// Fewer never set it: in a small cluster one machine is a large share.
    pub tasks_min: u32,
}

impl Default for BrakePolicy {
    fn default() -> Self {
        Self {
            share_thousandths: 500,
            window: Duration::from_secs(60),
            tasks_min: 10,
        }
    }
}

impl Settings {
    /// Defaults for a framework of this name.
    pub fn new(framework: impl Into<Arc<str>>) -> Self {
        Self {
            framework: framework.into(),
            scheduler_hosts: Vec::new(),
            instances_max: 1_000_000,
            starting_per_agent_max: 20,
            // Long, because a REVIVE lifts it the moment something waits.
            refuse_idle: Duration::from_secs(3600),
            hold_max: Duration::from_secs(5),
            // Image pulls take minutes; asking costs one small call.
            launch_deadline: Duration::from_secs(120),
            reconcile_initial: Duration::from_secs(5),
            reconcile_max: Duration::from_secs(60),
            reconcile_every: Duration::from_secs(15 * 60),
            unreachable_after: Duration::from_secs(60),
            kill_initial: Duration::from_secs(10),
            kill_max: Duration::from_secs(300),
            revive_every: Duration::from_secs(1),
            // The original's limit on a restart.
            replace_deadline: Duration::from_secs(300),
            kill_unknown: None,
            brake: Some(BrakePolicy::default()),
            admission: false,
            readiness: Workloads::None,
        }
    }
}
