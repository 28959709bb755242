//! What deployments begin, held against the limits that were declared.

use gantry_core::{
    Deployment, DeploymentKind, DeploymentStatus, Goal, Instance, Key, Operator, Record,
    ServiceSpec, StopReason, Task, TaskRecord, TaskState, UpdateOrder, View, Workload, Write,
};

use crate::{term::Term, world::World};

impl World {
    /// Moves that this step began: no more at once than declared, and only while enough is ready.
    pub(super) fn check_moves(
        &self,
        declares: &[ServiceSpec],
        view: &View,
        begun: &[TaskRecord],
        writes: &[Write],
    ) -> Result<(), String> {
        for workload in &view.workloads {
            let moved: Vec<_> = begun
                .iter()
                .filter(|task| task.workload == workload.name)
                .collect();
            let spec = declares.iter().find(|spec| spec.name == workload.name);
            let Some(spec) = spec.filter(|_| !moved.is_empty()) else {
                continue;
            };
            check_at_work(view, workload, &moved, writes)?;
            self.check_parallelism(view, workload, spec)?;
            let ready = count_ready(view, workload, spec);
            for task in moved {
                check_ready(workload, spec, task, ready)?;
            }
        }
        Ok(())
    }

    fn check_parallelism(
        &self,
        view: &View,
        workload: &Workload,
        spec: &ServiceSpec,
    ) -> Result<(), String> {
        let name = &workload.name;
        let at_work: Vec<_> = view
            .deployments
            .iter()
            .filter(|deployment| {
                let whose = deployment.kind.workload();
                !deployment.status.is_over() && whose.is_none_or(|whose| whose == name)
            })
            .collect();
        if at_work.is_empty() {
            return Ok(()); // It has ended in the same step.
        }
        let most: u32 = at_work
            .iter()
            .map(|deployment| moves_at_once(deployment, workload, spec))
            .sum();
        let asked = self.memory.asked.get(&*workload.task_name);
        let scaled = asked.is_some_and(|asked| {
            let last = asked.fewer.unwrap_or(0);
            last > 0 && self.now <= last + 60_000
        });
        let wanted = workload.instances.iter().filter(|instance| {
            instance.wanted && !self.memory.was_retired(name, instance.number, self.now)
        });
        let under_way: Vec<_> = wanted
            // Where the new one is ready, the old one may take its time to go, and nobody waits
            // for one that cannot be reached.
            .filter(|instance| {
                let settles = |task: &Task| {
                    task.state == TaskState::Unreachable
                        || task.goal == Goal::Run && is_ready(workload, task)
                };
                !instance.tasks.iter().any(settles)
            })
            .filter(|instance| {
                instance.tasks.iter().any(|task| {
                    let id = workload.task_id(&self.plan.settings.framework, instance.number, task);
                    let by_hand =
                        self.memory.by_hand.contains(&id) || self.memory.out_of_reach.contains(&id);
                    let old = at_work.iter().any(|deployment| is_old(deployment, task));
                    // What was going before is in nobody's list where the instance was not wanted then.
                    let went_before = match task.goal {
                        Goal::Stop { since, .. } => at_work
                            .iter()
                            .all(|deployment| since < deployment.started_at),
                        _ => false,
                    };
                    is_moving(task) && old && !by_hand && !(went_before && scaled)
                })
            })
            .map(|instance| instance.number)
            .collect();
        if under_way.len() > most as usize {
            return Err(format!(
                "{under_way:?} of {name} are moved at once, and not {most} by {at_work:?}"
            ));
        }
        Ok(())
    }

    /// What is paused, has ended or was given up moves nothing any more: no task that can be reached is
    /// being replaced without a deployment at work that has to replace it, or an operator who wants it.
    pub(super) fn check_at_rest(&self, view: &View) -> Result<(), String> {
        // One that cannot be read may be at work.
        let hidden = |key: &Option<Key>| matches!(key, None | Some(Key::Deployment(_)));
        if view.unreadable.iter().any(|one| hidden(&one.key)) {
            return Ok(());
        }
        let replacing = view.workloads.iter();
        for workload in replacing.filter(|workload| workload.counts.replacing > 0) {
            let name = &workload.name;
            for (number, task) in workload.tasks() {
                if !matches!(task.goal, Goal::Replace { by_hand: false, .. }) {
                    continue;
                }
                let id = workload.task_id(&self.plan.settings.framework, number, task);
                // Nobody waits for what cannot be reached.
                if self.memory.out_of_reach.contains(&id) || self.memory.was_doubted(&id) {
                    continue;
                }
                let moved = view.deployments.iter().any(|deployment| {
                    let whose = deployment.kind.workload();
                    deployment.status.is_at_work()
                        && whose.is_none_or(|whose| whose == name)
                        && is_old(deployment, task)
                });
                if !moved {
                    return Err(format!(
                        "{id} is being replaced though no deployment is at work on it"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Tasks that a deployment begins to move in a step, as seen from the goals before it.
    pub(super) fn begun_moves(&self, term: &Term, writes: &[Write]) -> Vec<TaskRecord> {
        writes
            .iter()
            .filter_map(|write| match write {
                Write::Put(Record::Task(task)) => Some(task),
                _ => None,
            })
            .filter(|task| {
                let before = term.goals.get(&task.id);
                before.is_none_or(|goal| *goal == Goal::Run)
                    && matches!(
                        task.goal,
                        Goal::Replace { .. }
                            | Goal::Stop {
                                reason: StopReason::Restarted,
                                ..
                            }
                    )
                    && !self.memory.by_hand.contains(&task.id)
                    // One that was being moved, thought to be gone, and is back.
                    && !self.memory.stopped.contains(&task.id)
            })
            .cloned()
            .collect()
    }
}

fn is_moving(task: &Task) -> bool {
    task.state != TaskState::Unreachable
        && matches!(
            task.goal,
            Goal::Replace { .. }
                | Goal::Stop {
                    reason: StopReason::Restarted,
                    ..
                }
        )
}

/// How many instances of a workload a deployment may move at once.
fn moves_at_once(deployment: &Deployment, workload: &Workload, spec: &ServiceSpec) -> u32 {
    let policy = &spec.update;
    let most = policy.parallelism.max(1);
    match (&deployment.kind, policy.max_over) {
        // A restart goes one by one.
        (DeploymentKind::RollingRestart { .. }, _) => 1,
        (DeploymentKind::Update { .. }, Some(over)) if !stops_first(workload, spec) => {
            most.min(over.of(workload.desired).max(1))
        }
        (DeploymentKind::Update { .. }, _) => most,
    }
}

/// Whether a deployment has to replace a task.
pub(super) fn is_old(deployment: &Deployment, task: &Task) -> bool {
    match (&deployment.kind, &deployment.status) {
        (
            DeploymentKind::RollingRestart {
                launched_before, ..
            },
            _,
        ) => task.launched_at < *launched_before,
        (
            DeploymentKind::Update { from, .. },
            DeploymentStatus::RollingBack { .. } | DeploymentStatus::RolledBack { .. },
        ) => task.revision != *from,
        (DeploymentKind::Update { to, .. }, _) => task.revision != *to,
    }
}

/// Whether the old task of an instance must go before the new one comes.
fn stops_first(workload: &Workload, spec: &ServiceSpec) -> bool {
    let excludes = workload.template().is_some_and(|template| {
        let mut constraints = template.placement.constraints.iter();
        !template.demand.fixed_ports.is_empty()
            || template.placement.unique_hosts
            || constraints.any(|constraint| {
                matches!(constraint.operator, Operator::Unique | Operator::MaxPer(_))
            })
    });
    spec.update.order == UpdateOrder::StopFirst || excludes
}

pub(super) fn is_ready(workload: &Workload, task: &Task) -> bool {
    let checked = workload
        .revisions
        .get(&task.revision)
        .is_some_and(|template| template.health_check.is_some());
    task.state == TaskState::Running && (!checked || task.healthy == Some(true))
}

/// Nothing is moved but by a deployment that is at work, or was at the beginning of the step.
fn check_at_work(
    view: &View,
    workload: &Workload,
    moved: &[&TaskRecord],
    writes: &[Write],
) -> Result<(), String> {
    let concerns = |deployment: &Deployment| {
        let whose = deployment.kind.workload();
        whose.is_none_or(|whose| *whose == workload.name)
    };
    let mut all = view.deployments.iter();
    let at_work = all.any(|one| one.status.is_at_work() && concerns(one));
    let changed = writes.iter().any(|write| match write {
        Write::Put(Record::Deployment(deployment)) => concerns(deployment),
        _ => false,
    });
    match moved.first() {
        Some(task) if !at_work && !changed => Err(format!(
            "{} is moved ({:?}), though no deployment is at work",
            task.id, task.goal
        )),
        _ => Ok(()),
    }
}

/// The instances that are ready and have been for as long as an update demands; restarts bring nothing
/// new, so that for them it is enough that an instance does not fail again and again.
fn count_ready(view: &View, workload: &Workload, spec: &ServiceSpec) -> u32 {
    let updated = view.deployments.iter().any(|deployment| {
        matches!(deployment.kind, DeploymentKind::Update { .. })
            && deployment.kind.workload() == Some(&workload.name)
            && deployment.status.is_at_work()
    });
    let counts = |instance: &&Instance| {
        instance.tasks.iter().any(|task| {
            let proven = task
                .running_at
                .is_some_and(|at| view.at >= at + spec.update.monitor);
            !task.goal.is_stop()
                && is_ready(workload, task)
                && (proven || !updated && instance.failures == 0)
        })
    };
    workload.instances.iter().filter(counts).count() as u32
}

/// A ready task is stopped, or replaced, only while enough others are ready.
fn check_ready(
    workload: &Workload,
    spec: &ServiceSpec,
    moved: &TaskRecord,
    ready: u32,
) -> Result<(), String> {
    let task = workload
        .instances
        .get(moved.number)
        .and_then(|instance| instance.tasks.iter().find(|task| task.uuid == moved.uuid));
    if !task.is_some_and(|task| is_ready(workload, task)) {
        return Ok(());
    }
    let policy = &spec.update;
    let desired = workload.desired;
    let declared = policy.min_healthy.map_or_else(
        || desired.saturating_sub(policy.parallelism.max(1)),
        |share| share.of(desired).min(desired),
    );
    // Where the old one goes first nothing could move otherwise.
    let least = if moved.goal.is_stop() {
        declared.min(desired.saturating_sub(1))
    } else {
        declared
    };
    if ready < least {
        return Err(format!(
            "{} is moved ({:?}), though {ready} instances are ready and not {least}",
            moved.id, moved.goal
        ));
    }
    Ok(())
}
