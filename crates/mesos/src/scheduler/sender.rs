//! Sending calls: the handle, and the task behind it that follows the subscriptions.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use prost::Message;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};

use super::config::{Permission, SchedulerConfig};
use super::event::{CallOutcome, CallReport, DisconnectReason, Epoch};
use super::pipeline::{self, InFlight};
use crate::address::HostPort;
use crate::http::Http;
use crate::v1::FrameworkId;
use crate::v1::scheduler::Call;

/// Why a call was not taken.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendError {
    /// The subscription the call was made for is over.
    #[error("the subscription this call was made for is over")]
    Stale,
    /// Only of [`CallSender::try_send`]: there is no room.
    #[error("too many calls are waiting to be sent")]
    Full,
    /// The client has stopped.
    #[error("the scheduler client has stopped")]
    Stopped,
}

/// Sends calls, in the order given, over one connection. Cheap to clone.
#[derive(Clone, Debug)]
pub struct CallSender {
    queue: mpsc::Sender<Item>,
    session: watch::Receiver<Option<Arc<Session>>>,
}

impl CallSender {
    /// Queues a call for the subscription `epoch`; waits while the queue is full.
    ///
    /// Fills in `framework_id` if it is unset. `Ok` means only that the call is
    /// queued: what goes wrong later comes as
    /// [`SchedulerEvent::Call`](super::SchedulerEvent::Call).
    ///
    /// # Errors
    ///
    /// [`SendError::Stale`], [`SendError::Stopped`].
    pub async fn send(&self, epoch: Epoch, call: Call) -> Result<(), SendError> {
        let item = self.item(epoch, call)?;
        self.queue.send(item).await.map_err(|_| SendError::Stopped)
    }

    /// Queues a call like [`CallSender::send`], but never waits.
    ///
    /// # Errors
    ///
    /// [`SendError`].
    pub fn try_send(&self, epoch: Epoch, call: Call) -> Result<(), SendError> {
        let item = self.item(epoch, call)?;
        self.queue.try_send(item).map_err(|e| match e {
            mpsc::error::TrySendError::Full(_) => SendError::Full,
            mpsc::error::TrySendError::Closed(_) => SendError::Stopped,
        })
    }

    /// Waits until every call queued before has been answered or given up.
    ///
    /// # Errors
    ///
    /// [`SendError::Stopped`].
    pub async fn flush(&self) -> Result<(), SendError> {
        let (done, flushed) = oneshot::channel();
        self.queue
            .send(Item::Flush(done))
            .await
            .map_err(|_| SendError::Stopped)?;
        flushed.await.map_err(|_| SendError::Stopped)
    }

    fn item(&self, epoch: Epoch, mut call: Call) -> Result<Item, SendError> {
        let session = self.session.borrow();
        match &*session {
            Some(session) if session.epoch == epoch => {
                if call.framework_id.is_none() {
                    call.framework_id = Some(session.framework_id.clone());
                }
            }
            _ => return Err(SendError::Stale),
        }
        Ok(Item::Call {
            epoch,
            body: call.encode_to_vec().into(),
        })
    }
}

/// What waits in the queue.
#[derive(Debug)]
pub(super) enum Item {
    Call { epoch: Epoch, body: Bytes },
    Flush(oneshot::Sender<()>),
}

/// The subscription calls are sent for.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) epoch: Epoch,
    pub(super) framework_id: FrameworkId,
    pub(super) master: HostPort,
    pub(super) stream_id: String,
    pub(super) permission: Permission,
}

/// A subscription that the calls found to be over.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) epoch: Epoch,
    pub(super) reason: DisconnectReason,
    /// The master that leads instead, if one was named.
    pub(super) redirect: Option<HostPort>,
}

/// What the driver holds of the calls.
#[derive(Debug)]
pub(super) struct DriverEnds {
    pub(super) session: watch::Sender<Option<Arc<Session>>>,
    pub(super) failures: mpsc::Receiver<Failure>,
}

/// Makes the parts and connects them.
pub(super) fn new(http: Http, config: &SchedulerConfig) -> (CallSender, Pump, Reports, DriverEnds) {
    let limits = &config.limits;
    let (queue_in, queue) = mpsc::channel(limits.calls_queued_max.max(1));
    let (session_in, session) = watch::channel(None);
    // At most one failure per subscription.
    let (failures_in, failures) = mpsc::channel(1);
    let (reports_in, reports) = mpsc::channel(limits.reports_queued_max.max(1));
    let lost = Arc::new(AtomicU64::new(0));
    let pump = Pump {
        http,
        config: config.clone(),
        queue,
        session: session.clone(),
        failures: failures_in,
        reporter: Reporter {
            queue: reports_in,
            lost: Arc::clone(&lost),
        },
    };
    let calls = CallSender {
        queue: queue_in,
        session,
    };
    let ends = DriverEnds {
        session: session_in,
        failures,
    };
    (
        calls,
        pump,
        Reports {
            queue: reports,
            lost,
        },
        ends,
    )
}

// === Reports ===

/// The owner's end of the reports.
#[derive(Debug)]
pub(super) struct Reports {
    pub(super) queue: mpsc::Receiver<CallReport>,
    lost: Arc<AtomicU64>,
}

impl Reports {
    pub(super) fn take_lost(&self) -> u64 {
        self.lost.swap(0, Ordering::Relaxed)
    }
}

/// Reports never wait: an owner that waits for room in the queue of calls would
/// otherwise wait for itself.
#[derive(Clone, Debug)]
pub(super) struct Reporter {
    queue: mpsc::Sender<CallReport>,
    lost: Arc<AtomicU64>,
}

impl Reporter {
    pub(super) fn report(&self, epoch: Epoch, body: &[u8], outcome: CallOutcome) {
        // We encoded it ourselves, so it decodes.
        let call = Call::decode(body).unwrap_or_default();
        tracing::debug!(%epoch, r#type = call.r#type().as_str_name(), ?outcome, "call not accepted");
        if self
            .queue
            .try_send(CallReport {
                epoch,
                call,
                outcome,
            })
            .is_err()
        {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

// === The task ===

/// Sends what is queued for the current subscription and drops the rest.
#[derive(Debug)]
pub(super) struct Pump {
    http: Http,
    config: SchedulerConfig,
    queue: mpsc::Receiver<Item>,
    session: watch::Receiver<Option<Arc<Session>>>,
    failures: mpsc::Sender<Failure>,
    reporter: Reporter,
}

impl Pump {
    /// Runs until the driver has ended.
    pub(super) async fn run(mut self) {
        loop {
            let session = self.session.borrow_and_update().clone();
            if let Some(session) = session {
                let window = self.config.limits.calls_in_flight_max.max(1);
                let mut in_flight = InFlight::new(window);
                let sending = pipeline::run(
                    &self.http,
                    &self.config.timing,
                    &session,
                    &mut self.queue,
                    &mut in_flight,
                    &self.reporter,
                );
                let failure = tokio::select! {
                    failure = sending => Some(failure),
                    changed = self.session.changed() => match changed {
                        Ok(()) => None,
                        Err(_) => return,
                    },
                };
                in_flight.give_up(session.epoch, &self.reporter);
                let Some(failure) = failure else { continue };
                // The driver takes it, or has ended this subscription already.
                let _ = self.failures.try_send(failure);
            }
            if !self.discard().await {
                return;
            }
        }
    }

    /// Drops calls until there is another subscription; false if there never will be.
    async fn discard(&mut self) -> bool {
        let mut open = true;
        loop {
            tokio::select! {
                biased;
                changed = self.session.changed() => return changed.is_ok(),
                item = self.queue.recv(), if open => match item {
                    None => open = false,
                    Some(Item::Flush(done)) => {
                        let _ = done.send(());
                    }
                    Some(Item::Call { epoch, body }) => {
                        self.reporter.report(epoch, &body, CallOutcome::Stale);
                    }
                },
            }
        }
    }
}
