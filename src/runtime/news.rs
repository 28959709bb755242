//! What operators find in the log of what the scheduler does: a line for each change of a deployment,
//! for what operators ask for, for the brake, and now and then for what keeps failing. Never one for
//! each task.
//!
//! It is read from the writes of a step, which say in full what the notices only point to, and told
//! when they are durable.

use std::{collections::HashMap, time::Duration};

use gantry_core::{
    Actor, AuditEntry, Deployment, DeploymentId, DeploymentKind, DeploymentStatus, InstanceRecord,
    Key, Record, Timestamp, WorkloadName, Write,
};

/// An instance that has failed so often in a row is told of,
const FAILURES_MIN: u32 = 3;

/// but for a workload only so often.
const FAILURES_EVERY: Duration = Duration::from_secs(3600);

/// What has been told, as far as it is needed to tell only what is new.
#[derive(Debug, Default)]
pub(crate) struct News {
    deployments: HashMap<DeploymentId, &'static str>,
    failing: HashMap<WorkloadName, Timestamp>,
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// As asked for.
    Info(String),
    /// Somebody should look.
    Warn(String),
}

impl Line {
    pub(crate) fn log(self) {
        match self {
            Self::Info(text) => tracing::info!("{text}"),
            Self::Warn(text) => tracing::warn!("{text}"),
        }
    }
}

impl News {
    /// What is stored is not new.
    pub(crate) fn after(records: &[Record]) -> Self {
        let deployments = records.iter().filter_map(|record| match record {
            Record::Deployment(one) => Some((one.id, one.status.name())),
            _ => None,
        });
        Self {
            deployments: deployments.collect(),
            failing: HashMap::new(),
        }
    }

    /// The news in what is being written.
    pub(crate) fn of(&mut self, writes: &[Write]) -> Vec<Line> {
        writes
            .iter()
            .filter_map(|write| match write {
                Write::Put(Record::Deployment(one)) => self.deployment(one),
                Write::Put(Record::Instance(one)) => self.instance(one),
                Write::Put(Record::Audit(entry)) => Some(action(entry)),
                Write::Delete(Key::Deployment(id)) => {
                    self.deployments.remove(id);
                    None
                }
                Write::Delete(Key::Workload(name)) => {
                    self.failing.remove(name);
                    None
                }
                _ => None,
            })
            .collect()
    }

    fn deployment(&mut self, one: &Deployment) -> Option<Line> {
        let status = one.status.name();
        let before = self.deployments.insert(one.id, status);
        if before == Some(status) {
            return None;
        }
        let subject = subject(one);
        let done = format!("{} of {} instances", one.done, one.total);
        let because = |reason: &Option<String>| match reason {
            Some(reason) => format!(": {reason}"),
            None => String::new(),
        };
        Some(match &one.status {
            DeploymentStatus::Running if before.is_none() => {
                Line::Info(format!("{subject} begins: {} instances", one.total))
            }
            DeploymentStatus::Running => Line::Info(format!("{subject} goes on after {done}")),
            DeploymentStatus::Done { .. } => Line::Info(format!("{subject} is done")),
            DeploymentStatus::Aborted { reason, .. } => Line::Info(format!(
                "{subject} is aborted after {done}{}",
                because(reason)
            )),
            DeploymentStatus::Paused { reason, .. } => Line::Warn(format!(
                "{subject} is paused after {done}{}",
                because(reason)
            )),
            DeploymentStatus::RollingBack { reason, .. } => {
                Line::Warn(format!("{subject} is being rolled back{}", because(reason)))
            }
            DeploymentStatus::RolledBack { reason, .. } => {
                Line::Warn(format!("{subject} is rolled back{}", because(reason)))
            }
            DeploymentStatus::Failed { reason, .. } => {
                Line::Warn(format!("{subject} has failed after {done}: {reason}"))
            }
        })
    }

    /// It is written when a task of it has ended.
    fn instance(&mut self, one: &InstanceRecord) -> Option<Line> {
        let last = one.history.first()?;
        if one.failures < FAILURES_MIN || last.stopped.is_some() {
            return None;
        }
        let told = self.failing.get(&one.workload);
        if told.is_some_and(|told| last.ended_at.since(*told) < FAILURES_EVERY) {
            return None;
        }
        self.failing.insert(one.workload.clone(), last.ended_at);
        let said = last.message.as_deref().or(last.reason.as_deref());
        Some(Line::Warn(format!(
            "{}-{} has failed {} times in a row, last as {}: {} (told once an hour for all of {})",
            one.workload,
            one.number,
            one.failures,
            last.state.mesos_name(),
            said.unwrap_or("Mesos does not say why"),
            one.workload
        )))
    }
}

/// `update 7 of web from revision 3 to 4`
fn subject(one: &Deployment) -> String {
    let id = one.id;
    match &one.kind {
        DeploymentKind::Update { workload, from, to } => {
            format!("update {id} of {workload} from revision {from} to {to}")
        }
        DeploymentKind::RollingRestart { workload, .. } => {
            let of = workload.as_ref().map_or("everything", WorkloadName::as_str);
            format!("rolling restart {id} of {of}")
        }
    }
}

fn action(entry: &AuditEntry) -> Line {
    let values = match (&entry.before, &entry.after) {
        (Some(before), Some(after)) => format!(": {before} -> {after}"),
        (None, Some(after)) => format!(": {after}"),
        (Some(before), None) => format!(" (was {before})"),
        (None, None) => String::new(),
    };
    let action = &entry.action;
    let Actor {
        name,
        address,
        reason,
    } = &entry.actor;
    if address.is_empty() {
        return Line::Warn(format!("{action}{values}"));
    }
    let reason = match reason {
        Some(reason) => format!(", because: {reason}"),
        None => String::new(),
    };
    Line::Info(format!("{name} at {address}: {action}{values}{reason}"))
}

#[cfg(test)]
mod tests {
    use gantry_core::{AgentAddress, EndedTask, TaskState, Uuid};

    use super::*;

    fn update(status: DeploymentStatus, done: u32) -> Write {
        Write::Put(Record::Deployment(Deployment {
            id: DeploymentId(7),
            kind: DeploymentKind::Update {
                workload: WorkloadName::new("web"),
                from: 3,
                to: 4,
            },
            status,
            started_at: Timestamp::ZERO,
            total: 13,
            done,
            resumed: None,
        }))
    }

    #[test]
    fn each_change_of_a_deployment_is_told_once() {
        let at = Timestamp::from_millis(1);
        let reason = Some("the new task of web-4 failed 3 times".to_owned());
        let running = |done| update(DeploymentStatus::Running, done);
        let mut news = News::default();
        let mut told = Vec::new();
        for write in [
            running(0),
            running(1),
            running(2),
            update(DeploymentStatus::Paused { at, reason: None }, 2),
            running(2),
            update(
                DeploymentStatus::RollingBack {
                    at,
                    reason: reason.clone(),
                },
                0,
            ),
            update(DeploymentStatus::RolledBack { at, reason }, 3),
        ] {
            told.extend(news.of(&[write]));
        }
        let subject = "update 7 of web from revision 3 to 4";
        let because = "the new task of web-4 failed 3 times";
        assert_eq!(
            told,
            [
                Line::Info(format!("{subject} begins: 13 instances")),
                Line::Warn(format!("{subject} is paused after 2 of 13 instances")),
                Line::Info(format!("{subject} goes on after 2 of 13 instances")),
                Line::Warn(format!("{subject} is being rolled back: {because}")),
                Line::Warn(format!("{subject} is rolled back: {because}")),
            ]
        );

        // A successor does not tell again what it has found.
        let Write::Put(found) = running(1) else {
            unreachable!("it is a put")
        };
        let mut successor = News::after(&[found]);
        assert!(successor.of(&[running(2)]).is_empty());
        let done = update(DeploymentStatus::Done { at }, 13);
        let done = successor.of(&[done]);
        assert_eq!(done, [Line::Info(format!("{subject} is done"))]);
    }

    #[test]
    fn what_keeps_failing_is_told_now_and_then() {
        let failed = |number, failures, minutes: u64| {
            let ended = EndedTask {
                uuid: Uuid::from_bits(1),
                agent: AgentAddress::unknown().into(),
                ports: Default::default(),
                revision: 1,
                state: TaskState::Failed,
                reason: None,
                message: Some("Command exited with status 3".to_owned()),
                stopped: None,
                stopped_at: None,
                unhealthy: false,
                launched_at: Timestamp::ZERO,
                running_at: None,
                ended_at: Timestamp::from_millis(minutes * 60_000),
            };
            Write::Put(Record::Instance(InstanceRecord {
                workload: WorkloadName::new("web"),
                number,
                failures,
                not_before: None,
                history: vec![ended],
            }))
        };
        let mut news = News::default();
        assert!(news.of(&[failed(1, 1, 0), failed(1, 2, 0)]).is_empty());
        let many: Vec<_> = (1..=9).map(|number| failed(number, 3, 1)).collect();
        let told = news.of(&many);
        let [Line::Warn(text)] = &told[..] else {
            panic!("{told:?}")
        };
        assert!(
            text.starts_with("web-1 has failed 3 times in a row"),
            "{text}"
        );
        assert!(text.contains("Command exited with status 3"), "{text}");
        assert!(news.of(&[failed(2, 4, 60)]).is_empty());
        assert_eq!(news.of(&[failed(2, 5, 61)]).len(), 1);
    }

    #[test]
    fn actions_are_told_with_who_and_why() {
        let entry = |address: &str, action: &str, before, after, reason| {
            let text = |text: Option<&str>| text.map(str::to_owned);
            Write::Put(Record::Audit(AuditEntry {
                sequence: 1,
                at: Timestamp::ZERO,
                actor: Actor {
                    name: "ada".to_owned(),
                    address: address.to_owned(),
                    reason: text(reason),
                },
                action: action.to_owned(),
                before: text(before),
                after: text(after),
            }))
        };
        let told = News::default().of(&[
            entry(
                "10.0.0.1",
                "scale web",
                Some("1"),
                Some("3"),
                Some("visitors"),
            ),
            entry("", "brake on", None, Some("10 of 12 tasks failed"), None),
        ]);
        assert_eq!(
            told,
            [
                Line::Info("ada at 10.0.0.1: scale web: 1 -> 3, because: visitors".to_owned()),
                Line::Warn("brake on: 10 of 12 tasks failed".to_owned()),
            ]
        );
    }
}
