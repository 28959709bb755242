//! What can go wrong in a module, in words for its author.

use std::time::Duration;

use rquickjs::{CaughtError, Ctx, Value};
use thiserror::Error;

use crate::limits::{ERROR_MAX, cut};

/// What went wrong in a call of a module.
#[derive(Debug, Error)]
pub(crate) enum Fault {
    /// It threw.
    #[error("{0}")]
    Thrown(String),
    /// What it answered is not an answer.
    #[error("{0}")]
    Garbage(String),
    /// It awaits something that does not come.
    #[error("what it awaits has not come in time")]
    Unsettled,
    /// It computes for too long.
    #[error("it took more than {} ms of processor time", limit.as_millis())]
    Time { limit: Duration },
    /// It keeps too much.
    #[error("it used more memory than it may")]
    Memory,
    /// It answers too much.
    #[error("it answered {bytes} bytes, more than {max}")]
    TooLong { bytes: usize, max: usize },
}

impl Fault {
    /// Whether the module is stopped at once: it broke a limit.
    pub(crate) const fn is_final(&self) -> bool {
        match self {
            Self::Thrown(_) | Self::Garbage(_) | Self::Unsettled => false,
            Self::Time { .. } | Self::Memory | Self::TooLong { .. } => true,
        }
    }

    pub(crate) fn from_error(ctx: &Ctx<'_>, error: rquickjs::Error) -> Self {
        match CaughtError::from_error(ctx, error) {
            CaughtError::Error(rquickjs::Error::Allocation) => Self::Memory,
            CaughtError::Error(error) => Self::Thrown(cut(error.to_string(), ERROR_MAX)),
            CaughtError::Exception(exception) => describe(ctx, exception.into_value()),
            CaughtError::Value(value) => describe(ctx, value),
        }
    }
}

/// What was thrown, and where.
pub(crate) fn describe<'js>(ctx: &Ctx<'js>, thrown: Value<'js>) -> Fault {
    let fault = try_describe(&thrown);
    // A getter of the thrown thing may have thrown again: that must not stay for others to find.
    if ctx.has_exception() {
        ctx.catch();
    }
    fault
}

fn try_describe(thrown: &Value<'_>) -> Fault {
    // With no memory left to make an error, null is thrown.
    if thrown.is_null() {
        return Fault::Memory;
    }
    let Some(object) = thrown.as_object() else {
        let text: Option<String> = thrown.get().ok();
        let text = text.unwrap_or_else(|| "something that is not an error".to_owned());
        return Fault::Thrown(cut(format!("it threw {text}"), ERROR_MAX));
    };
    let field = |name: &str| object.get::<_, Option<String>>(name).ok().flatten();
    let name = field("name").unwrap_or_else(|| "Error".to_owned());
    let message = field("message").unwrap_or_default();
    if name == "InternalError" && message == "out of memory" {
        return Fault::Memory;
    }
    let stack = field("stack").unwrap_or_default();
    let place = stack.lines().map(str::trim).find(|line| !line.is_empty());
    let text = match place {
        Some(place) => format!("{name}: {message} ({place})"),
        None => format!("{name}: {message}"),
    };
    Fault::Thrown(cut(text, ERROR_MAX))
}
