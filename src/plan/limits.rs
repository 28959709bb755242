//! The limits within which an update moves, in words.

use gantry_core::{OnFailure, Share, Template, UpdateOrder, UpdatePolicy};

use crate::config::{duration_in_words, not_side_by_side};

/// How the instances of a service are moved: which task first, how many at once, what is kept.
pub(crate) fn words(update: &UpdatePolicy, template: &Template, instances: u32) -> String {
    let UpdatePolicy {
        parallelism,
        order,
        min_healthy,
        max_over,
        deadline,
        on_failure,
        monitor,
    } = update;
    let Template {
        demand, placement, ..
    } = template;
    let stops_first = *order == UpdateOrder::StopFirst
        || not_side_by_side(&demand.fixed_ports, placement).is_some();
    let parallelism = (*parallelism).max(1);
    let over = max_over.map(|share: Share| share.of(instances).max(1));
    let at_once = match over {
        Some(over) if !stops_first => parallelism.min(over),
        _ => parallelism,
    };
    let kept = min_healthy.map_or_else(
        || instances.saturating_sub(parallelism),
        |share| share.of(instances).min(instances),
    );
    let kept = if stops_first {
        kept.min(instances.saturating_sub(1))
    } else {
        kept
    };
    let first = if stops_first {
        "the old task stops first"
    } else {
        "the new task starts first"
    };
    let failure = match on_failure {
        OnFailure::Rollback => "rolls back",
        OnFailure::Pause => "pauses",
    };
    format!(
        "{first}, {at_once} at once, at least {kept} of {instances} stay ready; a new task counts \
         after {}, must be ready within {}, else the update {failure}",
        duration_in_words(*monitor),
        duration_in_words(*deadline),
    )
}
