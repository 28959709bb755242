//! How the tasks of a type are moved to a changed declaration.

use std::time::Duration;

use gantry_core::{HealthCheck, Operator, Placement, Share, UpdateOrder, UpdatePolicy};

use crate::config::{
    reader::{Reader, full_name},
    table::task::*,
};

/// What of the rest of the definition matters to it; `None` where that is in error.
pub(super) struct Definition<'a> {
    pub(super) instances: Option<u32>,
    pub(super) fixed_ports: &'a [u16],
    pub(super) placement: &'a Placement,
    pub(super) health_check: Option<&'a HealthCheck>,
}

pub(super) fn read(
    reader: &mut Reader<'_>,
    index: u32,
    definition: &Definition<'_>,
) -> Option<UpdatePolicy> {
    let parallelism = reader.task(index, &UPDATE_PARALLELISM);
    let order = reader.task(index, &UPDATE_ORDER);
    let min_healthy = reader.task(index, &UPDATE_MIN_HEALTHY);
    let max_over = reader.task(index, &UPDATE_MAX_OVER);
    let deadline = reader.task(index, &UPDATE_DEADLINE);
    let on_failure = reader.task(index, &UPDATE_ON_FAILURE);
    let monitor = reader.task(index, &UPDATE_MONITOR);

    let stops_first = stops_first(reader, index, order?, definition);
    match (stops_first, max_over) {
        (Some(why), Some(_)) => {
            let reason = format!("is without effect, as {why}");
            reader.warning(&UPDATE_MAX_OVER.about, index, reason, "remove it");
        }
        (None, Some(Share::Count(0) | Share::Percent(0))) => {
            let order = full_name(&UPDATE_ORDER.about, index);
            reader.error(
                &UPDATE_MAX_OVER.about,
                index,
                format!("leaves no room for a new task beside the old one, which {order}=start-first asks for"),
                format!("allow at least 1, or set {order}=stop-first"),
            );
        }
        _ => {}
    }
    if let (Some(share), Some(instances)) = (min_healthy, definition.instances)
        && instances > 0
    {
        keep_possible(reader, index, share, instances, stops_first);
    }
    if let (Some(deadline), Some(monitor)) = (deadline, monitor) {
        reachable(
            reader,
            index,
            deadline,
            monitor,
            definition.health_check.map(|check| check.delay),
        );
    }
    Some(UpdatePolicy {
        parallelism: parallelism?,
        order: order?,
        min_healthy,
        max_over,
        deadline: deadline?,
        on_failure: on_failure?,
        monitor: monitor?,
    })
}

/// Why the tasks of an instance cannot live side by side, so that the old one is stopped first
/// whatever the declared order, as a clause.
pub(crate) fn not_side_by_side(fixed_ports: &[u16], placement: &Placement) -> Option<&'static str> {
    let one_a_place = placement
        .constraints
        .iter()
        .any(|constraint| matches!(constraint.operator, Operator::Unique | Operator::MaxPer(_)));
    if !fixed_ports.is_empty() {
        Some("fixed ports make the old task stop first")
    } else if placement.unique_hosts || one_a_place {
        Some("a limit of tasks in one place makes the old task stop first")
    } else {
        None
    }
}

/// Why the old task of an instance goes first, if it does.
fn stops_first(
    reader: &mut Reader<'_>,
    index: u32,
    order: UpdateOrder,
    definition: &Definition<'_>,
) -> Option<&'static str> {
    if order == UpdateOrder::StopFirst {
        return Some("the old task is stopped first");
    }
    let why = not_side_by_side(definition.fixed_ports, definition.placement)?;
    if reader.is_set(&UPDATE_ORDER.about, index) {
        let reason = format!("is without effect, as {why}");
        reader.warning(&UPDATE_ORDER.about, index, reason, "write stop-first");
    }
    Some(why)
}

/// Refuses what would keep every task where it is.
fn keep_possible(
    reader: &mut Reader<'_>,
    index: u32,
    share: Share,
    instances: u32,
    stops_first: Option<&str>,
) {
    let count = full_name(&NUM_INSTANCES.about, index);
    let kept = share.of(instances);
    if kept > instances {
        reader.error(
            &UPDATE_MIN_HEALTHY.about,
            index,
            format!("is more than {count}={instances}"),
            "lower it, or raise the other",
        );
    } else if kept == instances
        && let Some(why) = stops_first
    {
        let order = full_name(&UPDATE_ORDER.about, index);
        let less = match share {
            Share::Count(_) => "lower it",
            Share::Percent(_) if instances == 1 => "write 0%",
            Share::Percent(_) => "lower it until at least one instance may be missing",
        };
        reader.error(
            &UPDATE_MIN_HEALTHY.about,
            index,
            format!("keeps all {instances} instances, and {why}: no task could ever be moved"),
            match why {
                "the old task is stopped first" => format!("{less}, or set {order}=start-first"),
                _ => less.to_owned(),
            },
        );
    }
}

/// Refuses a deadline that no task could meet.
fn reachable(
    reader: &mut Reader<'_>,
    index: u32,
    deadline: Duration,
    monitor: Duration,
    first_check: Option<Duration>,
) {
    let too_short = if deadline <= monitor {
        Some(full_name(&UPDATE_MONITOR.about, index))
    } else if first_check.is_some_and(|delay| deadline <= delay) {
        Some(full_name(&HEALTHCHECK_DELAY.about, index))
    } else {
        None
    };
    if let Some(other) = too_short {
        reader.error(
            &UPDATE_DEADLINE.about,
            index,
            format!("is not longer than {other}, so that every update would fail"),
            "raise it, or lower the other",
        );
    }
}
