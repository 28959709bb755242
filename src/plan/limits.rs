//! The limits within which an update moves, in words.

use gantry_core::{OnFailure, Template, UpdateOrder, UpdatePolicy};

use crate::config::{duration_in_words, not_side_by_side};

/// How the instances of a service are moved: which task first, how many at once, what is kept.
pub(crate) fn words(policy: &UpdatePolicy, template: &Template, instances: u32) -> String {
    let Template {
        demand, placement, ..
    } = template;
    let stops_first = policy.order == UpdateOrder::StopFirst
        || not_side_by_side(&demand.fixed_ports, placement).is_some();
    let at_once = policy.at_once(instances, stops_first);
    let kept = policy.stay_ready(instances, stops_first);
    let first = if stops_first {
        "the old task stops first"
    } else {
        "the new task starts first"
    };
    let failure = match policy.on_failure {
        OnFailure::Rollback => "rolls back",
        OnFailure::Pause => "pauses",
    };
    format!(
        "{first}, {at_once} at once, at least {kept} of {instances} stay ready; a new task counts \
         after {}, must be ready within {}, else the update {failure}",
        duration_in_words(policy.monitor),
        duration_in_words(policy.deadline),
    )
}
