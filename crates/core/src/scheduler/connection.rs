//! The subscription, and making sure that what we believe about tasks is what Mesos knows.

use std::time::Duration;

use super::{Scheduler, Timer, strangers::Strangers};
use crate::{
    AgentId, Call, FrameworkId, FrameworkRecord, MesosEvent, Notice, Record, TaskId, Timestamp,
    Write,
};

/// Tasks per RECONCILE call: bounds the size of a call to about 200 kB.
const RECONCILE_CHUNK: usize = 1000;

/// The state of the subscription.
#[derive(Debug, Default)]
pub(super) struct Connection {
    pub(super) subscribed: bool,
    pub(super) since: Timestamp,
    /// How many subscriptions there were.
    pub(super) subscription: u32,
    /// Whether the framework has got its id since the start: what is recorded of tasks from before
    /// is of another framework to Mesos.
    pub(super) under_new_id: bool,
    /// When unheard tasks are asked about next; absent when all have been heard of.
    ask_at: Option<Timestamp>,
    /// How often they have been asked about since the subscription.
    asked: u32,
    /// When all tasks are asked about next.
    ask_all_at: Option<Timestamp>,
    /// When unknown tasks are stopped next, if that was asked for and there are any.
    kill_unknown_at: Option<Timestamp>,
    /// Whether tasks may run of which there is no record.
    pub(super) strangers: Strangers,
}

impl Connection {
    pub(super) fn new(since: Timestamp) -> Self {
        Self {
            since,
            ..Self::default()
        }
    }
}

impl Scheduler {
    pub(super) fn mesos_event(&mut self, event: MesosEvent) {
        match event {
            MesosEvent::Subscribed { framework_id } => self.subscribed(framework_id),
            MesosEvent::Disconnected => self.disconnected(),
            MesosEvent::Offers(offers) => self.receive_offers(offers),
            MesosEvent::Rescinded(offer) => self.rescind(&offer),
            MesosEvent::Status(update) => self.status(update),
            MesosEvent::AgentRemoved(agent) => self.forget_agent(&agent),
            MesosEvent::InverseOffers(offers) if offers.is_empty() => {}
            MesosEvent::InverseOffers(offers) => self.send(Call::DeclineInverse { offers }),
        }
    }

    fn subscribed(&mut self, framework_id: FrameworkId) {
        let known = self.framework.as_ref();
        let as_before = known.is_some_and(|record| record.id == framework_id);
        if !as_before {
            let record = FrameworkRecord {
                id: framework_id,
                registered_at: self.now,
            };
            self.out
                .writes
                .push(Write::Put(Record::Framework(record.clone())));
            self.framework = Some(record);
            self.connection.under_new_id = true;
        }
        self.connection.subscribed = true;
        self.connection.since = self.now;
        self.connection.subscription += 1;
        self.connection.asked = 0;
        self.offers.reset(self.now);
        self.forget_agents_without_tasks();
        // Deployments look at everything anew.
        self.moves.clear();
        for index in self.service_indices() {
            if let Some(service) = self.service_mut(index) {
                let counts = &mut service.state_mut().counts;
                counts.unconfirmed = counts.tasks();
            }
        }
        self.notice(Notice::Connection { subscribed: true });
        self.ask_for_strangers(as_before);
        self.connection.ask_at = Some(self.now);
        self.reconcile_unheard();
        self.take_up_kills();
        let all_at = self.now + self.settings.reconcile_every;
        self.connection.ask_all_at = Some(all_at);
        self.timers.set(all_at, Timer::ReconcileAll);
        self.connection.kill_unknown_at = None;
        self.expect_unknown_kills();
    }

    fn disconnected(&mut self) {
        if self.connection.subscribed {
            self.connection.subscribed = false;
            self.stop_asking_for_strangers();
            self.connection.since = self.now;
            self.offers.reset(self.now);
            self.notice(Notice::Connection { subscribed: false });
        }
    }

    fn take_up_kills(&mut self) {
        for index in self.service_indices() {
            let stopping: Vec<_> = self
                .service(index)
                .into_iter()
                .flat_map(|service| service.state.tasks())
                .filter(|(_, task)| task.goal.is_stop())
                .map(|(number, task)| (number, task.uuid))
                .collect();
            for (number, uuid) in stopping {
                self.edit_task(index, number, uuid, |task| task.kills_sent = 0);
                self.send_kill(index, number, uuid);
            }
        }
    }

    /// Asks about every task that has not been heard of since the subscription; once all have,
    /// asks whether there are others.
    pub(super) fn reconcile_unheard(&mut self) {
        if !self.connection.subscribed || self.connection.ask_at.is_none_or(|at| self.now < at) {
            return;
        }
        let subscription = self.connection.subscription;
        let mut unheard = self.tasks_to_ask_about(|heard_in| heard_in != subscription);
        if self.connection.asked == 0 {
            unheard.extend(self.unknown_to_ask_about());
        }
        if unheard.is_empty() {
            self.connection.ask_at = None;
            // Once is enough where nothing had to be asked before.
            if self.connection.asked > 0 || !self.awaits_strangers() {
                self.reconcile_implicitly();
            }
            return;
        }
        self.reconcile(unheard);
        let patience = self
            .settings
            .reconcile_initial
            .saturating_mul(1 << self.connection.asked.min(16));
        self.connection.asked += 1;
        let again_at = self.now + patience.min(self.settings.reconcile_max);
        self.connection.ask_at = Some(again_at);
        self.timers.set(again_at, Timer::Reconcile);
    }

    /// Asks about everything, as a matter of routine.
    pub(super) fn reconcile_all(&mut self) {
        if !self.connection.subscribed || self.connection.ask_all_at.is_none_or(|at| self.now < at)
        {
            return;
        }
        let mut tasks = self.tasks_to_ask_about(|_| true);
        tasks.extend(self.unknown_to_ask_about());
        self.reconcile(tasks);
        self.reconcile_implicitly();
        let again_at = self.now + self.settings.reconcile_every;
        self.connection.ask_all_at = Some(again_at);
        self.timers.set(again_at, Timer::ReconcileAll);
    }

    fn tasks_to_ask_about(&self, heard: impl Fn(u32) -> bool) -> Vec<(TaskId, Option<AgentId>)> {
        let framework = &self.settings.framework;
        self.services()
            .flat_map(|(_, service)| {
                let heard = &heard;
                service
                    .state
                    .tasks()
                    .filter(move |(_, task)| heard(task.heard_in))
                    .map(|(number, task)| {
                        (
                            service.state.task_id(framework, number, task),
                            task.agent.known_id(),
                        )
                    })
            })
            .collect()
    }

    /// Unknown tasks that have ended while nobody listened disappear with the answer.
    fn unknown_to_ask_about(&self) -> impl Iterator<Item = (TaskId, Option<AgentId>)> {
        self.unknown_tasks
            .iter()
            .map(|(task, update)| (task.clone(), update.agent.clone()))
    }

    fn reconcile(&mut self, mut tasks: Vec<(TaskId, Option<AgentId>)>) {
        while !tasks.is_empty() {
            let rest = tasks.split_off(tasks.len().min(RECONCILE_CHUNK));
            self.counters.reconciliations += 1;
            self.send(Call::Reconcile { tasks });
            tasks = rest;
        }
    }

    pub(super) fn reconcile_implicitly(&mut self) {
        self.counters.reconciliations += 1;
        self.send(Call::Reconcile { tasks: Vec::new() });
    }

    /// Stops tasks that no workload knows, if that was asked for, and only when every record could
    /// be read and every known task has answered.
    pub(super) fn kill_unknown_when_safe(&mut self) {
        let Some(wait) = self.settings.kill_unknown else {
            return;
        };
        let due = self
            .connection
            .kill_unknown_at
            .is_some_and(|at| self.now >= at);
        if !due || !self.connection.subscribed {
            return;
        }
        self.connection.kill_unknown_at = None;
        let unconfirmed = self
            .services()
            .any(|(_, service)| service.state.counts.unconfirmed > 0);
        let all_known = !unconfirmed && !self.unread.may_hide_tasks();
        if all_known && self.brake.is_none() && self.now.since(self.connection.since) >= wait {
            let unknown: Vec<_> = self
                .unknown_tasks
                .iter()
                .map(|(task, update)| (task.clone(), update.agent.clone()))
                .collect();
            for (task, agent) in unknown {
                self.counters.kills += 1;
                self.send(Call::Kill {
                    task,
                    agent,
                    grace: None,
                });
            }
        }
        if !self.unknown_tasks.is_empty() {
            self.look_at_unknown_in(self.settings.kill_max);
        }
    }

    /// Sees to it that unknown tasks are looked at, once they have been shown for some time.
    pub(super) fn expect_unknown_kills(&mut self) {
        if let Some(wait) = self.settings.kill_unknown
            && self.connection.kill_unknown_at.is_none()
            && !self.unknown_tasks.is_empty()
        {
            self.look_at_unknown_in(wait);
        }
    }

    fn look_at_unknown_in(&mut self, wait: Duration) {
        let at = self.now + wait;
        self.connection.kill_unknown_at = Some(at);
        self.timers.set(at, Timer::KillUnknown);
    }
}
