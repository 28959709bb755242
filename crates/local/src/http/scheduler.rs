//! `POST /api/v1/scheduler`: the order of checks of Mesos `src/master/http.cpp`.

use std::sync::Arc;

use gantry_mesos::v1::scheduler::{Call, call};

use super::server::Response;
use super::{Request, Site, accepted, posted, streaming, text};
use crate::state::{Reply, State, validate_scheduler_call};
use crate::wire::{Format, RecordStream};

const STREAM_ID: &str = "Mesos-Stream-Id";

pub(super) fn handle(site: &Arc<Site>, request: &Request, principal: Option<&str>) -> Response {
    checked(site, request, principal).unwrap_or_else(|reply| text(&reply))
}

fn checked(
    site: &Arc<Site>,
    request: &Request,
    principal: Option<&str>,
) -> Result<Response, Reply> {
    let format = posted(request)?;
    let call: Call = format.decode(&request.body).map_err(Reply::bad)?;
    let kind = validate_scheduler_call(&call, principal)
        .map_err(|e| Reply::bad(format!("Failed to validate scheduler::Call: {e}")))?;
    if kind == call::Type::ReconcileOperations {
        accepted(request)?;
    }
    if kind == call::Type::Subscribe {
        let answer_in = accepted(request)?;
        if request.header(STREAM_ID).is_some() {
            return Err(Reply::bad(
                "Subscribe calls should not include the 'Mesos-Stream-Id' header",
            ));
        }
        return Ok(subscribe(
            site,
            call.subscribe.unwrap_or_default(),
            answer_in,
            principal,
        ));
    }
    let stream_id = request.header(STREAM_ID);
    let reply = site
        .hub
        .turn(|s: &mut State| s.scheduler_call(kind, call, stream_id, principal));
    Ok(text(&reply))
}

fn subscribe(
    site: &Arc<Site>,
    call: call::Subscribe,
    format: Format,
    principal: Option<&str>,
) -> Response {
    let subscribed = site.hub.turn(|s| s.subscribe(call, format, principal));
    let hub = Arc::clone(&site.hub);
    let (framework, id) = (subscribed.framework, subscribed.stream_id.clone());
    let stream = RecordStream::new(subscribed.outbox, move || {
        if let Some(framework) = framework {
            hub.turn(|s| s.stream_closed(framework, &id));
        }
    });
    streaming(
        &[
            (STREAM_ID, &subscribed.stream_id),
            ("Content-Type", format.name()),
        ],
        stream,
    )
}
