//! Status updates: one stream for each task, head of line, repeated until acknowledged.

use gantry_mesos::v1::scheduler::{self, call};
use gantry_mesos::v1::task_status::{Reason, Source};
use gantry_mesos::v1::{self, TaskState, TaskStatus};

use super::task::{Extra, Place, is_terminal};
use super::timers::Timer;
use super::{AgentKey, FrameworkKey, Report, State, Status, TaskKey, event};

impl State {
    /// A state, or TASK_LOST for a framework that is not PARTITION_AWARE.
    pub(super) fn or_lost(&self, key: FrameworkKey, state: TaskState) -> TaskState {
        let aware = self
            .frameworks
            .get(&key)
            .is_some_and(super::Framework::is_partition_aware);
        if aware { state } else { TaskState::TaskLost }
    }

    /// Someone on the agent says something about a task.
    pub(crate) fn report(&mut self, key: TaskKey, report: Report) {
        let uuid = self.uuid();
        let timestamp = self.unix();
        let extra = report.check_status.map(|check| {
            Box::new(Extra {
                check_status: Some(check),
                ..Extra::default()
            })
        });
        self.agent_status(
            key,
            Status {
                state: report.state,
                source: report.source,
                reason: report.reason,
                healthy: report.healthy,
                timestamp,
                uuid: Some(uuid),
                message: report.message.map(String::into_boxed_str),
                extra,
            },
        );
    }

    /// The process of a task has this id.
    pub(crate) fn set_pid(&mut self, key: TaskKey, pid: u32) {
        if let Some(task) = self.tasks.get_mut(&key) {
            task.pid = Some(pid);
        }
    }

    /// Puts a status into the task's stream.
    pub(super) fn agent_status(&mut self, key: TaskKey, mut status: Status) {
        let Some(task) = self.tasks.get_mut(&key) else {
            return;
        };
        if is_terminal(task.latest) {
            return;
        }
        if task.draining
            && status.reason.is_none()
            && matches!(status.state, TaskState::TaskKilling | TaskState::TaskKilled)
        {
            status.reason = Some(Reason::AgentDraining);
        }
        if status.state == TaskState::TaskDropped {
            status.state = self.or_lost_of(key);
        }
        let Some(task) = self.tasks.get_mut(&key) else {
            return;
        };
        if status.source == Source::Executor {
            task.delivered = true;
        }
        task.latest = status.state;
        task.updates.push_back(status);
        let only = task.updates.len() == 1;
        if is_terminal(task.latest) {
            self.task_ended(key);
        }
        if only {
            self.forward(key);
        }
    }

    fn or_lost_of(&self, key: TaskKey) -> TaskState {
        self.tasks
            .get(&key)
            .map_or(TaskState::TaskLost, |t| self.dropped(t.framework))
    }

    /// What the agent does when a task ends: the rest of its pod dies with it, and an
    /// executor that has nothing left to do goes.
    fn task_ended(&mut self, key: TaskKey) {
        let Some(task) = self.tasks.get(&key) else {
            return;
        };
        let Some(executor_key) = task.executor else {
            return;
        };
        let (group, failed) = (task.group, task.latest != TaskState::TaskFinished);
        let Some(executor) = self.executors.get_mut(&executor_key) else {
            return;
        };
        executor.tasks.remove(&key);
        if !executor.is_pod() {
            return;
        }
        let siblings: Vec<TaskKey> = executor.tasks.iter().copied().collect();
        if failed && group.is_some() {
            for sibling in siblings {
                let of_group = self
                    .tasks
                    .get(&sibling)
                    .is_some_and(|t| t.group == group && !t.killing);
                if of_group {
                    self.kill_task(sibling, Some(std::time::Duration::from_secs(3)), None);
                }
            }
        }
    }

    /// Sends the head of a task's stream to the master, and it to the framework.
    pub(super) fn forward(&mut self, key: TaskKey) {
        let Some(task) = self.tasks.get_mut(&key) else {
            return;
        };
        if !self.agents[task.agent.index()].is_connected() {
            return;
        }
        let Some(head) = task.updates.front() else {
            return;
        };
        let head = head.clone();
        task.visible = task.latest;
        task.attempts += 1;
        task.sent = task.sent.wrapping_add(1);
        let (sent, attempts) = (task.sent, task.attempts);
        let new = task.seen.last().is_none_or(|last| last.uuid != head.uuid);
        if new {
            if task
                .seen
                .last()
                .is_some_and(|last| last.state == head.state)
            {
                task.seen.pop();
            }
            task.seen.push(head.clone());
        }
        let known = task.place != Place::AgentOnly;
        let framework = task.framework;
        let factor = 1u32 << (attempts - 1).min(16);
        let delay = self
            .options
            .update_retry_min
            .saturating_mul(factor)
            .min(self.options.update_retry_max);
        self.after(delay, Timer::Resend { task: key, sent });
        if known {
            self.free_if_ended(key);
        }
        let Some(task) = self.tasks.get(&key) else {
            return;
        };
        if new && !self.operators.is_empty() {
            let status = self.render(task, &head);
            self.announce_update(framework, status, task.visible);
        }
        if self
            .frameworks
            .get(&framework)
            .is_some_and(super::Framework::is_connected)
        {
            let status = self.render(task, &head);
            self.deliver(framework, status);
        }
    }

    /// Gives the resources of a task back once the master knows that it ended.
    pub(super) fn free_if_ended(&mut self, key: TaskKey) {
        let Some(task) = self.tasks.get_mut(&key) else {
            return;
        };
        if task.freed || !is_terminal(task.visible) {
            return;
        }
        task.freed = true;
        let agent = task.agent;
        let state = task.visible;
        let resources = task.resources.clone();
        *self.counters.ended.entry(state.as_str_name()).or_default() += 1;
        self.recover(agent, &resources);
    }

    pub(super) fn resend(&mut self, key: TaskKey, sent: u32) {
        if self
            .tasks
            .get(&key)
            .is_some_and(|t| t.sent == sent && !t.updates.is_empty())
        {
            self.forward(key);
        }
    }

    /// Sends every pending head again and restarts its back-off, as agents do when
    /// they hear of a (re)subscription.
    pub(super) fn resend_all(&mut self) {
        let pending: Vec<TaskKey> = self
            .tasks
            .iter()
            .filter(|(_, t)| !t.updates.is_empty())
            .map(|(k, _)| *k)
            .collect();
        self.restart_streams(pending);
    }

    pub(super) fn resend_of_agent(&mut self, agent: AgentKey) {
        let mut pending: Vec<TaskKey> = self.agent(agent).tasks.iter().copied().collect();
        pending.retain(|t| self.tasks.get(t).is_some_and(|t| !t.updates.is_empty()));
        self.restart_streams(pending);
    }

    fn restart_streams(&mut self, mut pending: Vec<TaskKey>) {
        pending.sort_unstable();
        for key in pending {
            if let Some(task) = self.tasks.get_mut(&key) {
                task.attempts = 0;
            }
            self.forward(key);
        }
    }

    pub(super) fn acknowledge(&mut self, key: FrameworkKey, ack: &call::Acknowledge) {
        let Some(agent) = self.agent_by_id(&ack.agent_id.value) else {
            return;
        };
        if !self.agent(agent).is_connected() {
            return;
        }
        let known = self
            .frameworks
            .get(&key)
            .and_then(|f| f.tasks.get(&*ack.task_id.value));
        let Some(&task_key) = known else {
            return;
        };
        let Some(task) = self.tasks.get_mut(&task_key) else {
            return;
        };
        let head_matches = task
            .updates
            .front()
            .is_some_and(|head| head.uuid.is_some_and(|uuid| ack.uuid == uuid));
        if task.agent != agent || !head_matches || task.attempts == 0 {
            return;
        }
        self.counters.acknowledged += 1;
        let ended = task
            .updates
            .pop_front()
            .is_some_and(|head| is_terminal(head.state));
        task.attempts = 0;
        if ended {
            self.complete_task(task_key);
        } else {
            self.forward(task_key);
        }
    }

    /// The end of a task's record: terminal and acknowledged.
    pub(super) fn complete_task(&mut self, key: TaskKey) {
        self.free_if_ended(key);
        let Some(mut task) = self.tasks.remove(&key) else {
            return;
        };
        task.updates.clear();
        self.agent_mut(task.agent).tasks.remove(&key);
        let max = self.options.completed_tasks_max;
        let (agent, executor) = (task.agent, task.executor);
        if let Some(framework) = self.frameworks.get_mut(&task.framework) {
            framework.tasks.remove(&task.id);
            framework.unreachable.remove(&task.id);
            if max > 0 {
                if framework.completed.len() >= max {
                    framework.completed.pop_front();
                }
                framework.completed.push_back(task);
            }
        }
        if let Some(executor) = executor {
            self.executor_loses_record(executor, key);
        }
        self.drain_progress(agent);
    }

    /// An update the master makes itself: no uuid, nothing to acknowledge.
    pub(super) fn master_update(
        &mut self,
        key: FrameworkKey,
        task_id: &str,
        agent_id: Option<&str>,
        state: TaskState,
        reason: Reason,
        message: &str,
    ) {
        let status = self.master_status(task_id, agent_id, state, reason, message);
        self.deliver(key, status);
    }

    pub(super) fn master_status(
        &self,
        task_id: &str,
        agent_id: Option<&str>,
        state: TaskState,
        reason: Reason,
        message: &str,
    ) -> TaskStatus {
        TaskStatus {
            task_id: v1::TaskId {
                value: task_id.to_owned(),
            },
            state: state as i32,
            source: Some(Source::Master as i32),
            reason: Some(reason as i32),
            message: Some(message.to_owned()),
            agent_id: agent_id.map(|id| v1::AgentId {
                value: id.to_owned(),
            }),
            timestamp: Some(self.unix()),
            ..TaskStatus::default()
        }
    }

    /// Sends an update through the faults that are switched on.
    pub(super) fn deliver(&mut self, key: FrameworkKey, status: TaskStatus) {
        if self.faults.drop_updates > 0 {
            self.faults.drop_updates -= 1;
            return;
        }
        if !self.faults.update_delay.is_zero() {
            let delay = self.faults.update_delay;
            self.after(
                delay,
                Timer::Deliver {
                    framework: key,
                    status: Box::new(status),
                },
            );
            return;
        }
        if self.faults.reorder_updates > 0
            && let Some(framework) = self.frameworks.get_mut(&key)
        {
            let Some(earlier) = framework.held_back.take() else {
                framework.held_back = Some(Box::new(status));
                return;
            };
            self.faults.reorder_updates -= 1;
            self.send_update(key, status);
            self.send_update(key, *earlier);
            return;
        }
        if self.faults.duplicate_updates > 0 {
            self.faults.duplicate_updates -= 1;
            self.send_update(key, status.clone());
        }
        self.send_update(key, status);
    }

    pub(super) fn send_update(&mut self, key: FrameworkKey, status: TaskStatus) {
        self.counters.updates_sent += 1;
        self.send(
            key,
            &scheduler::Event {
                update: Some(scheduler::event::Update { status }),
                ..event(scheduler::event::Type::Update)
            },
        );
    }
}
