//! `/api/v2/deployments`, rolling restarts, and the record of what operators did.

use actix_web::{HttpRequest, HttpResponse, web};
use gantry_core::{
    Answer, AuditEntry, Command, Deployment, DeploymentId, DeploymentKind, DeploymentStatus, Goal,
    Refusal, Timestamp, View, WorkloadName,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Page, Window, overview::millis, preview};
use crate::{
    http::{
        AppState,
        body::{self, OnlyReason, WorkloadBody},
        error::ApiError,
        not_found,
        query::Query,
    },
    plan::{FieldChange, limits_in_words, template_changes},
};

#[derive(Serialize, ToSchema)]
#[schema(as = Deployment)]
pub(super) struct DeploymentJson<'a> {
    id: u64,
    kind: &'static str,
    /// Absent when it is about all.
    workload: Option<&'a str>,
    /// The revision that an update moves from.
    from_revision: Option<u32>,
    /// The revision that an update moves to.
    to_revision: Option<u32>,
    /// `running`, `paused`, `rolling_back`, `rolled_back`, `done`, `failed` or `aborted`.
    status: &'static str,
    /// Why it was paused, rolled back or ended: as a clause, or in the operator's words.
    reason: Option<&'a str>,
    total: u32,
    done: u32,
    started_at: u64,
    /// When it was paused or ended.
    at: Option<u64>,
    /// When the next of the instances that are being moved has failed unless it is ready by then.
    deadline_at: Option<u64>,
}

impl<'a> DeploymentJson<'a> {
    fn new(view: &View, deployment: &'a Deployment) -> Self {
        let (kind, from, to) = match &deployment.kind {
            DeploymentKind::RollingRestart { .. } => ("rolling_restart", None, None),
            DeploymentKind::Update { from, to, .. } => ("update", Some(*from), Some(*to)),
        };
        let (at, reason) = match &deployment.status {
            DeploymentStatus::Running => (None, None),
            DeploymentStatus::Done { at } => (Some(at), None),
            DeploymentStatus::Failed { at, reason } => (Some(at), Some(reason.as_str())),
            DeploymentStatus::Paused { at, reason }
            | DeploymentStatus::RollingBack { at, reason }
            | DeploymentStatus::RolledBack { at, reason }
            | DeploymentStatus::Aborted { at, reason } => (Some(at), reason.as_deref()),
        };
        Self {
            id: deployment.id.0,
            kind,
            workload: deployment.kind.workload().map(WorkloadName::as_str),
            from_revision: from,
            to_revision: to,
            status: deployment.status.name(),
            reason,
            total: deployment.total,
            done: deployment.done,
            started_at: deployment.started_at.as_millis(),
            at: at.map(|at| at.as_millis()),
            deadline_at: millis(deadline(view, deployment)),
        }
    }
}

/// The earliest deadline of the replacements under way; none while nothing may move.
fn deadline(view: &View, deployment: &Deployment) -> Option<Timestamp> {
    let moves = matches!(
        deployment.status,
        DeploymentStatus::Running | DeploymentStatus::RollingBack { .. }
    );
    let of = deployment.kind.workload();
    let workloads = view
        .workloads
        .iter()
        .filter(|workload| moves && of.is_none_or(|name| *name == workload.name));
    workloads
        .flat_map(|workload| workload.tasks())
        .filter_map(|(_, task)| match task.goal {
            Goal::Replace { deadline, .. } => Some(deadline),
            Goal::Run | Goal::Stop { .. } => None,
        })
        .min()
}

/// `GET /api/v2/deployments`, the youngest first.
pub(crate) async fn list(
    state: web::Data<AppState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let window = Window::of(&Query::of(&request)?)?;
    let view = state.handle().view();
    let all = view.deployments.iter().rev();
    let all = all.map(|deployment| DeploymentJson::new(&view, deployment));
    let items = window.cut(all);
    Ok(HttpResponse::Ok().json(Page::new(window, view.deployments.len(), items)))
}

fn find(view: &View, id: DeploymentId) -> Result<&Deployment, ApiError> {
    let found = view
        .deployments
        .iter()
        .find(|deployment| deployment.id == id);
    Ok(found.ok_or(Refusal::UnknownDeployment(id))?)
}

/// One deployment, with what an update changes.
#[derive(Serialize, ToSchema)]
#[schema(as = DeploymentDetail)]
pub(super) struct Detail<'a> {
    #[serde(flatten)]
    deployment: DeploymentJson<'a>,
    /// What is different about the tasks of the new revision; null when one of the two is no
    /// longer kept, and of a restart.
    changes: Option<Vec<FieldChange>>,
    /// Within which limits an update moves, in words; null of a restart.
    limits: Option<String>,
}

impl<'a> Detail<'a> {
    fn new(view: &View, deployment: &'a Deployment) -> Self {
        let name = deployment.kind.workload();
        let workload = name.and_then(|name| view.workload(name.as_str()));
        let revision = |number: &u32| workload.and_then(|workload| workload.revisions.get(number));
        let changes = match &deployment.kind {
            DeploymentKind::RollingRestart { .. } => None,
            DeploymentKind::Update { from, to, .. } => revision(from)
                .zip(revision(to))
                .map(|(before, after)| template_changes(before, after)),
        };
        let limits = match &deployment.kind {
            DeploymentKind::RollingRestart { .. } => None,
            DeploymentKind::Update { .. } => workload.and_then(|workload| {
                let template = workload.template()?;
                Some(limits_in_words(
                    &workload.update,
                    template,
                    workload.desired,
                ))
            }),
        };
        Self {
            deployment: DeploymentJson::new(view, deployment),
            changes,
            limits,
        }
    }
}

/// `GET /api/v2/deployments/{id}`
pub(crate) async fn get(
    state: web::Data<AppState>,
    id: web::Path<u64>,
) -> Result<HttpResponse, ApiError> {
    let view = state.handle().view();
    let deployment = find(&view, DeploymentId(*id))?;
    Ok(HttpResponse::Ok().json(Detail::new(&view, deployment)))
}

#[derive(Serialize, ToSchema)]
pub(super) struct Started {
    deployment: u64,
}

/// `POST /api/v2/rolling-restarts` with `{"workload"?: name, "reason"?: text}`
pub(crate) async fn rolling_restart(
    state: web::Data<AppState>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let WorkloadBody { workload, reason } = body::json(&state, payload).await?;
    let workload = workload.map(WorkloadName::new);
    if preview::is_asked(&Query::of(&request)?)? {
        return Ok(preview::rolling_restart(&state, workload.as_ref())?.answer());
    }
    let command = Command::RollingRestart { workload };
    let deployment = match state.command(&request, reason, command).await? {
        Answer::Deployment(id) => id.0,
        _ => 0,
    };
    Ok(HttpResponse::Accepted().json(Started { deployment }))
}

/// `POST /api/v2/deployments/{id}/pause`, `resume`, `abort` or `rollback`, with `{"reason"?: text}`
pub(crate) async fn act(
    state: web::Data<AppState>,
    path: web::Path<(u64, String)>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let (id, action) = path.into_inner();
    let id = DeploymentId(id);
    let command = match action.as_str() {
        "pause" => Command::PauseDeployment(id),
        "resume" => Command::ResumeDeployment(id),
        "abort" => Command::AbortDeployment(id),
        "rollback" => Command::RollbackDeployment(id),
        _ => return Ok(not_found(request).await),
    };
    let OnlyReason { reason } = body::json_or_default(&state, payload).await?;
    state.command(&request, reason, command).await?;
    let view = state.handle().view();
    Ok(HttpResponse::Ok().json(DeploymentJson::new(&view, find(&view, id)?)))
}

#[derive(Serialize, ToSchema)]
#[schema(as = Audit)]
pub(super) struct AuditJson<'a> {
    sequence: u64,
    at: u64,
    actor: &'a str,
    address: &'a str,
    reason: Option<&'a str>,
    action: &'a str,
    before: Option<&'a str>,
    after: Option<&'a str>,
}

impl<'a> From<&'a AuditEntry> for AuditJson<'a> {
    fn from(entry: &'a AuditEntry) -> Self {
        Self {
            sequence: entry.sequence,
            at: entry.at.as_millis(),
            actor: &entry.actor.name,
            address: &entry.actor.address,
            reason: entry.actor.reason.as_deref(),
            action: &entry.action,
            before: entry.before.as_deref(),
            after: entry.after.as_deref(),
        }
    }
}

/// `GET /api/v2/audit`, the newest first.
pub(crate) async fn audit(
    state: web::Data<AppState>,
    request: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let window = Window::of(&Query::of(&request)?)?;
    let view = state.handle().view();
    let items = window.cut(
        view.audit
            .iter()
            .rev()
            .map(|entry| AuditJson::from(&**entry)),
    );
    Ok(HttpResponse::Ok().json(Page::new(window, view.audit.len(), items)))
}
