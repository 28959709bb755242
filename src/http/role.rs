//! What a Gantry that does not lead does with requests: reads are answered from its copy and marked,
//! writes are handed to the leader, event streams are sent there.

use std::{future::ready, time::Duration};

use actix_web::{
    Error, FromRequest as _, HttpRequest, HttpResponse, ResponseError as _,
    body::{BoxBody, MessageBody},
    dev::{Payload, ServiceRequest, ServiceResponse},
    error::PayloadError,
    http::{
        Method,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    middleware::Next,
    web,
};
use bytes::Bytes;
use futures_util::stream;
use gantry_core::Timestamp;
use gantry_store::Member;
use tokio::time::{Instant, sleep};

use super::{
    AppState, body,
    error::{ApiError, Code},
    events, now,
    proxy::{self, Outcome},
    routes::{About, Rule},
    security,
};
use crate::runtime::{Role, Shown, Standing};

/// What this Gantry is; on every answer of one that does not lead.
pub(super) const ROLE: HeaderName = HeaderName::from_static("x-gantry-role");

/// Where the leader is reached, or the name of its host.
const LEADER: HeaderName = HeaderName::from_static("x-gantry-leader");

/// When the state was as it is answered.
const AS_OF: HeaderName = HeaderName::from_static("x-gantry-as-of");

/// Between two looks whether there is a leader.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// For so long after the start, the place of the life before this one may still be in the queue: the
/// longest time-out of a session.
const FORMER_LIFE: Duration = Duration::from_secs(60);

/// Answers a request that may be made, by the role of this Gantry.
pub(super) async fn answer(
    state: &web::Data<AppState>,
    rule: Rule,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let standing = state.handle().standing();
    if standing.role == Role::Leader {
        return Ok(next.call(request).await?.map_into_boxed_body());
    }
    let refused = |request: ServiceRequest, error: &ApiError| {
        let response = request.into_response(error.error_response());
        Ok(marked(response, state, &standing))
    };
    match rule.about {
        About::Process => {}
        About::State if standing.shown != Shown::Nothing => {}
        About::State => return refused(request, &nothing_read(state, &standing)),
        // Sent elsewhere, a browser would lose what lets it in, or show it there.
        About::Events if !state.gate().is_open() => {
            let response = match relayed(state, request.request()).await {
                Ok(response) => response,
                Err(error) => error.error_response(),
            };
            return Ok(marked(request.into_response(response), state, &standing));
        }
        About::Events => {
            let response = match to_leader(state, request.request()) {
                Ok(location) => HttpResponse::TemporaryRedirect()
                    .insert_header((header::LOCATION, location))
                    .finish(),
                Err(error) => error.error_response(),
            };
            return Ok(marked(request.into_response(response), state, &standing));
        }
        About::Change | About::Ask => return change(state, rule, request, next).await,
    }
    let response = next.call(request).await?.map_into_boxed_body();
    Ok(marked(response, state, &standing))
}

fn nothing_read(state: &AppState, standing: &Standing) -> ApiError {
    let why = standing.read_fault.as_ref().or(standing.fault.as_ref());
    let why = why.map(|fault| fault.reason.clone());
    let why = why.or_else(|| state.handle().home().reach.problem());
    let why = why.map_or_else(String::new, |why| format!(": {why}"));
    ApiError::new(
        Code::Unavailable,
        format!("this Gantry does not lead, and has not read what is stored yet{why}"),
    )
    .remedy("GET /api/v2/leader tells who leads")
}

fn to_leader(state: &AppState, request: &HttpRequest) -> Result<String, ApiError> {
    let leader = state.handle().other_leader();
    if let Some(why) = leader
        .as_ref()
        .and_then(|leader| at_our_address(state, leader))
    {
        let message = format!("this Gantry does not lead: {why}");
        return Err(ApiError::new(Code::StandBy, message));
    }
    let url = leader.and_then(|leader| leader.url).ok_or_else(|| {
        ApiError::new(
            Code::StandBy,
            "this Gantry does not lead, and the address of the leader is not known",
        )
    })?;
    Ok(format!("{url}{}", request.uri()))
}

/// The leader's events, through us.
async fn relayed(state: &AppState, request: &HttpRequest) -> Result<HttpResponse, ApiError> {
    let unknown =
        |why: String| ApiError::new(Code::StandBy, format!("this Gantry does not lead: {why}"));
    let leader = match turn(state, request.headers().contains_key(proxy::FORWARDED_BY)) {
        Turn::Theirs(leader) => leader,
        Turn::Ours => return Err(unknown("it is about to, ask again".to_owned())),
        Turn::Nobodys(why) | Turn::Unreachable(why) => return Err(unknown(why)),
    };
    let place = events::place(state)?;
    proxy::relay(state, &leader, request, place)
        .await
        .map_err(unknown)
}

// === Changes ===

/// Who is to make the change.
enum Turn {
    Ours,
    Theirs(Member),
    /// Of nobody yet. Why, as a clause.
    Nobodys(String),
    /// Of somebody who cannot be reached, and time does not help. Why, as a clause.
    Unreachable(String),
}

/// Another whose address is ours: our former life, whose place goes with its session; or one on
/// another machine which was not told what its own address is. Why it cannot be reached, as a clause.
fn at_our_address(state: &AppState, leader: &Member) -> Option<String> {
    let ours = state.handle().me().url.as_deref();
    let url = leader.url.as_deref().filter(|url| Some(*url) == ours)?;
    Some(format!(
        "{} leads, and says that it is reached at {url}, which is the address of this Gantry: set HOST or ADVERTISED_URL of each to its own",
        leader.host
    ))
}

fn turn(state: &AppState, forwarded: bool) -> Turn {
    let handle = state.handle();
    if handle.standing().role == Role::Leader {
        return Turn::Ours;
    }
    let leader = handle.other_leader();
    if let Some(why) = leader
        .as_ref()
        .and_then(|leader| at_our_address(state, leader))
    {
        return match state.0.started.elapsed() < FORMER_LIFE {
            true => Turn::Nobodys(why),
            false => Turn::Unreachable(why),
        };
    }
    match leader {
        // One hop and no more: two that take each other for the leader would go on for ever.
        Some(leader) if !forwarded => Turn::Theirs(leader),
        Some(leader) => Turn::Nobodys(format!(
            "{} leads, but another Gantry has handed this request here",
            leader.host
        )),
        None => Turn::Nobodys("there is no leader at the moment".to_owned()),
    }
}

async fn change(
    state: &web::Data<AppState>,
    rule: Rule,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let (request, mut payload) = request.into_parts();
    let payload = web::Payload::from_request(&request, &mut payload).await?;
    let answer = match made_here(state, rule, &request, payload).await {
        Ok(body) => {
            let payload = Box::pin(stream::once(ready(Ok::<_, PayloadError>(body))));
            let request = ServiceRequest::from_parts(request, Payload::Stream { payload });
            return Ok(next.call(request).await?.map_into_boxed_body());
        }
        Err(Elsewhere::Answered(answer)) => return Ok(ServiceResponse::new(request, answer)),
        Err(Elsewhere::Refused(error)) => error.error_response(),
    };
    let standing = state.handle().standing();
    Ok(marked(
        ServiceResponse::new(request, answer),
        state,
        &standing,
    ))
}

/// Why a change is not made here.
enum Elsewhere {
    /// Another has answered.
    Answered(HttpResponse),
    /// Nobody can make it.
    Refused(ApiError),
}

impl From<ApiError> for Elsewhere {
    fn from(error: ApiError) -> Self {
        Self::Refused(error)
    }
}

/// Hands a change to the leader, as soon as there is one; gives back the body when that is this
/// Gantry.
async fn made_here(
    state: &AppState,
    rule: Rule,
    request: &HttpRequest,
    payload: web::Payload,
) -> Result<Bytes, Elsewhere> {
    if rule.about == About::Change && request.method() == Method::GET {
        security::require_own_page(state, request)?;
    }
    // As much as the handlers take.
    let body_max = rule.body_max.unwrap_or_else(|| state.settings().body_max);
    let body = body::read(payload, body_max).await?;
    let forwarded = request.headers().contains_key(proxy::FORWARDED_BY);
    let deadline = Instant::now() + state.settings().hold;
    let mut place = None;
    loop {
        let why = match turn(state, forwarded) {
            Turn::Ours => return Ok(body),
            Turn::Theirs(leader) => {
                match proxy::forward(state, &leader, rule.about, request, body.clone()).await {
                    Outcome::Answered(answer) => return Err(Elsewhere::Answered(answer)),
                    Outcome::Failed(error) => return Err(error.into()),
                    Outcome::NotTaken(why) => why,
                }
            }
            Turn::Unreachable(why) => {
                let message = format!("this Gantry does not lead: {why}; nothing has changed");
                return Err(ApiError::new(Code::StandBy, message).into());
            }
            Turn::Nobodys(why) => why,
        };
        // While ZooKeeper is away nobody can be elected.
        let problem = state.handle().home().reach.away(now());
        if place.is_none() {
            place = state.0.held.try_acquire().ok();
        }
        // What was handed on is held by whoever handed it on: here it might take effect long after
        // that one has given it up.
        let held_elsewhere = forwarded || state.is_leaving();
        if held_elsewhere || problem.is_some() || place.is_none() || Instant::now() >= deadline {
            let problem = problem.map_or_else(String::new, |problem| format!("; {problem}"));
            let message = format!("this Gantry does not lead: {why}{problem}; nothing has changed");
            return Err(ApiError::new(Code::StandBy, message).into());
        }
        sleep(LOOK_EVERY).await;
    }
}

// === Marks ===

fn marked(
    mut response: ServiceResponse<BoxBody>,
    state: &AppState,
    standing: &Standing,
) -> ServiceResponse<BoxBody> {
    let headers = response.headers_mut();
    insert(headers, ROLE, standing.role.name());
    if let Some(leader) = state.handle().other_leader() {
        insert(headers, LEADER, leader.url.as_ref().unwrap_or(&leader.host));
    }
    if let Shown::Copy { at } = standing.shown {
        insert(headers, AS_OF, &text(at));
    }
    response
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    // What another process says of itself may be anything.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// `2026-01-31T12:00:00Z`
fn text(at: Timestamp) -> String {
    let millis = i64::try_from(at.as_millis()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(millis).map_or_else(|_| String::new(), |at| at.to_string())
}
