//! The HTTP side: which request goes where, and the checks that all of them share.

mod auth;
mod executor;
mod files;
mod operator;
mod scheduler;

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::header::{CONTENT_TYPE, LOCATION};
use actix_web::http::{KeepAlive, Method, StatusCode};
use actix_web::web::{self, Bytes, Data, PayloadConfig};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};

use crate::hub::Hub;
use crate::options::ClusterOptions;
use crate::state::faults::{Fault, FaultError};
use crate::state::{AgentKey, Reply};
use crate::wire::Format;

/// Whose listener a request came in through.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Listener {
    /// One of the masters, by number.
    Master(usize),
    Agent(AgentKey),
}

/// What every request handler knows.
#[derive(Debug)]
pub(crate) struct Site {
    pub(crate) hub: Arc<Hub>,
    pub(crate) options: Arc<ClusterOptions>,
    listeners: HashMap<SocketAddr, Listener>,
    masters: Vec<SocketAddr>,
}

impl Site {
    pub(crate) fn new(
        hub: Arc<Hub>,
        options: Arc<ClusterOptions>,
        listeners: Vec<(SocketAddr, Listener)>,
    ) -> Self {
        let masters = listeners
            .iter()
            .filter(|(_, l)| matches!(l, Listener::Master(_)))
            .map(|(a, _)| *a)
            .collect();
        Self {
            hub,
            options,
            listeners: listeners.into_iter().collect(),
            masters,
        }
    }

    pub(crate) fn masters(&self) -> Vec<SocketAddr> {
        self.masters.clone()
    }

    pub(crate) fn inject(&self, fault: Fault) -> Result<(), FaultError> {
        self.hub.turn(|state| {
            if fault == Fault::MasterFailover {
                let leader = state.leader();
                let next = self
                    .masters
                    .iter()
                    .copied()
                    .find(|m| *m != leader)
                    .unwrap_or(leader);
                state.master_failover(next, self.options.recovery_time);
                Ok(())
            } else {
                state.inject(fault)
            }
        })
    }
}

/// Serves all listeners. The server ends through its handle.
pub(crate) fn serve(
    site: Arc<Site>,
    sockets: Vec<TcpListener>,
) -> std::io::Result<actix_web::dev::Server> {
    let threads = site.options.threads.max(1);
    let body_max = site.options.body_bytes_max;
    let data = Data::from(site);
    let mut server = HttpServer::new(move || {
        App::new()
            .app_data(data.clone())
            .app_data(PayloadConfig::new(body_max))
            .default_service(web::to(handle))
    })
    .workers(threads)
    .disable_signals()
    // Clients of a master may be silent for hours.
    .keep_alive(KeepAlive::Os)
    .client_request_timeout(Duration::from_secs(300))
    // A client that closes its half is gone, as for the real master.
    .h1_allow_half_closed(false)
    .shutdown_timeout(1);
    for socket in sockets {
        server = server.listen(socket)?;
    }
    Ok(server.run())
}

async fn handle(request: HttpRequest, body: Bytes, site: Data<Site>) -> HttpResponse {
    let listener = site
        .listeners
        .get(&request.app_config().local_addr())
        .copied();
    let path = request.path();
    let path = percent_decoded(path);
    let path = path.strip_suffix('/').unwrap_or(&path);
    match listener {
        Some(Listener::Agent(agent)) => {
            let path = path.strip_prefix("/slave(1)").unwrap_or(path);
            match path {
                "/api/v1/executor" => executor::handle(&site, agent, &request, &body),
                "/api/v1" => operator::agent(&site, agent, &request, &body),
                "/health" => HttpResponse::Ok().finish(),
                "/version" => operator::version(),
                _ => match path.strip_prefix("/files/") {
                    Some(what) => files::handle(&site, agent, &request, what),
                    None => not_found(),
                },
            }
        }
        Some(Listener::Master(number)) => {
            let path = path
                .strip_prefix("/master")
                .filter(|p| p.starts_with('/'))
                .unwrap_or(path);
            master(&site, site.masters[number], path, &request, &body)
        }
        None => not_found(),
    }
}

fn master(
    site: &Data<Site>,
    own: SocketAddr,
    path: &str,
    request: &HttpRequest,
    body: &Bytes,
) -> HttpResponse {
    match path {
        "/local/faults" => return faults(site, request, body),
        "/health" => return HttpResponse::Ok().finish(),
        "/version" => return operator::version(),
        _ => {}
    }
    let realm = match path {
        "/api/v1/scheduler" => "mesos-master-scheduler",
        "/api/v1" | "/teardown" => "mesos-master-readwrite",
        _ => "mesos-master-readonly",
    };
    let open = path == "/redirect";
    let principal = match auth::principal(&site.options, request) {
        Ok(principal) => principal,
        Err(()) if open => None,
        Err(()) => return auth::unauthorized(realm),
    };
    let (leader, unavailable) = site.hub.turn(|s| (s.leader(), s.is_unavailable()));
    if unavailable {
        return text(&Reply::new(503, "Master has not finished recovery"));
    }
    if path == "/redirect" {
        return redirect(leader, "");
    }
    if path == "/metrics/snapshot" {
        return operator::metrics(site);
    }
    if leader != own {
        let to = request.uri().path_and_query().map_or("/", |p| p.as_str());
        return redirect(leader, to);
    }
    match path {
        "/api/v1/scheduler" => scheduler::handle(site, request, body, principal.as_deref()),
        "/api/v1" => operator::master(site, request, body),
        "/state" | "/slaves" | "/frameworks" | "/tasks" => operator::legacy(site, path, request),
        "/teardown" => operator::teardown(site, request, body),
        _ => not_found(),
    }
}

/// `POST /local/faults` with a [`Fault`] as JSON: 200, or 400 and the reason.
fn faults(site: &Data<Site>, request: &HttpRequest, body: &Bytes) -> HttpResponse {
    if request.method() != Method::POST {
        return text(&method_not_allowed(request.method()));
    }
    if !request
        .peer_addr()
        .is_some_and(|peer| peer.ip().is_loopback())
    {
        return text(&Reply::new(403, "faults can be had from this machine only"));
    }
    // A browser asks before it sends this type to another origin, and gets no leave.
    if header(request, CONTENT_TYPE.as_str()) != Some(crate::wire::JSON) {
        return text(&Reply::new(
            415,
            "Expecting 'Content-Type' of application/json",
        ));
    }
    let result = serde_json::from_slice::<Fault>(body)
        .map_err(|e| e.to_string())
        .and_then(|fault| site.inject(fault).map_err(|e| e.to_string()));
    match result {
        Ok(()) => HttpResponse::Ok().finish(),
        Err(reason) => text(&Reply::bad(reason)),
    }
}

fn percent_decoded(path: &str) -> String {
    path.replace("%28", "(").replace("%29", ")")
}

fn redirect(to: SocketAddr, path: &str) -> HttpResponse {
    HttpResponse::TemporaryRedirect()
        .insert_header((LOCATION, format!("//{to}{path}")))
        .finish()
}

pub(super) fn header<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    request.headers().get(name)?.to_str().ok()
}

/// A plain-text answer; one without body has no content type.
pub(super) fn text(reply: &Reply) -> HttpResponse {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = HttpResponse::build(status);
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response.insert_header(("Allow", "POST"));
    }
    if reply.body.is_empty() {
        return response.finish();
    }
    response
        .content_type("text/plain; charset=utf-8")
        .body(reply.body.clone())
}

pub(super) fn not_found() -> HttpResponse {
    text(&Reply::new(404, "404 Not Found."))
}

pub(super) fn method_not_allowed(method: &Method) -> Reply {
    let body =
        format!("405 Method Not Allowed. Expecting one of {{ 'POST' }}, but received '{method}'.");
    Reply::new(405, body)
}

/// The checks of method and content type that all v1 APIs share; the type of the body.
pub(super) fn posted(request: &HttpRequest) -> Result<Format, Reply> {
    if request.method() != Method::POST {
        return Err(method_not_allowed(request.method()));
    }
    match header(request, CONTENT_TYPE.as_str()) {
        None => Err(Reply::bad("Expecting 'Content-Type' to be present")),
        Some(crate::wire::JSON) => Ok(Format::Json),
        Some(crate::wire::PROTOBUF) => Ok(Format::Protobuf),
        Some(_) => Err(Reply::new(
            415,
            "Expecting 'Content-Type' of application/json or application/x-protobuf",
        )),
    }
}

/// The type of the answer, or 406.
pub(super) fn accepted(request: &HttpRequest) -> Result<Format, Reply> {
    Format::accepted(header(request, "Accept")).ok_or_else(|| {
        Reply::new(
            406,
            "Expecting 'Accept' to allow 'application/x-protobuf' or 'application/json'",
        )
    })
}
