//! What a start would change, without starting: the difference between what is stored and what the
//! scheduler would make of it under a declaration.

use std::{collections::BTreeSet, sync::Arc};

use super::Scheduler;
use crate::{
    Brake, Deployment, DeploymentKind, Found, IdGenerator, Key, ServiceSpec, Settings, TaskId,
    Template, Timestamp, View, Workload, WorkloadName,
};

/// What a start under a declaration would change.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Every workload that is declared or stored: in the order of the declaration, then those that
    /// are no longer declared.
    pub workloads: Vec<WorkloadPlan>,
    /// Live tasks of workloads that are neither declared nor stored: shown, and left alone unless
    /// unknown tasks are to be killed.
    pub set_aside: Vec<TaskId>,
    /// The brake, when it is on: nothing is replaced or started again before it is released.
    pub brake: Option<Brake>,
}

impl Plan {
    /// Whether nothing would change.
    pub fn is_empty(&self) -> bool {
        self.workloads.iter().all(WorkloadPlan::is_empty)
    }
}

/// What would change about one workload.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkloadPlan {
    /// Which.
    pub name: WorkloadName,
    /// What becomes of it.
    pub change: Change,
    /// How many instances would be wanted.
    pub desired: u32,
    /// Instances whose tasks run without a workload that is stored, and would be kept.
    pub adopted: Vec<u32>,
    /// Instances that would be added, by number.
    pub created: Vec<u32>,
    /// Instances whose task would be replaced in an update.
    pub replaced: Vec<u32>,
    /// Instances that would be stopped.
    pub stopped: Vec<u32>,
    /// The revision that would be declared.
    pub declared_revision: u32,
    /// The revision that tasks would be started as; `None` when it is no longer declared.
    pub launched: Option<u32>,
    /// Its last update, as it would be.
    pub update: Option<Arc<Deployment>>,
}

impl WorkloadPlan {
    /// Whether nothing would change.
    pub fn is_empty(&self) -> bool {
        matches!(self.change, Change::None | Change::Unreadable)
            && self.adopted.is_empty()
            && self.created.is_empty()
            && self.replaced.is_empty()
            && self.stopped.is_empty()
    }
}

/// What becomes of a workload.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Nothing.
    None,
    /// It is declared for the first time.
    New,
    /// Its declaration is another.
    Changed {
        /// As it is stored.
        before: Box<Declared>,
        /// As it would be.
        after: Box<Declared>,
    },
    /// It is no longer declared.
    Removed,
    /// Its stored record cannot be read: nothing that is declared takes its place.
    Unreadable,
}

/// Everything that a declaration says of a workload, and the count that is wanted.
#[derive(Clone, Debug, PartialEq)]
pub struct Declared {
    /// The number of the declared revision.
    pub revision: u32,
    /// What its tasks are made of; `None` when it is no longer known.
    pub template: Option<Arc<Template>>,
    /// The declared count.
    pub declared: u32,
    /// The count that is wanted; another when an operator has scaled.
    pub desired: u32,
    /// The rest of the declaration.
    pub settings: DeclaredSettings,
}

/// What a declaration says of a workload beyond its template and count.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct DeclaredSettings {
    /// See [`ServiceSpec::priority`].
    pub priority: i32,
    /// See [`ServiceSpec::wait_healthy`].
    pub wait_healthy: bool,
    /// See [`ServiceSpec::allow_scaling`].
    pub allow_scaling: bool,
    /// See [`ServiceSpec::back_off`].
    pub back_off: crate::BackOff,
    /// See [`ServiceSpec::update`].
    pub update: crate::UpdatePolicy,
}

/// What `Scheduler::start` would change: the same code decides.
pub fn plan(now: Timestamp, settings: &Settings, services: Vec<ServiceSpec>, found: Found) -> Plan {
    let unreadable: Vec<_> = found
        .unreadable
        .iter()
        .filter_map(|one| match &one.key {
            Some(Key::Workload(name)) => Some(name.clone()),
            _ => None,
        })
        .collect();
    let before = stored_view(now, settings, found.clone());
    let ids = IdGenerator::new([0; 4]);
    let (scheduler, _) = Scheduler::start(now, settings.clone(), ids, services, found);
    let after = scheduler.view();
    let mut workloads: Vec<_> = after
        .workloads
        .iter()
        .map(|workload| {
            let stored = before.workload(workload.name.as_str());
            let moved_to = new_update(workload, &before, &after);
            let running = match stored {
                None => running(&settings.framework, workload, &before),
                Some(_) => BTreeSet::new(),
            };
            let plan = workload_plan(stored.map(|stored| &**stored), running, workload, moved_to);
            let plan = WorkloadPlan {
                update: after.last_update(&workload.name).cloned(),
                ..plan
            };
            if stored.is_some() || !unreadable.contains(&workload.name) {
                return plan;
            }
            // It is not new, and what runs is its own.
            WorkloadPlan {
                change: Change::Unreadable,
                adopted: Vec::new(),
                ..plan
            }
        })
        .collect();
    // One without a single task is gone at once.
    let gone = before
        .workloads
        .iter()
        .filter(|stored| after.workload(stored.name.as_str()).is_none());
    workloads.extend(gone.map(|stored| WorkloadPlan {
        name: stored.name.clone(),
        change: Change::Removed,
        desired: 0,
        adopted: Vec::new(),
        created: Vec::new(),
        replaced: Vec::new(),
        stopped: numbers(stored),
        declared_revision: stored.declared_revision,
        launched: None,
        update: None,
    }));
    Plan {
        workloads,
        set_aside: after.unknown_tasks.keys().cloned().collect(),
        brake: after.brake,
    }
}

/// What readers see of stored records where nobody acts on them: nothing is decided. Which tasks
/// Mesos has confirmed is not stored, so that none counts as unconfirmed.
pub fn stored_view(now: Timestamp, settings: &Settings, found: Found) -> View {
    let mut view = Scheduler::restore_only(now, settings.clone(), found).view();
    view.framework.unconfirmed = 0;
    for workload in &mut view.workloads {
        Arc::make_mut(workload).counts.unconfirmed = 0;
    }
    view
}

/// The revision that an update moves a workload to which the start would begin.
fn new_update(workload: &Workload, before: &View, after: &View) -> Option<u32> {
    let known = |id| before.deployments.iter().any(|other| other.id == id);
    after.deployments.iter().find_map(|deployment| {
        let DeploymentKind::Update {
            workload: name, to, ..
        } = &deployment.kind
        else {
            return None;
        };
        (*name == workload.name && !known(deployment.id)).then_some(*to)
    })
}

/// The instances of a workload that have live tasks although it is not stored.
fn running(framework: &str, workload: &Workload, before: &View) -> BTreeSet<u32> {
    before
        .unknown_tasks
        .keys()
        .filter_map(|task| task.parts(framework))
        .filter(|parts| *parts.workload == *workload.task_name)
        .map(|parts| parts.number)
        .collect()
}

fn workload_plan(
    before: Option<&Workload>,
    running: BTreeSet<u32>,
    after: &Workload,
    moved_to: Option<u32>,
) -> WorkloadPlan {
    let change = match before {
        None => Change::New,
        Some(before) if after.removed && !before.removed => Change::Removed,
        Some(before) => {
            let (before, after) = (declared(before), declared(after));
            if before == after {
                Change::None
            } else {
                Change::Changed {
                    before: Box::new(before),
                    after: Box::new(after),
                }
            }
        }
    };
    let adopts = !running.is_empty();
    let had: BTreeSet<u32> = before.map_or(running, wanted);
    let has = wanted(after);
    let kept = had.intersection(&has).copied();
    let replaced = after
        .instances
        .iter()
        .filter(|instance| instance.wanted)
        .filter(|instance| {
            moved_to.is_some_and(|to| instance.tasks.iter().any(|task| task.revision != to))
        })
        .map(|instance| instance.number)
        .collect();
    WorkloadPlan {
        name: after.name.clone(),
        change,
        desired: after.desired,
        adopted: if adopts { kept.collect() } else { Vec::new() },
        created: has.difference(&had).copied().collect(),
        replaced,
        stopped: had.difference(&has).copied().collect(),
        declared_revision: after.declared_revision,
        launched: (!after.removed).then_some(after.revision),
        update: None,
    }
}

fn wanted(workload: &Workload) -> BTreeSet<u32> {
    workload
        .instances
        .iter()
        .filter(|instance| instance.wanted)
        .map(|instance| instance.number)
        .collect()
}

fn numbers(workload: &Workload) -> Vec<u32> {
    wanted(workload).into_iter().collect()
}

fn declared(workload: &Workload) -> Declared {
    Declared {
        revision: workload.declared_revision,
        template: workload.revisions.get(&workload.declared_revision).cloned(),
        declared: workload.declared,
        desired: workload.desired,
        settings: DeclaredSettings {
            priority: workload.priority,
            wait_healthy: workload.wait_healthy,
            allow_scaling: workload.allow_scaling,
            back_off: workload.back_off,
            update: workload.update.clone(),
        },
    }
}
