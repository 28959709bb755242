//! `POST /api/v1/scheduler`: the order of checks of Mesos `src/master/http.cpp`.

use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use gantry_mesos::v1::scheduler::{Call, call};

use super::{Site, accepted, header, posted, text};
use crate::state::{Reply, State, validate_scheduler_call};
use crate::wire::{Format, RecordStream};

const STREAM_ID: &str = "Mesos-Stream-Id";

pub(super) fn handle(
    site: &Data<Site>,
    request: &HttpRequest,
    body: &Bytes,
    principal: Option<&str>,
) -> HttpResponse {
    answer(site, request, body, principal).unwrap_or_else(|reply| text(&reply))
}

fn answer(
    site: &Data<Site>,
    request: &HttpRequest,
    body: &Bytes,
    principal: Option<&str>,
) -> Result<HttpResponse, Reply> {
    let format = posted(request)?;
    let call: Call = format.decode(body).map_err(Reply::bad)?;
    let kind = validate_scheduler_call(&call, principal)
        .map_err(|e| Reply::bad(format!("Failed to validate scheduler::Call: {e}")))?;
    if kind == call::Type::ReconcileOperations {
        accepted(request)?;
    }
    if kind == call::Type::Subscribe {
        let answer_in = accepted(request)?;
        if request.headers().contains_key(STREAM_ID) {
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
    let stream_id = header(request, STREAM_ID);
    let reply = site
        .hub
        .turn(|s: &mut State| s.scheduler_call(kind, call, stream_id, principal));
    Ok(text(&reply))
}

fn subscribe(
    site: &Data<Site>,
    call: call::Subscribe,
    format: Format,
    principal: Option<&str>,
) -> HttpResponse {
    let subscribed = site.hub.turn(|s| s.subscribe(call, format, principal));
    let hub = std::sync::Arc::clone(&site.hub);
    let (framework, id) = (subscribed.framework, subscribed.stream_id.clone());
    let stream = RecordStream::new(subscribed.outbox, move || {
        if let Some(framework) = framework {
            hub.turn(|s| s.stream_closed(framework, &id));
        }
    });
    HttpResponse::Ok()
        .insert_header((STREAM_ID, subscribed.stream_id))
        .content_type(format.name())
        .streaming(stream)
}
