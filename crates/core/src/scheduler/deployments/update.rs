//! Updates: a service is moved to another revision, and back when that fails.

use std::sync::Arc;

use super::{
    super::{Scheduler, ServiceIndex},
    moves::Rule,
};
use crate::{
    Actor, Answer, Deployment, DeploymentId, DeploymentKind, DeploymentStatus, Goal, OnFailure,
    Refusal, Task, WorkloadName,
};

impl Scheduler {
    /// Begins to move the tasks of a service from one revision to another. What was at work on it
    /// ends: it would move them elsewhere.
    pub(in super::super) fn start_update(&mut self, name: WorkloadName, from: u32, to: u32) {
        let next = DeploymentId(self.next_deployment);
        self.supersede(&name, &format!("deployment {next} took its place"));
        self.begin_deployment(DeploymentKind::Update {
            workload: name,
            from,
            to,
        });
    }

    /// Ends what is at work on this workload alone.
    pub(in super::super) fn supersede(&mut self, name: &WorkloadName, reason: &str) {
        let superseded: Vec<_> = self
            .deployments
            .values()
            .filter(|deployment| !deployment.status.is_over())
            .filter(|deployment| deployment.kind.workload() == Some(name))
            .cloned()
            .collect();
        for deployment in superseded {
            let mut deployment = Deployment::clone(&deployment);
            deployment.status = DeploymentStatus::Aborted {
                at: self.now,
                reason: Some(reason.to_owned()),
            };
            self.moves.remove(&deployment.id);
            self.write_deployment(deployment);
        }
    }

    /// A deployment at work cannot go on.
    pub(super) fn deployment_failed(&mut self, mut deployment: Deployment, reason: String) {
        let at = self.now;
        deployment.resumed = None;
        let place = match (&deployment.kind, &deployment.status) {
            (DeploymentKind::Update { workload, .. }, DeploymentStatus::Running) => {
                self.service_named(workload).ok()
            }
            _ => None,
        };
        let Some(index) = place else {
            deployment.status = DeploymentStatus::Failed { at, reason };
            self.write_deployment(deployment.clone());
            return self.call_off(&deployment);
        };
        let on_failure = self
            .service(index)
            .map(|service| service.state.update.on_failure);
        let way_back = self.way_back_by_itself(&deployment);
        match (on_failure, way_back) {
            (Some(OnFailure::Rollback), Ok((index, from))) => {
                self.roll_back(deployment, index, from, Some(reason));
            }
            (on_failure, way_back) => {
                let reason = match way_back {
                    Err(why) if on_failure == Some(OnFailure::Rollback) => {
                        format!("{reason}; it cannot be rolled back: {why}")
                    }
                    _ => reason,
                };
                deployment.status = DeploymentStatus::Paused {
                    at,
                    reason: Some(reason),
                };
                self.write_deployment(deployment.clone());
                self.hold(&deployment);
            }
        }
    }

    pub(in super::super) fn rollback_deployment(
        &mut self,
        actor: Actor,
        id: DeploymentId,
    ) -> Result<Answer, Refusal> {
        let deployment = self
            .deployments
            .get(&id)
            .map(|deployment| Deployment::clone(deployment))
            .ok_or(Refusal::UnknownDeployment(id))?;
        let before = deployment.status.name();
        if matches!(
            deployment.status,
            DeploymentStatus::RollingBack { .. } | DeploymentStatus::RolledBack { .. }
        ) {
            return Err(Refusal::DeploymentState {
                id,
                status: before,
                wanted: "rolled back",
            });
        }
        let (index, from) = self
            .way_back(&deployment)
            .map_err(|reason| Refusal::NoWayBack { id, reason })?;
        self.nothing_moves(deployment.kind.workload(), Some(id))?;
        self.roll_back(deployment, index, from, actor.reason.clone());
        self.audit(
            actor,
            format!("deployment {id} rolled back"),
            Some(before.to_owned()),
            Some(format!("revision {from}")),
        );
        Ok(Answer::Deployment(id))
    }

    fn roll_back(
        &mut self,
        mut deployment: Deployment,
        index: ServiceIndex,
        from: u32,
        reason: Option<String>,
    ) {
        self.moves.remove(&deployment.id);
        self.launch_as(index, from);
        self.cancel_moves(index, |_| true);
        deployment.resumed = None;
        deployment.status = DeploymentStatus::RollingBack {
            at: self.now,
            reason,
        };
        deployment.done = 0;
        deployment.total = self.still_to_move(&deployment);
        self.write_deployment(deployment);
    }

    /// The service of an update and the revision that a rollback returns to.
    ///
    /// # Errors
    /// Why there is no way back, as a clause.
    fn way_back(&self, deployment: &Deployment) -> Result<(ServiceIndex, u32), String> {
        let DeploymentKind::Update { workload, from, to } = &deployment.kind else {
            return Err("a restart has nothing to go back to".to_owned());
        };
        let index = self
            .service_named(workload)
            .map_err(|refusal| refusal.to_string())?;
        if self.update_of(workload) != Some(deployment.id) {
            return Err("a later update took its place".to_owned());
        }
        let state = &self.service(index).ok_or("its workload is gone")?.state;
        if state.removed {
            return Err("its workload is no longer declared".to_owned());
        }
        if state.declared_revision != *to {
            return Err("something else is declared meanwhile".to_owned());
        }
        let template = state
            .revisions
            .get(from)
            .ok_or_else(|| format!("revision {from} is no longer known"))?;
        match template.missing_secret() {
            None => Ok((index, *from)),
            Some(name) => Err(format!(
                "revision {from} used another value of the secret {name}, and secrets are not stored"
            )),
        }
    }

    /// The way back that is taken without an operator's asking: not to what was itself never moved to
    /// in full, and may not work at all.
    fn way_back_by_itself(&self, deployment: &Deployment) -> Result<(ServiceIndex, u32), String> {
        let (index, from) = self.way_back(deployment)?;
        let before = self
            .deployments
            .values()
            .rev()
            .filter(|other| other.id < deployment.id)
            .find(|other| {
                matches!(&other.kind, DeploymentKind::Update { .. })
                    && other.kind.workload() == deployment.kind.workload()
            });
        match before {
            Some(before)
                if matches!(before.status, DeploymentStatus::Aborted { .. })
                    && matches!(before.kind, DeploymentKind::Update { to, .. } if to == from) =>
            {
                Err(format!(
                    "the update to revision {from} was never done, and it may not work"
                ))
            }
            _ => Ok((index, from)),
        }
    }

    /// What is paused moves nothing. What has to be started meanwhile is started as before, where an
    /// update has a way back.
    pub(super) fn hold(&mut self, deployment: &Deployment) {
        if let Ok((index, from)) = self.way_back_by_itself(deployment) {
            self.launch_as(index, from);
        }
        self.call_off(deployment);
    }

    /// Takes back what a deployment has begun that moves nothing any more.
    pub(super) fn call_off(&mut self, deployment: &Deployment) {
        self.moves.remove(&deployment.id);
        let restarts = matches!(deployment.kind, DeploymentKind::RollingRestart { .. });
        let workload = deployment.kind.workload();
        let moved: Vec<_> = self
            .services()
            .filter(|(_, service)| workload.is_none_or(|name| service.state.name == *name))
            // There it left the moves to the update.
            .filter(|(_, service)| !(restarts && self.is_being_updated(service)))
            .map(|(index, _)| index)
            .collect();
        for index in moved {
            self.cancel_moves(index, |_| true);
        }
    }

    /// After a start: takes back what was begun by deployments that move nothing any more, or not that,
    /// should they have ended, or have been paused, and only that was stored.
    pub(in super::super) fn call_off_what_nobody_moves(&mut self) {
        // One that cannot be read may be at work.
        if self.unread.may_hide_deployments() {
            return;
        }
        let replacing: Vec<_> = self
            .services()
            .filter(|(_, service)| service.state.counts.replacing > 0)
            .map(|(index, service)| {
                let name = &service.state.name;
                let is_updated = self.is_being_updated(service);
                let at_work = self.deployments.values().filter(|deployment| {
                    let workload = deployment.kind.workload();
                    let restarts = matches!(deployment.kind, DeploymentKind::RollingRestart { .. });
                    deployment.status.is_at_work()
                        && workload.is_none_or(|of| of == name)
                        // Restarts leave the moves to an update.
                        && !(restarts && is_updated)
                });
                let rules: Vec<_> = at_work.map(|deployment| Rule::of(deployment)).collect();
                (index, rules)
            })
            .collect();
        for (index, rules) in replacing {
            self.cancel_moves(index, |task| !rules.iter().any(|rule| rule.is_old(task)));
        }
    }

    /// After a start: what is launched follows from where its update is, whatever of both was
    /// stored last.
    pub(in super::super) fn follow_update(&mut self, name: &WorkloadName) {
        let Some(update) = self
            .update_of(name)
            .and_then(|id| self.deployments.get(&id))
            .cloned()
        else {
            return;
        };
        match update.status {
            DeploymentStatus::Running => self.go_on_with_update(&update),
            DeploymentStatus::RollingBack { .. } => match self.way_back(&update) {
                Ok((index, from)) => self.launch_as(index, from),
                Err(why) => self.deployment_failed(Deployment::clone(&update), why),
            },
            DeploymentStatus::Paused { .. } => {
                if let Ok((index, from)) = self.way_back_by_itself(&update) {
                    self.launch_as(index, from);
                }
            }
            _ => {}
        }
    }

    pub(super) fn go_on_with_update(&mut self, deployment: &Deployment) {
        if let DeploymentKind::Update { workload, to, .. } = &deployment.kind
            && let Ok(index) = self.service_named(workload)
        {
            self.launch_as(index, *to);
        }
    }

    /// Takes back what has been begun: of two tasks the one stays that is ready, and has proven it.
    fn cancel_moves(&mut self, index: ServiceIndex, which: impl Fn(&Task) -> bool) {
        let begun: Vec<_> = self
            .service(index)
            .into_iter()
            .flat_map(|service| service.state.tasks())
            // What an operator asked for is not the deployment's to take back.
            .filter(|(_, task)| matches!(task.goal, Goal::Replace { by_hand: false, .. }))
            .filter(|(_, task)| which(task))
            .map(|(number, task)| (number, task.uuid))
            .collect();
        for (number, uuid) in begun {
            self.edit_task(index, number, uuid, |task| task.goal = Goal::Run);
            self.write_task(index, number, uuid);
            self.settle(index, number);
        }
    }

    /// From now on tasks of a service are launched as this revision.
    fn launch_as(&mut self, index: ServiceIndex, revision: u32) {
        let Some(service) = self.service_mut(index) else {
            return;
        };
        if service.state.revision == revision || !service.state.revisions.contains_key(&revision) {
            return;
        }
        Arc::make_mut(&mut service.state).revision = revision;
        service.count_spread_anew();
        self.void_admissions(index);
        self.offers.changed = true;
        self.offers.work_changed = true;
        self.write_service(index);
        self.end_back_off(index, true);
    }
}
