//! The older JSON endpoints: `/state`, `/slaves`, `/frameworks`, `/tasks` and the metrics.
//! Field names are those of v0 (`slave_id`), resources are summed by name.

use serde_json::{Map, Value, json};

use gantry_mesos::v1::TaskState;

use super::{Agent, Bag, Framework, State, Task, VERSION};

/// Resources as these endpoints show them.
fn summed(bag: &Bag) -> Value {
    let mut out = Map::new();
    for name in ["cpus", "gpus", "mem", "disk"] {
        out.insert(name.to_owned(), json!(0.0));
    }
    for (name, value) in bag.scalars() {
        out.insert(name, json!(value));
    }
    if let Some(ports) = bag.ranges_text("ports") {
        out.insert("ports".to_owned(), json!(ports));
    }
    Value::Object(out)
}

impl State {
    fn legacy_task(&self, task: &Task) -> Value {
        let message = self.task_message(task);
        let statuses: Vec<Value> = message
            .statuses
            .iter()
            .map(|s| {
                json!({
                    "state": s.state().as_str_name(),
                    "timestamp": s.timestamp,
                    "healthy": s.healthy,
                    "container_status": s.container_status.as_ref().map(gantry_mesos::json::to_json),
                })
            })
            .collect();
        let labels = message.labels.as_ref().map(gantry_mesos::json::to_json);
        json!({
            "id": message.task_id.value,
            "name": message.name,
            "framework_id": message.framework_id.value,
            "executor_id": message.executor_id.map(|e| e.value).unwrap_or_default(),
            "slave_id": message.agent_id.value,
            "state": task.visible.as_str_name(),
            "resources": summed(&task.resources),
            "role": &*task.role,
            "statuses": statuses,
            "labels": labels.and_then(|l| l.get("labels").cloned()),
            "discovery": message.discovery.as_ref().map(gantry_mesos::json::to_json),
            "container": message.container.as_ref().map(gantry_mesos::json::to_json),
        })
    }

    fn legacy_framework(&self, framework: &Framework) -> Value {
        let tasks = |keys: Vec<_>| -> Vec<Value> {
            let mut keys = keys;
            keys.sort_unstable();
            keys.iter()
                .filter_map(|k| self.tasks.get(k))
                .map(|t| self.legacy_task(t))
                .collect()
        };
        let mut used = Bag::default();
        for task in framework
            .tasks
            .values()
            .filter_map(|t| self.tasks.get(t))
            .filter(|t| !t.freed)
        {
            used.add(&task.resources);
        }
        let mut offered = Bag::default();
        for offer in framework.offers.iter().filter_map(|o| self.offers.get(o)) {
            offered.add(&offer.resources);
        }
        let info = &framework.info;
        let capabilities: Vec<_> = info
            .capabilities
            .iter()
            .map(|c| c.r#type().as_str_name())
            .collect();
        json!({
            "id": &*framework.id,
            "name": info.name,
            "user": info.user,
            "hostname": info.hostname(),
            "principal": info.principal,
            "webui_url": info.webui_url(),
            "failover_timeout": info.failover_timeout(),
            "checkpoint": info.checkpoint(),
            "roles": framework.roles.iter().map(|r| r.to_string()).collect::<Vec<_>>(),
            "capabilities": capabilities,
            "active": framework.is_connected(),
            "connected": framework.is_connected(),
            "recovered": framework.recovered,
            "registered_time": framework.registered,
            "reregistered_time": framework.reregistered,
            "unregistered_time": framework.unregistered.unwrap_or(0.0),
            "used_resources": summed(&used),
            "resources": summed(&used.plus(&offered)),
            "offered_resources": summed(&offered),
            "tasks": tasks(framework.tasks.values().copied().collect()),
            "unreachable_tasks": tasks(framework.unreachable.values().copied().collect()),
            "completed_tasks":
                framework.completed.iter().map(|t| self.legacy_task(t)).collect::<Vec<_>>(),
            "executors": self
                .executors
                .values()
                .filter(|e| self.frameworks.get(&e.framework).is_some_and(|f| f.id == framework.id))
                .map(|e| json!({
                    "executor_id": e.id,
                    "framework_id": &*framework.id,
                    "slave_id": self.agent(e.agent).id,
                    "resources": summed(&e.resources),
                }))
                .collect::<Vec<_>>(),
        })
    }

    fn legacy_agent(&self, agent: &Agent) -> Value {
        let mut attributes = Map::new();
        for attribute in &agent.attributes {
            let value = match (&attribute.text, &attribute.scalar) {
                (Some(text), _) => json!(text.value),
                (None, Some(scalar)) => json!(scalar.value),
                (None, None) => {
                    let ranges = attribute
                        .ranges
                        .as_ref()
                        .map(|r| &*r.range)
                        .unwrap_or_default();
                    let texts: Vec<_> = ranges
                        .iter()
                        .map(|r| format!("{}-{}", r.begin, r.end))
                        .collect();
                    json!(format!("[{}]", texts.join(", ")))
                }
            };
            attributes.insert(attribute.name.clone(), value);
        }
        let mut offered = Bag::default();
        for offer in agent.offers.iter().filter_map(|o| self.offers.get(o)) {
            offered.add(&offer.resources);
        }
        json!({
            "id": agent.id,
            "hostname": agent.hostname,
            "port": agent.port,
            "pid": agent.pid(),
            "version": VERSION,
            "attributes": attributes,
            "active": agent.is_connected(),
            "deactivated": agent.deactivated || agent.drain.is_some(),
            "registered_time": agent.registered,
            "reregistered_time": agent.reregistered,
            "resources": summed(&agent.total),
            "used_resources": summed(&self.allocated_on(agent)),
            "offered_resources": summed(&offered),
        })
    }

    /// `GET /slaves`; `id` as in `?slave_id=`.
    pub(crate) fn legacy_slaves(&self, id: Option<&str>) -> Value {
        let chosen = |a: &&Agent| a.is_registered() && id.is_none_or(|id| a.id == id);
        let slaves: Vec<_> = self
            .agents
            .iter()
            .filter(chosen)
            .map(|a| self.legacy_agent(a))
            .collect();
        json!({ "slaves": slaves, "recovered_slaves": [] })
    }

    /// `GET /frameworks`; `id` as in `?framework_id=`.
    pub(crate) fn legacy_frameworks(&self, id: Option<&str>) -> Value {
        let chosen = |f: &&Framework| id.is_none_or(|id| *f.id == *id);
        let show = |f| self.legacy_framework(f);
        json!({
            "frameworks": self.frameworks.values().filter(chosen).map(show).collect::<Vec<_>>(),
            "completed_frameworks":
                self.completed_frameworks.iter().filter(chosen).map(show).collect::<Vec<_>>(),
            "unregistered_frameworks": [],
        })
    }

    /// `GET /tasks`: newest first unless `ascending`, without `offset` of them, at most `limit`.
    pub(crate) fn legacy_tasks(
        &self,
        limit: usize,
        offset: usize,
        ascending: bool,
        framework: Option<&str>,
        id: Option<&str>,
    ) -> Value {
        let mut live: Vec<_> = self.tasks.keys().copied().collect();
        live.sort_unstable();
        let completed = self
            .frameworks
            .values()
            .chain(&self.completed_frameworks)
            .flat_map(|f| &f.completed);
        let mut all: Vec<&Task> = completed
            .chain(live.iter().filter_map(|k| self.tasks.get(k)))
            .collect();
        if !ascending {
            all.reverse();
        }
        let tasks: Vec<_> = all
            .into_iter()
            .filter(|t| id.is_none_or(|id| *t.id == *id))
            .filter(|t| {
                framework.is_none_or(|wanted| {
                    self.frameworks
                        .get(&t.framework)
                        .is_some_and(|f| *f.id == *wanted)
                })
            })
            .skip(offset)
            .take(limit)
            .map(|t| self.legacy_task(t))
            .collect();
        json!({ "tasks": tasks })
    }

    /// `GET /state`.
    pub(crate) fn legacy_state(&self) -> Value {
        let mut state = json!({
            "version": VERSION,
            "id": self.master_id,
            "pid": self.master_info().pid,
            "hostname": self.address.ip().to_string(),
            "start_time": self.started,
            "elected_time": self.elected,
            "leader": self.master_info().pid,
            "leader_info": gantry_mesos::json::to_json(&self.master_info()),
            "activated_slaves": self.agents.iter().filter(|a| a.is_connected()).count(),
            "deactivated_slaves": self.agents.iter().filter(|a| a.is_registered() && !a.is_connected()).count(),
            "unreachable_slaves":
                self.agents.iter().filter(|a| matches!(a.link, super::Link::Unreachable { .. })).count(),
            "flags": {},
            "orphan_tasks": [],
        });
        if let Value::Object(state) = &mut state {
            for part in [self.legacy_slaves(None), self.legacy_frameworks(None)] {
                if let Value::Object(part) = part {
                    state.extend(part);
                }
            }
        }
        state
    }

    /// Names and values of `/metrics/snapshot`.
    pub(crate) fn metrics(&self) -> Vec<(String, f64)> {
        #[allow(clippy::cast_precision_loss)]
        let number = |n: usize| n as f64;
        #[allow(clippy::cast_precision_loss)]
        let count = |n: u64| n as f64;
        let agents = |f: fn(&Agent) -> bool| number(self.agents.iter().filter(|a| f(a)).count());
        let tasks = |s: TaskState| number(self.tasks.values().filter(|t| t.visible == s).count());
        let mut metrics = vec![
            ("master/elected".to_owned(), 1.0),
            ("master/uptime_secs".to_owned(), self.now.as_secs_f64()),
            (
                "master/slaves_active".to_owned(),
                agents(Agent::is_connected),
            ),
            (
                "master/slaves_connected".to_owned(),
                agents(Agent::is_connected),
            ),
            (
                "master/slaves_disconnected".to_owned(),
                agents(|a| a.link == super::Link::Disconnected),
            ),
            (
                "master/slaves_unreachable".to_owned(),
                agents(|a| matches!(a.link, super::Link::Unreachable { .. })),
            ),
            (
                "master/frameworks_active".to_owned(),
                number(
                    self.frameworks
                        .values()
                        .filter(|f| f.is_connected())
                        .count(),
                ),
            ),
            (
                "master/frameworks_disconnected".to_owned(),
                number(
                    self.frameworks
                        .values()
                        .filter(|f| !f.is_connected())
                        .count(),
                ),
            ),
            (
                "master/outstanding_offers".to_owned(),
                number(self.offers.len()),
            ),
            (
                "master/tasks_staging".to_owned(),
                tasks(TaskState::TaskStaging),
            ),
            (
                "master/tasks_starting".to_owned(),
                tasks(TaskState::TaskStarting),
            ),
            (
                "master/tasks_running".to_owned(),
                tasks(TaskState::TaskRunning),
            ),
            (
                "master/tasks_killing".to_owned(),
                tasks(TaskState::TaskKilling),
            ),
            (
                "master/messages_received".to_owned(),
                count(self.counters.calls),
            ),
            (
                "master/tasks_launched".to_owned(),
                count(self.counters.launched),
            ),
            (
                "master/status_updates_sent".to_owned(),
                count(self.counters.updates_sent),
            ),
            (
                "master/status_updates_acknowledged".to_owned(),
                count(self.counters.acknowledged),
            ),
            (
                "master/offers_sent".to_owned(),
                count(self.counters.offers_sent),
            ),
            (
                "master/offers_declined".to_owned(),
                count(self.counters.declined),
            ),
        ];
        for (state, ended) in &self.counters.ended {
            let name = state.trim_start_matches("TASK_").to_lowercase();
            metrics.push((format!("master/tasks_{name}"), count(*ended)));
        }
        metrics
    }
}
