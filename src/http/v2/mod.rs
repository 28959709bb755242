//! The full model under `/api/v2`: for the dashboard, the command line, and new clients.
//!
//! Keys are in snake case, times in milliseconds since the Unix epoch, memory and disk in
//! megabytes. Lists are paged by the server.

pub(super) mod agents;
pub(super) mod deployments;
mod explain;
pub(super) mod instances;
pub(super) mod leader;
mod openapi;
pub(super) mod output;
pub(super) mod overview;
mod preview;
pub(super) mod stored;
pub(super) mod tasks;
mod template;
pub(super) mod trends;
pub(super) mod workloads;

use actix_web::{HttpRequest, HttpResponse, ResponseError as _, http::header, web};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    AppState,
    error::{ApiError, Code},
    query::Query,
};

pub(super) use openapi::get as openapi;
pub(super) use stored::DECLARATION_BYTES_MAX;
pub(super) use trends::Trends;

/// Entries of a page unless asked otherwise.
const LIMIT_DEFAULT: usize = 100;

/// Most entries of a page.
const LIMIT_MAX: usize = 1_000;

pub(super) async fn method_not_allowed(request: HttpRequest) -> HttpResponse {
    let message = format!("{} takes no {}", request.path(), request.method());
    ApiError::new(Code::MethodNotAllowed, message).error_response()
}

/// Which part of a list is asked for.
#[derive(Clone, Copy)]
struct Window {
    offset: usize,
    limit: usize,
}

impl Window {
    fn of(query: &Query) -> Result<Self, ApiError> {
        let limit = query.number("limit", LIMIT_DEFAULT)?;
        if limit > LIMIT_MAX {
            return Err(ApiError::new(
                Code::BadRequest,
                format!("`limit` must be at most {LIMIT_MAX}"),
            ));
        }
        Ok(Self {
            offset: query.number("offset", 0)?,
            limit,
        })
    }

    /// The part of `all` that is asked for.
    fn cut<T>(self, all: impl IntoIterator<Item = T>) -> Vec<T> {
        all.into_iter().skip(self.offset).take(self.limit).collect()
    }
}

/// A part of a list.
#[derive(Serialize, ToSchema)]
struct Page<T> {
    items: Vec<T>,
    /// How many there are in all parts together.
    total: usize,
    offset: usize,
    limit: usize,
}

impl<T> Page<T> {
    fn new(window: Window, total: usize, items: Vec<T>) -> Self {
        Self {
            items,
            total,
            offset: window.offset,
            limit: window.limit,
        }
    }
}

/// Answers with JSON that takes long enough to make that other requests should not wait for it.
async fn off_thread(
    state: &web::Data<AppState>,
    make: impl FnOnce(AppState) -> Result<Vec<u8>, ApiError> + Send + 'static,
) -> Result<HttpResponse, ApiError> {
    let state = state.get_ref().clone();
    let made = web::block(move || make(state))
        .await
        .map_err(|_| ApiError::stopping())??;
    Ok(json(made))
}

/// Answers with JSON that is made already.
fn json(made: Vec<u8>) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "application/json"))
        .body(made)
}

fn to_json(value: &impl Serialize) -> Result<Vec<u8>, ApiError> {
    serde_json::to_vec(value)
        .map_err(|error| ApiError::new(Code::Internal, format!("no JSON: {error}")))
}
