//! Asking modules before instances are launched.
//!
//! An instance that waits is in one of three places: it is to be asked about (in the queue, or the
//! question is open), it was refused and waits for that to pass, or it was admitted and waits for
//! an offer. Which one says [`Waiting`]; the books here follow every change of it
//! ([`Scheduler::edit`]), so that whatever ends the waiting also ends the question or the admission.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{Scheduler, ServiceIndex, Timer, status::shortened_to};
use crate::{
    ASK_AGAIN_AFTER, AddedEnvironment, MODULE_NAME_BYTES_MAX, QUESTIONS_MAX, Question,
    REFUSAL_BYTES_MAX, REFUSED_FOR, Timestamp, UNUSED_ADMISSIONS_MAX, Verdict, Veto, Waiting,
    WorkloadName,
};

/// For so long after a question idle offers are held, as the answer may make use of them.
const ANSWERED_SOON: Duration = Duration::from_millis(500);

/// What is asked and what was admitted. Empty while nobody needs to be asked.
#[derive(Debug, Default)]
pub(super) struct Admission {
    pub(super) on: bool,
    questions: BTreeMap<(ServiceIndex, u32), Pending>,
    /// Those to be asked: how often each was asked in vain, priority, instance.
    queue: BTreeSet<(u32, i32, ServiceIndex, u32)>,
    /// Those that wait for an answer, by the time they were last asked.
    open: BTreeSet<(Timestamp, ServiceIndex, u32)>,
    admitted: BTreeMap<ServiceIndex, BTreeMap<u32, AddedEnvironment>>,
    last_token: Timestamp,
    timer_at: Option<Timestamp>,
}

/// A question that has no answer.
#[derive(Debug)]
struct Pending {
    priority: i32,
    /// How often it was asked in vain.
    round: u32,
    /// What goes with the answer, once it was asked.
    token: Option<Timestamp>,
    /// When it was last asked, while that may still be answered.
    open: Option<Timestamp>,
}

impl Admission {
    pub(super) fn new(on: bool) -> Self {
        Self {
            on,
            ..Self::default()
        }
    }

    /// Whether an instance may be launched.
    pub(super) fn admits(&self, index: ServiceIndex, number: u32) -> bool {
        let of_service = self.admitted.get(&index);
        !self.on || of_service.is_some_and(|admitted| admitted.contains_key(&number))
    }

    /// Uses an admission, or lets it lapse.
    pub(super) fn take(&mut self, index: ServiceIndex, number: u32) -> AddedEnvironment {
        let Some(of_service) = self.admitted.get_mut(&index) else {
            return AddedEnvironment::default();
        };
        let environment = of_service.remove(&number).unwrap_or_default();
        if of_service.is_empty() {
            self.admitted.remove(&index);
        }
        environment
    }

    /// An instance is to be asked about, unless it is already.
    pub(super) fn enqueue(&mut self, priority: i32, index: ServiceIndex, number: u32) {
        self.questions.entry((index, number)).or_insert_with(|| {
            self.queue.insert((0, priority, index, number));
            Pending {
                priority,
                round: 0,
                token: None,
                open: None,
            }
        });
    }

    /// An instance is not to be asked about any more.
    pub(super) fn withdraw(&mut self, index: ServiceIndex, number: u32) {
        let Some(pending) = self.questions.remove(&(index, number)) else {
            return;
        };
        match pending.open {
            Some(at) => self.open.remove(&(at, index, number)),
            None => self
                .queue
                .remove(&(pending.round, pending.priority, index, number)),
        };
    }

    /// The services that have something to be asked about.
    pub(super) fn services_asking(&self) -> impl Iterator<Item = (i32, ServiceIndex)> {
        let mut from = (0, 0);
        std::iter::from_fn(move || {
            let ((index, _), pending) = self.questions.range(from..).next()?;
            from = (index + 1, 0);
            Some((pending.priority, *index))
        })
    }

    /// Whether an answer may come in a moment.
    pub(super) fn answers_soon(&self, now: Timestamp) -> bool {
        self.open
            .last()
            .is_some_and(|(at, ..)| now.since(*at) < ANSWERED_SOON)
    }
}

impl Scheduler {
    /// Takes the answer to a question, if it still stands.
    pub(super) fn answered(
        &mut self,
        workload: &WorkloadName,
        number: u32,
        asked: Timestamp,
        verdict: Verdict,
    ) {
        let Ok(index) = self.service_named(workload) else {
            return;
        };
        let pending = self.admission.questions.get(&(index, number));
        if pending.is_none_or(|pending| pending.token != Some(asked)) {
            return;
        }
        self.admission.withdraw(index, number);
        let now = self.now;
        match verdict {
            Verdict::Admitted { environment } => {
                let admitted = self.admission.admitted.entry(index).or_default();
                admitted.insert(number, environment);
                self.edit(index, number, |instance| {
                    instance.waiting = Some(Waiting::Offer { since: now });
                });
            }
            Verdict::Refused {
                module,
                reason,
                again_after,
            } => {
                let until = now + again_after.clamp(*REFUSED_FOR.start(), *REFUSED_FOR.end());
                let veto = Arc::new(Veto {
                    module: shortened_to(MODULE_NAME_BYTES_MAX, &module).into(),
                    reason: shortened_to(REFUSAL_BYTES_MAX, &reason).into(),
                    at: now,
                    until,
                });
                self.edit(index, number, |instance| {
                    if let Some(Waiting::Admission { refused, .. }) = &mut instance.waiting {
                        *refused = Some(veto);
                    }
                });
                let service = index;
                self.timers.set(until, Timer::Instance { service, number });
            }
        }
    }

    /// From now on instances are asked about before they are launched, or not any more.
    pub(super) fn need_admission(&mut self, needed: bool) {
        if self.admission.on == needed {
            return;
        }
        self.admission = Admission::new(needed);
        self.settle_everything(|instance| {
            matches!(
                instance.waiting,
                Some(Waiting::Offer { .. } | Waiting::Admission { .. })
            )
        });
    }

    /// What was asked and admitted of a service was about another revision: it is asked anew.
    pub(super) fn void_admissions(&mut self, index: ServiceIndex) {
        if !self.admission.on {
            return;
        }
        let waiting: Vec<_> = self
            .service(index)
            .into_iter()
            .flat_map(|service| service.state.instances.iter())
            .filter(|instance| {
                matches!(
                    instance.waiting,
                    Some(Waiting::Offer { .. } | Waiting::Admission { .. })
                )
            })
            .map(|instance| instance.number)
            .collect();
        for number in waiting {
            self.edit(index, number, |instance| instance.waiting = None);
            self.settle(index, number);
        }
    }

    /// Asks about as many instances as may be asked about at once: those that were asked about the
    /// least often first, then by priority. What has not been answered in time is asked again.
    pub(super) fn ask_for_admission(&mut self) {
        if self.admission.questions.is_empty() || !self.connection.subscribed {
            return;
        }
        self.expect_no_answer();
        let token = self.now.max(self.admission.last_token + TICK);
        let mut from = (0, i32::MIN, 0, 0);
        while self.admission.open.len() < QUESTIONS_MAX {
            let Some(next) = self.admission.queue.range(from..).next().copied() else {
                break;
            };
            let (round, priority, index, number) = next;
            let unused = self.admission.admitted.get(&index).map_or(0, BTreeMap::len);
            let service = self.service(index).filter(|service| service.started);
            let Some(service) = service.filter(|_| unused < UNUSED_ADMISSIONS_MAX) else {
                from = (round, priority, index + 1, 0);
                continue;
            };
            let (workload, revision) = (service.state.name.clone(), service.state.revision);
            from = next;
            self.admission.queue.remove(&next);
            self.admission.open.insert((self.now, index, number));
            if let Some(pending) = self.admission.questions.get_mut(&(index, number)) {
                pending.open = Some(self.now);
                let asked = *pending.token.get_or_insert(token);
                self.admission.last_token = self.admission.last_token.max(asked);
                self.out.questions.push(Question {
                    workload,
                    number,
                    revision,
                    asked,
                });
            }
        }
        let again_at = self
            .admission
            .open
            .first()
            .map(|(at, ..)| *at + ASK_AGAIN_AFTER);
        let timer_at = self.admission.timer_at.filter(|at| *at > self.now);
        if let Some(again_at) = again_at
            && timer_at.is_none_or(|at| again_at < at)
        {
            self.admission.timer_at = Some(again_at);
            self.timers.set(again_at, Timer::Admission);
        }
    }

    /// Puts back into the queue what has not been answered in time.
    fn expect_no_answer(&mut self) {
        while let Some((at, index, number)) = self.admission.open.first().copied()
            && self.now >= at + ASK_AGAIN_AFTER
        {
            self.admission.open.pop_first();
            if let Some(pending) = self.admission.questions.get_mut(&(index, number)) {
                pending.open = None;
                pending.round = pending.round.saturating_add(1);
                let place = (pending.round, pending.priority, index, number);
                self.admission.queue.insert(place);
            }
        }
    }
}

/// The least by which two questions about an instance differ.
const TICK: Duration = Duration::from_millis(1);

// === Proof ===

impl Admission {
    /// Proves that the books tell of an instance what it says itself.
    pub(super) fn check(
        &self,
        index: ServiceIndex,
        number: u32,
        waiting: Option<&Waiting>,
        now: Timestamp,
    ) -> Result<(), &'static str> {
        let asked = self.questions.contains_key(&(index, number));
        let admitted = self.on && self.admits(index, number);
        match waiting {
            Some(Waiting::Admission { .. }) if !self.on => Err("is asked about in vain"),
            Some(Waiting::Admission { refused, .. }) => {
                let stands = refused.as_ref().is_some_and(|veto| veto.until > now);
                match (asked, admitted) {
                    (true, false) if !stands => Ok(()),
                    (false, false) if stands => Ok(()),
                    (_, true) => Err("is admitted and not"),
                    (true, _) => Err("is asked about though it was refused"),
                    (false, _) => Err("waits for a question that nobody asks"),
                }
            }
            Some(Waiting::Offer { .. }) if self.on && !admitted => Err("was not admitted"),
            Some(Waiting::Offer { .. }) => (!asked).then_some(()).ok_or("is asked about twice"),
            _ if asked || admitted => Err("is asked about though it does not wait"),
            _ => Ok(()),
        }
    }

    /// Proves that the books agree with one another.
    pub(super) fn check_books(&self) -> Result<(), String> {
        let open = self.questions.values().filter(|one| one.open.is_some());
        let (asked, open) = (self.questions.len(), open.count());
        if (open, asked - open) != (self.open.len(), self.queue.len()) || open > QUESTIONS_MAX {
            return Err(format!(
                "of {asked} questions {} are open and {} wait",
                self.open.len(),
                self.queue.len()
            ));
        }
        if !self.on && (asked > 0 || !self.admitted.is_empty()) {
            return Err("questions are open though nobody needs to be asked".to_owned());
        }
        Ok(())
    }
}
