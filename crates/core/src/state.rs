//! The scheduler's knowledge of workloads, instances and tasks, built so that a reader's copy
//! costs next to nothing.
//!
//! Everything that readers see hangs on `Arc`s. A [`View`] is a handful of pointer copies; the
//! scheduler then copies only the pieces (blocks of [`BLOCK`] instances) that it changes while a
//! view of them is still held.

use std::{cmp::Reverse, collections::BTreeMap, sync::Arc};

use smallvec::SmallVec;

use crate::{
    AccessRecord, AuditEntry, BackOff, Brake, Deployment, DeploymentKind, EndedTask, FrameworkId,
    Operator, StatusUpdate, Task, TaskId, TaskState, Template, Timestamp, Unreadable, UpdatePolicy,
    Veto, WorkloadName,
};

/// Instances per block of an [`Instances`] table.
pub const BLOCK: usize = 64;

/// What readers see: the whole state at one moment, immutable.
#[derive(Clone, Debug)]
pub struct View {
    /// When it was taken.
    pub at: Timestamp,
    /// The framework and its connection.
    pub framework: FrameworkView,
    /// Workloads in the order of their declaration.
    pub workloads: Vec<Arc<Workload>>,
    /// Deployments, oldest first: those at work and the last that ended.
    pub deployments: Vec<Arc<Deployment>>,
    /// Operator actions, oldest first.
    pub audit: Vec<Arc<AuditEntry>>,
    /// Tasks of this framework that no workload knows.
    pub unknown_tasks: Arc<BTreeMap<TaskId, StatusUpdate>>,
    /// The disaster brake, while it is on.
    pub brake: Option<Brake>,
    /// What modules keep, by the module's name.
    pub module_values: Arc<ModuleValues>,
    /// Which sessions have ended before their time.
    pub access: Arc<AccessRecord>,
    /// What of the store could not be read, and has not been put right since.
    pub unreadable: Arc<Vec<Unreadable>>,
    /// Sums since the start.
    pub counters: Counters,
}

impl View {
    /// The workload of this name.
    pub fn workload(&self, name: &str) -> Option<&Arc<Workload>> {
        self.workloads
            .iter()
            .find(|workload| workload.name.as_str() == name)
    }

    /// The last update of a workload, as long as it is remembered.
    pub fn last_update(&self, name: &WorkloadName) -> Option<&Arc<Deployment>> {
        self.deployments.iter().rev().find(|deployment| {
            matches!(&deployment.kind, DeploymentKind::Update { workload, .. } if workload == name)
        })
    }
}

/// What modules keep: by the module's name, then by the module's own key. A module that keeps
/// nothing is not in it.
pub type ModuleValues = BTreeMap<Arc<str>, Arc<BTreeMap<Arc<str>, Arc<str>>>>;

/// The framework and its connection.
#[derive(Clone, Debug, Default)]
pub struct FrameworkView {
    /// Our id, once Mesos gave us one.
    pub id: Option<FrameworkId>,
    /// Whether we are subscribed.
    pub subscribed: bool,
    /// Since when we are (or are not).
    pub since: Timestamp,
    /// How many subscriptions there were; tasks whose `heard_in` is smaller are unconfirmed.
    pub subscription: u32,
    /// Live tasks that Mesos has not spoken of since the subscription.
    pub unconfirmed: usize,
    /// Whether offers are suppressed because nothing waits.
    pub suppressed: bool,
    /// Offers held at the moment.
    pub offers_held: usize,
    /// Agents that we have seen offers or tasks of.
    pub agents: usize,
}

/// Sums since the start, for metrics.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    /// Offers received.
    pub offers: u64,
    /// Offers declined.
    pub declined: u64,
    /// Offers accepted.
    pub accepted: u64,
    /// Tasks launched.
    pub launched: u64,
    /// Status updates received.
    pub updates: u64,
    /// Tasks that ended.
    pub ended: u64,
    /// Tasks that ended in FAILED, ERROR, LOST, DROPPED, GONE or GONE_BY_OPERATOR.
    pub failed: u64,
    /// KILL calls.
    pub kills: u64,
    /// REVIVE calls.
    pub revives: u64,
    /// Explicit and implicit reconciliations.
    pub reconciliations: u64,
}

/// A workload.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Its name.
    pub name: WorkloadName,
    /// Its name as it stands in task ids.
    pub task_name: Arc<str>,
    /// The count of the declaration.
    pub declared: u32,
    /// The count that is wanted.
    pub desired: u32,
    /// See [`crate::ServiceSpec::priority`].
    pub priority: i32,
    /// See [`crate::ServiceSpec::wait_healthy`].
    pub wait_healthy: bool,
    /// See [`crate::ServiceSpec::allow_scaling`].
    pub allow_scaling: bool,
    /// See [`crate::ServiceSpec::back_off`].
    pub back_off: BackOff,
    /// See [`crate::ServiceSpec::update`].
    pub update: UpdatePolicy,
    /// No longer declared; going.
    pub removed: bool,
    /// The revision that tasks are launched as.
    pub revision: u32,
    /// See [`crate::WorkloadRecord::declared_revision`].
    pub declared_revision: u32,
    /// Whether its tasks count as ready only once modules have reported them to be; see
    /// [`crate::Settings::readiness`].
    pub needs_readiness: bool,
    /// The templates still in use, by revision.
    pub revisions: BTreeMap<u32, Arc<Template>>,
    /// Its instances.
    pub instances: Instances,
    /// How many of its instances and tasks are in which condition.
    pub counts: Counts,
    /// What the last matching cycle that had offers found out about its waiting instances.
    pub funnel: Option<Arc<Funnel>>,
    /// The workload of better priority that its instances wait for, if any.
    pub waits_for: Option<WorkloadName>,
}

impl Workload {
    /// The template of the current revision.
    pub fn template(&self) -> Option<&Arc<Template>> {
        self.revisions.get(&self.revision)
    }

    /// Live tasks with the number of their instance, by instance.
    pub fn tasks(&self) -> impl Iterator<Item = (u32, &Task)> {
        self.instances
            .iter()
            .flat_map(|instance| instance.tasks.iter().map(|task| (instance.number, task)))
    }

    /// The instances that go when `count` fewer are wanted, the first to go first: those without a
    /// task that is to stay, then those whose task cannot be reached, then unhealthy ones, then the
    /// youngest.
    pub fn first_to_go(&self, count: usize) -> Vec<u32> {
        let mut wanted: Vec<_> = self
            .instances
            .iter()
            .filter(|instance| instance.wanted)
            .map(|instance| {
                let staying = instance.tasks.iter().filter(|task| !task.goal.is_stop());
                let class = staying
                    .map(|task| match (task.state, task.healthy) {
                        (TaskState::Unreachable, _) => 1,
                        (_, Some(false)) => 2,
                        _ => 3,
                    })
                    .max()
                    .unwrap_or(0);
                let launched = instance.tasks.iter().map(|task| task.launched_at).max();
                (class, Reverse(launched), Reverse(instance.number))
            })
            .collect();
        wanted.sort_unstable();
        wanted.truncate(count);
        wanted
            .into_iter()
            .map(|(_, _, Reverse(number))| number)
            .collect()
    }

    /// The instances that come when more are wanted, the first to come first: the lowest free
    /// numbers.
    pub fn first_to_come(&self) -> impl Iterator<Item = u32> {
        (1..).filter(|number| {
            let instance = self.instances.get(*number);
            instance.is_none_or(|instance| !instance.wanted)
        })
    }

    /// The same without the first `skip`: those are counted, block by block, and not walked.
    pub fn tasks_after(&self, mut skip: usize) -> impl Iterator<Item = (u32, &Task)> {
        let blocks = &self.instances.blocks;
        let mut begin = 0;
        for block in blocks {
            let tasks: usize = block.iter().flatten().map(|one| one.tasks.len()).sum();
            if tasks > skip {
                break;
            }
            skip -= tasks;
            begin += 1;
        }
        let rest = blocks[begin..]
            .iter()
            .flat_map(|block| block.iter().flatten());
        let tasks = rest.flat_map(|one| one.tasks.iter().map(|task| (one.number, task)));
        tasks.skip(skip)
    }

    /// Whether a second task of an instance can never start beside the first, so that the first
    /// must be stopped before its replacement is launched.
    pub fn stops_first(&self) -> bool {
        self.template().is_some_and(|template| {
            !template.demand.fixed_ports.is_empty()
                || template.placement.unique_hosts
                || template.placement.constraints.iter().any(|constraint| {
                    matches!(constraint.operator, Operator::Unique | Operator::MaxPer(_))
                })
        })
    }

    /// The id of a task of this workload.
    pub fn task_id(&self, framework: &str, number: u32, task: &Task) -> TaskId {
        TaskId::from_parts(framework, &self.task_name, number, task.uuid)
    }
}

/// How many instances and tasks are in which condition. Kept up to date, so that nobody counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Instances that wait for the consent of modules.
    pub admitting: u32,
    /// Instances that wait for an offer.
    pub waiting: u32,
    /// Instances that wait for their back-off to pass.
    pub backing_off: u32,
    /// Instances that wait for Mesos to say whether a task of theirs runs already.
    pub reconciling: u32,
    /// Instances that wait for the release of the disaster brake.
    pub braked: u32,
    /// Of those, the ones whose last task ended because its health check failed.
    pub ended_unhealthy: u32,
    /// Instances with a ready task that is not being stopped: it runs, is healthy where that is
    /// checked, and was reported ready where modules say that.
    pub ready: u32,
    /// Live tasks that are launching, staging or starting.
    pub starting: u32,
    /// Live tasks that run.
    pub running: u32,
    /// Running tasks reported healthy.
    pub healthy: u32,
    /// Running tasks reported unhealthy.
    pub unhealthy: u32,
    /// Live tasks that are being killed.
    pub killing: u32,
    /// Live tasks whose agent cannot be reached, or that are unknown to the master.
    pub unreachable: u32,
    /// Live tasks that are being replaced.
    pub replacing: u32,
    /// Live tasks that Mesos has not spoken of since the subscription.
    pub unconfirmed: u32,
}

impl Counts {
    /// All live tasks.
    pub const fn tasks(&self) -> u32 {
        self.starting + self.running + self.killing + self.unreachable
    }
}

/// A table of instances by number.
#[derive(Clone, Debug, Default)]
pub struct Instances {
    pub(crate) blocks: Vec<Arc<[Option<Instance>; BLOCK]>>,
    pub(crate) len: usize,
}

impl Instances {
    /// How many instances there are.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// True without instances.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The instance of this number.
    pub fn get(&self, number: u32) -> Option<&Instance> {
        let index = (number as usize).checked_sub(1)?;
        self.blocks.get(index / BLOCK)?[index % BLOCK].as_ref()
    }

    /// The instances, by number.
    pub fn iter(&self) -> impl Iterator<Item = &Instance> {
        self.blocks.iter().flat_map(|block| block.iter().flatten())
    }

    pub(crate) fn get_mut(&mut self, number: u32) -> Option<&mut Instance> {
        let index = (number as usize).checked_sub(1)?;
        let block = self.blocks.get_mut(index / BLOCK)?;
        // Looking first spares the copy of a shared block for an instance that is not there.
        block[index % BLOCK].as_ref()?;
        Arc::make_mut(block)[index % BLOCK].as_mut()
    }

    pub(crate) fn insert(&mut self, instance: Instance) {
        let Some(index) = (instance.number as usize).checked_sub(1) else {
            return;
        };
        while self.blocks.len() <= index / BLOCK {
            self.blocks.push(empty_block());
        }
        let slot = &mut Arc::make_mut(&mut self.blocks[index / BLOCK])[index % BLOCK];
        if slot.replace(instance).is_none() {
            self.len += 1;
        }
    }

    pub(crate) fn remove(&mut self, number: u32) -> Option<Instance> {
        let index = (number as usize).checked_sub(1)?;
        let block = self.blocks.get_mut(index / BLOCK)?;
        block[index % BLOCK].as_ref()?;
        let removed = Arc::make_mut(block)[index % BLOCK].take();
        self.len -= usize::from(removed.is_some());
        removed
    }
}

/// One empty block for all gaps: a lone high number does not cost the blocks below it.
fn empty_block() -> Arc<[Option<Instance>; BLOCK]> {
    static EMPTY: std::sync::OnceLock<Arc<[Option<Instance>; BLOCK]>> = std::sync::OnceLock::new();
    EMPTY
        .get_or_init(|| Arc::new([const { None }; BLOCK]))
        .clone()
}

impl FromIterator<Instance> for Instances {
    fn from_iter<I: IntoIterator<Item = Instance>>(instances: I) -> Self {
        let mut table = Self::default();
        for instance in instances {
            table.insert(instance);
        }
        table
    }
}

/// One slot of a workload. It outlives the tasks that fill it.
#[derive(Clone, Debug)]
pub struct Instance {
    /// Its number, from 1.
    pub number: u32,
    /// Whether it is wanted; one that is not goes when its last task has ended.
    pub wanted: bool,
    /// Whether it was there before this scheduler, so that a task of it may run of which there is
    /// no record.
    pub inherited: bool,
    /// Why it has no task (or no replacement) and what it waits for.
    pub waiting: Option<Waiting>,
    /// Its live tasks: one, or two while one replaces the other. The last is the newest.
    pub tasks: SmallVec<[Task; 1]>,
    /// Failures since the last stable run.
    pub failures: u32,
    /// Not to be launched before.
    pub not_before: Option<Timestamp>,
    /// Its last tasks, newest first; at most [`crate::HISTORY_LENGTH`].
    pub history: Arc<[EndedTask]>,
}

/// What an instance waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// The consent of modules.
    Admission {
        /// Since when.
        since: Timestamp,
        /// Their last answer, if it was a refusal.
        refused: Option<Arc<Veto>>,
    },
    /// An offer that fits.
    Offer {
        /// Since when.
        since: Timestamp,
    },
    /// Mesos' answer to the question which tasks run already; see [`Instance::inherited`].
    Reconciliation {
        /// Since when.
        since: Timestamp,
    },
    /// The release of the disaster brake.
    Brake {
        /// Since when.
        since: Timestamp,
    },
    /// The end of its back-off.
    BackOff {
        /// Since when.
        since: Timestamp,
        /// Until when.
        until: Timestamp,
    },
}

/// What a matching cycle found out about the waiting instances of a workload: how many offers
/// were left after each test, and which one came nearest.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Funnel {
    /// When the cycle was.
    pub at: Timestamp,
    /// Offers at hand.
    pub offers: u32,
    /// …whose agent satisfies the constraints.
    pub after_constraints: u32,
    /// …whose maintenance is neither near nor under way.
    pub after_maintenance: u32,
    /// …that are not ruled out by colocation rules.
    pub after_colocation: u32,
    /// …with enough cpus, mem, disk and gpus.
    pub after_resources: u32,
    /// …with the ports.
    pub after_ports: u32,
    /// …with a free starting place.
    pub after_limits: u32,
    /// Instances launched in the cycle.
    pub launched: u32,
    /// The offer that came nearest to fitting.
    pub nearest: Option<NearMiss>,
}

/// An offer that nearly fitted.
#[derive(Clone, Debug, PartialEq)]
pub struct NearMiss {
    /// Host name of its agent.
    pub hostname: String,
    /// What it lacked, as a clause: `0.3 cpus`.
    pub lacks: String,
}
