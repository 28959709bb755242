//! Handing a request to the leader.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    http::{
        Method, StatusCode,
        header::{self, HeaderMap, HeaderName},
    },
};
use bytes::Bytes;
use futures_util::StreamExt as _;
use gantry_store::Member;
use tokio::sync::OwnedSemaphorePermit;

use super::{
    AppState,
    error::{ApiError, Code},
    role,
    routes::About,
};
use crate::{
    auth::Sender,
    config::Tls,
    runtime::{ANSWER_WITHIN, Role},
};

/// Who handed on a request. One that carries it is not handed on again.
pub(super) const FORWARDED_BY: HeaderName = HeaderName::from_static("x-gantry-forwarded-by");

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// Making a connection to the leader must not take longer.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// Between two looks whether another leads.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Between two looks whether the files have changed.
const FILES_EVERY: Duration = Duration::from_secs(2);

/// The leader may hold the request before it begins to work on it.
const ANSWERED_WITHIN: Duration = ANSWER_WITHIN.saturating_add(Duration::from_secs(15));

/// A stream that is relayed ends after this time; its reader asks again.
const STREAM_LASTS: Duration = Duration::from_secs(86_400);

/// Of a connection and not of a message (RFC 9110, 7.6.1), or written anew by whoever sends.
const NOT_HANDED_ON: [HeaderName; 11] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::CONTENT_LENGTH,
    header::EXPECT,
];

/// Whether a page of another site asks was looked at here, where `Host` is what the browser sent.
const LOOKED_AT: [HeaderName; 6] = [
    header::HOST,
    header::ORIGIN,
    header::REFERER,
    HeaderName::from_static("sec-fetch-site"),
    HeaderName::from_static("sec-fetch-mode"),
    HeaderName::from_static("sec-fetch-dest"),
];

/// What became of it.
pub(super) enum Outcome {
    /// The leader's answer.
    Answered(HttpResponse),
    /// Nothing has changed; it may be tried again, with whoever leads then. Why, as a clause.
    NotTaken(String),
    /// It may have taken effect.
    Failed(ApiError),
}

/// To reach the leader. Made anew when the files change that say whom to trust.
pub(super) struct Client {
    /// These hold the authorities.
    files: Vec<PathBuf>,
    made: Mutex<Made>,
}

struct Made {
    client: Option<reqwest::Client>,
    stamps: Vec<Stamp>,
    looked: Instant,
}

/// By which a change of a file is noticed.
type Stamp = Option<(SystemTime, u64)>;

impl Client {
    /// With TLS of its own, a Gantry trusts what the others of the framework show if its own
    /// certificate's authority vouches for them, be it public or in the same file; and `ca` always.
    pub(super) fn new(tls: Option<&Tls>, ca: Option<&Path>) -> Self {
        let own = tls.map(|tls| tls.certificate.clone());
        let files: Vec<_> = own.into_iter().chain(ca.map(Path::to_owned)).collect();
        let made = Made {
            stamps: stamps(&files),
            client: made(&files),
            looked: Instant::now(),
        };
        Self {
            files,
            made: Mutex::new(made),
        }
    }

    fn get(&self) -> Option<reqwest::Client> {
        let mut now = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if now.looked.elapsed() >= FILES_EVERY {
            now.looked = Instant::now();
            let stamps = stamps(&self.files);
            if stamps != now.stamps {
                // What can be used is kept where what came after it cannot.
                if let Some(client) = made(&self.files) {
                    now.client = Some(client);
                    now.stamps = stamps;
                    tracing::info!("the authorities for reaching the leader were read anew");
                }
            }
        }
        now.client.clone()
    }
}

fn stamps(files: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |path: &PathBuf| {
        let about = fs::metadata(path).ok()?;
        Some((about.modified().ok()?, about.len()))
    };
    files.iter().map(stamp).collect()
}

fn made(files: &[PathBuf]) -> Option<reqwest::Client> {
    let made = client(files);
    if let Err(error) = &made {
        tracing::error!(
            error,
            "as a stand-by, this Gantry cannot hand anything to the leader"
        );
    }
    made.ok()
}

/// A client that takes no way but the direct one.
fn client(files: &[PathBuf]) -> Result<reqwest::Client, String> {
    let mut trusted = Vec::new();
    for path in files {
        let pem = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
        let certificates = reqwest::Certificate::from_pem_bundle(&pem);
        trusted.extend(certificates.map_err(|error| format!("{}: {error}", path.display()))?);
    }
    let built = reqwest::Client::builder()
        .tls_certs_merge(trusted)
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_WITHIN)
        .timeout(ANSWERED_WITHIN)
        // On a connection that the leader is about to close, a request would be lost in a way that
        // cannot be told from one that took effect.
        .pool_max_idle_per_host(0)
        .build();
    built.map_err(|error| error.to_string())
}

/// Hands a request with its whole body to `leader`.
pub(super) async fn forward(
    state: &AppState,
    leader: &Member,
    about: About,
    request: &HttpRequest,
    body: Bytes,
) -> Outcome {
    let host = &leader.host;
    let Some(client) = state.0.proxy.get() else {
        return Outcome::NotTaken(format!("{host} leads, and nothing can be handed to it"));
    };
    let Some(url) = &leader.url else {
        return Outcome::NotTaken(format!(
            "{host} leads, and does not say where it is reached"
        ));
    };
    // A page of ours asked for it, which the leader cannot see.
    let method = match *request.method() {
        Method::GET if about == About::Change => reqwest::Method::POST,
        ref other => match reqwest::Method::from_bytes(other.as_str().as_bytes()) {
            Ok(method) => method,
            Err(_) => return Outcome::NotTaken("the method is not known".to_owned()),
        },
    };
    let answer = client
        .request(method, format!("{url}{}", request.uri()))
        .headers(headers(request, &state.handle().me().id))
        .body(body)
        .send();
    let answer = tokio::select! {
        answer = answer => answer,
        // A frozen process takes connections and says nothing.
        () = replaced(state, leader) => return Outcome::Failed(ApiError::new(
            Code::OutcomeUnknown,
            format!("the leader {host} was replaced before it answered: look whether the change took effect before repeating it"),
        )),
    };
    match answer {
        Ok(answer) => answered(answer),
        Err(error) if error.is_connect() || error.is_builder() => Outcome::NotTaken(format!(
            "{host} leads, and cannot be reached at {url}: {}",
            root_cause(&error)
        )),
        Err(error) if error.is_timeout() => Outcome::Failed(ApiError::new(
            Code::TimedOut,
            format!(
                "no answer from the leader {host} in time: look whether the change took effect before repeating it"
            ),
        )),
        Err(error) => Outcome::Failed(ApiError::new(
            Code::OutcomeUnknown,
            format!(
                "the connection to the leader {host} broke: {}; look whether the change took effect before repeating it",
                root_cause(&error)
            ),
        )),
    }
}

/// Has the leader answer a request for something that never ends. Why not, as a clause.
pub(super) async fn relay(
    state: &AppState,
    leader: &Member,
    request: &HttpRequest,
    place: OwnedSemaphorePermit,
) -> Result<HttpResponse, String> {
    let host = &leader.host;
    let Some(client) = state.0.proxy.get() else {
        return Err(format!("{host} leads, and nothing can be handed to it"));
    };
    let Some(url) = &leader.url else {
        return Err(format!(
            "{host} leads, and does not say where it is reached"
        ));
    };
    let answer = client
        .get(format!("{url}{}", request.uri()))
        .headers(headers(request, &state.handle().me().id))
        // The events are its only sign of life; while they come it may go on for ever.
        .timeout(STREAM_LASTS)
        .send();
    let answer = match tokio::time::timeout(ANSWERED_WITHIN, answer).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => {
            let why = root_cause(&error);
            return Err(format!(
                "{host} leads, and cannot be reached at {url}: {why}"
            ));
        }
        Err(_) => return Err(format!("{host} leads, and does not answer")),
    };
    let mut response = begun(&answer);
    let (state, leader) = (state.clone(), leader.clone());
    // One that is gone does not always say so.
    let end = Box::pin(async move { replaced(&state, &leader).await });
    let events = answer.bytes_stream().take_until(end).map(move |part| {
        // The place is given up with the stream.
        let _ = &place;
        part
    });
    Ok(response.streaming(events))
}

/// Waits until another leads in the place of `leader`.
async fn replaced(state: &AppState, leader: &Member) {
    let handle = state.handle();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let other = handle.other_leader();
        let replaced = other.is_some_and(|other| other.id != leader.id);
        if replaced || handle.standing().role == Role::Leader {
            return;
        }
    }
}

fn headers(request: &HttpRequest, me: &str) -> reqwest::header::HeaderMap {
    let named = of_connection(request.headers().get_all(header::CONNECTION));
    let mut handed_on = reqwest::header::HeaderMap::new();
    let mut append = |name: &str, value: &[u8]| {
        let name = reqwest::header::HeaderName::from_bytes(name.as_bytes());
        let value = reqwest::header::HeaderValue::from_bytes(value);
        if let (Ok(name), Ok(value)) = (name, value) {
            handed_on.append(name, value);
        }
    };
    for (name, value) in request.headers() {
        let dropped = NOT_HANDED_ON.contains(name)
            || LOOKED_AT.contains(name)
            || *name == FORWARDED_FOR
            || named.iter().any(|named| named == name.as_str());
        if !dropped {
            append(name.as_str(), value.as_bytes());
        }
    }
    let before = request.headers().get(FORWARDED_FOR);
    let before = before.and_then(|value| value.to_str().ok());
    let peer = request.peer_addr().map(|peer| peer.ip().to_string());
    let way: Vec<_> = before.into_iter().chain(peer.as_deref()).collect();
    if !way.is_empty() {
        append(FORWARDED_FOR.as_str(), way.join(", ").as_bytes());
    }
    append(FORWARDED_BY.as_str(), me.as_bytes());
    handed_on
}

/// The names that `Connection` adds to those that are not handed on, in lower case.
fn of_connection<'a>(
    values: impl Iterator<Item = &'a actix_web::http::header::HeaderValue>,
) -> Vec<String> {
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect()
}

fn answered(answer: reqwest::Response) -> Outcome {
    let status = answer.status();
    let role = answer.headers().get(role::ROLE.as_str());
    // Whoever does not lead has changed nothing.
    if status == reqwest::StatusCode::SERVICE_UNAVAILABLE
        && role.is_some_and(|role| *role != Role::Leader.name())
    {
        return Outcome::NotTaken("the one that led does not lead any more".to_owned());
    }
    Outcome::Answered(begun(&answer).streaming(answer.bytes_stream()))
}

/// The beginning of the answer that is handed back.
fn begun(answer: &reqwest::Response) -> HttpResponseBuilder {
    let status = answer.status().as_u16();
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    let mut response = HttpResponse::build(status);
    for (name, value) in answer.headers() {
        let Ok(name) = HeaderName::from_bytes(name.as_str().as_bytes()) else {
            continue;
        };
        if !NOT_HANDED_ON.contains(&name) {
            response.append_header((name, value.as_bytes()));
        }
    }
    response
}

/// Who asked: the client as far as the proxies before us are trusted. Of one that another Gantry
/// handed on for, with that Gantry's address, as anybody can claim to hand on.
pub(super) fn asked_by(request: &HttpRequest) -> String {
    let peer = Sender::of(request).address.map(|peer| peer.to_string());
    let peer = peer.unwrap_or_default();
    match client_of(request.headers()) {
        Some(client) => format!("{client} via {peer}"),
        None => peer,
    }
}

fn client_of(headers: &HeaderMap) -> Option<std::net::IpAddr> {
    headers.get(FORWARDED_BY)?;
    let way = headers.get(FORWARDED_FOR)?.to_str().ok()?;
    way.rsplit(',').next()?.trim().parse().ok()
}

/// The innermost reason: the outer ones only say that sending failed.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
