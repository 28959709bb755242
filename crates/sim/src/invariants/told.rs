//! What a scheduler was told in its term, and what follows from it: the disaster brake when too much
//! fails at once, and patience with a task that fails again and again.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use gantry_core::{
    BrakePolicy, Call, Effects, Goal, Input, Instance, Key, Launch, MesosEvent, Record,
    ServiceSpec, StatusUpdate, StopReason, Task, TaskId, TaskState, Timestamp, Uuid, View,
    Workload, WorkloadName, Write,
};

use crate::world::World;

/// An instance: the name of its workload in task ids, and its number.
type Place = (String, u32);

/// What a scheduler was told since its start.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// Tasks that were well and are not, oldest first.
    troubled: VecDeque<Troubled>,
    failing: BTreeMap<Place, Failing>,
    /// Instances whose task has failed after a stable run in this step.
    were_stable: Vec<Place>,
}

/// A task that was well and is not.
#[derive(Debug)]
struct Troubled {
    /// When it was told.
    at: Timestamp,
    place: Place,
    uuid: Uuid,
    /// Whether it was: what else the same step was told may have changed that.
    certain: bool,
}

/// An instance whose tasks fail by their own fault.
#[derive(Clone, Copy, Debug, Default)]
struct Failing {
    times: u32,
    not_before: Timestamp,
}

/// Ends that say nothing of the task itself.
fn is_loss(state: TaskState) -> bool {
    matches!(
        state,
        TaskState::Lost | TaskState::Gone | TaskState::Dropped | TaskState::Unknown
    )
}

/// Whether an update may mean that a task is not what it was.
fn is_news(update: &StatusUpdate) -> bool {
    update.state.is_terminal()
        || matches!(update.state, TaskState::Unreachable | TaskState::Unknown)
        || update.healthy == Some(false)
}

impl Told {
    fn forget_old_trouble(&mut self, now: Timestamp, policy: &BrakePolicy) {
        while let Some(oldest) = self.troubled.front()
            && now >= oldest.at + policy.window
        {
            self.troubled.pop_front();
        }
    }

    /// Whether something is to be checked after this step.
    pub(super) fn expects(&self) -> bool {
        !self.were_stable.is_empty()
    }

    /// Nothing is remembered of an instance that is gone, nor of one that waits no longer: it is to be
    /// launched as something else, or an operator wants a restart.
    pub(super) fn forget(&mut self, effects: &Effects) {
        let tried_anew = |name: &WorkloadName| {
            effects.writes.iter().any(|write| match write {
                Write::Put(Record::Workload(workload)) => workload.name == *name,
                // A workload whose record cannot be read is not written.
                Write::Put(Record::Deployment(deployment)) => {
                    deployment.kind.workload() == Some(name)
                }
                Write::Put(Record::Audit(entry)) => entry.action.starts_with("rolling restart"),
                _ => false,
            })
        };
        for write in &effects.writes {
            match write {
                Write::Delete(Key::Instance(workload, number)) => {
                    self.failing.remove(&(workload.in_task_ids(), *number));
                }
                Write::Put(Record::Instance(instance))
                    if instance.not_before.is_none() && tried_anew(&instance.workload) =>
                {
                    let place = (instance.workload.in_task_ids(), instance.number);
                    self.failing.remove(&place);
                }
                _ => {}
            }
        }
    }
}

impl World {
    /// Takes down what a step is told that is bad news.
    pub(crate) fn take_down(&self, gantry: usize, told: &mut Told, inputs: &[Input]) {
        let news: Vec<&StatusUpdate> = inputs
            .iter()
            .filter_map(|input| match input {
                Input::Mesos(MesosEvent::Status(update)) if is_news(update) => Some(update),
                _ => None,
            })
            .collect();
        let Some(term) = self.gantrys[gantry].term.as_ref() else {
            return;
        };
        if news.is_empty() {
            return;
        }
        // A command may have decided that what fails goes: then nothing is expected.
        let commanded = inputs
            .iter()
            .any(|input| matches!(input, Input::Command { .. }));
        let now = self.clock(term.off);
        let view = term.scheduler.view();
        let framework = &self.plan.settings.framework;
        // Of several words about an instance it is not known what each of them changes.
        let several = |place: &Place| {
            let about = inputs.iter().filter(|input| match input {
                Input::Mesos(MesosEvent::Status(update)) => update
                    .task
                    .parts(framework)
                    .is_some_and(|parts| parts.workload == place.0 && parts.number == place.1),
                _ => false,
            });
            about.count() > 1
        };
        for update in news {
            let Some(parts) = update.task.parts(framework) else {
                continue;
            };
            let (place, uuid) = ((parts.workload.to_owned(), parts.number), parts.uuid);
            let found = self.find(&view, &update.task);
            let well = found.is_some_and(|(_, task)| {
                task.state == TaskState::Running
                    && task.healthy != Some(false)
                    && !task.goal.is_stop()
            });
            let lost = update.healthy == Some(false)
                || update.state == TaskState::Unreachable
                || is_loss(update.state);
            let several = several(&place);
            if lost && (well || several) {
                told.troubled.push_back(Troubled {
                    at: now,
                    place: place.clone(),
                    uuid,
                    certain: !several && !commanded && self.is_of_this_id(&update.task),
                });
            }
            let Some((workload, task)) = found else {
                continue;
            };
            if commanded || several {
                told.failing.remove(&place);
                continue;
            }
            if let Some(spec) = self.declared_by(gantry, workload) {
                fails(told, place, spec, (task, well), update, now);
            }
        }
    }

    /// Whether a task was launched under the id that the framework has now.
    fn is_of_this_id(&self, task: &TaskId) -> bool {
        let since = self.memory.id_since;
        self.memory.decided.get(task).is_some_and(|at| *at >= since)
    }

    fn find<'a>(&self, view: &'a View, id: &TaskId) -> Option<(&'a Workload, &'a Task)> {
        let parts = id.parts(&self.plan.settings.framework)?;
        let mut workloads = view.workloads.iter();
        let workload = workloads.find(|workload| *workload.task_name == *parts.workload)?;
        let instance = workload.instances.get(parts.number)?;
        let task = instance.tasks.iter().find(|task| task.uuid == parts.uuid)?;
        Some((workload, task))
    }

    fn declared_by(&self, gantry: usize, workload: &Workload) -> Option<&ServiceSpec> {
        let mut declares = self.gantrys[gantry].declares.iter();
        declares.find(|spec| spec.name == workload.name)
    }

    /// Whether the brake is on when it must be, and nothing is done against it.
    pub(super) fn check_brake(
        &self,
        view: &View,
        braked: Option<Timestamp>,
        told: &mut Told,
        effects: &Effects,
    ) -> Result<(), String> {
        let Some(policy) = self.plan.settings.brake else {
            return Ok(());
        };
        told.forget_old_trouble(view.at, &policy);
        if brake_went_on(effects) {
            may_brake(view, told, &policy)?;
        }
        if view.brake.is_some() {
            told.troubled.clear();
        } else if brake_went_off(effects) {
            // What the same step was told may have come before the release, or after it.
            told.troubled.retain(|one| one.at == view.at);
            told.troubled.iter_mut().for_each(|one| one.certain = false);
        } else {
            must_not_brake(view, told, &policy)?;
        }
        let Some(since) = braked else {
            return Ok(());
        };
        for task in stops_of(effects, view.at) {
            let Goal::Stop { reason, .. } = task.goal else {
                continue;
            };
            let asked = match reason {
                StopReason::Retired | StopReason::Killed => true,
                StopReason::Restarted => self.memory.by_hand.contains(&task.id),
                StopReason::ReplacementFailed => self.restarts_by_hand(&task.id),
                StopReason::Surplus => false,
            };
            if !asked {
                return Err(format!(
                    "{} is stopped ({reason:?}) though the brake is on since {since:?}",
                    task.id
                ));
            }
        }
        for call in &effects.calls {
            if let Call::Kill { task, .. } = call
                && view.unknown_tasks.contains_key(task)
                && !self.memory.kill_unknown.contains(task)
            {
                return Err(format!("unknown {task} is killed though the brake is on"));
            }
        }
        Ok(())
    }

    /// Whether an operator wants a task of the same instance restarted.
    fn restarts_by_hand(&self, task: &TaskId) -> bool {
        let framework = &self.plan.settings.framework;
        let place = |id: &TaskId| {
            let parts = id.parts(framework)?;
            Some((parts.workload.to_owned(), parts.number))
        };
        let this = place(task);
        let mut by_hand = self.memory.by_hand.iter();
        this.is_some() && by_hand.any(|other| place(other) == this)
    }

    /// Whether an operator wanted fewer instances of a workload lately, and wants more now.
    fn scales_by_hand(&self, workload: &Workload) -> bool {
        // The brake may have been stored some time after it was set.
        let since = self.memory.braked.unwrap_or(0).saturating_sub(60_000);
        let asked = self.memory.asked.get(&*workload.task_name);
        asked.is_some_and(|asked| asked.fewer.is_some_and(|at| at >= since))
    }

    /// With the brake on, only what never ran is started, and what an operator has stopped.
    pub(super) fn check_braked_launch(
        &self,
        braked: Option<Timestamp>,
        workload: &Workload,
        launch: &Launch,
    ) -> Result<(), String> {
        let parts = launch.task.parts(&self.plan.settings.framework);
        let instance = parts.and_then(|parts| workload.instances.get(parts.number));
        let ran = instance.is_some_and(|instance| !instance.history.is_empty());
        let asked = self.restarts_by_hand(&launch.task)
            || self.scales_by_hand(workload)
            || instance.is_some_and(was_killed);
        if ran && !asked && braked.is_some() {
            return Err(format!(
                "{} is launched though the brake is on",
                launch.task
            ));
        }
        Ok(())
    }

    /// A task that fails again and again is started later and later.
    pub(super) fn check_back_off(
        &self,
        told: &Told,
        at: Timestamp,
        launch: &Launch,
    ) -> Result<(), String> {
        let Some(parts) = launch.task.parts(&self.plan.settings.framework) else {
            return Ok(());
        };
        let place = (parts.workload.to_owned(), parts.number);
        match told.failing.get(&place) {
            Some(failing) if at < failing.not_before => Err(format!(
                "{} is launched {:?} too early after {} failures",
                launch.task,
                failing.not_before.since(at),
                failing.times
            )),
            _ => Ok(()),
        }
    }
}

/// Whether what an instance ran last was stopped because an operator wanted all tasks of its workload
/// killed.
fn was_killed(instance: &Instance) -> bool {
    let last = instance.history.first();
    last.is_some_and(|ended| ended.stopped == Some(StopReason::Killed))
        || instance.tasks.iter().any(
            |task| matches!(task.goal, Goal::Stop { reason, .. } if reason == StopReason::Killed),
        )
}

/// Takes down whether a task has failed by its own fault.
fn fails(
    told: &mut Told,
    place: Place,
    spec: &ServiceSpec,
    (task, well): (&Task, bool),
    update: &StatusUpdate,
    now: Timestamp,
) {
    if task.goal.is_stop() {
        return; // What is said of it says nothing of its successor.
    }
    let own_fault = well
        && update.state == TaskState::Failed
        && update.reason.as_deref() == Some("REASON_COMMAND_EXECUTOR_FAILED");
    if !own_fault {
        if update.state.is_terminal() || update.state == TaskState::Unknown {
            told.failing.remove(&place);
        }
        return;
    }
    let policy = &spec.back_off;
    let stable = task
        .running_at
        .is_some_and(|since| now.since(since) >= policy.stable_after);
    if stable {
        told.were_stable.push(place.clone());
    }
    let failing = told.failing.entry(place).or_default();
    failing.times = if stable { 1 } else { failing.times + 1 };
    let delay = policy
        .initial
        .saturating_mul(1 << (failing.times - 1).min(16));
    failing.not_before = now + delay.min(policy.max);
}

/// A failure after a stable run is the first one again.
pub(super) fn check_stable(view: &View, told: &mut Told) -> Result<(), String> {
    for (name, number) in std::mem::take(&mut told.were_stable) {
        let mut workloads = view.workloads.iter();
        let workload = workloads.find(|workload| *workload.task_name == *name);
        let instance = workload.and_then(|workload| workload.instances.get(number));
        if let Some(instance) = instance.filter(|instance| instance.failures > 1) {
            return Err(format!(
                "{name}-{number} has {} failures, the last one after a stable run",
                instance.failures
            ));
        }
    }
    Ok(())
}

/// Enough tasks are in trouble at most.
fn may_brake(view: &View, told: &Told, policy: &BrakePolicy) -> Result<(), String> {
    let places: BTreeSet<&Place> = told.troubled.iter().map(|one| &one.place).collect();
    let (troubled, well) = (places.len() as u64, well(view));
    if is_too_much(troubled, well, policy) {
        return Ok(());
    }
    Err(format!(
        "the brake goes on, though {troubled} tasks are in trouble within {:?} and {well} are well",
        policy.window
    ))
}

/// Not enough tasks are in trouble at least.
fn must_not_brake(view: &View, told: &Told, policy: &BrakePolicy) -> Result<(), String> {
    // What is being stopped may have been when it was told.
    let stays = |one: &Troubled| {
        let mut workloads = view.workloads.iter();
        let workload = workloads.find(|workload| *workload.task_name == *one.place.0);
        let instance = workload.and_then(|workload| workload.instances.get(one.place.1));
        let task = instance.and_then(|instance| {
            let mut tasks = instance.tasks.iter();
            tasks.find(|task| task.uuid == one.uuid)
        });
        task.is_none_or(|task| !task.goal.is_stop())
    };
    let certain = told.troubled.iter().filter(|one| one.certain && stays(one));
    let places: BTreeSet<&Place> = certain.map(|one| &one.place).collect();
    let (troubled, well) = (places.len() as u64, well(view));
    if !is_too_much(troubled, well, policy) {
        return Ok(());
    }
    Err(format!(
        "{troubled} tasks are in trouble within {:?} and {well} are well, but the brake is off",
        policy.window
    ))
}

/// Tasks that run, and are not said to be unhealthy.
fn well(view: &View) -> u64 {
    let counts = view.workloads.iter().map(|workload| &workload.counts);
    counts
        .map(|counts| u64::from(counts.running - counts.unhealthy))
        .sum()
}

fn is_too_much(troubled: u64, well: u64, policy: &BrakePolicy) -> bool {
    troubled >= u64::from(policy.tasks_min.max(1))
        && troubled * 1000 > (well + troubled) * u64::from(policy.share_thousandths)
}

fn brake_went_on(effects: &Effects) -> bool {
    effects
        .writes
        .iter()
        .any(|write| matches!(write, Write::Put(Record::Brake(_))))
}

fn brake_went_off(effects: &Effects) -> bool {
    effects
        .writes
        .iter()
        .any(|write| matches!(write, Write::Delete(Key::Brake)))
}

/// Stops that were decided at this moment.
fn stops_of(effects: &Effects, at: Timestamp) -> impl Iterator<Item = &gantry_core::TaskRecord> {
    effects.writes.iter().filter_map(move |write| match write {
        Write::Put(Record::Task(task)) => {
            matches!(task.goal, Goal::Stop { since, .. } if since == at).then_some(task)
        }
        _ => None,
    })
}
