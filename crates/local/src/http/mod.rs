//! The HTTP side: which request goes where, and the checks that all of them share.

mod auth;
mod containers;
mod executor;
mod files;
mod operator;
mod scheduler;
mod server;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, StatusCode};

pub(crate) use server::Server;
use server::{Body, Response};

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
    masters: Vec<SocketAddr>,
}

impl Site {
    pub(crate) fn new(
        hub: Arc<Hub>,
        options: Arc<ClusterOptions>,
        masters: Vec<SocketAddr>,
    ) -> Self {
        Self {
            hub,
            options,
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

/// A request whose body was read.
struct Request {
    method: Method,
    /// Path and query as they were sent.
    target: String,
    headers: HeaderMap,
    peer: SocketAddr,
    body: Bytes,
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// A parameter of the query.
    fn query(&self, name: &str) -> Option<String> {
        let (_, query) = self.target.split_once('?')?;
        query.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key == name).then(|| percent_decoded(&value.replace('+', " ")))
        })
    }
}

/// Answers a request that came in through a listener.
async fn handle(
    site: Arc<Site>,
    listener: Listener,
    peer: SocketAddr,
    request: hyper::Request<Incoming>,
) -> Result<Response, Infallible> {
    let (head, body) = request.into_parts();
    let target = head
        .uri
        .path_and_query()
        .map_or("/", |p| p.as_str())
        .to_owned();
    let body = match Limited::new(body, site.options.body_bytes_max)
        .collect()
        .await
    {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => {
            return Ok(text(&Reply::new(
                413,
                "the body is larger than the cluster's limit",
            )));
        }
        Err(_) => return Ok(text(&Reply::bad("the body could not be read"))),
    };
    let request = Request {
        method: head.method,
        target,
        headers: head.headers,
        peer,
        body,
    };
    let path = percent_decoded(request.target.split('?').next().unwrap_or_default());
    let path = path.strip_suffix('/').unwrap_or(&path);
    Ok(match listener {
        Listener::Agent(agent) => {
            let path = path.strip_prefix("/slave(1)").unwrap_or(path);
            let realm = match path {
                "/api/v1" => Some("mesos-agent-readwrite"),
                _ => path.strip_prefix("/files/").map(|_| "mesos-agent-readonly"),
            };
            if let Some(realm) = realm
                && auth::principal(&site.options, &request).is_err()
            {
                return Ok(auth::unauthorized(realm));
            }
            match path {
                "/api/v1/executor" => executor::handle(&site, agent, &request),
                "/api/v1" => operator::agent(&site, agent, &request),
                "/health" => text(&Reply::ok()),
                "/version" => operator::version(),
                _ => match path.strip_prefix("/files/") {
                    Some(what) => files::handle(&site, agent, &request, what),
                    None => not_found(),
                },
            }
        }
        Listener::Master(number) => {
            let path = path
                .strip_prefix("/master")
                .filter(|p| p.starts_with('/'))
                .unwrap_or(path);
            master(&site, site.masters[number], path, &request)
        }
    })
}

fn master(site: &Arc<Site>, own: SocketAddr, path: &str, request: &Request) -> Response {
    match path {
        "/local/faults" => return faults(site, request),
        "/local/calls" => return calls(site, request),
        "/health" => return text(&Reply::ok()),
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
        return redirect(leader, &request.target);
    }
    match path {
        "/api/v1/scheduler" => scheduler::handle(site, request, principal.as_deref()),
        "/api/v1" => operator::master(site, request),
        "/state" | "/slaves" | "/frameworks" | "/tasks" => operator::legacy(site, path, request),
        "/teardown" => operator::teardown(site, request),
        _ => not_found(),
    }
}

/// `POST /local/faults` with a [`Fault`] as JSON: 200, or 400 and the reason.
fn faults(site: &Arc<Site>, request: &Request) -> Response {
    if request.method != Method::POST {
        return text(&method_not_allowed(&request.method));
    }
    if !request.peer.ip().is_loopback() {
        return text(&Reply::new(403, "faults can be had from this machine only"));
    }
    // A browser asks before it sends this type to another origin, and gets no leave.
    if request.header("Content-Type") != Some(crate::wire::JSON) {
        return text(&Reply::new(
            415,
            "Expecting 'Content-Type' of application/json",
        ));
    }
    let result = serde_json::from_slice::<Fault>(&request.body)
        .map_err(|e| e.to_string())
        .and_then(|fault| site.inject(fault).map_err(|e| e.to_string()));
    match result {
        Ok(()) => text(&Reply::ok()),
        Err(reason) => text(&Reply::bad(reason)),
    }
}

/// `GET /local/calls?after=N`: the calls of schedulers with larger numbers.
fn calls(site: &Arc<Site>, request: &Request) -> Response {
    if !request.peer.ip().is_loopback() {
        return text(&Reply::new(403, "calls can be seen from this machine only"));
    }
    let after = request.query("after").map_or(Ok(0), |text| text.parse());
    let Ok(after) = after else {
        return text(&Reply::bad("'after' must be the number of a call"));
    };
    let calls = site.hub.turn(|state| state.seen.after(after));
    json(&serde_json::json!(calls))
}

fn percent_decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = text.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn redirect(to: SocketAddr, path: &str) -> Response {
    answer(
        StatusCode::TEMPORARY_REDIRECT,
        &[("Location", &format!("//{to}{path}"))],
        Bytes::new(),
    )
}

/// An answer of known length.
fn answer(status: StatusCode, headers: &[(&str, &str)], body: impl Into<Bytes>) -> Response {
    build(status, headers, Body::Full(Full::new(body.into())))
}

/// An answer that goes on until its stream ends.
fn streaming(
    headers: &[(&str, &str)],
    stream: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
) -> Response {
    build(StatusCode::OK, headers, Body::Stream(Box::pin(stream)))
}

fn build(status: StatusCode, headers: &[(&str, &str)], body: Body) -> Response {
    let mut response = hyper::Response::new(body);
    *response.status_mut() = status;
    for (name, value) in headers {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(*name), HeaderValue::try_from(*value))
        {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// A JSON answer of one of the older endpoints.
fn json(value: &serde_json::Value) -> Response {
    answer(
        StatusCode::OK,
        &[("Content-Type", crate::wire::JSON)],
        value.to_string(),
    )
}

/// A plain-text answer; one without body has no content type.
fn text(reply: &Reply) -> Response {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut headers = Vec::new();
    if !reply.body.is_empty() {
        headers.push(("Content-Type", "text/plain; charset=utf-8"));
    }
    if status == StatusCode::METHOD_NOT_ALLOWED {
        headers.push(("Allow", "POST"));
    }
    answer(status, &headers, reply.body.clone())
}

fn not_found() -> Response {
    text(&Reply::new(404, "404 Not Found."))
}

fn method_not_allowed(method: &Method) -> Reply {
    let body =
        format!("405 Method Not Allowed. Expecting one of {{ 'POST' }}, but received '{method}'.");
    Reply::new(405, body)
}

/// The checks of method and content type that all v1 APIs share; the type of the body.
fn posted(request: &Request) -> Result<Format, Reply> {
    if request.method != Method::POST {
        return Err(method_not_allowed(&request.method));
    }
    match request.header("Content-Type") {
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
fn accepted(request: &Request) -> Result<Format, Reply> {
    Format::accepted(request.header("Accept")).ok_or_else(|| {
        Reply::new(
            406,
            "Expecting 'Accept' to allow 'application/x-protobuf' or 'application/json'",
        )
    })
}
