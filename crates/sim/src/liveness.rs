//! What must be in the end, some time after the faults have stopped.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use gantry_core::{
    AgentAddress, DeploymentKind, Goal, Key, Operator, Task, TaskId, TaskState, View, Workload,
};

use crate::{
    agents::Standing,
    types::{Behaviour, TypePlan},
    world::World,
};

/// So long after a task was to be gone it is.
const OVERDUE: Duration = Duration::from_secs(300);

/// How the tasks of a workload behave: those there are, and those that would be launched.
fn behaviours(workload: &Workload) -> impl Iterator<Item = Behaviour> {
    let running = workload
        .tasks()
        .filter_map(|(_, task)| workload.revisions.get(&task.revision));
    let templates = workload.template().into_iter().chain(running);
    templates.map(|template| Behaviour::of(template))
}

impl World {
    pub(crate) fn check_liveness(&mut self) {
        if let Err(violation) = self.liveness() {
            self.violate(format!("in the end, {violation}"));
        }
    }

    fn liveness(&self) -> Result<(), String> {
        let Some(term) = self
            .leader()
            .and_then(|leader| self.gantrys[leader].term.as_ref())
        else {
            return Err("nobody leads".to_owned());
        };
        let view = term.scheduler.view();
        if !view.framework.subscribed {
            return Err("there is no subscription".to_owned());
        }
        if view.framework.unconfirmed > 0 {
            return Err(format!(
                "{} tasks are unconfirmed",
                view.framework.unconfirmed
            ));
        }
        // While the brake is on, or goes on and off, deployments are held.
        let held = self.memory.braked_since(self.plan.faults_until);
        if let Some(deployment) = view
            .deployments
            .iter()
            .find(|deployment| deployment.status.is_at_work() && !held)
        {
            return Err(format!("a deployment is not over: {deployment:?}"));
        }
        if let Some((id, since)) = term.held.iter().next()
            && self.now > since + 10_000
        {
            return Err(format!("{id} has not been answered"));
        }
        self.check_living(&view)?;
        self.check_settled(&view)?;
        self.check_wanted(&view)?;
        if view.brake.is_some() {
            return self.check_held_brake(&view);
        }
        if !held {
            self.check_copies(&view)?;
        }
        for plan in &self.plan.types {
            self.check_type(&view, plan)?;
        }
        Ok(())
    }

    /// The brake is on in the end only when something holds it.
    fn check_held_brake(&self, view: &View) -> Result<(), String> {
        let Some(policy) = self.plan.settings.brake else {
            return Err("the brake is on, which nobody asked for".to_owned());
        };
        let (mut tasks, mut troubled) = (0_u64, 0_u64);
        for workload in &view.workloads {
            let counts = &workload.counts;
            tasks += u64::from(counts.tasks() + counts.ended_unhealthy);
            troubled += u64::from(counts.unhealthy + counts.unreachable + counts.ended_unhealthy);
        }
        let sick = view
            .workloads
            .iter()
            .any(|workload| !behaviours(workload).all(Behaviour::can_run));
        if !sick && troubled * 2000 <= tasks * u64::from(policy.share_thousandths) {
            return Err(format!(
                "the brake is on, and {troubled} of {tasks} are in trouble"
            ));
        }
        Ok(())
    }

    /// What lives is known, and the other way round.
    fn check_living(&self, view: &View) -> Result<(), String> {
        let framework = &self.plan.settings.framework;
        let known: BTreeMap<TaskId, TaskState> = view
            .workloads
            .iter()
            .flat_map(|workload| {
                workload
                    .tasks()
                    .map(|(number, task)| (workload.task_id(framework, number, task), task.state))
            })
            .collect();
        let living: BTreeMap<&TaskId, TaskState> = self
            .agents
            .iter()
            .flat_map(|agent| &agent.tasks)
            .filter(|(_, task)| task.alive)
            .map(|(id, task)| (id, task.state))
            .collect();
        for (id, state) in &living {
            if view.unknown_tasks.contains_key(id) {
                continue;
            }
            match known.get(id) {
                Some(known) if known == state || (known.is_starting() && state.is_starting()) => {}
                // What nothing is stored of is found when all are asked, at the latest as routine.
                None if !self.is_stored(id) && !self.asks_routinely() => {}
                // It may be about to change.
                Some(_) if !self.is_quiet(view, id) => {}
                other => return Err(format!("{id} is {state:?} but known as {other:?}")),
            }
        }
        for (id, update) in view.unknown_tasks.iter() {
            if update.state == TaskState::Unreachable {
                continue; // Nobody can tell.
            }
            self.check_unknown(view, id, living.contains_key(id))
                .map_err(|wrong| format!("{id}, last {:?}, is unknown {wrong}", update.state))?;
        }
        for (id, state) in &known {
            let lives = living.contains_key(id);
            if !lives && *state != TaskState::Unreachable && self.is_quiet(view, id) {
                return Err(format!("{id} is known as {state:?} but does not live"));
            }
        }
        Ok(())
    }

    fn is_stored(&self, task: &TaskId) -> bool {
        self.keeper.records.contains_key(&Key::Task(task.clone()))
    }

    fn asks_routinely(&self) -> bool {
        self.plan.settings.reconcile_every < Duration::from_secs(600)
    }

    /// What is shown as unknown must be there, and must have no place among the known ones.
    fn check_unknown(&self, view: &View, id: &TaskId, lives: bool) -> Result<(), &'static str> {
        if !lives {
            // An echo goes when it is asked about, at the latest as a matter of routine.
            return if self.asks_routinely() {
                Err("but does not live")
            } else {
                Ok(())
            };
        }
        if self.plan.settings.kill_unknown.is_some() && !self.may_hide_tasks() {
            return Err("and not killed");
        }
        let remembered = id
            .parts(&self.plan.settings.framework)
            .and_then(|parts| {
                let mut workloads = view.workloads.iter();
                let workload = workloads.find(|workload| *workload.task_name == *parts.workload)?;
                let instance = workload.instances.get(parts.number)?;
                let mut history = instance.history.iter();
                Some(instance.wanted && history.any(|ended| ended.uuid == parts.uuid))
            })
            .unwrap_or(false);
        if remembered {
            return Err("though its instance remembers it");
        }
        Ok(())
    }

    /// Whether a task is of a workload that has come to rest.
    fn is_quiet(&self, view: &View, task: &TaskId) -> bool {
        let Some(parts) = task.parts(&self.plan.settings.framework) else {
            return true;
        };
        let mut workloads = view.workloads.iter();
        workloads
            .find(|workload| *workload.task_name == *parts.workload)
            .is_none_or(|workload| behaviours(workload).all(Behaviour::can_run))
    }

    fn check_type(&self, view: &View, plan: &TypePlan) -> Result<(), String> {
        let name = plan.spec.name.as_str();
        let Some(workload) = view.workload(name) else {
            return self.check_gone(view, plan);
        };
        if workload.removed {
            return self.check_removed(workload);
        }
        if !behaviours(workload).all(Behaviour::can_run) {
            return Ok(());
        }
        self.check_revisions(view, workload)?;
        let running = self.running(view, plan);
        if running > workload.desired as usize {
            return Err(format!(
                "{running} tasks of {name} run, and not {}",
                workload.desired
            ));
        }
        let Some(feasible) = self.feasible(view, workload) else {
            return Ok(());
        };
        let expected = feasible.min(workload.desired as usize);
        // What was given up and is back finds its place taken, and nobody is stopped for that.
        let framework = &self.plan.settings.framework;
        // Nor is it known where a task is whose record could not be read.
        let crowded = running > expected
            && (self.memory.was_out_of_reach(&workload.name, framework)
                || self.memory.is_clouded(&workload.name));
        if running != expected && !crowded {
            let blocker = workload.waits_for.as_ref().and_then(|name| {
                let blocker = view.workload(name.as_str())?;
                Some((name, blocker.desired, blocker.counts))
            });
            let idle: Vec<_> = workload
                .instances
                .iter()
                .filter(|instance| {
                    !instance
                        .tasks
                        .iter()
                        .any(|task| task.state == TaskState::Running)
                })
                .collect();
            return Err(format!(
                "{running} tasks of {name} run, and not {expected}: {:?}, funnel {:?}, waits for {blocker:?}, idle {idle:?}",
                workload.counts, workload.funnel
            ));
        }
        Ok(())
    }

    /// What is declared no more has been stopped and forgotten, but for what cannot be reached.
    fn check_removed(&self, workload: &Workload) -> Result<(), String> {
        let unreachable = |task: &Task| task.state == TaskState::Unreachable;
        match workload.tasks().find(|(_, task)| !unreachable(task)) {
            None if workload.counts.unreachable > 0 => Ok(()),
            None => Err(format!("{} is removed and not forgotten", workload.name)),
            Some((number, task)) => Err(format!(
                "{}-{number} is removed and not stopped: {task:?}",
                workload.name
            )),
        }
    }

    /// All tasks run what is declared, unless an update says why not.
    fn check_revisions(&self, view: &View, workload: &Workload) -> Result<(), String> {
        let name = &workload.name;
        if self.memory.is_clouded(name) {
            return Ok(());
        }
        let mut updates = view.deployments.iter().rev();
        let update = updates.find(|deployment| {
            matches!(&deployment.kind, DeploymentKind::Update { workload, .. } if workload == name)
        });
        let status = update.map_or("none", |update| update.status.name());
        let held = ["paused", "rolling_back", "rolled_back", "failed", "aborted"].contains(&status);
        if workload.revision != workload.declared_revision && !held {
            return Err(format!(
                "{name} runs as {} and not as {}, and its update is {update:?}",
                workload.revision, workload.declared_revision
            ));
        }
        // What was moved when it ended stays moved, and one that is at work is judged as such.
        if ["paused", "aborted", "failed", "running", "rolling_back"].contains(&status) {
            return Ok(());
        }
        // What came back after its update had ended is what it was.
        let came_back = |number, task: &Task| {
            let framework = &self.plan.settings.framework;
            self.memory
                .was_doubted(&workload.task_id(framework, number, task))
        };
        let mut tasks = workload.tasks();
        match tasks.find(|(number, task)| {
            task.state != TaskState::Unreachable
                && task.revision != workload.revision
                && !came_back(*number, task)
        }) {
            None => Ok(()),
            Some((number, task)) => Err(format!(
                "{name}-{number} runs {} and not {}, and its update is {update:?}",
                task.revision, workload.revision
            )),
        }
    }

    /// One copy by rule, and what was to go has gone.
    fn check_copies(&self, view: &View) -> Result<(), String> {
        for workload in &view.workloads {
            for instance in workload.instances.iter() {
                let there = || {
                    let mut tasks = instance.tasks.iter();
                    std::iter::from_fn(move || {
                        tasks.find(|task| task.state != TaskState::Unreachable)
                    })
                };
                let staying = there().filter(|task| !task.goal.is_stop()).count();
                if staying > 1 {
                    return Err(format!(
                        "{}-{} has {staying} tasks: {:?}",
                        workload.name, instance.number, instance.tasks
                    ));
                }
                let overdue = |task: &&Task| match task.goal {
                    Goal::Run => false,
                    Goal::Replace { deadline, .. } => view.at.since(deadline) > OVERDUE,
                    Goal::Stop { since, .. } => view.at.since(since) > OVERDUE,
                };
                if let Some(task) = there().find(overdue) {
                    return Err(format!(
                        "{}-{} still has {task:?}",
                        workload.name, instance.number
                    ));
                }
            }
        }
        Ok(())
    }

    /// What is wanted is what is stored, and what was promised.
    fn check_wanted(&self, view: &View) -> Result<(), String> {
        for workload in &view.workloads {
            let key = Key::Workload(workload.name.clone());
            if self.keeper.unreadable.contains(&key) && workload.desired >= workload.declared {
                continue; // Until an operator says how many.
            }
            let stored = self.memory.wanted(&workload.name);
            if stored != Some(workload.desired) {
                return Err(format!(
                    "{} of {} are wanted, and stored are {stored:?}",
                    workload.desired, workload.name
                ));
            }
        }
        Ok(())
    }

    fn check_gone(&self, view: &View, plan: &TypePlan) -> Result<(), String> {
        let name = plan.spec.name.as_str();
        match self.running(view, plan) {
            0 => Ok(()),
            running => Err(format!("{running} tasks of {name} run, which is gone")),
        }
    }

    /// Tasks of a type that run, but for those that are shown as unknown by right: strangers, and
    /// what has come back to a place that is not wanted, or that does not remember it.
    fn running(&self, view: &View, plan: &TypePlan) -> usize {
        let name = plan.spec.name.in_task_ids();
        let has_place = |id: &TaskId| {
            let parts = id.parts(&self.plan.settings.framework)?;
            let workload = view.workload(plan.spec.name.as_str())?;
            let instance = workload.instances.get(parts.number)?;
            let mut history = instance.history.iter();
            let remembered = history.any(|ended| ended.uuid == parts.uuid);
            Some(instance.wanted && (remembered || instance.tasks.is_empty()))
        };
        let unknown = |id: &TaskId| {
            let by_right = self.memory.is_stranger(id) || has_place(id) != Some(true);
            view.unknown_tasks.contains_key(id) && by_right
        };
        self.agents
            .iter()
            .flat_map(|agent| &agent.tasks)
            .filter(|(id, task)| {
                task.alive
                    && task.state == TaskState::Running
                    && !unknown(id)
                    && (self.is_stored(id) || self.asks_routinely())
                    && id
                        .parts(&self.plan.settings.framework)
                        .is_some_and(|parts| parts.workload == name)
            })
            .count()
    }

    /// How many tasks of a workload there is room for under its rules; `None` when that is not
    /// easily told.
    fn feasible(&self, view: &View, workload: &Workload) -> Option<usize> {
        let template = workload.template()?;
        let placement = &template.placement;
        let bound = !template.demand.fixed_ports.is_empty();
        let ruled = bound || *placement != gantry_core::Placement::default();
        // What cannot be reached keeps its place under a rule until it is given up.
        let patience = self.plan.settings.unreachable_after;
        let awaited = workload.tasks().any(|(_, task)| {
            task.state == TaskState::Unreachable && view.at.since(task.changed_at) < patience
        });
        if !self.plan.ample || (ruled && awaited) {
            return None;
        }
        // Tasks that hang in their start may take all starting places for most of the time.
        let hanging = view.workloads.iter().any(|workload| {
            behaviours(workload).any(|behaviour| behaviour == Behaviour::NeverStarts)
        });
        if hanging && self.plan.settings.starting_per_agent_max < 8 {
            return None;
        }
        let mut agents: Vec<&AgentAddress> = self
            .agents
            .iter()
            .filter(|agent| agent.up && agent.standing == Standing::Registered)
            .map(|agent| &*agent.address)
            .collect();
        if placement.avoid_scheduler_host {
            let hosts = &self.plan.settings.scheduler_hosts;
            agents.retain(|agent| !hosts.contains(&agent.hostname));
        }
        let mut limit = usize::MAX;
        for constraint in &placement.constraints {
            let field = |agent: &&AgentAddress| agent.field(&constraint.field).map(str::to_owned);
            match &constraint.operator {
                Operator::Like(pattern) => {
                    agents
                        .retain(|agent| field(agent).is_some_and(|value| pattern.matches(&value)));
                }
                Operator::Unlike(pattern) => {
                    agents
                        .retain(|agent| field(agent).is_none_or(|value| !pattern.matches(&value)));
                }
                Operator::Is(wanted) => {
                    agents.retain(|agent| field(agent).as_ref() == Some(wanted));
                }
                Operator::Unique | Operator::MaxPer(_) => {
                    let values: BTreeSet<_> = agents.iter().filter_map(field).collect();
                    let each = match constraint.operator {
                        Operator::MaxPer(each) => each as usize,
                        _ => 1,
                    };
                    limit = limit.min(values.len() * each);
                }
                Operator::Cluster(_) | Operator::GroupBy(_) if bound => return None,
                Operator::Cluster(_) | Operator::GroupBy(_) => {}
            }
        }
        if agents.is_empty() {
            return Some(0);
        }
        if bound {
            agents.retain(|agent| !self.ports_are_taken(agent, workload));
        }
        if bound || placement.unique_hosts {
            limit = limit.min(agents.len());
        }
        Some(limit)
    }

    /// Whether tasks of others have ports that a workload insists on.
    fn ports_are_taken(&self, agent: &AgentAddress, workload: &Workload) -> bool {
        let fixed = workload
            .template()
            .map_or(&[][..], |template| &template.demand.fixed_ports);
        let current = self.agents.iter().find(|known| *known.address == *agent);
        current
            .into_iter()
            .flat_map(|agent| &agent.tasks)
            .any(|(id, task)| {
                let other = id
                    .parts(&self.plan.settings.framework)
                    .is_none_or(|parts| *parts.workload != *workload.task_name);
                let ports = self.memory.bundle_of(id).ports();
                task.alive && other && ports.iter().any(|port| fixed.contains(port))
            })
    }
}
