//! What a route asks for, what a caller has, and the one comparison of the two.

use actix_web::{HttpMessage as _, HttpRequest};

/// What a route asks for, and what a caller may do. Each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Caller {
    /// As it stands in the audit log.
    pub(crate) name: String,
    /// What they may do.
    pub(crate) access: Access,
}

impl Caller {
    /// Whoever it is, where no login is configured.
    fn anybody() -> Self {
        Self {
            name: "anonymous".to_owned(),
            access: Access::Admin,
        }
    }

    /// Who sends this request.
    pub(crate) fn of(request: &HttpRequest) -> Self {
        let known = request.extensions().get::<Self>().cloned();
        known.unwrap_or_else(Self::anybody)
    }

    /// Whether a route that asks for so much is theirs to use.
    pub(crate) fn may(&self, needed: Access) -> bool {
        self.access >= needed
    }
}
