//! The client of the Mesos master: its events become inputs, the scheduler's calls are sent.

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use gantry_core::{AgentId, FrameworkId, MesosEvent, OfferId, ServiceSpec};
use gantry_mesos::{
    http::HttpOptions,
    scheduler::{
        CallOutcome, CallSender, DisconnectReason, Epoch, EventStream, RefusalKind,
        SchedulerConfig, SchedulerEvent, SendError, Subscription, connect,
    },
    tls::TlsOptions,
    v1::{
        self, FrameworkInfo,
        framework_info::{Capability, capability::Type as CapabilityType},
        scheduler::{Call, Event, event::Type},
    },
};
use gantry_store::Lease;
use tokio::sync::{mpsc, watch};

use super::{
    clock::wall,
    committer::Calls,
    connection::ConnectionState,
    driver::{Heard, Session},
    handle::Shared,
    translate,
};
use crate::config;

/// Events of the master that wait for the loop; at the bound its stream is no longer read.
pub(crate) const HEARD_MAX: usize = 16_384;

/// Steps whose calls wait for the client.
pub(crate) const CALLS_MAX: usize = 64;

/// How the framework presents itself: what stays the same in every SUBSCRIBE.
pub fn framework_info(
    framework: &config::Framework,
    principal: Option<&str>,
    services: &[ServiceSpec],
) -> FrameworkInfo {
    let mut capabilities = vec![
        CapabilityType::PartitionAware,
        CapabilityType::MultiRole,
        CapabilityType::ReservationRefinement,
        CapabilityType::TaskKillingState,
        CapabilityType::RegionAware,
    ];
    // Without need it would make this framework compete for machines with gpus.
    if services
        .iter()
        .any(|service| !service.template.demand.gpus.is_zero())
    {
        capabilities.push(CapabilityType::GpuResources);
    }
    let roles: BTreeSet<_> = framework.roles.iter().cloned().collect();
    FrameworkInfo {
        user: framework.user.clone(),
        name: framework.task_name.clone(),
        failover_timeout: Some(framework.failover_timeout.as_secs_f64()),
        // Without it a restarted agent kills its tasks.
        checkpoint: Some(true),
        roles: roles.into_iter().collect(),
        hostname: Some(framework.hostname.clone()),
        principal: principal.map(str::to_owned),
        webui_url: Some(framework.webui_url.clone()),
        capabilities: capabilities
            .into_iter()
            .map(|capability| Capability {
                r#type: Some(capability.into()),
            })
            .collect(),
        ..FrameworkInfo::default()
    }
}

/// The configured client of the master.
pub fn client(mesos: &config::Mesos) -> SchedulerConfig {
    SchedulerConfig {
        http: HttpOptions {
            credentials: mesos.credentials.clone(),
            tls: mesos
                .ca_pem
                .clone()
                .map(|pem| TlsOptions { ca_pem: Some(pem) }),
            ..HttpOptions::default()
        },
        ..SchedulerConfig::new(mesos.master.clone())
    }
}

/// Between the client and the loop.
pub(crate) struct Link {
    pub(crate) shared: Arc<Shared>,
    pub(crate) lease: Lease,
    pub(crate) heard: mpsc::Sender<Heard>,
    pub(crate) calls: mpsc::Receiver<Calls>,
}

impl Link {
    /// Subscribes, and runs until there are no more calls to come; then waits until the last have
    /// been answered, and closes the stream. The framework and its tasks live on.
    pub(crate) async fn run(
        self,
        client: SchedulerConfig,
        info: FrameworkInfo,
    ) -> Result<(), gantry_mesos::http::SetupError> {
        if let Some(id) = &info.id {
            self.shared.connection.set_framework_id(id.value.clone());
        }
        // The client remembers an id it was given; one that was stored is in `info`.
        let (_subscription, watched) = watch::channel(Subscription::new(info));
        let (sender, mut events) = connect(client, watched)?;
        let (epoch, current) = watch::channel(None);
        let ears = Ears {
            shared: self.shared,
            heard: self.heard,
            epoch,
            sender: sender.clone(),
        };
        let mut mouth = std::pin::pin!(speak(self.calls, self.lease, sender, current));
        tokio::select! {
            () = &mut mouth => {}
            () = ears.listen(&mut events) => mouth.await,
        }
        Ok(())
    }
}

/// Sends the calls of steps, in their order.
async fn speak(
    mut calls: mpsc::Receiver<Calls>,
    lease: Lease,
    sender: CallSender,
    current: watch::Receiver<Option<Epoch>>,
) {
    while let Some(Calls { session, calls }) = calls.recv().await {
        let epoch = *current.borrow();
        let Some(epoch) = epoch.filter(|epoch| epoch.get() == session.0) else {
            tracing::debug!(
                calls = calls.len(),
                "calls of an ended subscription are dropped"
            );
            continue;
        };
        for call in calls {
            if !lease.holds() {
                break;
            }
            match sender.send(epoch, translate::call(call)).await {
                Ok(()) => {}
                // The next subscription begins with what is wanted then.
                Err(error @ (SendError::Stale | SendError::Stopped | SendError::Full)) => {
                    tracing::debug!(%error, "a call is dropped");
                    break;
                }
                Err(error) => {
                    tracing::warn!(%error, "a call is dropped");
                    break;
                }
            }
        }
    }
    // Fails only when the client has stopped, with nothing left to send.
    let _ = sender.flush().await;
}

struct Ears {
    shared: Arc<Shared>,
    heard: mpsc::Sender<Heard>,
    epoch: watch::Sender<Option<Epoch>>,
    sender: CallSender,
}

/// Nobody listens any more.
struct Deaf;

impl Ears {
    async fn listen(self, events: &mut EventStream) {
        while let Some(event) = events.next().await {
            if self.hear(event).await.is_err() {
                return;
            }
        }
    }

    async fn hear(&self, event: SchedulerEvent) -> Result<(), Deaf> {
        let connection = &self.shared.connection;
        match event {
            SchedulerEvent::Connecting { master } => {
                tracing::info!(%master, "subscribing");
                connection.set_master(master.to_string());
            }
            SchedulerEvent::Subscribed(subscribed) => {
                let framework_id = subscribed.framework_id.value;
                tracing::info!(
                    framework_id,
                    master = %subscribed.master,
                    version = subscribed.master_info.as_ref().and_then(|info| info.version.clone()),
                    "subscribed"
                );
                connection.set_master(subscribed.master.to_string());
                connection.set_state(ConnectionState::Subscribed, wall());
                connection.heard(Instant::now());
                connection.set_framework_id(framework_id.clone());
                self.epoch.send_replace(Some(subscribed.epoch));
                let framework_id = FrameworkId::new(framework_id);
                let event = MesosEvent::Subscribed { framework_id };
                self.tell(subscribed.epoch, event).await?;
            }
            SchedulerEvent::Event { epoch, event } => {
                connection.heard(Instant::now());
                self.master_says(epoch, *event).await?;
            }
            SchedulerEvent::Undecodable { reason, .. } => {
                self.refuse(&format!("an event was skipped: {reason}"));
            }
            SchedulerEvent::Call(report) => {
                let call = report.call.r#type().as_str_name();
                match report.outcome {
                    CallOutcome::Rejected { status, text } => {
                        tracing::warn!(call, status, text, "the master refused a call");
                    }
                    outcome => tracing::debug!(call, ?outcome, "a call had no effect, or may have"),
                }
            }
            SchedulerEvent::ReportsLost { count } => {
                tracing::warn!(count, "more calls failed than could be reported");
            }
            SchedulerEvent::Refused { text, kind, stops } => {
                let state = match kind {
                    RefusalKind::FrameworkRemoved => ConnectionState::Removed,
                    RefusalKind::FailedOver if stops => ConnectionState::FailedOver,
                    RefusalKind::Configuration => ConnectionState::Refused,
                    _ => ConnectionState::Connecting,
                };
                connection.set_state(state, wall());
                connection.failed(text.clone());
                let advice = connection.status().problem();
                let advice = advice.unwrap_or_default();
                tracing::error!(text, advice, "the master refuses this framework");
            }
            SchedulerEvent::Disconnected {
                epoch,
                reason,
                retry_in,
            } => {
                let status = connection.status();
                // A refusal says more than that the stream ended after it.
                let refused = matches!(reason, DisconnectReason::Refused);
                if !refused
                    && matches!(
                        status.state,
                        ConnectionState::Subscribed | ConnectionState::Connecting
                    )
                {
                    let reason = reason.to_string();
                    tracing::warn!(reason, ?retry_in, "not subscribed");
                    connection.set_state(ConnectionState::Connecting, wall());
                    connection.failed(reason);
                }
                self.epoch.send_replace(None);
                if let Some(epoch) = epoch {
                    self.tell(epoch, MesosEvent::Disconnected).await?;
                }
            }
            other => tracing::debug!(?other, "an event of the client is ignored"),
        }
        Ok(())
    }

    async fn master_says(&self, epoch: Epoch, event: Event) -> Result<(), Deaf> {
        let event = match event.r#type() {
            Type::Offers => {
                let offers = event.offers.unwrap_or_default().offers.into_iter();
                let offers = offers.filter_map(|offer| match translate::offer(offer) {
                    Ok(offer) => Some(offer),
                    Err(translate::Unusable(reason)) => {
                        self.refuse(&reason);
                        None
                    }
                });
                MesosEvent::Offers(offers.collect())
            }
            Type::InverseOffers => {
                let offers = event.inverse_offers.unwrap_or_default().inverse_offers;
                let ids = offers.into_iter().map(|offer| OfferId::new(offer.id.value));
                MesosEvent::InverseOffers(ids.collect())
            }
            Type::Rescind => match event.rescind {
                Some(rescind) => MesosEvent::Rescinded(OfferId::new(rescind.offer_id.value)),
                None => return Ok(()),
            },
            Type::Update => match event.update {
                Some(update) => return self.update(epoch, update.status).await,
                None => return Ok(()),
            },
            // With an executor it says that one has exited, which updates of its tasks say too.
            Type::Failure => match event.failure {
                Some(failure) if failure.executor_id.is_none() => match failure.agent_id {
                    Some(agent) => MesosEvent::AgentRemoved(AgentId::new(agent.value)),
                    None => return Ok(()),
                },
                _ => return Ok(()),
            },
            // ERROR comes as a refusal, too; of the others nothing is asked for.
            _ => return Ok(()),
        };
        self.tell(epoch, event).await
    }

    async fn update(&self, epoch: Epoch, status: v1::TaskStatus) -> Result<(), Deaf> {
        let acknowledgement = Call::acknowledge_status(&status);
        match translate::status(status) {
            Ok(update) => self.tell(epoch, MesosEvent::Status(update)).await,
            Err(translate::Unusable(reason)) => {
                self.refuse(&reason);
                // It has no effect that could be stored, and unacknowledged it would hold up every
                // later update of its task.
                if let Some(call) = acknowledgement {
                    let _ = self.sender.send(epoch, call).await;
                }
                Ok(())
            }
        }
    }

    async fn tell(&self, epoch: Epoch, event: MesosEvent) -> Result<(), Deaf> {
        let session = Session(epoch.get());
        let heard = Heard { session, event };
        self.heard.send(heard).await.map_err(|_| Deaf)
    }

    fn refuse(&self, reason: &str) {
        self.shared.metrics.items_refused.add(1);
        tracing::warn!(reason, "something of the master is left out");
    }
}
