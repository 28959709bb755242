//! What a route asks for, what a caller has, and the one comparison of the two.

use std::sync::Arc;

use actix_web::{HttpMessage as _, HttpRequest};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::session::Session;

/// What a route asks for, and what a caller may do. Each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = Level)]
pub(crate) enum Access {
    /// Anybody, also without being known.
    Open,
    /// Look at everything.
    View,
    /// Scale, restart, steer deployments.
    Operate,
    /// What touches all tasks or Gantry itself: kill, release the brake, restart, take a backup.
    Admin,
}

impl Access {
    /// As it is shown to people and programs.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::View => "view",
            Self::Operate => "operate",
            Self::Admin => "admin",
        }
    }
}

/// Who sends a request.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// As it stands in the audit log.
    pub(crate) name: String,
    /// What they may do.
    pub(crate) access: Access,
    /// How they showed who they are.
    pub(crate) identity: Identity,
}

/// How a caller showed who they are.
#[derive(Clone, Debug)]
pub(crate) enum Identity {
    /// Not at all: no login is configured, and everybody may do everything.
    Anybody,
    /// Not at all, and that is not enough.
    Nobody,
    /// By the session of a browser.
    Session(Arc<Session>),
    /// By a token, which only a program puts into a header.
    Token,
    /// By a password.
    Basic,
}

impl Caller {
    /// Whoever it is, where no login is configured.
    pub(crate) fn anybody() -> Self {
        Self {
            name: "anonymous".to_owned(),
            access: Access::Admin,
            identity: Identity::Anybody,
        }
    }

    /// Somebody who has shown nothing that lets them in.
    pub(crate) fn nobody() -> Self {
        Self {
            access: Access::Open,
            identity: Identity::Nobody,
            ..Self::anybody()
        }
    }

    /// Who sends this request. Nobody, where the middleware that finds out has not run.
    pub(crate) fn of(request: &HttpRequest) -> Self {
        let known = request.extensions().get::<Self>().cloned();
        known.unwrap_or_else(Self::nobody)
    }

    /// Whether a route that asks for so much is theirs to use.
    pub(crate) fn may(&self, needed: Access) -> bool {
        self.access >= needed
    }

    /// Whether they have shown who they are, or need not.
    pub(crate) const fn is_known(&self) -> bool {
        !matches!(self.identity, Identity::Nobody)
    }
}
