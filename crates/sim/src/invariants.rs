//! What must hold always.

use std::collections::{BTreeMap, BTreeSet};

use gantry_core::{
    Call, Command, Constraint, Effects, Goal, Key, Launch, Operator, Record, StopReason, TaskId,
    TaskState, View, Workload, WorkloadName, Write,
};

use crate::{bundle::Bundle, world::World};

/// How much longer than allowed an offer may be held: the scheduler looks at held offers a few
/// times a second.
const HOLD_SLACK: u64 = 1_000;

/// What the world remembers in order to judge.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    bundles: BTreeMap<TaskId, Bundle>,
    /// What operators asked of a workload, and thus what its tasks may be stopped for.
    asked: BTreeMap<String, Asked>,
    /// Instances of whose tasks the master once said that one is gone, and so may have two.
    doubted: BTreeSet<(String, u32)>,
    /// Tasks that were decided to be stopped.
    stopped: BTreeSet<TaskId>,
    /// Unknown tasks that an operator wants stopped.
    kill_unknown: BTreeSet<TaskId>,
    /// Tasks whose end was acknowledged.
    ended: BTreeSet<TaskId>,
}

#[derive(Debug, Default)]
struct Asked {
    fewer: bool,
    kill: bool,
    restart: bool,
}

impl Memory {
    pub(crate) fn launched(&mut self, task: &TaskId, bundle: &Bundle) {
        self.bundles.insert(task.clone(), bundle.clone());
    }

    pub(crate) fn bundle_of(&self, task: &TaskId) -> Bundle {
        self.bundles.get(task).cloned().unwrap_or_default()
    }

    fn asked(&mut self, name: &WorkloadName) -> &mut Asked {
        self.asked.entry(name.in_task_ids()).or_default()
    }

    /// The declaration or an operator may have asked for fewer.
    pub(crate) fn lowered(&mut self, name: &WorkloadName) {
        self.asked(name).fewer = true;
    }

    /// The declaration asks for other tasks: they are replaced.
    pub(crate) fn updated(&mut self, name: &WorkloadName) {
        self.asked(name).restart = true;
    }

    pub(crate) fn doubted(&mut self, task: &TaskId, framework: &str) {
        if let Some(parts) = task.parts(framework) {
            self.doubted
                .insert((parts.workload.to_owned(), parts.number));
        }
    }

    pub(crate) fn commanded(&mut self, command: &Command, all: &[WorkloadName], framework: &str) {
        match command {
            Command::Scale { workload, .. } => self.asked(workload).fewer = true,
            Command::Restart { task } => {
                if let Some(parts) = task.parts(framework) {
                    self.asked
                        .entry(parts.workload.to_owned())
                        .or_default()
                        .restart = true;
                }
            }
            Command::RollingRestart { workload } => {
                for name in workload.as_ref().map_or(all, std::slice::from_ref) {
                    self.asked(name).restart = true;
                }
            }
            Command::KillAll { workload } => {
                for name in workload.as_ref().map_or(all, std::slice::from_ref) {
                    self.asked(name).kill = true;
                }
            }
            Command::KillUnknown { task } => {
                self.kill_unknown.insert(task.clone());
            }
            _ => {}
        }
    }

    /// Whether something that happened explains that a task is stopped.
    fn explains(&self, workload: &WorkloadName, number: u32, reason: StopReason) -> bool {
        let name = workload.in_task_ids();
        let asked = self.asked.get(&name);
        match reason {
            StopReason::Retired => asked.is_some_and(|asked| asked.fewer),
            StopReason::Killed => asked.is_some_and(|asked| asked.kill),
            StopReason::Restarted | StopReason::ReplacementFailed => {
                asked.is_some_and(|asked| asked.restart)
            }
            StopReason::Surplus => self.doubted.contains(&(name, number)),
        }
    }
}

impl World {
    // === After each step ===

    pub(crate) fn check_step(&mut self, effects: &Effects) {
        let Some(scheduler) = &self.driver.scheduler else {
            return;
        };
        if let Err(violation) = scheduler.check() {
            return self.violate(format!("the scheduler's own check: {violation}"));
        }
        let allowed = self.plan.settings.hold_max.as_millis() as u64 + HOLD_SLACK;
        let hoarded = self
            .driver
            .held
            .iter()
            .find(|(_, since)| self.now > *since + allowed)
            .map(|(id, _)| id.clone());
        if let Some(id) = hoarded {
            return self.violate(format!("{id} is neither used nor declined"));
        }
        if let Err(violation) = self.check_stops(effects) {
            return self.violate(violation);
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
        let kills = effects
            .calls
            .iter()
            .any(|call| matches!(call, Call::Kill { .. }));
        if launches.is_empty() && !kills {
            return;
        }
        let view = scheduler.view();
        let checked = self
            .check_launches(&view, &launches)
            .and_then(|()| self.check_unknown_kills(&view, effects));
        if let Err(violation) = checked {
            self.violate(violation);
        }
        self.check_truth();
    }

    /// A copy is stopped in favour of another only when Mesos has said that the other one is there.
    fn check_stops(&self, effects: &Effects) -> Result<(), String> {
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
                in_favour && !self.memory.stopped.contains(&task.id)
            })
            .collect();
        let Some(scheduler) = self
            .driver
            .scheduler
            .as_ref()
            .filter(|_| !stopped.is_empty())
        else {
            return Ok(());
        };
        let view = scheduler.view();
        for task in stopped {
            let others = view
                .workload(task.workload.as_str())
                .and_then(|workload| workload.instances.get(task.number))
                .into_iter()
                .flat_map(|instance| &instance.tasks);
            let certain = others
                .filter(|other| other.uuid != task.uuid && !other.goal.is_stop())
                .any(|other| {
                    other.heard_in == view.framework.subscription
                        && other.state != TaskState::Unreachable
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
        let early =
            view.framework.unconfirmed > 0 || self.timestamp().since(view.framework.since) < wait;
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

    fn check_launches(&self, view: &View, launches: &[&Launch]) -> Result<(), String> {
        for launch in launches {
            let workload = view
                .workloads
                .iter()
                .find(|workload| *workload.task_name == *launch.workload)
                .ok_or_else(|| format!("{} is launched for no workload", launch.task))?;
            self.check_placement(workload, launch)
                .map_err(|rule| format!("{} on {}: {rule}", launch.task, launch.agent.id))?;
            self.check_vacancy(view, workload, launch)?;
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

    /// An instance is filled when it is empty, when its task is being replaced, or when that task
    /// has been unreachable for long enough.
    fn check_vacancy(
        &self,
        view: &View,
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
            if !given_up && !matches!(task.goal, Goal::Replace { .. }) {
                return Err(format!(
                    "{} is launched beside {}, which is {:?} and {:?}",
                    launch.task, task.uuid, task.state, task.goal
                ));
            }
        }
        Ok(())
    }

    fn check_placement(&self, workload: &Workload, launch: &Launch) -> Result<(), String> {
        let placement = &launch.template.placement;
        let agent = &launch.agent;
        let hosts = &self.plan.settings.scheduler_hosts;
        if placement.avoid_scheduler_host && hosts.contains(&agent.hostname) {
            return Err("is the scheduler's host".to_owned());
        }
        let on_agent = workload
            .tasks()
            .filter(|(_, task)| task.agent.id == agent.id);
        if placement.unique_hosts && on_agent.count() > 1 {
            return Err("is not the only one there".to_owned());
        }
        for constraint in &placement.constraints {
            check_constraint(workload, launch, constraint)?;
        }
        Ok(())
    }

    // === On each write ===

    pub(crate) fn remember_write(&mut self, write: &Write) {
        let Write::Put(Record::Task(task)) = write else {
            return;
        };
        if self.memory.ended.contains(&task.id) {
            return self.violate(format!(
                "{} is stored after its end was acknowledged",
                task.id
            ));
        }
        let Goal::Stop { reason, .. } = task.goal else {
            return;
        };
        if self.memory.stopped.insert(task.id.clone())
            && !self.memory.explains(&task.workload, task.number, reason)
        {
            self.violate(format!(
                "{} is to be stopped ({reason:?}) for no reason",
                task.id
            ));
        }
    }

    pub(crate) fn check_store(&mut self) {
        self.check_truth();
    }

    // === On each call ===

    pub(crate) fn check_call(&mut self, call: &Call) {
        let result = match call {
            Call::Accept { launches, .. } => launches.iter().try_for_each(|launch| {
                let stored = self
                    .driver
                    .store
                    .contains_key(&Key::Task(launch.task.clone()));
                // An intent may have been taken back by the time its launch leaves: the task was
                // concluded to be gone. It is then launched as a task that nobody wants.
                let concluded = self.is_doubted(&launch.task);
                if !self.driver.store.contains_key(&Key::Framework) {
                    Err("launches before the framework id is stored".to_owned())
                } else if stored || concluded {
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

    fn is_doubted(&self, task: &TaskId) -> bool {
        task.parts(&self.plan.settings.framework)
            .is_some_and(|parts| {
                let instance = (parts.workload.to_owned(), parts.number);
                self.memory.doubted.contains(&instance)
            })
    }

    fn check_kill(&self, task: &TaskId) -> Result<(), String> {
        let decided = self.memory.stopped.contains(task) || self.memory.kill_unknown.contains(task);
        let stored = self.driver.store.contains_key(&Key::Task(task.clone()));
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
        let record = match self.driver.store.get(&Key::Task(task.clone())) {
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
            (TaskState::Running, Some(record)) if record.running_at.is_none() => Err(format!(
                "{task} is acknowledged to run, but it is not stored so"
            )),
            _ => Ok(()),
        }
    }

    // === At any time ===

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
            let Some(Record::Task(record)) = self.driver.store.get(&Key::Task(id.clone())) else {
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
            let allowed = 1 + u32::from(living.replaced);
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
            let Some(Record::Workload(workload)) = self.driver.store.get(&key) else {
                return Err(format!("{name} has tasks but is not stored"));
            };
            if staying > workload.desired {
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

/// What a constraint demands of the agent of a launch, given all tasks as they lie after it.
fn check_constraint(
    workload: &Workload,
    launch: &Launch,
    constraint: &Constraint,
) -> Result<(), String> {
    let value = launch.agent.field(&constraint.field);
    let fields = || {
        workload
            .tasks()
            .map(|(_, task)| task.agent.field(&constraint.field))
    };
    let same = fields().filter(|other| *other == value).count();
    let holds = match (&constraint.operator, value) {
        (Operator::Unlike(pattern), value) => value.is_none_or(|value| !pattern.matches(value)),
        (_, None) => false,
        (Operator::Unique, _) => same == 1,
        (Operator::MaxPer(limit), _) => same <= *limit as usize,
        (Operator::Like(pattern), Some(value)) => pattern.matches(value),
        (Operator::Is(wanted), Some(value)) => value == wanted,
        (Operator::Cluster(wanted), Some(value)) => {
            wanted.as_deref().is_none_or(|wanted| wanted == value)
                && fields().all(|other| other.is_none_or(|other| other == value))
        }
        // Which groups exist is the scheduler's to find out; see `liveness` for the outcome.
        (Operator::GroupBy(_), Some(_)) => true,
    };
    if holds {
        Ok(())
    } else {
        Err(format!("violates {constraint:?}"))
    }
}
