//! Tasks without processes.

use std::time::Duration;

use gantry_mesos::v1::framework_info::capability::Type as Capability;
use gantry_mesos::v1::task_status::Reason;
use gantry_mesos::v1::{TaskInfo, TaskState};

use super::timers::Timer;
use super::{Report, State, TaskKey};
use crate::options::{SimulatedTasks, TaskMode};

/// What a simulated task does next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Start,
    Run,
    Exit(i32),
    Killed,
}

/// What the labels and the command of a task say about its life.
#[derive(Debug, PartialEq)]
struct Script {
    starting: Option<Duration>,
    run: Option<Duration>,
    exit: i32,
    health: Option<bool>,
}

impl Script {
    fn read(info: &TaskInfo) -> Self {
        let command = info
            .command
            .as_ref()
            .and_then(|c| c.value.as_deref())
            .unwrap_or_default();
        let mut words = command.split_whitespace();
        let (mut run, mut exit) = match (words.next(), words.next(), words.next()) {
            (Some("sleep"), Some(seconds), None) => (duration(seconds), 0),
            (Some("true"), None, None) => (Some(Duration::ZERO), 0),
            (Some("false"), None, None) => (Some(Duration::ZERO), 1),
            (Some("exit"), Some(code), None) => (Some(Duration::ZERO), code.parse().unwrap_or(0)),
            _ => (None, 0),
        };
        let mut starting = None;
        let mut health = info.health_check.as_ref().map(|_| true);
        for label in info.labels.iter().flat_map(|l| &l.labels) {
            let value = label.value.as_deref().unwrap_or_default();
            match &*label.key {
                "gantry.local/run" => run = duration(value),
                "gantry.local/start" => starting = duration(value),
                "gantry.local/exit" => {
                    exit = value.parse().unwrap_or(exit);
                    run = run.or(Some(Duration::ZERO));
                }
                "gantry.local/healthy" => {
                    health = health.map(|_| value != "false");
                }
                _ => {}
            }
        }
        Self {
            starting,
            run,
            exit,
            health,
        }
    }
}

/// `30`, `30s`, `500ms`, `2m`, `1h`.
fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = match text.find(|c: char| c.is_ascii_alphabetic()) {
        Some(at) => text.split_at(at),
        None => (text, "s"),
    };
    let factor = match unit {
        "ms" => 0.001,
        "s" | "secs" => 1.0,
        "m" | "mins" => 60.0,
        "h" | "hrs" => 3600.0,
        _ => return None,
    };
    Duration::try_from_secs_f64(number.trim().parse::<f64>().ok()? * factor).ok()
}

impl State {
    pub(super) fn simulated(&self) -> Option<&SimulatedTasks> {
        match &self.options.mode {
            TaskMode::Simulated(tasks) => Some(tasks),
            TaskMode::Real { .. } => None,
        }
    }

    fn step(&mut self, task: TaskKey, delay: Duration, step: Step) {
        if delay.is_zero() {
            self.simulated_step(task, step);
        } else {
            self.after(delay, Timer::Simulated { task, step });
        }
    }

    pub(super) fn simulated_launch(&mut self, key: TaskKey) {
        let delay = self.simulated().map(|s| s.staging).unwrap_or_default();
        self.step(key, delay, Step::Start);
    }

    pub(super) fn simulated_kill(&mut self, key: TaskKey) {
        let Some(task) = self.tasks.get(&key) else {
            return;
        };
        if task.latest == TaskState::TaskKilling {
            return;
        }
        let framework = self.frameworks.get(&task.framework);
        if framework.is_some_and(|f| f.can(Capability::TaskKillingState)) {
            self.report(key, Report::executor(TaskState::TaskKilling));
        }
        let delay = self.simulated().map(|s| s.killing).unwrap_or_default();
        self.step(key, delay, Step::Killed);
    }

    /// The process of a simulated task "dies".
    pub(super) fn simulated_crash(&mut self, key: TaskKey) {
        self.report(
            key,
            Report {
                message: Some("Command terminated with signal Killed".into()),
                ..Report::executor(TaskState::TaskFailed)
            },
        );
    }

    pub(super) fn simulated_step(&mut self, key: TaskKey, step: Step) {
        let Some(task) = self.tasks.get(&key) else {
            return;
        };
        match step {
            Step::Start => {
                let script = Script::read(&task.info());
                self.report(key, Report::executor(TaskState::TaskStarting));
                let starting = script
                    .starting
                    .or_else(|| self.simulated().map(|s| s.starting))
                    .unwrap_or_default();
                self.step(key, starting, Step::Run);
            }
            Step::Run => {
                if matches!(task.latest, TaskState::TaskKilling) {
                    return;
                }
                let script = Script::read(&task.info());
                self.report(key, Report::executor(TaskState::TaskRunning));
                if let Some(healthy) = script.health {
                    self.report(
                        key,
                        Report {
                            healthy: Some(healthy),
                            reason: Some(Reason::TaskHealthCheckStatusUpdated),
                            ..Report::executor(TaskState::TaskRunning)
                        },
                    );
                }
                if let Some(run) = script.run {
                    self.step(key, run, Step::Exit(script.exit));
                }
            }
            Step::Exit(status) => {
                if task.latest == TaskState::TaskKilling {
                    return;
                }
                let state = if status == 0 {
                    TaskState::TaskFinished
                } else {
                    TaskState::TaskFailed
                };
                self.report(
                    key,
                    Report {
                        message: Some(format!("Command exited with status {status}")),
                        ..Report::executor(state)
                    },
                );
            }
            Step::Killed => self.report(
                key,
                Report {
                    message: Some("Command terminated with signal Terminated".into()),
                    ..Report::executor(TaskState::TaskKilled)
                },
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gantry_mesos::v1::{CommandInfo, Label, Labels};

    fn script(command: &str, labels: &[(&str, &str)]) -> Script {
        let labels = labels
            .iter()
            .map(|(key, value)| Label {
                key: (*key).into(),
                value: Some((*value).into()),
            })
            .collect();
        Script::read(&TaskInfo {
            command: Some(CommandInfo {
                value: Some(command.into()),
                ..CommandInfo::default()
            }),
            labels: Some(Labels { labels }),
            ..TaskInfo::default()
        })
    }

    #[test]
    fn commands_and_labels_tell_the_life_of_a_task() {
        assert_eq!(
            script("sleep 2.5", &[]).run,
            Some(Duration::from_millis(2500))
        );
        assert_eq!(script("sleep 1000 && echo", &[]).run, None);
        assert_eq!(script("server", &[]).run, None);
        assert_eq!(script("exit 3", &[]).exit, 3);
        let labelled = script(
            "server",
            &[("gantry.local/run", "500ms"), ("gantry.local/exit", "1")],
        );
        assert_eq!(
            (labelled.run, labelled.exit),
            (Some(Duration::from_millis(500)), 1)
        );
        assert_eq!(script("server", &[("gantry.local/run", "soon")]).run, None);
    }
}
