//! A task and the statuses of its life.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use gantry_mesos::v1::task_status::{Reason, Source};
use gantry_mesos::v1::{self, TaskInfo, TaskState, TaskStatus};
use prost::Message as _;

use super::{AgentKey, Bag, ExecutorKey, FrameworkKey, State};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TaskKey(pub(super) u64);

/// Whether a task has ended for good.
pub(crate) fn is_terminal(state: TaskState) -> bool {
    matches!(
        state,
        TaskState::TaskFinished
            | TaskState::TaskFailed
            | TaskState::TaskKilled
            | TaskState::TaskError
            | TaskState::TaskLost
            | TaskState::TaskDropped
            | TaskState::TaskGone
            | TaskState::TaskGoneByOperator
    )
}

/// What someone on the agent says about a task.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) state: TaskState,
    pub(crate) source: Source,
    pub(crate) reason: Option<Reason>,
    pub(crate) message: Option<String>,
    pub(crate) healthy: Option<bool>,
    pub(crate) check_status: Option<v1::CheckStatusInfo>,
}

impl Report {
    /// As the executor says it.
    pub(crate) fn executor(state: TaskState) -> Self {
        Self {
            state,
            source: Source::Executor,
            reason: None,
            message: None,
            healthy: None,
            check_status: None,
        }
    }

    /// As the agent says it.
    pub(crate) fn agent(state: TaskState, reason: Reason, message: impl Into<String>) -> Self {
        Self {
            source: Source::Agent,
            reason: Some(reason),
            message: Some(message.into()),
            ..Self::executor(state)
        }
    }
}

/// A status as it is kept: without what follows from the task.
#[derive(Clone, Debug)]
pub(crate) struct Status {
    pub(crate) state: TaskState,
    pub(crate) source: Source,
    pub(crate) reason: Option<Reason>,
    pub(crate) healthy: Option<bool>,
    pub(crate) timestamp: f64,
    pub(crate) uuid: Option<[u8; 16]>,
    pub(crate) message: Option<Box<str>>,
    pub(crate) extra: Option<Box<Extra>>,
}

/// The parts of a status that few have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Extra {
    pub(crate) check_status: Option<v1::CheckStatusInfo>,
    pub(crate) data: Option<Vec<u8>>,
    pub(crate) labels: Option<v1::Labels>,
    pub(crate) container_status: Option<v1::ContainerStatus>,
}

/// Where the master has a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Among the framework's tasks.
    Active,
    /// Among its unreachable ones.
    Unreachable,
    /// Nowhere; only the agent knows it.
    AgentOnly,
}

#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) framework: FrameworkKey,
    pub(crate) agent: AgentKey,
    pub(crate) id: Arc<str>,
    pub(crate) role: Arc<str>,
    pub(crate) resources: Bag,
    /// The encoded `TaskInfo`: a tenth of the size of the decoded one.
    pub(crate) info: Bytes,
    /// `None` for a command task, whose executor is the agent's own.
    pub(crate) executor: Option<ExecutorKey>,
    /// Tasks that were launched as one group have the same number.
    pub(crate) group: Option<u64>,
    /// Id of its container (of the nested one in a pod).
    pub(crate) container: [u8; 16],
    pub(crate) pid: Option<u32>,
    pub(crate) place: Place,
    /// The agent's latest state.
    pub(crate) latest: TaskState,
    /// The latest state the master was told.
    pub(crate) visible: TaskState,
    /// Whether its resources went back to the agent.
    pub(crate) freed: bool,
    /// Whether an executor got it.
    pub(crate) delivered: bool,
    /// A kill that came while the agent was disconnected.
    pub(crate) kill_on_return: bool,
    /// A kill was asked for.
    pub(crate) killing: bool,
    /// Why, when the operator drains the agent.
    pub(crate) draining: bool,
    /// Unacknowledged updates, the head first.
    pub(crate) updates: VecDeque<Status>,
    /// How often the head was sent since its back-off started.
    pub(crate) attempts: u32,
    /// Number of the latest sending; makes the timers of earlier ones void.
    pub(crate) sent: u32,
    /// What was forwarded, one for each state.
    pub(crate) seen: Vec<Status>,
}

impl Task {
    pub(crate) fn info(&self) -> TaskInfo {
        TaskInfo::decode(self.info.clone()).unwrap_or_default()
    }

    pub(crate) fn container_text(&self) -> String {
        uuid::Uuid::from_bytes(self.container).to_string()
    }
}

impl State {
    /// The full status as it goes to a framework.
    pub(super) fn render(&self, task: &Task, status: &Status) -> TaskStatus {
        let agent = &self.agents[task.agent.index()];
        let executor = task.executor.and_then(|key| self.executors.get(&key));
        let executor_id = executor.map_or_else(|| task.id.to_string(), |e| e.id.clone());
        let mut out = TaskStatus {
            task_id: v1::TaskId {
                value: task.id.to_string(),
            },
            state: status.state as i32,
            source: Some(status.source as i32),
            reason: status.reason.map(|r| r as i32),
            message: status.message.as_deref().map(str::to_owned),
            healthy: status.healthy,
            timestamp: Some(status.timestamp),
            uuid: status.uuid.map(|uuid| uuid.to_vec()),
            agent_id: Some(v1::AgentId {
                value: agent.id.clone(),
            }),
            executor_id: Some(v1::ExecutorId { value: executor_id }),
            ..TaskStatus::default()
        };
        if let Some(extra) = &status.extra {
            out.check_status.clone_from(&extra.check_status);
            out.data.clone_from(&extra.data);
            out.labels.clone_from(&extra.labels);
        }
        if status.source == Source::Executor {
            let said = status
                .extra
                .as_ref()
                .and_then(|e| e.container_status.as_ref());
            out.container_status = Some(self.container_status(task, said));
        }
        out
    }

    /// What the agent adds to what the executor said about the container.
    fn container_status(
        &self,
        task: &Task,
        said: Option<&v1::ContainerStatus>,
    ) -> v1::ContainerStatus {
        let agent = &self.agents[task.agent.index()];
        let mut out = said.cloned().unwrap_or_default();
        if out.network_infos.is_empty() {
            let mut address = v1::network_info::IpAddress {
                ip_address: Some(agent.ip.to_string()),
                ..v1::network_info::IpAddress::default()
            };
            address.set_protocol(v1::network_info::Protocol::IPv4);
            out.network_infos = vec![v1::NetworkInfo {
                ip_addresses: vec![address],
                ..v1::NetworkInfo::default()
            }];
        }
        let executor = task.executor.and_then(|key| self.executors.get(&key));
        out.container_id = Some(match executor {
            None => container_id(task.container_text(), None),
            Some(executor) if executor.is_pod() => {
                container_id(task.container_text(), Some(executor.container.clone()))
            }
            Some(executor) => container_id(executor.container.clone(), None),
        });
        if out.executor_pid.is_none() {
            out.executor_pid = executor.map_or(task.pid, |e| e.pid);
        }
        out
    }

    /// The task as the operator API shows it.
    pub(super) fn task_message(&self, task: &Task) -> v1::Task {
        let info = task.info();
        let framework = self.frameworks.get(&task.framework);
        let executor = task.executor.and_then(|key| self.executors.get(&key));
        let user = info.command.as_ref().and_then(|c| c.user.clone());
        v1::Task {
            name: info.name,
            task_id: v1::TaskId {
                value: task.id.to_string(),
            },
            framework_id: v1::FrameworkId {
                value: framework.map_or_else(String::new, |f| f.id.to_string()),
            },
            executor_id: executor.map(|e| v1::ExecutorId {
                value: e.id.clone(),
            }),
            agent_id: v1::AgentId {
                value: self.agents[task.agent.index()].id.clone(),
            },
            state: task.visible as i32,
            resources: task.resources.to_resources(Some(&task.role), true),
            statuses: task.seen.iter().map(|s| self.render(task, s)).collect(),
            status_update_state: task.seen.last().map(|s| s.state as i32),
            status_update_uuid: task.seen.last().and_then(|s| s.uuid).map(|u| u.to_vec()),
            labels: info.labels,
            discovery: info.discovery,
            container: info.container,
            user: user.or_else(|| framework.map(|f| f.info.user.clone())),
            health_check: info.health_check,
            kill_policy: info.kill_policy,
            limits: info.limits,
        }
    }
}

pub(super) fn container_id(value: String, parent: Option<String>) -> v1::ContainerId {
    v1::ContainerId {
        value,
        parent: parent.map(|value| Box::new(container_id(value, None))),
    }
}
