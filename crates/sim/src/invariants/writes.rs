//! On each write: it is the leader's, in order, and has a reason; nothing that was acknowledged is
//! lost.

use gantry_core::{
    Command, Deployment, DeploymentStatus, Goal, Key, Record, WorkloadRecord, Write,
};

use crate::world::World;

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

    fn remember_task(&mut self, task: &gantry_core::TaskRecord) -> Result<(), String> {
        if self.memory.ended.contains(&task.id) {
            return Err(format!(
                "{} is stored after its end was acknowledged",
                task.id
            ));
        }
        if task.goal != Goal::Run {
            self.memory.to_go.insert(task.id.clone());
        }
        let Goal::Stop { reason, .. } = task.goal else {
            return Ok(());
        };
        let explained = self
            .memory
            .explains(&task.id, &task.workload, task.number, reason);
        if self.memory.stopped.insert(task.id.clone()) && !explained {
            return Err(format!(
                "{} is to be stopped ({reason:?}) for no reason",
                task.id
            ));
        }
        Ok(())
    }

    fn remember_deployment(&mut self, now: &Deployment) -> Result<(), String> {
        if let (DeploymentStatus::RollingBack { .. }, Some(name)) =
            (&now.status, now.kind.workload())
        {
            // What the update has launched is replaced again.
            self.memory.moved_back(name, self.now);
        }
        Ok(())
    }

    /// The wanted count changes when the declaration does, or when the leader was asked to.
    fn remember_workload(&mut self, now: &WorkloadRecord) -> Result<(), String> {
        let before = match self.keeper.records.get(&Key::Workload(now.name.clone())) {
            Some(Record::Workload(before)) => Some(before),
            _ => None,
        };
        let declared = before.is_none_or(|before| {
            before.declared != now.declared
                || before.removed != now.removed
                || before.allow_scaling != now.allow_scaling
        });
        let from = before.map_or(0, |before| before.desired);
        let asked = self.clients.taken_in(self.keeper.epoch).any(|command| {
            matches!(command, Command::Scale { workload, instances }
                if *workload == now.name && *instances == now.desired)
        });
        let log = self.memory.desired.entry(now.name.clone()).or_default();
        log.push((self.now, now.desired));
        if declared || asked || from == now.desired {
            return Ok(());
        }
        Err(format!(
            "{} instances of {} were wanted, and now {}, which nobody asked for",
            from, now.name, now.desired
        ))
    }
}
