//! What is done wrong on purpose, to see that it is found.

use gantry_core::{Call, Effects, Key, Record, TaskId, TaskState, Write};

use crate::{Sabotage, world::World};

impl World {
    pub(crate) fn sabotage_effects(&mut self, effects: &mut Effects) {
        match self.sabotage {
            Some(Sabotage::CallsBeforeWrites) => {
                for call in std::mem::take(&mut effects.calls) {
                    self.leave(call, self.driver.link);
                }
            }
            Some(Sabotage::AcknowledgeFirst) => {
                let (first, rest) = std::mem::take(&mut effects.calls)
                    .into_iter()
                    .partition(|call| matches!(call, Call::Acknowledge { .. }));
                effects.calls = rest;
                let first: Vec<Call> = first;
                for call in first {
                    self.leave(call, self.driver.link);
                }
            }
            Some(Sabotage::LaunchTwice) => self.launch_twice(effects),
            Some(Sabotage::KillOnDoubt) => {
                let doubtful: Vec<_> = effects
                    .calls
                    .iter()
                    .filter_map(|call| match call {
                        Call::Reconcile { tasks } => tasks.first().cloned(),
                        _ => None,
                    })
                    .collect();
                effects
                    .calls
                    .extend(doubtful.into_iter().map(|(task, agent)| Call::Kill {
                        task,
                        agent,
                        grace: None,
                    }));
            }
            Some(Sabotage::HoardOffers) => {
                let dice = &mut self.dice;
                effects
                    .calls
                    .retain(|call| !matches!(call, Call::Decline { .. }) || !dice.chance(200));
            }
            _ => {}
        }
    }

    fn launch_twice(&mut self, effects: &mut Effects) {
        let mut copies = Vec::new();
        for call in &mut effects.calls {
            let Call::Accept { launches, .. } = call else {
                continue;
            };
            let Some(mut launch) = launches.first().cloned() else {
                continue;
            };
            // The offer has room for it.
            launch.pieces.clear();
            launch.ports.clear();
            let uuid = self.dice.ids().uuid();
            let original = Key::Task(launch.task.clone());
            let workload = launch.workload.clone();
            let record = effects.writes.iter().find_map(|write| match write {
                Write::Put(Record::Task(record)) if Key::Task(record.id.clone()) == original => {
                    Some(record.clone())
                }
                _ => None,
            });
            if let Some(mut record) = record {
                let framework = &self.plan.settings.framework;
                record.uuid = uuid;
                record.id = TaskId::from_parts(framework, &workload, record.number, uuid);
                launch.task = record.id.clone();
                launches.push(launch);
                copies.push(Write::Put(Record::Task(record)));
            }
        }
        effects.writes.extend(copies);
    }

    pub(crate) fn is_sabotaged_write(&mut self, write: &Write) -> bool {
        match (self.sabotage, write) {
            (Some(Sabotage::DropIntent), Write::Put(Record::Task(task))) => {
                task.state == TaskState::Launching && self.dice.chance(200)
            }
            (Some(Sabotage::ForgetDeletion), Write::Delete(Key::Task(_))) => self.dice.chance(200),
            _ => false,
        }
    }
}
