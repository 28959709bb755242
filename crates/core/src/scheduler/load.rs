//! Coming back: from what was stored and what is declared to a scheduler that goes on where the
//! last one stopped.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    sync::Arc,
};

use super::{
    Connection, Offers, Scheduler, ServiceIndex, Timer, Timers, services::Service, stopping::run_of,
};
use crate::{
    AgentAddress, AgentId, Counters, Counts, Effects, Goal, IdGenerator, Instance, InstanceRecord,
    Instances, Key, Notice, Record, RevisionRecord, ServiceSpec, Settings, StatusUpdate,
    StopReason, Task, TaskRecord, TaskState, Template, Timestamp, Workload, WorkloadName,
    WorkloadRecord, Write,
};

/// Records sorted by what they belong to.
#[derive(Default)]
struct Stored {
    workloads: BTreeMap<WorkloadName, WorkloadRecord>,
    revisions: BTreeMap<WorkloadName, BTreeMap<u32, Arc<Template>>>,
    instances: BTreeMap<WorkloadName, BTreeMap<u32, InstanceRecord>>,
    tasks: BTreeMap<WorkloadName, Vec<TaskRecord>>,
}

impl Scheduler {
    /// Builds the scheduler from everything that is stored and everything that is declared.
    ///
    /// Declared services that are not stored are new. Stored ones take their new declaration: a
    /// changed template makes a new revision, a changed count replaces the desired one, and one
    /// that is no longer declared is stopped. Tasks are neither stopped nor launched before Mesos
    /// has subscribed us. The effects hold what is to be written of all this.
    ///
    /// `services` must not hold two of the same name; the later would replace the earlier.
    pub fn start(
        now: Timestamp,
        settings: Settings,
        ids: IdGenerator,
        services: Vec<ServiceSpec>,
        records: Vec<Record>,
    ) -> (Self, Effects) {
        let mut scheduler = Self {
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
            rolling: BTreeMap::new(),
            next_deployment: 1,
            audit: VecDeque::new(),
            next_audit: 1,
            unknown_tasks: Arc::new(BTreeMap::new()),
            counters: Counters::default(),
            out: Effects::default(),
        };
        let mut stored = scheduler.sort(records);
        for spec in services {
            let name = spec.name.clone();
            scheduler.declare(spec, &mut stored);
            scheduler.restore(&name, &mut stored);
        }
        for name in stored.workloads.keys().cloned().collect::<Vec<_>>() {
            scheduler.undeclare(&name, &mut stored);
            scheduler.restore(&name, &mut stored);
        }
        for task in std::mem::take(&mut stored.tasks).into_values().flatten() {
            scheduler.set_aside(task);
        }
        let mut effects = std::mem::take(&mut scheduler.out);
        effects.wake_at = scheduler.timers.next();
        (scheduler, effects)
    }

    fn sort(&mut self, records: Vec<Record>) -> Stored {
        let mut stored = Stored::default();
        let mut agents: BTreeMap<AgentId, Arc<AgentAddress>> = BTreeMap::new();
        let mut audit = Vec::new();
        for record in records {
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
                Record::Audit(entry) => {
                    self.next_audit = self.next_audit.max(entry.sequence + 1);
                    audit.push(Arc::new(entry));
                }
            }
        }
        audit.sort_unstable_by_key(|entry| entry.sequence);
        self.audit = audit.into();
        self.offers.agents_seen = agents;
        stored
    }

    /// Adds a declared service, or gives a stored one its new declaration.
    fn declare(&mut self, spec: ServiceSpec, stored: &mut Stored) {
        let record = stored.workloads.remove(&spec.name);
        let mut revisions = stored.revisions.remove(&spec.name).unwrap_or_default();
        let template = Arc::new(spec.template);
        let current = record.as_ref().map_or(0, |record| record.revision);
        let newest = revisions
            .keys()
            .next_back()
            .copied()
            .unwrap_or(0)
            .max(current);
        let unchanged = revisions
            .get(&current)
            .is_some_and(|stored| **stored == *template);
        let revision = if unchanged { current } else { newest + 1 };
        revisions.insert(revision, template.clone());
        if !unchanged {
            self.out
                .writes
                .push(Write::Put(Record::Revision(RevisionRecord {
                    workload: spec.name.clone(),
                    number: revision,
                    created_at: self.now,
                    template: template.clone(),
                })));
        }
        let declared_anew = record.as_ref().is_none_or(|record| {
            record.declared != spec.instances || record.removed || !spec.allow_scaling
        });
        let desired = match &record {
            Some(record) if !declared_anew => record.desired,
            _ => spec.instances,
        };
        self.fixed_ports
            .extend(template.demand.fixed_ports.iter().copied());
        let service = Service::new(Workload {
            task_name: spec.name.in_task_ids().into(),
            name: spec.name.clone(),
            declared: spec.instances,
            desired,
            priority: spec.priority,
            wait_healthy: spec.wait_healthy,
            allow_scaling: spec.allow_scaling,
            back_off: spec.back_off,
            removed: false,
            revision,
            revisions,
            instances: Instances::default(),
            counts: Counts::default(),
            funnel: None,
            waits_for: None,
        });
        let now = service.record();
        if record.map(Record::Workload).as_ref() != Some(&now) {
            self.out.writes.push(Write::Put(now));
            self.out.notices.push(Notice::WorkloadChanged {
                workload: spec.name,
            });
        }
        self.add_service(service);
    }

    /// Marks a stored service that is no longer declared: its tasks are stopped.
    fn undeclare(&mut self, name: &WorkloadName, stored: &mut Stored) {
        let Some(record) = stored.workloads.remove(name) else {
            return;
        };
        let service = Service::new(Workload {
            task_name: record.name.in_task_ids().into(),
            name: record.name.clone(),
            declared: 0,
            desired: 0,
            priority: record.priority,
            wait_healthy: record.wait_healthy,
            allow_scaling: record.allow_scaling,
            back_off: record.back_off,
            removed: true,
            revision: record.revision,
            revisions: stored.revisions.remove(name).unwrap_or_default(),
            instances: Instances::default(),
            counts: Counts::default(),
            funnel: None,
            waits_for: None,
        });
        let now = service.record();
        if Record::Workload(record) != now {
            self.out.writes.push(Write::Put(now));
        }
        self.add_service(service);
    }

    fn add_service(&mut self, service: Service) {
        let index = self.services.len() as ServiceIndex;
        self.by_task_name
            .insert(service.state.task_name.clone(), index);
        self.services.push(Some(service));
    }

    /// Gives a service its instances and tasks back, then makes their number right.
    fn restore(&mut self, name: &WorkloadName, stored: &mut Stored) {
        let Ok(index) = self.service_named(name) else {
            return;
        };
        let tasks = stored.tasks.remove(name).unwrap_or_default();
        let mut remembered = stored.instances.remove(name).unwrap_or_default();

        let mut by_number: BTreeMap<u32, Vec<TaskRecord>> = BTreeMap::new();
        for task in tasks {
            by_number.entry(task.number).or_default().push(task);
        }
        for (number, mut tasks) in by_number {
            tasks.sort_by_key(|task| (task.launched_at, task.uuid));
            let retired = tasks.iter().all(|task| {
                matches!(
                    task.goal,
                    Goal::Stop {
                        reason: StopReason::Retired,
                        ..
                    }
                )
            });
            let mut instance = Instance::new(number);
            instance.wanted = !retired;
            if let Some(record) = remembered.remove(&number) {
                recall(&mut instance, record);
            }
            self.restore_instance(index, instance, tasks);
        }
        let Some(service) = self.service_mut(index) else {
            return;
        };
        service.started = !service.state.instances.is_empty();
        // Instances without a task come back under the lowest free numbers, with what is
        // remembered of those.
        let mut vacant = 1;
        while self
            .service(index)
            .is_some_and(|service| service.wanted < service.state.desired)
        {
            let number = self.next_vacant(index, vacant);
            vacant = number + 1;
            let mut instance = Instance::new(number);
            if let Some(record) = remembered.remove(&number) {
                recall(&mut instance, record);
            }
            self.restore_instance(index, instance, Vec::new());
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
        self.forget_unused_revisions(index);
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
        instance: Instance,
        records: Vec<TaskRecord>,
    ) {
        let number = instance.number;
        let Some(service) = self.service_mut(index) else {
            return;
        };
        service.wanted += u32::from(instance.wanted);
        service.state_mut().instances.insert(instance);
        for record in records {
            self.restore_task(index, number, record);
        }
    }

    fn restore_task(&mut self, index: ServiceIndex, number: u32, record: TaskRecord) {
        let task = Task {
            uuid: record.uuid,
            revision: record.revision,
            agent: record.agent,
            ports: record.ports,
            state: record.state,
            goal: record.goal,
            healthy: None,
            heard_in: u32::MAX, // Of no subscription of ours: unconfirmed.
            launched_at: record.launched_at,
            started_at: record.started_at,
            running_at: record.running_at,
            changed_at: record.running_at.unwrap_or(record.launched_at),
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
        let (agent, revision) = (task.agent.clone(), task.revision);
        self.edit(index, number, |instance| instance.tasks.push(task));
        if let Some(service) = self.service_mut(index) {
            service.enter_task(&agent, revision);
        }
    }

    /// A task whose workload is neither declared nor stored: shown, not touched.
    fn set_aside(&mut self, record: TaskRecord) {
        let update = StatusUpdate {
            task: record.id.clone(),
            agent: Some(record.agent.id.clone()),
            state: record.state,
            uuid: None,
            reason: None,
            message: Some("its workload is neither declared nor stored".to_owned()),
            healthy: None,
        };
        Arc::make_mut(&mut self.unknown_tasks).insert(record.id, update);
    }
}

fn recall(instance: &mut Instance, record: InstanceRecord) {
    instance.failures = record.failures;
    instance.not_before = record.not_before;
    if !record.history.is_empty() {
        instance.history = record.history.into();
    }
}
