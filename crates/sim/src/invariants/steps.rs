//! After each step: what the scheduler decided, held against its own view.

use std::{collections::BTreeSet, time::Duration};

use gantry_core::{
    Call, Effects, Goal, Key, Launch, Record, StopReason, Task, TaskId, TaskState, Timestamp, View,
    Workload, Write,
};

use super::{Told, told::check_stable};
use crate::{term::Term, world::World};

/// How much longer than allowed an offer may be held: the scheduler looks at held offers a few
/// times a second.
const HOLD_SLACK: u64 = 1_000;

/// Agents are not used whose maintenance begins sooner than this.
const MAINTENANCE_LEAD: Duration = Duration::from_secs(600);

impl World {
    pub(crate) fn check_step(&mut self, gantry: usize, effects: &Effects) {
        self.gantrys[gantry].told.forget(effects);
        let Some(term) = &self.gantrys[gantry].term else {
            return;
        };
        let scheduler = &term.scheduler;
        if let Err(violation) = scheduler.check() {
            return self.violate(format!("the scheduler's own check: {violation}"));
        }
        let allowed = self.plan.settings.hold_max.as_millis() as u64 + HOLD_SLACK;
        let hoarded = term
            .held
            .iter()
            .find(|(_, since)| self.now > *since + allowed)
            .map(|(id, _)| id.clone());
        if let Some(id) = hoarded {
            return self.violate(format!("{id} is neither used nor declined"));
        }
        if let Err(violation) = self.check_stops(term, effects) {
            return self.violate(violation);
        }
        let ends = effects.writes.iter().any(|write| match write {
            Write::Put(Record::Deployment(deployment)) => deployment.status.is_over(),
            _ => false,
        });
        if ends && let Err(violation) = self.check_ends(&scheduler.view(), effects) {
            return self.violate(violation);
        }
        let changes_tasks = effects
            .writes
            .iter()
            .any(|write| matches!(write, Write::Put(Record::Task(_) | Record::Deployment(_))));
        if changes_tasks && let Err(violation) = self.check_at_rest(&scheduler.view()) {
            return self.violate(violation);
        }
        let begun = self.begun_moves(term, &effects.writes);
        if !begun.is_empty() {
            let declares = &self.gantrys[gantry].declares;
            if let Err(violation) =
                self.check_moves(declares, &scheduler.view(), &begun, &effects.writes)
            {
                return self.violate(violation);
            }
        }
        let launches: Vec<&Launch> = effects
            .calls
            .iter()
            .filter_map(|call| match call {
                Call::Accept { launches, .. } => Some(launches),
                _ => None,
            })
            .flatten()
            .collect();
        if let Err(violation) = self.check_maintenance(scheduler.view().at, effects) {
            return self.violate(violation);
        }
        if let Err(violation) = self.check_unread(term, effects, &launches) {
            return self.violate(violation);
        }
        let kills = effects
            .calls
            .iter()
            .any(|call| matches!(call, Call::Kill { .. }));
        let watched = self.plan.settings.brake.is_some() || self.gantrys[gantry].told.expects();
        if launches.is_empty() && !kills && !watched {
            return;
        }
        let view = scheduler.view();
        let mut told = std::mem::take(&mut self.gantrys[gantry].told);
        let braked = self.gantrys[gantry].term.as_ref();
        let braked = braked.and_then(|term| term.braked).filter(|since| {
            *since < view.at && !effects.writes.contains(&Write::Delete(Key::Brake))
        });
        let checked = self
            .check_brake(&view, braked, &mut told, effects)
            .and_then(|()| check_stable(&view, &mut told))
            .and_then(|()| self.check_told_launches(&view, braked, &mut told, &launches));
        self.gantrys[gantry].told = told;
        if let Err(violation) = checked {
            return self.violate(violation);
        }
        if launches.is_empty() && !kills {
            return;
        }
        let decided = launches
            .iter()
            .map(|launch| (launch.task.clone(), self.now));
        let decided: Vec<_> = decided.collect();
        let Some(term) = &self.gantrys[gantry].term else {
            return;
        };
        let checked = self
            .check_launches(&view, term, &launches)
            .and_then(|()| self.check_unknown_kills(&view, effects));
        if let Err(violation) = checked {
            self.violate(violation);
        }
        self.memory.decided.extend(decided);
        self.check_truth();
    }

    /// Nothing is launched where maintenance is under way, or begins before ten minutes are over.
    fn check_maintenance(&self, at: Timestamp, effects: &Effects) -> Result<(), String> {
        for call in &effects.calls {
            let Call::Accept {
                offer, launches, ..
            } = call
            else {
                continue;
            };
            let made = self.master.ever_offered.get(offer);
            let Some(window) = made.and_then(|made| made.unavailable) else {
                continue;
            };
            let begins = window.from.since(at) < MAINTENANCE_LEAD;
            let over = window.until.is_some_and(|until| until <= at);
            if let Some(launch) = launches.first()
                && begins
                && !over
            {
                return Err(format!("{} is launched into {window:?}", launch.task));
            }
        }
        Ok(())
    }

    /// A copy is stopped in favour of another only when Mesos has said that the other one is there.
    fn check_stops(&self, term: &Term, effects: &Effects) -> Result<(), String> {
        let stopped: Vec<_> = effects
            .writes
            .iter()
            .filter_map(|write| match write {
                Write::Put(Record::Task(task)) => Some(task),
                _ => None,
            })
            .filter(|task| {
                let in_favour = matches!(
                    task.goal,
                    Goal::Stop {
                        reason: StopReason::Surplus | StopReason::ReplacementFailed,
                        ..
                    }
                );
                // What was decided before, and is written again, may not be stored yet.
                let before = term.goals.get(&task.id);
                in_favour
                    && !before.is_some_and(|goal| goal.is_stop())
                    && !self.memory.stopped.contains(&task.id)
            })
            .collect();
        if stopped.is_empty() {
            return Ok(());
        }
        let view = term.scheduler.view();
        for task in stopped {
            let others = view
                .workload(task.workload.as_str())
                .and_then(|workload| workload.instances.get(task.number))
                .into_iter()
                .flat_map(|instance| &instance.tasks);
            let certain = others
                .filter(|other| other.uuid != task.uuid)
                // A deployment may take its turn right after.
                .filter(|other| match other.goal {
                    Goal::Stop { since, .. } => since == view.at,
                    _ => true,
                })
                .any(|other| {
                    // It may have become so a moment after the decision.
                    other.heard_in == view.framework.subscription
                        && (other.state != TaskState::Unreachable || other.changed_at == view.at)
                });
            // What is wanted no more at all needs no other.
            let wanted = view
                .workload(task.workload.as_str())
                .and_then(|workload| workload.instances.get(task.number))
                .is_some_and(|instance| instance.wanted);
            // The other one may have ended a moment after the decision.
            let ended_now = effects.writes.iter().any(|write| match write {
                Write::Delete(Key::Task(id)) => {
                    let framework = &self.plan.settings.framework;
                    match (id.parts(framework), task.id.parts(framework)) {
                        (Some(other), Some(own)) => {
                            (other.workload, other.number) == (own.workload, own.number)
                        }
                        _ => false,
                    }
                }
                _ => false,
            });
            if wanted && !certain && !ended_now {
                return Err(format!(
                    "{} is stopped ({:?}) in favour of nothing certain",
                    task.id, task.goal
                ));
            }
        }
        Ok(())
    }

    /// Unknown tasks are killed only when every known one has answered, and some time has passed.
    fn check_unknown_kills(&self, view: &View, effects: &Effects) -> Result<(), String> {
        let Some(wait) = self.plan.settings.kill_unknown else {
            return Ok(());
        };
        let early = view.framework.unconfirmed > 0 || view.at.since(view.framework.since) < wait;
        for call in &effects.calls {
            if let Call::Kill { task, .. } = call
                && early
                && view.unknown_tasks.contains_key(task)
                && !self.memory.kill_unknown.contains(task)
                && !self.memory.stopped.contains(task)
            {
                return Err(format!("{task} is killed as unknown too early"));
            }
        }
        Ok(())
    }

    /// Right after a subscription nothing is confirmed but what was heard of since.
    pub(crate) fn check_confirmed(
        &self,
        gantry: usize,
        heard: &BTreeSet<TaskId>,
    ) -> Result<(), String> {
        let Some(term) = &self.gantrys[gantry].term else {
            return Ok(());
        };
        let view = term.scheduler.view();
        for workload in &view.workloads {
            for (number, task) in workload.tasks() {
                let id = workload.task_id(&self.plan.settings.framework, number, task);
                if task.heard_in == view.framework.subscription
                    && task.launched_at < view.at
                    && !heard.contains(&id)
                {
                    return Err(format!(
                        "{id} is confirmed, and nobody has heard of it since the subscription"
                    ));
                }
            }
        }
        Ok(())
    }

    fn check_told_launches(
        &self,
        view: &View,
        braked: Option<Timestamp>,
        told: &mut Told,
        launches: &[&Launch],
    ) -> Result<(), String> {
        for launch in launches {
            self.check_back_off(told, view.at, launch)?;
            let mut workloads = view.workloads.iter();
            let workload = workloads.find(|workload| *workload.task_name == *launch.workload);
            if let Some(workload) = workload {
                self.check_braked_launch(braked, workload, launch)?;
            }
        }
        Ok(())
    }

    fn check_launches(&self, view: &View, term: &Term, launches: &[&Launch]) -> Result<(), String> {
        for launch in launches {
            let workload = view
                .workloads
                .iter()
                .find(|workload| *workload.task_name == *launch.workload)
                .ok_or_else(|| format!("{} is launched for no workload", launch.task))?;
            self.check_placement(view, workload, &term.seen, launch)
                .map_err(|rule| format!("{} on {}: {rule}", launch.task, launch.agent.id))?;
            self.check_vacancy(view, term, workload, launch)?;
            let starting = view
                .workloads
                .iter()
                .flat_map(|workload| workload.tasks())
                .filter(|(_, task)| task.agent.id == launch.agent.id && task.state.is_starting())
                .count();
            let limit = self.plan.settings.starting_per_agent_max as usize;
            if starting > limit {
                return Err(format!(
                    "{starting} tasks start on {}, and not {limit}",
                    launch.agent.id
                ));
            }
        }
        Ok(())
    }

    /// A task is given up only when the master has called it unreachable for long enough, whatever
    /// clocks said.
    fn check_patience(
        &self,
        term: &Term,
        workload: &Workload,
        number: u32,
        task: &Task,
    ) -> Result<(), String> {
        let patience = self.plan.settings.unreachable_after.as_millis() as u64;
        let id = workload.task_id(&self.plan.settings.framework, number, task);
        match self.memory.unreachable.get(&id) {
            Some(since) if self.now - since < patience => Err(format!(
                "{id} is given up after {} ms of {patience}",
                self.now - since
            )),
            Some(_) => Ok(()),
            // It is another who has heard of it since.
            None if term.epoch != self.keeper.epoch => Ok(()),
            None => Err(format!(
                "{id} is given up, and the master has not said, or has taken back, that it is out of reach"
            )),
        }
    }

    /// An instance is filled when it is empty, when its task is being replaced, or when that task
    /// has been unreachable for long enough.
    fn check_vacancy(
        &self,
        view: &View,
        term: &Term,
        workload: &Workload,
        launch: &Launch,
    ) -> Result<(), String> {
        let patience = self.plan.settings.unreachable_after;
        let parts = launch.task.parts(&self.plan.settings.framework);
        let Some(parts) = parts else {
            return Err(format!("{} has a malformed id", launch.task));
        };
        let instance = workload.instances.get(parts.number);
        let earliest = instance.and_then(|instance| instance.not_before);
        if earliest.is_some_and(|earliest| view.at < earliest) {
            return Err(format!("{} is launched in its back-off", launch.task));
        }
        let others = instance
            .into_iter()
            .flat_map(|instance| &instance.tasks)
            .filter(|task| task.uuid != parts.uuid);
        for task in others {
            let given_up =
                task.state == TaskState::Unreachable && view.at.since(task.changed_at) >= patience;
            if given_up {
                self.check_patience(term, workload, parts.number, task)?;
            }
            if !given_up && !matches!(task.goal, Goal::Replace { .. }) {
                return Err(format!(
                    "{} is launched beside {}, which is {:?} and {:?}",
                    launch.task, task.uuid, task.state, task.goal
                ));
            }
        }
        Ok(())
    }
}
