//! On each write: it is the leader's, in order, and has a reason; nothing that was acknowledged is
//! lost.

use std::time::Duration;

use gantry_core::{
    Deployment, DeploymentKind, DeploymentStatus, Goal, Key, Record, StopReason, TaskId,
    TaskRecord, TaskState, Timestamp, WorkloadName, WorkloadRecord, Write,
};

use crate::world::World;

/// The longest that a commit takes.
const COMMIT_SLACK: Duration = Duration::from_secs(25);

impl World {
    /// Only the leader writes, and what is stored is always a prefix of what it has written.
    pub(crate) fn check_commit(&mut self, epoch: u64, position: u64) {
        let (now, applied) = (self.keeper.epoch, self.keeper.applied);
        if epoch != now {
            self.violate(format!(
                "the leader of epoch {epoch} writes, but {now} has begun"
            ));
        } else if position > applied {
            self.violate(format!(
                "write {position} of epoch {epoch} is stored, and {applied} is not"
            ));
        }
    }

    pub(crate) fn remember_write(&mut self, write: &Write) {
        let result = match write {
            Write::Put(Record::Task(task)) => self.remember_task(task),
            Write::Put(Record::Deployment(deployment)) => self.remember_deployment(deployment),
            Write::Put(Record::Workload(workload)) => self.remember_workload(workload),
            Write::Put(Record::Framework(framework)) => {
                match self.keeper.records.get(&Key::Framework) {
                    Some(Record::Framework(before)) if before.id != framework.id => Err(format!(
                        "the framework id {} is replaced by {}",
                        before.id, framework.id
                    )),
                    _ => Ok(()),
                }
            }
            Write::Put(Record::Instance(now)) => {
                let key = Key::Instance(now.workload.clone(), now.number);
                let before = match self.keeper.records.get(&key) {
                    Some(Record::Instance(before)) => before.failures,
                    _ => 0,
                };
                if now.failures > before + 1 {
                    Err(format!(
                        "{}-{} has failed {before} times, and now {}",
                        now.workload, now.number, now.failures
                    ))
                } else {
                    Ok(())
                }
            }
            Write::Put(Record::Brake(_)) => {
                self.memory.braked.get_or_insert(self.now);
                Ok(())
            }
            Write::Delete(Key::Brake) => self.check_release(),
            Write::Delete(Key::Instance(workload, number)) => {
                let instance = (workload.clone(), *number);
                self.memory.retired.insert(instance, self.now);
                Ok(())
            }
            Write::Delete(key @ Key::Workload(_)) => match self.keeper.records.get(key) {
                Some(Record::Workload(before)) if !before.removed => Err(format!(
                    "{} is forgotten though it is declared",
                    before.name
                )),
                _ => Ok(()),
            },
            _ => Ok(()),
        };
        if let Err(violation) = result {
            self.violate(violation);
        }
    }

    fn remember_task(&mut self, task: &TaskRecord) -> Result<(), String> {
        if self.memory.ended.contains(&task.id) {
            return Err(format!(
                "{} is stored after its end was acknowledged",
                task.id
            ));
        }
        if task.goal != Goal::Run {
            self.memory.to_go.insert(task.id.clone());
        } else if self.memory.to_go.contains(&task.id) {
            let instance = (task.workload.clone(), task.number);
            self.memory.taken_back.insert(instance);
        }
        let Goal::Stop { reason, .. } = task.goal else {
            return Ok(());
        };
        if reason == StopReason::Retired {
            let instance = (task.workload.clone(), task.number);
            self.memory.retired.insert(instance, self.now);
        }
        if task.state == TaskState::Unreachable {
            self.memory.out_of_reach.insert(task.id.clone());
        }
        let explained = self
            .memory
            .explains(&task.id, &task.workload, task.number, reason)
            || (reason == StopReason::Surplus
                && (self.is_beside_a_doubted_one(task) || self.is_beside_an_unreadable_one(task)));
        if self.memory.stopped.insert(task.id.clone()) && !explained {
            return Err(format!(
                "{} is to be stopped ({reason:?}) for no reason",
                task.id
            ));
        }
        Ok(())
    }

    /// Whether another task of the same instance is stored, and one of the two was once called gone.
    fn is_beside_a_doubted_one(&self, task: &TaskRecord) -> bool {
        let doubted = |id: &TaskId| self.memory.doubted.contains(id);
        self.stored_beside(task)
            .any(|other| doubted(&other.id) || doubted(&task.id))
    }

    /// Other stored tasks of the same instance.
    pub(super) fn stored_beside<'a>(
        &'a self,
        task: &'a TaskRecord,
    ) -> impl Iterator<Item = &'a TaskRecord> {
        self.keeper
            .records
            .values()
            .filter_map(|record| match record {
                Record::Task(other) => Some(other),
                _ => None,
            })
            .filter(|other| {
                other.id != task.id
                    && other.number == task.number
                    && other.workload == task.workload
            })
    }

    /// Two that were to stay are a matter of the past once it is stored that one of them goes.
    pub(crate) fn forget_taken_back(&mut self, write: &Write) {
        if self.memory.taken_back.is_empty()
            || !matches!(
                write,
                Write::Put(Record::Task(_)) | Write::Delete(Key::Task(_))
            )
        {
            return;
        }
        let records = &self.keeper.records;
        self.memory.taken_back.retain(|(workload, number)| {
            let staying = records.values().filter(|record| match record {
                Record::Task(task) => {
                    task.workload == *workload && task.number == *number && !task.goal.is_stop()
                }
                _ => false,
            });
            staying.count() > 1
        });
    }

    fn remember_deployment(&mut self, now: &Deployment) -> Result<(), String> {
        let statuses = self.memory.statuses.entry(now.id).or_default();
        statuses.push((self.now, now.status.name()));
        let name = now.kind.workload();
        if let (DeploymentStatus::RollingBack { .. }, Some(name)) = (&now.status, name) {
            // What the update has launched is replaced again.
            self.memory.moved_back(name, self.now);
        }
        let known = self.keeper.records.get(&Key::Deployment(now.id)).cloned();
        if known.is_none() {
            self.check_not_rolled_back(now)?;
            if self.is_anything_moving(name) {
                self.memory.inherits.insert(now.id);
            }
        }
        self.remember_way_back(now);
        let Some(Record::Deployment(before)) = &known else {
            return Ok(());
        };
        if before.status.is_over() && !matches!(now.status, DeploymentStatus::RollingBack { .. }) {
            return if before.status == now.status {
                Ok(())
            } else {
                Err(format!(
                    "deployment {} has ended, and is {:?} now",
                    now.id, now.status
                ))
            };
        }
        let failed_now = before.status.is_at_work() && before.status != now.status;
        if failed_now && let Some((at, reason)) = failure_of(&now.status) {
            self.check_not_early(now, at, reason)?;
        }
        Ok(())
    }

    fn is_anything_moving(&self, name: Option<&WorkloadName>) -> bool {
        self.keeper.records.values().any(|record| match record {
            Record::Task(task) => {
                task.goal != Goal::Run && name.is_none_or(|name| *name == task.workload)
            }
            _ => false,
        })
    }

    /// A deployment fails only when something had all its time.
    fn check_not_early(&self, now: &Deployment, at: Timestamp, reason: &str) -> Result<(), String> {
        let limit = match (&now.kind, now.kind.workload()) {
            (DeploymentKind::Update { .. }, Some(name)) => {
                let mut declares = self.memory.declares.iter();
                let spec = declares.find(|spec| spec.name == *name);
                spec.map_or(Duration::ZERO, |spec| spec.update.deadline)
            }
            _ => self.plan.settings.replace_deadline,
        };
        let lost =
            |key: &Key| matches!(key, Key::Revision(name, _) if now.kind.workload() == Some(name));
        // A task that fails three times is enough; one that somebody restarts has its own time. What cannot
        // be read cannot be gone back to.
        let excused = self.memory.inherits.contains(&now.id)
            || (reason.contains("is no longer known") && self.keeper.unreadable.iter().any(lost))
            || reason.contains(" times")
            || self
                .memory
                .is_any_by_hand(now.kind.workload(), &self.plan.settings.framework);
        let took = at.since(now.started_at);
        if !excused && took < limit {
            return Err(format!(
                "deployment {} has failed after {took:?} of {limit:?}: {reason}",
                now.id
            ));
        }
        Ok(())
    }

    fn remember_way_back(&mut self, now: &Deployment) {
        let DeploymentKind::Update { workload, to, .. } = &now.kind else {
            return;
        };
        let back = matches!(now.status, DeploymentStatus::RolledBack { .. });
        let key = Key::Revision(workload.clone(), *to);
        let declares = &self.memory.declares;
        // Under another declaration it would begin again by right.
        if back
            && let Some(Record::Revision(revision)) = self.keeper.records.get(&key)
            && declares
                .iter()
                .any(|spec| spec.name == *workload && spec.template == *revision.template)
        {
            let template = revision.template.clone();
            self.memory.rolled_back.insert(workload.clone(), template);
        }
    }

    /// What was rolled back is not begun again by the same declaration.
    fn check_not_rolled_back(&self, now: &Deployment) -> Result<(), String> {
        let DeploymentKind::Update { workload, to, .. } = &now.kind else {
            return Ok(());
        };
        let key = Key::Revision(workload.clone(), *to);
        match (
            self.memory.rolled_back.get(workload),
            self.keeper.records.get(&key),
        ) {
            (Some(template), Some(Record::Revision(revision)))
                if *template == revision.template && !self.memory.is_clouded(workload) =>
            {
                Err(format!(
                    "the update of {workload} to {to} begins again, which was rolled back"
                ))
            }
            _ => Ok(()),
        }
    }

    /// The brake goes off by hand, or when it has been calm for the whole window.
    fn check_release(&mut self) -> Result<(), String> {
        self.memory.released = Some(self.now);
        let (Some(since), Some(policy)) = (self.memory.braked.take(), self.plan.settings.brake)
        else {
            return Ok(());
        };
        let by_hand = self.clients.awaits_release(self.keeper.epoch);
        let lasted = Duration::from_millis(self.now - since);
        // What is written may have been decided, or the brake stored, some time before.
        if !by_hand && lasted + COMMIT_SLACK < policy.window {
            return Err(format!("the brake went off by itself after {lasted:?}"));
        }
        Ok(())
    }

    /// The wanted count changes when the declaration does, or when the leader was asked to.
    fn remember_workload(&mut self, now: &WorkloadRecord) -> Result<(), String> {
        let before = match self.keeper.records.get(&Key::Workload(now.name.clone())) {
            Some(Record::Workload(before)) => Some(before),
            _ => None,
        };
        let by_declaration = before.is_none_or(|before| {
            before.declared != now.declared
                || before.removed != now.removed
                || before.allow_scaling != now.allow_scaling
        });
        let declared = by_declaration && now.desired == now.declared;
        let from = before.map_or(0, |before| before.desired);
        let log = self.memory.desired.entry(now.name.clone()).or_default();
        log.push((self.now, now.desired));
        if from == now.desired
            || declared
            || self
                .clients
                .scaled(self.keeper.epoch, &now.name, now.desired)
        {
            return Ok(());
        }
        Err(format!(
            "{} instances of {} were wanted, and now {}, which nobody asked for",
            from, now.name, now.desired
        ))
    }
}

/// When and why a deployment did not go on, when it was not an operator.
fn failure_of(status: &DeploymentStatus) -> Option<(Timestamp, &str)> {
    match status {
        DeploymentStatus::Failed { at, reason } => Some((*at, reason)),
        DeploymentStatus::Paused { at, reason } | DeploymentStatus::RollingBack { at, reason } => {
            Some((*at, reason.as_deref()?))
        }
        _ => None,
    }
}
