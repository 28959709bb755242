//! Rolling restarts: a rule that is stored ("replace what was launched before T"), and a list of
//! candidates that is made from it and can be made again after a crash.

use std::sync::Arc;

use super::{Scheduler, ServiceIndex};
use crate::{
    Actor, Answer, Deployment, DeploymentId, DeploymentKind, DeploymentStatus, Goal, Key, Notice,
    Record, Refusal, StopReason, Timestamp, WorkloadName, Write,
};

/// Deployments that have ended and are still remembered.
const ENDED_KEPT: usize = 50;

/// What a running deployment is at; made anew after a restart of the scheduler.
#[derive(Debug)]
pub(super) struct RollingWork {
    /// Instances to look at by the launch of their task; the next one, the youngest, is the last.
    queue: Vec<(Timestamp, ServiceIndex, u32)>,
    /// The instance that is being moved, and until when.
    current: Option<(ServiceIndex, u32, Timestamp)>,
}

/// How the instance that is being moved is doing.
enum Progress {
    Moving,
    Moved,
    Failed(String),
}

impl Scheduler {
    pub(super) fn start_rolling_restart(
        &mut self,
        actor: Actor,
        workload: Option<WorkloadName>,
    ) -> Result<Answer, Refusal> {
        if let Some(name) = &workload {
            self.service_named(name)?;
        }
        let overlapping = self.deployments.values().find(|deployment| {
            let DeploymentKind::RollingRestart {
                workload: other, ..
            } = &deployment.kind;
            !deployment.status.is_over()
                && (other.is_none() || workload.is_none() || *other == workload)
        });
        if let Some(overlapping) = overlapping {
            return Err(Refusal::DeploymentRunning(overlapping.id));
        }
        let id = DeploymentId(self.next_deployment);
        self.next_deployment += 1;
        let action = workload.as_ref().map_or_else(
            || "rolling restart".to_owned(),
            |name| format!("rolling restart of {name}"),
        );
        // What is launched in this very step is new enough: the moment itself is not included.
        let mut deployment = Deployment {
            id,
            kind: DeploymentKind::RollingRestart {
                workload,
                launched_before: self.now,
            },
            status: DeploymentStatus::Running,
            started_at: self.now,
            total: 0,
            done: 0,
        };
        let work = self.rolling_work(&deployment);
        deployment.total = work.queue.len() as u32;
        self.rolling.insert(id, work);
        self.write_deployment(deployment);
        self.forget_old_deployments();
        self.audit(actor, action, None, Some(format!("deployment {id}")));
        Ok(Answer::Deployment(id))
    }

    fn rolling_work(&self, deployment: &Deployment) -> RollingWork {
        let DeploymentKind::RollingRestart {
            workload,
            launched_before,
        } = &deployment.kind;
        let mut queue: Vec<_> = self
            .services()
            .filter(|(_, service)| {
                workload
                    .as_ref()
                    .is_none_or(|name| service.state.name == *name)
            })
            .flat_map(|(index, service)| {
                service
                    .state
                    .instances
                    .iter()
                    .filter(|instance| instance.wanted)
                    .filter_map(|instance| {
                        Some((instance.number, instance.tasks.first()?.launched_at))
                    })
                    .filter(|(_, launched_at)| launched_at < launched_before)
                    .map(move |(number, launched_at)| (launched_at, index, number))
            })
            .collect();
        queue.sort_unstable();
        RollingWork {
            queue,
            current: None,
        }
    }

    pub(super) fn advance_deployments(&mut self) {
        if self
            .deployments
            .values()
            .all(|deployment| deployment.status != DeploymentStatus::Running)
        {
            return;
        }
        let running: Vec<_> = self
            .deployments
            .values()
            .filter(|deployment| deployment.status == DeploymentStatus::Running)
            .cloned()
            .collect();
        for deployment in running {
            let mut work = match self.rolling.remove(&deployment.id) {
                Some(work) => work,
                None => self.rolling_work(&deployment),
            };
            self.advance_rolling(&deployment, &mut work);
            if self
                .deployments
                .get(&deployment.id)
                .is_some_and(|now| !now.status.is_over())
            {
                self.rolling.insert(deployment.id, work);
            }
        }
    }

    fn advance_rolling(&mut self, deployment: &Deployment, work: &mut RollingWork) {
        let DeploymentKind::RollingRestart {
            launched_before, ..
        } = deployment.kind;
        let mut now = deployment.clone();
        if let Some((index, number, deadline)) = work.current {
            match self.progress(index, number, launched_before, deadline) {
                Progress::Moving => return,
                Progress::Moved => {
                    now.done += 1;
                    work.current = None;
                }
                Progress::Failed(reason) => {
                    now.status = DeploymentStatus::Failed {
                        at: self.now,
                        reason,
                    };
                    return self.write_deployment(now);
                }
            }
        }
        while let Some((_, index, number)) = work.queue.pop() {
            if let Some(deadline) = self.begin_move(index, number, launched_before) {
                work.current = Some((index, number, deadline));
                break;
            }
            now.done += 1; // It has been moved by other means, or is gone.
        }
        if work.current.is_none() {
            now.done = now.total;
            now.status = DeploymentStatus::Done { at: self.now };
        }
        if now != *deployment {
            self.write_deployment(now);
        }
    }

    /// Begins to move an instance, or finds it being moved already. `None` when there is nothing
    /// to move.
    fn begin_move(
        &mut self,
        index: ServiceIndex,
        number: u32,
        before: Timestamp,
    ) -> Option<Timestamp> {
        let instance = self.service(index)?.state.instances.get(number)?;
        if !instance.wanted {
            return None;
        }
        let old = instance
            .tasks
            .iter()
            .find(|task| task.launched_at < before)?;
        let limit = self.settings.replace_deadline;
        match old.goal {
            Goal::Replace { deadline, .. } => Some(deadline),
            Goal::Stop {
                reason: StopReason::Restarted,
                since,
            } => Some(since + limit),
            Goal::Stop { .. } => None,
            Goal::Run => {
                let uuid = old.uuid;
                self.replace_task(index, number, uuid);
                let deadline = self.now + limit;
                self.timers.set(
                    deadline,
                    super::Timer::Instance {
                        service: index,
                        number,
                    },
                );
                Some(deadline)
            }
        }
    }

    fn progress(
        &self,
        index: ServiceIndex,
        number: u32,
        before: Timestamp,
        deadline: Timestamp,
    ) -> Progress {
        let Some(service) = self.service(index) else {
            return Progress::Moved;
        };
        let Some(instance) = service
            .state
            .instances
            .get(number)
            .filter(|instance| instance.wanted)
        else {
            return Progress::Moved;
        };
        let old = instance.tasks.iter().find(|task| task.launched_at < before);
        let fresh_ready = instance
            .tasks
            .iter()
            .any(|task| task.launched_at >= before && service.is_ready(task));
        let name = &service.state.name;
        match old {
            None if fresh_ready => Progress::Moved,
            Some(old) if old.goal == Goal::Run => Progress::Failed(format!(
                "the replacement of {name}-{number} did not become ready in time"
            )),
            _ if self.now >= deadline + self.settings.kill_max => {
                Progress::Failed(format!("the old task of {name}-{number} does not end"))
            }
            None if self.now >= deadline => Progress::Failed(format!(
                "{name}-{number} did not become ready in time after its restart"
            )),
            _ => Progress::Moving,
        }
    }

    pub(super) fn pause_deployment(
        &mut self,
        actor: Actor,
        id: DeploymentId,
    ) -> Result<Answer, Refusal> {
        let at = self.now;
        self.change_deployment(actor, id, "paused", |status| {
            matches!(status, DeploymentStatus::Running).then_some(DeploymentStatus::Paused { at })
        })
    }

    pub(super) fn resume_deployment(
        &mut self,
        actor: Actor,
        id: DeploymentId,
    ) -> Result<Answer, Refusal> {
        self.change_deployment(actor, id, "resumed", |status| {
            matches!(status, DeploymentStatus::Paused { .. }).then_some(DeploymentStatus::Running)
        })
    }

    pub(super) fn abort_deployment(
        &mut self,
        actor: Actor,
        id: DeploymentId,
    ) -> Result<Answer, Refusal> {
        let at = self.now;
        let answer = self.change_deployment(actor, id, "aborted", |status| {
            (!status.is_over()).then_some(DeploymentStatus::Aborted { at })
        })?;
        self.rolling.remove(&id);
        Ok(answer)
    }

    fn change_deployment(
        &mut self,
        actor: Actor,
        id: DeploymentId,
        wanted: &'static str,
        change: impl FnOnce(&DeploymentStatus) -> Option<DeploymentStatus>,
    ) -> Result<Answer, Refusal> {
        let deployment = self
            .deployments
            .get(&id)
            .ok_or(Refusal::UnknownDeployment(id))?;
        let before = deployment.status.name();
        let status = change(&deployment.status).ok_or(Refusal::DeploymentState {
            id,
            status: before,
            wanted,
        })?;
        let mut deployment = Deployment::clone(deployment);
        deployment.status = status;
        self.write_deployment(deployment);
        self.audit(
            actor,
            format!("deployment {id} {wanted}"),
            Some(before.to_owned()),
            None,
        );
        Ok(Answer::Deployment(id))
    }

    fn write_deployment(&mut self, deployment: Deployment) {
        let id = deployment.id;
        self.out
            .writes
            .push(Write::Put(Record::Deployment(deployment.clone())));
        self.deployments.insert(id, Arc::new(deployment));
        self.notice(Notice::Deployment { id });
    }

    fn forget_old_deployments(&mut self) {
        let ended: Vec<_> = self
            .deployments
            .values()
            .filter(|deployment| deployment.status.is_over())
            .map(|deployment| deployment.id)
            .collect();
        for id in ended.iter().take(ended.len().saturating_sub(ENDED_KEPT)) {
            self.deployments.remove(id);
            self.out.writes.push(Write::Delete(Key::Deployment(*id)));
        }
    }
}

impl DeploymentStatus {
    /// As a word.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused { .. } => "paused",
            Self::Done { .. } => "done",
            Self::Failed { .. } => "failed",
            Self::Aborted { .. } => "aborted",
        }
    }
}
