//! The one shape of errors: `{"error":{"code","message","remedy"?}}`.

use std::fmt;

use actix_web::{
    HttpResponse, ResponseError,
    http::{StatusCode, header},
};
use gantry_core::Refusal;
use serde::Serialize;
use utoipa::ToSchema;

use super::role;
use crate::{
    cluster::ClusterError,
    runtime::{CommandError, Role},
};

/// What went wrong, for programs. Never renamed once published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = ErrorCode)]
pub(crate) enum Code {
    BadRequest,
    NotAuthenticated,
    TooManyFailures,
    CrossSite,
    Forbidden,
    NotFound,
    UnknownWorkload,
    UnknownTask,
    UnknownDeployment,
    UnknownInstance,
    UnknownAgent,
    NoOutput,
    NotRunning,
    MethodNotAllowed,
    NotScalable,
    TooManyInstances,
    AlreadyChanging,
    DeploymentRunning,
    DeploymentState,
    NoWayBack,
    BrakeNotOn,
    UnreadableRecord,
    RefusedByModule,
    ModuleFailed,
    BodyTooLarge,
    TooManyStreams,
    Busy,
    StandBy,
    Unavailable,
    OutcomeUnknown,
    TimedOut,
    AgentUnreachable,
    AgentRefused,
    Internal,
}

impl Code {
    /// Every code.
    #[cfg(test)]
    pub(super) const ALL: [Self; 34] = [
        Self::BadRequest,
        Self::NotAuthenticated,
        Self::TooManyFailures,
        Self::CrossSite,
        Self::Forbidden,
        Self::NotFound,
        Self::UnknownWorkload,
        Self::UnknownTask,
        Self::UnknownDeployment,
        Self::UnknownInstance,
        Self::UnknownAgent,
        Self::NoOutput,
        Self::NotRunning,
        Self::MethodNotAllowed,
        Self::NotScalable,
        Self::TooManyInstances,
        Self::AlreadyChanging,
        Self::DeploymentRunning,
        Self::DeploymentState,
        Self::NoWayBack,
        Self::BrakeNotOn,
        Self::UnreadableRecord,
        Self::RefusedByModule,
        Self::ModuleFailed,
        Self::BodyTooLarge,
        Self::TooManyStreams,
        Self::Busy,
        Self::StandBy,
        Self::Unavailable,
        Self::OutcomeUnknown,
        Self::TimedOut,
        Self::AgentUnreachable,
        Self::AgentRefused,
        Self::Internal,
    ];

    pub(super) const fn status(self) -> StatusCode {
        match self {
            Self::BadRequest | Self::TooManyInstances => StatusCode::BAD_REQUEST,
            Self::NotAuthenticated => StatusCode::UNAUTHORIZED,
            Self::TooManyFailures => StatusCode::TOO_MANY_REQUESTS,
            Self::CrossSite | Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NotFound
            | Self::UnknownWorkload
            | Self::UnknownTask
            | Self::UnknownDeployment
            | Self::UnknownInstance
            | Self::UnknownAgent
            | Self::NoOutput => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Self::NotScalable
            | Self::AlreadyChanging
            | Self::DeploymentRunning
            | Self::DeploymentState
            | Self::NoWayBack
            | Self::NotRunning
            | Self::BrakeNotOn
            | Self::UnreadableRecord
            | Self::RefusedByModule => StatusCode::CONFLICT,
            Self::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooManyStreams
            | Self::Busy
            | Self::StandBy
            | Self::Unavailable
            | Self::OutcomeUnknown => StatusCode::SERVICE_UNAVAILABLE,
            Self::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            Self::AgentUnreachable | Self::AgentRefused => StatusCode::BAD_GATEWAY,
            Self::ModuleFailed | Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Seconds after which repeating may help; none where it may do something twice.
    const fn retry_after(self) -> Option<u32> {
        match self {
            Self::Busy | Self::StandBy => Some(1),
            Self::Unavailable | Self::TooManyStreams => Some(5),
            Self::TooManyFailures => Some(60),
            _ => None,
        }
    }
}

/// An error as it is answered.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    pub(crate) code: Code,
    message: String,
    remedy: Option<&'static str>,
}

impl ApiError {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            remedy: None,
        }
    }

    pub(crate) const fn remedy(mut self, remedy: &'static str) -> Self {
        self.remedy = Some(remedy);
        self
    }

    pub(crate) fn stopping() -> Self {
        Self::new(Code::Unavailable, "the scheduler is stopping")
    }

    pub(crate) fn unknown_workload(name: &str) -> Self {
        Refusal::UnknownWorkload(gantry_core::WorkloadName::new(name)).into()
    }

    /// Whether the fault is in the request and not in the state of Gantry, as the original knew it:
    /// it had no modules that refuse.
    pub(crate) fn is_refusal(&self) -> bool {
        self.code != Code::RefusedByModule && self.code.status().is_client_error()
    }
}

/// An error.
#[derive(Serialize, ToSchema)]
#[schema(as = Error)]
pub(super) struct ErrorJson<'a> {
    error: InnerJson<'a>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = ErrorDetail)]
struct InnerJson<'a> {
    code: Code,
    /// For people.
    message: &'a str,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<&'static str>,
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.code.status()
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        if let Some(seconds) = self.code.retry_after() {
            response.insert_header((header::RETRY_AFTER, seconds.to_string()));
        }
        if self.code == Code::StandBy {
            // Who has just ceased to lead is answered for as such: whoever handed the request on
            // takes it to the next leader.
            response.insert_header((role::ROLE, Role::StandBy.name()));
        }
        response.json(ErrorJson {
            error: InnerJson {
                code: self.code,
                message: &self.message,
                remedy: self.remedy,
            },
        })
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let (code, remedy) = match &refusal {
            Refusal::UnknownWorkload(_) => (
                Code::UnknownWorkload,
                Some("GET /api/v2/workloads lists the workloads"),
            ),
            Refusal::NotScalable(_) => (Code::NotScalable, None),
            Refusal::TooManyInstances { .. } => (Code::TooManyInstances, None),
            Refusal::UnknownTask(_) => (
                Code::UnknownTask,
                Some("it may have ended or been replaced: GET /api/v2/tasks lists the live tasks"),
            ),
            Refusal::AlreadyChanging(_) => (Code::AlreadyChanging, None),
            Refusal::DeploymentRunning(_) => (Code::DeploymentRunning, None),
            Refusal::UnknownDeployment(_) => (
                Code::UnknownDeployment,
                Some("GET /api/v2/deployments lists those at work and the last that ended"),
            ),
            Refusal::DeploymentState { .. } => (Code::DeploymentState, None),
            Refusal::NoWayBack { .. } => (Code::NoWayBack, None),
            Refusal::BrakeNotOn => (Code::BrakeNotOn, None),
            Refusal::NotStored { .. } | Refusal::NoUser => (Code::BadRequest, None),
        };
        Self {
            code,
            message: refusal.to_string(),
            remedy,
        }
    }
}

impl From<ClusterError> for ApiError {
    fn from(error: ClusterError) -> Self {
        let message = error.to_string();
        match error {
            ClusterError::Busy => Self::new(Code::Busy, message),
            ClusterError::NoFile { agent } => Self::new(
                Code::NoOutput,
                format!(
                    "agent {agent} has no such output of this task: it has not begun, or its \
                     sandbox has been removed"
                ),
            ),
            ClusterError::NoContainer { .. } => Self::new(Code::NotRunning, message),
            ClusterError::Unreachable(_) => Self::new(Code::AgentUnreachable, message),
            ClusterError::Refused(_) => Self::new(Code::AgentRefused, message),
        }
    }
}

impl From<CommandError> for ApiError {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Refused(refusal) => refusal.into(),
            CommandError::Busy => Self::new(Code::Busy, error.to_string()),
            CommandError::StandBy { .. } | CommandError::NotTaken => {
                Self::new(Code::StandBy, error.to_string())
            }
            CommandError::OutcomeUnknown => Self::new(Code::OutcomeUnknown, error.to_string()),
            CommandError::Unavailable { .. } => Self::new(Code::Unavailable, error.to_string()),
            CommandError::TimedOut => Self::new(Code::TimedOut, error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_leader_that_stops_has_not_taken_may_be_handed_to_the_next() {
        for (error, role) in [
            (CommandError::NotTaken, Some("stand-by")),
            (CommandError::OutcomeUnknown, None),
            (CommandError::Busy, None),
        ] {
            let response = ApiError::from(error).error_response();
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            let found = response.headers().get(role::ROLE);
            assert_eq!(found.map(|value| value.to_str().unwrap()), role);
        }
    }
}
