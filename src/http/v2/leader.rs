//! `/api/v2/leader`: who acts, and what this Gantry is beside it. And the brake's release.

use actix_web::{HttpRequest, HttpResponse, web};
use gantry_core::{Brake, Command};
use gantry_store::Member;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    http::{
        AppState,
        body::{self, OnlyReason},
        error::ApiError,
    },
    runtime::{Reach, Role, Shown, StoreState},
};

/// Who leads, and how this process stands.
#[derive(Serialize, ToSchema)]
#[schema(as = Leadership)]
pub(crate) struct LeadershipJson {
    /// Of this process: `leader`, `stand-by`, or `starting` while it reads what is stored.
    role: &'static str,
    /// Since when.
    since: u64,
    /// Who leads, this process included; null when that is not known.
    leader: Option<MemberJson>,
    /// The number of the term in which this process acts, or last acted.
    epoch: Option<u64>,
    /// How many terms this process has had.
    terms: u64,
    /// When what is shown was copied from the store; null when it is the state itself, or nothing.
    as_of: Option<u64>,
    /// Why the last term of this process ended.
    ended: Option<String>,
    /// What keeps it from acting until somebody mends it.
    fault: Option<String>,
    /// What keeps it from reading what is stored until somebody mends it.
    read_fault: Option<String>,
    /// What this process would change as soon as it leads, as it declares something else than what is
    /// stored; null of the leader.
    would_change: Option<String>,
    store: StoreJson,
}

#[derive(Serialize, ToSchema)]
#[schema(as = Member)]
struct MemberJson {
    id: String,
    host: String,
    /// Where its HTTP is reached.
    url: Option<String>,
}

impl From<Member> for MemberJson {
    fn from(member: Member) -> Self {
        Self {
            id: member.id,
            host: member.host,
            url: member.url,
        }
    }
}

/// Where the records are.
#[derive(Serialize, ToSchema)]
#[schema(as = Store)]
struct StoreJson {
    /// `memory`, `embedded` or `zookeeper`.
    kind: &'static str,
    /// Whether it can be reached.
    connected: bool,
    /// Since when it can or cannot; null of what needs no connection, and before the first.
    since: Option<u64>,
    /// Whether the last commit succeeded.
    writable: bool,
    /// Why it cannot be reached or written.
    problem: Option<String>,
}

impl LeadershipJson {
    pub(crate) fn of(state: &AppState) -> Self {
        let handle = state.handle();
        let standing = handle.standing();
        let home = handle.home();
        let written = handle.connection().store;
        let leader = match standing.role {
            Role::Leader => Some(handle.me().clone()),
            _ => handle.other_leader(),
        };
        Self {
            role: standing.role.name(),
            since: standing.since.as_millis(),
            leader: leader.map(Into::into),
            epoch: standing.epoch,
            terms: standing.terms,
            as_of: match standing.shown {
                Shown::Copy { at } => Some(at.as_millis()),
                Shown::Live | Shown::Nothing => None,
            },
            ended: standing.ended,
            fault: standing.fault.map(|fault| fault.reason),
            read_fault: standing.read_fault.map(|fault| fault.reason),
            would_change: standing.would_change,
            store: StoreJson {
                kind: home.kind.name(),
                connected: matches!(home.reach, Reach::Always | Reach::Connected { .. }),
                since: match &home.reach {
                    Reach::Always | Reach::Never { .. } => None,
                    Reach::Connected { since } | Reach::Lost { since, .. } => {
                        Some(since.as_millis())
                    }
                },
                writable: standing.role == Role::Leader && written == StoreState::Writable,
                problem: home.reach.problem().or_else(|| written.problem()),
            },
        }
    }
}

/// `GET /api/v2/leader`
pub(crate) async fn get(state: web::Data<AppState>) -> HttpResponse {
    HttpResponse::Ok().json(LeadershipJson::of(&state))
}

/// The disaster brake, while it is on.
#[derive(Serialize, ToSchema)]
#[schema(as = Brake)]
pub(crate) struct BrakeJson {
    since: u64,
    /// How many tasks were lost or turned unhealthy at once.
    troubled: u32,
    /// Of how many that were well; 0 when the record of the brake could not be read.
    of: u32,
    /// Why it is on, as a clause.
    reason: String,
}

impl From<&Brake> for BrakeJson {
    fn from(brake: &Brake) -> Self {
        Self {
            since: brake.since.as_millis(),
            troubled: brake.troubled,
            of: brake.of,
            reason: brake.reason(),
        }
    }
}

#[derive(Serialize, ToSchema)]
pub(super) struct Released {
    released: bool,
}

/// `POST /api/v2/brake/release` with `{"reason"?: text}`
pub(crate) async fn release_brake(
    state: web::Data<AppState>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    let OnlyReason { reason } = body::json_or_default(&state, payload).await?;
    let command = Command::ReleaseBrake;
    state.command(&request, reason, command).await?;
    Ok(HttpResponse::Ok().json(Released { released: true }))
}
