//! What lives, held against what is stored.

use std::collections::BTreeMap;

use gantry_core::{Goal, Key, Record, WorkloadName};

use crate::world::World;

impl World {
    /// What lives, held against what is stored.
    pub(crate) fn check_truth(&mut self) {
        if let Err(violation) = self.truth() {
            self.violate(violation);
        }
    }

    fn truth(&self) -> Result<(), String> {
        let mut instances: BTreeMap<(&str, u32), Living> = BTreeMap::new();
        let alive = self
            .agents
            .iter()
            .flat_map(|agent| &agent.tasks)
            .filter(|(_, task)| task.alive && !task.excused);
        for (id, _) in alive {
            let Some(Record::Task(record)) = self.keeper.records.get(&Key::Task(id.clone())) else {
                return Err(format!("{id} lives, but nothing of it is stored"));
            };
            let key = (record.workload.as_str(), record.number);
            let living = instances.entry(key).or_default();
            living.all += 1;
            living.staying += u32::from(!record.goal.is_stop());
            living.replaced |= matches!(record.goal, Goal::Replace { .. });
        }
        let mut staying: BTreeMap<&str, u32> = BTreeMap::new();
        for ((name, number), living) in &instances {
            let taken_back = || {
                let instance = (WorkloadName::new(*name), *number);
                self.memory.taken_back.contains(&instance)
            };
            let allowed = 1 + u32::from(living.replaced || living.staying > 1 && taken_back());
            if living.staying > allowed || living.all > 2 {
                return Err(format!(
                    "{name}-{number} has {} tasks, {} of them to stay, and not {allowed}",
                    living.all, living.staying
                ));
            }
            *staying.entry(name).or_default() += u32::from(living.staying > 0);
        }
        for (name, staying) in staying {
            let key = Key::Workload(WorkloadName::new(name));
            let Some(Record::Workload(workload)) = self.keeper.records.get(&key) else {
                return Err(format!("{name} has tasks but is not stored"));
            };
            // In the middle of a commit, or after a crash there, the stops may not be stored yet.
            // As many are wanted as there are while nobody can read how many were.
            let known = !self.keeper.unreadable.contains(&key);
            if self.keeper.whole && known && staying > workload.desired {
                return Err(format!(
                    "{name} has {staying} instances, and not {}",
                    workload.desired
                ));
            }
        }
        Ok(())
    }
}

/// Tasks of an instance that are alive and about which there never was a doubt.
#[derive(Debug, Default)]
struct Living {
    all: u32,
    staying: u32,
    replaced: bool,
}
