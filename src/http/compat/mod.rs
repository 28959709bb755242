//! The face of mesos-framework-boilerplate: its routes, its JSON, its status codes. Each route is
//! there under `/api/v1` and without it.

mod framework;
mod shapes;
mod tasks;

use actix_web::{
    HttpRequest, HttpResponse,
    web::{self, ServiceConfig},
};
use serde::Serialize;

use super::{
    AppState,
    body::wants_json,
    error::{ApiError, Code},
    logs, not_found,
    query::Query,
    read,
};
use crate::runtime::Role;

/// What became of a request whose answer, by contract, does not say.
const RESULT_HEADER: &str = "x-gantry-result";

pub(crate) fn routes(config: &mut ServiceConfig) {
    for prefix in ["/api/v1", ""] {
        let mut route = |path: &str, routes: Vec<actix_web::Route>| {
            let mut resource = web::resource(format!("{prefix}{path}"));
            for route in routes {
                resource = resource.route(route);
            }
            // The original answers a wrong method like an unknown path.
            config.service(resource.default_service(web::to(not_found)));
        };
        route(
            "/framework/configuration",
            vec![read().to(framework::configuration)],
        );
        route("/framework/info", vec![read().to(framework::info)]);
        route("/framework/stats", vec![read().to(framework::stats)]);
        route(
            "/framework/restart",
            vec![
                web::post().to(framework::restart),
                web::get().to(framework::restart_by_get),
            ],
        );
        route("/tasks/launched", vec![read().to(tasks::launched)]);
        route("/tasks/types", vec![read().to(tasks::types)]);
        route(
            "/tasks/rollingRestart",
            vec![web::post().to(tasks::rolling_restart)],
        );
        route("/tasks/killAll", vec![web::post().to(tasks::kill_all)]);
        route(
            "/tasks/types/{type}/killAll",
            vec![web::post().to(tasks::kill_type)],
        );
        route(
            "/tasks/types/{type}/scale",
            vec![web::put().to(tasks::scale_by_body)],
        );
        route(
            "/tasks/types/{type}/scale/{instances}",
            vec![web::put().to(tasks::scale_by_path)],
        );
        route(
            "/tasks/{task}/restart",
            vec![web::post().to(tasks::restart)],
        );
        route("/logs", vec![read().to(logs::get)]);
    }
    config
        .route("/moduleList", read().to(framework::module_list))
        .route(
            "/stylesheets/dynamic-style.css",
            read().to(framework::dynamic_style),
        );
}

/// The original has none of these routes before its first subscription (it answers 404); we have
/// them, and say what is missing. What was stored is the state of one that had subscribed.
fn require_first_subscription(state: &AppState) -> Result<(), ApiError> {
    let leads = state.handle().standing().role == Role::Leader;
    if !leads || state.handle().view().framework.subscription > 0 {
        return Ok(());
    }
    let problem = state.handle().connection().problem();
    Err(ApiError::new(
        Code::Unavailable,
        problem.unwrap_or_else(|| "not yet subscribed to the Mesos master".to_owned()),
    )
    .remedy("GET /api/v2/overview answers at any time"))
}

/// The original's answer to everything it took.
#[derive(Serialize)]
struct Ok_ {
    status: &'static str,
}

const OK: Ok_ = Ok_ { status: "ok" };

/// The original's answer to a request that is not confirmed; with status 200.
#[derive(Serialize)]
struct Unconfirmed {
    error: String,
}

fn unconfirmed(query: &Query) -> HttpResponse {
    HttpResponse::Ok().json(Unconfirmed {
        error: format!("sure parameter must be yes, params:{}", query.as_json()),
    })
}

/// Answers as the original does: `original` whether or not something happened. What did happen is
/// in [`RESULT_HEADER`]; clients that ask for JSON alone get `outcome` itself. What Gantry could
/// not even try is an error for everybody.
fn answer<T: Serialize>(
    request: &HttpRequest,
    outcome: Result<(String, T), ApiError>,
    original: impl FnOnce() -> HttpResponse,
) -> Result<HttpResponse, ApiError> {
    let strict = wants_json(request);
    let (result, mut response) = match outcome {
        Ok((result, value)) if strict => (result, HttpResponse::Ok().json(value)),
        Ok((result, _)) => (result, original()),
        Err(error) if strict || !error.is_refusal() => return Err(error),
        Err(error) => (format!("refused: {error}"), original()),
    };
    // Names of workloads are the operator's own and may hold anything.
    let result: String = result
        .chars()
        .map(|c| {
            if c.is_ascii_graphic() || c == ' ' {
                c
            } else {
                '?'
            }
        })
        .collect();
    if let Ok(value) = result.parse() {
        let name = actix_web::http::header::HeaderName::from_static(RESULT_HEADER);
        response.headers_mut().insert(name, value);
    }
    Ok(response)
}
