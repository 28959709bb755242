//! The runtime's part: inputs in, writes durable, then calls in order; to die and to come back.

use std::collections::{BTreeMap, VecDeque};

use gantry_core::{Call, Effects, Input, Key, MesosEvent, OfferId, Record, Scheduler, Write};

use crate::{
    Sabotage,
    plan::type_plan,
    world::{Event, World},
};

/// What the driver knows, and what outlives it: the store.
#[derive(Debug, Default)]
pub(crate) struct Driver {
    pub(crate) scheduler: Option<Scheduler>,
    /// Counts births and deaths.
    pub(crate) life: u64,
    inbox: Vec<Input>,
    step_due: bool,
    wake_at: Option<u64>,
    /// Effects that no commit has taken up yet.
    waiting: VecDeque<Pending>,
    /// Effects of the commit under way.
    committing: Vec<Pending>,
    /// The connection to the master as the driver believes it to be.
    pub(crate) link: Option<u64>,
    links: u64,
    /// What leaves on this link goes nowhere; the driver does not know yet.
    broken: Option<u64>,
    /// When the last call arrives: calls do not overtake one another.
    arrives_at: u64,
    /// Offers that the scheduler has and since when.
    pub(crate) held: BTreeMap<OfferId, u64>,
    /// The records that are on the disk.
    pub(crate) store: BTreeMap<Key, Record>,
    /// How many types there ever were.
    types: u64,
    versions: u64,
}

/// The effects of one step and the link on which they were thought of.
#[derive(Debug)]
struct Pending {
    effects: Effects,
    link: Option<u64>,
}

impl World {
    // === Life and death ===

    pub(crate) fn start_scheduler(&mut self) {
        if self.driver.scheduler.is_some() {
            return;
        }
        if self.driver.life > 0 && self.plan.rates.redeclares && self.fails(300) {
            self.redeclare();
        }
        self.driver.life += 1;
        let services = self
            .plan
            .types
            .iter()
            .filter(|plan| plan.declared)
            .map(|plan| plan.spec.clone())
            .collect();
        let records: Vec<_> = self.driver.store.values().cloned().collect();
        let stored = records.len();
        let (scheduler, effects) = Scheduler::start(
            self.timestamp(),
            self.plan.settings.clone(),
            self.dice.ids(),
            services,
            records,
        );
        self.note(|| format!("scheduler starts with {stored} records"));
        self.driver.scheduler = Some(scheduler);
        self.take_effects(effects);
        let life = self.driver.life;
        let delay = self.dice.around(300);
        self.after(delay, Event::Connect { life });
    }

    /// The scheduler dies, and with it everything that is not in the store.
    pub(crate) fn crash(&mut self, when: &str) {
        if self.driver.scheduler.take().is_none() {
            return;
        }
        self.note(|| format!("scheduler DIES {when}"));
        self.summary.crashes += 1;
        let driver = &mut self.driver;
        driver.life += 1;
        driver.inbox.clear();
        driver.step_due = false;
        driver.wake_at = None;
        driver.waiting.clear();
        driver.committing.clear();
        driver.held.clear();
        if let Some(link) = driver.link.take() {
            self.break_link_at_master(link);
        }
        let delay = self.dice.around(4_000);
        self.after(delay, Event::Start);
    }

    /// The owner changes the environment between two starts.
    fn redeclare(&mut self) {
        if self.driver.types == 0 {
            self.driver.types = self.plan.types.len() as u64;
        }
        let index = self.dice.below(self.plan.types.len() as u64) as usize;
        let kind = self.dice.below(5);
        let what = match kind {
            0 if self.driver.types < 6 => {
                let plan = type_plan(&mut self.dice, self.driver.types);
                self.driver.types += 1;
                self.plan.types.push(plan);
                "a new type"
            }
            1 => {
                self.driver.versions += 1;
                let version = crate::plan::version(self.driver.versions);
                let plan = &mut self.plan.types[index];
                plan.spec.template.environment = vec![version];
                self.memory.updated(&plan.spec.name);
                "a new template"
            }
            2 => {
                let plan = &mut self.plan.types[index];
                plan.declared = !plan.declared;
                self.memory.lowered(&plan.spec.name);
                "a type more or less"
            }
            _ => {
                let plan = &mut self.plan.types[index];
                plan.spec.instances = self.dice.below(8) as u32;
                self.memory.lowered(&plan.spec.name);
                "another count"
            }
        };
        self.note(|| format!("the declaration changes: {what}"));
    }

    // === The connection ===

    pub(crate) fn connect(&mut self, life: u64) {
        let Some(scheduler) = &self.driver.scheduler else {
            return;
        };
        if life != self.driver.life || self.driver.link.is_some() {
            return;
        }
        let id = scheduler.view().framework.id;
        if !self.master.up {
            let delay = self.dice.around(1_000);
            return self.after(delay, Event::Connect { life });
        }
        self.driver.links += 1;
        let link = self.driver.links;
        self.driver.link = Some(link);
        self.driver.arrives_at = self.now;
        self.subscribe(link, id);
    }

    pub(crate) fn link_seen_down(&mut self, link: u64) {
        if self.driver.link != Some(link) {
            return;
        }
        self.note(|| "scheduler sees its connection broken");
        self.driver.link = None;
        self.driver.held.clear();
        self.hear(Input::Mesos(MesosEvent::Disconnected));
        let life = self.driver.life;
        let delay = self.dice.around(1_500);
        self.after(delay, Event::Connect { life });
    }

    /// Breaks the connection for both, who notice in their time.
    pub(crate) fn break_link(&mut self) {
        let Some(link) = self.driver.link else {
            return;
        };
        self.driver.broken = Some(link);
        self.break_link_at_master(link);
        let delay = self.dice.around(500);
        self.after(delay, Event::LinkSeenDown { link });
    }

    fn break_link_at_master(&mut self, link: u64) {
        // Behind the calls that are under way.
        let delay = self.driver.arrives_at.saturating_sub(self.now) + self.dice.around(200);
        self.after(delay, Event::LinkBreaks { link });
    }

    pub(crate) fn scheduler_hears(&mut self, link: u64, event: MesosEvent) {
        if self.driver.link != Some(link) {
            return;
        }
        match &event {
            MesosEvent::Offers(offers) => {
                for offer in offers {
                    self.driver.held.insert(offer.id.clone(), self.now);
                }
            }
            MesosEvent::Rescinded(offer) => {
                self.driver.held.remove(offer);
            }
            _ => {}
        }
        self.hear(Input::Mesos(event));
    }

    // === Steps ===

    pub(crate) fn hear(&mut self, input: Input) {
        if self.driver.scheduler.is_none() {
            return;
        }
        self.driver.inbox.push(input);
        if !self.driver.step_due {
            self.driver.step_due = true;
            let life = self.driver.life;
            let delay = self.dice.below(4);
            self.after(delay, Event::Step { life });
        }
    }

    pub(crate) fn step_due(&mut self, life: u64) {
        if life == self.driver.life && self.driver.step_due {
            self.step();
        }
    }

    pub(crate) fn wake_due(&mut self, life: u64) {
        if life == self.driver.life && self.driver.wake_at == Some(self.now) {
            self.driver.wake_at = None;
            self.step();
        }
    }

    fn step(&mut self) {
        let now = self.timestamp();
        self.driver.step_due = false;
        let inputs = std::mem::take(&mut self.driver.inbox);
        let Some(scheduler) = &mut self.driver.scheduler else {
            return;
        };
        for input in &inputs {
            if !matches!(input, Input::Mesos(MesosEvent::Offers(_))) {
                self.trace.line(self.now, || format!("  -> {input:?}"));
            }
        }
        let asked: Vec<_> = inputs
            .iter()
            .filter_map(|input| match input {
                Input::Command { token, .. } => Some(*token),
                Input::Mesos(_) => None,
            })
            .collect();
        let effects = scheduler.step(now, inputs);
        self.summary.steps += 1;
        let answered: Vec<_> = effects.replies.iter().map(|(token, _)| *token).collect();
        if answered != asked {
            self.violate(format!("asked by {asked:?}, but {answered:?} are answered"));
        }
        self.take_effects(effects);
    }

    fn take_effects(&mut self, mut effects: Effects) {
        self.sabotage_effects(&mut effects);
        for call in &effects.calls {
            match call {
                Call::Accept { offer, .. } => {
                    self.driver.held.remove(offer);
                }
                Call::Decline { offers, .. } => {
                    for offer in offers {
                        self.driver.held.remove(offer);
                    }
                }
                _ => {}
            }
        }
        self.check_step(&effects);
        let wake_at = effects.wake_at.map(Self::millis_of);
        if let Some(at) = wake_at
            && self.sabotage != Some(Sabotage::Oversleep)
        {
            let at = at.max(self.now + 1);
            if self.driver.wake_at.is_none_or(|earlier| at < earlier) {
                self.driver.wake_at = Some(at);
                let life = self.driver.life;
                self.queue.put(at, Event::Wake { life });
            }
        }
        if !effects.writes.is_empty() || !effects.calls.is_empty() {
            let link = self.driver.link;
            self.driver.waiting.push_back(Pending { effects, link });
            self.begin_commit();
        }
    }

    // === The store ===

    fn begin_commit(&mut self) {
        while self.driver.committing.is_empty() && !self.driver.waiting.is_empty() {
            // What has gathered is committed together.
            let group: Vec<_> = self.driver.waiting.drain(..).collect();
            if group
                .iter()
                .all(|pending| pending.effects.writes.is_empty())
            {
                if !self.release(group) {
                    return;
                }
                continue;
            }
            self.driver.committing = group;
            self.schedule_commit();
        }
    }

    fn schedule_commit(&mut self) {
        let mean = if self.fails(self.plan.rates.commit_slow) {
            3_000
        } else {
            8
        };
        let delay = self.dice.around(mean);
        let life = self.driver.life;
        self.after(delay, Event::CommitEnds { life });
    }

    pub(crate) fn commit_ends(&mut self, life: u64) {
        if life != self.driver.life || self.driver.committing.is_empty() {
            return;
        }
        if self.fails(self.plan.rates.crash_at_commit) {
            if self.dice.chance(500) {
                self.apply_commit();
                return self.crash("after a commit");
            }
            return self.crash("before a commit");
        }
        if self.fails(self.plan.rates.commit_fails) {
            let applied = self.dice.chance(500);
            self.note(|| format!("a commit fails, applied: {applied}"));
            if applied {
                self.apply_commit();
            }
            // The same batch again.
            return self.schedule_commit();
        }
        self.apply_commit();
        let group = std::mem::take(&mut self.driver.committing);
        if self.release(group) {
            self.begin_commit();
        }
    }

    fn apply_commit(&mut self) {
        self.summary.commits += 1;
        let writes: Vec<Write> = self
            .driver
            .committing
            .iter()
            .flat_map(|pending| pending.effects.writes.iter().cloned())
            .collect();
        for write in writes {
            if self.is_sabotaged_write(&write) {
                continue;
            }
            self.trace.line(self.now, || match &write {
                Write::Put(Record::Task(task)) => format!(
                    "  stored {} {:?} {:?} on {}",
                    task.id, task.state, task.goal, task.agent.id
                ),
                Write::Put(Record::Workload(record)) => {
                    format!("  stored {}: {} desired", record.name, record.desired)
                }
                Write::Put(record) => format!("  stored {:?}", record.key()),
                Write::Delete(key) => format!("  deleted {key:?}"),
            });
            self.remember_write(&write);
            match write {
                Write::Put(record) => self.driver.store.insert(record.key(), record),
                Write::Delete(key) => self.driver.store.remove(&key),
            };
        }
        self.check_store();
    }

    // === Calls ===

    /// Lets calls leave in their order; false when the scheduler died over it.
    fn release(&mut self, group: Vec<Pending>) -> bool {
        for pending in group {
            for call in pending.effects.calls {
                if self.fails(self.plan.rates.crash_between_calls) {
                    self.crash("between two calls");
                    return false;
                }
                self.leave(call, pending.link);
            }
        }
        true
    }

    pub(crate) fn leave(&mut self, call: Call, thought_of_on: Option<u64>) {
        let Some(link) = self.driver.link else {
            return;
        };
        let stale = thought_of_on != Some(link);
        if stale && !self.plan.rates.stale_calls_leave {
            return;
        }
        self.check_call(&call);
        if self.driver.broken == Some(link) {
            return;
        }
        if self.fails(self.plan.rates.call_vanishes) {
            self.note(|| format!("call vanishes: {call:?}"));
            return;
        }
        let breaks = self.fails(self.plan.rates.call_breaks);
        if !breaks || self.dice.chance(500) {
            let arrives = (self.now + self.latency()).max(self.driver.arrives_at);
            self.driver.arrives_at = arrives;
            self.queue.put(arrives, Event::ToMaster { link, call });
        }
        if breaks {
            self.note(|| "the connection breaks on a call");
            self.break_link();
        }
    }
}
