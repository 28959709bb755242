//! The read-only calls of an agent's operator API.

use gantry_mesos::v1;
use gantry_mesos::v1::agent::response::get_containers::Container;
use gantry_mesos::v1::agent::response::{self, GetExecutors, GetFrameworks, GetState, GetTasks};
use gantry_mesos::v1::agent::{self, call};

use super::task::{container_id, is_terminal};
use super::{AgentKey, Bag, State, version_info};

/// What the agent gives its own executor on top of the task's (Mesos `src/slave/constants.hpp`).
fn command_executor() -> Bag {
    let resource = |name: &str, value| v1::Resource {
        name: name.to_owned(),
        r#type: v1::value::Type::Scalar.into(),
        scalar: Some(v1::value::Scalar { value }),
        ..v1::Resource::default()
    };
    Bag::parse(&[resource("cpus", 0.1), resource("mem", 32.0)])
}

fn response(r#type: response::Type) -> agent::Response {
    agent::Response {
        r#type: Some(r#type as i32),
        ..agent::Response::default()
    }
}

/// How the agent calls the executor of a task that brings none (Mesos `src/slave/slave.cpp`).
fn executor_name(task: &str, command: &v1::CommandInfo) -> String {
    let value = command.value();
    let value = match value.char_indices().nth(15) {
        Some(_) => format!("{}...", value.chars().take(12).collect::<String>()),
        None => value.to_owned(),
    };
    if command.shell() {
        format!("Command Executor (Task: {task}) (Command: sh -c '{value}')")
    } else {
        format!("Command Executor (Task: {task}) (Command: {value})")
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

    /// The containers, each with its process and its limits; those of tasks of pods only when
    /// `nested`. What they use is not known here.
    pub(crate) fn containers_on(&self, key: AgentKey, nested: bool) -> Vec<Container> {
        let agent = self.agent(key);
        let framework = |key| {
            let framework = self.frameworks.get(&key);
            framework.map(|f| v1::FrameworkId {
                value: f.id.to_string(),
            })
        };
        let executors = agent.executors.iter().filter_map(|e| self.executors.get(e));
        let mut containers: Vec<_> = executors
            .map(|executor| {
                let mut resources = executor.resources.clone();
                for task in executor.tasks.iter().filter_map(|t| self.tasks.get(t)) {
                    resources.add(&task.resources);
                }
                Container {
                    framework_id: framework(executor.framework),
                    executor_id: Some(v1::ExecutorId {
                        value: executor.id.clone(),
                    }),
                    executor_name: Some(executor.info.name.clone().unwrap_or_default()),
                    ..self.container(&executor.container, None, executor.pid, &resources)
                }
            })
            .collect();
        let tasks = agent.tasks.iter().filter_map(|t| self.tasks.get(t));
        for task in tasks.filter(|task| !is_terminal(task.latest)) {
            let executor = task.executor.and_then(|key| self.executors.get(&key));
            match executor {
                None => {
                    let mut resources = task.resources.clone();
                    resources.add(&command_executor());
                    let command = task.info().command.unwrap_or_default();
                    containers.push(Container {
                        framework_id: framework(task.framework),
                        executor_id: Some(v1::ExecutorId {
                            value: task.id.to_string(),
                        }),
                        executor_name: Some(executor_name(&task.id, &command)),
                        ..self.container(&task.container_text(), None, task.pid, &resources)
                    });
                }
                Some(executor) if executor.is_pod() && nested => {
                    let parent = Some(executor.container.clone());
                    let id = task.container_text();
                    containers.push(self.container(&id, parent, task.pid, &task.resources));
                }
                Some(_) => {}
            }
        }
        containers
    }

    fn container(
        &self,
        id: &str,
        parent: Option<String>,
        pid: Option<u32>,
        resources: &Bag,
    ) -> Container {
        let of = |name: &str| -> f64 {
            let all = resources.to_resources(None, true);
            let named = all.iter().filter(|r| r.name == name);
            named
                .filter_map(|r| r.scalar.as_ref())
                .map(|s| s.value)
                .sum()
        };
        // Megabytes of a resource are whole, and far from the limits of either type.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let memory = Some((of("mem") * 1_048_576.0) as u64);
        Container {
            container_id: container_id(id.to_owned(), None),
            container_status: Some(v1::ContainerStatus {
                container_id: Some(container_id(id.to_owned(), parent)),
                executor_pid: pid,
                ..v1::ContainerStatus::default()
            }),
            resource_statistics: Some(v1::ResourceStatistics {
                timestamp: self.unix(),
                cpus_soft_limit: Some(of("cpus")),
                mem_limit_bytes: memory,
                mem_soft_limit_bytes: memory,
                ..v1::ResourceStatistics::default()
            }),
            ..Container::default()
        }
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
