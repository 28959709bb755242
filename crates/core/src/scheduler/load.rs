//! Coming back: from what was stored and what is declared to a scheduler that goes on where the
//! last one stopped.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use super::{
    Admission, Connection, Offers, Scheduler, ServiceIndex, Timer, Timers, Trouble,
    services::Service,
    stopping::run_of,
    unreadable::{Unread, is_retired},
};
use crate::{
    AgentAddress, AgentId, Counters, Counts, DeploymentKind, DeploymentStatus, Effects, Found,
    Goal, IdGenerator, Instance, InstanceRecord, Instances, Key, Notice, Record, RevisionRecord,
    ServiceSpec, Settings, StatusUpdate, Task, TaskRecord, TaskState, Template, Timestamp,
    Unreadable, Workload, WorkloadName, WorkloadRecord, Write, task::UNHEARD,
};

/// Records sorted by what they belong to.
#[derive(Default)]
pub(super) struct Stored {
    pub(super) workloads: BTreeMap<WorkloadName, WorkloadRecord>,
    pub(super) revisions: BTreeMap<WorkloadName, BTreeMap<u32, Arc<Template>>>,
    pub(super) instances: BTreeMap<WorkloadName, BTreeMap<u32, InstanceRecord>>,
    pub(super) tasks: BTreeMap<WorkloadName, Vec<TaskRecord>>,
    /// Of which there are records that could not be read.
    pub(super) lost_revisions: BTreeMap<WorkloadName, BTreeSet<u32>>,
    pub(super) lost_instances: BTreeMap<WorkloadName, BTreeSet<u32>>,
}

impl Scheduler {
    /// Builds the scheduler from everything that is stored and everything that is declared.
    ///
    /// Declared services that are not stored are new. Stored ones take their new declaration: a
    /// changed template makes a new revision and an update to it, a changed count replaces the
    /// desired one, and one that is no longer declared is stopped. Tasks are neither stopped nor
    /// launched before Mesos has subscribed us. The effects hold what is to be written of all this.
    ///
    /// `services` must not hold two of the same name; the later would replace the earlier.
    pub fn start(
        now: Timestamp,
        settings: Settings,
        ids: IdGenerator,
        services: Vec<ServiceSpec>,
        found: Found,
    ) -> (Self, Effects) {
        let mut scheduler = Self::empty(now, settings, ids);
        let mut stored = scheduler.sort(found);
        scheduler.doubt(&services, &mut stored);
        scheduler.release_unwanted_brake();
        scheduler.suspect_strangers();
        for spec in services {
            scheduler.declare(spec, &mut stored);
        }
        for name in stored.workloads.keys().cloned().collect::<Vec<_>>() {
            scheduler.undeclare(&name, &mut stored);
        }
        scheduler.end_updates_that_never_began();
        scheduler.call_off_what_nobody_moves();
        scheduler.set_rest_aside(stored);
        let effects = scheduler.effects();
        (scheduler, effects)
    }

    /// What is stored, as it is: nothing is decided, nothing is to be written.
    pub(super) fn restore_only(now: Timestamp, settings: Settings, found: Found) -> Self {
        let mut scheduler = Self::empty(now, settings, IdGenerator::new([0; 4]));
        let mut stored = scheduler.sort(found);
        scheduler.doubt(&[], &mut stored);
        for record in std::mem::take(&mut stored.workloads).into_values() {
            let name = record.name.clone();
            let former = record.revision;
            let revisions = stored.revisions.remove(&name).unwrap_or_default();
            let index = scheduler.add_service(Service::new(workload(record, revisions)));
            scheduler.restore(index, former, &mut stored);
        }
        scheduler.set_rest_aside(stored);
        scheduler.out = Effects::default();
        scheduler
    }

    fn empty(now: Timestamp, settings: Settings, ids: IdGenerator) -> Self {
        Self {
            admission: Admission::new(settings.admission),
            settings,
            ids,
            now,
            framework: None,
            connection: Connection::new(now),
            services: Vec::new(),
            by_task_name: HashMap::new(),
            waiting_services: BTreeSet::new(),
            starting: HashMap::new(),
            fixed_ports: BTreeSet::new(),
            offers: Offers::default(),
            timers: Timers::default(),
            deployments: BTreeMap::new(),
            moves: BTreeMap::new(),
            next_deployment: 1,
            audit: VecDeque::new(),
            next_audit: 1,
            unknown_tasks: Arc::new(BTreeMap::new()),
            brake: None,
            module_values: Arc::default(),
            access: Arc::default(),
            unread: Unread::default(),
            trouble: Trouble::default(),
            counters: Counters::default(),
            out: Effects::default(),
            check_credit: 0,
        }
    }

    fn sort(&mut self, found: Found) -> Stored {
        let mut unreadable = found.unreadable;
        let mut stored = Stored::default();
        let mut agents: BTreeMap<AgentId, Arc<AgentAddress>> = BTreeMap::new();
        let mut audit = Vec::new();
        for record in found.records {
            match record {
                Record::Framework(record) => self.framework = Some(record),
                Record::Workload(record) => {
                    stored.workloads.insert(record.name.clone(), record);
                }
                Record::Revision(RevisionRecord {
                    workload,
                    number,
                    template,
                    ..
                }) => {
                    stored
                        .revisions
                        .entry(workload)
                        .or_default()
                        .insert(number, template);
                }
                Record::Instance(record) => {
                    stored
                        .instances
                        .entry(record.workload.clone())
                        .or_default()
                        .insert(record.number, record);
                }
                // Of live tasks no id is kept: it is put together again from where the task belongs.
                Record::Task(record) if record.framework() != Some(&self.settings.framework) => {
                    unreadable.push(self.misnamed(record));
                }
                Record::Task(mut record) => {
                    let known = agents
                        .entry(record.agent.id.clone())
                        .or_insert_with(|| record.agent.clone());
                    if *known == record.agent {
                        record.agent = known.clone();
                    }
                    stored
                        .tasks
                        .entry(record.workload.clone())
                        .or_default()
                        .push(record);
                }
                Record::Deployment(record) => {
                    self.next_deployment = self.next_deployment.max(record.id.0 + 1);
                    self.deployments.insert(record.id, Arc::new(record));
                }
                Record::Brake(brake) => self.brake = Some(brake),
                Record::ModuleValue(record) => self.keep(record),
                Record::Access(record) => self.access = Arc::new(record),
                Record::Audit(entry) => {
                    self.next_audit = self.next_audit.max(entry.sequence + 1);
                    audit.push(Arc::new(entry));
                }
            }
        }
        audit.sort_unstable_by_key(|entry| entry.sequence);
        self.audit = audit.into();
        self.unread = Unread::new(unreadable);
        self.offers.agents_seen = agents;
        stored
    }

    /// Adds a declared service, or gives a stored one its new declaration.
    fn declare(&mut self, spec: ServiceSpec, stored: &mut Stored) {
        let record = stored.workloads.remove(&spec.name);
        let stands = record.is_some();
        let record = record.or_else(|| self.lost_record(&spec, stored));
        let mut revisions = stored.revisions.remove(&spec.name).unwrap_or_default();
        for template in revisions.values_mut() {
            Arc::make_mut(template).learn_secrets(&spec.template);
        }
        let template = Arc::new(spec.template);
        let declared_before = record.as_ref().map(WorkloadRecord::declared_revision);
        let same = |revision: &u32| {
            revisions
                .get(revision)
                .is_some_and(|stored| **stored == *template)
        };
        let knows = |revision: u32| revisions.contains_key(&revision);
        let unchanged = declared_before.is_some_and(|revision| same(&revision))
            && !record
                .as_ref()
                .is_some_and(|record| self.went_astray(record));
        let known = declared_before
            .filter(same)
            .or_else(|| revisions.keys().rev().copied().find(|other| same(other)));
        let declared_revision = known.unwrap_or_else(|| {
            let newest = revisions.keys().next_back().copied();
            newest
                .max(declared_before)
                .max(stored.newest_lost(&spec.name))
                .unwrap_or(0)
                + 1
        });
        // Whether it has changed cannot be said where what was declared is lost; a newer one may be what
        // a start before this one made of the same.
        let older = known.is_some_and(|known| declared_before.is_some_and(|before| known < before));
        let changed = !unchanged && (older || declared_before.is_none_or(knows));
        revisions.insert(declared_revision, template.clone());
        // An update that is paused or was rolled back stays so under the same declaration.
        let revision = record
            .as_ref()
            .filter(|_| unchanged)
            .map(|record| record.revision)
            .filter(|revision| {
                let template = revisions.get(revision);
                template.is_some_and(|template| template.missing_secret().is_none())
            })
            .unwrap_or(declared_revision);
        if known.is_none() {
            self.out
                .writes
                .push(Write::Put(Record::Revision(RevisionRecord {
                    workload: spec.name.clone(),
                    number: declared_revision,
                    created_at: self.now,
                    template: template.clone(),
                })));
        }
        let counted_anew = record.as_ref().is_none_or(|record| {
            record.declared != spec.instances || record.removed || !spec.allow_scaling
        });
        let desired = match &record {
            Some(record) if !counted_anew => record.desired,
            _ => spec.instances,
        };
        self.fixed_ports
            .extend(template.demand.fixed_ports.iter().copied());
        let now = WorkloadRecord {
            name: spec.name.clone(),
            declared: spec.instances,
            desired,
            revision,
            declared_revision,
            update: spec.update,
            priority: spec.priority,
            wait_healthy: spec.wait_healthy,
            allow_scaling: spec.allow_scaling,
            back_off: spec.back_off,
            removed: false,
        };
        let is_new = record.is_none();
        let differs = !stands || record.as_ref() != Some(&now);
        let former = record.as_ref().map(|record| record.revision);
        let former = former.filter(|former| *former > 0).unwrap_or(revision);
        let launches_another = former != revision;
        let index = self.add_service(Service::new(workload(now, revisions)));
        if is_new {
            // Before what it adopts, which would look like what is left of a lost one.
            self.write_service(index);
        }
        self.restore(index, former, stored);
        if launches_another {
            self.end_back_off(index, true);
        }
        // A rollback returns to what was last moved to in full.
        let unfinished = self
            .update_of(&spec.name)
            .and_then(|id| self.deployments.get(&id))
            .filter(|deployment| {
                !deployment.status.is_over()
                    || matches!(deployment.status, DeploymentStatus::Aborted { .. })
            });
        let from = match unfinished.map(|deployment| &deployment.kind) {
            // Back to where it came from: then that is what was moved to.
            Some(DeploymentKind::Update { from, to, .. }) if *from == declared_revision => {
                Some(*to)
            }
            Some(DeploymentKind::Update { from, .. }) => Some(*from),
            _ => record.map(|record| record.revision),
        };
        if let Some(from) = from
            && changed
            && self.runs_another_revision(index)
        {
            self.start_update(spec.name.clone(), from, declared_revision);
        }
        self.end_update_to_another(&spec.name, declared_revision);
        self.follow_update(&spec.name);
        self.forget_unused_revisions(index);
        // Behind the update: should only a part of this be written, it is decided again.
        if differs {
            if !is_new {
                self.write_service(index);
            }
            self.notice(Notice::WorkloadChanged {
                workload: spec.name,
            });
        }
    }

    /// Whether tasks are launched as what was withdrawn: the last update was to it, and has ended
    /// because something else was declared.
    fn went_astray(&self, record: &WorkloadRecord) -> bool {
        let declared = record.declared_revision();
        let update = self.update_of(&record.name);
        let update = update.and_then(|id| self.deployments.get(&id));
        record.revision != declared && update.is_some_and(|update| {
            // One that cannot be read may have been the last, and may have been rolled back.
            update.status.is_over()
                && !self.unread.may_hide_deployments_after(update.id)
                && matches!(update.kind, DeploymentKind::Update { to, .. } if to == record.revision)
        })
    }

    /// What an update is to must be what is declared: it would go on to launch what was withdrawn.
    fn end_update_to_another(&mut self, name: &WorkloadName, declared: u32) {
        let update = self.update_of(name);
        let update = update.and_then(|id| self.deployments.get(&id));
        if let Some(update) = update
            && !update.status.is_over()
            && matches!(update.kind, DeploymentKind::Update { to, .. } if to != declared)
        {
            self.supersede(name, "it is not what is declared");
        }
    }

    fn runs_another_revision(&self, index: ServiceIndex) -> bool {
        self.service(index).is_some_and(|service| {
            service
                .of_revision
                .iter()
                .any(|(revision, tasks)| *revision != service.state.revision && *tasks > 0)
        })
    }

    /// Marks a stored service that is no longer declared: its tasks are stopped.
    fn undeclare(&mut self, name: &WorkloadName, stored: &mut Stored) {
        let Some(record) = stored.workloads.remove(name) else {
            return;
        };
        let now = WorkloadRecord {
            declared: 0,
            desired: 0,
            removed: true,
            ..record.clone()
        };
        let revisions = stored.revisions.remove(name).unwrap_or_default();
        let changed = record != now;
        let index = self.add_service(Service::new(workload(now, revisions)));
        if changed {
            self.write_service(index);
        }
        self.supersede(name, "its workload is no longer declared");
        self.restore(index, record.revision, stored);
    }

    /// An update is to what is declared. One that is not was written just before a crash, and the
    /// declaration is another now.
    fn end_updates_that_never_began(&mut self) {
        let stray: Vec<_> = self
            .deployments
            .values()
            .filter(|deployment| !deployment.status.is_over())
            .filter_map(|deployment| match &deployment.kind {
                DeploymentKind::Update { workload, to, .. } => Some((workload, *to)),
                DeploymentKind::RollingRestart { .. } => None,
            })
            .filter(|(name, to)| {
                let index = self.service_named(name).ok();
                let service = index.and_then(|index| self.service(index));
                service.is_none_or(|service| service.state.declared_revision != *to)
            })
            .map(|(name, _)| name.clone())
            .collect();
        for name in stray {
            self.supersede(&name, "it is not what is declared");
        }
    }

    fn add_service(&mut self, mut service: Service) -> ServiceIndex {
        let index = self.services.len() as ServiceIndex;
        let needed = self.settings.readiness.contains(&service.state.name);
        service.need_readiness(needed);
        self.by_task_name
            .entry(service.state.task_name.clone())
            .or_default()
            .push(index);
        self.services.push(Some(service));
        index
    }

    /// Gives a service its instances and tasks back, then makes their number right. Tasks of which
    /// nobody knows what they were launched as were launched as `former`.
    fn restore(&mut self, index: ServiceIndex, former: u32, stored: &mut Stored) {
        let Some(name) = self
            .service(index)
            .map(|service| service.state.name.clone())
        else {
            return;
        };
        let tasks = stored.tasks.remove(&name).unwrap_or_default();
        let mut remembered = stored.instances.remove(&name).unwrap_or_default();

        let mut by_number: BTreeMap<u32, Vec<TaskRecord>> = BTreeMap::new();
        for task in tasks {
            by_number.entry(task.number).or_default().push(task);
        }
        for (number, mut tasks) in by_number {
            tasks.sort_by_key(|task| (task.launched_at, task.uuid));
            let retired = tasks.iter().all(is_retired);
            let mut instance = Instance::new(number);
            instance.wanted = !retired;
            if let Some(record) = remembered.remove(&number) {
                recall(&mut instance, record);
            }
            self.restore_instance(index, instance, former, tasks);
        }
        let Some(service) = self.service_mut(index) else {
            return;
        };
        service.started = !service.state.instances.is_empty();
        // Instances without a task come back under the numbers of which something is remembered, then
        // under the lowest that are free.
        let mut vacant = 1;
        while self
            .service(index)
            .is_some_and(|service| service.wanted < service.state.desired)
        {
            let (number, record) = match remembered.pop_first() {
                Some((number, record)) => (number, Some(record)),
                None => (self.next_vacant(index, vacant), None),
            };
            let mut instance = Instance::new(number);
            match record {
                Some(record) => recall(&mut instance, record),
                None => vacant = number + 1,
            }
            self.restore_instance(index, instance, former, Vec::new());
            self.settle(index, number);
        }
        for number in remembered.into_keys() {
            self.out
                .writes
                .push(Write::Delete(Key::Instance(name.clone(), number)));
        }
        let restored: Vec<_> = self
            .service(index)
            .into_iter()
            .flat_map(|service| {
                service
                    .state
                    .instances
                    .iter()
                    .map(|instance| instance.number)
            })
            .collect();
        for number in restored {
            self.settle(index, number);
        }
        self.adjust_count(index);
    }

    fn next_vacant(&self, index: ServiceIndex, from: u32) -> u32 {
        let mut number = from;
        while self
            .service(index)
            .is_some_and(|service| service.state.instances.get(number).is_some())
        {
            number += 1;
        }
        number
    }

    fn restore_instance(
        &mut self,
        index: ServiceIndex,
        mut instance: Instance,
        former: u32,
        records: Vec<TaskRecord>,
    ) {
        instance.inherited = true;
        let number = instance.number;
        let Some(service) = self.service_mut(index) else {
            return;
        };
        service.wanted += u32::from(instance.wanted);
        service.state_mut().instances.insert(instance);
        for record in records {
            self.restore_task(index, number, former, record);
        }
    }

    fn restore_task(&mut self, index: ServiceIndex, number: u32, former: u32, record: TaskRecord) {
        // What another system launched has no revision of ours.
        let revision = match record.revision {
            0 => former,
            revision => revision,
        };
        // Once, so that the next declaration finds it to be of another. Where the record could not
        // be read, nothing is written before Mesos has spoken of the task.
        let rewritten =
            revision != record.revision && !self.unread.contains(&Key::Task(record.id.clone()));
        let uuid = record.uuid;
        let task = Task {
            uuid: record.uuid,
            revision,
            agent: record.agent,
            ports: record.ports,
            state: record.state,
            goal: record.goal,
            healthy: None,
            readiness: None,
            heard_in: UNHEARD,
            launched_at: record.launched_at,
            started_at: record.started_at,
            running_at: record.running_at,
            // Since when a task cannot be reached is not stored: patience begins anew.
            changed_at: match record.state {
                TaskState::Unreachable => self.now,
                _ => record.running_at.unwrap_or(record.launched_at),
            },
            kills_sent: 0,
            kill_again_at: None,
            message: None,
        };
        if let Goal::Replace { deadline, .. } = task.goal {
            self.timers.set(
                deadline,
                Timer::Instance {
                    service: index,
                    number,
                },
            );
        }
        if task.state == TaskState::Unreachable {
            let patience_over = task.changed_at + self.settings.unreachable_after;
            self.timers.set(
                patience_over,
                Timer::Instance {
                    service: index,
                    number,
                },
            );
        }
        if matches!(task.state, TaskState::Launching | TaskState::Staging) {
            let at = task.launched_at + self.settings.launch_deadline;
            self.timers.set(
                at,
                Timer::Launch {
                    service: index,
                    number,
                    run: run_of(task.uuid),
                },
            );
        }
        let agent = task.agent.clone();
        self.edit(index, number, |instance| instance.tasks.push(task));
        if let Some(service) = self.service_mut(index) {
            if !service.state.revisions.contains_key(&revision) {
                service.lost_revisions.insert(revision);
            }
            service.enter_task(&agent, revision);
        }
        if rewritten {
            self.write_task(index, number, uuid);
        }
    }

    /// A task that is recorded under an id which is not the one of its instance and run. What it says
    /// besides its id is not believed; one of another framework is set aside.
    fn misnamed(&mut self, record: TaskRecord) -> Unreadable {
        let id = record.id.clone();
        let framework = &self.settings.framework;
        let reason = if id.parts(framework).is_some() {
            let (workload, number) = (&record.workload, record.number);
            format!("it speaks of a run of {workload}-{number} that has another id")
        } else {
            let reason = format!("by its id it is no task of the framework `{framework}`");
            self.set_aside(record, &reason);
            reason
        };
        Unreadable {
            place: format!("tasks/{id}").into(),
            key: Some(Key::Task(id)),
            reason: reason.into(),
        }
    }

    fn set_rest_aside(&mut self, stored: Stored) {
        for task in stored.tasks.into_values().flatten() {
            self.set_aside(task, "its workload is neither declared nor stored");
        }
    }

    /// A task that is shown and not touched, and why.
    fn set_aside(&mut self, record: TaskRecord, reason: &str) {
        let update = StatusUpdate {
            task: record.id.clone(),
            agent: record.agent.known_id(),
            state: record.state,
            uuid: None,
            reason: None,
            message: Some(reason.to_owned()),
            healthy: None,
        };
        Arc::make_mut(&mut self.unknown_tasks).insert(record.id, update);
    }
}

impl Stored {
    /// The newest revision of a workload of which there is a trace but no template.
    fn newest_lost(&self, name: &WorkloadName) -> Option<u32> {
        let tasks = self.tasks.get(name).into_iter().flatten();
        let run = tasks.map(|task| task.revision).max();
        let lost = self.lost_revisions.get(name);
        run.max(lost.and_then(|lost| lost.last().copied()))
    }
}

/// A workload as it is recorded, without its instances.
fn workload(record: WorkloadRecord, revisions: BTreeMap<u32, Arc<Template>>) -> Workload {
    Workload {
        task_name: record.name.in_task_ids().into(),
        declared_revision: record.declared_revision(),
        name: record.name,
        declared: record.declared,
        desired: record.desired,
        priority: record.priority,
        wait_healthy: record.wait_healthy,
        allow_scaling: record.allow_scaling,
        back_off: record.back_off,
        update: record.update,
        removed: record.removed,
        revision: record.revision,
        needs_readiness: false,
        revisions,
        instances: Instances::default(),
        counts: Counts::default(),
        funnel: None,
        waits_for: None,
    }
}

fn recall(instance: &mut Instance, record: InstanceRecord) {
    instance.failures = record.failures;
    instance.not_before = record.not_before;
    if !record.history.is_empty() {
        instance.history = record.history.into();
    }
}
