//! One service's books: everything that is derived from its instances and tasks, kept up to date
//! by the one function through which instances change, [`Scheduler::edit`].

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use smallvec::SmallVec;

use super::{Scheduler, ServiceIndex};
use crate::{
    AgentAddress, AgentId, Counts, Instance, Record, Task, TaskId, TaskRecord, TaskState, Template,
    Uuid, Waiting, Workload, WorkloadRecord, Write,
};

/// A service with its books.
#[derive(Debug)]
pub(super) struct Service {
    pub(super) state: Arc<Workload>,
    /// Instances that wait for an offer.
    pub(super) waiting: BTreeSet<u32>,
    /// How many instances are wanted.
    pub(super) wanted: u32,
    /// Every number below it belongs to a wanted instance.
    pub(super) lowest_free: u32,
    /// Live tasks by agent. Never iterated.
    pub(super) on_agent: HashMap<AgentId, u32>,
    /// For each constraint of the current template, live tasks by value of its field, but for those
    /// that were given up: they would keep others from a place that they may never take again.
    pub(super) spread: Vec<Spread>,
    /// Tasks that were given up, by run.
    given_up: BTreeSet<Uuid>,
    /// Live tasks by revision.
    pub(super) of_revision: BTreeMap<u32, u32>,
    /// Revisions that tasks run although their templates are lost.
    pub(super) lost_revisions: BTreeSet<u32>,
    /// Whether its turn to start has come. Once come it stays: a lower priority orders the start
    /// and the use of offers, but never keeps a failed task down.
    pub(super) started: bool,
}

/// Live tasks by value of a constraint's field.
pub(super) type Spread = BTreeMap<String, u32>;

impl Service {
    pub(super) fn new(state: Workload) -> Self {
        let constraints = state
            .template()
            .map_or(0, |template| template.placement.constraints.len());
        Self {
            state: Arc::new(state),
            waiting: BTreeSet::new(),
            wanted: 0,
            lowest_free: 1,
            on_agent: HashMap::new(),
            spread: vec![Spread::new(); constraints],
            given_up: BTreeSet::new(),
            of_revision: BTreeMap::new(),
            lost_revisions: BTreeSet::new(),
            started: false,
        }
    }

    pub(super) fn state_mut(&mut self) -> &mut Workload {
        Arc::make_mut(&mut self.state)
    }

    /// The template that `task` runs.
    pub(super) fn template_of(&self, task: &Task) -> Option<&Arc<Template>> {
        self.state.revisions.get(&task.revision)
    }

    /// Whether `task` does what it is there for: it runs, is healthy if that is checked, and was
    /// reported ready if modules say that.
    pub(super) fn is_ready(&self, task: &Task) -> bool {
        self.rules().is_ready(task)
    }

    /// Whether an instance has a ready task that is not being stopped.
    pub(super) fn is_filled(&self, instance: &Instance) -> bool {
        self.rules().is_filled(instance)
    }

    fn rules(&self) -> Rules<'_> {
        Rules {
            revisions: &self.state.revisions,
            reported: self.state.needs_readiness,
        }
    }

    /// From now on its tasks are ready only when reported to be, or without.
    pub(super) fn need_readiness(&mut self, needed: bool) {
        self.state_mut().needs_readiness = needed;
        let instances = self.state.instances.iter();
        let ready = instances.filter(|instance| self.is_filled(instance));
        let ready = ready.count() as u32;
        self.state_mut().counts.ready = ready;
    }

    /// How many of its tasks do well, as far as Mesos says: as [`Task::is_well`] says of each.
    pub(super) fn well(&self) -> u32 {
        let counts = &self.state.counts;
        counts.running.saturating_sub(counts.unhealthy)
    }

    /// Whether tasks cannot be reached and are not given up.
    pub(super) fn awaits_agents(&self) -> bool {
        self.state.counts.unreachable as usize > self.given_up.len()
    }

    /// See [`crate::Workload::stops_first`].
    pub(super) fn stops_first(&self) -> bool {
        self.state.stops_first()
    }

    /// Whether as many instances as wanted are ready.
    pub(super) fn all_ready(&self) -> bool {
        self.state.counts.ready >= self.state.desired
    }

    pub(super) fn enter_task(&mut self, agent: &AgentAddress, revision: u32) {
        *self.on_agent.entry(agent.id.clone()).or_default() += 1;
        *self.of_revision.entry(revision).or_default() += 1;
        self.count_spread(agent, 1);
    }

    pub(super) fn leave_task(&mut self, task: &Task) {
        let agent = &task.agent;
        if let Some(count) = self.on_agent.get_mut(&agent.id) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.on_agent.remove(&agent.id);
            }
        }
        if let Some(count) = self.of_revision.get_mut(&task.revision) {
            *count = count.saturating_sub(1);
        }
        if !self.given_up.remove(&task.uuid) {
            self.count_spread(agent, -1);
        }
    }

    fn book_given_up(&mut self, task: &Task, given_up: bool) {
        if given_up && self.given_up.insert(task.uuid) {
            self.count_spread(&task.agent, -1);
        } else if !given_up && self.given_up.remove(&task.uuid) {
            self.count_spread(&task.agent, 1);
        }
    }

    /// After the template, and with it the constraints, became another.
    pub(super) fn count_spread_anew(&mut self) {
        let constraints = self
            .state
            .template()
            .map_or(0, |template| template.placement.constraints.len());
        self.spread = vec![Spread::new(); constraints];
        let state = self.state.clone();
        for (_, task) in state.tasks() {
            if !self.given_up.contains(&task.uuid) {
                self.count_spread(&task.agent, 1);
            }
        }
    }

    /// Proves what is counted for constraints.
    pub(super) fn check_spread(&self) -> Result<(), String> {
        let mut unreachable = BTreeSet::new();
        let mut spread = vec![Spread::new(); self.spread.len()];
        let constraints = self
            .state
            .template()
            .map_or(&[][..], |template| &template.placement.constraints);
        for (_, task) in self.state.tasks() {
            if task.state == TaskState::Unreachable {
                unreachable.insert(task.uuid);
            }
            if self.given_up.contains(&task.uuid) {
                continue;
            }
            for (constraint, spread) in constraints.iter().zip(&mut spread) {
                if let Some(value) = task.agent.field(&constraint.field) {
                    *spread.entry(value.to_owned()).or_default() += 1;
                }
            }
        }
        let counted = self.spread.iter().zip(&spread).all(|(booked, spread)| {
            let booked = booked.iter().filter(|(_, tasks)| **tasks > 0);
            booked.eq(spread.iter())
        });
        if !counted {
            return Err(format!("is wrongly spread: {:?}", self.spread));
        }
        if !self.given_up.is_subset(&unreachable) {
            return Err("has given up tasks that can be reached".to_owned());
        }
        Ok(())
    }

    fn count_spread(&mut self, agent: &AgentAddress, change: i32) {
        let Some(template) = self.state.revisions.get(&self.state.revision) else {
            return;
        };
        for (constraint, spread) in template.placement.constraints.iter().zip(&mut self.spread) {
            let Some(value) = agent.field(&constraint.field) else {
                continue;
            };
            match spread.get_mut(value) {
                Some(count) => *count = count.saturating_add_signed(change),
                None if change > 0 => {
                    spread.insert(value.to_owned(), 1);
                }
                None => {}
            }
        }
    }

    pub(super) fn record(&self) -> Record {
        let state = &self.state;
        Record::Workload(WorkloadRecord {
            name: state.name.clone(),
            declared: state.declared,
            desired: state.desired,
            revision: state.revision,
            declared_revision: state.declared_revision,
            update: state.update.clone(),
            priority: state.priority,
            wait_healthy: state.wait_healthy,
            allow_scaling: state.allow_scaling,
            back_off: state.back_off,
            removed: state.removed,
        })
    }

    pub(super) fn task_record(&self, id: TaskId, number: u32, task: &Task) -> Record {
        Record::Task(TaskRecord {
            id,
            workload: self.state.name.clone(),
            number,
            uuid: task.uuid,
            revision: task.revision,
            agent: task.agent.clone(),
            ports: task.ports.clone(),
            state: task.state,
            goal: task.goal,
            launched_at: task.launched_at,
            started_at: task.started_at,
            running_at: task.running_at,
        })
    }
}

/// Templates by the number of their revision.
type Revisions = BTreeMap<u32, Arc<Template>>;

/// What one instance contributes to the books.
struct Tally {
    counts: Counts,
    waits_for_offer: bool,
    waits_for_admission: bool,
    starting: SmallVec<[AgentId; 2]>,
}

/// What makes a task of a service ready.
#[derive(Clone, Copy)]
struct Rules<'a> {
    revisions: &'a Revisions,
    /// Whether modules have to report it.
    reported: bool,
}

impl Rules<'_> {
    fn is_ready(self, task: &Task) -> bool {
        task.state == TaskState::Running
            && (!self.reported || task.readiness == Some(true))
            && (task.healthy == Some(true)
                || self
                    .revisions
                    .get(&task.revision)
                    .is_none_or(|template| template.health_check.is_none()))
    }

    fn is_filled(self, instance: &Instance) -> bool {
        instance
            .tasks
            .iter()
            .any(|task| !task.goal.is_stop() && self.is_ready(task))
    }
}

impl Tally {
    fn of(instance: &Instance, subscription: u32, rules: Rules<'_>) -> Self {
        let mut counts = Counts {
            ready: u32::from(rules.is_filled(instance)),
            ..Counts::default()
        };
        let mut starting = SmallVec::new();
        match &instance.waiting {
            Some(Waiting::Admission { .. }) => counts.admitting = 1,
            Some(Waiting::Offer { .. }) => counts.waiting = 1,
            Some(Waiting::BackOff { .. }) => counts.backing_off = 1,
            Some(Waiting::Reconciliation { .. }) => counts.reconciling = 1,
            Some(Waiting::Brake { .. }) => {
                counts.braked = 1;
                counts.ended_unhealthy = u32::from(instance.ended_unhealthy());
            }
            None => {}
        }
        for task in &instance.tasks {
            match task.state {
                TaskState::Running => {
                    counts.running += 1;
                    match task.healthy {
                        Some(true) => counts.healthy += 1,
                        Some(false) => counts.unhealthy += 1,
                        None => {}
                    }
                }
                TaskState::Killing => counts.killing += 1,
                state if state.is_starting() => {
                    counts.starting += 1;
                    starting.push(task.agent.id.clone());
                }
                _ => counts.unreachable += 1,
            }
            counts.replacing += u32::from(matches!(task.goal, crate::Goal::Replace { .. }));
            counts.unconfirmed += u32::from(task.heard_in != subscription);
        }
        let waits_for_offer = counts.waiting > 0;
        let waits_for_admission = counts.admitting > 0;
        Self {
            counts,
            waits_for_offer,
            waits_for_admission,
            starting,
        }
    }
}

fn replace_counts(total: &mut Counts, before: &Counts, after: &Counts) {
    macro_rules! replace {
        ($($field:ident),*) => { $( total.$field = total.$field - before.$field + after.$field; )* };
    }
    replace!(
        admitting,
        waiting,
        backing_off,
        reconciling,
        braked,
        ended_unhealthy,
        ready,
        starting,
        running,
        healthy,
        unhealthy,
        killing,
        unreachable,
        replacing,
        unconfirmed
    );
}

impl Scheduler {
    /// Changes an instance and everything that is counted from it. `None` when there is none.
    pub(super) fn edit<R>(
        &mut self,
        index: ServiceIndex,
        number: u32,
        change: impl FnOnce(&mut Instance) -> R,
    ) -> Option<R> {
        let subscription = self.connection.subscription;
        let service = self.services.get_mut(index as usize)?.as_mut()?;
        let workload = Arc::make_mut(&mut service.state);
        let instance = workload.instances.get_mut(number)?;
        let rules = Rules {
            revisions: &workload.revisions,
            reported: workload.needs_readiness,
        };
        let before = Tally::of(instance, subscription, rules);
        let result = change(instance);
        let after = Tally::of(instance, subscription, rules);
        replace_counts(&mut workload.counts, &before.counts, &after.counts);
        let priority = workload.priority;
        if before.waits_for_offer != after.waits_for_offer {
            if after.waits_for_offer {
                service.waiting.insert(number);
                self.waiting_services.insert((priority, index));
                self.offers.changed = true;
                self.offers.work_changed = true;
            } else {
                service.waiting.remove(&number);
                if service.waiting.is_empty() {
                    self.waiting_services.remove(&(priority, index));
                }
            }
        }
        if self.admission.on {
            if before.waits_for_admission && !after.waits_for_admission {
                self.admission.withdraw(index, number);
            }
            if before.waits_for_offer && !after.waits_for_offer {
                drop(self.admission.take(index, number));
            }
        }
        if before.starting != after.starting {
            for agent in before.starting {
                if let Some(count) = self.starting.get_mut(&agent) {
                    *count -= 1;
                    if *count == 0 {
                        self.starting.remove(&agent);
                    }
                }
                // A place has become free: a held offer of this agent may be used.
                self.offers.changed = true;
                self.offers.place_freed = true;
            }
            for agent in after.starting {
                *self.starting.entry(agent).or_default() += 1;
            }
        }
        Some(result)
    }

    /// Finds a live task by its id: its service, its instance's number and its run.
    pub(super) fn find_task(&self, id: &TaskId) -> Option<(ServiceIndex, u32, &Task)> {
        let parts = id.parts(&self.settings.framework)?;
        let mut services = self.by_task_name.get(parts.workload)?.iter().copied();
        services.find_map(|index| {
            let instance = self.service(index)?.state.instances.get(parts.number)?;
            let task = instance.tasks.iter().find(|task| task.uuid == parts.uuid)?;
            Some((index, parts.number, task))
        })
    }

    /// The service whose tasks have this name in their ids; of several the one that is declared.
    pub(super) fn service_of_task_name(&self, name: &str) -> Option<ServiceIndex> {
        let services = self.by_task_name.get(name)?.iter().copied();
        services.min_by_key(|index| {
            self.service(*index)
                .is_none_or(|service| service.state.removed)
        })
    }

    /// Books which tasks of an instance are given up: nobody waits for their places any more, nor
    /// for their agents.
    pub(super) fn count_given_up(&mut self, index: ServiceIndex, number: u32) {
        let Some(service) = self.services.get(index as usize).and_then(Option::as_ref) else {
            return;
        };
        let Some(instance) = service.state.instances.get(number) else {
            return;
        };
        let is_booked = |task: &Task| service.given_up.contains(&task.uuid);
        let changed: SmallVec<[Task; 1]> = instance
            .tasks
            .iter()
            .filter(|task| self.given_up(task) != is_booked(task))
            .cloned()
            .collect();
        for task in changed {
            let given_up = self.given_up(&task);
            if let Some(service) = self.service_mut(index) {
                service.book_given_up(&task, given_up);
            }
            let seen = &mut self.offers.agents_seen;
            if given_up {
                seen.remove(&task.agent.id);
            } else if let Some(id) = task.agent.known_id() {
                seen.entry(id).or_insert_with(|| task.agent.clone());
            }
            self.offers.changed = true;
            self.offers.work_changed = true;
        }
    }

    /// Forgets an agent that may be gone, unless a task is still on it: what spreads over groups
    /// must not wait for it. If it is there, its next offer tells.
    pub(super) fn forget_empty_agent(&mut self, agent: &AgentId) {
        let empty = self
            .services()
            .all(|(_, service)| !service.on_agent.contains_key(agent));
        if empty {
            self.offers.agents_seen.remove(agent);
        }
    }

    /// Only agents with tasks are known at the beginning of a subscription; its offers tell of the
    /// others.
    pub(super) fn forget_agents_without_tasks(&mut self) {
        let mut seen = std::mem::take(&mut self.offers.agents_seen);
        seen.retain(|agent, _| {
            self.services()
                .any(|(_, service)| service.on_agent.contains_key(agent))
        });
        self.offers.agents_seen = seen;
    }

    /// A live task by its place.
    pub(super) fn task(
        &self,
        index: ServiceIndex,
        number: u32,
        uuid: crate::Uuid,
    ) -> Option<&Task> {
        self.service(index)?
            .state
            .instances
            .get(number)?
            .tasks
            .iter()
            .find(|task| task.uuid == uuid)
    }

    /// Changes a live task. `None` when there is none.
    pub(super) fn edit_task<R>(
        &mut self,
        index: ServiceIndex,
        number: u32,
        uuid: crate::Uuid,
        change: impl FnOnce(&mut Task) -> R,
    ) -> Option<R> {
        self.edit(index, number, |instance| {
            instance
                .tasks
                .iter_mut()
                .find(|task| task.uuid == uuid)
                .map(change)
        })?
    }

    pub(super) fn write_task(&mut self, index: ServiceIndex, number: u32, uuid: crate::Uuid) {
        let Some(service) = self.service(index) else {
            return;
        };
        let Some(task) = self.task(index, number, uuid) else {
            return;
        };
        let id = service
            .state
            .task_id(&self.settings.framework, number, task);
        let record = service.task_record(id, number, task);
        self.out.writes.push(Write::Put(record));
    }

    /// Writes what is wanted of a service; not over a record that could not be read, of which an
    /// operator may know more.
    pub(super) fn write_service(&mut self, index: ServiceIndex) {
        if let Some(service) = self.service(index)
            && !self.unread.contains_workload(&service.state.name)
        {
            let record = service.record();
            self.out.writes.push(Write::Put(record));
        }
    }
}
