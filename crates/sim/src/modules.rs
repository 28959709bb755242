//! Modules that have a say in what is launched: they admit, refuse, or do not answer, and in some
//! worlds are gone in the end.

use std::{collections::BTreeSet, time::Duration};

use gantry_core::{AddedEnvironment, Effects, Input, Question, Verdict};

use crate::{
    dice::Dice,
    world::{Event, Happening, World},
};

/// Modules that are silent for so long are declared gone.
const GONE_AFTER: u64 = 45_000;

/// The modules, the same in every Gantry. Their chance is their own: a world without any is as it
/// would be if there were none at all.
#[derive(Debug)]
pub(crate) struct Modules {
    dice: Dice,
    /// Whether they are asked.
    pub(crate) needed: bool,
    /// Of a thousand questions so many are refused,
    refuses: u64,
    /// and so many of the others not answered.
    ignores: u64,
    /// Once the faults are over they say nothing any more.
    falls_silent: bool,
}

/// What modules have admitted in a term, for the judge.
#[derive(Debug, Default)]
pub(crate) struct Admitted {
    needed: bool,
    instances: BTreeSet<(String, u32)>,
}

impl Admitted {
    pub(crate) fn new(needed: bool) -> Self {
        Self {
            needed,
            instances: BTreeSet::new(),
        }
    }

    pub(crate) fn hear(&mut self, input: &Input) {
        match input {
            Input::AdmissionNeeded(needed) => *self = Self::new(*needed),
            Input::Admission {
                workload,
                number,
                verdict: Verdict::Admitted { .. },
                ..
            } => {
                self.instances.insert((workload.in_task_ids(), *number));
            }
            _ => {}
        }
    }

    /// Whether this launch has an admission of its own.
    pub(crate) fn uses(&mut self, workload: &str, number: u32) -> bool {
        !self.needed || self.instances.remove(&(workload.to_owned(), number))
    }
}

impl Modules {
    pub(crate) fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed, 2);
        Self {
            needed: dice.chance(250),
            refuses: *dice.pick(&[0, 50, 300]).unwrap_or(&0),
            ignores: *dice.pick(&[0, 50, 300]).unwrap_or(&0),
            falls_silent: dice.chance(300),
            dice,
        }
    }
}

impl World {
    pub(crate) fn ask_modules(&mut self, gantry: usize, term: u64, questions: Vec<Question>) {
        for question in questions {
            let modules = &mut self.modules;
            let silent = self.settled && modules.falls_silent;
            if silent || !self.settled && modules.dice.chance(modules.ignores) {
                self.note(|| format!("  modules do not answer {question:?}"));
                continue;
            }
            let refused = !self.settled && modules.dice.chance(modules.refuses);
            let verdict = if refused {
                Verdict::Refused {
                    module: "guard".into(),
                    reason: "not now".into(),
                    again_after: Duration::from_millis(modules.dice.below(15_000)),
                }
            } else {
                Verdict::Admitted {
                    environment: AddedEnvironment::default(),
                }
            };
            let delay = modules.dice.around(30);
            let what = Happening::Answered {
                term,
                question,
                verdict,
            };
            self.soon(delay, gantry, what);
        }
    }

    pub(crate) fn modules_answer(
        &mut self,
        gantry: usize,
        term: u64,
        question: Question,
        verdict: Verdict,
    ) {
        if self.is_term(gantry, term) {
            let answer = Input::Admission {
                workload: question.workload,
                number: question.number,
                asked: question.asked,
                verdict,
            };
            self.hear(gantry, answer);
        }
    }

    /// The faults are over: from now on modules answer everything, or nothing.
    pub(crate) fn settle_modules(&mut self) {
        if self.modules.needed && self.modules.falls_silent {
            self.after(GONE_AFTER, Event::ModulesGone);
        }
    }

    pub(crate) fn modules_gone(&mut self) {
        self.note(|| "modules are gone");
        self.modules.needed = false;
        for gantry in 0..self.gantrys.len() {
            self.hear(gantry, Input::AdmissionNeeded(false));
        }
    }

    /// Nothing is launched without the admission of modules, and none of these is for two launches.
    pub(crate) fn check_admissions(&mut self, gantry: usize, effects: &Effects) {
        let Some(term) = self.gantrys[gantry].term.as_mut() else {
            return;
        };
        let mut uninvited = None;
        for call in &effects.calls {
            let gantry_core::Call::Accept { launches, .. } = call else {
                continue;
            };
            for launch in launches {
                let number = launch.task.parts("sim").map_or(0, |parts| parts.number);
                if !term.admitted.uses(&launch.workload, number) {
                    uninvited.get_or_insert_with(|| launch.task.clone());
                }
            }
        }
        if let Some(task) = uninvited {
            self.violate(format!("{task} is launched, and no module has admitted it"));
        }
    }
}
