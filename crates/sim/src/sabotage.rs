//! What is done wrong on purpose, to see that it is found.

use std::time::Duration;

use gantry_core::{
    Call, Effects, Input, Key, MesosEvent, Record, Settings, TaskId, TaskState, Write,
};

use crate::{Sabotage, world::World};

impl World {
    pub(crate) fn sabotage_effects(&mut self, gantry: usize, effects: &mut Effects) {
        let link = self.gantrys[gantry]
            .term
            .as_ref()
            .and_then(|term| term.link);
        match self.sabotage {
            Some(Sabotage::CallsBeforeWrites) => {
                for call in std::mem::take(&mut effects.calls) {
                    self.leave(gantry, call, link);
                }
            }
            Some(Sabotage::AcknowledgeFirst) => {
                let (first, rest) = std::mem::take(&mut effects.calls)
                    .into_iter()
                    .partition(|call| matches!(call, Call::Acknowledge { .. }));
                effects.calls = rest;
                let first: Vec<Call> = first;
                for call in first {
                    self.leave(gantry, call, link);
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
            Some(Sabotage::AnswerFirst) => {
                for (token, answer) in std::mem::take(&mut effects.replies) {
                    self.answered(gantry, token, answer);
                }
            }
            Some(Sabotage::NoReconciliation) => effects
                .calls
                .retain(|call| !matches!(call, Call::Reconcile { .. })),
            Some(Sabotage::ForgetRevive) => {
                effects.calls.retain(|call| !matches!(call, Call::Revive))
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

    /// What the scheduler is told of the settings, instead of what the world is judged by.
    pub(crate) fn sabotage_settings(&self, settings: &mut Settings) {
        match self.sabotage {
            Some(Sabotage::RelaunchEarly) => settings.unreachable_after = Duration::from_secs(1),
            Some(Sabotage::KillOnce) => {
                settings.kill_initial = Duration::from_secs(3600);
                settings.kill_max = Duration::from_secs(3600);
            }
            Some(Sabotage::NeverAskAgain) => {
                settings.launch_deadline = Duration::from_secs(36_000);
                settings.reconcile_every = Duration::from_secs(36_000);
            }
            _ => {}
        }
    }

    /// Kills of tasks that Mesos has given back.
    pub(crate) fn sabotaged_kills(&self, inputs: &[Input]) -> Vec<Call> {
        if self.sabotage != Some(Sabotage::KillReturned) {
            return Vec::new();
        }
        let returned = inputs.iter().filter_map(|input| match input {
            Input::Mesos(MesosEvent::Status(update))
                if update.reason.as_deref() == Some("REASON_AGENT_REREGISTERED") =>
            {
                Some(Call::Kill {
                    task: update.task.clone(),
                    agent: update.agent.clone(),
                    grace: None,
                })
            }
            _ => None,
        });
        returned.collect()
    }
}
