//! Who asks: what is done before every route, what strangers are told, and the resources about
//! sessions and tokens.

use std::{net::IpAddr, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse, ResponseError as _,
    dev::ServiceRequest,
    http::{
        Method, Uri,
        header::{self, HeaderValue},
    },
    web,
};
use gantry_core::{Command, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    AppState,
    body::{self, Reason},
    error::{ApiError, Code},
    now,
};
use crate::auth::{AUDIT, Access, Caller, Identity, Known, Sender, Via, own_path, too_little};

/// Finds out who sends the request.
///
/// # Errors
/// There were too many wrong tokens or passwords from there.
pub(super) fn identify(
    state: &AppState,
    request: &HttpRequest,
    from: Option<IpAddr>,
) -> Result<Known, ApiError> {
    state
        .gate()
        .identify(request, from, now(), |person, began| {
            has_ended(state, person, began)
        })
        .map_err(|wait: Duration| {
            let seconds = wait.as_secs().max(1);
            let message =
                format!("too many wrong tokens or passwords from this address: wait {seconds} s");
            ApiError::new(Code::TooManyFailures, message)
        })
}

/// Whether a caller who was let in some time ago would still be.
pub(super) fn still(state: &AppState, caller: &Caller) -> bool {
    state.gate().still(caller, now(), |person, began| {
        has_ended(state, person, began)
    })
}

/// Whether the sessions of a person that began at this moment were ended, as far as this Gantry has
/// read what is stored. One that has read nothing has no state to show, and changes nothing.
pub(super) fn has_ended(state: &AppState, person: &str, began: Timestamp) -> bool {
    state.handle().view().access.has_ended(person, began)
}

/// Takes the prefix, with which some proxies leave the path as it is, from the path. What to
/// answer, when there is nothing behind the prefix.
pub(super) fn without_prefix(request: &mut ServiceRequest, prefix: &str) -> Option<HttpResponse> {
    let rest = request.path().strip_prefix(prefix)?;
    if prefix.is_empty() || !(rest.is_empty() || rest.starts_with('/')) {
        return None;
    }
    if rest.is_empty() {
        // Without the slash, what the page names would be looked for beside it.
        let last = prefix.rsplit('/').next().unwrap_or_default();
        return Some(
            HttpResponse::Found()
                .insert_header((header::LOCATION, format!("{last}/")))
                .finish(),
        );
    }
    let whole = request.uri().path_and_query()?.as_str();
    let shorter = whole.strip_prefix(prefix)?.parse::<Uri>().ok()?;
    request.match_info_mut().get_mut().update(&shorter);
    request.head_mut().uri = shorter;
    None
}

/// What is answered to somebody who may not use the route. Who may was decided before; the path
/// only tells in which form the answer is understood.
pub(super) fn refusal(
    state: &AppState,
    request: &HttpRequest,
    caller: &Caller,
    needed: Access,
) -> HttpResponse {
    let from = Sender::of(request).address;
    let from = from.map(|address| address.to_string()).unwrap_or_default();
    if caller.is_known() {
        tracing::warn!(
            target: AUDIT, from, who = caller.name, has = caller.access.name(),
            needs = needed.name(), method = %request.method(), path = request.path(), "denied"
        );
        return ApiError::new(Code::Forbidden, too_little(caller, needed)).error_response();
    }
    let gate = state.gate();
    let path = request.path();
    let for_people = is_for_people(request);
    if for_people && gate.providers().next().is_some() {
        return to_login(request);
    }
    let mut response = if path.starts_with("/api/v2/") {
        ApiError::new(Code::NotAuthenticated, "not authenticated")
            .remedy("log in, or send a token: `Authorization: Bearer gantry_…`")
            .error_response()
    } else {
        #[derive(Serialize)]
        struct NotAuthenticated {
            error: &'static str,
        }
        HttpResponse::Unauthorized().json(NotAuthenticated {
            error: "Not authenticated",
        })
    };
    let challenge = if gate.has_passwords() && for_people {
        // By which a browser asks for user and password.
        Some("Basic realm=\"Gantry\", charset=\"UTF-8\"")
    } else if gate.has_tokens() {
        Some("Bearer realm=\"Gantry\"")
    } else {
        None
    };
    if let Some(challenge) = challenge {
        let value = HeaderValue::from_static(challenge);
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, value);
    }
    response
}

/// Whether a person looks at what is answered, and not a program.
fn is_for_people(request: &HttpRequest) -> bool {
    let accept = request.headers().get(header::ACCEPT);
    let takes_html = accept
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.contains("text/html"));
    let path = request.path();
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    reads && (path == "/" || takes_html && !path.starts_with("/api/"))
}

/// Sends a browser to the login page, from where it comes back. The way is relative: a proxy may
/// show us below a path that we do not know.
fn to_login(request: &HttpRequest) -> HttpResponse {
    let up = "../".repeat(request.path().matches('/').count().saturating_sub(1));
    let whole = request.uri().path_and_query().map(|whole| whole.as_str());
    let next = whole.filter(|whole| *whole != "/" && own_path(whole).is_some());
    let query = next.map(|next| format!("?next={}", in_query(next)));
    let location = format!("{up}login/{}", query.unwrap_or_default());
    HttpResponse::Found()
        .insert_header((header::LOCATION, location))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .finish()
}

/// A text as a value in a query.
pub(super) fn in_query(text: &str) -> String {
    use std::fmt::Write as _;
    let mut value = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => {
                value.push(char::from(byte));
            }
            _ => {
                // Writing to a string does not fail.
                let _ = write!(value, "%{byte:02X}");
            }
        }
    }
    value
}

#[derive(Serialize, ToSchema)]
#[schema(as = Session)]
pub(super) struct SessionView<'a> {
    /// `open` when everybody may do everything.
    access: &'static str,
    user: Option<User<'a>>,
    level: Option<Access>,
    providers: Vec<Via>,
}

#[derive(Serialize, ToSchema)]
struct User<'a> {
    name: &'a str,
    email: Option<&'a str>,
    /// Who vouches: a provider, `token` or `basic`.
    via: &'a str,
}

/// `GET /api/v2/session`: who the caller is, for everybody.
pub(crate) async fn session(state: web::Data<AppState>, request: HttpRequest) -> HttpResponse {
    let caller = Caller::of(&request);
    let gate = state.gate();
    let plain = |via| {
        let name = caller.name.split_once(':');
        Some(User {
            name: name.map_or(caller.name.as_str(), |(_, name)| name),
            email: None,
            via,
        })
    };
    let user = match &caller.identity {
        Identity::Anybody | Identity::Nobody => None,
        Identity::Session(session) => Some(User {
            name: &session.person.name,
            email: session.person.mail.as_deref(),
            via: session.person.via.name(),
        }),
        Identity::Token => plain("token"),
        Identity::Basic => plain("basic"),
    };
    HttpResponse::Ok()
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(SessionView {
            access: if gate.is_open() { "open" } else { "login" },
            user,
            level: caller.may(Access::View).then_some(caller.access),
            providers: gate.providers().collect(),
        })
}

/// `GET /api/v2/tokens`: names and uses, as far as this Gantry has seen them.
pub(crate) async fn tokens(state: web::Data<AppState>) -> HttpResponse {
    HttpResponse::Ok().json(state.gate().token_uses(now()))
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct EndBody {
    whose: Whose,
    /// Why, for the audit: one line.
    #[serde(default)]
    #[schema(value_type = Option<String>, max_length = 256)]
    reason: Option<Reason>,
}

#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Whose {
    Mine,
    All,
}

#[derive(Serialize, ToSchema)]
#[schema(as = SessionsEnded)]
pub(super) struct Ended {
    status: &'static str,
}

/// `POST /api/v2/sessions/end`: ends sessions everywhere, the one that asks included.
pub(crate) async fn end_sessions(
    state: web::Data<AppState>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let EndBody { whose, reason } = body::json(&state, payload).await?;
    let caller = Caller::of(&request);
    let user = match (whose, &caller.identity) {
        (Whose::Mine, Identity::Session(session)) => Some(session.person.key()),
        (Whose::Mine, _) => {
            return Err(
                ApiError::new(Code::BadRequest, "`whose`: whoever asks has no session")
                    .remedy("`all` ends the sessions of everybody"),
            );
        }
        (Whose::All, _) if caller.may(Access::Admin) => None,
        (Whose::All, _) => {
            let message = too_little(&caller, Access::Admin);
            return Err(ApiError::new(Code::Forbidden, message));
        }
    };
    let command = Command::EndSessions { user };
    state.command(&request, reason, command).await?;
    tracing::warn!(
        target: AUDIT, who = caller.name,
        whose = match whose { Whose::Mine => "mine", Whose::All => "all" },
        "sessions ended"
    );
    Ok(HttpResponse::Ok().json(Ended { status: "ok" }))
}
