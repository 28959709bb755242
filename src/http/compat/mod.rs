//! The face of mesos-framework-boilerplate: its routes, its JSON, its status codes.

pub(super) mod framework;
mod shapes;
pub(super) mod tasks;

use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;

use super::{
    AppState,
    body::wants_json,
    error::{ApiError, Code},
    query::Query,
};
use crate::runtime::Role;

/// What became of a request whose answer, by contract, does not say.
const RESULT_HEADER: &str = "x-gantry-result";

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
