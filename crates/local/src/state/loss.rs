//! Agents that are lost, gone, drained or back, and masters that fail over
//! (Mesos `src/master/master.cpp`).

use gantry_mesos::v1::scheduler;
use gantry_mesos::v1::task_status::Reason;
use gantry_mesos::v1::{self, TaskState};
use uuid::Uuid;

use super::agent::Drain;
use super::task::{Place, is_terminal};
use super::timers::Timer;
use super::{Action, AgentKey, FrameworkKey, Link, Reply, State, TaskKey, event};
use crate::wire::End;

impl State {
    /// The TCP connection between master and agent breaks.
    pub(crate) fn agent_disconnects(&mut self, key: AgentKey) {
        if self.agent(key).link != Link::Connected {
            return;
        }
        let epoch = self.relink(key, Link::Disconnected);
        self.rescind_all_of(key);
        self.lose_uncheckpointed(key);
        let timeout = self.options.agent_timeout;
        self.after(timeout, Timer::AgentTimeout { agent: key, epoch });
    }

    fn rescind_all_of(&mut self, key: AgentKey) {
        let offers: Vec<u64> = self.agent(key).offers.iter().copied().collect();
        for offer in offers {
            self.rescind(offer);
        }
    }

    /// Frameworks that do not checkpoint lose their tasks with the connection.
    fn lose_uncheckpointed(&mut self, key: AgentKey) {
        let text = format!("Agent {} disconnected", self.agent(key).hostname);
        for task_key in self.tasks_of(key) {
            let Some(task) = self.tasks.get(&task_key) else {
                continue;
            };
            let framework = task.framework;
            if self
                .frameworks
                .get(&framework)
                .is_some_and(super::Framework::checkpoints)
            {
                continue;
            }
            self.end_by_master(
                task_key,
                TaskState::TaskLost,
                Reason::AgentDisconnected,
                &text,
            );
            self.kill_silently(task_key);
        }
    }

    fn tasks_of(&self, key: AgentKey) -> Vec<TaskKey> {
        self.agent(key).tasks.iter().copied().collect()
    }

    /// The master tells a framework that a task ended; the agent is not asked.
    fn end_by_master(&mut self, key: TaskKey, state: TaskState, reason: Reason, text: &str) {
        let Some(task) = self.tasks.get(&key) else {
            return;
        };
        if task.place != Place::Active {
            return;
        }
        let framework = task.framework;
        let agent = self.agent(task.agent).id.clone();
        let id = std::sync::Arc::clone(&task.id);
        let ended = is_terminal(task.visible);
        let state = if ended { task.visible } else { state };
        let status = self.master_status(&id, Some(&agent), state, reason, text);
        self.announce_update(framework, status.clone(), state);
        self.deliver(framework, status);
        if let Some(task) = self.tasks.get_mut(&key) {
            task.visible = state;
        }
    }

    /// Removes a task and whatever runs for it, without a word to the framework.
    fn kill_silently(&mut self, key: TaskKey) {
        let Some(task) = self.tasks.get_mut(&key) else {
            return;
        };
        if !is_terminal(task.latest) {
            task.latest = TaskState::TaskKilled;
        }
        if !is_terminal(task.visible) {
            task.visible = task.latest;
        }
        self.actions.push(Action::Cancel { task: key });
        self.complete_task(key);
    }

    /// The tasks of a framework that is being removed.
    pub(super) fn forget_framework_tasks(&mut self, key: FrameworkKey) {
        let tasks: Vec<TaskKey> = self
            .tasks
            .iter()
            .filter(|(_, t)| t.framework == key)
            .map(|(k, _)| *k)
            .collect();
        for task in tasks {
            self.kill_silently(task);
        }
    }

    /// The master gives an agent up.
    pub(crate) fn agent_unreachable(&mut self, key: AgentKey) {
        if !self.agent(key).is_registered() {
            return;
        }
        let since = self.unix();
        self.lose_uncheckpointed(key);
        self.relink(key, Link::Unreachable { since });
        for task_key in self.tasks_of(key) {
            let Some(task) = self.tasks.get_mut(&task_key) else {
                continue;
            };
            if task.place != Place::Active {
                continue;
            }
            task.kill_on_return = false;
            let (framework, id) = (task.framework, std::sync::Arc::clone(&task.id));
            if is_terminal(task.visible) {
                continue;
            }
            task.place = Place::Unreachable;
            let state = self.or_lost(framework, TaskState::TaskUnreachable);
            if let Some(task) = self.tasks.get_mut(&task_key) {
                task.visible = state;
            }
            if let Some(framework) = self.frameworks.get_mut(&framework) {
                framework.tasks.remove(&id);
                framework
                    .unreachable
                    .insert(std::sync::Arc::clone(&id), task_key);
            }
            let agent = self.agent(key).id.clone();
            let text = "health check timed out";
            let mut status =
                self.master_status(&id, Some(&agent), state, Reason::AgentRemoved, text);
            status.unreachable_time = Some(super::time_info(since));
            self.announce_update(framework, status.clone(), state);
            self.deliver(framework, status);
        }
        self.rescind_all_of(key);
        self.agent_failure(key);
    }

    /// FAILURE with the agent only goes to every framework.
    fn agent_failure(&mut self, key: AgentKey) {
        let failure = scheduler::Event {
            failure: Some(scheduler::event::Failure {
                agent_id: Some(v1::AgentId {
                    value: self.agent(key).id.clone(),
                }),
                executor_id: None,
                status: None,
            }),
            ..event(scheduler::event::Type::Failure)
        };
        for framework in self.frameworks.keys() {
            self.send(*framework, &failure);
        }
    }

    /// An agent is connected again: after a break, after it was unreachable, or after a failover.
    pub(crate) fn agent_returns(&mut self, key: AgentKey) {
        let before = self.agent(key).link;
        if matches!(before, Link::Connected | Link::Gone | Link::Removed) {
            return;
        }
        self.relink(key, Link::Connected);
        let unix = self.unix();
        self.agent_mut(key).reregistered = Some(unix);
        let mut kills = Vec::new();
        for task_key in self.tasks_of(key) {
            let Some(task) = self.tasks.get_mut(&task_key) else {
                continue;
            };
            if std::mem::take(&mut task.kill_on_return) {
                kills.push(task_key);
            }
            task.visible = task.latest;
            let (framework, id, place) =
                (task.framework, std::sync::Arc::clone(&task.id), task.place);
            task.place = Place::Active;
            let Some(owner) = self.frameworks.get_mut(&framework) else {
                continue;
            };
            owner.unreachable.remove(&id);
            owner.tasks.insert(id, task_key);
            self.free_if_ended(task_key);
            if place == Place::Unreachable
                && let Some(task) = self.tasks.get(&task_key)
            {
                let status = self.reregistered_status(task);
                self.deliver(framework, status);
            }
        }
        self.resend_of_agent(key);
        for task in kills {
            self.kill_task(task, None, None);
        }
        self.candidates.insert(key);
        self.allocate();
    }

    fn reregistered_status(&self, task: &super::Task) -> v1::TaskStatus {
        let text = "Unreachable agent re-reregistered";
        let agent = &self.agents[task.agent.index()].id;
        let mut status = self.master_status(
            &task.id,
            Some(agent),
            task.visible,
            Reason::AgentReregistered,
            text,
        );
        if let Some(last) = task.seen.last() {
            let seen = self.render(task, last);
            status.healthy = seen.healthy;
            status.check_status = seen.check_status;
            status.container_status = seen.container_status;
            status.executor_id = seen.executor_id;
        }
        status
    }

    /// MARK_AGENT_GONE.
    pub(crate) fn mark_agent_gone(&mut self, id: &str) -> Reply {
        let Some(key) = self.agent_by_id(id) else {
            return Reply::new(404, "");
        };
        match self.agent(key).link {
            Link::Gone => return Reply::ok(),
            Link::Removed => return Reply::new(404, ""),
            _ => {}
        }
        self.remove_agent(key, Link::Gone, "Agent has been marked gone");
        Reply::ok()
    }

    /// A clean shutdown of the agent (SIGUSR1).
    pub(crate) fn agent_shuts_down(&mut self, key: AgentKey) {
        if self.agent(key).is_registered() {
            let text = format!(
                "Agent {} removed: Agent unregistered",
                self.agent(key).hostname
            );
            self.remove_agent(key, Link::Removed, &text);
            self.announce_agent_removed(key);
        }
    }

    fn remove_agent(&mut self, key: AgentKey, link: Link, text: &str) {
        self.relink(key, link);
        for task_key in self.tasks_of(key) {
            let Some(task) = self.tasks.get(&task_key) else {
                continue;
            };
            let gone = link == Link::Gone;
            let aware = self
                .frameworks
                .get(&task.framework)
                .is_some_and(super::Framework::is_partition_aware);
            let (state, reason) = if gone && aware {
                (
                    TaskState::TaskGoneByOperator,
                    Reason::AgentRemovedByOperator,
                )
            } else {
                (TaskState::TaskLost, Reason::AgentRemoved)
            };
            self.end_by_master(task_key, state, reason, text);
            self.kill_silently(task_key);
        }
        let executors: Vec<_> = self.agent(key).executors.iter().copied().collect();
        for executor in executors {
            self.destroy_executor(executor);
        }
        self.rescind_all_of(key);
        self.agent_failure(key);
    }

    /// The agent's process dies and is back after `away`: executors lose their streams, the
    /// tasks live on.
    pub(crate) fn restart_agent(&mut self, key: AgentKey, away: std::time::Duration) {
        self.agent_disconnects(key);
        let agent = self.agent_mut(key);
        agent.restarts += 1;
        agent.recovering = true;
        let (epoch, restarts) = (agent.epoch, agent.restarts);
        let executors: Vec<_> = agent.executors.iter().copied().collect();
        let window = self.options.executor_reregistration_timeout;
        for executor_key in executors {
            let Some(executor) = self.executors.get_mut(&executor_key) else {
                continue;
            };
            if executor.is_pod() {
                continue;
            }
            if let Some(outbox) = executor.outbox.take() {
                outbox.end(End::Abort);
            }
            let due = away + window;
            let timer = Timer::ExecutorReregistration {
                executor: executor_key,
                restart: restarts,
            };
            self.after(due, timer);
        }
        self.after(away, Timer::AgentRecovered { agent: key });
        self.after(away + window, Timer::AgentReturns { agent: key, epoch });
    }

    /// Executors may subscribe again.
    pub(crate) fn agent_recovered(&mut self, key: AgentKey) {
        self.agent_mut(key).recovering = false;
    }

    /// Another master is elected: every subscription is cut, and the agents come back
    /// after `recovery`.
    pub(crate) fn master_failover(
        &mut self,
        address: std::net::SocketAddr,
        recovery: std::time::Duration,
    ) {
        self.address = address;
        self.master_id = Uuid::from_bytes(self.uuid()).to_string();
        self.elected = self.unix();
        let offers: Vec<u64> = self.offers.keys().copied().collect();
        for offer in offers {
            self.withdraw_offer(offer);
        }
        for operator in self.operators.drain(..) {
            operator.end(End::Abort);
        }
        self.completed_frameworks.clear();
        for framework in self.frameworks.values_mut() {
            if let Some(stream) = framework.stream.take() {
                stream.outbox.end(End::Abort);
            }
            // The new master knows a framework only from the agents that return, and
            // has no failover timeout for it.
            framework.subscriptions += 1;
            framework.recovered = true;
            framework.filters.clear();
            framework.tasks.clear();
            framework.unreachable.clear();
            framework.completed.clear();
        }
        for task in self.tasks.values_mut() {
            task.place = Place::AgentOnly;
            task.attempts = 0;
        }
        let agents: Vec<AgentKey> = self.agents.iter().map(|a| a.key).collect();
        for key in agents {
            if matches!(self.agent(key).link, Link::Gone | Link::Removed) {
                continue;
            }
            let epoch = self.relink(key, Link::Recovered);
            self.after(recovery, Timer::AgentReturns { agent: key, epoch });
        }
        self.next_framework_number = 0;
        self.next_offer = 0;
    }

    /// DRAIN_AGENT.
    pub(crate) fn drain_agent(&mut self, id: &str, config: v1::DrainConfig) -> Reply {
        let Some(key) = self.agent_by_id(id) else {
            return Reply::bad("Unknown agent");
        };
        if !self.agent(key).is_connected() {
            return Reply::bad("Agent is not connected");
        }
        let started = self.unix();
        let grace = config.max_grace_period.as_ref().map(|d| {
            std::time::Duration::from_nanos(u64::try_from(d.nanoseconds).unwrap_or_default())
        });
        let gone = config.mark_gone();
        self.agent_mut(key).drain = Some(Drain {
            config,
            started,
            done: false,
        });
        self.rescind_all_of(key);
        if gone {
            self.remove_agent(key, Link::Gone, "Agent has been marked gone");
            return Reply::ok();
        }
        for task_key in self.tasks_of(key) {
            if let Some(task) = self.tasks.get_mut(&task_key) {
                task.draining = true;
            }
            self.kill_task(task_key, grace, None);
        }
        self.drain_progress(key);
        Reply::ok()
    }

    pub(super) fn drain_progress(&mut self, key: AgentKey) {
        let agent = self.agent_mut(key);
        if agent.tasks.is_empty()
            && let Some(drain) = &mut agent.drain
        {
            drain.done = true;
        }
    }

    /// DEACTIVATE_AGENT and REACTIVATE_AGENT.
    pub(crate) fn activate_agent(&mut self, id: &str, active: bool) -> Reply {
        let Some(key) = self.agent_by_id(id) else {
            return Reply::bad("Unknown agent");
        };
        let agent = self.agent_mut(key);
        if active && agent.drain.as_ref().is_some_and(|d| !d.done) {
            return Reply::bad("Agent is still in the DRAINING state");
        }
        agent.deactivated = !active;
        if active {
            agent.drain = None;
            self.candidates.insert(key);
        } else {
            self.rescind_all_of(key);
        }
        Reply::ok()
    }
}
