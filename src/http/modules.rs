//! Modules over HTTP: which there are, their routes, and the files of their pages.

use std::{collections::BTreeMap, fs, path::Path};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        Method, StatusCode,
        header::{self, HeaderMap},
    },
    web,
};
use gantry_modules::{Column, Hook, Menu, NoAnswer, Response, State, Status};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{
    AppState, body,
    error::{ApiError, Code},
    not_found,
    query::Query,
};
use crate::{auth::Caller, dashboard};

#[derive(Serialize, ToSchema)]
#[schema(as = Module)]
pub(super) struct ModuleJson<'a> {
    name: &'a str,
    /// `running`, `stopped`; `loading` while a term begins, `stand-by` where this process does not
    /// lead.
    state: &'static str,
    /// Why it is stopped.
    error: Option<String>,
    /// The last failure that did not stop it.
    last_failure: Option<String>,
    #[schema(value_type = Vec<BTreeMap<String, String>>)]
    menus: Vec<Menu>,
    /// Name and file of each page.
    pages: BTreeMap<String, String>,
    #[schema(value_type = Vec<BTreeMap<String, String>>)]
    columns: Vec<Column>,
    #[schema(value_type = Vec<String>)]
    hooks: Vec<Hook>,
    /// `GET /leader` and the like.
    routes: Vec<String>,
    scripts: Vec<String>,
    styles: Vec<String>,
    events_dropped: u64,
    calls: u64,
    failures: u64,
    processor_ms: u64,
}

impl<'a> ModuleJson<'a> {
    fn new(name: &'a str, status: Option<Status>) -> Self {
        let (state, error) = match status.as_ref().map(|status| &status.state) {
            None => ("stand-by", None),
            Some(State::Loading) => ("loading", None),
            Some(State::Running) => ("running", None),
            Some(State::Stopped { error }) => ("stopped", Some(error.clone())),
        };
        // What a stopped module registered is no longer there.
        let registration = status
            .as_ref()
            .filter(|_| state == "running")
            .map(|status| (*status.registration).clone())
            .unwrap_or_default();
        let routes = registration.routes.iter();
        let number = |of: fn(&Status) -> u64| status.as_ref().map_or(0, of);
        Self {
            name,
            state,
            error,
            last_failure: status.as_ref().and_then(|s| s.last_failure.clone()),
            routes: routes
                .map(|route| format!("{} {}", route.method, route.path))
                .collect(),
            menus: registration.menus,
            pages: registration.pages,
            columns: registration.columns,
            hooks: registration.hooks.into_iter().collect(),
            scripts: registration.scripts,
            styles: registration.styles,
            events_dropped: number(|status| status.events_dropped),
            calls: number(|status| status.calls),
            failures: number(|status| status.failures),
            processor_ms: number(|status| status.spent.as_millis() as u64),
        }
    }
}

/// `GET /api/v2/modules`
pub(super) async fn list(state: web::Data<AppState>) -> HttpResponse {
    let statuses = state.modules().statuses();
    let all: Vec<_> = statuses
        .into_iter()
        .map(|(name, status)| ModuleJson::new(name, status))
        .collect();
    HttpResponse::Ok().json(all)
}

/// `/api/v1/{path}`, where Gantry itself has nothing: the first module with a route that fits.
pub(super) async fn any_route(
    state: web::Data<AppState>,
    path: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    match answer(&state, None, &path, &request, payload).await? {
        Some(response) => Ok(response),
        None => Ok(not_found(request).await),
    }
}

/// `/api/v2/modules/{module}/{path}`: a route of this module.
pub(super) async fn route(
    state: web::Data<AppState>,
    path: web::Path<(String, String)>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let (module, path) = path.into_inner();
    match answer(&state, Some(&module), &path, &request, payload).await? {
        Some(response) => Ok(response),
        None => Ok(not_found(request).await),
    }
}

async fn answer(
    state: &AppState,
    module: Option<&str>,
    path: &str,
    request: &HttpRequest,
    payload: web::Payload,
) -> Result<Option<HttpResponse>, ApiError> {
    if state.modules().is_empty() {
        return Ok(None);
    }
    let body = body::read(payload, state.settings().body_max).await?;
    let asked = asked(request, &body)?;
    let path = format!("/{path}");
    let method = request.method().as_str();
    let modules = state.modules();
    let Some((module, answer)) = modules.route(module, method, &path, asked).await else {
        return Ok(None);
    };
    let response = answer.map_err(|no_answer| {
        let code = match no_answer {
            NoAnswer::Failed(_) => Code::ModuleFailed,
            NoAnswer::Stopped | NoAnswer::Busy => Code::Unavailable,
            NoAnswer::TimedOut => Code::TimedOut,
        };
        ApiError::new(code, format!("module {module}: {no_answer}"))
    })?;
    Ok(Some(shown(request, response)))
}

/// The request as a module sees it. Headers are left out: they hold sessions and tokens.
fn asked(request: &HttpRequest, body: &[u8]) -> Result<Value, ApiError> {
    let query = Query::of(request)?;
    let body = std::str::from_utf8(body)
        .map_err(|_| ApiError::new(Code::BadRequest, "the body must be UTF-8"))?;
    let content_type = text_of(request.headers(), &header::CONTENT_TYPE);
    let caller = Caller::of(request);
    Ok(json!({
        "query": serde_json::to_value(&query).unwrap_or_default(),
        "body": body,
        "json": serde_json::from_str::<Value>(body).unwrap_or_default(),
        "contentType": content_type,
        "caller": {"name": caller.name, "level": caller.access.name()},
    }))
}

fn text_of(headers: &HeaderMap, name: &header::HeaderName) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    Some(value.to_owned())
}

fn shown(request: &HttpRequest, response: Response) -> HttpResponse {
    let status = StatusCode::from_u16(response.status).unwrap_or(StatusCode::OK);
    let mut builder = HttpResponse::build(status);
    builder.insert_header((header::CACHE_CONTROL, "no-store"));
    if status == StatusCode::NO_CONTENT {
        return builder.finish();
    }
    builder.insert_header((header::CONTENT_TYPE, response.content_type));
    if request.method() == Method::HEAD {
        return builder.finish();
    }
    builder.body(response.body)
}

/// `GET /static-modules/{module}/{path}`: a file of a module's directory.
pub(super) async fn file(
    state: web::Data<AppState>,
    path: web::Path<(String, String)>,
    request: HttpRequest,
) -> HttpResponse {
    let (module, path) = path.into_inner();
    let directory = state.modules().directory(&module);
    let file = directory.and_then(|directory| dashboard::inside(directory, &path));
    let (Some(directory), Some(file)) = (directory, file) else {
        return not_found(request).await;
    };
    let directory = directory.clone();
    let content = web::block(move || {
        is_within(&directory, &file)
            .then(|| dashboard::read_small(&file))
            .transpose()
    });
    match content.await {
        Ok(Ok(Some(content))) => HttpResponse::Ok()
            .insert_header((header::CONTENT_TYPE, dashboard::content_type(&path)))
            .insert_header((header::CACHE_CONTROL, "no-cache"))
            .body(content),
        _ => not_found(request).await,
    }
}

/// Links do not lead out of the directory.
fn is_within(directory: &Path, file: &Path) -> bool {
    match (fs::canonicalize(directory), fs::canonicalize(file)) {
        (Ok(directory), Ok(file)) => file.starts_with(directory),
        _ => false,
    }
}
