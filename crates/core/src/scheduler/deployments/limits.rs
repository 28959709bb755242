//! The limits within which instances are moved: how many at once, and how many others stay ready.

use std::collections::BTreeMap;

use super::{
    super::{Scheduler, ServiceIndex, services::Service},
    moves::Rule,
};
use crate::{Deployment, DeploymentKind, Instance, Timestamp, UpdateOrder, UpdatePolicy};

/// Instances of a service that are ready but have not been for long enough to count. Found once in
/// each step: while moves begin there are only fewer of them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Unproven {
    pub(super) instances: u32,
    /// When the next of them counts.
    pub(super) next: Option<Timestamp>,
}

impl Scheduler {
    /// The limits of a deployment: a restart goes one by one, as it always did.
    pub(super) fn policy(&self, deployment: &Deployment, index: ServiceIndex) -> UpdatePolicy {
        let declared = self
            .service(index)
            .map(|service| service.state.update.clone())
            .unwrap_or_default();
        match deployment.kind {
            DeploymentKind::Update { .. } => declared,
            DeploymentKind::RollingRestart { .. } => UpdatePolicy {
                parallelism: 1,
                max_over: None,
                deadline: self.settings.replace_deadline,
                ..declared
            },
        }
    }

    pub(super) fn moves_at_once(&self, index: ServiceIndex, policy: &UpdatePolicy) -> usize {
        let (desired, stop_first) = self.service(index).map_or((0, true), |service| {
            (service.state.desired, service.moves_stop_first(policy))
        });
        policy.at_once(desired, stop_first) as usize
    }

    /// Whether so many instances stay ready that this one may be moved. One whose task has just started
    /// does not count: it may be about to fail, and perhaps not for the first time.
    pub(super) fn may_move(
        &self,
        index: ServiceIndex,
        number: u32,
        rule: Rule,
        policy: &UpdatePolicy,
        unproven: &mut BTreeMap<ServiceIndex, Unproven>,
    ) -> bool {
        let Some(service) = self.service(index) else {
            return false;
        };
        let state = &service.state;
        let Some(instance) = state.instances.get(number) else {
            return false;
        };
        if state.counts.unconfirmed > 0 {
            return false;
        }
        if !service.is_filled(instance) {
            return true;
        }
        let stop_first = service.moves_stop_first(policy);
        let stay_ready = policy.stay_ready(state.desired, stop_first);
        // The one that is stopped first is one less.
        let goes = stop_first && service.counts(instance, rule, self.now);
        let needed = stay_ready.saturating_add(u32::from(goes));
        if state.counts.ready < needed {
            return false;
        }
        let unproven = unproven
            .entry(index)
            .or_insert_with(|| service.unproven(rule, self.now));
        state.counts.ready.saturating_sub(unproven.instances) >= needed
    }
}

impl Service {
    /// Whether the old task of an instance goes before the new one is launched.
    pub(super) fn moves_stop_first(&self, policy: &UpdatePolicy) -> bool {
        policy.order == UpdateOrder::StopFirst || self.stops_first()
    }

    /// Whether an instance is one of those that are ready, seen by a deployment: its task has been for
    /// long enough. Restarts bring nothing new; for them it is enough that it does not fail again and
    /// again.
    pub(super) fn counts(&self, instance: &Instance, rule: Rule, now: Timestamp) -> bool {
        match rule {
            Rule::LaunchedBefore(_) if instance.failures == 0 => self.is_filled(instance),
            _ => {
                let mut tasks = instance.tasks.iter();
                tasks.any(|task| !task.goal.is_stop() && self.is_proven(task, now))
            }
        }
    }

    /// The instances that are ready but do not count yet.
    pub(super) fn unproven(&self, rule: Rule, now: Timestamp) -> Unproven {
        let mut unproven = Unproven::default();
        for instance in self.state.instances.iter() {
            if !self.is_filled(instance) || self.counts(instance, rule, now) {
                continue;
            }
            unproven.instances += 1;
            let ready = instance.tasks.iter().filter(|task| self.is_ready(task));
            let next = ready.filter_map(|task| self.proven_at(task)).min();
            unproven.next = unproven.next.into_iter().chain(next).min();
        }
        unproven
    }
}
