//! `/framework/*`, `/moduleList` and the dynamic style sheet.

use actix_web::{HttpRequest, HttpResponse, http::header, web};
use gantry_core::{Amount, Workload};
use gantry_modules::Hook;
use serde::Serialize;

use super::{
    OK, require_first_subscription,
    shapes::{InOrder, Number, TaskObject, is_launched, launch_order},
    unconfirmed,
};
use crate::{
    auth::{Access, Caller},
    http::{AppState, body::REASON_MAX, error::ApiError, proxy, query::Query, security},
};

/// How long the one who asked for a restart has to receive the answer, as in the original.
const RESTART_AFTER: std::time::Duration = std::time::Duration::from_secs(1);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Configuration<'a> {
    master_url: &'a str,
    port: u16,
    framework_name: &'a str,
    logging: Logging<'a>,
    kill_unknown_tasks: bool,
    use_zk: bool,
    static_ports: bool,
    serial_numbered_tasks: bool,
    user_auth_support: bool,
    tasks: InOrder<'a, TaskObject<'a>>,
    restart_states: [&'static str; 5],
    module_list: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    health_check: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    leader_check: Option<bool>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Logging<'a> {
    path: String,
    file_name: &'a str,
    level: &'a str,
}

/// What everybody may know: by `user` the original's page sees that it has to log in.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Stranger<'a> {
    framework_name: &'a str,
    user: &'static str,
}

/// `GET /framework/configuration`
pub(crate) async fn configuration(
    state: web::Data<AppState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    if !Caller::of(&request).may(Access::View) {
        return Ok(HttpResponse::Ok().json(Stranger {
            framework_name: &state.settings().framework_name,
            user: "",
        }));
    }
    require_first_subscription(&state)?;
    let view = state.handle().view();
    let settings = state.settings();
    let mut path = settings.log.directory().to_string_lossy().into_owned();
    if !path.ends_with('/') {
        path.push('/');
    }
    let tasks = view
        .workloads
        .iter()
        .filter(|workload| !workload.removed)
        .filter_map(|workload| {
            let template = workload.template()?;
            let definition = TaskObject::definition(workload, template, &settings.declared_counts);
            Some((workload.name.as_str(), definition))
        })
        .collect();
    Ok(HttpResponse::Ok().json(Configuration {
        master_url: &settings.master_host,
        port: settings.master_port,
        framework_name: &settings.framework_name,
        logging: Logging {
            path,
            file_name: settings.log.file_name(),
            level: &settings.log_level,
        },
        kill_unknown_tasks: settings.kill_unknown_tasks,
        use_zk: settings.use_zookeeper,
        static_ports: true,
        serial_numbered_tasks: false,
        user_auth_support: !state.gate().is_open(),
        tasks: InOrder(tasks),
        restart_states: [
            "TASK_FAILED",
            "TASK_LOST",
            "TASK_ERROR",
            "TASK_FINISHED",
            "TASK_KILLED",
        ],
        module_list: state.modules().names().collect(),
        health_check: state.modules().indicates(Hook::Healthy).then_some(true),
        leader_check: state.modules().indicates(Hook::Leader).then_some(true),
    }))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Info {
    module_name: &'static str,
    description: &'static str,
    version: &'static str,
    homepage: Option<&'static str>,
    issues: Option<&'static str>,
}

/// `GET /framework/info`
pub(crate) async fn info() -> HttpResponse {
    let homepage = env!("CARGO_PKG_HOMEPAGE");
    HttpResponse::Ok().json(Info {
        module_name: env!("CARGO_PKG_NAME"),
        description: env!("CARGO_PKG_DESCRIPTION"),
        version: env!("CARGO_PKG_VERSION"),
        homepage: (!homepage.is_empty()).then_some(homepage),
        issues: None,
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Stats<'a> {
    by_type: InOrder<'a, Sum>,
    overall: Sum,
}

#[derive(Clone, Copy, Default, Serialize)]
struct Sum {
    cpus: Number,
    mem: Number,
    disk: Number,
    ports: usize,
    instances: usize,
}

impl Sum {
    fn add(&mut self, other: &Self) {
        self.cpus += other.cpus;
        self.mem += other.mem;
        self.disk += other.disk;
        self.ports += other.ports;
        self.instances += other.instances;
    }
}

/// `GET /framework/stats`
pub(crate) async fn stats(state: web::Data<AppState>) -> Result<HttpResponse, ApiError> {
    require_first_subscription(&state)?;
    let view = state.handle().view();
    let mut by_type: Vec<_> = view
        .workloads
        .iter()
        .filter_map(|workload| Some((launched_sum(workload)?, workload)))
        .collect();
    // In order of first appearance among the launched tasks.
    by_type.sort_by_key(|((first, _), _)| *first);
    let mut overall = Sum::default();
    for ((_, sum), _) in &by_type {
        overall.add(sum);
    }
    let by_type = by_type
        .iter()
        .map(|((_, sum), workload)| (workload.name.as_str(), *sum))
        .collect();
    Ok(HttpResponse::Ok().json(Stats {
        by_type: InOrder(by_type),
        overall,
    }))
}

/// What the launched tasks of a workload need together, and the place of the first of them in the
/// order of launch. `None` without any.
fn launched_sum(workload: &Workload) -> Option<((gantry_core::Timestamp, u32), Sum)> {
    let mut sum = Sum::default();
    let mut first = None;
    for (number, task) in workload.tasks().filter(|(_, task)| is_launched(task)) {
        let order = launch_order(number, task);
        first = Some(first.map_or(order, |first: (_, _)| first.min(order)));
        let demand = workload
            .revisions
            .get(&task.revision)
            .map(|template| &template.demand);
        let of = |amount: fn(&gantry_core::Demand) -> Amount| {
            Number(demand.map_or(Amount::ZERO, amount))
        };
        sum.add(&Sum {
            cpus: of(|demand| demand.cpus),
            mem: of(|demand| demand.mem),
            disk: of(|demand| demand.disk),
            ports: task.ports.len(),
            instances: 1,
        });
    }
    first.map(|first| (first, sum))
}

/// `POST /framework/restart?sure=yes`
pub(crate) async fn restart(
    state: web::Data<AppState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let query = Query::of(&request)?;
    if !query.is_sure() {
        return Ok(unconfirmed(&query));
    }
    let asked_by = proxy::asked_by(&request);
    let reason = query.text("reason")?.filter(|reason| {
        reason.chars().count() <= REASON_MAX && !reason.chars().any(char::is_control)
    });
    tracing::warn!(
        asked_by,
        reason,
        "a restart of the framework was asked for over HTTP"
    );
    let state = state.get_ref().clone();
    tokio::spawn(async move {
        tokio::time::sleep(RESTART_AFTER).await;
        state.request_restart();
    });
    Ok(HttpResponse::Ok().json(OK))
}

/// `GET /framework/restart?sure=yes`, which the original's README names: only from our own pages.
pub(crate) async fn restart_by_get(
    state: web::Data<AppState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    security::require_own_page(&state, &request)?;
    restart(state, request).await
}

/// `GET /moduleList`: one name a line.
pub(crate) async fn module_list(state: web::Data<AppState>) -> HttpResponse {
    let names = state.modules().names();
    let lines: String = names.map(|name| format!("{name}\n")).collect();
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/html; charset=utf-8"))
        .body(lines)
}

/// `GET /stylesheets/dynamic-style.css`
pub(crate) async fn dynamic_style(state: web::Data<AppState>) -> HttpResponse {
    let colour = state.settings().name_background.as_deref();
    let rule = match colour.filter(|colour| is_css_colour(colour)) {
        Some(colour) => format!("#framework-name {{\n  background-color: {colour};\n}}\n"),
        None => "#framework-name {\n}\n".to_owned(),
    };
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/css; charset=utf-8"))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .body(rule)
}

/// Whether the text can only be a colour: a name, `#rrggbb`, `rgb(…)` and the like. Anything that
/// could end the declaration is not.
fn is_css_colour(text: &str) -> bool {
    const LENGTH_MAX: usize = 64;
    !text.is_empty()
        && text.len() <= LENGTH_MAX
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"#(),.%/ -".contains(&byte))
}
