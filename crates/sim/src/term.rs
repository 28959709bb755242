//! A Gantry while it leads: the scheduler, its steps, and their effects.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use gantry_core::{
    AgentAddress, AgentId, Call, Effects, Found, Goal, Input, Key, MesosEvent, OfferId, Record,
    Scheduler, TaskId, TaskState, Timestamp, Write,
};

use crate::{
    Sabotage,
    committer::{Pending, Released},
    decay::key_of,
    invariants::Told,
    modules::Admitted,
    world::{Happening, World},
};

/// From winning the campaign until the lease is lost or given up.
#[derive(Debug)]
pub(crate) struct Term {
    /// Counts the terms of all Gantrys.
    pub(crate) number: u64,
    pub(crate) epoch: u64,
    pub(crate) scheduler: Scheduler,
    /// How far its clock is off: what the wall clock showed at the beginning, and the time since.
    pub(crate) off: i64,
    /// It takes no more inputs, and resigns when all is committed.
    pub(crate) draining: bool,
    inbox: Vec<Input>,
    step_due: bool,
    wake_at: Option<u64>,
    /// Effects that no commit has taken up yet.
    pub(crate) waiting: VecDeque<Pending>,
    /// Effects of the commit under way.
    pub(crate) committing: Vec<Pending>,
    /// Effects that may leave.
    pub(crate) released: VecDeque<Released>,
    /// Writes that were handed to the store, and those that it has confirmed.
    pub(crate) issued: u64,
    pub(crate) confirmed: u64,
    /// The connection to the master as the driver believes it to be.
    pub(crate) link: Option<u64>,
    /// What leaves on this link goes nowhere; the driver does not know yet.
    pub(crate) broken: Option<u64>,
    /// When the last call arrives: calls do not overtake one another.
    pub(crate) arrives_at: u64,
    /// Offers that the scheduler has and since when.
    pub(crate) held: BTreeMap<OfferId, u64>,
    /// What is to become of tasks, as far as it was to be written.
    pub(crate) goals: BTreeMap<TaskId, Goal>,
    pub(crate) admitted: Admitted,
    pub(crate) seen: Seen,
    /// Since when the brake is on, as far as it was to be written.
    pub(crate) braked: Option<Timestamp>,
    /// What could not be read, as far as nothing was to be written there since.
    pub(crate) unreadable: BTreeSet<Key>,
}

/// Agents that have made offers since the subscription, and of which nothing was heard since then
/// that says that they may be gone.
pub(crate) type Seen = BTreeMap<AgentId, Arc<AgentAddress>>;

/// Takes an event to what is known of agents.
fn note_agents(seen: &mut Seen, event: &MesosEvent) {
    match event {
        MesosEvent::Subscribed { .. } => seen.clear(),
        MesosEvent::Offers(offers) => {
            let agents = offers.iter().map(|offer| &offer.agent);
            seen.extend(agents.map(|agent| (agent.id.clone(), agent.clone())));
        }
        MesosEvent::AgentRemoved(agent) => {
            seen.remove(agent);
        }
        MesosEvent::Status(update)
            if matches!(
                update.state,
                TaskState::Unknown | TaskState::Gone | TaskState::GoneByOperator
            ) =>
        {
            if let Some(agent) = &update.agent {
                seen.remove(agent);
            }
        }
        _ => {}
    }
}

/// Tasks that a step is told of after it was told of a subscription.
fn heard_since_subscription(inputs: &[Input]) -> Option<BTreeSet<TaskId>> {
    let subscribed = |input: &Input| matches!(input, Input::Mesos(MesosEvent::Subscribed { .. }));
    let first = inputs.iter().rposition(subscribed)?;
    let heard = inputs[first..].iter().filter_map(|input| match input {
        Input::Mesos(MesosEvent::Status(update)) => Some(update.task.clone()),
        _ => None,
    });
    Some(heard.collect())
}

impl World {
    pub(crate) fn is_term(&self, gantry: usize, number: u64) -> bool {
        self.gantrys[gantry]
            .term
            .as_ref()
            .is_some_and(|term| term.number == number)
    }

    pub(crate) fn start_term(&mut self, gantry: usize, epoch: u64, mut found: Found) {
        let stored = found.records.len();
        let off = self.clock_for(gantry, &found.records);
        let mut services = self.gantrys[gantry].declares.clone();
        for spec in &mut services {
            self.sabotage_spec(spec);
        }
        let unreadable = found.unreadable.iter();
        let unreadable = unreadable.filter_map(|one| one.key.clone()).collect();
        self.sabotage_records(&mut found);
        let mut settings = self.plan.settings.clone();
        settings.admission = self.modules.needed;
        self.sabotage_settings(&mut settings);
        let goals = found.records.iter().filter_map(|record| match record {
            Record::Task(task) => Some((task.id.clone(), task.goal)),
            _ => None,
        });
        let goals = goals.collect();
        let (scheduler, effects) =
            Scheduler::start(self.clock(off), settings, self.dice.ids(), services, found);
        let braked = match self.keeper.records.get(&Key::Brake) {
            Some(Record::Brake(brake)) => Some(brake.since),
            _ => None,
        };
        let number = self.memory.begin_term();
        if self.gantrys[gantry].declaration != self.plan.led {
            // Another environment than that of the last leader.
            self.plan.led = self.gantrys[gantry].declaration;
            for plan in &self.plan.types {
                self.memory.declared_anew(&plan.spec.name, self.now);
            }
        }
        self.note(|| {
            format!("G{gantry} LEADS in epoch {epoch} with {stored} records, clock {off:+} ms")
        });
        self.gantrys[gantry].term = Some(Term {
            number,
            epoch,
            scheduler,
            off,
            draining: false,
            inbox: Vec::new(),
            step_due: false,
            wake_at: None,
            waiting: VecDeque::new(),
            committing: Vec::new(),
            released: VecDeque::new(),
            issued: 0,
            confirmed: 0,
            link: None,
            broken: None,
            arrives_at: 0,
            held: BTreeMap::new(),
            goals,
            admitted: Admitted::new(self.modules.needed),
            seen: Seen::new(),
            braked,
            unreadable,
        });
        self.gantrys[gantry].told = Told::default();
        self.memory.declared(&self.gantrys[gantry].declares);
        self.watch_lease(gantry, number);
        self.check_doubts(gantry, &effects);
        self.take_effects(gantry, effects);
        let delay = self.dice.around(300);
        self.soon(delay, gantry, Happening::Subscribes { term: number });
    }

    /// How far the clock of a term is off that begins now: what is stored is never of the future,
    /// so that no time goes back when the leader changes.
    fn clock_for(&self, gantry: usize, records: &[Record]) -> i64 {
        let wall = self.gantrys[gantry].wall;
        let ahead = records
            .iter()
            .map(Record::newest_moment)
            .max()
            .unwrap_or(Timestamp::ZERO)
            .since(self.clock(wall));
        wall + i64::try_from(ahead.as_millis()).unwrap_or(i64::MAX)
    }

    /// Stops acting at once, but the process lives on as a stand-by.
    pub(crate) fn end_term(&mut self, gantry: usize, why: &str) {
        if self.gantrys[gantry].term.is_some() {
            self.note(|| format!("G{gantry} leads no more: {why}"));
            self.summary.depositions += 1;
            self.drop_term(gantry);
        }
    }

    pub(crate) fn drop_term(&mut self, gantry: usize) {
        if let Some(link) = self.gantrys[gantry]
            .term
            .as_ref()
            .and_then(|term| term.link)
        {
            self.break_link_at_master(gantry, link, 200);
        }
        self.gantrys[gantry].term = None;
    }

    /// SIGTERM: what was begun is committed, then the next may lead.
    pub(crate) fn drain(&mut self, gantry: usize) {
        let Some(term) = self.gantrys[gantry].term.as_mut() else {
            return self.crash(gantry, "when told to");
        };
        term.draining = true;
        self.begin_commit(gantry);
    }

    // === Steps ===

    pub(crate) fn hear(&mut self, gantry: usize, input: Input) {
        let Some(term) = self.gantrys[gantry].term.as_mut() else {
            return;
        };
        if term.draining {
            return;
        }
        term.inbox.push(input);
        if !term.step_due {
            term.step_due = true;
            let term = term.number;
            let delay = self.dice.below(4);
            self.soon(delay, gantry, Happening::Step { term });
        }
    }

    pub(crate) fn step_due(&mut self, gantry: usize, number: u64) {
        if self.is_term(gantry, number) {
            self.step(gantry);
        }
    }

    pub(crate) fn wake_due(&mut self, gantry: usize, number: u64) {
        let Some(term) = self.gantrys[gantry].term.as_mut() else {
            return;
        };
        if term.number == number && term.wake_at.is_some_and(|at| at <= self.now) {
            term.wake_at = None;
            self.step(gantry);
        }
    }

    fn step(&mut self, gantry: usize) {
        let true_time = self.now;
        let Some(term) = self.gantrys[gantry].term.as_ref() else {
            return;
        };
        let now = self.clock(term.off);
        let leads = self.leader() == Some(gantry);
        let Some(term) = self.gantrys[gantry].term.as_mut() else {
            return;
        };
        if term.draining {
            return;
        }
        term.step_due = false;
        let mut inputs = std::mem::take(&mut term.inbox);
        for input in &inputs {
            term.admitted.hear(input);
            if let Input::Mesos(event) = input {
                note_agents(&mut term.seen, event);
            }
            if let Input::Mesos(MesosEvent::Offers(offers)) = input {
                // The scheduler hears of them only now.
                for offer in offers {
                    if let Some(since) = term.held.get_mut(&offer.id) {
                        *since = true_time;
                    }
                }
            } else {
                if let Input::Mesos(MesosEvent::Status(update)) = input {
                    // What the master said last is heard last, be it in the same step.
                    match update.state {
                        TaskState::Unreachable => {
                            self.memory.unreachable(&update.task, true_time);
                        }
                        // What one hears that is leader no more says nothing to the next.
                        _ if leads => self.memory.reached(&update.task),
                        _ => {}
                    }
                }
                self.trace
                    .line(true_time, || format!("  G{gantry} <- {input:?}"));
            }
        }
        let asked: Vec<_> = inputs
            .iter()
            .filter_map(|input| match input {
                Input::Command { token, .. } => Some(*token),
                _ => None,
            })
            .collect();
        let mut told = std::mem::take(&mut self.gantrys[gantry].told);
        self.take_down(gantry, &mut told, &inputs);
        self.gantrys[gantry].told = told;
        let returned = self.sabotaged_kills(&inputs);
        let heard = heard_since_subscription(&inputs);
        self.sabotage_inputs(gantry, &mut inputs);
        let Some(term) = self.gantrys[gantry].term.as_mut() else {
            return;
        };
        let mut effects = term.scheduler.step(now, inputs);
        effects.calls.extend(returned);
        self.summary.steps += 1;
        let answered: Vec<_> = effects.replies.iter().map(|(token, _)| *token).collect();
        if answered != asked {
            self.violate(format!("asked by {asked:?}, but {answered:?} are answered"));
        }
        if let Some(heard) = heard
            && let Err(violation) = self.check_confirmed(gantry, &heard)
        {
            self.violate(violation);
        }
        self.take_effects(gantry, effects);
    }

    fn take_effects(&mut self, gantry: usize, mut effects: Effects) {
        self.sabotage_effects(gantry, &mut effects);
        if let Some(term) = self.gantrys[gantry].term.as_mut()
            && !term.unreadable.is_empty()
        {
            for write in &effects.writes {
                term.unreadable.remove(&key_of(write));
            }
        }
        self.answer_offers(gantry, &effects);
        self.check_admissions(gantry, &effects);
        self.check_step(gantry, &effects);
        let Some(term) = self.gantrys[gantry].term.as_mut() else {
            return;
        };
        for write in &effects.writes {
            match write {
                Write::Put(Record::Task(task)) => {
                    term.goals.insert(task.id.clone(), task.goal);
                }
                Write::Delete(Key::Task(task)) => {
                    term.goals.remove(task);
                }
                Write::Put(Record::Brake(brake)) => term.braked = Some(brake.since),
                Write::Delete(Key::Brake) => term.braked = None,
                _ => {}
            }
        }
        let (off, number) = (term.off, term.number);
        self.ask_modules(gantry, number, std::mem::take(&mut effects.questions));
        let wake_at = effects.wake_at.map(|at| Self::millis_of(at, off));
        if let Some(at) = wake_at
            && self.sabotage != Some(Sabotage::Oversleep)
        {
            let at = at.max(self.now + 1);
            if let Some(term) = self.gantrys[gantry].term.as_mut()
                && term.wake_at.is_none_or(|earlier| at < earlier)
            {
                term.wake_at = Some(at);
                let term = term.number;
                let delay = at - self.now;
                self.soon(delay, gantry, Happening::Wake { term });
            }
        }
        let nothing =
            effects.writes.is_empty() && effects.calls.is_empty() && effects.replies.is_empty();
        if nothing {
            return;
        }
        if let Some(term) = self.gantrys[gantry].term.as_mut() {
            let link = term.link;
            term.waiting.push_back(Pending {
                writes: effects.writes,
                calls: effects.calls,
                replies: effects.replies,
                link,
            });
            self.begin_commit(gantry);
        }
    }

    /// Every offer is answered once, and only while it is there.
    fn answer_offers(&mut self, gantry: usize, effects: &Effects) {
        let mut void = Vec::new();
        let Some(term) = self.gantrys[gantry].term.as_mut() else {
            return;
        };
        for call in &effects.calls {
            let offers = match call {
                Call::Accept { offer, .. } => std::slice::from_ref(offer),
                Call::Decline { offers, .. } => offers,
                _ => continue,
            };
            for offer in offers {
                if term.held.remove(offer).is_none() {
                    void.push(offer.clone());
                }
            }
        }
        if let Some(offer) = void.first() {
            self.violate(format!("{offer} is answered, which is void"));
        }
    }
}
