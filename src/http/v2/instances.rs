//! `/api/v2/workloads/{name}/instances`: the slots of a workload, with what filled them before.

use actix_web::{HttpRequest, HttpResponse, web};
use gantry_core::{Instance, Veto, View, Waiting, Workload};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Page, Window,
    explain::{EndedJson, veto},
    off_thread,
    overview::millis,
    tasks::{Found, TaskJson},
    to_json,
    workloads::find,
};
use crate::http::{
    AppState,
    error::{ApiError, Code},
    query::Query,
};

#[derive(Serialize, ToSchema)]
#[schema(as = Instance)]
pub(super) struct InstanceJson<'a> {
    /// `web-3`
    name: String,
    workload: &'a str,
    number: u32,
    /// Whether it is to stay; one that is not goes when its last task has ended.
    wanted: bool,
    /// What it waits for, while it has no task or no replacement.
    waiting: Option<WaitingJson<'a>>,
    /// Failures since the last stable run.
    failures: u32,
    not_before: Option<u64>,
    /// Its live tasks, the newest last.
    tasks: Vec<TaskJson<'a>>,
    /// Its last tasks, the newest first; at most 5.
    history: Vec<EndedJson<'a>>,
}

/// What an instance waits for.
#[derive(Serialize, ToSchema)]
#[schema(as = Waiting)]
pub(super) struct WaitingJson<'a> {
    /// `reconciliation`, `admission`, `offer`, `back_off` or `brake`
    #[serde(rename = "for")]
    pub(super) waits_for: &'static str,
    pub(super) since: u64,
    /// The end of the back-off; when a module that has refused is asked again.
    pub(super) until: Option<u64>,
    pub(super) refused: Option<RefusedJson<'a>>,
}

/// The refusal of a module to have an instance launched.
#[derive(Serialize, ToSchema)]
#[schema(as = Refused)]
pub(super) struct RefusedJson<'a> {
    module: &'a str,
    reason: &'a str,
    at: u64,
    /// When it is asked again.
    until: u64,
}

impl<'a> From<&'a Veto> for RefusedJson<'a> {
    fn from(veto: &'a Veto) -> Self {
        Self {
            module: &veto.module,
            reason: &veto.reason,
            at: veto.at.as_millis(),
            until: veto.until.as_millis(),
        }
    }
}

impl<'a> From<&'a Waiting> for WaitingJson<'a> {
    fn from(waiting: &'a Waiting) -> Self {
        let veto = veto(waiting);
        let (waits_for, since, until) = match waiting {
            Waiting::Admission { since, .. } => ("admission", since, veto.map(|veto| veto.until)),
            Waiting::Offer { since } => ("offer", since, None),
            Waiting::BackOff { since, until } => ("back_off", since, Some(*until)),
            Waiting::Reconciliation { since } => ("reconciliation", since, None),
            Waiting::Brake { since } => ("brake", since, None),
        };
        Self {
            waits_for,
            since: since.as_millis(),
            until: millis(until),
            refused: veto.map(RefusedJson::from),
        }
    }
}

impl<'a> InstanceJson<'a> {
    fn new(view: &View, framework: &str, workload: &'a Workload, instance: &'a Instance) -> Self {
        let number = instance.number;
        let tasks = instance.tasks.iter().map(|task| Found {
            workload,
            number,
            task,
        });
        let history = instance.history.iter();
        Self {
            name: format!("{}-{number}", workload.name),
            workload: workload.name.as_str(),
            number,
            wanted: instance.wanted,
            waiting: instance.waiting.as_ref().map(WaitingJson::from),
            failures: instance.failures,
            not_before: millis(instance.not_before),
            tasks: tasks
                .map(|found| TaskJson::new(view, framework, found))
                .collect(),
            history: history
                .map(|ended| EndedJson::new(framework, workload, number, ended))
                .collect(),
        }
    }
}

/// `GET /api/v2/workloads/{name}/instances?offset=&limit=`, by number.
pub(crate) async fn list(
    state: web::Data<AppState>,
    name: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let window = Window::of(&Query::of(&request)?)?;
    off_thread(&state, move |state| {
        let view = state.handle().view();
        let workload = find(&view, &name)?;
        let framework = &state.settings().framework_in_ids;
        let instances = window.cut(workload.instances.iter()).into_iter();
        let items = instances
            .map(|instance| InstanceJson::new(&view, framework, workload, instance))
            .collect();
        to_json(&Page::new(window, workload.instances.len(), items))
    })
    .await
}

/// `GET /api/v2/workloads/{name}/instances/{number}`
pub(crate) async fn get(
    state: web::Data<AppState>,
    path: web::Path<(String, u32)>,
) -> Result<HttpResponse, ApiError> {
    let (name, number) = path.into_inner();
    let view = state.handle().view();
    let workload = find(&view, &name)?;
    let instance = workload.instances.get(number).ok_or_else(|| {
        let message = format!("`{name}` has no instance {number}");
        ApiError::new(Code::UnknownInstance, message)
    })?;
    let framework = &state.settings().framework_in_ids;
    Ok(HttpResponse::Ok().json(InstanceJson::new(&view, framework, workload, instance)))
}
