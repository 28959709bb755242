//! `/api/v2/tasks/{id}/output/…` and `…/usage`: what a task writes and uses, asked of its agent.

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use bytes::Bytes;
use futures_util::stream::{self, Stream};
use gantry_core::{AgentAddress, TaskId, View};
use gantry_mesos::operator::{Download, sandbox_path};
use serde::Serialize;
use utoipa::ToSchema;

use super::tasks::{Run, find, unknown_task};
use crate::{
    cluster::{OUTPUT_BYTES_MAX, Span},
    http::{
        AppState,
        error::{ApiError, Code},
        query::Query,
    },
};

/// Bytes of an answer unless asked otherwise.
const LIMIT_DEFAULT: u64 = 64 << 10;

/// The framework, and a run of it that the view still knows, with its agent.
struct Place<'a> {
    framework_id: &'a str,
    agent: &'a AgentAddress,
    alive: bool,
}

impl<'a> Place<'a> {
    fn of(state: &AppState, view: &'a View, id: &TaskId) -> Result<Self, ApiError> {
        let framework = &state.settings().framework_in_ids;
        let known = find(view, framework, id).ok_or_else(|| unknown_task(id))?;
        let (agent, alive) = match known.run {
            Run::Live(task) => (&*task.agent, true),
            Run::Ended(task) => (&*task.agent, false),
        };
        let framework_id = view.framework.id.as_ref().ok_or_else(|| {
            let message = "the framework has no id yet, so that nothing of it runs";
            ApiError::new(Code::NoOutput, message)
        })?;
        Ok(Self {
            framework_id: framework_id.as_str(),
            agent,
            alive,
        })
    }
}

/// `GET /api/v2/tasks/{id}/output/{stdout|stderr}?offset=&limit=`, `?tail=`, `&download=1`
pub(crate) async fn get(
    state: web::Data<AppState>,
    path: web::Path<(String, String)>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let (id, stream) = path.into_inner();
    if stream != "stdout" && stream != "stderr" {
        let message = "a task has the outputs `stdout` and `stderr`";
        return Err(ApiError::new(Code::NotFound, message));
    }
    let query = Query::of(&request)?;
    let id = TaskId::new(id);
    let view = state.handle().view();
    let place = Place::of(&state, &view, &id)?;
    let executor = id.as_str().into();
    let sandbox = sandbox_path(&place.framework_id.into(), &executor);
    let file = format!("{sandbox}/{stream}");
    let download = query.flag("download")?;
    let asked = Asked::of(&query)?;
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::CONTENT_TYPE, "text/plain; charset=utf-8"))
        .insert_header((header::CACHE_CONTROL, "no-store"));
    if download {
        let name = file_name(&id, &stream);
        let disposition = format!("attachment; filename=\"{name}\"");
        response.insert_header((header::CONTENT_DISPOSITION, disposition));
    }
    let Some((span, limit)) = asked.part(download) else {
        let (file, place) = state.cluster().download(place.agent, &file).await?;
        return Ok(response.streaming(chunks(file, place)));
    };
    let output = state.cluster().output(place.agent, &file, span, limit);
    let output = output.await?;
    Ok(response
        .insert_header(("x-gantry-offset", output.offset))
        .insert_header(("x-gantry-size", output.size))
        .body(output.bytes))
}

/// What the query asks for.
struct Asked {
    offset: Option<u64>,
    limit: Option<u64>,
    tail: Option<u64>,
}

impl Asked {
    fn of(query: &Query) -> Result<Self, ApiError> {
        let asked = Self {
            offset: query.optional_number("offset")?,
            limit: query.optional_number("limit")?,
            tail: query.optional_number("tail")?,
        };
        for (name, number) in [("limit", asked.limit), ("tail", asked.tail)] {
            if number.is_some_and(|number| number > OUTPUT_BYTES_MAX) {
                let message = format!("`{name}` must be at most {OUTPUT_BYTES_MAX} bytes");
                return Err(ApiError::new(Code::BadRequest, message));
            }
        }
        if asked.tail.is_some() && (asked.offset.is_some() || asked.limit.is_some()) {
            let message = "`tail` goes with neither `offset` nor `limit`";
            return Err(ApiError::new(Code::BadRequest, message));
        }
        Ok(asked)
    }

    /// The part that is asked for; `None` for the whole file.
    fn part(&self, download: bool) -> Option<(Span, u64)> {
        let limit = self.limit.unwrap_or(LIMIT_DEFAULT);
        match (self.tail, self.offset) {
            (Some(tail), _) => Some((Span::Last(tail), tail)),
            (None, None) if download && self.limit.is_none() => None,
            (None, offset) => Some((Span::From(offset.unwrap_or(0)), limit)),
        }
    }
}

/// A name that any file system takes: `web-3.6c1f….stdout.txt`.
fn file_name(id: &TaskId, stream: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let id = id.as_str().chars();
    let id: String = id.map(|c| if plain(c) { c } else { '_' }).collect();
    format!("{id}.{stream}.txt")
}

fn chunks<P>(file: Download, place: P) -> impl Stream<Item = Result<Bytes, actix_web::Error>> {
    stream::unfold(Some((file, place)), |state| async move {
        let (mut file, place) = state?;
        match file.chunk().await {
            Ok(None) => None,
            Ok(Some(chunk)) => Some((Ok(chunk), Some((file, place)))),
            Err(error) => Some((
                Err(actix_web::error::ErrorBadGateway(error.to_string())),
                None,
            )),
        }
    })
}

/// What a task uses, together with the executor that its agent runs it in.
#[derive(Serialize, ToSchema)]
#[schema(as = Usage)]
pub(super) struct UsageJson {
    /// By the agent's clock.
    at: u64,
    /// Processors in use, on average over the last seconds; null where the agent does not count.
    cpus: Option<f64>,
    cpus_limit: Option<f64>,
    mem: Option<f64>,
    mem_limit: Option<f64>,
}

/// `GET /api/v2/tasks/{id}/usage`
pub(crate) async fn usage(
    state: web::Data<AppState>,
    id: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let id = TaskId::new(id.into_inner());
    let view = state.handle().view();
    let place = Place::of(&state, &view, &id)?;
    if !place.alive {
        let message = format!("task `{id}` has ended: nothing is measured any more");
        return Err(ApiError::new(Code::NotRunning, message));
    }
    let usage = state
        .cluster()
        .usage(place.agent, place.framework_id, &id)
        .await?;
    #[allow(clippy::cast_precision_loss)]
    let megabytes = |bytes: u64| rounded(bytes as f64 / f64::from(1 << 20));
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let at = (usage.at.max(0.0) * 1000.0) as u64;
    Ok(HttpResponse::Ok().json(UsageJson {
        at,
        cpus: usage.cpus.map(rounded),
        cpus_limit: usage.cpus_limit.map(rounded),
        mem: usage.mem_bytes.map(megabytes),
        mem_limit: usage.mem_limit_bytes.map(megabytes),
    }))
}

/// To thousandths, as resources are.
fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}
