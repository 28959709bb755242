//! Every route of every face, in one table: who may use it, and what a Gantry that does not lead
//! does with it.
//!
//! Each handler is wrapped with the guard of its own row, so that what is asked of a request is
//! decided by the route that it has reached and never by a second look at its path. What is not in
//! the table is refused to whoever may not look at anything.

use actix_web::{
    Error, FromRequest, Handler, Resource, Responder, ResponseError as _, Route,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    guard,
    middleware::{Next, from_fn},
    web::{self, ServiceConfig},
};

use super::{
    AppState, access, compat,
    error::{ApiError, Code},
    events, health, login, logs, metrics, modules, not_found, role, v2,
};
use crate::{
    auth::{Access, Caller},
    dashboard,
};
use About::{Ask, Change, Events, Process, State};
use Access::{Admin, Open, Operate, View};
use Verb::{Delete, Get, GetAlone, Patch, Post, Put};

/// What a request is about: what a Gantry that does not lead does with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum About {
    /// This process, whatever its role is: answered.
    Process,
    /// The state: answered from the copy.
    State,
    /// What happens: only the leader knows.
    Events,
    /// Something is to change: handed to the leader.
    Change,
    /// What only the leader can tell, without changing anything: handed to it as it is.
    Ask,
}

/// How a route is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// GET, and HEAD.
    Get,
    /// GET without HEAD, where there is no answer without an effect or an end.
    GetAlone,
    /// POST.
    Post,
    /// PUT.
    Put,
    /// PATCH.
    Patch,
    /// DELETE.
    Delete,
}

impl Verb {
    /// The method's name.
    #[cfg(test)]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Get | Self::GetAlone => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }

    fn route(self) -> Route {
        match self {
            Self::Get => web::route().guard(guard::Any(guard::Get()).or(guard::Head())),
            Self::GetAlone => web::get(),
            Self::Post => web::post(),
            Self::Put => web::put(),
            Self::Patch => web::patch(),
            Self::Delete => web::delete(),
        }
    }
}

/// What is asked of a request before its handler sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rule {
    pub(crate) access: Access,
    pub(crate) about: About,
    /// Most bytes of the body, when not those of the settings.
    pub(crate) body_max: Option<usize>,
}

/// One route.
pub(crate) struct Row {
    pub(crate) verb: Verb,
    pub(crate) path: String,
    pub(crate) rule: Rule,
    handler: Box<dyn FnOnce(Route) -> Route>,
}

impl Row {
    /// Takes larger bodies than others.
    const fn body_max(mut self, bytes: usize) -> Self {
        self.rule.body_max = Some(bytes);
        self
    }
}

fn row<F, Args>(verb: Verb, path: &str, access: Access, about: About, handler: F) -> Row
where
    F: Handler<Args>,
    Args: FromRequest + 'static,
    F::Output: Responder + 'static,
{
    Row {
        verb,
        path: path.to_owned(),
        rule: Rule {
            access,
            about,
            body_max: None,
        },
        handler: Box::new(|route| route.to(handler)),
    }
}

/// The whole table.
pub(crate) fn all() -> Vec<Row> {
    let mut rows = own();
    rows.extend(full());
    for prefix in ["/api/v1", ""] {
        rows.extend(original().into_iter().map(|row| Row {
            path: format!("{prefix}{}", row.path),
            ..row
        }));
    }
    rows.extend(of_modules());
    rows
}

/// The dashboard, and what watches Gantry.
#[rustfmt::skip]
fn own() -> Vec<Row> {
    vec![
        row(Get, "/",                                View,    Process, dashboard::page),
        row(Get, "/login",                           Open,    Process, login::to_page),
        row(Get, "/login/",                          Open,    Process, login::page),
        row(GetAlone, "/auth/{provider}",            Open,    Process, login::begin),
        row(GetAlone, "/auth/{provider}/callback",   Open,    Process, login::finish),
        row(GetAlone, "/logout",                     Open,    Process, login::log_out),
        row(Post, "/logout",                         Open,    Process, login::log_out),
        row(Get, "/static/{path:.*}",                Open,    Process, dashboard::asset),
        row(Get, "/stylesheets/dynamic-style.css",   Open,    Process, compat::framework::dynamic_style),
        row(Get, "/moduleList",                      Open,    Process, compat::framework::module_list),
        row(Get, "/health",                          Open,    Process, health::get),
        row(Get, "/metrics",                         View,    Process, metrics::get),
    ]
}

/// The full model.
#[rustfmt::skip]
fn full() -> Vec<Row> {
    vec![
        row(Get, "/api/v2/session",                  Open,    Process, access::session),
        row(Post, "/api/v2/sessions/end",            View,    Change,  access::end_sessions),
        row(Get, "/api/v2/tokens",                   Admin,   Process, access::tokens),
        row(Get, "/api/v2/overview",                 View,    State,   v2::overview::get),
        row(Get, "/api/v2/leader",                   View,    Process, v2::leader::get),
        row(Post, "/api/v2/brake/release",           Admin,   Change,  v2::leader::release_brake),
        row(Get, "/api/v2/workloads",                View,    State,   v2::workloads::list),
        row(Get, "/api/v2/workloads/{name}",         View,    State,   v2::workloads::get),
        row(Get, "/api/v2/workloads/{name}/explain", View,    State,   v2::workloads::explain),
        row(Put, "/api/v2/workloads/{name}/scale",   Operate, Change,  v2::workloads::scale),
        row(Get, "/api/v2/workloads/{name}/instances", View,  State,   v2::instances::list),
        row(Get, "/api/v2/workloads/{name}/instances/{number}", View, State, v2::instances::get),
        row(Get, "/api/v2/trends",                   View,    State,   v2::trends::get),
        row(Get, "/api/v2/tasks",                    View,    State,   v2::tasks::list),
        row(Get, "/api/v2/tasks/{id}",               View,    State,   v2::tasks::get),
        row(Get, "/api/v2/tasks/{id}/output/{stream}", View,  State,   v2::output::get),
        row(Get, "/api/v2/tasks/{id}/usage",         View,    State,   v2::output::usage),
        row(Post, "/api/v2/tasks/{id}/restart",      Operate, Change,  v2::tasks::restart),
        row(Post, "/api/v2/rolling-restarts",        Operate, Change,  v2::deployments::rolling_restart),
        row(Post, "/api/v2/kill",                    Admin,   Change,  v2::workloads::kill),
        row(Get, "/api/v2/deployments",              View,    State,   v2::deployments::list),
        row(Get, "/api/v2/deployments/{id}",         View,    State,   v2::deployments::get),
        row(Post, "/api/v2/deployments/{id}/{action}", Operate, Change, v2::deployments::act),
        row(Post, "/api/v2/plan",                    View,    Change,  v2::stored::plan)
            .body_max(v2::DECLARATION_BYTES_MAX),
        row(Get, "/api/v2/backup",                   Admin,   State,   v2::stored::backup),
        row(Get, "/api/v2/audit",                    View,    State,   v2::deployments::audit),
        row(Get, "/api/v2/agents",                   View,    State,   v2::agents::list),
        row(Get, "/api/v2/agents/{id}",              View,    State,   v2::agents::get),
        row(GetAlone, "/api/v2/events",              View,    Events,  events::get),
        row(Get, "/api/v2/metrics",                  View,    Process, metrics::get),
        row(Get, "/api/v2/openapi.json",             View,    Process, v2::openapi),
    ]
}

/// What the boilerplate had; each is there under `/api/v1` and without it.
#[rustfmt::skip]
fn original() -> Vec<Row> {
    use compat::{framework, tasks};
    vec![
        // A stranger is told the framework's name and nothing else.
        row(Get, "/framework/configuration",         Open,    State,   framework::configuration),
        row(Get, "/framework/info",                  View,    Process, framework::info),
        row(Get, "/framework/stats",                 View,    State,   framework::stats),
        row(Post, "/framework/restart",              Admin,   Change,  framework::restart),
        row(GetAlone, "/framework/restart",          Admin,   Change,  framework::restart_by_get),
        row(Get, "/tasks/launched",                  View,    State,   tasks::launched),
        row(Get, "/tasks/types",                     View,    State,   tasks::types),
        row(Post, "/tasks/rollingRestart",           Operate, Change,  tasks::rolling_restart),
        row(Post, "/tasks/killAll",                  Admin,   Change,  tasks::kill_all),
        row(Post, "/tasks/types/{type}/killAll",     Admin,   Change,  tasks::kill_type),
        row(Put, "/tasks/types/{type}/scale",        Operate, Change,  tasks::scale_by_body),
        row(Put, "/tasks/types/{type}/scale/{instances}", Operate, Change, tasks::scale_by_path),
        row(Post, "/tasks/{task}/restart",           Operate, Change,  tasks::restart),
        row(Get, "/logs",                            View,    Process, logs::get),
    ]
}

/// What modules add, after everything else: a route of Gantry goes before theirs. Only the leader
/// runs modules, so that their routes are handed to it whether or not they change anything.
#[rustfmt::skip]
fn of_modules() -> Vec<Row> {
    let mut rows = vec![
        row(Get, "/api/v2/modules",                  View,    Process, modules::list),
        row(Get, "/static-modules/{module}/{path:.*}", View,  Process, modules::file),
    ];
    for (verb, access) in [(Get, View), (Post, Operate), (Put, Operate), (Patch, Operate), (Delete, Operate)] {
        let about = if verb == Get { Ask } else { Change };
        rows.push(row(verb, "/api/v2/modules/{module}/{path:.*}", access, about, modules::route));
        rows.push(row(verb, "/api/v1/{path:.*}",     access,  about,   modules::any_route));
    }
    rows
}

/// Registers the table.
pub(crate) fn configure(config: &mut ServiceConfig) {
    let mut resources: Vec<(String, Vec<Route>)> = Vec::new();
    for row in all() {
        let rule = row.rule;
        let route = (row.handler)(row.verb.route()).wrap(from_fn(
            move |request: ServiceRequest, next: Next<BoxBody>| guard_row(rule, request, next),
        ));
        match resources.iter_mut().find(|(path, _)| *path == row.path) {
            Some((_, routes)) => routes.push(route),
            None => resources.push((row.path, vec![route])),
        }
    }
    for (path, routes) in resources {
        // The original answers a wrong method like an unknown path.
        let other = if path.starts_with("/api/v2/") {
            guarded(web::to(v2::method_not_allowed))
        } else {
            guarded(web::to(not_found))
        };
        let resource = routes
            .into_iter()
            .fold(web::resource(path), Resource::route);
        config.service(resource.default_service(other));
    }
    config.default_service(guarded(web::to(not_found)));
}

/// For what is not in the table.
fn guarded(route: Route) -> Route {
    let rule = Rule {
        access: View,
        about: Process,
        body_max: None,
    };
    route.wrap(from_fn(
        move |request: ServiceRequest, next: Next<BoxBody>| guard_row(rule, request, next),
    ))
}

async fn guard_row(
    rule: Rule,
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let caller = Caller::of(request.request());
    let state = request.app_data::<web::Data<AppState>>().cloned();
    let Some(state) = state else {
        let error = ApiError::new(Code::Internal, "the faces have no state");
        return Ok(request.into_response(error.error_response()));
    };
    if !caller.may(rule.access) {
        let refusal = access::refusal(&state, request.request(), &caller, rule.access);
        return Ok(request.into_response(refusal));
    }
    role::answer(&state, rule, request, next).await
}
