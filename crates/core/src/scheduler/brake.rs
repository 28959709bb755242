//! The disaster brake: when many tasks fail at once, the cause is rarely the tasks, and stopping
//! and starting them makes things worse.
//!
//! While it is on, nothing is stopped or started again unless an operator asks for it: no task in
//! place of a lost one, no surplus copy stopped, no deployment moves, no unknown task killed.
//! KILLs that were decided before are still repeated, and counts may be changed by hand.

use std::collections::{BTreeMap, VecDeque};

use super::{Scheduler, ServiceIndex, Timer};
use crate::{Actor, Answer, Brake, BrakePolicy, Key, Notice, Record, Refusal, Timestamp, Write};

/// What is remembered of tasks that failed lately.
#[derive(Debug, Default)]
pub(super) struct Trouble {
    /// When what happened to which instance, oldest first.
    recent: VecDeque<(Timestamp, ServiceIndex, u32)>,
    /// How often each instance is among them.
    instances: BTreeMap<(ServiceIndex, u32), u32>,
    /// Since when, with the brake on, no more tasks are in trouble than may be.
    calm_since: Option<Timestamp>,
    /// When the brake last went off.
    released_at: Timestamp,
}

impl Trouble {
    /// When the brake last went off; zero when it was not on since the start.
    pub(super) const fn released_at(&self) -> Timestamp {
        self.released_at
    }
}

impl Scheduler {
    /// A task that was well turned unhealthy, ended so, or was lost.
    pub(super) fn trouble(&mut self, index: ServiceIndex, number: u32) {
        if self.settings.brake.is_some() && self.brake.is_none() {
            self.trouble.recent.push_back((self.now, index, number));
            *self.trouble.instances.entry((index, number)).or_default() += 1;
        }
    }

    /// Sets the brake when too many tasks failed within the window, and lets it go when they have
    /// recovered.
    pub(super) fn watch_brake(&mut self) {
        let Some(policy) = self.settings.brake else {
            return;
        };
        if self.brake.is_some() {
            self.let_go_when_calm(&policy);
        } else if !self.trouble.recent.is_empty() {
            self.set_when_troubled(&policy);
        }
    }

    fn set_when_troubled(&mut self, policy: &BrakePolicy) {
        while let Some((at, index, number)) = self.trouble.recent.front().copied()
            && self.now >= at + policy.window
        {
            self.trouble.recent.pop_front();
            if let Some(count) = self.trouble.instances.get_mut(&(index, number)) {
                *count -= 1;
                if *count == 0 {
                    self.trouble.instances.remove(&(index, number));
                }
            }
        }
        let troubled = self.trouble.instances.len() as u64;
        if troubled < u64::from(policy.tasks_min.max(1)) {
            return;
        }
        let well: u64 = self
            .services()
            .map(|(_, service)| u64::from(service.well()))
            .sum();
        let of = well + troubled;
        if troubled * 1000 <= of * u64::from(policy.share_thousandths) {
            return;
        }
        let brake = Brake {
            since: self.now,
            troubled: u32::try_from(troubled).unwrap_or(u32::MAX),
            of: u32::try_from(of).unwrap_or(u32::MAX),
        };
        self.out
            .writes
            .push(Write::Put(Record::Brake(brake.clone())));
        let what = format!("{} of {} tasks failed", brake.troubled, brake.of);
        self.brake = Some(brake);
        self.trouble = Trouble::default();
        self.notice(Notice::Brake { on: true });
        self.audit(itself(), "brake on".to_owned(), None, Some(what));
        // What was about to be started again waits too.
        self.settle_everything(|instance| instance.waiting.is_some());
        self.timers.set(self.now + policy.window, Timer::Brake);
    }

    fn let_go_when_calm(&mut self, policy: &BrakePolicy) {
        let (mut tasks, mut troubled, mut unconfirmed) = (0_u64, 0_u64, 0);
        for (_, service) in self.services() {
            let counts = &service.state.counts;
            // What failed its check until Mesos ended it has not recovered: it would fail again. What
            // was lost and has ended for certain says nothing of the tasks that take its place.
            tasks += u64::from(counts.tasks() + counts.ended_unhealthy);
            troubled += u64::from(counts.unhealthy + counts.unreachable + counts.ended_unhealthy);
            unconfirmed += counts.unconfirmed;
        }
        let calm = self.connection.subscribed
            && unconfirmed == 0
            && troubled * 2000 <= tasks * u64::from(policy.share_thousandths);
        if !calm {
            self.trouble.calm_since = None;
            return;
        }
        match self.trouble.calm_since {
            None => {
                self.trouble.calm_since = Some(self.now);
                self.timers.set(self.now + policy.window, Timer::Brake);
            }
            Some(since) if self.now >= since + policy.window => {
                self.release_brake(itself(), "the tasks have recovered");
            }
            Some(_) => {}
        }
    }

    pub(super) fn release_brake_by_hand(&mut self, actor: Actor) -> Result<Answer, Refusal> {
        if self.brake.is_none() {
            return Err(Refusal::BrakeNotOn);
        }
        self.release_brake(actor, "released");
        Ok(Answer::Released)
    }

    /// A brake that was stored is not kept by a configuration without one: nothing but a hand would
    /// ever let it go.
    pub(super) fn release_unwanted_brake(&mut self) {
        if self.settings.brake.is_none() && self.brake.is_some() {
            self.release_brake(itself(), "it is turned off in the configuration");
        }
    }

    fn release_brake(&mut self, actor: Actor, why: &str) {
        self.brake = None;
        self.trouble = Trouble {
            released_at: self.now,
            ..Trouble::default()
        };
        self.out.writes.push(Write::Delete(Key::Brake));
        self.notice(Notice::Brake { on: false });
        self.audit(actor, "brake off".to_owned(), None, Some(why.to_owned()));
        self.settle_everything(|_| true);
    }

    pub(super) fn settle_everything(&mut self, which: impl Fn(&crate::Instance) -> bool) {
        for index in self.service_indices() {
            let numbers: Vec<_> = self
                .service(index)
                .into_iter()
                .flat_map(|service| service.state.instances.iter())
                .filter(|instance| which(instance))
                .map(|instance| instance.number)
                .collect();
            for number in numbers {
                self.settle(index, number);
            }
        }
    }
}

pub(super) fn itself() -> Actor {
    Actor {
        name: "gantry".to_owned(),
        address: String::new(),
        reason: None,
    }
}
