//! What of the store could not be read: it is left where it is, and is taken to have said whatever
//! does the least harm.
//!
//! | record | what is made of it |
//! |---|---|
//! | a task | it may live: known by its id, asked about, and its instance is not vacant meanwhile |
//! | a workload | as many instances are wanted as belong to it, or are declared; nothing is written over it before an operator scales |
//! | a revision | what runs as it counts as another than what is declared, and nothing is moved because of that |
//! | an instance | its failures are forgotten |
//! | a deployment | it stands still; its number is not used again |
//! | the brake | it is on |
//! | the ends of sessions | all sessions have ended |
//! | others | left out |
//!
//! Unknown tasks are not killed by themselves as long as a workload or a task may hide here.

use std::{collections::BTreeSet, sync::Arc};

use smallvec::SmallVec;

use super::{Scheduler, brake::itself, load::Stored};
use crate::{
    AccessRecord, AgentAddress, Brake, DeploymentId, DeploymentKind, DeploymentStatus, Goal, Key,
    Record, ServiceSpec, StopReason, TaskRecord, TaskState, Unreadable, WorkloadName,
    WorkloadRecord, Write,
};

/// What could not be read, and was not written anew since.
#[derive(Debug, Default)]
pub(super) struct Unread {
    pub(super) list: Arc<Vec<Unreadable>>,
    keys: BTreeSet<Key>,
}

impl Unread {
    pub(super) fn new(list: Vec<Unreadable>) -> Self {
        let keys = list.iter().filter_map(|one| one.key.clone()).collect();
        Self {
            list: Arc::new(list),
            keys,
        }
    }

    pub(super) fn contains(&self, key: &Key) -> bool {
        !self.keys.is_empty() && self.keys.contains(key)
    }

    pub(super) fn contains_workload(&self, name: &WorkloadName) -> bool {
        !self.keys.is_empty() && self.keys.contains(&Key::Workload(name.clone()))
    }

    /// From now on it is known what belongs there.
    pub(super) fn settle(&mut self, key: &Key) {
        if !self.keys.is_empty() && self.keys.remove(key) {
            Arc::make_mut(&mut self.list).retain(|one| one.key.as_ref() != Some(key));
        }
    }

    /// Whether a deployment may be among it.
    pub(super) fn may_hide_deployments(&self) -> bool {
        self.list
            .iter()
            .any(|one| matches!(one.key, None | Some(Key::Deployment(_))))
    }

    /// Whether one that was begun later than this may be among it.
    pub(super) fn may_hide_deployments_after(&self, last: DeploymentId) -> bool {
        self.list.iter().any(|one| match one.key {
            None => true,
            Some(Key::Deployment(id)) => id > last,
            Some(_) => false,
        })
    }

    /// Whether a workload or a task may be among it, so that not every task can be known.
    pub(super) fn may_hide_tasks(&self) -> bool {
        self.list
            .iter()
            .any(|one| matches!(one.key, None | Some(Key::Workload(_) | Key::Task(_))))
    }
}

impl Scheduler {
    /// What is written takes the place of what could not be read.
    pub(super) fn settle_unreadable(&mut self) {
        if self.unread.list.is_empty() {
            return;
        }
        for write in &self.out.writes {
            match write {
                Write::Put(record) => self.unread.settle(&record.key()),
                Write::Delete(key) => self.unread.settle(key),
            }
        }
    }

    /// Takes in what follows from single records that could not be read.
    pub(super) fn doubt(&mut self, services: &[ServiceSpec], stored: &mut Stored) {
        for one in Arc::clone(&self.unread.list).iter() {
            match &one.key {
                Some(Key::Task(_)) => self.doubt_task(one, services, stored),
                Some(Key::Revision(name, number)) => {
                    let lost = stored.lost_revisions.entry(name.clone()).or_default();
                    lost.insert(*number);
                }
                Some(Key::Instance(name, number)) => {
                    let lost = stored.lost_instances.entry(name.clone()).or_default();
                    lost.insert(*number);
                }
                Some(Key::Deployment(id)) => {
                    self.next_deployment = self.next_deployment.max(id.0 + 1);
                }
                Some(Key::Brake) => {
                    self.brake = Some(Brake {
                        since: self.now,
                        troubled: 0,
                        of: 0,
                    });
                }
                Some(Key::Access) => self.doubt_sessions(),
                Some(Key::Framework | Key::Workload(_) | Key::Audit(_) | Key::ModuleValue(..))
                | None => {}
            }
        }
    }

    /// A task of which nothing is known but its id: it may live.
    fn doubt_task(&mut self, one: &Unreadable, services: &[ServiceSpec], stored: &mut Stored) {
        let Some(Key::Task(id)) = &one.key else {
            return;
        };
        let Some(parts) = id.parts(&self.settings.framework) else {
            return;
        };
        let declared = services.iter().map(|service| &service.name);
        let workload = declared
            .chain(stored.workloads.keys())
            .find(|name| name.in_task_ids() == parts.workload)
            .cloned()
            .unwrap_or_else(|| WorkloadName::new(parts.workload));
        let record = TaskRecord {
            id: id.clone(),
            workload: workload.clone(),
            number: parts.number,
            uuid: parts.uuid,
            revision: 0,
            agent: Arc::new(AgentAddress::unknown()),
            ports: SmallVec::new(),
            state: TaskState::Launching,
            goal: Goal::Run,
            launched_at: self.now,
            started_at: None,
            running_at: None,
        };
        let tasks = stored.tasks.entry(workload).or_default();
        // Two entries may speak of one task: what the original left, and what was taken over of it.
        if tasks.iter().all(|task| task.id != *id) {
            tasks.push(record);
        }
    }

    /// Nobody may come back whose session was ended.
    fn doubt_sessions(&mut self) {
        let mut access = AccessRecord::default();
        access.end(None, self.now);
        self.out
            .writes
            .push(Write::Put(Record::Access(access.clone())));
        self.access = Arc::new(access);
        self.audit(
            itself(),
            "end all sessions".to_owned(),
            None,
            Some("the record of ended sessions could not be read".to_owned()),
        );
    }

    /// What the lost record of a workload said, as far as what belongs to it tells; `None` when
    /// nothing was lost.
    ///
    /// The original keeps no workloads: tasks that it left alone, whole, are of one that is new.
    pub(super) fn lost_record(
        &self,
        spec: &ServiceSpec,
        stored: &Stored,
    ) -> Option<WorkloadRecord> {
        let name = &spec.name;
        let tasks = stored.tasks.get(name).map_or(&[][..], Vec::as_slice);
        let was_ours = |task: &TaskRecord| {
            task.revision > 0 || self.unread.contains(&Key::Task(task.id.clone()))
        };
        if !self.unread.contains_workload(name) && !tasks.iter().any(was_ours) {
            return None;
        }
        let mut numbers: BTreeSet<u32> = tasks
            .iter()
            .filter(|task| !is_retired(task))
            .map(|task| task.number)
            .collect();
        let going: BTreeSet<u32> = tasks
            .iter()
            .map(|task| task.number)
            .filter(|number| !numbers.contains(number))
            .collect();
        let remembered = stored.instances.get(name).into_iter();
        let remembered = remembered.flat_map(|records| records.keys());
        let lost = stored.lost_instances.get(name).into_iter().flatten();
        numbers.extend(
            remembered
                .chain(lost)
                .filter(|number| !going.contains(number)),
        );
        let revisions = self.lost_revision(name, tasks, stored);
        let (revision, declared_revision) = revisions.unwrap_or_default();
        Some(WorkloadRecord {
            name: name.clone(),
            declared: spec.instances,
            desired: spec.instances.max(numbers.len() as u32),
            revision,
            declared_revision,
            update: spec.update.clone(),
            priority: spec.priority,
            wait_healthy: spec.wait_healthy,
            allow_scaling: spec.allow_scaling,
            back_off: spec.back_off,
            removed: false,
        })
    }

    /// The revision that tasks were launched as, and the one that was declared.
    fn lost_revision(
        &self,
        name: &WorkloadName,
        tasks: &[TaskRecord],
        stored: &Stored,
    ) -> Option<(u32, u32)> {
        let known = stored.revisions.get(name);
        let newest = known.and_then(|known| known.keys().next_back().copied());
        let lost = stored.lost_revisions.get(name);
        let newest = newest.max(lost.and_then(|lost| lost.last().copied()));
        let newest = newest.max(tasks.iter().map(|task| task.revision).max());
        let newest = newest.filter(|newest| *newest > 0)?;
        let update = self
            .update_of(name)
            .and_then(|id| self.deployments.get(&id));
        let update = update.map(|update| (&update.kind, &update.status));
        Some(match update {
            Some((
                DeploymentKind::Update { from, to, .. },
                DeploymentStatus::Paused { .. }
                | DeploymentStatus::RollingBack { .. }
                | DeploymentStatus::RolledBack { .. },
            )) if *to == newest => (*from, *to),
            _ => (newest, newest),
        })
    }
}

/// Whether the instance of a task is no longer wanted.
pub(super) fn is_retired(task: &TaskRecord) -> bool {
    matches!(
        task.goal,
        Goal::Stop {
            reason: StopReason::Retired,
            ..
        }
    )
}
