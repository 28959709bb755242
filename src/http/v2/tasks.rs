//! `/api/v2/tasks`: live tasks, paged, filtered and sorted here and not in the browser.

use std::{cmp::Ordering, sync::Arc};

use actix_web::{HttpRequest, HttpResponse, web};
use gantry_core::{
    Command, EndedTask, Goal, Instance, StatusUpdate, Task, TaskId, TaskState, View, Workload,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    LIMIT_DEFAULT, Page, Window,
    explain::{Condition, EndedJson},
    json, off_thread,
    overview::millis,
    preview, to_json,
};
use crate::{
    http::{
        AppState,
        body::{self, OnlyReason},
        error::{ApiError, Code},
        query::Query,
    },
    modules::TaskSaid,
};

#[derive(Serialize, ToSchema)]
#[schema(as = Task)]
pub(super) struct TaskJson<'a> {
    /// `live`, or `unknown`: of this framework, but of no instance that is wanted.
    standing: &'static str,
    id: String,
    /// The instance, `web-3`; the id where that of an unknown task names none.
    name: String,
    workload: &'a str,
    number: u32,
    state: &'static str,
    /// What is to become of it: `run`, `replace` or `stop`.
    goal: &'static str,
    /// Why it is being stopped.
    stop_reason: Option<&'static str>,
    healthy: Option<bool>,
    /// Whether Mesos has spoken of it since the subscription.
    confirmed: bool,
    /// Empty where nobody has told where an unknown task is but for the agent's id.
    hostname: &'a str,
    ip: &'a str,
    agent_id: &'a str,
    ports: &'a [u16],
    /// Null of an unknown task.
    revision: Option<u32>,
    /// Whether it runs the current revision.
    current: bool,
    /// Null of an unknown task.
    launched_at: Option<u64>,
    started_at: Option<u64>,
    running_at: Option<u64>,
    /// Null of an unknown task.
    changed_at: Option<u64>,
    message: Option<&'a str>,
    /// What modules say of it; absent when they say nothing.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = TaskSaid)]
    said: Option<Arc<TaskSaid>>,
}

impl<'a> TaskJson<'a> {
    pub(super) fn new(view: &View, framework: &str, found: Found<'a>) -> Self {
        let Found {
            workload,
            number,
            task,
        } = found;
        let (goal, stop_reason) = match task.goal {
            Goal::Run => ("run", None),
            Goal::Replace { .. } => ("replace", None),
            Goal::Stop { reason, .. } => ("stop", Some(reason.text())),
        };
        Self {
            standing: "live",
            id: workload
                .task_id(framework, number, task)
                .as_str()
                .to_owned(),
            name: format!("{}-{number}", workload.name),
            workload: workload.name.as_str(),
            number,
            state: task.state.mesos_name(),
            goal,
            stop_reason,
            healthy: task.healthy,
            confirmed: task.heard_in >= view.framework.subscription,
            hostname: &task.agent.hostname,
            ip: &task.agent.ip,
            agent_id: task.agent.id.as_str(),
            ports: &task.ports,
            revision: Some(task.revision),
            current: task.revision == workload.revision,
            launched_at: Some(task.launched_at.as_millis()),
            started_at: millis(task.started_at),
            running_at: millis(task.running_at),
            changed_at: Some(task.changed_at.as_millis()),
            message: task.message.as_deref(),
            said: None,
        }
    }

    /// A task of which there is no record.
    fn unknown(view: &'a View, framework: &str, id: &'a TaskId, status: &'a StatusUpdate) -> Self {
        let parts = id.parts(framework);
        let (workload, number) = parts.map_or(("", 0), |parts| {
            let mut workloads = view.workloads.iter();
            let known = workloads.find(|workload| *workload.task_name == *parts.workload);
            let name = known.map_or(parts.workload, |workload| workload.name.as_str());
            (name, parts.number)
        });
        Self {
            standing: "unknown",
            id: id.as_str().to_owned(),
            name: match workload {
                "" => id.as_str().to_owned(),
                name => format!("{name}-{number}"),
            },
            workload,
            number,
            state: status.state.mesos_name(),
            goal: "run",
            stop_reason: None,
            healthy: status.healthy,
            confirmed: true,
            hostname: "",
            ip: "",
            agent_id: status
                .agent
                .as_ref()
                .map_or("", gantry_core::AgentId::as_str),
            ports: &[],
            revision: None,
            current: false,
            launched_at: None,
            started_at: None,
            running_at: None,
            changed_at: None,
            message: status.message.as_deref(),
            said: None,
        }
    }

    fn with(mut self, said: Option<Arc<TaskSaid>>) -> Self {
        self.said = said;
        self
    }
}

/// A live task with the instance it fills.
#[derive(Clone, Copy)]
pub(super) struct Found<'a> {
    pub(super) workload: &'a Workload,
    pub(super) number: u32,
    pub(super) task: &'a Task,
}

/// What is asked of a task to be listed.
struct Filter {
    workload: Option<String>,
    state: Option<StateFilter>,
    health: Option<HealthFilter>,
    agent: Option<String>,
    text: Option<String>,
}

/// What the last health check said, if there is one.
#[derive(Clone, Copy)]
struct HealthFilter(Option<bool>);

impl HealthFilter {
    fn read(text: &str) -> Result<Self, ApiError> {
        match text {
            "healthy" => Ok(Self(Some(true))),
            "unhealthy" => Ok(Self(Some(false))),
            "unchecked" => Ok(Self(None)),
            _ => Err(ApiError::new(
                Code::BadRequest,
                "`health` must be `healthy`, `unhealthy` or `unchecked`",
            )),
        }
    }
}

enum StateFilter {
    /// Tasks without a record, whatever they do: none with one is ever in this state.
    Unknown,
    Exactly(&'static str),
    Starting,
    Unhealthy,
    /// Unreachable, unhealthy, or not confirmed.
    Trouble,
}

impl StateFilter {
    fn read(text: &str) -> Result<Self, ApiError> {
        let bare = text
            .strip_prefix("TASK_")
            .unwrap_or(text)
            .to_ascii_uppercase();
        let named = TaskState::ALL.into_iter().find(|state| {
            !state.is_terminal() && state.mesos_name().strip_prefix("TASK_") == Some(bare.as_str())
        });
        match (named, bare.as_str()) {
            // A launching task is shown as staging; whoever asks for what starts wants all three.
            (Some(TaskState::Unknown), _) => Ok(Self::Unknown),
            (Some(TaskState::Starting), _) if !text.starts_with("TASK_") => Ok(Self::Starting),
            (Some(state), _) => Ok(Self::Exactly(state.mesos_name())),
            (None, "UNHEALTHY") => Ok(Self::Unhealthy),
            (None, "TROUBLE") => Ok(Self::Trouble),
            (None, _) => Err(ApiError::new(
                Code::BadRequest,
                "`state` must be `staging`, `starting`, `running`, `killing`, `unreachable`, \
                 `unhealthy`, `trouble` or `unknown`",
            )),
        }
    }

    fn admits(&self, task: &Task, subscription: u32) -> bool {
        let lost = task.state == TaskState::Unreachable;
        match self {
            Self::Unknown => false,
            Self::Exactly(name) => task.state.mesos_name() == *name,
            Self::Starting => task.state.is_starting(),
            Self::Unhealthy => task.healthy == Some(false),
            Self::Trouble => lost || task.healthy == Some(false) || task.heard_in < subscription,
        }
    }
}

impl Filter {
    fn of(query: &Query) -> Result<Self, ApiError> {
        Ok(Self {
            workload: query.text("workload")?.map(str::to_owned),
            state: query.text("state")?.map(StateFilter::read).transpose()?,
            health: query.text("health")?.map(HealthFilter::read).transpose()?,
            agent: query.text("agent")?.map(str::to_owned),
            text: query.text("q")?.map(str::to_lowercase),
        })
    }

    const fn is_open(&self) -> bool {
        self.state.is_none() && self.health.is_none() && self.agent.is_none() && self.text.is_none()
    }

    fn admits(&self, found: Found<'_>, subscription: u32, scratch: &mut String) -> bool {
        let task = found.task;
        self.state
            .as_ref()
            .is_none_or(|state| state.admits(task, subscription))
            && self.health.is_none_or(|health| task.healthy == health.0)
            && self
                .agent
                .as_ref()
                .is_none_or(|agent| task.agent.id.as_str() == agent)
            && self
                .text
                .as_ref()
                .is_none_or(|text| matches_text(found, text, scratch))
    }
}

/// Whether the text (in lower case) is part of the instance's name, the run's id, or the agent's
/// host name, address or id.
fn matches_text(found: Found<'_>, text: &str, scratch: &mut String) -> bool {
    use std::fmt::Write as _;
    scratch.clear();
    let Found {
        workload,
        number,
        task,
    } = found;
    let agent = &task.agent;
    // Writing to a string does not fail.
    let _ = write!(
        scratch,
        ".{}-{number}.{} {} {} {}",
        workload.name, task.uuid, agent.hostname, agent.ip, agent.id
    );
    scratch.make_ascii_lowercase();
    scratch.contains(text)
}

/// By what a list is sorted; ties are in the order of workloads and instances.
#[derive(Clone, Copy)]
struct Order {
    by: OrderBy,
    descending: bool,
}

#[derive(Clone, Copy)]
enum OrderBy {
    State,
    Health,
    Host,
    Launched,
    Running,
}

impl Order {
    fn read(text: &str) -> Result<Self, ApiError> {
        let (descending, name) = match text.strip_prefix('-') {
            Some(name) => (true, name),
            None => (false, text),
        };
        let by = match name {
            "state" => OrderBy::State,
            "health" => OrderBy::Health,
            "host" => OrderBy::Host,
            "launched" => OrderBy::Launched,
            "running" => OrderBy::Running,
            _ => {
                return Err(ApiError::new(
                    Code::BadRequest,
                    "`sort` must be `state`, `health`, `host`, `launched` or `running`, with `-` \
                     in front for descending; without it the order is that of workloads and \
                     instances",
                ));
            }
        };
        Ok(Self { by, descending })
    }

    fn compare(self, one: &Task, other: &Task) -> Ordering {
        let ordering = match self.by {
            OrderBy::State => one.state.cmp(&other.state),
            OrderBy::Health => one.healthy.cmp(&other.healthy),
            OrderBy::Host => one.agent.hostname.cmp(&other.agent.hostname),
            OrderBy::Launched => one.launched_at.cmp(&other.launched_at),
            OrderBy::Running => {
                // A task that does not run yet comes after all that do.
                let key = |task: &Task| (task.running_at.is_none(), task.running_at);
                key(one).cmp(&key(other))
            }
        };
        if self.descending {
            ordering.reverse()
        } else {
            ordering
        }
    }
}

/// The part of the list that is asked for, and how long the list is.
fn select<'a>(
    view: &'a View,
    filter: &Filter,
    order: Option<Order>,
    window: Window,
) -> Result<(usize, Vec<Found<'a>>), ApiError> {
    let workloads: Vec<&Workload> = match &filter.workload {
        None => view.workloads.iter().map(AsRef::as_ref).collect(),
        Some(name) => {
            let workload = view.workload(name);
            vec![workload.ok_or_else(|| ApiError::unknown_workload(name))?]
        }
    };
    let subscription = view.framework.subscription;
    let mut scratch = String::new();
    let Some(order) = order else {
        return Ok(select_in_place(&workloads, filter, subscription, window));
    };
    let mut found: Vec<Found<'a>> = workloads
        .iter()
        .flat_map(|workload| all(workload))
        .filter(|found| filter.admits(*found, subscription, &mut scratch))
        .collect();
    let total = found.len();
    found.sort_by(|one, other| order.compare(one.task, other.task));
    Ok((total, window.cut(found)))
}

fn all(workload: &Workload) -> impl Iterator<Item = Found<'_>> {
    all_after(workload, 0)
}

fn all_after(workload: &Workload, skip: usize) -> impl Iterator<Item = Found<'_>> {
    workload.tasks_after(skip).map(move |(number, task)| Found {
        workload,
        number,
        task,
    })
}

/// Without sorting nothing is collected but the page, and without a filter whole workloads before
/// the page are skipped by their counts.
fn select_in_place<'a>(
    workloads: &[&'a Workload],
    filter: &Filter,
    subscription: u32,
    window: Window,
) -> (usize, Vec<Found<'a>>) {
    let mut scratch = String::new();
    let mut total = 0;
    let mut page = Vec::new();
    for workload in workloads {
        let tasks = workload.counts.tasks() as usize;
        if filter.is_open() {
            let skip = window.offset.saturating_sub(total);
            let missing = window.limit - page.len();
            if skip < tasks && missing > 0 {
                page.extend(all_after(workload, skip).take(missing));
            }
            total += tasks;
            continue;
        }
        for found in all(workload) {
            if filter.admits(found, subscription, &mut scratch) {
                if total >= window.offset && page.len() < window.limit {
                    page.push(found);
                }
                total += 1;
            }
        }
    }
    (total, page)
}

/// Tasks without a record, by id.
fn unknown<'a>(view: &'a View, framework: &str, filter: &Filter) -> Vec<TaskJson<'a>> {
    let is =
        |asked: &Option<String>, value: &str| asked.as_ref().is_none_or(|asked| asked == value);
    let listed = view.unknown_tasks.iter();
    listed
        .map(|(id, status)| TaskJson::unknown(view, framework, id, status))
        .filter(|task| is(&filter.workload, task.workload) && is(&filter.agent, task.agent_id))
        .filter(|task| filter.health.is_none_or(|health| task.healthy == health.0))
        .filter(|task| {
            filter.text.as_ref().is_none_or(|text| {
                let mut of = [&task.name, &task.id, task.agent_id].into_iter();
                of.any(|part| part.to_lowercase().contains(text))
            })
        })
        .collect()
}

/// `GET /api/v2/tasks?workload=&state=&health=&agent=&q=&sort=&offset=&limit=`
pub(crate) async fn list(
    state: web::Data<AppState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let query = Query::of(&request)?;
    let window = Window::of(&query)?;
    let filter = Filter::of(&query)?;
    let order = query.text("sort")?.map(Order::read).transpose()?;
    // What is neither filtered nor sorted is made faster than another thread is reached.
    let quick = filter.is_open() && order.is_none() && window.limit <= LIMIT_DEFAULT;
    let make = move |state: AppState| {
        let view = state.handle().view();
        let framework = &state.settings().framework_in_ids;
        if matches!(filter.state, Some(StateFilter::Unknown)) {
            let all = unknown(&view, framework, &filter);
            return to_json(&Page::new(window, all.len(), window.cut(all)));
        }
        let (total, found) = select(&view, &filter, order, window)?;
        let items = found.into_iter().map(|found| {
            let said = state.modules().said_of(found.task.uuid);
            TaskJson::new(&view, framework, found).with(said)
        });
        to_json(&Page::new(window, total, items.collect()))
    };
    if quick {
        return make(state.get_ref().clone()).map(json);
    }
    off_thread(&state, make).await
}

#[derive(Serialize, ToSchema)]
#[schema(as = TaskDetail)]
pub(super) struct Detail<'a> {
    /// `live`, `ended`, or `unknown` (of this framework, but of no workload we know).
    standing: &'static str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    task: Option<TaskJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended: Option<EndedJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<UnknownJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<InstanceJson<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sandbox: Option<SandboxJson<'a>>,
}

/// The instance that the task fills or filled.
#[derive(Serialize, ToSchema)]
#[schema(as = InstanceOfTask)]
struct InstanceJson<'a> {
    name: String,
    workload: &'a str,
    condition: Condition,
    wanted: bool,
    failures: u32,
    not_before: Option<u64>,
    /// Its live tasks, the newest last.
    tasks: Vec<String>,
    /// Its last tasks, the newest first.
    history: Vec<EndedJson<'a>>,
}

/// Where the files of the task are: what the agent's API needs to be asked for them.
#[derive(Serialize, ToSchema)]
#[schema(as = Sandbox)]
struct SandboxJson<'a> {
    agent_url: String,
    agent_id: &'a str,
    framework_id: Option<&'a str>,
    executor_id: &'a str,
}

#[derive(Serialize, ToSchema)]
#[schema(as = UnknownTask)]
struct UnknownJson<'a> {
    state: &'static str,
    agent_id: Option<&'a str>,
    reason: Option<&'a str>,
    message: Option<&'a str>,
}

impl<'a> From<&'a StatusUpdate> for UnknownJson<'a> {
    fn from(status: &'a StatusUpdate) -> Self {
        Self {
            state: status.state.mesos_name(),
            agent_id: status.agent.as_ref().map(gantry_core::AgentId::as_str),
            reason: status.reason.as_deref(),
            message: status.message.as_deref(),
        }
    }
}

pub(super) fn unknown_task(id: &TaskId) -> ApiError {
    gantry_core::Refusal::UnknownTask(id.clone()).into()
}

/// `GET /api/v2/tasks/{id}`
pub(crate) async fn get(
    state: web::Data<AppState>,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let view = state.handle().view();
    let id = TaskId::new(id.into_inner());
    let framework = &state.settings().framework_in_ids;
    let Some(found) = find(&view, framework, &id) else {
        let status = view
            .unknown_tasks
            .get(&id)
            .ok_or_else(|| unknown_task(&id))?;
        return Ok(HttpResponse::Ok().json(Detail {
            standing: "unknown",
            id: id.as_str(),
            task: None,
            ended: None,
            status: Some(status.into()),
            instance: None,
            sandbox: None,
        }));
    };
    let (workload, instance) = (found.workload, found.instance);
    let ended = |ended| EndedJson::new(framework, workload, instance.number, ended);
    let (standing, agent) = match found.run {
        Run::Live(task) => ("live", &task.agent),
        Run::Ended(task) => ("ended", &task.agent),
    };
    let ids = instance.tasks.iter().map(|task| {
        workload
            .task_id(framework, instance.number, task)
            .as_str()
            .to_owned()
    });
    Ok(HttpResponse::Ok().json(Detail {
        standing,
        id: id.as_str(),
        task: match found.run {
            Run::Live(task) => {
                let found = Found {
                    workload,
                    number: instance.number,
                    task,
                };
                let said = state.modules().said_of(task.uuid);
                Some(TaskJson::new(&view, framework, found).with(said))
            }
            Run::Ended(_) => None,
        },
        ended: match found.run {
            Run::Live(_) => None,
            Run::Ended(task) => Some(ended(task)),
        },
        status: None,
        instance: Some(InstanceJson {
            name: format!("{}-{}", workload.name, instance.number),
            workload: workload.name.as_str(),
            condition: Condition::of(workload),
            wanted: instance.wanted,
            failures: instance.failures,
            not_before: millis(instance.not_before),
            tasks: ids.collect(),
            history: instance.history.iter().map(ended).collect(),
        }),
        sandbox: Some(SandboxJson {
            agent_url: format!("http://{}:{}", agent.hostname, agent.port),
            agent_id: agent.id.as_str(),
            framework_id: view
                .framework
                .id
                .as_ref()
                .map(gantry_core::FrameworkId::as_str),
            executor_id: id.as_str(),
        }),
    }))
}

/// A run that the view knows.
#[derive(Clone, Copy)]
pub(super) struct Known<'a> {
    pub(super) workload: &'a Workload,
    pub(super) instance: &'a Instance,
    pub(super) run: Run<'a>,
}

#[derive(Clone, Copy)]
pub(super) enum Run<'a> {
    Live(&'a Task),
    Ended(&'a EndedTask),
}

pub(super) fn find<'a>(view: &'a View, framework: &str, id: &TaskId) -> Option<Known<'a>> {
    let parts = id.parts(framework)?;
    let mut workloads = view.workloads.iter();
    let workload = workloads.find(|workload| &*workload.task_name == parts.workload)?;
    let instance = workload.instances.get(parts.number)?;
    let live = instance
        .tasks
        .iter()
        .find(|task| task.uuid == parts.uuid)
        .map(Run::Live);
    let run = live.or_else(|| {
        let ended = instance
            .history
            .iter()
            .find(|ended| ended.uuid == parts.uuid);
        ended.map(Run::Ended)
    })?;
    Some(Known {
        workload,
        instance,
        run,
    })
}

#[derive(Serialize, ToSchema)]
pub(super) struct Restarting<'a> {
    task: &'a str,
    status: &'static str,
}

/// `POST /api/v2/tasks/{id}/restart` with `{"reason"?: text}`
pub(crate) async fn restart(
    state: web::Data<AppState>,
    id: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let OnlyReason { reason } = body::json_or_default(&state, payload).await?;
    let task = TaskId::new(id.as_str());
    if preview::is_asked(&Query::of(&request)?)? {
        return Ok(preview::restart(&state, &task)?.answer());
    }
    let command = Command::Restart { task };
    state.command(&request, reason, command).await?;
    let status = "restarting";
    Ok(HttpResponse::Accepted().json(Restarting { task: &id, status }))
}
