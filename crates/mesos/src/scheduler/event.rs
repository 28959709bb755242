//! What a scheduler client tells its owner.

use std::fmt;
use std::time::Duration;

use thiserror::Error;

use crate::address::HostPort;
use crate::detect::DetectError;
use crate::recordio::RecordIoError;
use crate::v1::scheduler::{Call, Event};
use crate::v1::{FrameworkId, MasterInfo};

/// Number of a subscription, growing from 1 within one client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub(super) u64);

impl Epoch {
    /// The number itself, for logs and metrics.
    #[must_use]
    pub fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What happened.
#[derive(Debug)]
#[non_exhaustive]
pub enum SchedulerEvent {
    /// A master is about to be tried.
    Connecting {
        /// Its address.
        master: HostPort,
    },
    /// The framework is subscribed; all earlier offers are void.
    Subscribed(Box<Subscribed>),
    /// The master says something. Never SUBSCRIBED, never of an unknown type.
    Event {
        /// The subscription it came with.
        epoch: Epoch,
        /// What it says. ERROR is followed by `Refused` and `Disconnected`.
        event: Box<Event>,
    },
    /// A record of the stream could not be read as an event; it was skipped.
    Undecodable {
        /// The subscription it came with.
        epoch: Epoch,
        /// What is wrong with it.
        reason: String,
    },
    /// A call was not accepted. Accepted ones are not reported.
    Call(Box<CallReport>),
    /// Reports were dropped because too many were not taken.
    ReportsLost {
        /// How many since the last such event.
        count: u64,
    },
    /// The master refuses the framework.
    Refused {
        /// Its words.
        text: String,
        /// What they mean.
        kind: RefusalKind,
        /// The client stops.
        stops: bool,
    },
    /// A subscription, or an attempt at one, has ended. The client tries again unless
    /// a `Refused` came before that says that it stops.
    Disconnected {
        /// The subscription that has ended; `None` if there was none.
        epoch: Option<Epoch>,
        /// Why.
        reason: DisconnectReason,
        /// The pause before the next attempt.
        retry_in: Duration,
    },
}

/// Facts about a new subscription.
#[derive(Clone, Debug)]
pub struct Subscribed {
    /// To be given with each call.
    pub epoch: Epoch,
    /// The id of the framework; to be stored at once and used ever after.
    pub framework_id: FrameworkId,
    /// How often the master promises to say something.
    pub heartbeat_interval: Duration,
    /// The master as it describes itself.
    pub master_info: Option<MasterInfo>,
    /// The address it was reached at.
    pub master: HostPort,
}

/// What a refusal means. Masters give no code, only words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RefusalKind {
    /// The framework id has been torn down or timed out; it can never be used again.
    /// The client stops.
    FrameworkRemoved,
    /// Another scheduler has subscribed with the same id. The client stops when that
    /// [was so too often](super::Limits::failovers_max).
    FailedOver,
    /// The request itself is at fault: credentials, roles, principal, an invalid
    /// field. Repeating it helps only after something has been changed, so the client
    /// repeats it with the longest pause.
    Configuration,
    /// Anything else; repeated with growing pauses.
    Other,
}

impl RefusalKind {
    /// Reads the text of an ERROR event (texts of Mesos `src/master/master.cpp` and
    /// `src/master/validation.cpp`).
    #[must_use]
    pub fn of(text: &str) -> Self {
        const REMOVED: [&str; 3] = [
            "Framework has been removed",
            // Masters up to 1.0.
            "Completed framework attempted to re-register",
            "Completed framework attempted to re-subscribe",
        ];
        const CONFIGURATION: [&str; 12] = [
            "FrameworkInfo",
            "Not authorized",
            "Authorization failure",
            "principal",
            "failover_timeout",
            "Resource quantities",
            "--roles",
            "--root_submissions",
            "Suppressed roles",
            "Offer constraints",
            "role",
            "framework ID",
        ];
        if REMOVED.iter().any(|t| text.contains(t)) {
            Self::FrameworkRemoved
        } else if text.contains("Framework failed over") {
            Self::FailedOver
        } else if CONFIGURATION.iter().any(|t| text.contains(t)) {
            Self::Configuration
        } else {
            Self::Other
        }
    }
}

/// Why a subscription, or an attempt at one, ended.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DisconnectReason {
    /// No master is known.
    #[error(transparent)]
    NoMaster(#[from] DetectError),
    /// The master could not be reached.
    #[error("connecting to {master} failed: {reason}")]
    Connect {
        /// The master.
        master: HostPort,
        /// What the network said.
        reason: String,
    },
    /// Another master leads.
    #[error("{from} does not lead, {to} does")]
    Redirected {
        /// The master that was asked.
        from: HostPort,
        /// The one it named.
        to: HostPort,
    },
    /// Masters sent the client round and round.
    #[error("gave up after {hops} redirects; the masters do not agree on who leads yet")]
    RedirectLoop {
        /// How many were followed.
        hops: u32,
    },
    /// The master cannot serve now: not elected, recovering, or still starting.
    #[error("{master} answered {status}: {text}")]
    Unavailable {
        /// The master.
        master: HostPort,
        /// The HTTP status.
        status: u16,
        /// The beginning of the body.
        text: String,
    },
    /// The master refused; a `Refused` event came before.
    #[error("the master refused the framework")]
    Refused,
    /// The first event did not come in time.
    #[error("no answer to SUBSCRIBE within {} s", .0.as_secs_f64())]
    SubscribeTimeout(Duration),
    /// No record came for several heartbeat intervals.
    #[error("no heartbeat for {} s", .0.as_secs_f64())]
    Silence(Duration),
    /// The master closed the stream in an orderly way.
    #[error("the master closed the stream")]
    Closed,
    /// The connection broke.
    #[error("the connection broke: {0}")]
    Broken(String),
    /// The stream is no RecordIO, or a record is too large.
    #[error(transparent)]
    RecordIo(#[from] RecordIoError),
    /// The master does something the protocol does not allow.
    #[error("{0}")]
    Protocol(String),
    /// The answer to a call shows that the subscription is no longer valid.
    #[error("the master does not know the subscription any more: {status} {text}")]
    Stale {
        /// The HTTP status of the call.
        status: u16,
        /// The beginning of the body.
        text: String,
    },
    /// The master, or what stands before it, did not take the answer to offers: they would be
    /// outstanding for as long as the subscription.
    #[error("the answer to offers was refused: {status} {text}")]
    OffersUnanswered {
        /// The HTTP status of the call.
        status: u16,
        /// The beginning of the body.
        text: String,
    },
    /// A call got no answer: whether it has had an effect is unknown.
    #[error("calls went unanswered: {0}")]
    CallsFailed(String),
    /// ZooKeeper names another leader.
    #[error("{0} leads now")]
    LeaderChanged(HostPort),
    /// The client's [`Permission`](super::Permission) has ended; it stops.
    #[error("this process may not speak for the framework any more")]
    NotPermitted,
}

/// What became of a call that was not accepted.
#[derive(Debug)]
pub struct CallReport {
    /// The subscription it was made for.
    pub epoch: Epoch,
    /// The call.
    pub call: Call,
    /// What became of it.
    pub outcome: CallOutcome,
}

/// What became of a call that was not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallOutcome {
    /// The master refused it; it had no effect.
    Rejected {
        /// The HTTP status.
        status: u16,
        /// The beginning of the body.
        text: String,
    },
    /// Its subscription was over before it was sent; it had no effect.
    Stale,
    /// It was sent but not answered; it may or may not have an effect.
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_of_real_masters_are_understood() {
        for (text, kind) in [
            ("Framework has been removed", RefusalKind::FrameworkRemoved),
            ("Framework failed over", RefusalKind::FailedOver),
            (
                "'FrameworkInfo.roles' contains invalid role: /web",
                RefusalKind::Configuration,
            ),
            (
                "Not authorized to use roles '{ web }'",
                RefusalKind::Configuration,
            ),
            (
                "Changing framework's principal is not allowed.",
                RefusalKind::Configuration,
            ),
            (
                "User 'root' is not allowed to run frameworks without --root_submissions set",
                RefusalKind::Configuration,
            ),
            ("Something new", RefusalKind::Other),
        ] {
            assert_eq!(RefusalKind::of(text), kind, "{text}");
        }
    }
}
