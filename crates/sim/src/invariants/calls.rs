//! On each call: what it needs must be stored, and nobody else may lead.

use gantry_core::{Call, Key, Record, TaskId, TaskState};

use crate::world::World;

impl World {
    /// No call of an older leader is executed once a newer one has acted.
    pub(crate) fn check_actor(&mut self, link: u64) {
        let (gantry, _, epoch) = self.link_of(link);
        if epoch < self.memory.acted {
            self.violate(format!(
                "the master executes a call of G{gantry} in epoch {epoch}, after one of {}",
                self.memory.acted
            ));
        }
        self.memory.acted = self.memory.acted.max(epoch);
    }

    pub(crate) fn check_call(&mut self, gantry: usize, call: &Call) {
        let epoch = self.gantrys[gantry].term.as_ref().map(|term| term.epoch);
        if epoch != Some(self.keeper.epoch) {
            return self.violate(format!(
                "G{gantry} acts in epoch {epoch:?}, but {} has begun",
                self.keeper.epoch
            ));
        }
        let result = match call {
            Call::Accept { launches, .. } => launches.iter().try_for_each(|launch| {
                let stored = self
                    .keeper
                    .records
                    .contains_key(&Key::Task(launch.task.clone()));
                if !self.keeper.records.contains_key(&Key::Framework) {
                    Err("launches before the framework id is stored".to_owned())
                } else if stored {
                    Ok(())
                } else {
                    Err(format!(
                        "{} is launched without a stored intent",
                        launch.task
                    ))
                }
            }),
            Call::Kill { task, .. } => self.check_kill(task),
            Call::Acknowledge { task, uuid, .. } => self.check_acknowledge(task, *uuid),
            _ => Ok(()),
        };
        if let Err(violation) = result {
            self.violate(violation);
        }
    }

    fn check_kill(&self, task: &TaskId) -> Result<(), String> {
        let decided = self.memory.stopped.contains(task) || self.memory.kill_unknown.contains(task);
        let stored = self.keeper.records.contains_key(&Key::Task(task.clone()));
        if decided || (!stored && self.plan.settings.kill_unknown.is_some()) {
            Ok(())
        } else {
            Err(format!("{task} is killed though nobody decided it"))
        }
    }

    /// What is acknowledged is never repeated: its effect must be stored.
    fn check_acknowledge(&mut self, task: &TaskId, uuid: [u8; 16]) -> Result<(), String> {
        let acknowledged = self.agents.iter().find_map(|agent| {
            let updates = &agent.tasks.get(task)?.updates;
            updates.iter().find(|update| update.uuid == uuid)
        });
        let Some(state) = acknowledged.map(|update| update.state) else {
            return Ok(()); // A straggler that was acknowledged before.
        };
        let record = match self.keeper.records.get(&Key::Task(task.clone())) {
            Some(Record::Task(record)) => Some(record),
            _ => None,
        };
        match (state, record) {
            (state, Some(_)) if state.is_terminal() => Err(format!(
                "the end of {task} is acknowledged, but it is still stored as live"
            )),
            (state, None) if state.is_terminal() => {
                self.memory.ended.insert(task.clone());
                Ok(())
            }
            (TaskState::Running, Some(record))
                if record.running_at.is_none() && !self.is_set_aside(record) =>
            {
                Err(format!(
                    "{task} is acknowledged to run, but it is not stored so"
                ))
            }
            _ => Ok(()),
        }
    }
}
