//! `/tasks/*`

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use bytes::Bytes;
use futures_util::stream;
use gantry_core::{Answer, Command, TaskId, Timestamp, View, WorkloadName};
use serde::Serialize;

use super::{
    OK, Unconfirmed, answer, require_first_subscription,
    shapes::{TaskObject, is_launched, is_restarting, launch_order},
    unconfirmed,
};
use crate::http::{
    AppState,
    body::{self, ScaleBody},
    error::{ApiError, Code},
    query::Query,
};

/// How many tasks are written at once; the list may be of any length, the memory for it not.
const TASKS_PER_CHUNK: usize = 256;

/// `GET /tasks/launched`
pub(crate) async fn launched(state: web::Data<AppState>) -> Result<HttpResponse, ApiError> {
    require_first_subscription(&state)?;
    let state = state.get_ref().clone();
    let view = state.handle().view();
    let list = web::block(move || Arc::new(LaunchedList::new(state, view)))
        .await
        .map_err(|_| ApiError::stopping())?;
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CONTENT_TYPE, "application/json; charset=utf-8"));
    if list.places.len() <= TASKS_PER_CHUNK {
        return Ok(response.body(list.chunk(0)));
    }
    let chunks = 0..list.places.len().div_ceil(TASKS_PER_CHUNK);
    let chunks = chunks.map(move |index| Ok::<_, actix_web::Error>(list.chunk(index)));
    Ok(response.streaming(stream::iter(chunks)))
}

/// The launched tasks in the order of their launch.
struct LaunchedList {
    state: AppState,
    view: Arc<View>,
    places: Vec<Place>,
}

/// Where a task is in the view: moment of launch, workload, instance, position among its tasks.
type Place = (Timestamp, u32, u32, u8);

impl LaunchedList {
    fn new(state: AppState, view: Arc<View>) -> Self {
        let mut places = Vec::new();
        for (workload_index, workload) in view.workloads.iter().enumerate() {
            for instance in workload.instances.iter() {
                for (position, task) in instance.tasks.iter().enumerate() {
                    if is_launched(task) {
                        let (at, number) = launch_order(instance.number, task);
                        places.push((at, workload_index as u32, number, position as u8));
                    }
                }
            }
        }
        places.sort_unstable();
        Self {
            state,
            view,
            places,
        }
    }

    /// A part of the JSON array, brackets included where they belong.
    fn chunk(&self, index: usize) -> Bytes {
        let begin = index * TASKS_PER_CHUNK;
        let end = self.places.len().min(begin + TASKS_PER_CHUNK);
        let mut json = Vec::with_capacity((end - begin) * 1024 + 2);
        if index == 0 {
            json.push(b'[');
        }
        for (position, place) in self.places[begin..end].iter().enumerate() {
            if begin + position > 0 {
                json.push(b',');
            }
            self.write(*place, &mut json);
        }
        if end == self.places.len() {
            json.push(b']');
        }
        json.into()
    }

    fn write(&self, (_, workload, number, position): Place, into: &mut Vec<u8>) {
        let settings = self.state.settings();
        let workload = &self.view.workloads[workload as usize];
        let task = workload
            .instances
            .get(number)
            .and_then(|instance| instance.tasks.get(usize::from(position)));
        let object = task.and_then(|task| {
            let template = workload.revisions.get(&task.revision)?;
            Some(TaskObject::launched(
                workload,
                template,
                &settings.declared_counts,
                &settings.framework_in_ids,
                number,
                task,
                self.state.modules().said_of(task.uuid).as_deref(),
            ))
        });
        // Writing to memory does not fail, and a live task's template is always kept; `null`
        // keeps the array well-formed regardless.
        if serde_json::to_writer(&mut *into, &object).is_err() {
            into.extend_from_slice(b"null");
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TypeEntry<'a> {
    r#type: &'a str,
    running_instances: usize,
    allow_scaling: bool,
}

/// `GET /tasks/types`
pub(crate) async fn types(state: web::Data<AppState>) -> Result<HttpResponse, ApiError> {
    require_first_subscription(&state)?;
    let view = state.handle().view();
    let types: Vec<_> = view
        .workloads
        .iter()
        .filter(|workload| !workload.removed)
        .map(|workload| TypeEntry {
            r#type: workload.name.as_str(),
            running_instances: workload
                .tasks()
                .filter(|(_, task)| is_launched(task) && !is_restarting(task))
                .count(),
            allow_scaling: workload.allow_scaling,
        })
        .collect();
    Ok(HttpResponse::Ok().json(types))
}

#[derive(Serialize)]
struct Scaled {
    status: &'static str,
    from: u32,
    to: u32,
}

async fn scale(
    state: &AppState,
    request: &HttpRequest,
    workload: String,
    instances: u32,
    reason: Option<body::Reason>,
) -> Result<Scaled, ApiError> {
    require_first_subscription(state)?;
    let workload = WorkloadName::new(workload);
    let command = Command::Scale {
        workload,
        instances,
    };
    match state.command(request, reason, command).await? {
        Answer::Scaled { from, to } => Ok(Scaled {
            status: "ok",
            from,
            to,
        }),
        _ => Ok(Scaled {
            status: "ok",
            from: instances,
            to: instances,
        }),
    }
}

/// `PUT /tasks/types/{type}/scale/{instances}`: always 200 and empty, unless JSON is asked for.
pub(crate) async fn scale_by_path(
    state: web::Data<AppState>,
    path: web::Path<(String, String)>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let (workload, instances) = path.into_inner();
    let outcome = match instances.trim().parse() {
        // The original does nothing when asked for none.
        Ok(0) => Err(
            ApiError::new(Code::BadRequest, "`instances` must be at least 1 here").remedy(
                "PUT /tasks/types/{type}/scale with the body {\"instances\":0} scales to none",
            ),
        ),
        Ok(instances) => scale(&state, &request, workload, instances, None).await,
        Err(_) => Err(ApiError::new(
            Code::BadRequest,
            format!("`instances` must be a whole number from 1 to {}", u32::MAX),
        )),
    };
    let outcome =
        outcome.map(|scaled| (format!("scaled: {} -> {}", scaled.from, scaled.to), scaled));
    answer(&request, outcome, || HttpResponse::Ok().finish())
}

/// `PUT /tasks/types/{type}/scale` with `{"instances": n}`
pub(crate) async fn scale_by_body(
    state: web::Data<AppState>,
    path: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let ScaleBody { instances, reason } = body::json(&state, payload).await?;
    let scaled = scale(&state, &request, path.into_inner(), instances.0, reason).await?;
    Ok(HttpResponse::Ok().json(scaled))
}

/// `POST /tasks/{task}/restart`
pub(crate) async fn restart(
    state: web::Data<AppState>,
    path: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    require_first_subscription(&state)?;
    let task = TaskId::new(path.into_inner());
    act(&state, &request, Command::Restart { task }).await
}

/// `POST /tasks/rollingRestart?sure=yes`
pub(crate) async fn rolling_restart(
    state: web::Data<AppState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    act_when_sure(&state, &request, Command::RollingRestart { workload: None }).await
}

/// `POST /tasks/killAll?sure=yes`
pub(crate) async fn kill_all(
    state: web::Data<AppState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    act_when_sure(&state, &request, Command::KillAll { workload: None }).await
}

/// `POST /tasks/types/{type}/killAll?sure=yes`
pub(crate) async fn kill_type(
    state: web::Data<AppState>,
    path: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    #[derive(Serialize)]
    struct Parameters<'a> {
        r#type: &'a str,
    }
    require_first_subscription(&state)?;
    let workload = path.into_inner();
    let query = Query::of(&request)?;
    if !query.is_sure() || workload.trim().is_empty() {
        let parameters = Parameters { r#type: &workload };
        return Ok(HttpResponse::Ok().json(Unconfirmed {
            error: format!(
                "sure parameter must be yes and type parameter must not be blank, params:{}, req params: {}",
                query.as_json(),
                serde_json::to_string(&parameters).unwrap_or_default(),
            ),
        }));
    }
    let workload = Some(WorkloadName::new(workload));
    act(&state, &request, Command::KillAll { workload }).await
}

async fn act_when_sure(
    state: &AppState,
    request: &HttpRequest,
    command: Command,
) -> Result<HttpResponse, ApiError> {
    require_first_subscription(state)?;
    let query = Query::of(request)?;
    if !query.is_sure() {
        return Ok(unconfirmed(&query));
    }
    act(state, request, command).await
}

async fn act(
    state: &AppState,
    request: &HttpRequest,
    command: Command,
) -> Result<HttpResponse, ApiError> {
    let outcome = state.command(request, None, command).await;
    let outcome = outcome.map(|answer| {
        let result = match answer {
            Answer::Scaled { from, to } => format!("scaled: {from} -> {to}"),
            Answer::Restarting => "restarting".to_owned(),
            Answer::Deployment(id) => format!("deployment {id}"),
            Answer::Stopping { tasks } => format!("stopping {tasks} tasks"),
            Answer::Released => "released".to_owned(),
            Answer::Stored => "stored".to_owned(),
            Answer::SessionsEnded => "sessions ended".to_owned(),
        };
        (result, OK)
    });
    answer(request, outcome, || HttpResponse::Ok().json(OK))
}
