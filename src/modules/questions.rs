//! What the scheduler asks modules: whether an instance may be launched, and whether a task is ready.

use std::time::Duration;

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use gantry_core::{AddedEnvironment, Question, TaskId, TaskState, Verdict, View, Workloads};
use gantry_modules::{Admission, Hook, Host};
use serde_json::{Value, json};

use super::{Modules, shape};
use crate::runtime::{Handle, Questions};

/// Launches that modules are asked about at once. They answer one after another, and may await.
const AT_ONCE: usize = 16;

/// Between two rounds of asking which tasks are ready.
const EVERY: Duration = Duration::from_secs(1);

/// Tasks that are asked about in a round; the others have their turn in the next.
const TASKS_MAX: usize = 500;

/// When an instance is asked about again whose additions cannot be made.
const AGAIN_AFTER: Duration = Duration::from_secs(30);

impl Modules {
    /// Answers the scheduler's questions. Ends never.
    pub(super) async fn answer(&self, handle: &Handle, host: &Host, questions: Questions) {
        tokio::join!(
            self.admit(handle, host, questions),
            self.report(handle, host),
            say_needs(handle, host),
        );
    }

    async fn admit(&self, handle: &Handle, host: &Host, mut questions: Questions) {
        let mut open = FuturesUnordered::new();
        loop {
            tokio::select! {
                question = questions.next(), if open.len() < AT_ONCE => match question {
                    Some(question) => open.push(self.admit_one(handle, host, question)),
                    None => break,
                },
                Some(()) = open.next() => {}
            }
        }
    }

    async fn admit_one(&self, handle: &Handle, host: &Host, question: Question) {
        let verdict = self.verdict(handle, host, &question).await;
        // Whoever no longer acts waits for nothing.
        let _ = handle.admit(&question, verdict).await;
    }

    async fn verdict(&self, handle: &Handle, host: &Host, question: &Question) -> Verdict {
        let view = handle.view();
        let workload = view.workload(question.workload.as_str());
        let template = workload.and_then(|workload| workload.revisions.get(&question.revision));
        let names: Vec<_> = template
            .into_iter()
            .flat_map(|template| template.environment.iter())
            .map(|variable| variable.name.as_str())
            .collect();
        let launch = json!({
            "type": question.workload.as_str(),
            "instance": format!("{}-{}", question.workload, question.number),
            "number": question.number,
            "revision": question.revision,
            "env": names,
        });
        match host.before_launch(&launch).await {
            Admission::Vetoed {
                module,
                reason,
                retry_after,
            } => Verdict::Refused {
                module: module.into(),
                reason: reason.into(),
                again_after: retry_after,
            },
            Admission::Admitted { environment } => {
                match AddedEnvironment::new(environment.into_iter().collect()) {
                    Ok(environment) => Verdict::Admitted { environment },
                    // Each module keeps within the limit; together they may not.
                    Err(error) => Verdict::Refused {
                        module: "modules".into(),
                        reason: format!("what they add cannot be added: {error}").into(),
                        again_after: AGAIN_AFTER,
                    },
                }
            }
        }
    }

    /// Reports which tasks are ready, until they are.
    async fn report(&self, handle: &Handle, host: &Host) {
        loop {
            tokio::time::sleep(EVERY).await;
            if !host.has(Hook::RestartCheck) {
                continue;
            }
            for (id, task) in unready(&handle.view(), &self.0.framework_in_ids) {
                let ready = host.restart_check(&task).await;
                let _ = handle.report_readiness(id, ready).await;
            }
        }
    }
}

/// Running tasks that need a report and have none yet, or were not ready.
fn unready(view: &View, framework: &str) -> Vec<(TaskId, Value)> {
    let workloads = view.workloads.iter();
    let tasks = workloads
        .filter(|workload| workload.needs_readiness)
        .flat_map(|workload| {
            let tasks = workload.tasks();
            tasks.map(move |(number, task)| (workload, number, task))
        });
    tasks
        .filter(|(_, _, task)| task.state == TaskState::Running && task.readiness != Some(true))
        .map(|(workload, number, task)| {
            let id = workload.task_id(framework, number, task);
            (id, shape::task(framework, workload, number, task))
        })
        .take(TASKS_MAX)
        .collect()
}

/// Tells the scheduler in what modules have a say: what a stopped one registered no longer holds.
async fn say_needs(handle: &Handle, host: &Host) {
    loop {
        handle.need_admission(host.has(Hook::BeforeLaunch));
        handle.need_readiness(match host.has(Hook::RestartCheck) {
            true => Workloads::All,
            false => Workloads::None,
        });
        tokio::time::sleep(EVERY / 10).await;
    }
}
