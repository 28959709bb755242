//! `/api/v2/agents`: the agents of the cluster, with what our tasks hold there.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, web};
use gantry_core::{AgentAddress, Amount, View};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    LIMIT_MAX, Page, Window, off_thread,
    tasks::{Found, TaskJson},
    to_json,
};
use crate::{
    cluster::{AgentState, Amounts, Inventory, KnownAgent},
    http::{
        AppState,
        error::{ApiError, Code},
        query::Query,
    },
};

#[derive(Serialize, ToSchema)]
#[schema(as = Agent)]
pub(super) struct AgentJson<'a> {
    id: &'a str,
    hostname: &'a str,
    ip: &'a str,
    port: u16,
    /// `active`, `disconnected`, `deactivated`, `draining` or `drained`; null when the master does
    /// not know it (any more), or cannot be asked.
    state: Option<&'static str>,
    /// Of the Mesos that runs there.
    version: Option<&'a str>,
    registered_at: Option<u64>,
    attributes: Vec<[&'a str; 2]>,
    /// Our live tasks.
    tasks: usize,
    /// The same by workload.
    workloads: BTreeMap<&'a str, usize>,
    /// What our tasks hold together.
    cpus: f64,
    mem: f64,
    disk: f64,
    /// What there is at all.
    total: Option<AmountsJson>,
    /// What tasks and executors of all frameworks hold.
    used: Option<AmountsJson>,
    /// What is left.
    free: Option<AmountsJson>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Amounts)]
struct AmountsJson {
    cpus: f64,
    mem: f64,
    disk: f64,
    gpus: f64,
    /// How many.
    ports: u64,
}

impl From<Amounts> for AmountsJson {
    fn from(amounts: Amounts) -> Self {
        Self {
            cpus: amounts.cpus,
            mem: amounts.mem,
            disk: amounts.disk,
            gpus: amounts.gpus,
            ports: amounts.ports,
        }
    }
}

const fn state_name(state: AgentState) -> &'static str {
    match state {
        AgentState::Active => "active",
        AgentState::Disconnected => "disconnected",
        AgentState::Deactivated => "deactivated",
        AgentState::Draining => "draining",
        AgentState::Drained => "drained",
    }
}

/// An agent, with what is known of it.
struct Load<'a> {
    agent: &'a AgentAddress,
    /// As the master counts it.
    known: Option<&'a KnownAgent>,
    workloads: BTreeMap<&'a str, usize>,
    resources: [Amount; 4],
}

impl<'a> Load<'a> {
    fn new(agent: &'a AgentAddress, known: Option<&'a KnownAgent>) -> Self {
        Self {
            agent,
            known,
            workloads: BTreeMap::new(),
            resources: [Amount::ZERO; 4],
        }
    }
}

/// The agents that the master knows, and those that tasks of ours are on, by host name.
fn loads<'a>(view: &'a View, inventory: Option<&'a Inventory>) -> Vec<Load<'a>> {
    let known = inventory.map_or(&[] as &[KnownAgent], |inventory| &inventory.agents);
    let known = known.iter().map(|known| {
        let id = known.address.id.as_str();
        (id, Load::new(&known.address, Some(known)))
    });
    let mut loads: BTreeMap<&str, Load<'_>> = known.collect();
    for workload in &view.workloads {
        for (_, task) in workload.tasks() {
            let agent = &*task.agent;
            let load = loads.entry(agent.id.as_str());
            let load = load.or_insert_with(|| Load::new(agent, None));
            *load.workloads.entry(workload.name.as_str()).or_default() += 1;
            if let Some(template) = workload.revisions.get(&task.revision) {
                let amounts = template.demand.scalars();
                for (sum, amount) in load.resources.iter_mut().zip(amounts) {
                    *sum += amount;
                }
            }
        }
    }
    let mut loads: Vec<_> = loads.into_values().collect();
    loads.sort_by(|one, other| {
        let key = |load: &Load<'a>| (&*load.agent.hostname, load.agent.id.as_str());
        key(one).cmp(&key(other))
    });
    loads
}

/// The agents, and why the master did not tell of them.
#[derive(Serialize, ToSchema)]
pub(super) struct Agents<'a> {
    #[serde(flatten)]
    page: Page<AgentJson<'a>>,
    /// Why only the agents of our own tasks are listed, as a clause.
    problem: Option<String>,
}

/// `GET /api/v2/agents?q=&offset=&limit=`, by host name.
pub(crate) async fn list(
    state: web::Data<AppState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let query = Query::of(&request)?;
    let window = Window::of(&query)?;
    let text = query.text("q")?.map(str::to_lowercase);
    let inventory = inventory(&state).await;
    off_thread(&state, move |state| {
        let view = state.handle().view();
        let (inventory, problem) = match inventory {
            Ok(inventory) => (Some(inventory), None),
            Err(problem) => (None, Some(problem)),
        };
        let mut found = loads(&view, inventory.as_deref());
        found.retain(|load| {
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
        });
        let total = found.len();
        let items = window.cut(found).into_iter().map(AgentJson::from);
        to_json(&Agents {
            page: Page::new(window, total, items.collect()),
            problem,
        })
    })
    .await
}

/// An agent with our tasks on it.
#[derive(Serialize, ToSchema)]
#[schema(as = AgentDetail)]
pub(super) struct Detail<'a> {
    #[serde(flatten)]
    agent: AgentJson<'a>,
    /// Our live tasks there, by workload and instance; at most 1000.
    task_list: Vec<TaskJson<'a>>,
    /// Why the master did not tell of the agent, as a clause.
    problem: Option<String>,
}

/// `GET /api/v2/agents/{id}`
pub(crate) async fn get(
    state: web::Data<AppState>,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let inventory = inventory(&state).await;
    off_thread(&state, move |state| {
        let view = state.handle().view();
        let (inventory, problem) = match inventory {
            Ok(inventory) => (Some(inventory), None),
            Err(problem) => (None, Some(problem)),
        };
        let loads = loads(&view, inventory.as_deref());
        let load = loads.into_iter().find(|load| load.agent.id.as_str() == *id);
        let load = load.ok_or_else(|| {
            let why = problem.as_ref();
            let why = why.map_or_else(String::new, |why| {
                format!(", and the master says nothing: {why}")
            });
            let message = format!("no agent `{id}` runs tasks of this framework or is known{why}");
            ApiError::new(Code::UnknownAgent, message).remedy("GET /api/v2/agents lists the agents")
        })?;
        let framework = &state.settings().framework_in_ids;
        let all = view.workloads.iter().flat_map(|workload| {
            workload.tasks().map(|(number, task)| Found {
                workload: workload.as_ref(),
                number,
                task,
            })
        });
        let here = all.filter(|found| found.task.agent.id.as_str() == *id);
        let task_list = here
            .take(LIMIT_MAX)
            .map(|found| TaskJson::new(&view, framework, found))
            .collect();
        to_json(&Detail {
            agent: load.into(),
            task_list,
            problem,
        })
    })
    .await
}

async fn inventory(state: &AppState) -> Result<std::sync::Arc<Inventory>, String> {
    let master = state.handle().connection().master;
    state.cluster().agents(master.as_deref()).await
}

impl<'a> From<Load<'a>> for AgentJson<'a> {
    fn from(load: Load<'a>) -> Self {
        let Load { agent, known, .. } = load;
        let [cpus, mem, disk, _] = load.resources.map(Amount::as_f64);
        let attributes = agent.attributes.iter();
        Self {
            id: agent.id.as_str(),
            hostname: &agent.hostname,
            ip: &agent.ip,
            port: agent.port,
            state: known.map(|known| state_name(known.state)),
            version: known.map(|known| known.version.as_str()),
            registered_at: known.and_then(|known| known.registered_at),
            attributes: attributes
                .map(|(name, value)| [name.as_str(), value])
                .collect(),
            tasks: load.workloads.values().sum(),
            workloads: load.workloads,
            cpus,
            mem,
            disk,
            total: known.map(|known| known.total.into()),
            used: known.map(|known| known.used.into()),
            free: known.map(|known| known.total.without(known.used).into()),
        }
    }
}
