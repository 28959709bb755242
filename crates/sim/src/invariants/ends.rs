//! What a deployment says when it ends, held against the tasks.

use gantry_core::{
    Deployment, DeploymentKind, DeploymentStatus, Effects, Goal, Instance, Record, StopReason,
    Task, TaskState, Timestamp, View, Workload, Write,
};

use super::moves::{is_old, is_ready};
use crate::{types::Behaviour, world::World};

impl World {
    /// A deployment is done when nothing is left that it was to move, and what is new has shown
    /// that it works.
    pub(super) fn check_ends(&self, view: &View, effects: &Effects) -> Result<(), String> {
        for write in &effects.writes {
            if let Write::Put(Record::Deployment(deployment)) = write
                && matches!(
                    deployment.status,
                    DeploymentStatus::Done { .. } | DeploymentStatus::RolledBack { .. }
                )
            {
                self.check_end(view, deployment)?;
            }
        }
        Ok(())
    }

    fn check_end(&self, view: &View, deployment: &Deployment) -> Result<(), String> {
        let whose = deployment.kind.workload();
        let restarts = matches!(deployment.kind, DeploymentKind::RollingRestart { .. });
        for workload in &view.workloads {
            if whose.is_some_and(|whose| *whose != workload.name)
            // A restart leaves to an update what the update moves anyway.
            || (restarts && is_being_updated(view, workload))
            {
                continue;
            }
            for instance in workload.instances.iter().filter(|instance| instance.wanted) {
                if let Some(task) = left_behind(deployment, instance) {
                    return Err(format!(
                        "deployment {} is {} and has left {task:?} of {}-{}",
                        deployment.id,
                        deployment.status.name(),
                        workload.name,
                        instance.number
                    ));
                }
                // One that was wanted again meanwhile is not the deployment's.
                let now = self.now;
                let memory = &self.memory;
                if !memory.was_retired(&workload.name, instance.number, now)
                    && !memory.is_clouded(&workload.name)
                {
                    check_new(deployment, workload, instance, view.at)?;
                }
            }
        }
        Ok(())
    }
}

fn is_being_updated(view: &View, workload: &Workload) -> bool {
    view.deployments.iter().any(|deployment| {
        matches!(&deployment.kind, DeploymentKind::Update { workload: name, .. } if *name == workload.name)
            && !deployment.status.is_over()
    })
}

/// A task that was to be moved and is there. Nobody waits for one that cannot be reached, and one
/// that goes for another reason is replaced without the deployment.
fn left_behind<'a>(deployment: &Deployment, instance: &'a Instance) -> Option<&'a Task> {
    instance.tasks.iter().find(|task| {
        let goes_otherwise =
            matches!(task.goal, Goal::Stop { reason, .. } if reason != StopReason::Restarted);
        is_old(deployment, task) && task.state != TaskState::Unreachable && !goes_otherwise
    })
}

/// What is never ready is never done with.
fn check_new(
    deployment: &Deployment,
    workload: &Workload,
    instance: &Instance,
    at: Timestamp,
) -> Result<(), String> {
    let DeploymentKind::Update { from, to, .. } = &deployment.kind else {
        return Ok(());
    };
    let moved_to = match deployment.status {
        DeploymentStatus::Done { .. } => to,
        _ => from,
    };
    let behaviour = workload
        .revisions
        .get(moved_to)
        .map(|template| Behaviour::of(template));
    // One that was launched in this very step takes the place of one that has just ended.
    let there = |task: &&Task| {
        !task.goal.is_stop() && task.state != TaskState::Unreachable && task.launched_at < at
    };
    let Some(task) = instance.tasks.iter().find(there) else {
        return Ok(());
    };
    // It may have shown that it works, and failed again or be out of reach.
    let mut staying = instance.tasks.iter().filter(|task| !task.goal.is_stop());
    let ran = |revision: u32, running: bool| revision == *moved_to && running;
    let has_worked = is_ready(workload, task)
        || staying.any(|task| ran(task.revision, task.running_at.is_some()))
        || instance
            .history
            .iter()
            .any(|ended| ran(ended.revision, ended.running_at.is_some()));
    if behaviour.is_some_and(Behaviour::is_never_ready) || !has_worked {
        return Err(format!(
            "deployment {} is {} with {task:?} of {}-{}",
            deployment.id,
            deployment.status.name(),
            workload.name,
            instance.number
        ));
    }
    Ok(())
}
