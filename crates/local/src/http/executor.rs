//! `POST /api/v1/executor` of an agent.

use std::sync::Arc;

use gantry_mesos::v1::executor::{Call, call};

use super::server::Response;
use super::{Request, Site, accepted, posted, streaming, text};
use crate::state::{AgentKey, Reply, validate_executor_call};
use crate::wire::RecordStream;

pub(super) fn handle(site: &Arc<Site>, agent: AgentKey, request: &Request) -> Response {
    checked(site, agent, request).unwrap_or_else(|reply| text(&reply))
}

fn checked(site: &Arc<Site>, agent: AgentKey, request: &Request) -> Result<Response, Reply> {
    if site.hub.turn(|s| s.agents[agent.index()].recovering) {
        return Err(Reply::new(503, "Agent has not finished recovery"));
    }
    let format = posted(request)?;
    let call: Call = format.decode(&request.body).map_err(Reply::bad)?;
    let kind = validate_executor_call(&call)
        .map_err(|e| Reply::bad(format!("Failed to validate Executor::Call: {e}")))?;
    if kind == call::Type::Heartbeat {
        return Ok(text(&Reply::accepted()));
    }
    if kind != call::Type::Subscribe {
        return Ok(text(&site.hub.turn(|s| s.executor_call(agent, kind, call))));
    }
    let format = accepted(request)?;
    let (key, outbox) = site
        .hub
        .turn(|s| s.executor_subscribe(agent, call, format))?;
    let hub = Arc::clone(&site.hub);
    let own = Arc::clone(&outbox);
    let stream = RecordStream::new(outbox, move || {
        hub.turn(|s| s.executor_stream_closed(key, &own));
    });
    Ok(streaming(&[("Content-Type", format.name())], stream))
}
