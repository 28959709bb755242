//! `/api/v2/workloads` and what can be done with them.

use actix_web::{HttpRequest, HttpResponse, web};
use gantry_core::{Answer, Command, Container, Template, View, Workload, WorkloadName};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Page, Window,
    explain::{Condition, CountsJson, Explanation, FunnelJson, sentences},
    preview,
    template::TemplateJson,
};
use crate::http::{
    AppState,
    body::{self, ScaleBody, WorkloadBody},
    error::{ApiError, Code},
    query::Query,
};

#[derive(Serialize, ToSchema)]
#[schema(as = Workload)]
pub(super) struct Summary<'a> {
    name: &'a str,
    condition: Condition,
    wanted: u32,
    declared: u32,
    counts: CountsJson,
    revision: u32,
    priority: i32,
    allow_scaling: bool,
    /// No longer declared; its tasks are being stopped.
    removed: bool,
    image: Option<&'a str>,
    demand: DemandJson<'a>,
    waits_for: Option<&'a str>,
    sentences: Vec<String>,
}

#[derive(Default, Serialize, ToSchema)]
#[schema(as = Demand)]
struct DemandJson<'a> {
    cpus: f64,
    mem: f64,
    disk: f64,
    gpus: f64,
    ports: usize,
    fixed_ports: &'a [u16],
}

impl<'a> Summary<'a> {
    fn new(view: &View, workload: &'a Workload, problem: Option<&String>) -> Self {
        let demand = workload.template().map(|template| &template.demand);
        Self {
            name: workload.name.as_str(),
            condition: Condition::of(workload),
            wanted: workload.desired,
            declared: workload.declared,
            counts: (&workload.counts).into(),
            revision: workload.revision,
            priority: workload.priority,
            allow_scaling: workload.allow_scaling,
            removed: workload.removed,
            image: image(workload),
            demand: demand
                .map(|demand| DemandJson {
                    cpus: demand.cpus.as_f64(),
                    mem: demand.mem.as_f64(),
                    disk: demand.disk.as_f64(),
                    gpus: demand.gpus.as_f64(),
                    ports: demand.port_count(),
                    fixed_ports: &demand.fixed_ports,
                })
                .unwrap_or_default(),
            waits_for: workload.waits_for.as_ref().map(WorkloadName::as_str),
            sentences: sentences(view, workload, problem.cloned()),
        }
    }
}

/// The image of the current revision, if it has one.
pub(crate) fn image(workload: &Workload) -> Option<&str> {
    match &workload.template()?.container {
        Container::None => None,
        Container::Docker { image, .. } => Some(image),
        Container::Mesos { image, .. } => image.as_deref(),
    }
}

/// `GET /api/v2/workloads?q=&condition=trouble&sort=declared|name|trouble&offset=&limit=`
pub(crate) async fn list(
    state: web::Data<AppState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let query = Query::of(&request)?;
    let window = Window::of(&query)?;
    let wanted = query.text("q")?.map(str::to_lowercase);
    let only_trouble = match query.text("condition")? {
        None => false,
        Some("trouble") => true,
        Some(_) => {
            return Err(ApiError::new(
                Code::BadRequest,
                "`condition` must be `trouble`",
            ));
        }
    };
    let view = state.handle().view();
    let mut found: Vec<_> = view
        .workloads
        .iter()
        .filter(|workload| {
            let name = workload.name.as_str();
            wanted
                .as_ref()
                .is_none_or(|wanted| name.to_lowercase().contains(wanted))
                && (!only_trouble || Condition::of(workload).is_trouble())
        })
        .collect();
    match query.text("sort")? {
        None | Some("declared") => {}
        Some("name") => found.sort_by_key(|workload| &workload.name),
        Some("trouble") => found.sort_by_key(|workload| Condition::of(workload)),
        Some(_) => {
            let message = "`sort` must be `declared`, `name` or `trouble`";
            return Err(ApiError::new(Code::BadRequest, message));
        }
    }
    let total = found.len();
    let problem = state.handle().connection().problem();
    let items = window.cut(found);
    let items = items
        .into_iter()
        .map(|workload| Summary::new(&view, workload, problem.as_ref()))
        .collect();
    Ok(HttpResponse::Ok().json(Page::new(window, total, items)))
}

pub(super) fn find<'a>(view: &'a View, name: &str) -> Result<&'a Workload, ApiError> {
    let workload = view.workload(name).map(AsRef::as_ref);
    workload.ok_or_else(|| ApiError::unknown_workload(name))
}

#[derive(Serialize, ToSchema)]
#[schema(as = WorkloadDetail)]
pub(super) struct Detail<'a> {
    #[serde(flatten)]
    summary: Summary<'a>,
    back_off: BackOffJson,
    wait_healthy: bool,
    /// What tasks of the current revision are made of; secrets are masked.
    template: Option<TemplateJson<'a>>,
    /// Revisions that still have tasks, or are current.
    revisions: Vec<u32>,
    instances: usize,
    funnel: Option<FunnelJson<'a>>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = BackOff)]
struct BackOffJson {
    initial_seconds: f64,
    factor: f64,
    max_seconds: f64,
    stable_after_seconds: f64,
}

/// `GET /api/v2/workloads/{name}`
pub(crate) async fn get(
    state: web::Data<AppState>,
    name: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let view = state.handle().view();
    let workload = find(&view, &name)?;
    let problem = state.handle().connection().problem();
    let back_off = &workload.back_off;
    Ok(HttpResponse::Ok().json(Detail {
        summary: Summary::new(&view, workload, problem.as_ref()),
        back_off: BackOffJson {
            initial_seconds: back_off.initial.as_secs_f64(),
            factor: f64::from(back_off.factor_thousandths) / 1000.0,
            max_seconds: back_off.max.as_secs_f64(),
            stable_after_seconds: back_off.stable_after.as_secs_f64(),
        },
        wait_healthy: workload.wait_healthy,
        template: workload
            .template()
            .map(AsRef::as_ref)
            .map(|template: &Template| template.into()),
        revisions: workload.revisions.keys().copied().collect(),
        instances: workload.instances.len(),
        funnel: workload.funnel.as_deref().map(FunnelJson::from),
    }))
}

/// `GET /api/v2/workloads/{name}/explain`
pub(crate) async fn explain(
    state: web::Data<AppState>,
    name: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let view = state.handle().view();
    let workload = find(&view, &name)?;
    let problem = state.handle().connection().problem();
    let framework = &state.settings().framework_in_ids;
    Ok(HttpResponse::Ok().json(Explanation::new(&view, workload, framework, problem)))
}

#[derive(Serialize, ToSchema)]
#[schema(as = Scaled)]
pub(super) struct Scaled<'a> {
    workload: &'a str,
    from: u32,
    to: u32,
}

/// `PUT /api/v2/workloads/{name}/scale` with `{"instances": n, "reason"?: text}`
pub(crate) async fn scale(
    state: web::Data<AppState>,
    name: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let ScaleBody { instances, reason } = body::json(&state, payload).await?;
    if preview::is_asked(&Query::of(&request)?)? {
        return Ok(preview::scale(&state, &name, instances.0)?.answer());
    }
    let command = Command::Scale {
        workload: WorkloadName::new(name.as_str()),
        instances: instances.0,
    };
    let (from, to) = match state.command(&request, reason, command).await? {
        Answer::Scaled { from, to } => (from, to),
        _ => (instances.0, instances.0),
    };
    let workload = name.as_str();
    Ok(HttpResponse::Ok().json(Scaled { workload, from, to }))
}

#[derive(Serialize, ToSchema)]
pub(super) struct Stopping {
    tasks: u32,
}

/// `POST /api/v2/kill` with `{"workload"?: name, "reason"?: text}`: every task, or those of one
/// workload, is stopped and started again.
pub(crate) async fn kill(
    state: web::Data<AppState>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let WorkloadBody { workload, reason } = body::json(&state, payload).await?;
    let workload = workload.map(WorkloadName::new);
    if preview::is_asked(&Query::of(&request)?)? {
        return Ok(preview::kill(&state, workload.as_ref())?.answer());
    }
    let answer = state
        .command(&request, reason, Command::KillAll { workload })
        .await?;
    let tasks = match answer {
        Answer::Stopping { tasks } => tasks,
        _ => 0,
    };
    Ok(HttpResponse::Accepted().json(Stopping { tasks }))
}
