//! The task that keeps the framework subscribed.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout_at};

use super::backoff::{Backoff, random};
use super::config::{SchedulerConfig, Subscription};
use super::event::{DisconnectReason, Epoch, RefusalKind, SchedulerEvent, Subscribed};
use super::sender::{DriverEnds, Session};
use super::stream::{Answer, RecordStream, subscribe};
use crate::address::HostPort;
use crate::detect::Detector;
use crate::http::{HOPS_MAX, Http};
use crate::required;
use crate::v1::FrameworkId;
use crate::v1::scheduler::event::Type;
use crate::v1::scheduler::{Call, Event};

/// A longer heartbeat interval than this is a mistake; it would blind the watchdog.
const HEARTBEAT_INTERVAL_MAX: Duration = Duration::from_secs(3600);

pub(super) struct Driver {
    config: SchedulerConfig,
    http: Http,
    detector: Detector,
    subscription: watch::Receiver<Subscription>,
    events: mpsc::Sender<SchedulerEvent>,
    calls: DriverEnds,
    backoff: Backoff,
    epochs: u64,
    /// As given by the latest SUBSCRIBED.
    framework_id: Option<FrameworkId>,
    /// What the detector named last, which redirects may have led away from.
    detected: Option<HostPort>,
    /// Redirects followed since a master was last detected.
    hops: u32,
    failovers: Recent,
    refusals: Recent,
}

/// Nobody takes the events any more.
struct Gone;

/// How a subscription, or an attempt at one, ended.
struct End {
    epoch: Option<Epoch>,
    reason: DisconnectReason,
    next: Next,
}

enum Next {
    /// Try this master at once.
    Master(HostPort),
    /// Try the next master at once, for it has not been tried yet in this round.
    Candidate,
    Pause,
    LongPause,
    /// Pause as is right after so many times, though each subscription in between was a success.
    PauseAfter(u32),
    Stop,
}

/// When something happened of late that ends subscriptions which had begun well.
///
/// So do other schedulers with our id that take the subscription. One that subscribes late, because it
/// was frozen or its bytes were, takes it once; we take it back. One that believes as we do that it may
/// act takes it again and again. Then the one that was there first gives up, as its count is ahead: the
/// two do not go on for ever.
#[derive(Default)]
struct Recent(VecDeque<Instant>);

impl Recent {
    /// Once more: what to do about it.
    fn next(&mut self, max: usize, window: Duration) -> Next {
        let now = Instant::now();
        self.0.retain(|at| now.duration_since(*at) < window);
        if self.0.len() >= max {
            return Next::Stop;
        }
        self.0.push_back(now);
        Next::PauseAfter(u32::try_from(self.0.len()).unwrap_or(u32::MAX))
    }
}

impl End {
    fn new(reason: impl Into<DisconnectReason>, next: Next) -> Self {
        Self {
            epoch: None,
            reason: reason.into(),
            next,
        }
    }
}

impl Driver {
    pub(super) fn new(
        config: SchedulerConfig,
        http: Http,
        subscription: watch::Receiver<Subscription>,
        events: mpsc::Sender<SchedulerEvent>,
        calls: DriverEnds,
    ) -> Self {
        Self {
            detector: Detector::new(&config.masters, http.scheme),
            backoff: Backoff::new(config.timing.backoff_initial, config.timing.backoff_max),
            config,
            http,
            subscription,
            events,
            calls,
            epochs: 0,
            framework_id: None,
            detected: None,
            hops: 0,
            failovers: Recent::default(),
            refusals: Recent::default(),
        }
    }

    pub(super) async fn run(mut self) {
        let events = self.events.clone();
        tokio::select! {
            _ = self.keep_subscribed() => {}
            () = events.closed() => {}
        }
    }

    async fn keep_subscribed(&mut self) -> Result<(), Gone> {
        let mut master = None;
        loop {
            let End {
                epoch,
                reason,
                next,
            } = match self.attempt(master.take()).await {
                Err(end) => end?,
                Ok(never) => match never {},
            };
            // Calls made from here on are stale.
            self.calls.session.send_replace(None);
            let (retry_in, stop) = match next {
                Next::Master(next) => {
                    master = Some(next);
                    (Duration::ZERO, false)
                }
                Next::Candidate => (Duration::ZERO, false),
                Next::Pause => (self.backoff.next(), false),
                Next::LongPause => {
                    self.backoff.exhaust();
                    (self.backoff.next(), false)
                }
                Next::PauseAfter(times) => {
                    self.backoff.reset();
                    let pauses = (0..times).map(|_| self.backoff.next());
                    (pauses.last().unwrap_or_default(), false)
                }
                Next::Stop => (Duration::ZERO, true),
            };
            tracing::info!(%reason, ?retry_in, stop, "not subscribed");
            self.emit(SchedulerEvent::Disconnected {
                epoch,
                reason,
                retry_in,
            })
            .await?;
            if stop {
                return Ok(());
            }
            sleep(retry_in).await;
        }
    }

    async fn emit(&self, event: SchedulerEvent) -> Result<(), Gone> {
        self.events.send(event).await.map_err(|_| Gone)
    }

    /// One subscription from its beginning to its end, which is always an "error".
    async fn attempt(
        &mut self,
        redirected_to: Option<HostPort>,
    ) -> Result<std::convert::Infallible, Result<End, Gone>> {
        let (master, last_of_round) = match redirected_to {
            Some(master) => {
                self.hops += 1;
                if self.hops > HOPS_MAX {
                    let hops = std::mem::take(&mut self.hops);
                    let reason = DisconnectReason::RedirectLoop { hops: hops - 1 };
                    return Err(Ok(End::new(reason, Next::Pause)));
                }
                // The list has been tried as far as it was; a dead target of a
                // redirect is a reason to wait until the others have noticed.
                (master, true)
            }
            None => {
                self.hops = 0;
                let candidate = self
                    .detector
                    .candidate(self.config.timing.detect_timeout)
                    .await
                    .map_err(|e| Ok(End::new(e, Next::Pause)))?;
                // A process that starts comes alone; only returns come all at once.
                if self.detected.is_some() {
                    sleep(self.config.timing.connect_delay_max.mul_f64(random())).await;
                }
                self.detected = Some(candidate.address.clone());
                (candidate.address, candidate.last_of_round)
            }
        };
        let on_failure = || {
            if last_of_round {
                Next::Pause
            } else {
                Next::Candidate
            }
        };
        self.emit(SchedulerEvent::Connecting {
            master: master.clone(),
        })
        .await
        .map_err(Err)?;

        let timeout = self.config.timing.subscribe_timeout;
        let deadline = Instant::now() + timeout;
        let call = self.subscribe_call();
        let limit = self.config.limits.record_bytes_max;
        if !self.config.permission.holds() {
            return Err(Ok(End::new(DisconnectReason::NotPermitted, Next::Stop)));
        }
        let permission = &self.config.permission;
        let answer = subscribe(&self.http, &master, &call, permission, limit, deadline)
            .await
            .map_err(|reason| {
                let next = match reason {
                    DisconnectReason::NotPermitted => Next::Stop,
                    _ => on_failure(),
                };
                Ok(End::new(reason, next))
            })?;
        let (mut records, stream_id) = match answer {
            Answer::Stream { records, stream_id } => (records, stream_id),
            Answer::Redirect(to) => {
                let reason = DisconnectReason::Redirected {
                    from: master,
                    to: to.clone(),
                };
                return Err(Ok(End::new(reason, Next::Master(to))));
            }
            Answer::Refused { status, text } => {
                let text = format!("{status}: {text}");
                return Err(self.refused(text, RefusalKind::Configuration).await);
            }
        };
        let first = match timeout_at(deadline, records.next()).await {
            Err(_) => Err(DisconnectReason::SubscribeTimeout(timeout)),
            Ok(Ok(None)) => Err(DisconnectReason::Closed),
            Ok(Ok(Some(record))) => Ok(record),
            Ok(Err(reason)) => Err(reason),
        };
        let first = first.map_err(|reason| Ok(End::new(reason, on_failure())))?;
        let event = required::decode::<Event>(&first).map_err(|e| {
            Ok(End::new(
                DisconnectReason::Protocol(e.to_string()),
                on_failure(),
            ))
        })?;
        let subscribed = match (event_type(&event), event.subscribed, event.error) {
            (Some(Type::Subscribed), Some(subscribed), _) => subscribed,
            (Some(Type::Error), _, Some(error)) => {
                let kind = RefusalKind::of(&error.message);
                return Err(self.refused(error.message, kind).await);
            }
            (found, ..) => {
                let reason = format!("the first event is {found:?} instead of SUBSCRIBED");
                return Err(Ok(End::new(
                    DisconnectReason::Protocol(reason),
                    on_failure(),
                )));
            }
        };

        // Subscribed.
        self.backoff.reset();
        self.detector.succeeded();
        self.epochs += 1;
        let epoch = Epoch(self.epochs);
        let heartbeat_interval = subscribed
            .heartbeat_interval_seconds
            .and_then(|s| Duration::try_from_secs_f64(s).ok())
            .filter(|d| !d.is_zero() && *d <= HEARTBEAT_INTERVAL_MAX)
            .unwrap_or(self.config.timing.heartbeat_interval_default);
        self.framework_id = Some(subscribed.framework_id.clone());
        self.calls.session.send_replace(Some(Arc::new(Session {
            epoch,
            framework_id: subscribed.framework_id.clone(),
            master: master.clone(),
            stream_id,
            permission: self.config.permission.clone(),
        })));
        tracing::info!(%epoch, %master, framework_id = subscribed.framework_id.value, "subscribed");
        let facts = Subscribed {
            epoch,
            framework_id: subscribed.framework_id,
            heartbeat_interval,
            master_info: subscribed.master_info,
            master: master.clone(),
        };
        self.emit(SchedulerEvent::Subscribed(Box::new(facts)))
            .await
            .map_err(Err)?;
        self.hops = 0;
        let detected = self.detected.clone().unwrap_or_else(|| master.clone());
        match self
            .listen(
                epoch,
                &mut records,
                heartbeat_interval,
                [&detected, &master],
            )
            .await
        {
            Ok(never) => Ok(never),
            Err(end) => Err(end.map(|end| End {
                epoch: Some(epoch),
                ..end
            })),
        }
    }

    fn subscribe_call(&mut self) -> Call {
        let mut subscription = self.subscription.borrow_and_update().clone();
        let id = &mut subscription.framework_info.id;
        if id.as_ref().is_none_or(|id| id.value.is_empty()) {
            id.clone_from(&self.framework_id);
        }
        Call::subscribe_with(
            subscription.framework_info,
            subscription.suppressed_roles,
            subscription.offer_constraints,
        )
    }

    /// Hands on events until the stream ends.
    async fn listen(
        &mut self,
        epoch: Epoch,
        records: &mut RecordStream,
        heartbeat_interval: Duration,
        leaders: [&HostPort; 2],
    ) -> Result<std::convert::Infallible, Result<End, Gone>> {
        let silence_max = heartbeat_interval * self.config.timing.heartbeats_missed_max.max(1);
        let mut deadline = Instant::now() + silence_max;
        loop {
            let record = tokio::select! {
                record = timeout_at(deadline, records.next()) => match record {
                    Err(_) => Err(End::new(DisconnectReason::Silence(silence_max), Next::Pause)),
                    Ok(Ok(None)) => Err(End::new(DisconnectReason::Closed, Next::Pause)),
                    Ok(Ok(Some(record))) => Ok(record),
                    Ok(Err(reason)) => Err(End::new(reason, Next::Pause)),
                },
                Some(failure) = self.calls.failures.recv() => {
                    if failure.epoch != epoch {
                        continue;
                    }
                    let next = match (failure.redirect, &failure.reason) {
                        (Some(master), _) => Next::Master(master),
                        // What refuses one answer may refuse all of them.
                        (None, DisconnectReason::OffersUnanswered { .. }) => {
                            let window = self.config.timing.failover_window;
                            self.refusals.next(usize::MAX, window)
                        }
                        (None, _) => Next::Pause,
                    };
                    Err(End::new(failure.reason, next))
                }
                leader = self.detector.leader_other_than(&leaders) => {
                    let reason = DisconnectReason::LeaderChanged(leader.clone());
                    Err(End::new(reason, Next::Master(leader)))
                }
            };
            self.hand_on(epoch, &record.map_err(Ok)?).await?;
            // Only now: while the owner was busy nothing was read, so nothing can be
            // said about the master.
            deadline = Instant::now() + silence_max;
        }
    }

    async fn hand_on(&mut self, epoch: Epoch, record: &[u8]) -> Result<(), Result<End, Gone>> {
        let event = match required::decode::<Event>(record) {
            Ok(event) => Box::new(event),
            Err(error) => {
                tracing::warn!(%epoch, %error, "an event was skipped");
                let event = SchedulerEvent::Undecodable {
                    epoch,
                    reason: error.to_string(),
                };
                return self.emit(event).await.map_err(Err);
            }
        };
        match event_type(&event) {
            None | Some(Type::Unknown | Type::Subscribed) => {
                tracing::debug!(%epoch, r#type = event.r#type, "an event was ignored");
                Ok(())
            }
            Some(Type::Error) => {
                let text = event
                    .error
                    .as_ref()
                    .map(|e| e.message.clone())
                    .unwrap_or_default();
                self.emit(SchedulerEvent::Event { epoch, event })
                    .await
                    .map_err(Err)?;
                let kind = RefusalKind::of(&text);
                Err(self.refused(text, kind).await)
            }
            Some(_) => self
                .emit(SchedulerEvent::Event { epoch, event })
                .await
                .map_err(Err),
        }
    }

    async fn refused(&mut self, text: String, kind: RefusalKind) -> Result<End, Gone> {
        tracing::warn!(text, ?kind, "the master refuses the framework");
        let next = match kind {
            RefusalKind::FrameworkRemoved => Next::Stop,
            RefusalKind::FailedOver => self.failovers.next(
                self.config.limits.failovers_max,
                self.config.timing.failover_window,
            ),
            RefusalKind::Configuration => Next::LongPause,
            RefusalKind::Other => Next::Pause,
        };
        let stops = matches!(next, Next::Stop);
        self.emit(SchedulerEvent::Refused { text, kind, stops })
            .await?;
        Ok(End::new(DisconnectReason::Refused, next))
    }
}

/// The accessor would turn an unknown type into UNKNOWN, which is right here, but an
/// absent one as well; both are ignored alike.
fn event_type(event: &Event) -> Option<Type> {
    Type::try_from(event.r#type?).ok()
}
