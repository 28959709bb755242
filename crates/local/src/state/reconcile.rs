//! Reconciliation: answers about tasks (Mesos `src/master/master.cpp: reconcile`).

use gantry_mesos::v1::scheduler::call;
use gantry_mesos::v1::task_status::{Reason, Source};
use gantry_mesos::v1::{TaskState, TaskStatus};

use super::{FrameworkKey, Link, State, Task, TaskKey, time_info};

impl State {
    pub(super) fn reconcile(&mut self, key: FrameworkKey, reconcile: &call::Reconcile) {
        if !reconcile.tasks.is_empty() {
            for task in &reconcile.tasks {
                self.reconcile_task(key, task);
            }
            return;
        }
        let mut known: Vec<TaskKey> = self
            .frameworks
            .get(&key)
            .map(|f| f.tasks.values().copied().collect())
            .unwrap_or_default();
        known.sort_unstable();
        for task in known {
            self.answer_known(key, task);
        }
    }

    fn answer_known(&mut self, key: FrameworkKey, task: TaskKey) {
        if let Some(task) = self.tasks.get(&task) {
            let status = self.latest_forwarded(task);
            self.deliver(key, status);
        }
    }

    /// The state of the last update the master forwarded, as a status of its own.
    fn latest_forwarded(&self, task: &Task) -> TaskStatus {
        let message = "Reconciliation: Latest task state";
        let agent = &self.agents[task.agent.index()].id;
        let mut out = self.master_status(
            &task.id,
            Some(agent),
            task.visible,
            Reason::Reconciliation,
            message,
        );
        if let Some(last) = task.seen.last() {
            let seen = self.render(task, last);
            out.state = seen.state;
            out.healthy = seen.healthy;
            out.check_status = seen.check_status;
            out.container_status = seen.container_status;
            out.executor_id = seen.executor_id;
        }
        out
    }

    /// One task of an explicit reconciliation; also how a KILL of an unknown task is answered.
    pub(super) fn reconcile_task(&mut self, key: FrameworkKey, asked: &call::reconcile::Task) {
        let id = &*asked.task_id.value;
        let Some(framework) = self.frameworks.get(&key) else {
            return;
        };
        if let Some(&task) = framework.tasks.get(id) {
            self.answer_known(key, task);
            return;
        }
        let agent_id = asked.agent_id.as_ref().map(|id| &*id.value);
        let agent = agent_id
            .and_then(|id| self.agent_by_id(id))
            .map(|key| self.agent(key));
        let mut unreachable_since = None;
        let (state, message) = match agent.map(|a| a.link) {
            Some(Link::Recovered) => return,
            None if agent_id.is_none() && self.agents.iter().any(|a| a.link == Link::Recovered) => {
                return;
            }
            Some(Link::Connected | Link::Disconnected) => (
                TaskState::TaskGone,
                "Reconciliation: Task is unknown to the agent",
            ),
            Some(Link::Unreachable { since }) => {
                unreachable_since = Some(since);
                (
                    TaskState::TaskUnreachable,
                    "Reconciliation: Task is unreachable",
                )
            }
            Some(Link::Gone) => (
                TaskState::TaskGoneByOperator,
                "Reconciliation: Task is gone",
            ),
            Some(Link::Removed) | None => {
                (TaskState::TaskUnknown, "Reconciliation: Task is unknown")
            }
        };
        let state = self.or_lost(key, state);
        let mut status = self.master_status(id, agent_id, state, Reason::Reconciliation, message);
        status.source = Some(Source::Master as i32);
        status.unreachable_time = unreachable_since.map(time_info);
        self.deliver(key, status);
    }
}
