//! A client of the scheduler API that keeps a framework subscribed.
//!
//! [`connect`] starts two tasks. One finds the leading master, subscribes and hands
//! on what the master says; when the stream ends, for whatever reason, it does so
//! again, for ever. The other sends calls, in order, many at a time, over a
//! connection of its own.
//!
//! ```no_run
//! # use gantry_mesos::scheduler::{SchedulerConfig, SchedulerEvent, Subscription, connect};
//! # use gantry_mesos::v1::{FrameworkInfo, scheduler::Call};
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let config = SchedulerConfig::new("zk://zk1,zk2/mesos".parse()?);
//! let info = FrameworkInfo { user: "root".into(), name: "me".into(), ..Default::default() };
//! let (subscription, watched) = tokio::sync::watch::channel(Subscription::new(info));
//! let (calls, mut events) = connect(config, watched)?;
//! while let Some(event) = events.next().await {
//!     if let SchedulerEvent::Subscribed(subscribed) = event {
//!         // Store the id, then say it in every later SUBSCRIBE.
//!         let id = Some(subscribed.framework_id.clone());
//!         subscription.send_modify(|s| s.framework_info.id = id);
//!         calls.send(subscribed.epoch, Call::suppress_roles(vec![])).await?;
//!     }
//! }
//! # Ok(()) }
//! ```
//!
//! What a caller has to know:
//!
//! * **Epochs.** Each subscription has an [`Epoch`]. A call is sent for the epoch it
//!   was decided in; if that is over, the call is dropped and reported, because what
//!   it speaks of (offers above all) is void.
//! * **Offers** outstanding at [`SchedulerEvent::Disconnected`] are void.
//! * **A 202 says nothing** about the effect of a call. A call whose outcome is
//!   unknown ends the subscription, so that the next [`SchedulerEvent::Subscribed`]
//!   is the one place from where to reconcile.
//! * **Back-pressure.** Events are handed on through a bounded queue and read from
//!   the network only as they are taken; calls wait for room in a bounded queue.
//!   A task may wait for the latter without taking the former.

mod backoff;
mod config;
mod driver;
mod event;
mod pipeline;
mod response;
mod sender;
mod stream;

use std::collections::VecDeque;

use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

pub use config::{Limits, Permission, SchedulerConfig, Subscription, Timing};
pub use event::{
    CallOutcome, CallReport, DisconnectReason, Epoch, RefusalKind, SchedulerEvent, Subscribed,
};
pub use sender::{CallSender, SendError};

use crate::http::{Http, SetupError};

/// Starts to subscribe and to keep subscribed. Must be called within a tokio runtime.
///
/// `subscription` is read anew for each SUBSCRIBE. Everything stops when the
/// [`EventStream`] is dropped.
///
/// # Errors
///
/// [`SetupError`] if TLS or HTTP cannot be set up. What goes wrong later comes as an
/// event.
pub fn connect(
    config: SchedulerConfig,
    subscription: watch::Receiver<Subscription>,
) -> Result<(CallSender, EventStream), SetupError> {
    let http = Http::new(config.http.clone(), config.scheme())?;
    let limits = &config.limits;
    let (events_in, events) = mpsc::channel(limits.events_queued_max.max(1));
    let (calls, pump, reports, driver_ends) = sender::new(http.clone(), &config);
    let mut tasks = JoinSet::new();
    tasks.spawn(pump.run());
    tasks.spawn(driver::Driver::new(config, http, subscription, events_in, driver_ends).run());
    Ok((
        calls,
        EventStream {
            events,
            reports,
            lost: VecDeque::new(),
            _tasks: tasks,
        },
    ))
}

/// What comes from the master, in order. Dropping it closes all connections.
#[derive(Debug)]
pub struct EventStream {
    events: mpsc::Receiver<SchedulerEvent>,
    reports: sender::Reports,
    lost: VecDeque<SchedulerEvent>,
    _tasks: JoinSet<()>,
}

impl EventStream {
    /// The next event; `None` after the client has stopped, which it does only after
    /// a [`SchedulerEvent::Refused`] that no repetition can change, and when its
    /// [`Permission`] has ended.
    ///
    /// May be cancelled without losing an event.
    pub async fn next(&mut self) -> Option<SchedulerEvent> {
        if let Some(event) = self.lost.pop_front() {
            return Some(event);
        }
        tokio::select! {
            biased;
            Some(report) = self.reports.queue.recv() => {
                let lost = self.reports.take_lost();
                if lost > 0 {
                    self.lost.push_back(SchedulerEvent::ReportsLost { count: lost });
                }
                Some(SchedulerEvent::Call(Box::new(report)))
            }
            event = self.events.recv() => event,
        }
    }
}
