//! The operator APIs: `POST /api/v1` of master and agents, and the older endpoints.

use std::sync::Arc;

use actix_web::web::{Bytes, Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use gantry_mesos::v1::master::{Call, call};
use gantry_mesos::v1::{self, agent};
use serde::Deserialize;
use serde_json::json;

use super::{Site, accepted, method_not_allowed, posted, text};
use crate::state::{AgentKey, Reply, State, VERSION, version_info};
use crate::wire::{Format, RecordStream};

pub(super) fn master(site: &Data<Site>, request: &HttpRequest, body: &Bytes) -> HttpResponse {
    answer(site, request, body).unwrap_or_else(|reply| text(&reply))
}

fn answer(site: &Data<Site>, request: &HttpRequest, body: &Bytes) -> Result<HttpResponse, Reply> {
    let format = posted(request)?;
    let call: Call = format.decode(body).map_err(Reply::bad)?;
    let invalid = |e: &str| Reply::bad(format!("Failed to validate master::Call: {e}"));
    let kind = call
        .r#type
        .and_then(|t| call::Type::try_from(t).ok())
        .ok_or_else(|| invalid("Expecting 'type' to be present"))?;
    let format = accepted(request)?;
    if kind == call::Type::Subscribe {
        return Ok(subscribe(site, format));
    }
    if let Some(answer) = site.hub.turn(|s| s.query(kind)) {
        return Ok(HttpResponse::Ok()
            .content_type(format.name())
            .body(format.encode(&answer)));
    }
    let reply = site
        .hub
        .turn(|s| command(s, kind, call))
        .map_err(|missing| invalid(&format!("Expecting '{missing}' to be present")))?;
    Ok(text(&reply))
}

/// The calls that change something. The error names the sub-message that is missing.
fn command(state: &mut State, kind: call::Type, call: Call) -> Result<Reply, &'static str> {
    Ok(match kind {
        call::Type::Teardown => {
            let id = call.teardown.ok_or("teardown")?.framework_id;
            state.teardown(&id.value)
        }
        call::Type::MarkAgentGone => {
            let id = call.mark_agent_gone.ok_or("mark_agent_gone")?.agent_id;
            state.mark_agent_gone(&id.value)
        }
        call::Type::DrainAgent => {
            let drain = call.drain_agent.ok_or("drain_agent")?;
            let grace = drain.max_grace_period.as_ref().map(|d| v1::DurationInfo {
                nanoseconds: d
                    .seconds
                    .saturating_mul(1_000_000_000)
                    .saturating_add(i64::from(d.nanos)),
            });
            let config = v1::DrainConfig {
                max_grace_period: grace,
                mark_gone: Some(drain.mark_gone()),
            };
            state.drain_agent(&drain.agent_id.value, config)
        }
        call::Type::DeactivateAgent => {
            let id = call.deactivate_agent.ok_or("deactivate_agent")?.agent_id;
            state.activate_agent(&id.value, false)
        }
        call::Type::ReactivateAgent => {
            let id = call.reactivate_agent.ok_or("reactivate_agent")?.agent_id;
            state.activate_agent(&id.value, true)
        }
        other => {
            let text = format!(
                "{} is not implemented by the local cluster",
                other.as_str_name()
            );
            Reply::new(501, text)
        }
    })
}

fn subscribe(site: &Data<Site>, format: Format) -> HttpResponse {
    let outbox = site.hub.turn(|s| s.operator_subscribe(format));
    let hub = Arc::clone(&site.hub);
    let own = Arc::clone(&outbox);
    let stream = RecordStream::new(outbox, move || hub.turn(|s| s.operator_closed(&own)));
    HttpResponse::Ok()
        .content_type(format.name())
        .streaming(stream)
}

/// `POST /api/v1` of an agent: health, version, and what runs there.
pub(super) fn agent(
    site: &Data<Site>,
    key: AgentKey,
    request: &HttpRequest,
    body: &Bytes,
) -> HttpResponse {
    agent_answer(site, key, request, body).unwrap_or_else(|reply| text(&reply))
}

fn agent_answer(
    site: &Data<Site>,
    key: AgentKey,
    request: &HttpRequest,
    body: &Bytes,
) -> Result<HttpResponse, Reply> {
    let format = posted(request)?;
    let call: agent::Call = format.decode(body).map_err(Reply::bad)?;
    let kind = call
        .r#type
        .and_then(|t| agent::call::Type::try_from(t).ok())
        .ok_or_else(|| {
            Reply::bad("Failed to validate agent::Call: Expecting 'type' to be present")
        })?;
    let format = accepted(request)?;
    let answer = site.hub.turn(|s| s.agent_query(key, kind)).ok_or_else(|| {
        Reply::new(
            501,
            format!(
                "{} is not implemented by the local cluster",
                kind.as_str_name()
            ),
        )
    })?;
    Ok(HttpResponse::Ok()
        .content_type(format.name())
        .body(format.encode(&answer)))
}

pub(super) fn version() -> HttpResponse {
    HttpResponse::Ok()
        .json(json!({ "version": VERSION, "build_user": "", "git_sha": version_info().git_sha() }))
}

pub(super) fn metrics(site: &Data<Site>) -> HttpResponse {
    let metrics: serde_json::Map<_, _> = site
        .hub
        .turn(|s| s.metrics())
        .into_iter()
        .map(|(name, value)| (name, json!(value)))
        .collect();
    HttpResponse::Ok().json(metrics)
}

#[derive(Default, Deserialize)]
struct Filter {
    slave_id: Option<String>,
    framework_id: Option<String>,
    task_id: Option<String>,
    limit: Option<usize>,
    offset: Option<usize>,
    order: Option<String>,
}

pub(super) fn legacy(site: &Data<Site>, path: &str, request: &HttpRequest) -> HttpResponse {
    let Ok(Query(filter)) = Query::<Filter>::from_query(request.query_string()) else {
        return text(&Reply::bad(
            "Failed to parse the query: expecting numbers in 'limit' and 'offset'",
        ));
    };
    let value = site.hub.turn(|s| match path {
        "/slaves" => s.legacy_slaves(filter.slave_id.as_deref()),
        "/frameworks" => s.legacy_frameworks(filter.framework_id.as_deref()),
        "/tasks" => s.legacy_tasks(
            filter.limit.unwrap_or(100),
            filter.offset.unwrap_or(0),
            filter.order.as_deref() == Some("asc"),
            filter.framework_id.as_deref(),
            filter.task_id.as_deref(),
        ),
        _ => s.legacy_state(),
    });
    HttpResponse::Ok().json(value)
}

/// `POST /teardown` with the form field `frameworkId`.
pub(super) fn teardown(site: &Data<Site>, request: &HttpRequest, body: &Bytes) -> HttpResponse {
    if request.method() != actix_web::http::Method::POST {
        return text(&method_not_allowed(request.method()));
    }
    let form = String::from_utf8_lossy(body);
    match form
        .split('&')
        .find_map(|pair| pair.strip_prefix("frameworkId="))
    {
        Some(id) => text(&site.hub.turn(|s| s.teardown(id))),
        None => text(&Reply::bad("Missing 'frameworkId' query parameter")),
    }
}
