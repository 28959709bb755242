//! Settings of the scheduler client, each with the reason of its default.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::address::{MasterSource, Scheme};
use crate::http::HttpOptions;
use crate::recordio::RECORD_BYTES_MAX;
use crate::v1::FrameworkInfo;
use crate::v1::scheduler::OfferConstraints;

/// Settings of a scheduler client.
#[derive(Clone, Debug)]
pub struct SchedulerConfig {
    /// Where the leading master is found.
    pub masters: MasterSource,
    /// Credentials, TLS and the limit of connecting.
    pub http: HttpOptions,
    /// Time limits and pauses.
    pub timing: Timing,
    /// Limits of sizes and queues.
    pub limits: Limits,
    /// Whether anything may be sent.
    pub permission: Permission,
}

impl SchedulerConfig {
    /// The defaults, for these masters.
    #[must_use]
    pub fn new(masters: MasterSource) -> Self {
        Self {
            masters,
            http: HttpOptions::default(),
            timing: Timing::default(),
            limits: Limits::default(),
            permission: Permission::default(),
        }
    }

    pub(super) fn scheme(&self) -> Option<Scheme> {
        match &self.masters {
            MasterSource::List { scheme, .. } => *scheme,
            MasterSource::ZooKeeper(_) => None,
        }
    }
}

/// Whether this process may speak for the framework. It is asked right before a SUBSCRIBE or calls
/// are written to a connection that is ready, so that a process that was frozen past the end of its right sends nothing of what
/// was queued before. Once it says no it must not say yes again: the client stops.
#[derive(Clone)]
pub struct Permission(Arc<dyn Fn() -> bool + Send + Sync>);

impl Permission {
    /// Asks `holds` each time; it must not block.
    pub fn new(holds: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(holds))
    }

    pub(super) fn holds(&self) -> bool {
        (self.0)()
    }
}

impl Default for Permission {
    /// For ever.
    fn default() -> Self {
        Self::new(|| true)
    }
}

impl fmt::Debug for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Permission").field(&self.holds()).finish()
    }
}

/// Time limits and pauses of a scheduler client.
#[derive(Clone, Debug)]
pub struct Timing {
    /// A random pause up to this long precedes each SUBSCRIBE but the first, so that the
    /// frameworks of a cluster do not all come at once after a failover. Default 500 ms, as in
    /// Mesos' own library.
    pub connect_delay_max: Duration,
    /// From sending SUBSCRIBE to the first event. Default 15 s, one heartbeat.
    pub subscribe_timeout: Duration,
    /// After this many heartbeat intervals without any record the stream counts as
    /// dead. Default 3.
    pub heartbeats_missed_max: u32,
    /// Assumed if the master names no interval. Default 15 s, which all masters use.
    pub heartbeat_interval_default: Duration,
    /// From writing a call to its answer. Default 30 s: a busy master may take
    /// seconds, and an unanswered call costs a new subscription.
    pub call_timeout: Duration,
    /// First pause after a failure, doubled with each further one. Default 500 ms.
    pub backoff_initial: Duration,
    /// Longest pause after a failure. Default 15 s: a failover takes about 10 s.
    pub backoff_max: Duration,
    /// How long an [other scheduler](Limits::failovers_max) that took the subscription is
    /// remembered. Default 2 min.
    pub failover_window: Duration,
    /// How long to wait for ZooKeeper to name a leader before saying so. Default 10 s.
    pub detect_timeout: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            connect_delay_max: Duration::from_millis(500),
            subscribe_timeout: Duration::from_secs(15),
            heartbeats_missed_max: 3,
            heartbeat_interval_default: Duration::from_secs(15),
            call_timeout: Duration::from_secs(30),
            backoff_initial: Duration::from_millis(500),
            backoff_max: Duration::from_secs(15),
            failover_window: Duration::from_secs(120),
            detect_timeout: Duration::from_secs(10),
        }
    }
}

/// Limits of sizes and queues of a scheduler client.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Largest event, in bytes. Default 256 MiB.
    pub record_bytes_max: usize,
    /// Events read but not yet taken. Default 256.
    pub events_queued_max: usize,
    /// Calls accepted but not yet written. Default 1024.
    pub calls_queued_max: usize,
    /// Calls written but not yet answered. Default 256: enough to hide the round trip
    /// at any rate a master can take.
    pub calls_in_flight_max: usize,
    /// Reports on calls not yet taken; more are only counted. Default 4096.
    pub reports_queued_max: usize,
    /// How often within [`Timing::failover_window`] another scheduler with the same id may take
    /// the subscription and have it taken back; the next time the client stops. Default 0: whoever
    /// subscribes last is right. More is for those whose [`Permission`] says better who is right.
    pub failovers_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            record_bytes_max: RECORD_BYTES_MAX,
            events_queued_max: 256,
            calls_queued_max: 1024,
            calls_in_flight_max: 256,
            reports_queued_max: 4096,
            failovers_max: 0,
        }
    }
}

/// What a SUBSCRIBE says; read anew each time.
#[derive(Clone, Debug, Default)]
pub struct Subscription {
    /// The framework. If `id` is unset, the client uses the id it was given by an
    /// earlier SUBSCRIBED, so that a stream lost before the caller could store the id
    /// does not make a second framework.
    pub framework_info: FrameworkInfo,
    /// Roles to get no offers for. Each SUBSCRIBE replaces what SUPPRESS and REVIVE
    /// said before.
    pub suppressed_roles: Vec<String>,
    /// Which agents' offers are wanted.
    pub offer_constraints: Option<OfferConstraints>,
}

impl Subscription {
    /// A subscription without suppressed roles and constraints.
    #[must_use]
    pub fn new(framework_info: FrameworkInfo) -> Self {
        Self {
            framework_info,
            ..Self::default()
        }
    }
}
