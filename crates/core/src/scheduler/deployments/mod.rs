//! Deployments: what operators and declarations start, pause, resume, abort and roll back.
//!
//! A deployment is a rule that is stored ("replace what was launched before T", "move to revision
//! 3"); how far it is, is seen from the tasks, so that it goes on after a crash.
//!
//! | file | what it is about |
//! |---|---|
//! | `moves` | moving instances one after the other, within the limits, until all are moved |
//! | `limits` | how many are moved at once, and how many others stay ready |
//! | `update` | moving a service to another revision, and back |

use std::sync::Arc;

use super::Scheduler;
use crate::{
    Actor, Answer, Deployment, DeploymentId, DeploymentKind, DeploymentStatus, Key, Notice, Record,
    Refusal, WorkloadName, Write,
};

mod limits;
mod moves;
mod update;

pub(super) use moves::Moves;

/// Deployments that have ended and are still remembered.
const ENDED_KEPT: usize = 50;

impl Scheduler {
    pub(super) fn start_rolling_restart(
        &mut self,
        actor: Actor,
        workload: Option<WorkloadName>,
    ) -> Result<Answer, Refusal> {
        if let Some(name) = &workload {
            self.service_named(name)?;
        }
        self.nothing_moves(workload.as_ref(), None)?;
        for index in self.service_indices() {
            let of = self.service(index).map(|service| &service.state.name);
            if workload.is_none() || of == workload.as_ref() {
                self.end_back_off(index, false);
            }
        }
        let action = workload.as_ref().map_or_else(
            || "rolling restart".to_owned(),
            |name| format!("rolling restart of {name}"),
        );
        // What is launched in this very step is new enough: the moment itself is not included.
        let id = self.begin_deployment(DeploymentKind::RollingRestart {
            workload,
            launched_before: self.now,
        });
        self.audit(actor, action, None, Some(format!("deployment {id}")));
        Ok(Answer::Deployment(id))
    }

    /// No other deployment that is not over moves tasks of this workload, or of any.
    fn nothing_moves(
        &self,
        workload: Option<&WorkloadName>,
        but: Option<DeploymentId>,
    ) -> Result<(), Refusal> {
        let overlapping = self.deployments.values().find(|deployment| {
            let other = deployment.kind.workload();
            !deployment.status.is_over()
                && Some(deployment.id) != but
                && (other.is_none() || workload.is_none() || other == workload)
        });
        match overlapping {
            Some(overlapping) => Err(Refusal::DeploymentRunning(overlapping.id)),
            None => Ok(()),
        }
    }

    /// Begins a deployment; it moves in this very step.
    fn begin_deployment(&mut self, kind: DeploymentKind) -> DeploymentId {
        let id = DeploymentId(self.next_deployment);
        self.next_deployment += 1;
        let mut deployment = Deployment {
            id,
            kind,
            status: DeploymentStatus::Running,
            started_at: self.now,
            total: 0,
            done: 0,
            resumed: None,
        };
        deployment.total = self.still_to_move(&deployment);
        self.write_deployment(deployment);
        self.forget_old_deployments();
        id
    }

    pub(super) fn pause_deployment(
        &mut self,
        actor: Actor,
        id: DeploymentId,
    ) -> Result<Answer, Refusal> {
        let at = self.now;
        let reason = actor.reason.clone();
        let status = DeploymentStatus::Paused { at, reason };
        let deployment = self.change_deployment(actor, id, "paused", |now| {
            matches!(now, DeploymentStatus::Running).then_some(status)
        })?;
        self.hold(&deployment);
        Ok(Answer::Deployment(id))
    }

    pub(super) fn resume_deployment(
        &mut self,
        actor: Actor,
        id: DeploymentId,
    ) -> Result<Answer, Refusal> {
        let deployment = self.change_deployment(actor, id, "resumed", |now| {
            matches!(now, DeploymentStatus::Paused { .. }).then_some(DeploymentStatus::Running)
        })?;
        self.go_on_with_update(&deployment);
        Ok(Answer::Deployment(id))
    }

    pub(super) fn abort_deployment(
        &mut self,
        actor: Actor,
        id: DeploymentId,
    ) -> Result<Answer, Refusal> {
        let at = self.now;
        let reason = actor.reason.clone();
        let status = DeploymentStatus::Aborted { at, reason };
        let mut running = false;
        let deployment = self.change_deployment(actor, id, "aborted", |now| {
            running = matches!(now, DeploymentStatus::Running);
            (!now.is_over()).then_some(status)
        })?;
        // What was held or moved back stays with what it was before.
        if running {
            self.go_on_with_update(&deployment);
        }
        self.call_off(&deployment);
        Ok(Answer::Deployment(id))
    }

    fn change_deployment(
        &mut self,
        actor: Actor,
        id: DeploymentId,
        wanted: &'static str,
        change: impl FnOnce(&DeploymentStatus) -> Option<DeploymentStatus>,
    ) -> Result<Deployment, Refusal> {
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
        deployment.resumed = None;
        self.write_deployment(deployment.clone());
        self.audit(
            actor,
            format!("deployment {id} {wanted}"),
            Some(before.to_owned()),
            None,
        );
        Ok(deployment)
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
    /// All words for it.
    pub const NAMES: [&'static str; 7] = [
        "running",
        "paused",
        "rolling_back",
        "rolled_back",
        "done",
        "failed",
        "aborted",
    ];

    /// As a word.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused { .. } => "paused",
            Self::RollingBack { .. } => "rolling_back",
            Self::RolledBack { .. } => "rolled_back",
            Self::Done { .. } => "done",
            Self::Failed { .. } => "failed",
            Self::Aborted { .. } => "aborted",
        }
    }
}
