//! A task that is a command, as the built-in executors of Mesos run it
//! (`src/launcher/executor.cpp`).

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use gantry_mesos::v1::task_status::Reason;
use gantry_mesos::v1::{CheckStatusInfo, TaskState};
use rustix::process::Signal;
use tokio::sync::mpsc::{self, UnboundedReceiver};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::checks::{Bench, Finding, Schedule, unknown};
use super::sandbox::Sandbox;
use super::spawn::{Group, arguments};
use super::{Order, Shop, environment, fetch, sandbox};
use crate::state::{Launch, Report};

/// Grace period of a task without kill policy.
const GRACE: Duration = Duration::from_secs(3);
/// Time that is as good as never.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

pub(super) async fn run(shop: &Arc<Shop>, launch: Launch, mut orders: UnboundedReceiver<Order>) {
    if let Some(sandbox) = prepare(shop, &launch, &mut orders).await {
        let mut task = Task::new(shop, &launch);
        task.live(&sandbox, &mut orders).await;
    }
}

/// Sandbox and files. `None` if the task ended before it began.
async fn prepare(
    shop: &Arc<Shop>,
    launch: &Launch,
    orders: &mut UnboundedReceiver<Order>,
) -> Option<Sandbox> {
    let say = |report: Report| shop.hub.turn(|s| s.report(launch.task, report));
    let site = &launch.site;
    let sandbox = match sandbox::create(&shop.work_dir, site) {
        Ok(sandbox) => sandbox,
        Err(text) => {
            say(Report::agent(
                TaskState::TaskDropped,
                Reason::ExecutorTerminated,
                text,
            ));
            return None;
        }
    };
    if let Err(error) = sandbox::link_task(&shop.work_dir, site, &launch.info.task_id.value) {
        tracing::warn!(%error, "a task of a pod has no link in its executor's sandbox");
    }
    let command = launch.info.command.clone().unwrap_or_default();
    let fetched = tokio::select! {
        fetched = fetch::all(shop, &command.uris, &sandbox) => fetched,
        // Only a cancellation comes before a task is reported as started.
        _ = orders.recv() => return None,
    };
    let nested = site.nested.is_some();
    if let Err(error) = fetched {
        let _ = std::fs::write(sandbox.directory.join("stderr"), format!("{error}\n"));
        if nested {
            say(Report::executor(TaskState::TaskStarting));
            say(Report {
                message: Some("Command exited with status 1".into()),
                ..Report::executor(TaskState::TaskFailed)
            });
        } else {
            let text = format!(
                "Failed to launch container: Failed to fetch all URIs for container '{}': exited with status 1",
                site.container
            );
            say(Report::agent(
                TaskState::TaskFailed,
                Reason::ContainerLaunchFailed,
                text,
            ));
        }
        return None;
    }
    if command.value.is_none() && !nested {
        say(Report::executor(TaskState::TaskStarting));
        say(Report::agent(
            TaskState::TaskFailed,
            Reason::ExecutorTerminated,
            "Executor terminated",
        ));
        return None;
    }
    Some(sandbox)
}

/// Why a task is being ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Killed,
    Unhealthy,
    TimedOut,
    Crashed,
    Cancelled,
}

struct Task<'a> {
    shop: &'a Arc<Shop>,
    launch: &'a Launch,
    ending: Option<Ending>,
    /// When SIGKILL follows.
    deadline: Option<Instant>,
    check_status: Option<CheckStatusInfo>,
    healthy: Option<bool>,
    failures: u32,
}

impl<'a> Task<'a> {
    fn new(shop: &'a Arc<Shop>, launch: &'a Launch) -> Self {
        let check_status = launch.info.check.as_ref().map(unknown);
        Self {
            shop,
            launch,
            ending: None,
            deadline: None,
            check_status,
            healthy: None,
            failures: 0,
        }
    }

    fn say(&self, report: Report) {
        let report = Report {
            check_status: self.check_status,
            ..report
        };
        self.shop.hub.turn(|s| s.report(self.launch.task, report));
    }

    async fn live(&mut self, sandbox: &Sandbox, orders: &mut UnboundedReceiver<Order>) {
        let info = &self.launch.info;
        let command = info.command.clone().unwrap_or_default();
        let variables = environment::of_task(&self.launch.site, &sandbox.directory, &command);
        self.say(Report::executor(TaskState::TaskStarting));
        let program = arguments(&command)
            .unwrap_or_else(|| vec!["/bin/sh".into(), "-c".into(), "exit 1".into()]);
        let started = Group::start(
            self.shop,
            &program,
            &variables,
            &sandbox.directory,
            sandbox.account,
            true,
        )
        .await;
        let mut group = match started {
            Ok(group) => group,
            Err(error) => {
                self.say(Report {
                    message: Some(format!("Failed to launch the command: {error}")),
                    ..Report::executor(TaskState::TaskFailed)
                });
                return;
            }
        };
        let begun = Instant::now();
        self.shop
            .hub
            .turn(|s| s.set_pid(self.launch.task, group.id()));
        self.say(Report::executor(TaskState::TaskRunning));

        let bench = Bench {
            shop: Arc::clone(self.shop),
            environment: variables,
            directory: sandbox.directory.clone(),
            account: sandbox.account,
        };
        let mut probes = JoinSet::new();
        let (found, mut findings) = mpsc::channel(1);
        if let Some(schedule) = info.check.as_ref().and_then(Schedule::of_check) {
            probes.spawn(schedule.run(bench.clone(), found));
        }
        let (found, mut health) = mpsc::channel(1);
        if let Some(schedule) = info
            .health_check
            .as_ref()
            .and_then(Schedule::of_health_check)
        {
            probes.spawn(schedule.run(bench, found));
        }
        let limit = info
            .max_completion_time
            .as_ref()
            .and_then(|d| u64::try_from(d.nanoseconds).ok())
            .map_or(NEVER, Duration::from_nanos);

        let status = loop {
            let deadline = self.deadline.unwrap_or(begun + NEVER);
            tokio::select! {
                status = group.wait() => break status,
                order = orders.recv() => self.obey(order.unwrap_or(Order::Cancel), &group),
                () = sleep_until(deadline), if self.deadline.is_some() => {
                    self.deadline = None;
                    group.signal(Signal::KILL);
                }
                () = sleep_until(begun + limit), if self.ending.is_none() => {
                    self.end(Ending::TimedOut, None, &group);
                }
                Some(finding) = findings.recv(), if self.ending.is_none() => self.checked(finding),
                Some(finding) = health.recv(), if self.ending.is_none() => {
                    self.health_checked(finding, begun.elapsed(), &group);
                }
            }
        };
        probes.shutdown().await;
        drop(group);
        if self.ending != Some(Ending::Cancelled) {
            match status {
                Ok(status) => self.say(self.epitaph(status)),
                Err(error) => self.say(Report {
                    message: Some(format!("The command was lost: {error}")),
                    ..Report::executor(TaskState::TaskFailed)
                }),
            }
        }
    }

    fn obey(&mut self, order: Order, group: &Group) {
        match order {
            Order::Kill(grace) => match (self.ending, grace) {
                (None, grace) => self.end(Ending::Killed, grace, group),
                // A later kill may only shorten the grace period.
                (Some(_), Some(grace)) => {
                    self.deadline = self.deadline.map(|d| d.min(Instant::now() + grace));
                }
                (Some(_), None) => {}
            },
            Order::Cancel => {
                self.ending = Some(Ending::Cancelled);
                group.signal(Signal::KILL);
            }
            Order::Crash => {
                self.ending = self.ending.or(Some(Ending::Crashed));
                group.signal(Signal::KILL);
            }
        }
    }

    fn end(&mut self, ending: Ending, grace: Option<Duration>, group: &Group) {
        self.ending = Some(ending);
        if ending != Ending::TimedOut {
            self.check_status = self.launch.info.check.as_ref().map(unknown);
            if self.launch.says_killing {
                self.say(Report::executor(TaskState::TaskKilling));
            }
        }
        let own = self
            .launch
            .info
            .kill_policy
            .as_ref()
            .and_then(|k| k.grace_period.as_ref())
            .and_then(|d| u64::try_from(d.nanoseconds).ok())
            .map(Duration::from_nanos);
        group.signal(Signal::TERM);
        self.deadline = Some(Instant::now() + grace.or(own).unwrap_or(GRACE));
    }

    fn checked(&mut self, finding: Finding) {
        let status = finding.status();
        if self.check_status.as_ref() != Some(&status) {
            self.check_status = Some(status);
            self.say(Report {
                reason: Some(Reason::TaskCheckStatusUpdated),
                healthy: self.healthy,
                ..Report::executor(TaskState::TaskRunning)
            });
        }
    }

    fn health_checked(&mut self, finding: Finding, age: Duration, group: &Group) {
        let Some(check) = &self.launch.info.health_check else {
            return;
        };
        let report = |healthy| Report {
            reason: Some(Reason::TaskHealthCheckStatusUpdated),
            healthy: Some(healthy),
            ..Report::executor(TaskState::TaskRunning)
        };
        if finding.is_healthy() {
            self.failures = 0;
            if self.healthy != Some(true) {
                self.healthy = Some(true);
                self.say(report(true));
            }
            return;
        }
        // A success ends the grace period.
        if self.healthy.is_none() && age.as_secs_f64() < check.grace_period_seconds() {
            return;
        }
        self.failures += 1;
        self.healthy = Some(false);
        self.say(report(false));
        if self.failures >= check.consecutive_failures() {
            self.end(Ending::Unhealthy, None, group);
        }
    }

    /// The last status of a task.
    fn epitaph(&self, status: ExitStatus) -> Report {
        let message = match (status.code(), status.signal()) {
            (Some(code), _) => format!("Command exited with status {code}"),
            (None, signal) => {
                let core = if status.core_dumped() {
                    " (core dumped)"
                } else {
                    ""
                };
                format!(
                    "Command terminated with signal {}{core}",
                    signal_name(signal.unwrap_or(0))
                )
            }
        };
        let state = match self.ending {
            Some(Ending::Killed | Ending::Unhealthy) => TaskState::TaskKilled,
            Some(Ending::TimedOut | Ending::Crashed | Ending::Cancelled) => TaskState::TaskFailed,
            None if status.success() => TaskState::TaskFinished,
            None => TaskState::TaskFailed,
        };
        Report {
            message: Some(message),
            reason: (self.ending == Some(Ending::TimedOut))
                .then_some(Reason::MaxCompletionTimeReached),
            healthy: (self.ending == Some(Ending::Unhealthy)).then_some(false),
            ..Report::executor(state)
        }
    }
}

/// The name the C library has for a signal.
fn signal_name(signal: i32) -> String {
    let name = match signal {
        1 => "Hangup",
        2 => "Interrupt",
        3 => "Quit",
        4 => "Illegal instruction",
        5 => "Trace/breakpoint trap",
        6 => "Aborted",
        7 => "Bus error",
        8 => "Floating point exception",
        9 => "Killed",
        10 => "User defined signal 1",
        11 => "Segmentation fault",
        12 => "User defined signal 2",
        13 => "Broken pipe",
        14 => "Alarm clock",
        15 => "Terminated",
        other => return format!("Unknown signal {other}"),
    };
    name.to_owned()
}
