//! The invariants of the scheduler's books. A violation is a fault of the scheduler, whatever its
//! inputs were.

use std::collections::{BTreeSet, HashMap};

use super::Scheduler;
use crate::{
    AgentId, Counts, DeploymentKind, DeploymentStatus, Goal, TaskState, Waiting, Workload,
};

impl Scheduler {
    /// Proves every invariant; for tests and simulation, as it looks at everything.
    ///
    /// # Errors
    /// What is violated, in words.
    pub fn check(&self) -> Result<(), String> {
        self.check_cheap()?;
        let mut starting: HashMap<AgentId, u32> = HashMap::new();
        for (index, service) in self.services() {
            let state = &service.state;
            let name = &state.name;
            let mut counts = Counts::default();
            let mut wanted = 0;
            let mut waiting = BTreeSet::new();
            let mut on_agent: HashMap<AgentId, u32> = HashMap::new();
            for instance in state.instances.iter() {
                let place = format!("{name}-{}", instance.number);
                wanted += u32::from(instance.wanted);
                match &instance.waiting {
                    Some(Waiting::Admission { .. }) => counts.admitting += 1,
                    Some(Waiting::Offer { .. }) => {
                        counts.waiting += 1;
                        waiting.insert(instance.number);
                    }
                    Some(Waiting::BackOff { .. }) => counts.backing_off += 1,
                    Some(Waiting::Reconciliation { .. }) => counts.reconciling += 1,
                    Some(Waiting::Brake { .. }) => {
                        counts.braked += 1;
                        counts.ended_unhealthy += u32::from(instance.ended_unhealthy());
                    }
                    None => {}
                }
                counts.ready += u32::from(service.is_filled(instance));
                self.admission
                    .check(index, instance.number, instance.waiting.as_ref(), self.now)
                    .map_err(|what| format!("{place} {what}"))?;
                ensure(
                    self.brake.is_some()
                        || !matches!(instance.waiting, Some(Waiting::Brake { .. })),
                    || format!("{place} waits for a brake that is not on"),
                )?;
                ensure(
                    self.awaits_strangers()
                        || !matches!(instance.waiting, Some(Waiting::Reconciliation { .. })),
                    || format!("{place} waits for an answer of Mesos that has come"),
                )?;
                ensure(instance.wanted || instance.waiting.is_none(), || {
                    format!("{place} waits though it is not wanted")
                })?;
                ensure(instance.wanted || !instance.tasks.is_empty(), || {
                    format!("{place} is kept though it is neither wanted nor filled")
                })?;
                ensure(
                    !instance.wanted || instance.waiting.is_some() || !instance.tasks.is_empty(),
                    || format!("{place} is wanted but neither filled nor waiting"),
                )?;
                let certain = instance
                    .tasks
                    .iter()
                    .filter(|task| task.goal == Goal::Run && self.is_certain(task))
                    .count();
                ensure(certain <= 1 || self.brake.is_some(), || {
                    format!("{place} keeps {certain} tasks alive")
                })?;
                for task in &instance.tasks {
                    ensure(!task.state.is_terminal(), || {
                        format!("{place} holds an ended task")
                    })?;
                    let lost = service.lost_revisions.contains(&task.revision);
                    ensure(lost || state.revisions.contains_key(&task.revision), || {
                        format!(
                            "{place} runs revision {}, which is forgotten",
                            task.revision
                        )
                    })?;
                    ensure(instance.wanted || task.goal.is_stop(), || {
                        format!("{place} is not wanted but its task is not being stopped")
                    })?;
                    *on_agent.entry(task.agent.id.clone()).or_default() += 1;
                    if task.state.is_starting() {
                        counts.starting += 1;
                        *starting.entry(task.agent.id.clone()).or_default() += 1;
                    }
                    match task.state {
                        TaskState::Running => {
                            counts.running += 1;
                            counts.healthy += u32::from(task.healthy == Some(true));
                            counts.unhealthy += u32::from(task.healthy == Some(false));
                        }
                        TaskState::Killing => counts.killing += 1,
                        state if state.is_starting() => {}
                        _ => counts.unreachable += 1,
                    }
                    counts.replacing += u32::from(matches!(task.goal, Goal::Replace { .. }));
                    counts.unconfirmed += u32::from(task.heard_in != self.connection.subscription);
                }
            }
            ensure(counts == state.counts, || {
                format!("{name} is counted as {:?} but is {counts:?}", state.counts)
            })?;
            ensure(wanted == service.wanted && wanted == state.desired, || {
                format!(
                    "{name} wants {wanted}, books {}, desires {}",
                    service.wanted, state.desired
                )
            })?;
            ensure(waiting == service.waiting, || {
                format!("{name} has a wrong waiting list")
            })?;
            ensure(
                self.waiting_services.contains(&(state.priority, index)) != waiting.is_empty(),
                || format!("{name} is wrongly listed as waiting"),
            )?;
            service
                .check_spread()
                .map_err(|what| format!("{name} {what}"))?;
            ensure(on_agent == service.on_agent, || {
                format!("{name} is wrongly counted by agent")
            })?;
        }
        self.admission.check_books()?;
        ensure(starting == self.starting, || {
            "starting tasks are wrongly counted by agent".to_owned()
        })
    }

    /// Debug builds do this after the start and each step: everything is proven as long as there
    /// are some thousands of instances; with more, as often as that costs the same.
    pub(super) fn check_in_turn(&mut self) -> Result<(), String> {
        /// Instances that are looked at in a step, on average.
        const INSTANCES: usize = 4096;
        let all = self
            .services()
            .map(|(_, service)| service.state.instances.len());
        let all: usize = all.sum();
        self.check_credit += INSTANCES;
        if self.check_credit < all {
            return self.check_cheap();
        }
        self.check_credit = 0;
        self.check()
    }

    /// What can be proven without looking at every instance.
    pub(super) fn check_cheap(&self) -> Result<(), String> {
        for (_, service) in self.services() {
            ensure(service.wanted == service.state.desired, || {
                format!(
                    "{} wants {} instances but {} are desired",
                    service.state.name, service.wanted, service.state.desired
                )
            })?;
            ensure(
                service.waiting.len() == service.state.counts.waiting as usize,
                || format!("{} has a wrong waiting list", service.state.name),
            )?;
        }
        for (_, service) in self.services() {
            self.check_revision(&service.state)?;
        }
        for deployment in self.deployments.values() {
            let DeploymentKind::Update { workload, from, to } = &deployment.kind else {
                continue;
            };
            let launched_as = match deployment.status {
                DeploymentStatus::Running => to,
                DeploymentStatus::RollingBack { .. } => from,
                _ => continue,
            };
            let revision = self
                .service_named(workload)
                .ok()
                .and_then(|index| self.service(index))
                .map(|service| service.state.revision);
            ensure(revision == Some(*launched_as), || {
                format!(
                    "deployment {} is {} but {workload} is launched as {revision:?}",
                    deployment.id,
                    deployment.status.name()
                )
            })?;
        }
        ensure(
            self.connection.subscribed || self.offers.held.is_empty(),
            || "offers are held without a subscription".to_owned(),
        )?;
        let deaf = self.connection.subscribed && self.offers.suppressed && !self.offers.revive_due;
        ensure(!deaf || self.waiting_services.is_empty(), || {
            "offers are suppressed though something waits, and no REVIVE is due".to_owned()
        })?;
        ensure(self.brake.is_none() || self.moves.is_empty(), || {
            "a deployment moves instances though the brake is on".to_owned()
        })?;
        self.check_deployments()
    }

    /// Tasks are launched as what is declared, unless an update to that is held or was taken back.
    fn check_revision(&self, state: &Workload) -> Result<(), String> {
        if state.revision == state.declared_revision {
            return Ok(());
        }
        let update = self.update_of(&state.name);
        let Some(update) = update.and_then(|id| self.deployments.get(&id)) else {
            return Ok(()); // It is no longer remembered.
        };
        if self.unread.may_hide_deployments_after(update.id) {
            return Ok(()); // It may not be the last.
        }
        let DeploymentKind::Update { to, .. } = update.kind else {
            return Ok(());
        };
        let done = matches!(update.status, DeploymentStatus::Done { .. });
        ensure(
            to != state.revision && !(done && to == state.declared_revision),
            || {
                format!(
                    "{} is launched as {} and not as {}, which is declared: {update:?}",
                    state.name, state.revision, state.declared_revision
                )
            },
        )
    }

    /// No two updates of a workload are open, and only what is at work moves instances.
    fn check_deployments(&self) -> Result<(), String> {
        let mut updated = BTreeSet::new();
        for deployment in self.deployments.values() {
            let id = deployment.id;
            ensure(
                deployment.status.is_at_work() || !self.moves.contains_key(&id),
                || format!("deployment {id} moves instances though it is not at work"),
            )?;
            if let DeploymentKind::Update { workload, .. } = &deployment.kind
                && !deployment.status.is_over()
            {
                ensure(updated.insert(workload), || {
                    format!("{workload} is being updated twice at once")
                })?;
            }
        }
        Ok(())
    }
}

fn ensure(holds: bool, violation: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(violation()) }
}
