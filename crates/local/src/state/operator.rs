//! What operators see: answers of the v1 operator API and its event stream.

use std::sync::Arc;

use gantry_mesos::v1::master::response::{
    self, GetAgents, GetExecutors, GetFrameworks, GetState, GetTasks,
};
use gantry_mesos::v1::master::{self, call};
use gantry_mesos::v1::{self, FrameworkInfo, TaskState, TaskStatus};

use super::timers::Timer;
use super::{
    Agent, AgentKey, Bag, Framework, FrameworkKey, Link, State, TaskKey, VERSION, time_info,
};
use crate::wire::{End, Format, Outbox};

/// Most operators that may watch (`--max_operator_event_stream_subscribers`).
const OPERATORS_MAX: usize = 1000;

fn event(r#type: master::event::Type) -> master::Event {
    master::Event {
        r#type: Some(r#type as i32),
        ..master::Event::default()
    }
}

fn response(r#type: master::response::Type) -> master::Response {
    master::Response {
        r#type: Some(r#type as i32),
        ..master::Response::default()
    }
}

/// The version as `/version` and GET_VERSION tell it.
pub(crate) fn version_info() -> v1::VersionInfo {
    v1::VersionInfo {
        version: VERSION.to_owned(),
        ..v1::VersionInfo::default()
    }
}

impl State {
    /// The read-only calls; `None` for the others.
    pub(crate) fn query(&self, kind: call::Type) -> Option<master::Response> {
        use master::response::Type;
        Some(match kind {
            call::Type::GetHealth => master::Response {
                get_health: Some(response::GetHealth { healthy: true }),
                ..response(Type::GetHealth)
            },
            call::Type::GetVersion => master::Response {
                get_version: Some(response::GetVersion {
                    version_info: version_info(),
                }),
                ..response(Type::GetVersion)
            },
            call::Type::GetMaster => master::Response {
                get_master: Some(response::GetMaster {
                    master_info: Some(self.master_info()),
                    start_time: Some(self.started),
                    elected_time: Some(self.elected),
                }),
                ..response(Type::GetMaster)
            },
            call::Type::GetMetrics => master::Response {
                get_metrics: Some(response::GetMetrics {
                    metrics: self
                        .metrics()
                        .into_iter()
                        .map(|(name, value)| v1::Metric {
                            name,
                            value: Some(value),
                        })
                        .collect(),
                }),
                ..response(Type::GetMetrics)
            },
            call::Type::GetState => master::Response {
                get_state: Some(self.get_state()),
                ..response(Type::GetState)
            },
            call::Type::GetAgents => master::Response {
                get_agents: Some(self.get_agents()),
                ..response(Type::GetAgents)
            },
            call::Type::GetFrameworks => master::Response {
                get_frameworks: Some(self.get_frameworks()),
                ..response(Type::GetFrameworks)
            },
            call::Type::GetExecutors => master::Response {
                get_executors: Some(self.get_executors()),
                ..response(Type::GetExecutors)
            },
            call::Type::GetTasks => master::Response {
                get_tasks: Some(self.get_tasks()),
                ..response(Type::GetTasks)
            },
            call::Type::GetRoles => master::Response {
                get_roles: Some(self.get_roles()),
                ..response(Type::GetRoles)
            },
            _ => return None,
        })
    }

    fn get_state(&self) -> GetState {
        GetState {
            get_tasks: Some(self.get_tasks()),
            get_executors: Some(self.get_executors()),
            get_frameworks: Some(self.get_frameworks()),
            get_agents: Some(self.get_agents()),
        }
    }

    fn get_tasks(&self) -> GetTasks {
        let mut tasks = GetTasks::default();
        for framework in self.frameworks.values().chain(&self.completed_frameworks) {
            let messages = |keys: Vec<TaskKey>| -> Vec<v1::Task> {
                let mut keys = keys;
                keys.sort_unstable();
                keys.iter()
                    .filter_map(|k| self.tasks.get(k))
                    .map(|t| self.task_message(t))
                    .collect()
            };
            tasks
                .tasks
                .extend(messages(framework.tasks.values().copied().collect()));
            tasks
                .unreachable_tasks
                .extend(messages(framework.unreachable.values().copied().collect()));
            tasks
                .completed_tasks
                .extend(framework.completed.iter().map(|t| self.task_message(t)));
        }
        tasks
    }

    fn get_executors(&self) -> GetExecutors {
        let executors = self
            .agents
            .iter()
            .filter(|a| a.is_registered())
            .flat_map(|a| a.executors.iter().filter_map(|e| self.executors.get(e)))
            .map(|e| response::get_executors::Executor {
                executor_info: e.info.clone(),
                agent_id: v1::AgentId {
                    value: self.agent(e.agent).id.clone(),
                },
            })
            .collect();
        GetExecutors {
            executors,
            ..GetExecutors::default()
        }
    }

    fn get_frameworks(&self) -> GetFrameworks {
        GetFrameworks {
            frameworks: self
                .frameworks
                .iter()
                .map(|(k, f)| self.framework_message(*k, f))
                .collect(),
            completed_frameworks: self
                .completed_frameworks
                .iter()
                .map(|f| self.framework_message(FrameworkKey(u64::MAX), f))
                .collect(),
            recovered_frameworks: Vec::new(),
        }
    }

    fn framework_message(
        &self,
        key: FrameworkKey,
        framework: &Framework,
    ) -> response::get_frameworks::Framework {
        let mut offered = Vec::new();
        for offer in framework.offers.iter().filter_map(|o| self.offers.get(o)) {
            offered.extend(offer.resources.to_resources(Some(&offer.role), true));
        }
        let mut allocated = Bag::default();
        for task in framework
            .tasks
            .values()
            .filter_map(|t| self.tasks.get(t))
            .filter(|t| !t.freed)
        {
            allocated.add(&task.resources);
        }
        for executor in self.executors.values().filter(|e| e.framework == key) {
            if self.agent(executor.agent).executors.iter().any(|k| {
                self.executors
                    .get(k)
                    .is_some_and(|e| e.container == executor.container)
            }) {
                allocated.add(&executor.resources);
            }
        }
        let role = framework.roles.first().map(|r| r.to_string());
        response::get_frameworks::Framework {
            framework_info: framework.info.clone(),
            active: framework.is_connected(),
            connected: framework.is_connected(),
            recovered: framework.recovered,
            registered_time: Some(time_info(framework.registered)),
            reregistered_time: framework.reregistered.map(time_info),
            unregistered_time: framework.unregistered.map(time_info),
            allocated_resources: allocated.to_resources(role.as_deref(), true),
            offered_resources: offered,
            ..Default::default()
        }
    }

    fn get_agents(&self) -> GetAgents {
        GetAgents {
            agents: self
                .agents
                .iter()
                .filter(|a| a.is_registered())
                .map(|a| self.agent_message(a))
                .collect(),
            recovered_agents: self
                .agents
                .iter()
                .filter(|a| a.link == Link::Recovered)
                .map(Agent::info)
                .collect(),
        }
    }

    /// What the tasks and executors of an agent use.
    pub(super) fn allocated_on(&self, agent: &Agent) -> Bag {
        let mut allocated = Bag::default();
        for task in agent
            .tasks
            .iter()
            .filter_map(|t| self.tasks.get(t))
            .filter(|t| !t.freed)
        {
            allocated.add(&task.resources);
        }
        for executor in agent.executors.iter().filter_map(|e| self.executors.get(e)) {
            allocated.add(&executor.resources);
        }
        allocated
    }

    fn agent_message(&self, agent: &Agent) -> response::get_agents::Agent {
        use v1::agent_info::capability::Type;
        let mut offered = Bag::default();
        for offer in agent.offers.iter().filter_map(|o| self.offers.get(o)) {
            offered.add(&offer.resources);
        }
        let capabilities = [
            Type::MultiRole,
            Type::HierarchicalRole,
            Type::ReservationRefinement,
            Type::ResourceProvider,
            Type::ResizeVolume,
            Type::AgentOperationFeedback,
            Type::AgentDraining,
            Type::TaskResourceLimits,
        ];
        response::get_agents::Agent {
            agent_info: agent.info(),
            active: agent.is_connected(),
            version: VERSION.to_owned(),
            pid: Some(agent.pid()),
            registered_time: Some(time_info(agent.registered)),
            reregistered_time: agent.reregistered.map(time_info),
            total_resources: agent.total.to_resources(None, true),
            allocated_resources: self.allocated_on(agent).to_resources(None, true),
            offered_resources: offered.to_resources(None, true),
            capabilities: capabilities
                .into_iter()
                .map(|c| v1::agent_info::Capability {
                    r#type: Some(c as i32),
                })
                .collect(),
            resource_providers: Vec::new(),
            deactivated: Some(agent.deactivated || agent.drain.is_some()),
            drain_info: agent.drain.as_ref().map(|drain| v1::DrainInfo {
                state: if drain.done {
                    v1::DrainState::Drained
                } else {
                    v1::DrainState::Draining
                } as i32,
                config: drain.config,
            }),
            estimated_drain_start_time: agent.drain.as_ref().map(|d| time_info(d.started)),
        }
    }

    fn get_roles(&self) -> response::GetRoles {
        let mut roles: std::collections::BTreeMap<&str, v1::Role> =
            std::collections::BTreeMap::new();
        for framework in self.frameworks.values() {
            for name in &framework.roles {
                let role = roles.entry(name).or_insert_with(|| v1::Role {
                    name: name.to_string(),
                    weight: 1.0,
                    ..v1::Role::default()
                });
                role.frameworks.push(v1::FrameworkId {
                    value: framework.id.to_string(),
                });
            }
        }
        response::GetRoles {
            roles: roles.into_values().collect(),
        }
    }

    // === The event stream ===

    pub(crate) fn operator_subscribe(&mut self, format: Format) -> Arc<Outbox> {
        let outbox = Outbox::new(format, self.options.stream_bytes_max);
        outbox.send(&master::Event {
            subscribed: Some(master::event::Subscribed {
                get_state: Some(self.get_state()),
                heartbeat_interval_seconds: Some(self.options.heartbeat_interval.as_secs_f64()),
            }),
            ..event(master::event::Type::Subscribed)
        });
        outbox.send(&event(master::event::Type::Heartbeat));
        if self.operators.len() >= OPERATORS_MAX {
            self.operators.remove(0).end(End::Clean);
        }
        self.operators.push(Arc::clone(&outbox));
        outbox
    }

    pub(crate) fn operator_closed(&mut self, outbox: &Arc<Outbox>) {
        self.operators.retain(|o| !Arc::ptr_eq(o, outbox));
    }

    pub(super) fn operator_heartbeat(&mut self) {
        self.tell_operators(&event(master::event::Type::Heartbeat));
        let interval = self.options.heartbeat_interval;
        self.after(interval, Timer::OperatorHeartbeat);
    }

    fn tell_operators(&self, event: &master::Event) {
        for operator in &self.operators {
            operator.send(event);
        }
    }

    pub(super) fn announce_framework(&self, key: FrameworkKey, known: bool) {
        let Some(framework) = self
            .frameworks
            .get(&key)
            .filter(|_| !self.operators.is_empty())
        else {
            return;
        };
        let message = self.framework_message(key, framework);
        self.tell_operators(&if known {
            master::Event {
                framework_updated: Some(master::event::FrameworkUpdated { framework: message }),
                ..event(master::event::Type::FrameworkUpdated)
            }
        } else {
            master::Event {
                framework_added: Some(master::event::FrameworkAdded { framework: message }),
                ..event(master::event::Type::FrameworkAdded)
            }
        });
    }

    pub(super) fn announce_framework_removed(&self, info: &FrameworkInfo) {
        self.tell_operators(&master::Event {
            framework_removed: Some(master::event::FrameworkRemoved {
                framework_info: info.clone(),
            }),
            ..event(master::event::Type::FrameworkRemoved)
        });
    }

    pub(super) fn announce_task(&self, key: TaskKey) {
        if let Some(task) = self.tasks.get(&key).filter(|_| !self.operators.is_empty()) {
            self.tell_operators(&master::Event {
                task_added: Some(master::event::TaskAdded {
                    task: self.task_message(task),
                }),
                ..event(master::event::Type::TaskAdded)
            });
        }
    }

    pub(super) fn announce_update(&self, key: FrameworkKey, status: TaskStatus, state: TaskState) {
        if self.operators.is_empty() {
            return;
        }
        let id = self
            .frameworks
            .get(&key)
            .map_or_else(String::new, |f| f.id.to_string());
        self.tell_operators(&master::Event {
            task_updated: Some(master::event::TaskUpdated {
                framework_id: v1::FrameworkId { value: id },
                status,
                state: state as i32,
            }),
            ..event(master::event::Type::TaskUpdated)
        });
    }

    pub(super) fn announce_agent(&self, key: AgentKey) {
        if !self.operators.is_empty() {
            self.tell_operators(&master::Event {
                agent_added: Some(master::event::AgentAdded {
                    agent: self.agent_message(self.agent(key)),
                }),
                ..event(master::event::Type::AgentAdded)
            });
        }
    }

    pub(super) fn announce_agent_removed(&self, key: AgentKey) {
        self.tell_operators(&master::Event {
            agent_removed: Some(master::event::AgentRemoved {
                agent_id: v1::AgentId {
                    value: self.agent(key).id.clone(),
                },
            }),
            ..event(master::event::Type::AgentRemoved)
        });
    }

    /// TEARDOWN by the operator.
    pub(crate) fn teardown(&mut self, id: &str) -> super::Reply {
        match self.framework_ids.get(id) {
            Some(&key) => {
                self.remove_framework(key);
                super::Reply::ok()
            }
            None => super::Reply::bad("No framework found with specified ID"),
        }
    }
}
