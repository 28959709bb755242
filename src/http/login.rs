//! Logging in and out: the page, and the two addresses of each provider.

use actix_web::{
    HttpRequest, HttpResponse, HttpResponseBuilder,
    cookie::Cookie,
    http::{Method, header},
    web,
};
use serde::Serialize;

use super::{
    AppState,
    access::{self, in_query},
    error::ApiError,
    not_found, now,
    query::Query,
    security,
};
use crate::{
    auth::{Access, Callback, Caller, Problem, Sender, Via, own_path},
    dashboard,
};

/// The template of the page.
const TEMPLATE: &str = "login";

/// What the template may use.
#[derive(Serialize)]
struct LoginModel<'a> {
    framework_name: &'a str,
    version: &'static str,
    providers: Vec<Choice>,
    /// What went wrong, if something did.
    problem: Option<&'static str>,
}

#[derive(Serialize)]
struct Choice {
    name: &'static str,
    title: &'static str,
    /// `?next=…`, or nothing.
    query: String,
}

/// `GET /login`
pub(crate) async fn to_page(state: web::Data<AppState>, request: HttpRequest) -> HttpResponse {
    if !state.gate().has_sessions() {
        return not_found(request).await;
    }
    let query = request.query_string();
    let mark = if query.is_empty() { "" } else { "?" };
    HttpResponse::MovedPermanently()
        .insert_header((header::LOCATION, format!("login/{mark}{query}")))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .finish()
}

/// `GET /login/`: a link for each provider; nothing of it needs JavaScript.
pub(crate) async fn page(
    state: web::Data<AppState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    if !state.gate().has_sessions() {
        return Ok(not_found(request).await);
    }
    let query = Query::of(&request)?;
    let next = query.text("next")?.and_then(own_path);
    let problem = query.text("problem")?.and_then(Problem::named);
    if problem.is_none() && Caller::of(&request).may(Access::View) {
        return Ok(gone_to(&format!("../{}", next.unwrap_or_default()), &[]));
    }
    let next = next.map(|next| format!("?next=/{}", in_query(next)));
    let model = LoginModel {
        framework_name: &state.settings().framework_name,
        version: env!("CARGO_PKG_VERSION"),
        providers: state
            .gate()
            .providers()
            .map(|via| Choice {
                name: via.name(),
                title: match via {
                    Via::Gitlab => "GitLab",
                    Via::Google => "Google",
                },
                query: next.clone().unwrap_or_default(),
            })
            .collect(),
        problem: problem.map(Problem::sentence),
    };
    let mut page = dashboard::html(state.pages().render(TEMPLATE, &model));
    let value = header::HeaderValue::from_static("no-store");
    page.headers_mut().insert(header::CACHE_CONTROL, value);
    Ok(page)
}

fn provider(name: &str) -> Option<Via> {
    [Via::Gitlab, Via::Google]
        .into_iter()
        .find(|via| via.name() == name)
}

/// `GET /auth/{provider}`: to the provider.
pub(crate) async fn begin(
    state: web::Data<AppState>,
    path: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let Some(via) = provider(&path) else {
        return Ok(not_found(request).await);
    };
    let query = Query::of(&request)?;
    let next = query.text("next")?.and_then(own_path).unwrap_or_default();
    let begun = state.gate().begin(&request, via, next, now()).await;
    Ok(match begun {
        None => not_found(request).await,
        Some(Ok((url, cookies))) => gone_to(&url, &cookies),
        Some(Err(problem)) => gone_to(&failed("../", problem), &[]),
    })
}

/// `GET /auth/{provider}/callback`: back from the provider.
pub(crate) async fn finish(
    state: web::Data<AppState>,
    path: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let Some(via) = provider(&path) else {
        return Ok(not_found(request).await);
    };
    // Whatever is wrong with the query is a login that came to nothing.
    let query = Query::of(&request).ok();
    let text = |name| {
        let value = query.as_ref()?.text(name).ok()?;
        value.map(str::to_owned)
    };
    let callback = Callback {
        state: text("state"),
        code: text("code"),
        error: text("error"),
        issuer: text("iss"),
    };
    let from = Sender::of(&request).address;
    let has_ended = |person: &str, began| access::has_ended(&state, person, began);
    let finished = state
        .gate()
        .finish(&request, via, callback, from, now(), has_ended)
        .await;
    Ok(match finished {
        None => not_found(request).await,
        Some((cookies, Ok(next))) => gone_to(&format!("../../{next}"), &cookies),
        Some((cookies, Err(problem))) => gone_to(&failed("../../", problem), &cookies),
    })
}

/// `GET /logout`, `POST /logout`
pub(crate) async fn log_out(state: web::Data<AppState>, request: HttpRequest) -> HttpResponse {
    if !state.gate().has_sessions() {
        return not_found(request).await;
    }
    // A page of another site may not log anybody out; a link that was followed or typed may.
    if security::from_own_page(&state, &request) == Some(false) {
        return gone_to("login/", &[]);
    }
    let from = Sender::of(&request).address;
    let cookie = state.gate().log_out(&Caller::of(&request), from, now());
    let cookies: Vec<_> = cookie.into_iter().collect();
    if request.method() == Method::POST {
        return to(HttpResponse::SeeOther(), "login/", &cookies);
    }
    gone_to("login/", &cookies)
}

/// The login page, from where `up` leads, telling what went wrong.
fn failed(up: &str, problem: Problem) -> String {
    format!("{up}login/?problem={}", problem.name())
}

fn gone_to(location: &str, cookies: &[Cookie<'static>]) -> HttpResponse {
    to(HttpResponse::Found(), location, cookies)
}

fn to(
    mut response: HttpResponseBuilder,
    location: &str,
    cookies: &[Cookie<'static>],
) -> HttpResponse {
    response
        .insert_header((header::LOCATION, location))
        .insert_header((header::CACHE_CONTROL, "no-store"));
    for cookie in cookies {
        response.cookie(cookie.clone());
    }
    response.finish()
}
