//! `/api/v2/agents`: the agents that run tasks of ours.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, web};
use gantry_core::{AgentAddress, Amount};
use serde::Serialize;

use super::{Page, Window, off_thread, to_json};
use crate::http::{AppState, error::ApiError, query::Query};

#[derive(Serialize)]
struct AgentJson<'a> {
    id: &'a str,
    hostname: &'a str,
    ip: &'a str,
    port: u16,
    attributes: Vec<[&'a str; 2]>,
    tasks: usize,
    /// Tasks by workload.
    workloads: BTreeMap<&'a str, usize>,
    /// What the tasks hold together.
    cpus: f64,
    mem: f64,
    disk: f64,
}

struct Load<'a> {
    agent: &'a AgentAddress,
    workloads: BTreeMap<&'a str, usize>,
    resources: [Amount; 4],
}

/// `GET /api/v2/agents?q=&offset=&limit=`, by host name.
pub(crate) async fn list(
    state: web::Data<AppState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let query = Query::of(&request)?;
    let window = Window::of(&query)?;
    let text = query.text("q")?.map(str::to_lowercase);
    off_thread(&state, move |state| {
        let view = state.handle().view();
        let mut loads: BTreeMap<(&str, &str), Load<'_>> = BTreeMap::new();
        for workload in &view.workloads {
            for (_, task) in workload.tasks() {
                let agent = &*task.agent;
                let load = loads
                    .entry((&agent.hostname, agent.id.as_str()))
                    .or_insert(Load {
                        agent,
                        workloads: BTreeMap::new(),
                        resources: [Amount::ZERO; 4],
                    });
                *load.workloads.entry(workload.name.as_str()).or_default() += 1;
                if let Some(template) = workload.revisions.get(&task.revision) {
                    let amounts = template.demand.scalars();
                    for (sum, amount) in load.resources.iter_mut().zip(amounts) {
                        *sum += amount;
                    }
                }
            }
        }
        let found: Vec<_> = loads
            .into_values()
            .filter(|load| {
                let agent = load.agent;
                text.as_ref().is_none_or(|text| {
                    [
                        agent.hostname.as_str(),
                        agent.ip.as_str(),
                        agent.id.as_str(),
                    ]
                    .iter()
                    .any(|field| field.to_lowercase().contains(text))
                })
            })
            .collect();
        let total = found.len();
        let items = window.cut(found).into_iter().map(AgentJson::from);
        to_json(&Page::new(window, total, items.collect()))
    })
    .await
}

impl<'a> From<Load<'a>> for AgentJson<'a> {
    fn from(load: Load<'a>) -> Self {
        let agent = load.agent;
        let [cpus, mem, disk, _] = load.resources.map(Amount::as_f64);
        let attributes = agent.attributes.iter();
        Self {
            id: agent.id.as_str(),
            hostname: &agent.hostname,
            ip: &agent.ip,
            port: agent.port,
            attributes: attributes
                .map(|(name, value)| [name.as_str(), value])
                .collect(),
            tasks: load.workloads.values().sum(),
            workloads: load.workloads,
            cpus,
            mem,
            disk,
        }
    }
}
