//! What must hold always.
//!
//! What concerns the scheduler's own books is proven by [`gantry_core::Scheduler::check`], a part of
//! it in every debug build after each step. Here is what concerns the world: who may act, what must
//! be stored, what lives.

mod calls;
mod ends;
mod moves;
mod placement;
mod steps;
mod told;
mod truth;
mod unread;
mod writes;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use gantry_core::{Command, DeploymentId, ServiceSpec, StopReason, TaskId, Template, WorkloadName};

pub(crate) use told::Told;

use crate::bundle::Bundle;

/// A command is taken in the step that begins so soon after it has come.
const STEP_SLACK: u64 = 10;

/// The last task of an instance may take so long to go, when its agent is away.
const RETIRED_LATELY: u64 = 300_000;

/// What the world remembers in order to judge.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    terms: u64,
    /// The newest epoch of which the master has executed a call.
    acted: u64,
    bundles: BTreeMap<TaskId, Bundle>,
    /// When each launch was decided.
    decided: BTreeMap<TaskId, u64>,
    /// Since when the master has been saying that a task cannot be reached.
    unreachable: BTreeMap<TaskId, u64>,
    /// Since when the framework has its id.
    pub(crate) id_since: u64,
    /// Since when the brake is on.
    braked: Option<u64>,
    /// When it last went off.
    released: Option<u64>,
    /// Templates that were rolled back, as long as nothing else is declared.
    rolled_back: BTreeMap<WorkloadName, Arc<Template>>,
    /// Deployments that found tasks being moved already, with deadlines of their own.
    inherits: BTreeSet<DeploymentId>,
    /// What was asked of a workload, and thus what its tasks may be stopped for.
    asked: BTreeMap<String, Asked>,
    /// What was wanted of a workload, and since when.
    desired: BTreeMap<WorkloadName, Vec<(u64, u32)>>,
    /// Tasks that the master called gone or unreachable while they may have lived: the instance of
    /// such a task may have two.
    doubted: BTreeSet<TaskId>,
    /// Tasks that an operator wants restarted.
    by_hand: BTreeSet<TaskId>,
    /// Tasks that were to be replaced or stopped.
    to_go: BTreeSet<TaskId>,
    /// Instances of which a replacement was taken back: of two tasks one goes once it is certain
    /// that the other stays, until that is stored.
    taken_back: BTreeSet<(WorkloadName, u32)>,
    /// What the leader declares that writes at the moment.
    declares: Vec<ServiceSpec>,
    /// Tasks that were launched by nobody here.
    strangers: BTreeSet<TaskId>,
    /// Every status that a deployment was ever stored with, and when.
    statuses: BTreeMap<DeploymentId, Vec<(u64, &'static str)>>,
    /// When an instance last lost a task because it was not wanted any more.
    retired: BTreeMap<(WorkloadName, u32), u64>,
    /// Tasks that were decided to be stopped.
    stopped: BTreeSet<TaskId>,
    /// Tasks that could not be reached once: no deployment waits for them.
    out_of_reach: BTreeSet<TaskId>,
    /// Unknown tasks that an operator wants stopped.
    kill_unknown: BTreeSet<TaskId>,
    /// Workloads of which something could not be read: what their tasks run may be another
    /// revision than anybody knows, and nothing is moved because of that.
    clouded: BTreeSet<WorkloadName>,
    /// Tasks whose end was acknowledged.
    ended: BTreeSet<TaskId>,
}

/// When it was asked for last.
#[derive(Debug, Default)]
struct Asked {
    fewer: Option<u64>,
    kill: Option<u64>,
    restart: Option<u64>,
}

impl Memory {
    /// A number for a new term.
    pub(crate) fn begin_term(&mut self) -> u64 {
        self.terms += 1;
        self.terms
    }

    pub(crate) fn launched(&mut self, task: &TaskId, bundle: &Bundle) {
        self.bundles.insert(task.clone(), bundle.clone());
    }

    pub(crate) fn bundle_of(&self, task: &TaskId) -> Bundle {
        self.bundles.get(task).cloned().unwrap_or_default()
    }

    /// What the tasks of a workload run cannot be said for certain any more.
    pub(crate) fn clouded(&mut self, name: WorkloadName) {
        self.clouded.insert(name);
    }

    pub(crate) fn is_clouded(&self, name: &WorkloadName) -> bool {
        self.clouded.contains(name)
    }

    fn asked(&mut self, name: &WorkloadName) -> &mut Asked {
        self.asked.entry(name.in_task_ids()).or_default()
    }

    /// The declaration or an operator may have asked for fewer.
    pub(crate) fn lowered(&mut self, name: &WorkloadName, now: u64) {
        self.asked(name).fewer = Some(now);
    }

    /// A leader declares this: what was rolled back may be tried again once something else was.
    pub(crate) fn declared(&mut self, services: &[ServiceSpec]) {
        self.declares = services.to_vec();
        self.rolled_back.retain(|name, template| {
            let spec = services.iter().find(|spec| spec.name == *name);
            spec.is_some_and(|spec| spec.template == **template)
        });
    }

    /// A leader may declare anything else than the one before it: fewer instances, or other tasks.
    pub(crate) fn declared_anew(&mut self, name: &WorkloadName, now: u64) {
        let asked = self.asked(name);
        asked.fewer = Some(now);
        asked.restart = Some(now);
    }

    /// An update is rolled back.
    fn moved_back(&mut self, name: &WorkloadName, now: u64) {
        self.asked(name).restart = Some(now);
    }

    /// The master says of a task that may live that it has ended or cannot be reached.
    pub(crate) fn doubted(&mut self, task: &TaskId) {
        self.doubted.insert(task.clone());
    }

    pub(crate) fn was_doubted(&self, task: &TaskId) -> bool {
        self.doubted.contains(task)
    }

    /// A task is there that nobody here has launched.
    pub(crate) fn stranger(&mut self, task: &TaskId) {
        self.strangers.insert(task.clone());
    }

    pub(crate) fn is_stranger(&self, task: &TaskId) -> bool {
        self.strangers.contains(task)
    }

    /// Whether an operator wants any task of a workload restarted.
    fn is_any_by_hand(&self, name: Option<&WorkloadName>, framework: &str) -> bool {
        is_any_of(&self.by_hand, name, framework)
    }

    /// Whether a deployment was stored with one of these statuses since then.
    pub(crate) fn had_status(&self, id: DeploymentId, since: u64, any: &[&str]) -> bool {
        let mut statuses = self.statuses.get(&id).into_iter().flatten();
        statuses.any(|(at, status)| *at >= since && any.contains(status))
    }

    /// When the launch of a task was decided, and nobody ever doubted that it lives.
    pub(crate) fn decided_at(&self, task: &TaskId) -> Option<u64> {
        let decided = self.decided.get(task).copied();
        decided.filter(|_| !self.doubted.contains(task))
    }

    /// The master says that a task cannot be reached.
    pub(crate) fn unreachable(&mut self, task: &TaskId, now: u64) {
        self.unreachable.entry(task.clone()).or_insert(now);
        self.out_of_reach.insert(task.clone());
    }

    /// A leader hears that it can.
    pub(crate) fn reached(&mut self, task: &TaskId) {
        self.unreachable.remove(task);
    }

    /// A leader is asked for something.
    pub(crate) fn commanded(
        &mut self,
        command: &Command,
        of_deployment: Option<&WorkloadName>,
        all: &[WorkloadName],
        framework: &str,
        now: u64,
    ) {
        match command {
            Command::Scale { workload, .. } => self.asked(workload).fewer = Some(now),
            Command::Restart { task } => {
                self.by_hand.insert(task.clone());
                if let Some(parts) = task.parts(framework) {
                    self.asked
                        .entry(parts.workload.to_owned())
                        .or_default()
                        .restart = Some(now);
                }
            }
            Command::RollingRestart { workload } => {
                for name in workload.as_ref().map_or(all, std::slice::from_ref) {
                    self.asked(name).restart = Some(now);
                }
            }
            Command::KillAll { workload } => {
                for name in workload.as_ref().map_or(all, std::slice::from_ref) {
                    self.asked(name).kill = Some(now);
                }
            }
            Command::ResumeDeployment(_)
            | Command::AbortDeployment(_)
            | Command::RollbackDeployment(_) => {
                // Other revisions than before are launched, and what runs may be moved.
                for name in of_deployment.map_or(all, std::slice::from_ref) {
                    self.asked(name).restart = Some(now);
                }
            }
            Command::KillUnknown { task } => {
                self.kill_unknown.insert(task.clone());
            }
            _ => {}
        }
    }

    /// Whether any task of a workload could not be reached once.
    pub(crate) fn was_out_of_reach(&self, name: &WorkloadName, framework: &str) -> bool {
        let name = name.in_task_ids();
        self.out_of_reach.iter().any(|task| {
            let parts = task.parts(framework);
            parts.is_some_and(|parts| parts.workload == name)
        })
    }

    /// Whether it was ever stored that a task is to be replaced or stopped.
    pub(crate) fn was_to_go(&self, task: &TaskId) -> bool {
        self.to_go.contains(task)
    }

    /// Whether it was stored since then that the brake is off.
    pub(crate) fn was_released(&self, since: u64) -> bool {
        self.braked.is_none() || self.released.is_some_and(|at| at >= since)
    }

    /// Whether the brake was on at any time since then.
    pub(crate) fn braked_since(&self, since: u64) -> bool {
        self.braked.is_some() || self.released.is_some_and(|at| at >= since)
    }

    /// What was wanted of a workload at any time since.
    pub(crate) fn desired_since(
        &self,
        name: &WorkloadName,
        since: u64,
    ) -> impl Iterator<Item = u32> {
        let log = self.desired.get(name).map_or(&[][..], Vec::as_slice);
        let first = log.partition_point(|(at, _)| *at <= since);
        log[first.saturating_sub(1)..]
            .iter()
            .map(|(_, desired)| *desired)
    }

    /// Whether an instance was not wanted at any time lately: what it is wanted again for is not a
    /// deployment's move, though an older one of its tasks may still be going.
    fn was_retired(&self, workload: &WorkloadName, number: u32, now: u64) -> bool {
        let at = self.retired.get(&(workload.clone(), number));
        at.is_some_and(|at| now < at + RETIRED_LATELY)
    }

    /// What is stored to be wanted of a workload.
    pub(crate) fn wanted(&self, name: &WorkloadName) -> Option<u32> {
        Some(self.desired.get(name)?.last()?.1)
    }

    /// Whether something that happened explains that a task is stopped.
    fn explains(
        &self,
        task: &TaskId,
        workload: &WorkloadName,
        number: u32,
        reason: StopReason,
    ) -> bool {
        let name = workload.in_task_ids();
        let launched = self.decided.get(task).copied().unwrap_or(0);
        let asked = self.asked.get(&name);
        let since_launch = |at: Option<u64>| at.is_some_and(|at| launched <= at + STEP_SLACK);
        match reason {
            StopReason::Retired => asked.is_some_and(|asked| since_launch(asked.fewer)),
            StopReason::Killed => asked.is_some_and(|asked| since_launch(asked.kill)),
            StopReason::Restarted => asked.is_some_and(|asked| since_launch(asked.restart)),
            StopReason::ReplacementFailed => asked.is_some_and(|asked| asked.restart.is_some()),
            StopReason::Surplus => self.taken_back.contains(&(workload.clone(), number)),
        }
    }
}

fn is_any_of(tasks: &BTreeSet<TaskId>, name: Option<&WorkloadName>, framework: &str) -> bool {
    let name = name.map(WorkloadName::in_task_ids);
    tasks.iter().any(|task| {
        let parts = task.parts(framework);
        name.is_none() || parts.is_some_and(|parts| Some(parts.workload) == name.as_deref())
    })
}
