//! What is done wrong on purpose, to see that it is found.

use std::{collections::BTreeMap, time::Duration};

use gantry_core::{
    Call, DeploymentStatus, Effects, Found, Goal, Input, Key, MesosEvent, Record, ServiceSpec,
    Settings, Share, StatusUpdate, StopReason, TaskId, TaskState, Write,
};

use crate::{Sabotage, world::World};

impl World {
    pub(crate) fn sabotage_effects(&mut self, gantry: usize, effects: &mut Effects) {
        let link = self.gantrys[gantry]
            .term
            .as_ref()
            .and_then(|term| term.link);
        match self.sabotage {
            Some(Sabotage::Panic) => assert!(!self.dice.chance(1), "on purpose"),
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
            Some(Sabotage::KeepSurplus) => self.keep_surplus(effects),
            Some(Sabotage::FailTwice) => {
                for write in &mut effects.writes {
                    if let Write::Put(Record::Instance(record)) = write {
                        record.failures *= 2;
                    }
                }
            }
            Some(Sabotage::DoneEarly) => {
                for write in &mut effects.writes {
                    if let Write::Put(Record::Deployment(deployment)) = write
                        && deployment.status == DeploymentStatus::Running
                    {
                        deployment.status = DeploymentStatus::Done {
                            at: deployment.started_at,
                        };
                    }
                }
            }
            Some(Sabotage::StopWhileBraked) => self.stop_while_braked(gantry, effects),
            Some(Sabotage::MoveWhilePaused) => self.move_while_paused(gantry, effects),
            Some(Sabotage::KillUnknownEarly) => self.kill_unknown_early(gantry, effects),
            Some(Sabotage::Revert) => self.revert(effects),
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
            Some(Sabotage::EndlessDeployments) => {
                settings.replace_deadline = Duration::from_secs(36_000);
            }
            Some(Sabotage::HastyDeployments) => settings.replace_deadline = Duration::from_secs(1),
            Some(Sabotage::NoBrake) => settings.brake = None,
            Some(Sabotage::EagerBrake) => {
                if let Some(brake) = &mut settings.brake {
                    brake.share_thousandths /= 4;
                }
            }
            Some(Sabotage::HastyBrake) => {
                if let Some(policy) = &mut settings.brake {
                    policy.window = Duration::from_secs(3);
                }
            }
            Some(Sabotage::NeverAskAgain) => {
                settings.launch_deadline = Duration::from_secs(36_000);
                settings.reconcile_every = Duration::from_secs(36_000);
            }
            _ => {}
        }
    }

    /// What the scheduler is told of a service, instead of what the world is judged by.
    pub(crate) fn sabotage_spec(&self, spec: &mut ServiceSpec) {
        match self.sabotage {
            Some(Sabotage::NoBackOff) => spec.back_off.initial = Duration::ZERO,
            Some(Sabotage::NoLimits) => {
                spec.update.parallelism = 100;
                spec.update.max_over = None;
                spec.update.min_healthy = Some(Share::Percent(0));
            }
            Some(Sabotage::NeverStable) => {
                spec.back_off.stable_after = Duration::from_secs(36_000);
            }
            Some(Sabotage::EndlessDeployments) => {
                spec.update.deadline = Duration::from_secs(36_000);
            }
            Some(Sabotage::HastyDeployments) => spec.update.deadline = Duration::from_secs(1),
            _ => {}
        }
    }

    /// What a new leader reads, instead of what is stored.
    pub(crate) fn sabotage_records(&self, found: &mut Found) {
        if self.sabotage == Some(Sabotage::IgnoreUnreadable) {
            found.unreadable.clear();
        }
        let records = &mut found.records;
        if self.sabotage == Some(Sabotage::LaunchWhileBraked) {
            records.retain(|record| !matches!(record, Record::Brake(_)));
        }
        for record in records {
            let Record::Workload(workload) = record else {
                continue;
            };
            match self.sabotage {
                Some(Sabotage::ForgetRollback) => workload.declared_revision = workload.revision,
                Some(Sabotage::ForgetScale) if !workload.removed => {
                    workload.desired = workload.declared;
                }
                _ => {}
            }
        }
    }

    /// What a scheduler is told beside what is true.
    pub(crate) fn sabotage_inputs(&self, gantry: usize, inputs: &mut Vec<Input>) {
        if self.sabotage == Some(Sabotage::IgnoreReturn) {
            inputs.retain(|input| match input {
                Input::Mesos(MesosEvent::Status(update)) => {
                    update.reason.as_deref() != Some("REASON_AGENT_REREGISTERED")
                }
                _ => true,
            });
        }
        for input in inputs.iter_mut() {
            let Input::Mesos(MesosEvent::Offers(offers)) = input else {
                continue;
            };
            for offer in offers {
                match (self.sabotage, &mut offer.unavailable) {
                    (Some(Sabotage::IgnoreMaintenance), window) => *window = None,
                    (Some(Sabotage::EndlessMaintenance), Some(window)) => window.until = None,
                    _ => {}
                }
            }
        }
        let subscribed =
            |input: &Input| matches!(input, Input::Mesos(MesosEvent::Subscribed { .. }));
        if self.sabotage != Some(Sabotage::HideUnconfirmed) || !inputs.iter().any(subscribed) {
            return;
        }
        let Some(term) = &self.gantrys[gantry].term else {
            return;
        };
        for workload in &term.scheduler.view().workloads {
            for (number, task) in workload.tasks() {
                inputs.push(Input::Mesos(MesosEvent::Status(StatusUpdate {
                    task: workload.task_id(&self.plan.settings.framework, number, task),
                    agent: Some(task.agent.id.clone()),
                    state: TaskState::Running,
                    uuid: None,
                    reason: None,
                    message: None,
                    healthy: None,
                })));
            }
        }
    }

    /// The scheduler decides that a copy goes, and nothing follows.
    fn keep_surplus(&self, effects: &mut Effects) {
        let reason_of = |write: &Write| match write {
            Write::Put(Record::Task(task)) => match task.goal {
                Goal::Stop { reason, .. } => Some((task.id.clone(), reason)),
                _ => None,
            },
            _ => None,
        };
        let stopped: BTreeMap<_, _> = effects.writes.iter().filter_map(reason_of).collect();
        for write in &mut effects.writes {
            if let Write::Put(Record::Task(task)) = write
                && stopped.get(&task.id) == Some(&StopReason::Surplus)
            {
                task.goal = Goal::Run;
            }
        }
        effects.calls.retain(|call| {
            let Call::Kill { task, .. } = call else {
                return true;
            };
            let stored = self.keeper.records.get(&Key::Task(task.clone()));
            match (stopped.get(task), stored) {
                (Some(reason), _) => *reason != StopReason::Surplus,
                (None, Some(Record::Task(record))) => record.goal.is_stop(),
                _ => true,
            }
        });
    }

    /// Stops a task now and then while the brake is on.
    fn stop_while_braked(&mut self, gantry: usize, effects: &mut Effects) {
        let Some(term) = &self.gantrys[gantry].term else {
            return;
        };
        let at = term.scheduler.view().at;
        if term.braked.is_none() || !self.dice.chance(100) {
            return;
        }
        let running = self
            .keeper
            .records
            .values()
            .find_map(|record| match record {
                Record::Task(task) if task.goal == Goal::Run => Some(task.clone()),
                _ => None,
            });
        if let Some(mut task) = running {
            let reason = StopReason::Restarted;
            task.goal = Goal::Stop { reason, since: at };
            effects.writes.push(Write::Put(Record::Task(task)));
        }
    }

    /// Begins to move a task now and then of a workload whose update is paused.
    fn move_while_paused(&mut self, gantry: usize, effects: &mut Effects) {
        let Some(term) = &self.gantrys[gantry].term else {
            return;
        };
        let view = term.scheduler.view();
        let paused: Vec<_> = view
            .deployments
            .iter()
            .filter(|one| matches!(one.status, DeploymentStatus::Paused { .. }))
            .filter_map(|one| one.kind.workload())
            .collect();
        if paused.is_empty() || !self.dice.chance(100) {
            return;
        }
        let moved = self
            .keeper
            .records
            .values()
            .find_map(|record| match record {
                Record::Task(task)
                    if task.goal == Goal::Run && paused.contains(&&task.workload) =>
                {
                    Some(task.clone())
                }
                _ => None,
            });
        if let Some(mut task) = moved {
            let since = view.at;
            task.goal = Goal::Replace {
                since,
                deadline: since + Duration::from_secs(60),
                by_hand: false,
            };
            effects.writes.push(Write::Put(Record::Task(task)));
        }
    }

    /// Kills of unknown tasks while known ones have not answered.
    fn kill_unknown_early(&mut self, gantry: usize, effects: &mut Effects) {
        let Some(term) = &self.gantrys[gantry].term else {
            return;
        };
        let view = term.scheduler.view();
        if view.framework.unconfirmed == 0 || !view.framework.subscribed {
            return;
        }
        let unknown = view.unknown_tasks.iter();
        effects
            .calls
            .extend(unknown.map(|(task, update)| Call::Kill {
                task: task.clone(),
                agent: update.agent.clone(),
                grace: None,
            }));
    }

    /// Stores again what has ended.
    fn revert(&mut self, effects: &mut Effects) {
        let ended = effects.writes.iter().find_map(|write| match write {
            Write::Delete(key @ Key::Task(_)) => self.keeper.records.get(key),
            _ => None,
        });
        if let Some(record) = ended.cloned()
            && self.dice.chance(100)
        {
            self.reverted = Some(record);
        } else if let Some(record) = self.reverted.take() {
            effects.writes.push(Write::Put(record));
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
