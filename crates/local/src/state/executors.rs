//! Executors on the agents: the executor API and the life of an executor
//! (Mesos `src/slave/slave.cpp`).

use std::collections::BTreeSet;
use std::sync::Arc;

use gantry_mesos::v1::executor::{Call, Event, call, event};
use gantry_mesos::v1::scheduler;
use gantry_mesos::v1::task_status::{Reason, Source};
use gantry_mesos::v1::{self, ExecutorInfo, TaskState};

use super::task::{Extra, is_terminal};
use super::timers::Timer;
use super::{Action, AgentKey, Bag, FrameworkKey, Reply, Report, State, Status, TaskKey};
use crate::wire::{End, Format, Outbox};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ExecutorKey(u64);

impl ExecutorKey {
    pub(super) fn new(number: u64) -> Self {
        Self(number)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExecutorKind {
    /// A program of the framework that speaks the executor API.
    Custom,
    /// The built-in default executor of a task group; it has no process of its own here.
    Pod,
}

/// Tasks that wait for their executor.
#[derive(Debug)]
pub(super) enum Queued {
    Task(TaskKey),
    Group(Vec<TaskKey>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Registering,
    Running,
    Terminating,
}

#[derive(Debug)]
pub(crate) struct Executor {
    pub(crate) framework: FrameworkKey,
    pub(crate) agent: AgentKey,
    pub(crate) id: String,
    pub(crate) info: ExecutorInfo,
    pub(crate) kind: ExecutorKind,
    pub(crate) container: String,
    pub(crate) resources: Bag,
    pub(crate) stage: Stage,
    pub(crate) pid: Option<u32>,
    pub(crate) outbox: Option<Arc<Outbox>>,
    /// Its live tasks.
    pub(crate) tasks: BTreeSet<TaskKey>,
    /// How many tasks there are records of, the ended but unacknowledged ones included.
    pub(super) records: usize,
    queued: Vec<Queued>,
    /// Whether it ever was given a task.
    used: bool,
    /// Why its tasks fail when it ends, if not because it ended by itself.
    death: Option<Report>,
}

impl Executor {
    pub(super) fn new(
        framework: FrameworkKey,
        agent: AgentKey,
        id: String,
        info: ExecutorInfo,
        kind: ExecutorKind,
        container: String,
        resources: Bag,
    ) -> Self {
        Self {
            framework,
            agent,
            id,
            info,
            kind,
            container,
            resources,
            stage: if kind == ExecutorKind::Pod {
                Stage::Running
            } else {
                Stage::Registering
            },
            pid: None,
            outbox: None,
            tasks: BTreeSet::new(),
            records: 0,
            queued: Vec::new(),
            used: false,
            death: None,
        }
    }

    pub(crate) fn is_pod(&self) -> bool {
        self.kind == ExecutorKind::Pod
    }
}

/// Mesos `src/slave/validation.cpp: executor::call::validate`.
pub(crate) fn validate(call: &Call) -> Result<call::Type, String> {
    let kind = call.r#type.and_then(|t| call::Type::try_from(t).ok());
    let Some(kind) = kind else {
        return Err("Expecting 'type' to be present".into());
    };
    match kind {
        call::Type::Subscribe if call.subscribe.is_none() => {
            Err("Expecting 'subscribe' to be present".into())
        }
        call::Type::Message if call.message.is_none() => {
            Err("Expecting 'message' to be present".into())
        }
        call::Type::Update => {
            let Some(update) = &call.update else {
                return Err("Expecting 'update' to be present".into());
            };
            let status = &update.status;
            let Some(uuid) = &status.uuid else {
                return Err("Expecting 'uuid' to be present".into());
            };
            if !super::calls::is_uuid(uuid) {
                return Err("Not a valid UUID".into());
            }
            let (executor, framework) = (&call.executor_id.value, &call.framework_id.value);
            if let Some(inner) = &status.executor_id
                && inner.value != *executor
            {
                return Err(format!(
                    "ExecutorID in Call: {executor} does not match ExecutorID in TaskStatus: {}",
                    inner.value
                ));
            }
            if status.source != Some(Source::Executor as i32) {
                return Err(format!(
                    "Received Call from executor {executor} of framework {framework} with invalid source, \
                     expecting 'SOURCE_EXECUTOR'"
                ));
            }
            if status.state == TaskState::TaskStaging as i32 {
                return Err(format!(
                    "Received TASK_STAGING from executor {executor} of framework {framework} which is not allowed"
                ));
            }
            Ok(kind)
        }
        _ => Ok(kind),
    }
}

fn executor_event(r#type: event::Type) -> Event {
    Event {
        r#type: Some(r#type as i32),
        ..Event::default()
    }
}

impl State {
    fn executor_of_call(&self, agent: AgentKey, call: &Call) -> Result<ExecutorKey, Reply> {
        let Some(&framework) = self.framework_ids.get(&*call.framework_id.value) else {
            return Err(Reply::bad("Framework cannot be found"));
        };
        let on_agent = |e: &&ExecutorKey| {
            self.executors
                .get(e)
                .is_some_and(|e| e.framework == framework)
        };
        if !self.agent(agent).executors.iter().any(|e| on_agent(&e)) {
            return Err(Reply::bad("Framework cannot be found"));
        }
        self.find_executor(framework, agent, &call.executor_id.value)
            .ok_or_else(|| Reply::bad("Executor cannot be found"))
    }

    /// SUBSCRIBE of an executor.
    pub(crate) fn executor_subscribe(
        &mut self,
        agent: AgentKey,
        call: Call,
        format: Format,
    ) -> Result<(ExecutorKey, Arc<Outbox>), Reply> {
        let key = self.executor_of_call(agent, &call)?;
        let outbox = Outbox::new(format, self.options.stream_bytes_max);
        let subscribe = call.subscribe.unwrap_or_default();
        let Some(executor) = self.executors.get_mut(&key) else {
            return Err(Reply::bad("Executor cannot be found"));
        };
        if executor.stage == Stage::Terminating {
            outbox.send(&executor_event(event::Type::Shutdown));
            outbox.end(End::Clean);
            return Ok((key, outbox));
        }
        if let Some(old) = executor.outbox.replace(Arc::clone(&outbox)) {
            old.end(End::Clean);
        }
        executor.stage = Stage::Running;
        let (queued, used) = (std::mem::take(&mut executor.queued), executor.used);
        if queued.is_empty() && !used {
            // Its tasks were killed before it came.
            outbox.send(&executor_event(event::Type::Shutdown));
            executor.stage = Stage::Terminating;
            outbox.end(End::Clean);
            return Ok((key, outbox));
        }
        executor.used = true;
        let framework = executor.framework;
        let delivered: Vec<TaskKey> = executor.tasks.iter().copied().collect();
        outbox.send(&Event {
            subscribed: Some(event::Subscribed {
                executor_info: executor.info.clone(),
                framework_info: self
                    .frameworks
                    .get(&framework)
                    .map(|f| f.info.clone())
                    .unwrap_or_default(),
                agent_info: self.agents[agent.index()].info(),
                container_id: Some(v1::ContainerId {
                    value: executor.container.clone(),
                    parent: None,
                }),
            }),
            ..executor_event(event::Type::Subscribed)
        });
        for update in subscribe.unacknowledged_updates {
            self.executor_update(key, update.status);
        }
        let listed = |id: &str| {
            subscribe
                .unacknowledged_tasks
                .iter()
                .any(|t| t.task_id.value == id)
        };
        for task_key in delivered {
            let dropped = self.tasks.get(&task_key).is_some_and(|t| {
                t.delivered && t.latest == TaskState::TaskStaging && !listed(&t.id)
            });
            if dropped {
                let report = Report::agent(
                    TaskState::TaskDropped,
                    Reason::AgentRestarted,
                    "Task launched during agent restart",
                );
                self.report(task_key, report);
            }
        }
        for queued in queued {
            self.deliver_to_executor(key, queued);
        }
        Ok((key, outbox))
    }

    /// The other calls of an executor.
    pub(crate) fn executor_call(&mut self, agent: AgentKey, kind: call::Type, call: Call) -> Reply {
        let key = match self.executor_of_call(agent, &call) {
            Ok(key) => key,
            Err(reply) => return reply,
        };
        let Some(executor) = self.executors.get(&key) else {
            return Reply::bad("Executor cannot be found");
        };
        if executor.outbox.is_none() {
            return Reply::new(403, "Executor is not subscribed");
        }
        match (kind, call.update, call.message) {
            (call::Type::Update, Some(update), _) => self.executor_update(key, update.status),
            (call::Type::Message, _, Some(message)) => {
                let (framework, id) = (executor.framework, executor.id.clone());
                self.message_to_scheduler(framework, agent, &id, message.data);
            }
            (call::Type::Unknown, _, _) => return Reply::new(501, ""),
            _ => {}
        }
        Reply::accepted()
    }

    /// The connection of an executor's stream is gone; what counts is its process.
    pub(crate) fn executor_stream_closed(&mut self, key: ExecutorKey, outbox: &Arc<Outbox>) {
        if let Some(executor) = self.executors.get_mut(&key)
            && executor
                .outbox
                .as_ref()
                .is_some_and(|o| Arc::ptr_eq(o, outbox))
        {
            executor.outbox = None;
        }
    }

    fn executor_update(&mut self, key: ExecutorKey, status: v1::TaskStatus) {
        let Some(executor) = self.executors.get(&key) else {
            return;
        };
        let agent = executor.agent;
        if status
            .agent_id
            .as_ref()
            .is_some_and(|id| id.value != self.agent(agent).id)
        {
            return;
        }
        let Ok(uuid) = <[u8; 16]>::try_from(status.uuid.as_deref().unwrap_or_default()) else {
            return;
        };
        let Ok(state) = TaskState::try_from(status.state) else {
            return;
        };
        let framework = executor.framework;
        let known = self
            .frameworks
            .get(&framework)
            .and_then(|f| f.tasks.get(&*status.task_id.value));
        let task = known.copied().filter(|t| {
            self.tasks
                .get(t)
                .is_some_and(|t| t.executor == Some(key) && t.agent == agent)
        });
        let ended = task
            .and_then(|t| self.tasks.get(&t))
            .is_some_and(|t| is_terminal(t.latest));
        let again = task.and_then(|t| self.tasks.get(&t)).is_some_and(|t| {
            t.updates
                .iter()
                .chain(&t.seen)
                .any(|s| s.uuid == Some(uuid))
        });
        let Some(task) = task.filter(|_| !ended || again) else {
            // Unknown to the agent, or a second end: passed on, never acknowledged.
            let mut status = status;
            status.agent_id = Some(v1::AgentId {
                value: self.agent(agent).id.clone(),
            });
            status.executor_id = Some(v1::ExecutorId {
                value: executor.id.clone(),
            });
            status.timestamp = status.timestamp.or_else(|| Some(self.unix()));
            if self.agent(agent).is_connected() {
                self.deliver(framework, status);
            }
            return;
        };
        if let Some(outbox) = &executor.outbox {
            outbox.send(&Event {
                acknowledged: Some(event::Acknowledged {
                    task_id: status.task_id.clone(),
                    uuid: uuid.to_vec(),
                }),
                ..executor_event(event::Type::Acknowledged)
            });
        }
        if again {
            return;
        }
        let reason = status.reason.and_then(|r| Reason::try_from(r).ok());
        let timestamp = status.timestamp.unwrap_or_else(|| self.unix());
        let extra = Extra {
            check_status: status.check_status,
            data: status.data,
            labels: status.labels,
            container_status: status.container_status,
        };
        let has_extra = extra.check_status.is_some()
            || extra.data.is_some()
            || extra.labels.is_some()
            || extra.container_status.is_some();
        self.agent_status(
            task,
            Status {
                state,
                source: Source::Executor,
                reason,
                healthy: status.healthy,
                timestamp,
                uuid: Some(uuid),
                message: status.message.map(String::into_boxed_str),
                extra: has_extra.then(|| Box::new(extra)),
            },
        );
    }

    pub(super) fn queue_for_executor(&mut self, key: ExecutorKey, queued: Queued) {
        let Some(executor) = self.executors.get_mut(&key) else {
            return;
        };
        match executor.stage {
            Stage::Registering => executor.queued.push(queued),
            Stage::Running => self.deliver_to_executor(key, queued),
            Stage::Terminating => {
                let tasks = match queued {
                    Queued::Task(task) => vec![task],
                    Queued::Group(tasks) => tasks,
                };
                for task in tasks {
                    let report = Report::agent(
                        TaskState::TaskDropped,
                        Reason::ExecutorTerminated,
                        "Executor terminating/terminated",
                    );
                    self.report(task, report);
                }
            }
        }
    }

    fn deliver_to_executor(&mut self, key: ExecutorKey, queued: Queued) {
        let mut infos = Vec::new();
        let tasks = match &queued {
            Queued::Task(task) => std::slice::from_ref(task),
            Queued::Group(tasks) => tasks.as_slice(),
        };
        for task in tasks {
            if let Some(task) = self.tasks.get_mut(task) {
                task.delivered = true;
                infos.push(task.info());
            }
        }
        let Some(executor) = self.executors.get(&key) else {
            return;
        };
        let Some(outbox) = &executor.outbox else {
            return;
        };
        match queued {
            Queued::Group(_) => outbox.send(&Event {
                launch_group: Some(event::LaunchGroup {
                    task_group: v1::TaskGroupInfo { tasks: infos },
                }),
                ..executor_event(event::Type::LaunchGroup)
            }),
            Queued::Task(_) => {
                for task in infos {
                    outbox.send(&Event {
                        launch: Some(event::Launch { task }),
                        ..executor_event(event::Type::Launch)
                    });
                }
            }
        }
    }

    /// A kill that came before the task was started or handed to its executor.
    pub(super) fn kill_undelivered(&mut self, key: TaskKey) {
        let Some(task) = self.tasks.get(&key) else {
            return;
        };
        let (executor, group) = (task.executor, task.group);
        let mut victims = vec![key];
        if let Some(executor) = executor.and_then(|e| self.executors.get_mut(&e)) {
            executor.queued.retain(|q| match q {
                Queued::Task(task) => *task != key,
                Queued::Group(tasks) => !tasks.contains(&key),
            });
            if group.is_some() {
                victims = executor.tasks.iter().copied().collect();
                victims.retain(|t| {
                    self.tasks
                        .get(t)
                        .is_some_and(|t| t.group == group && !t.delivered)
                });
            }
        }
        let text = if victims.len() > 1 {
            "A task within the task group was killed before delivery to the executor"
        } else {
            "Killed before delivery to the executor"
        };
        for victim in victims {
            self.actions.push(Action::Cancel { task: victim });
            let report = Report::agent(TaskState::TaskKilled, Reason::TaskKilledDuringLaunch, text);
            self.report(victim, report);
        }
    }

    /// Asks an executor to go; SIGKILL follows.
    pub(super) fn shutdown_executor(&mut self, key: ExecutorKey) {
        let grace_default = self.options.executor_shutdown_grace;
        let Some(executor) = self.executors.get_mut(&key) else {
            return;
        };
        if executor.stage == Stage::Terminating {
            return;
        }
        let was_running = executor.stage == Stage::Running;
        let tasks: Vec<TaskKey> = executor.tasks.iter().copied().collect();
        if executor.is_pod() {
            for task in tasks {
                self.kill_task(task, Some(std::time::Duration::ZERO), None);
            }
            return;
        }
        executor.stage = Stage::Terminating;
        let grace = executor
            .info
            .shutdown_grace_period
            .as_ref()
            .and_then(|d| u64::try_from(d.nanoseconds).ok())
            .map_or(grace_default, std::time::Duration::from_nanos);
        if let Some(outbox) = &executor.outbox {
            outbox.send(&executor_event(event::Type::Shutdown));
        }
        if was_running {
            self.after(grace, Timer::ExecutorGrace { executor: key });
        } else {
            self.destroy_executor(key);
        }
    }

    pub(super) fn destroy_executor(&mut self, key: ExecutorKey) {
        if self.executors.contains_key(&key) {
            self.actions.push(Action::DestroyExecutor { executor: key });
        }
    }

    pub(super) fn executor_registration_due(&mut self, key: ExecutorKey) {
        let timeout = duration_text(self.options.executor_registration_timeout);
        if let Some(executor) = self.executors.get_mut(&key)
            && executor.stage == Stage::Registering
        {
            executor.stage = Stage::Terminating;
            executor.death = Some(Report::agent(
                TaskState::TaskFailed,
                Reason::ExecutorRegistrationTimeout,
                format!("Executor did not register within {timeout}"),
            ));
            self.destroy_executor(key);
        }
    }

    pub(super) fn executor_reregistration_due(&mut self, key: ExecutorKey, restart: u64) {
        let timeout = duration_text(self.options.executor_reregistration_timeout);
        let Some(executor) = self.executors.get(&key) else {
            return;
        };
        let state = self.or_lost(executor.framework, TaskState::TaskGone);
        let same = self.agents[executor.agent.index()].restarts == restart;
        if let Some(executor) = self.executors.get_mut(&key)
            && executor.outbox.is_none()
            && same
        {
            executor.stage = Stage::Terminating;
            executor.death = Some(Report::agent(
                state,
                Reason::ExecutorReregistrationTimeout,
                format!("Executor did not reregister within {timeout}"),
            ));
            self.destroy_executor(key);
        }
    }

    /// The process of an executor could not even be started.
    pub(crate) fn executor_failed(&mut self, key: ExecutorKey, report: Report) {
        if let Some(executor) = self.executors.get_mut(&key) {
            executor.death = Some(report);
        }
        self.executor_exited(key, None);
    }

    pub(crate) fn set_executor_pid(&mut self, key: ExecutorKey, pid: u32) {
        if let Some(executor) = self.executors.get_mut(&key) {
            executor.pid = Some(pid);
        }
    }

    /// The process of an executor ended, with this raw wait status.
    pub(crate) fn executor_exited(&mut self, key: ExecutorKey, status: Option<i32>) {
        let Some(executor) = self.executors.get_mut(&key) else {
            return;
        };
        if let Some(outbox) = executor.outbox.take() {
            outbox.end(End::Clean);
        }
        let (framework, agent) = (executor.framework, executor.agent);
        let (id, resources) = (executor.id.clone(), executor.resources.clone());
        let tasks: Vec<TaskKey> = executor.tasks.iter().copied().collect();
        let death = executor.death.clone().unwrap_or_else(|| {
            Report::agent(
                TaskState::TaskFailed,
                Reason::ExecutorTerminated,
                "Executor terminated",
            )
        });
        // Statuses name their executor, so it is kept until its tasks are acknowledged.
        let unfinished = executor.records > 0;
        self.agent_mut(agent).executors.remove(&key);
        if self.agent(agent).is_connected() {
            self.send(
                framework,
                &scheduler::Event {
                    failure: Some(scheduler::event::Failure {
                        agent_id: Some(v1::AgentId {
                            value: self.agent(agent).id.clone(),
                        }),
                        executor_id: Some(v1::ExecutorId { value: id }),
                        status: Some(status.unwrap_or(-1)),
                    }),
                    ..super::event(scheduler::event::Type::Failure)
                },
            );
        }
        self.recover(agent, &resources);
        for task in tasks {
            self.report(task, death.clone());
        }
        if !unfinished {
            self.executors.remove(&key);
        }
    }

    /// The record of a task of this executor is gone. A pod's executor exits with the last
    /// one; an executor that ended before was kept only because statuses name it.
    pub(super) fn executor_loses_record(&mut self, key: ExecutorKey, task: TaskKey) {
        let Some(executor) = self.executors.get_mut(&key) else {
            return;
        };
        executor.tasks.remove(&task);
        executor.records = executor.records.saturating_sub(1);
        if executor.records > 0 {
            return;
        }
        let is_pod = executor.is_pod();
        if !self.agents[executor.agent.index()].executors.contains(&key) {
            self.executors.remove(&key);
        } else if is_pod {
            self.executor_exited(key, Some(0));
        }
    }
}

/// A duration in the text form of Mesos, e.g. `15mins`.
pub(crate) fn duration_text(duration: std::time::Duration) -> String {
    let nanos = duration.as_nanos();
    for (unit, name) in [
        (604_800_000_000_000, "weeks"),
        (86_400_000_000_000, "days"),
        (3_600_000_000_000, "hrs"),
        (60_000_000_000, "mins"),
        (1_000_000_000, "secs"),
        (1_000_000, "ms"),
        (1_000, "us"),
    ] {
        if nanos >= unit && nanos.is_multiple_of(unit) {
            return format!("{}{name}", nanos / unit);
        }
    }
    if nanos >= 1_000_000_000 {
        return format!("{}secs", duration.as_secs_f64());
    }
    format!("{nanos}ns")
}
