//! The read-only calls of an agent's operator API.

use gantry_mesos::v1::agent::response::{self, GetExecutors, GetFrameworks, GetState, GetTasks};
use gantry_mesos::v1::agent::{self, call};

use super::task::is_terminal;
use super::{AgentKey, State, version_info};

fn response(r#type: response::Type) -> agent::Response {
    agent::Response {
        r#type: Some(r#type as i32),
        ..agent::Response::default()
    }
}

impl State {
    /// `None` for calls that are not served.
    pub(crate) fn agent_query(&self, key: AgentKey, kind: call::Type) -> Option<agent::Response> {
        use response::Type;
        Some(match kind {
            call::Type::GetHealth => agent::Response {
                get_health: Some(response::GetHealth { healthy: true }),
                ..response(Type::GetHealth)
            },
            call::Type::GetVersion => agent::Response {
                get_version: Some(response::GetVersion {
                    version_info: version_info(),
                }),
                ..response(Type::GetVersion)
            },
            call::Type::GetAgent => agent::Response {
                get_agent: Some(response::GetAgent {
                    agent_info: Some(self.agent(key).info()),
                    ..response::GetAgent::default()
                }),
                ..response(Type::GetAgent)
            },
            call::Type::GetTasks => agent::Response {
                get_tasks: Some(self.tasks_on(key)),
                ..response(Type::GetTasks)
            },
            call::Type::GetFrameworks => agent::Response {
                get_frameworks: Some(self.frameworks_on(key)),
                ..response(Type::GetFrameworks)
            },
            call::Type::GetExecutors => agent::Response {
                get_executors: Some(self.executors_on(key)),
                ..response(Type::GetExecutors)
            },
            call::Type::GetState => agent::Response {
                get_state: Some(GetState {
                    get_tasks: Some(self.tasks_on(key)),
                    get_executors: Some(self.executors_on(key)),
                    get_frameworks: Some(self.frameworks_on(key)),
                }),
                ..response(Type::GetState)
            },
            _ => return None,
        })
    }

    fn tasks_on(&self, key: AgentKey) -> GetTasks {
        let mut out = GetTasks::default();
        for task in self
            .agent(key)
            .tasks
            .iter()
            .filter_map(|t| self.tasks.get(t))
        {
            let mut message = self.task_message(task);
            message.state = task.latest as i32;
            if is_terminal(task.latest) {
                out.terminated_tasks.push(message);
            } else if task.delivered {
                out.launched_tasks.push(message);
            } else {
                out.queued_tasks.push(message);
            }
        }
        let completed = self
            .frameworks
            .values()
            .chain(&self.completed_frameworks)
            .flat_map(|f| &f.completed)
            .filter(|t| t.agent == key);
        out.completed_tasks = completed.map(|t| self.task_message(t)).collect();
        out
    }

    fn executors_on(&self, key: AgentKey) -> GetExecutors {
        let executors = self
            .agent(key)
            .executors
            .iter()
            .filter_map(|e| self.executors.get(e))
            .map(|e| response::get_executors::Executor {
                executor_info: e.info.clone(),
            })
            .collect();
        GetExecutors {
            executors,
            completed_executors: Vec::new(),
        }
    }

    fn frameworks_on(&self, key: AgentKey) -> GetFrameworks {
        let here = |f: &super::Framework| {
            f.tasks
                .values()
                .any(|t| self.tasks.get(t).is_some_and(|t| t.agent == key))
        };
        let frameworks = self
            .frameworks
            .values()
            .filter(|f| here(f))
            .map(|f| response::get_frameworks::Framework {
                framework_info: f.info.clone(),
            })
            .collect();
        GetFrameworks {
            frameworks,
            completed_frameworks: Vec::new(),
        }
    }
}
