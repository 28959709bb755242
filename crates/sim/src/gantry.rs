//! A Gantry as a process: it starts, freezes, dies, and is started again.

use gantry_core::ServiceSpec;

use crate::{
    candidate::Candidate,
    invariants::Told,
    term::Term,
    types::{Behaviour, change_template, type_plan, update_policy},
    world::{Event, Happening, World},
};

/// One process.
#[derive(Debug, Default)]
pub(crate) struct Gantry {
    pub(crate) up: bool,
    /// Counts starts.
    pub(crate) life: u64,
    /// It gets no time until then.
    pub(crate) frozen_until: u64,
    /// How far the wall clock of its machine is off, in milliseconds.
    pub(crate) wall: i64,
    /// ZooKeeper and it do not hear each other.
    pub(crate) cut_off: bool,
    /// What its environment declares, and which of all declarations that is.
    pub(crate) declares: Vec<ServiceSpec>,
    pub(crate) declaration: u64,
    pub(crate) candidate: Candidate,
    /// While it leads.
    pub(crate) term: Option<Term>,
    /// What its scheduler was told in this term, for the judge.
    pub(crate) told: Told,
}

impl World {
    pub(crate) fn process_starts(&mut self, gantry: usize) {
        if self.gantrys[gantry].up {
            return;
        }
        let first = self.gantrys[gantry].life == 0;
        if !first && self.plan.redeclares && self.fails(300) {
            self.redeclare();
        }
        let declares = self.plan.declared();
        let declaration = self.plan.declaration;
        let current = &mut self.gantrys[gantry];
        current.up = true;
        current.life += 1;
        current.declares = declares;
        current.declaration = declaration;
        let life = current.life;
        self.note(|| format!("G{gantry} starts"));
        let delay = self.dice.around(200);
        self.soon(delay, gantry, Happening::Connects { life });
    }

    /// The process dies, and with it everything that is not in the store.
    pub(crate) fn crash(&mut self, gantry: usize, when: &str) {
        let current = &mut self.gantrys[gantry];
        if !std::mem::take(&mut current.up) {
            return;
        }
        current.life += 1;
        current.frozen_until = 0;
        self.note(|| format!("G{gantry} DIES {when}"));
        self.summary.crashes += 1;
        self.disconnect_candidate(gantry);
        self.drop_term(gantry);
        self.gantrys[gantry].candidate = Candidate::default();
        let delay = if self.fails(200) {
            self.dice.around(60_000)
        } else {
            self.dice.around(4_000)
        };
        self.after(delay, Event::Start { gantry });
    }

    /// The process is stopped and goes on later as if nothing had been.
    pub(crate) fn freeze(&mut self, gantry: usize, millis: u64) {
        let now = self.now;
        let until = now + millis;
        let current = &mut self.gantrys[gantry];
        // One that is stopped already is not stopped again: what waits for it stays in its order.
        if current.up && current.frozen_until <= now {
            current.frozen_until = until;
            let leads = current.term.is_some();
            self.summary.freezes += u64::from(leads);
            self.note(|| format!("G{gantry} FREEZES for {millis} ms, leading: {leads}"));
        }
    }

    /// The Gantry that leads, if one does.
    pub(crate) fn leader(&self) -> Option<usize> {
        self.gantrys.iter().position(|gantry| {
            gantry
                .term
                .as_ref()
                .is_some_and(|term| term.epoch == self.keeper.epoch)
        })
    }

    /// The owner changes the environment; every process has its own of when it was started.
    fn redeclare(&mut self) {
        let index = self.dice.below(self.plan.types.len() as u64) as usize;
        let what = match self.dice.below(9) {
            0 if self.plan.types.len() < 6 => {
                let plan = type_plan(&mut self.dice, self.plan.types.len() as u64);
                self.plan.types.push(plan);
                "a new type"
            }
            1..=4 => {
                self.plan.versions += 1;
                let number = self.plan.versions;
                let spec = &mut self.plan.types[index].spec;
                change_template(&mut self.dice, spec, number);
                let behaviour = Behaviour::of(&spec.template);
                let name = spec.name.clone();
                self.note(|| format!("{name} is {behaviour:?} now"));
                "a new template"
            }
            5 => {
                self.plan.types[index].spec.update = update_policy(&mut self.dice);
                "other limits"
            }
            6 => {
                let plan = &mut self.plan.types[index];
                plan.declared = !plan.declared;
                self.memory.lowered(&plan.spec.name, self.now);
                "a type more or less"
            }
            _ => {
                let plan = &mut self.plan.types[index];
                plan.spec.instances = self.dice.below(8) as u32;
                self.memory.lowered(&plan.spec.name, self.now);
                "another count"
            }
        };
        self.plan.declaration += 1;
        self.note(|| format!("the declaration changes: {what}"));
    }
}
