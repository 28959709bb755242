//! How many instances there should be, and what each of them needs next.

use std::sync::Arc;

use super::{Scheduler, ServiceIndex, Timer, services::Service};
use crate::{
    DeploymentKind, EndedTask, Goal, Instance, InstanceRecord, Key, Notice, Record, StopReason,
    Task, TaskState, Timestamp, Uuid, Waiting, Write, task::UNHEARD,
};

/// What an instance should do next, as seen from its tasks alone.
#[derive(Debug, PartialEq)]
enum Need {
    /// Nothing: it is filled, or waits for a task to end.
    Nothing,
    /// A task, or a second one.
    Launch,
    /// One task less.
    Stop(Uuid, StopReason),
    /// Its old task has waited too long for a replacement: it stays, and the others go.
    KeepOld(Uuid),
    /// Nothing before this time.
    Later(Timestamp),
}

/// How an instance without a task goes on.
enum Next {
    /// By what comes from outside.
    Wait,
    /// By being looked at again at this time.
    LookAgain(Timestamp),
    /// By being asked about.
    Ask,
}

impl Scheduler {
    /// Makes the number of wanted instances what is desired: takes the lowest free numbers, or
    /// lets go of some; see [`crate::Workload::first_to_go`].
    pub(super) fn adjust_count(&mut self, index: ServiceIndex) {
        let Some(service) = self.service(index) else {
            return;
        };
        let (wanted, desired) = (service.wanted, service.state.desired);
        for _ in wanted..desired {
            self.add_instance(index);
        }
        if wanted > desired {
            let surplus = (wanted - desired) as usize;
            let service = self.service(index);
            let going = service.map(|service| service.state.first_to_go(surplus));
            for number in going.unwrap_or_default() {
                self.retire_instance(index, number);
            }
        }
        self.forget_if_gone(index);
    }

    fn add_instance(&mut self, index: ServiceIndex) {
        let Some(service) = self.service_mut(index) else {
            return;
        };
        let mut number = service.lowest_free;
        while service
            .state
            .instances
            .get(number)
            .is_some_and(|instance| instance.wanted)
        {
            number += 1;
        }
        service.lowest_free = number + 1;
        service.wanted += 1;
        if service.state.instances.get(number).is_none() {
            service.state_mut().instances.insert(Instance::new(number));
            self.take_in_successor(index, number);
        } else {
            self.edit(index, number, |instance| instance.wanted = true);
            // A task of it that a restart has begun to replace counts again toward its limit:
            // deployments look anew what there is.
            self.moves.clear();
        }
        self.settle(index, number);
    }

    fn retire_instance(&mut self, index: ServiceIndex, number: u32) {
        let Some(service) = self.service_mut(index) else {
            return;
        };
        service.wanted = service.wanted.saturating_sub(1);
        service.lowest_free = service.lowest_free.min(number);
        self.edit(index, number, |instance| instance.wanted = false);
        self.settle(index, number);
    }

    /// Looks at an instance and does what it needs: the one place where launching and stopping
    /// of single instances is decided.
    pub(super) fn settle(&mut self, index: ServiceIndex, number: u32) {
        self.count_given_up(index, number);
        // Every round stops one task or changes a goal, of which an instance has a handful.
        for _ in 0..8 {
            let Some(instance) = self
                .service(index)
                .and_then(|service| service.state.instances.get(number))
            else {
                return;
            };
            if !instance.wanted {
                let running: Vec<_> = instance
                    .tasks
                    .iter()
                    .filter(|task| !task.goal.is_stop())
                    .map(|task| task.uuid)
                    .collect();
                self.edit(index, number, |instance| instance.waiting = None);
                for uuid in running {
                    self.stop_task(index, number, uuid, StopReason::Retired);
                }
                self.remove_if_empty(index, number);
                return;
            }
            if let Some(at) = self.put_off(index, instance) {
                self.timers.set(
                    at,
                    Timer::Instance {
                        service: index,
                        number,
                    },
                );
            }
            let Some(instance) = self
                .service(index)
                .and_then(|service| service.state.instances.get(number))
            else {
                return;
            };
            match self.need(index, instance) {
                Need::Nothing => {
                    self.edit(index, number, |instance| instance.waiting = None);
                    return;
                }
                Need::Launch => return self.wait_for_offer(index, number),
                Need::Stop(uuid, reason) => self.stop_task(index, number, uuid, reason),
                Need::KeepOld(uuid) => self.keep_old(index, number, uuid),
                Need::Later(at) => {
                    self.edit(index, number, |instance| instance.waiting = None);
                    self.timers.set(
                        at,
                        Timer::Instance {
                            service: index,
                            number,
                        },
                    );
                    return;
                }
            }
        }
    }

    fn need(&self, index: ServiceIndex, instance: &Instance) -> Need {
        let Some(service) = self.service(index) else {
            return Need::Nothing;
        };
        let staying: smallvec::SmallVec<[&Task; 2]> = instance
            .tasks
            .iter()
            .filter(|task| !task.goal.is_stop() && !self.given_up(task))
            .collect();
        let replaced = staying.iter().find_map(|task| match task.goal {
            Goal::Replace {
                deadline, by_hand, ..
            } => Some((*task, self.due(service, deadline), by_hand)),
            _ => None,
        });
        match (staying.as_slice(), replaced) {
            // A task that is being stopped still fills the instance until it has ended.
            ([], _) if instance.tasks.iter().any(|task| !self.given_up(task)) => Need::Nothing,
            ([], _) => Need::Launch,
            (_, replaced)
                if self.brake.is_some() && !replaced.is_some_and(|(.., by_hand)| by_hand) =>
            {
                Need::Nothing
            }
            (_, Some((replaced, deadline, _))) => {
                let old = replaced.uuid;
                let others = || staying.iter().copied().filter(|task| task.uuid != old);
                let heard = |task: &&Task| task.heard_in == self.connection.subscription;
                let ready_since = others()
                    .filter(|task| service.is_ready(task) && self.is_certain(task))
                    .filter_map(|task| counts_from(service, task, replaced))
                    .min();
                if ready_since.is_some_and(|since| self.now >= since) {
                    Need::Stop(old, StopReason::Restarted)
                } else if let Some(surplus) = self.surplus(service, others())
                    && self.brake.is_none()
                {
                    Need::Stop(surplus, StopReason::Surplus)
                } else if self.now >= deadline {
                    // One that nobody has spoken of may have become ready long ago.
                    if self.is_certain(replaced) && staying.iter().all(heard) {
                        Need::KeepOld(old)
                    } else {
                        Need::Nothing
                    }
                } else if let Some(at) = ready_since {
                    Need::Later(at.min(deadline))
                } else if others().next().is_some()
                    // Never a third: what an earlier replacement left must have ended first.
                    || instance.tasks.iter().any(|task| self.ending(task))
                {
                    Need::Nothing
                } else {
                    Need::Launch
                }
            }
            (several, None) => self
                .surplus(service, several.iter().copied())
                .map_or(Need::Nothing, |uuid| Need::Stop(uuid, StopReason::Surplus)),
        }
    }

    /// When a replacement whose deadline has passed has really to be ready.
    fn put_off(&self, index: ServiceIndex, instance: &Instance) -> Option<Timestamp> {
        let service = self.service(index)?;
        instance.tasks.iter().find_map(|task| match task.goal {
            Goal::Replace { deadline, .. } if self.now >= deadline => {
                Some(self.due(service, deadline)).filter(|due| self.now < *due)
            }
            _ => None,
        })
    }

    /// When a deadline has really passed: not before there was time to act since the subscription,
    /// or the release of the brake, for what became ready while nobody could has to be seen first.
    pub(super) fn due(&self, service: &Service, deadline: Timestamp) -> Timestamp {
        let able = self.connection.since.max(self.trouble.released_at());
        deadline.max(able + self.settings.reconcile_max + service.state.update.monitor)
    }

    /// The task to go when an instance has more than one: one copy by rule, a ready one before one
    /// that is not, one that has been for long enough before one that has yet to prove itself, one of
    /// the current revision before others, then the oldest. None goes before it is certain that
    /// another one stays.
    fn surplus<'a>(
        &self,
        service: &Service,
        tasks: impl Iterator<Item = &'a Task> + Clone,
    ) -> Option<Uuid> {
        let kept = tasks
            .clone()
            .filter(|task| self.is_certain(task))
            .min_by_key(|task| {
                (
                    !service.is_ready(task),
                    task.state != TaskState::Running,
                    !service.is_proven(task, self.now),
                    task.revision != service.state.revision,
                    task.launched_at,
                    task.uuid,
                )
            })?;
        tasks
            .filter(|task| task.uuid != kept.uuid)
            .find(|task| self.is_certain(task) || service.is_ready(kept))
            .map(|task| task.uuid)
    }

    /// Whether Mesos has said in this subscription that the task is there. What is stored of a
    /// task may have been overtaken while nobody listened.
    pub(super) fn is_certain(&self, task: &Task) -> bool {
        self.connection.subscribed
            && task.heard_in == self.connection.subscription
            && task.state != TaskState::Unreachable
    }

    /// Whether a task has been unreachable for so long that the instance is filled anew. The task
    /// itself is not touched: it may live. What is stored of it may have been overtaken, and is not
    /// enough.
    pub(super) fn given_up(&self, task: &Task) -> bool {
        task.state == TaskState::Unreachable
            && task.heard_in != UNHEARD
            && self.now >= task.changed_at + self.settings.unreachable_after
    }

    /// Whether a task is being stopped and has not been given up.
    fn ending(&self, task: &Task) -> bool {
        task.goal.is_stop() && !self.given_up(task)
    }

    fn keep_old(&mut self, index: ServiceIndex, number: u32, old: Uuid) {
        let others: Vec<_> = self
            .service(index)
            .and_then(|service| service.state.instances.get(number))
            .into_iter()
            .flat_map(|instance| &instance.tasks)
            .filter(|task| task.uuid != old && !task.goal.is_stop())
            .map(|task| task.uuid)
            .collect();
        // In this order, so that a commit cut short leaves no two tasks that are to stay.
        for uuid in others {
            self.stop_task(index, number, uuid, StopReason::ReplacementFailed);
        }
        self.edit_task(index, number, old, |task| task.goal = Goal::Run);
        self.write_task(index, number, old);
    }

    fn wait_for_offer(&mut self, index: ServiceIndex, number: u32) {
        let now = self.now;
        let braked_since = self.brake.as_ref().map(|brake| brake.since);
        let unsure = self.awaits_strangers();
        let admitted = self.admission.admits(index, number);
        let next = self.edit(index, number, |instance| {
            // What never ran, and what an operator has stopped, was asked for.
            if braked_since.is_some_and(|since| !instance.is_asked_for(since)) {
                let since = match instance.waiting {
                    Some(Waiting::Brake { since }) => since,
                    _ => now,
                };
                instance.waiting = Some(Waiting::Brake { since });
                return Next::Wait;
            }
            // Perhaps it has a task that nobody has told us of.
            if unsure && instance.inherited && instance.tasks.is_empty() {
                let since = match instance.waiting {
                    Some(Waiting::Reconciliation { since }) => since,
                    _ => now,
                };
                instance.waiting = Some(Waiting::Reconciliation { since });
                return Next::Wait;
            }
            if let Some(until) = instance.not_before.filter(|until| *until > now) {
                instance.waiting = Some(Waiting::BackOff { since: now, until });
                return Next::LookAgain(until);
            }
            match &instance.waiting {
                Some(Waiting::Offer { .. }) if admitted => Next::Wait,
                _ if admitted => {
                    instance.waiting = Some(Waiting::Offer { since: now });
                    Next::Wait
                }
                Some(Waiting::Admission {
                    refused: Some(veto),
                    ..
                }) if veto.until > now => Next::LookAgain(veto.until),
                Some(Waiting::Admission { .. }) => Next::Ask,
                _ => {
                    instance.waiting = Some(Waiting::Admission {
                        since: now,
                        refused: None,
                    });
                    Next::Ask
                }
            }
        });
        match next {
            None | Some(Next::Wait) => {}
            Some(Next::LookAgain(at)) => {
                let service = index;
                self.timers.set(at, Timer::Instance { service, number });
            }
            Some(Next::Ask) => {
                if let Some(service) = self.service(index) {
                    let priority = service.state.priority;
                    self.admission.enqueue(priority, index, number);
                }
            }
        }
    }

    /// The instances of a service wait no longer because of failures: an operator wants them tried
    /// again, or what has failed is launched no more, and its failures are `forgotten`.
    pub(super) fn end_back_off(&mut self, index: ServiceIndex, forgotten: bool) {
        let failed: Vec<_> = self
            .service(index)
            .into_iter()
            .flat_map(|service| service.state.instances.iter())
            .filter(|instance| instance.wanted)
            .filter(|instance| instance.not_before.is_some() || forgotten && instance.failures > 0)
            .map(|instance| instance.number)
            .collect();
        for number in failed {
            self.edit(index, number, |instance| {
                instance.not_before = None;
                if forgotten {
                    instance.failures = 0;
                }
            });
            self.write_instance(index, number);
            self.settle(index, number);
        }
    }

    pub(super) fn remove_if_empty(&mut self, index: ServiceIndex, number: u32) {
        let Some(service) = self.service_mut(index) else {
            return;
        };
        let gone = service
            .state
            .instances
            .get(number)
            .is_some_and(|instance| !instance.wanted && instance.tasks.is_empty());
        if gone {
            service.state_mut().instances.remove(number);
            let name = service.state.name.clone();
            self.out
                .writes
                .push(Write::Delete(Key::Instance(name, number)));
            self.forget_if_gone(index);
        }
    }

    /// Forgets a removed service once its last instance is gone.
    pub(super) fn forget_if_gone(&mut self, index: ServiceIndex) {
        let Some(service) = self.service(index) else {
            return;
        };
        if !service.state.removed || !service.state.instances.is_empty() {
            return;
        }
        let state = service.state.clone();
        for revision in state.revisions.keys() {
            self.out
                .writes
                .push(Write::Delete(Key::Revision(state.name.clone(), *revision)));
        }
        self.out
            .writes
            .push(Write::Delete(Key::Workload(state.name.clone())));
        self.waiting_services.remove(&(state.priority, index));
        self.services[index as usize] = None;
        if let Some(services) = self.by_task_name.get_mut(&state.task_name) {
            services.retain(|other| *other != index);
            if services.is_empty() {
                self.by_task_name.remove(&state.task_name);
            }
        }
        self.notice(Notice::WorkloadChanged {
            workload: state.name.clone(),
        });
    }

    pub(super) fn write_instance(&mut self, index: ServiceIndex, number: u32) {
        let Some(service) = self.service(index) else {
            return;
        };
        let Some(instance) = service.state.instances.get(number) else {
            return;
        };
        let record = InstanceRecord {
            workload: service.state.name.clone(),
            number,
            failures: instance.failures,
            not_before: instance.not_before,
            history: instance.history.to_vec(),
        };
        self.out.writes.push(Write::Put(Record::Instance(record)));
    }

    /// Forgets revisions that neither a task runs nor a launch would use, nor a rollback of the
    /// last update.
    pub(super) fn forget_unused_revisions(&mut self, index: ServiceIndex) {
        let update = self
            .service(index)
            .filter(|service| service.state.revisions.len() > 1)
            .and_then(|service| self.update_of(&service.state.name))
            .and_then(|id| self.deployments.get(&id));
        let way_back = match update.map(|deployment| &deployment.kind) {
            Some(DeploymentKind::Update { from, .. }) => Some(*from),
            _ => None,
        };
        let Some(service) = self.service_mut(index) else {
            return;
        };
        if service.state.revisions.len() < 2 {
            return;
        }
        let (current, declared) = (service.state.revision, service.state.declared_revision);
        let unused: Vec<_> = service
            .state
            .revisions
            .keys()
            .copied()
            .filter(|revision| {
                ![Some(current), Some(declared), way_back].contains(&Some(*revision))
                    && service
                        .of_revision
                        .get(revision)
                        .is_none_or(|tasks| *tasks == 0)
            })
            .collect();
        if unused.is_empty() {
            return;
        }
        let name = service.state.name.clone();
        for revision in &unused {
            service.state_mut().revisions.remove(revision);
            service.of_revision.remove(revision);
        }
        for revision in unused {
            self.out
                .writes
                .push(Write::Delete(Key::Revision(name.clone(), revision)));
        }
    }
}

/// When a ready task counts as a replacement of `old`: at once, or when it has proven itself where
/// it is of another revision.
fn counts_from(service: &Service, task: &Task, old: &Task) -> Option<Timestamp> {
    if old.revision == task.revision {
        return task.running_at;
    }
    service.proven_at(task)
}

impl Instance {
    /// A wanted instance that never had a task.
    pub(super) fn new(number: u32) -> Self {
        Self {
            number,
            wanted: true,
            inherited: false,
            waiting: None,
            tasks: smallvec::SmallVec::new(),
            failures: 0,
            not_before: None,
            history: empty_history(),
        }
    }

    /// Whether it waits for a task because of what an operator wants, with the brake on since then.
    fn is_asked_for(&self, braked_since: Timestamp) -> bool {
        // With the brake on no deployment begins anything.
        let asked = |reason: StopReason, at: Timestamp| {
            at >= braked_since
                && matches!(
                    reason,
                    StopReason::Killed | StopReason::Restarted | StopReason::Retired
                )
        };
        match (
            self.tasks.last().map(|task| task.goal),
            self.history.first(),
        ) {
            (Some(Goal::Replace { by_hand, .. }), _) => by_hand,
            (Some(Goal::Stop { reason, since }), _) => asked(reason, since),
            (Some(Goal::Run), _) => false,
            (None, None) => true,
            (None, Some(last)) => match (last.stopped, last.stopped_at) {
                (Some(StopReason::Killed), _) => true,
                (Some(reason), Some(at)) => asked(reason, at),
                _ => false,
            },
        }
    }

    /// Whether its last task ended because its health check failed.
    pub(super) fn ended_unhealthy(&self) -> bool {
        let last = self.history.first();
        self.tasks.is_empty() && last.is_some_and(|last| last.unhealthy && last.stopped.is_none())
    }

    pub(super) fn remember(&mut self, ended: EndedTask) {
        let kept = self.history.iter().take(crate::HISTORY_LENGTH - 1).cloned();
        self.history = std::iter::once(ended).chain(kept).collect();
    }

    /// The delay after one more failure, following `back_off`.
    pub(super) fn fail(&mut self, now: Timestamp, ran_stable: bool, back_off: &crate::BackOff) {
        self.failures = if ran_stable {
            1
        } else {
            self.failures.saturating_add(1)
        };
        self.not_before = Some(now + back_off.delay(self.failures));
    }
}

/// One empty history for all instances that have none.
pub(super) fn empty_history() -> Arc<[EndedTask]> {
    static EMPTY: std::sync::OnceLock<Arc<[EndedTask]>> = std::sync::OnceLock::new();
    EMPTY.get_or_init(|| Arc::new([])).clone()
}

impl crate::BackOff {
    /// The delay after so many failures in a row.
    pub fn delay(&self, failures: u32) -> std::time::Duration {
        let factor = f64::from(self.factor_thousandths.max(1000)) / 1000.0;
        // The exponent is cut where every sensible maximum has long been reached.
        let growth = factor.powi(failures.saturating_sub(1).min(1000) as i32);
        let millis = self.initial.as_millis() as f64 * growth;
        let max = self.max.as_millis() as f64;
        std::time::Duration::from_millis(millis.min(max) as u64)
    }
}
