//! `/metrics` for Prometheus: written from the view at hand, so that nothing is counted twice.

use std::sync::Arc;

use actix_web::{HttpResponse, http::header, web};
use gantry_core::{Counts, DeploymentStatus, View, Workload};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet, text::encode},
    metrics::MetricType,
    registry::Registry,
};

use super::{
    AppState,
    error::{ApiError, Code},
    now,
};
use crate::runtime::{
    ConnectionState, ConnectionStatus, Durations, Handle, Metrics, Role, Shown, StoreState,
};

/// `GET /metrics`
pub(crate) async fn get(state: web::Data<AppState>) -> Result<HttpResponse, ApiError> {
    let mut registry = Registry::with_prefix("gantry");
    registry.register_collector(Box::new(Snapshot {
        view: state.handle().view(),
        connection: state.handle().connection(),
        handle: state.handle().clone(),
        started_at_seconds: state.0.started_at.as_millis() as f64 / 1000.0,
        event_streams: state.settings().event_streams_max
            - state.0.event_streams.available_permits(),
    }));
    let mut text = String::new();
    encode(&mut text, &registry).map_err(|error| {
        ApiError::new(
            Code::Internal,
            format!("the metrics cannot be written: {error}"),
        )
    })?;
    Ok(HttpResponse::Ok()
        .insert_header((
            header::CONTENT_TYPE,
            "application/openmetrics-text; version=1.0.0; charset=utf-8",
        ))
        .body(text))
}

struct Snapshot {
    view: Arc<View>,
    connection: ConnectionStatus,
    handle: Handle,
    started_at_seconds: f64,
    event_streams: usize,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Snapshot")
    }
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        let encoder = &mut encoder;
        self.build(encoder)?;
        self.workloads(encoder)?;
        self.deployments(encoder)?;
        self.framework(encoder)?;
        self.counters(encoder)?;
        runtime(encoder, self.handle.metrics())
    }
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: f64,
) -> std::fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    metric.encode_gauge(&value)
}

fn counter(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: u64,
) -> std::fmt::Result {
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    metric.encode_counter::<NoLabelSet, _, u64>(&value, None)
}

/// Conditions of the tasks and instances of a workload, and how many of them there are.
const fn by_state(counts: &Counts) -> [(&'static str, u32); 9] {
    [
        ("admitting", counts.admitting),
        ("waiting", counts.waiting),
        ("backing_off", counts.backing_off),
        ("reconciling", counts.reconciling),
        ("braked", counts.braked),
        ("starting", counts.starting),
        ("running", counts.running),
        ("killing", counts.killing),
        ("unreachable", counts.unreachable),
    ]
}

impl Snapshot {
    fn build(&self, encoder: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        let mut build =
            encoder.encode_descriptor("build", "What this Gantry is", None, MetricType::Info)?;
        build.encode_info(&[("version", env!("CARGO_PKG_VERSION"))])?;
        gauge(
            encoder,
            "process_start_time_seconds",
            "When this Gantry was started, in seconds since the Unix epoch",
            self.started_at_seconds,
        )
    }

    fn workloads(&self, encoder: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        self.per_workload(
            encoder,
            "instances_wanted",
            "Instances that are wanted",
            |workload| workload.desired,
        )?;
        self.per_workload(
            encoder,
            "tasks_healthy",
            "Running tasks that pass their health check",
            |workload| workload.counts.healthy,
        )?;
        self.per_workload(
            encoder,
            "tasks_unhealthy",
            "Running tasks that fail their health check",
            |workload| workload.counts.unhealthy,
        )?;
        let mut tasks = encoder.encode_descriptor(
            "tasks",
            "Tasks by state; of waiting, backing off and braked, instances without a task",
            None,
            MetricType::Gauge,
        )?;
        for workload in &self.view.workloads {
            for (state, count) in by_state(&workload.counts) {
                let labels = [("type", workload.name.as_str()), ("state", state)];
                tasks
                    .encode_family(&labels)?
                    .encode_gauge(&f64::from(count))?;
            }
        }
        Ok(())
    }

    fn deployments(&self, encoder: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        let mut metric = encoder.encode_descriptor(
            "deployments",
            "Rolling updates and restarts by status; ended ones as far as they are remembered",
            None,
            MetricType::Gauge,
        )?;
        for status in DeploymentStatus::NAMES {
            let deployments = self.view.deployments.iter();
            let count = deployments.filter(|one| one.status.name() == status);
            metric
                .encode_family(&[("status", status)])?
                .encode_gauge(&(count.count() as f64))?;
        }
        Ok(())
    }

    fn per_workload(
        &self,
        encoder: &mut DescriptorEncoder<'_>,
        name: &str,
        help: &str,
        value: impl Fn(&Workload) -> u32,
    ) -> std::fmt::Result {
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for workload in &self.view.workloads {
            let labels = [("type", workload.name.as_str())];
            metric
                .encode_family(&labels)?
                .encode_gauge(&f64::from(value(workload)))?;
        }
        Ok(())
    }

    fn framework(&self, encoder: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        let subscribed = self.connection.state == ConnectionState::Subscribed;
        let heard = self.connection.last_heard.map(|heard| heard.elapsed());
        let framework = &self.view.framework;
        let standing = self.handle.standing();
        let leads = standing.role == Role::Leader;
        let store = leads && self.connection.store == StoreState::Writable;
        let reach = self.handle.home().reach;
        let copy_age = match standing.shown {
            Shown::Copy { at } => now().since(at).as_secs_f64(),
            Shown::Live | Shown::Nothing => -1.0,
        };
        for (name, help, value) in [
            (
                "leader",
                "1 while this Gantry leads",
                f64::from(u8::from(leads)),
            ),
            (
                "stand_by_age_seconds",
                "Age of the copy that a stand-by shows; -1 of a leader, and before the first copy",
                copy_age,
            ),
            (
                "store_connected",
                "1 while the store can be reached",
                f64::from(u8::from(reach.problem().is_none())),
            ),
            (
                "brake",
                "1 while the disaster brake is on",
                f64::from(u8::from(self.view.brake.is_some())),
            ),
            (
                "subscribed",
                "1 while subscribed to the Mesos master",
                f64::from(u8::from(subscribed)),
            ),
            (
                "master_silence_seconds",
                "Time since the Mesos master was last heard of; -1 before the first time",
                heard.map_or(-1.0, |silence| silence.as_secs_f64()),
            ),
            (
                "store_writable",
                "1 while this Gantry leads and the last commit succeeded",
                f64::from(u8::from(store)),
            ),
            (
                "offers_held",
                "Offers held now",
                framework.offers_held as f64,
            ),
            (
                "offers_suppressed",
                "1 while offers are suppressed because nothing waits",
                f64::from(u8::from(framework.suppressed)),
            ),
            (
                "agents",
                "Agents that we have seen offers or tasks of",
                framework.agents as f64,
            ),
            (
                "tasks_unconfirmed",
                "Live tasks that the master has not spoken of since the subscription",
                framework.unconfirmed as f64,
            ),
            (
                "tasks_unknown",
                "Tasks of this framework that no workload knows",
                self.view.unknown_tasks.len() as f64,
            ),
            (
                "unreadable_records",
                "Stored records that could not be read and were not written anew since",
                self.view.unreadable.len() as f64,
            ),
            (
                "event_streams",
                "Readers of the event stream now",
                self.event_streams as f64,
            ),
        ] {
            gauge(encoder, name, help, value)?;
        }
        Ok(())
    }

    fn counters(&self, encoder: &mut DescriptorEncoder<'_>) -> std::fmt::Result {
        let counters = &self.view.counters;
        let subscriptions = u64::from(self.view.framework.subscription);
        let terms = self.handle.standing().terms;
        for (name, help, value) in [
            ("terms", "Terms in which this Gantry has led", terms),
            (
                "subscriptions",
                "Subscriptions to the Mesos master",
                subscriptions,
            ),
            ("offers_received", "Offers received", counters.offers),
            ("offers_accepted", "Offers accepted", counters.accepted),
            ("offers_declined", "Offers declined", counters.declined),
            ("tasks_launched", "Tasks launched", counters.launched),
            ("tasks_ended", "Tasks that ended", counters.ended),
            (
                "tasks_failed",
                "Tasks that ended in a failure",
                counters.failed,
            ),
            (
                "status_updates",
                "Status updates received",
                counters.updates,
            ),
            ("kills", "KILL calls", counters.kills),
            ("revives", "REVIVE calls", counters.revives),
            (
                "reconciliations",
                "Reconciliations asked for",
                counters.reconciliations,
            ),
        ] {
            counter(encoder, name, help, value)?;
        }
        Ok(())
    }
}

fn runtime(encoder: &mut DescriptorEncoder<'_>, metrics: &Metrics) -> std::fmt::Result {
    for (name, help, value) in [
        (
            "queue_depth",
            "Inputs that wait for the scheduler now",
            metrics.queue_depth.get(),
        ),
        (
            "uncommitted_steps",
            "Steps whose effects wait for the store now",
            metrics.uncommitted_steps.get(),
        ),
        (
            "store_last_batch",
            "Writes in the last commit",
            metrics.last_batch.get(),
        ),
    ] {
        gauge(encoder, name, help, value as f64)?;
    }
    for (name, help, value) in [
        (
            "inputs",
            "Inputs taken by the scheduler",
            metrics.inputs.get(),
        ),
        ("store_writes", "Writes committed", metrics.writes.get()),
        (
            "store_commit_failures",
            "Commits that failed and were repeated",
            metrics.commit_failures.get(),
        ),
        (
            "calls",
            "Calls handed to the client of the master",
            metrics.calls.get(),
        ),
        ("views", "Views published", metrics.views.get()),
        (
            "commands_refused_busy",
            "Commands refused because the queue was full or Gantry was stopping",
            metrics.commands_refused_busy.get(),
        ),
        (
            "items_refused",
            "Items of Mesos that could not be understood",
            metrics.items_refused.get(),
        ),
    ] {
        counter(encoder, name, help, value)?;
    }
    histogram(
        encoder,
        "step_seconds",
        "Steps of the scheduler",
        &metrics.steps,
    )?;
    histogram(
        encoder,
        "offer_to_accept_seconds",
        "From an offer's coming to the leaving of its ACCEPT",
        &metrics.offer_to_accept,
    )?;
    histogram(
        encoder,
        "store_commit_seconds",
        "Commits of the store",
        &metrics.commits,
    )
}

fn histogram(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    durations: &Durations,
) -> std::fmt::Result {
    let mut buckets = Vec::new();
    let mut below = 0;
    for (bound, cumulative) in durations.cumulative() {
        buckets.push((bound.as_secs_f64(), cumulative.saturating_sub(below)));
        below = cumulative.max(below);
    }
    // Read one after the other while they grow: the count must not fall behind its parts.
    let count = durations.count().max(below);
    buckets.push((f64::INFINITY, count - below));
    let sum = durations.sum().as_secs_f64();
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
    metric.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
}
