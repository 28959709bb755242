//! Tasks and events as modules see them.

use std::sync::Arc;

use gantry_core::{Goal, Task, Timestamp, Workload};
use serde_json::{Value, json};

use crate::runtime::{Event, EventKind};

/// A live task.
pub(super) fn task(framework: &str, workload: &Workload, number: u32, task: &Task) -> Value {
    json!({
        "id": workload.task_id(framework, number, task).as_str(),
        "type": workload.name.as_str(),
        "instance": format!("{}-{number}", workload.name),
        "number": number,
        "state": task.state.mesos_name(),
        "healthy": task.healthy,
        "host": task.agent.hostname,
        "ip": task.agent.ip,
        "ports": task.ports,
        "agent": task.agent.id.as_str(),
        "revision": task.revision,
        "current": task.revision == workload.revision,
        "restarting": !matches!(task.goal, Goal::Run),
        "launchedAt": task.launched_at.as_millis(),
        "runningAt": task.running_at.map(Timestamp::as_millis),
    })
}

/// What `onStatus` is told: the JSON of a task's change; nothing for other events.
pub(super) fn event(event: &Event) -> Option<Arc<str>> {
    let EventKind::Task {
        task,
        workload,
        number,
        state,
        healthy,
        reason,
        message,
        ..
    } = &event.kind
    else {
        return None;
    };
    let json = json!({
        "id": event.id,
        "at": event.at.as_millis(),
        "task": task,
        "type": workload,
        "instance": format!("{workload}-{number}"),
        "number": number,
        "state": state,
        "healthy": healthy,
        "reason": reason,
        "message": message,
    });
    Some(json.to_string().into())
}
