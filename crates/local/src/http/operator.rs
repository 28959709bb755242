//! The operator APIs: `POST /api/v1` of master and agents, and the older endpoints.

use std::sync::Arc;

use gantry_mesos::v1::master::{Call, call};
use gantry_mesos::v1::{self, agent};
use hyper::{Method, StatusCode};
use serde_json::json;

use super::server::Response;
use super::{
    Request, Site, accepted, answer, containers, files, json as json_answer, method_not_allowed,
    posted, streaming, text,
};
use crate::state::{AgentKey, Reply, State, VERSION};
use crate::wire::{Format, RecordStream};

pub(super) fn master(site: &Arc<Site>, request: &Request) -> Response {
    checked(site, request).unwrap_or_else(|reply| text(&reply))
}

fn checked(site: &Arc<Site>, request: &Request) -> Result<Response, Reply> {
    let format = posted(request)?;
    let call: Call = format.decode(&request.body).map_err(Reply::bad)?;
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
        return Ok(encoded(format, &answer));
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

fn subscribe(site: &Arc<Site>, format: Format) -> Response {
    let outbox = site.hub.turn(|s| s.operator_subscribe(format));
    let hub = Arc::clone(&site.hub);
    let own = Arc::clone(&outbox);
    let stream = RecordStream::new(outbox, move || hub.turn(|s| s.operator_closed(&own)));
    streaming(&[("Content-Type", format.name())], stream)
}

/// `POST /api/v1` of an agent: health, version, and what runs there.
pub(super) fn agent(site: &Arc<Site>, key: AgentKey, request: &Request) -> Response {
    agent_answer(site, key, request).unwrap_or_else(|reply| text(&reply))
}

fn agent_answer(site: &Arc<Site>, key: AgentKey, request: &Request) -> Result<Response, Reply> {
    let format = posted(request)?;
    let call: agent::Call = format.decode(&request.body).map_err(Reply::bad)?;
    let kind = call
        .r#type
        .and_then(|t| agent::call::Type::try_from(t).ok())
        .ok_or_else(|| {
            Reply::bad("Failed to validate agent::Call: Expecting 'type' to be present")
        })?;
    let format = accepted(request)?;
    let invalid = |missing: &str| {
        let text = format!("Failed to validate agent::Call: Expecting '{missing}' to be present");
        Reply::bad(text)
    };
    match kind {
        agent::call::Type::ListFiles => {
            let asked = call.list_files.ok_or_else(|| invalid("list_files"))?;
            let answer = agent::Response {
                r#type: Some(agent::response::Type::ListFiles.into()),
                list_files: Some(files::list(site, key, &asked.path)?),
                ..agent::Response::default()
            };
            return Ok(encoded(format, &answer));
        }
        agent::call::Type::ReadFile => {
            let asked = call.read_file.ok_or_else(|| invalid("read_file"))?;
            let answer = agent::Response {
                r#type: Some(agent::response::Type::ReadFile.into()),
                read_file: Some(files::part(site, key, &asked)?),
                ..agent::Response::default()
            };
            return Ok(encoded(format, &answer));
        }
        agent::call::Type::GetContainers => {
            let asked = call.get_containers.unwrap_or_default();
            return Ok(encoded(format, &containers::answer(site, key, &asked)));
        }
        _ => {}
    }
    let answer = site.hub.turn(|s| s.agent_query(key, kind)).ok_or_else(|| {
        Reply::new(
            501,
            format!(
                "{} is not implemented by the local cluster",
                kind.as_str_name()
            ),
        )
    })?;
    Ok(encoded(format, &answer))
}

fn encoded<M: gantry_mesos::descriptor::MesosMessage>(
    format: crate::wire::Format,
    message: &M,
) -> Response {
    answer(
        StatusCode::OK,
        &[("Content-Type", format.name())],
        format.encode(message),
    )
}

pub(super) fn version() -> Response {
    json_answer(&json!({ "version": VERSION, "build_user": "", "git_sha": "" }))
}

pub(super) fn metrics(site: &Arc<Site>) -> Response {
    let metrics: serde_json::Map<_, _> = site
        .hub
        .turn(|s| s.metrics())
        .into_iter()
        .map(|(name, value)| (name, json!(value)))
        .collect();
    json_answer(&metrics.into())
}

pub(super) fn legacy(site: &Arc<Site>, path: &str, request: &Request) -> Response {
    let number = |name: &str, default: usize| match request.query(name) {
        None => Ok(default),
        Some(text) => text.parse().map_err(|_| {
            Reply::bad(format!(
                "Failed to parse {name}: Failed to convert '{text}' to number"
            ))
        }),
    };
    let (limit, offset) = match (number("limit", 100), number("offset", 0)) {
        (Ok(limit), Ok(offset)) => (limit, offset),
        (Err(reply), _) | (_, Err(reply)) => return text(&reply),
    };
    let framework = request.query("framework_id");
    let task = request.query("task_id");
    let ascending = request.query("order").as_deref() == Some("asc");
    let value = site.hub.turn(|s| match path {
        "/slaves" => s.legacy_slaves(request.query("slave_id").as_deref()),
        "/frameworks" => s.legacy_frameworks(framework.as_deref()),
        "/tasks" => s.legacy_tasks(
            limit,
            offset,
            ascending,
            framework.as_deref(),
            task.as_deref(),
        ),
        _ => s.legacy_state(),
    });
    json_answer(&value)
}

/// `POST /teardown` with the form field `frameworkId`.
pub(super) fn teardown(site: &Arc<Site>, request: &Request) -> Response {
    if request.method != Method::POST {
        return text(&method_not_allowed(&request.method));
    }
    let form = String::from_utf8_lossy(&request.body);
    match form
        .split('&')
        .find_map(|pair| pair.strip_prefix("frameworkId="))
    {
        Some(id) => text(&site.hub.turn(|s| s.teardown(id))),
        None => text(&Reply::bad("Missing 'frameworkId' query parameter")),
    }
}
