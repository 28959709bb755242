//! `/api/v2/overview`: everything at a glance.

use actix_web::{HttpResponse, web};
use gantry_core::{Amount, Counts, DeploymentStatus, Timestamp, View, Workload};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    explain::{Condition, CountsJson, sentences},
    leader::{BrakeJson, LeadershipJson},
    workloads::image,
};
use crate::{
    http::{AppState, unreadable},
    runtime::{ConnectionState, ConnectionStatus, StoreState},
};

/// Most workloads in trouble that the overview lists; the list of workloads has all.
const TROUBLE_MAX: usize = 20;

#[derive(Serialize, ToSchema)]
pub(super) struct Overview<'a> {
    /// When the state was as shown.
    at: u64,
    framework: FrameworkJson<'a>,
    connection: ConnectionJson,
    /// Who acts, and what this Gantry is beside it.
    leadership: LeadershipJson,
    /// The disaster brake, while it is on.
    brake: Option<BrakeJson>,
    totals: Totals,
    /// The workloads that somebody should look at, the worst first; at most 20.
    trouble: Vec<TroubleJson<'a>>,
    /// Deployments that are not over, the paused ones included.
    deployments_at_work: usize,
    deployments_paused: usize,
    unknown_tasks: usize,
    /// Stored records that could not be read and were not written anew since.
    unreadable: usize,
    /// What an operator should know about this Gantry.
    warnings: Vec<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Framework)]
struct FrameworkJson<'a> {
    name: &'a str,
    id: Option<&'a str>,
    version: &'static str,
    started_at: u64,
    offers_suppressed: bool,
    offers_held: usize,
    agents: usize,
}

/// The connections to the master and to the store.
#[derive(Serialize, ToSchema)]
#[schema(as = Connection)]
struct ConnectionJson {
    /// `connecting`, `subscribed`, `removed`, `failed_over`, `refused`, `stand_by` or `stopped`.
    state: &'static str,
    since: u64,
    master: Option<String>,
    /// How long ago the master was last heard of, in milliseconds.
    last_heard_ago: Option<u64>,
    /// `writable` or `failing`; `stand_by` when it is not for this Gantry to write.
    store: &'static str,
    /// Why Gantry cannot do its work at the moment.
    problem: Option<String>,
    last_error: Option<String>,
    /// Live tasks that the master has not spoken of since the subscription.
    unconfirmed: usize,
}

impl ConnectionJson {
    fn new(status: ConnectionStatus, view: &View) -> Self {
        let heard = status.last_heard.map(|heard| heard.elapsed().as_millis());
        Self {
            state: status.state.name(),
            since: status.since.as_millis(),
            last_heard_ago: heard.map(|millis| u64::try_from(millis).unwrap_or(u64::MAX)),
            store: match status.store {
                _ if status.state == ConnectionState::StandBy => "stand_by",
                StoreState::Writable => "writable",
                StoreState::Failing { .. } => "failing",
            },
            problem: status.problem(),
            master: status.master,
            last_error: status.last_error,
            unconfirmed: view.framework.unconfirmed,
        }
    }
}

#[derive(Serialize, ToSchema)]
struct Totals {
    workloads: usize,
    wanted: u64,
    tasks: u64,
    counts: CountsJson,
    cpus: f64,
    mem: f64,
    disk: f64,
    gpus: f64,
    ports: usize,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Trouble)]
struct TroubleJson<'a> {
    name: &'a str,
    condition: Condition,
    wanted: u32,
    counts: CountsJson,
    image: Option<&'a str>,
    sentences: Vec<String>,
}

/// `GET /api/v2/overview`
pub(crate) async fn get(state: web::Data<AppState>) -> HttpResponse {
    let view = state.handle().view();
    let connection = state.handle().connection();
    let settings = state.settings();
    let problem = connection.problem();
    let mut trouble: Vec<_> = view
        .workloads
        .iter()
        .map(|workload| (Condition::of(workload), workload))
        .filter(|(condition, _)| condition.is_trouble())
        .collect();
    trouble.sort_by_key(|(condition, _)| *condition);
    let trouble = trouble.into_iter().take(TROUBLE_MAX);
    HttpResponse::Ok().json(Overview {
        at: view.at.as_millis(),
        framework: FrameworkJson {
            name: &settings.framework_name,
            id: view
                .framework
                .id
                .as_ref()
                .map(gantry_core::FrameworkId::as_str),
            version: env!("CARGO_PKG_VERSION"),
            started_at: state.0.started_at.as_millis(),
            offers_suppressed: view.framework.suppressed,
            offers_held: view.framework.offers_held,
            agents: view.framework.agents,
        },
        connection: ConnectionJson::new(connection, &view),
        leadership: LeadershipJson::of(&state),
        brake: view.brake.as_ref().map(Into::into),
        totals: totals(&view),
        trouble: trouble
            .map(|(condition, workload)| TroubleJson {
                name: workload.name.as_str(),
                condition,
                wanted: workload.desired,
                counts: (&workload.counts).into(),
                image: image(workload),
                sentences: sentences(&view, workload, problem.clone()),
            })
            .collect(),
        deployments_at_work: view
            .deployments
            .iter()
            .filter(|deployment| !deployment.status.is_over())
            .count(),
        deployments_paused: view
            .deployments
            .iter()
            .filter(|deployment| matches!(deployment.status, DeploymentStatus::Paused { .. }))
            .count(),
        unknown_tasks: view.unknown_tasks.len(),
        unreadable: view.unreadable.len(),
        warnings: warnings(&state, &view),
    })
}

fn warnings(state: &AppState, view: &View) -> Vec<String> {
    let mut warnings = unreadable::sentences(&view.unreadable);
    if state.gate().is_open() {
        warnings.push(
            "open access: no login is configured, everybody who reaches this address can change everything"
                .to_owned(),
        );
    }
    warnings
}

fn totals(view: &View) -> Totals {
    let mut sum = Counts::default();
    let mut resources = [Amount::ZERO; 4];
    let mut ports = 0;
    let mut wanted = 0;
    for workload in &view.workloads {
        let counts = &workload.counts;
        sum.admitting += counts.admitting;
        sum.waiting += counts.waiting;
        sum.backing_off += counts.backing_off;
        sum.reconciling += counts.reconciling;
        sum.braked += counts.braked;
        sum.starting += counts.starting;
        sum.running += counts.running;
        sum.healthy += counts.healthy;
        sum.unhealthy += counts.unhealthy;
        sum.killing += counts.killing;
        sum.unreachable += counts.unreachable;
        sum.replacing += counts.replacing;
        sum.unconfirmed += counts.unconfirmed;
        wanted += u64::from(workload.desired);
        for (amounts, port_count, tasks) in held(workload) {
            for (sum, amount) in resources.iter_mut().zip(amounts) {
                *sum += Amount::from_thousandths(amount.thousandths().saturating_mul(tasks));
            }
            ports += port_count * tasks as usize;
        }
    }
    let [cpus, mem, disk, gpus] = resources.map(Amount::as_f64);
    Totals {
        workloads: view.workloads.len(),
        wanted,
        tasks: u64::from(sum.tasks()),
        counts: (&sum).into(),
        cpus,
        mem,
        disk,
        gpus,
        ports,
    }
}

/// What the live tasks of a workload hold: amounts and ports of one, and how many hold that.
/// Counting one by one is needed only while tasks of several revisions live.
fn held(workload: &Workload) -> Vec<([Amount; 4], usize, u64)> {
    let of = |revision: u32, tasks: u64| {
        let demand = &workload.revisions.get(&revision)?.demand;
        Some((demand.scalars(), demand.port_count(), tasks))
    };
    if workload.revisions.len() == 1 {
        let tasks = u64::from(workload.counts.tasks());
        return of(workload.revision, tasks).into_iter().collect();
    }
    workload
        .revisions
        .keys()
        .filter_map(|revision| {
            let tasks = workload
                .tasks()
                .filter(|(_, task)| task.revision == *revision);
            of(*revision, tasks.count() as u64)
        })
        .collect()
}

/// Milliseconds of a moment that may not have come.
pub(crate) fn millis(at: Option<Timestamp>) -> Option<u64> {
    at.map(Timestamp::as_millis)
}
