//! Tasks that the original, tobilg's mesos-framework, left running.
//!
//! It keeps one node for each, `tasks/<task id>`, with the JSON of the whole task. We take what
//! tells where the task runs; all else comes from the declaration, as it does there.

use std::sync::Arc;

use gantry_core::{
    AgentAddress, AgentId, Goal, TaskId, TaskRecord, TaskState, Timestamp, Uuid, WorkloadName,
};
use serde::Deserialize;
use zookeeper_client::Stat;

use super::load::time;

/// Of an agent, where the original does not write it down.
const AGENT_PORT: u16 = 5051;

/// The revision of a task of which nobody knows what it was launched as: it counts as the current
/// one.
const UNKNOWN_REVISION: u32 = 0;

/// A task of the original.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Original {
    /// The name of its node in `tasks`.
    pub(super) name: String,
    /// The task as we keep it; `None` when it has ended, or was never filled in.
    pub(super) record: Option<TaskRecord>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Task {
    task_id: String,
    name: String,
    runtime_info: RuntimeInfo,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RuntimeInfo {
    agent_id: String,
    state: String,
    start_time: Option<f64>,
    network: Option<Network>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Network {
    hostname: String,
    ip: String,
    ports: Vec<u16>,
}

impl Original {
    /// Reads a node.
    ///
    /// # Errors
    /// Why it is not understood, as a clause.
    pub(super) fn read(name: &str, bytes: &[u8], stat: &Stat) -> Result<Self, String> {
        let record = match bytes {
            // The original makes a node first and fills it then; and removes such ones itself.
            [] => None,
            bytes => record(name, bytes, time(stat.ctime))?,
        };
        Ok(Self {
            name: name.to_owned(),
            record,
        })
    }
}

fn record(node: &str, bytes: &[u8], created: Timestamp) -> Result<Option<TaskRecord>, String> {
    let task: Task =
        serde_json::from_slice(bytes).map_err(|error| format!("it is not readable: {error}"))?;
    if task.task_id != node {
        return Err(format!("it holds the task `{}`", task.task_id));
    }
    let state = state(&task.runtime_info.state)?;
    if state.is_terminal() {
        return Ok(None);
    }
    let (workload, number) = instance(&task.name)
        .ok_or_else(|| format!("its name `{}` is not one of an instance", task.name))?;
    let uuid = task
        .task_id
        .rsplit_once('.')
        .and_then(|(_, uuid)| Uuid::parse(uuid))
        .ok_or("its task id does not end with a UUID")?;
    let network = task.runtime_info.network.unwrap_or_default();
    let started_at = task
        .runtime_info
        .start_time
        .map(|millis| time(millis as i64));
    Ok(Some(TaskRecord {
        id: TaskId::new(task.task_id),
        workload: WorkloadName::new(workload),
        number,
        uuid,
        revision: UNKNOWN_REVISION,
        agent: Arc::new(AgentAddress {
            id: AgentId::new(task.runtime_info.agent_id),
            hostname: network.hostname,
            ip: network.ip,
            port: AGENT_PORT,
            attributes: Vec::new(),
        }),
        ports: network.ports.into(),
        state,
        goal: Goal::Run,
        launched_at: created,
        started_at,
        running_at: started_at.filter(|_| state == TaskState::Running),
    }))
}

/// `web-3` is the third instance of `web`.
fn instance(name: &str) -> Option<(&str, u32)> {
    let (workload, number) = name.rsplit_once('-')?;
    let number = number.parse().ok().filter(|number| *number > 0)?;
    Some((workload, number))
}

fn state(name: &str) -> Result<TaskState, String> {
    TaskState::ALL
        .into_iter()
        // It stands for what Mesos has not been told of yet, and is never written by the original.
        .filter(|state| *state != TaskState::Launching)
        .find(|state| state.mesos_name() == name)
        .ok_or_else(|| format!("its state is `{name}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "my-fw.a_b-2.0f8fad5b-d9cb-469f-a165-70867728950e";

    fn node(state: &str) -> Vec<u8> {
        format!(
            r#"{{"isSubmitted":true,"name":"a/b-2","taskId":"{ID}","mesosName":"a_b","priority":1,
                "resources":{{"cpus":0.2,"mem":128,"ports":1,"disk":0,"staticPorts":[31500]}},
                "commandInfo":{{"environment":{{"variables":[{{"name":"PORT0","value":"31500"}}]}}}},
                "runtimeInfo":{{"agentId":"c97ad2d8-S1","executorId":"x","state":"{state}",
                "startTime":1500000001000,"restarting":true,
                "network":{{"hostname":"node-1","ip":"10.0.0.9","ports":[31500]}}}}}}"#
        )
        .into_bytes()
    }

    fn read(name: &str, bytes: &[u8]) -> Result<Option<TaskRecord>, String> {
        record(name, bytes, Timestamp::from_millis(1_500_000_000_000))
    }

    #[test]
    fn a_running_task_is_taken_over_as_it_runs() {
        let task = read(ID, &node("TASK_RUNNING")).unwrap().unwrap();
        assert_eq!(task.id.as_str(), ID);
        assert_eq!((task.workload.as_str(), task.number), ("a/b", 2));
        assert_eq!(task.id, TaskId::from_parts("my-fw", "a_b", 2, task.uuid));
        assert_eq!((task.revision, task.state), (0, TaskState::Running));
        assert_eq!(task.agent.ip, "10.0.0.9");
        assert_eq!(task.ports[..], [31500]);
        assert_eq!(
            task.running_at,
            Some(Timestamp::from_millis(1_500_000_001_000))
        );
        let staging = read(ID, &node("TASK_STAGING")).unwrap().unwrap();
        assert_eq!(
            (staging.state, staging.running_at),
            (TaskState::Staging, None)
        );
    }

    #[test]
    fn what_has_ended_is_not_taken_over_and_what_is_not_understood_is_named() {
        assert_eq!(read(ID, &node("TASK_FINISHED")), Ok(None));
        assert!(
            read("other", &node("TASK_RUNNING"))
                .unwrap_err()
                .contains(ID)
        );
        assert!(
            read(ID, &node("TASK_DANCING"))
                .unwrap_err()
                .contains("TASK_DANCING")
        );
        assert!(read(ID, b"{}").is_err());
        let nameless = String::from_utf8(node("TASK_RUNNING")).unwrap();
        let nameless = nameless.replace("a/b-2", "solo");
        assert!(read(ID, nameless.as_bytes()).unwrap_err().contains("solo"));
    }
}
