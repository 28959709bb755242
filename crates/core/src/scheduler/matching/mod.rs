//! One cycle: waiting instances against the offers at hand.
//!
//! Services are served by priority, then those with the fewest starting tasks, so that none takes all
//! starting places for itself, then in the order of their declaration. Instances of a service are
//! alike, so an offer is looked at once for a service and not once for an instance, and
//! services of equal demand share the knowledge that nothing fits any more. What a service gets is
//! spread over the agents: those with the fewest of its tasks come first.
//!
//! A cycle answers every offer: with one ACCEPT, with a DECLINE, or by holding it for a moment
//! when only its agent's starting places are taken.

mod lot;
mod placement;

use std::{collections::BTreeSet, collections::HashSet, sync::Arc, time::Duration};

use lot::Lot;
use placement::{Groups, Placing, Verdict};

use super::{Scheduler, ServiceIndex, Timer, offers::HeldOffer, stopping::run_of};
use crate::{
    AgentAddress, Call, Demand, Funnel, Goal, Launch, Notice, OfferId, Task, TaskState, Template,
    Timestamp, Uuid, WorkloadName, Write,
};

/// A held offer is used once this part of its agent's starting places is free, so that the offer,
/// which can be used but once, carries a batch and not a single task…
const BATCH_DIVISOR: u32 = 2;

/// …or once it has been held for so long.
const BATCH_WAIT: Duration = Duration::from_millis(250);

/// For how long an offer is refused that was held in vain: the agent is busy starting tasks.
const REFUSE_BUSY: Duration = Duration::from_secs(1);

/// Offers of agents whose maintenance begins sooner than this are not used until it is over.
const MAINTENANCE_LEAD: Duration = Duration::from_secs(600);

/// An offer that a waiting service could use, and how far.
struct Candidate {
    lot: usize,
    /// How many tasks of the service its agent has already.
    existing: u32,
    /// How many more it can take.
    room: u32,
}

impl Scheduler {
    pub(super) fn cycle(&mut self) {
        self.open_gates();
        if !std::mem::take(&mut self.offers.changed) || self.offers.held.is_empty() {
            return;
        }
        let mut lots: Vec<Lot> = self
            .offers
            .take_all()
            .into_iter()
            .map(|(arrival, held)| Lot::new(arrival, held))
            .collect();
        let mut exhausted: HashSet<Demand> = HashSet::new();
        let mut served: HashSet<ServiceIndex> = HashSet::new();
        // Serving one priority may open the gate of the next.
        loop {
            let mut ready: Vec<_> = self
                .waiting_services
                .iter()
                .filter_map(|(priority, index)| {
                    let service = self.service(*index).filter(|service| service.started)?;
                    Some((*priority, service.state.counts.starting, *index))
                })
                .filter(|(.., index)| served.insert(*index))
                .collect();
            if ready.is_empty() {
                break;
            }
            ready.sort_unstable();
            for (.., index) in ready {
                self.place(index, &mut lots, &mut exhausted);
            }
            self.open_gates();
        }
        self.answer(lots);
    }

    /// Lets services start whose turn has come: when all of better priority have been launched,
    /// and are ready where that was asked for.
    fn open_gates(&mut self) {
        let mut better_waits: Option<(i32, ServiceIndex)> = None;
        let mut waiting: Vec<_> = self.waiting_services.iter().copied().collect();
        if self.admission.on {
            waiting.extend(self.admission.services_asking());
            waiting.sort_unstable();
            waiting.dedup();
        }
        for (priority, index) in waiting {
            let first_waits = better_waits;
            better_waits = better_waits.or(Some((priority, index)));
            if self.service(index).is_none_or(|service| service.started) {
                continue;
            }
            let blocker = first_waits
                .filter(|(better, _)| *better < priority)
                .map(|(_, better)| better)
                .or_else(|| self.unready_before(priority));
            let blocker = blocker.and_then(|index| Some(self.service(index)?.state.name.clone()));
            self.set_gate(index, blocker);
        }
    }

    fn unready_before(&self, priority: i32) -> Option<ServiceIndex> {
        self.services()
            .find(|(_, service)| {
                let state = &service.state;
                state.wait_healthy
                    && state.priority < priority
                    && !state.removed
                    && !service.all_ready()
            })
            .map(|(index, _)| index)
    }

    fn set_gate(&mut self, index: ServiceIndex, blocker: Option<WorkloadName>) {
        let Some(service) = self.service_mut(index) else {
            return;
        };
        if service.state.waits_for != blocker {
            service.state_mut().waits_for.clone_from(&blocker);
        }
        if blocker.is_none() {
            service.started = true;
            self.offers.changed = true;
            self.offers.work_changed = true;
        }
    }

    fn place(&mut self, index: ServiceIndex, lots: &mut [Lot], exhausted: &mut HashSet<Demand>) {
        let Some(service) = self.service(index) else {
            return;
        };
        let Some(template) = service.state.template().cloned() else {
            return;
        };
        let plain = template.placement == crate::Placement::default();
        if plain && exhausted.contains(&template.demand) {
            return;
        }
        let groups = Groups::of(self, &template);
        let placing = Placing::new(self, service, &template, &groups);
        let mut funnel = Funnel {
            at: self.now,
            ..Funnel::default()
        };
        let mut candidates = Vec::new();
        let mut nearest: Option<(u64, usize)> = None;
        for (position, lot) in lots.iter_mut().enumerate() {
            funnel.offers += 1;
            match placing.judge(lot, self.now) {
                Verdict::Constraints => continue,
                Verdict::Maintenance => {
                    funnel.after_constraints += 1;
                    continue;
                }
                Verdict::Colocation => {
                    funnel.after_constraints += 1;
                    funnel.after_maintenance += 1;
                    continue;
                }
                Verdict::Resources { lack } => {
                    funnel.after_constraints += 1;
                    funnel.after_maintenance += 1;
                    funnel.after_colocation += 1;
                    if nearest.is_none_or(|(best, _)| lack < best) {
                        nearest = Some((lack, position));
                    }
                    continue;
                }
                Verdict::Ports => {
                    funnel.after_constraints += 1;
                    funnel.after_maintenance += 1;
                    funnel.after_colocation += 1;
                    funnel.after_resources += 1;
                    if nearest.is_none() {
                        nearest = Some((u64::MAX, position));
                    }
                    continue;
                }
                Verdict::Fits { room } => {
                    funnel.after_constraints += 1;
                    funnel.after_maintenance += 1;
                    funnel.after_colocation += 1;
                    funnel.after_resources += 1;
                    funnel.after_ports += 1;
                    let places = self.starting_room(lot);
                    if places == 0 {
                        lot.wanted_by_blocked = true;
                        continue;
                    }
                    funnel.after_limits += 1;
                    let existing = placing.existing(lot);
                    candidates.push(Candidate {
                        lot: position,
                        existing,
                        room: room.min(places),
                    });
                }
            }
        }
        let launched = if placing.is_counted() {
            self.place_in_rounds(index, &template, &groups, &candidates, lots)
        } else {
            self.place_level(index, &template, &mut candidates, lots)
        };
        funnel.launched = launched;
        let Some(service) = self.service(index) else {
            return;
        };
        let still_waiting = !service.waiting.is_empty();
        if still_waiting {
            for candidate in &candidates {
                // What is left of this offer would be used if more of its tasks could be starting.
                if self.starting_room(&lots[candidate.lot]) == 0 {
                    lots[candidate.lot].wanted_by_blocked = true;
                }
            }
            funnel.nearest =
                nearest.map(|(_, position)| lots[position].near_miss(&template.demand));
            if plain && launched == 0 && funnel.after_ports == 0 {
                exhausted.insert(template.demand.clone());
            }
        }
        if let Some(service) = self.service_mut(index) {
            service.state_mut().funnel = Some(Arc::new(funnel));
        }
    }

    /// How many more tasks may be starting on the agent of this offer. None for a moment after
    /// some have become free, so that a batch can gather.
    fn starting_room(&self, lot: &Lot) -> u32 {
        let limit = self.settings.starting_per_agent_max;
        let starting = self.starting.get(&lot.offer.agent.id).copied().unwrap_or(0);
        let room = limit.saturating_sub(starting);
        let gathers = lot.launches.is_empty()
            && room < limit.div_ceil(BATCH_DIVISOR)
            && self.now.since(lot.since) < BATCH_WAIT;
        if gathers { 0 } else { room }
    }

    /// Spreads waiting instances over offers that do not influence one another: to every agent
    /// so many that all come to the same level, as far as there is room.
    fn place_level(
        &mut self,
        index: ServiceIndex,
        template: &Arc<Template>,
        candidates: &mut [Candidate],
        lots: &mut [Lot],
    ) -> u32 {
        let Some(service) = self.service(index) else {
            return 0;
        };
        let waiting = service.waiting.len() as u64;
        let capacity: u64 = candidates
            .iter()
            .map(|candidate| u64::from(candidate.room))
            .sum();
        let level = if capacity <= waiting {
            u32::MAX
        } else {
            level_for(candidates, waiting)
        };
        candidates.sort_by_key(|candidate| candidate.existing);
        let mut left = waiting.min(capacity);
        let mut launched = 0;
        // First what is below the level, then one each until nothing is left.
        for extra in [0, 1] {
            for candidate in candidates.iter_mut() {
                let below = level
                    .saturating_sub(1)
                    .saturating_add(extra)
                    .saturating_sub(candidate.existing);
                let share = u64::from(below.min(candidate.room)).min(left);
                for _ in 0..share {
                    if !self.launch_next(index, template, &mut lots[candidate.lot]) {
                        break;
                    }
                    launched += 1;
                    candidate.existing += 1;
                    candidate.room -= 1;
                    left -= 1;
                }
            }
        }
        launched
    }

    /// Places one task an offer in each round, as every task changes what the constraints allow.
    fn place_in_rounds(
        &mut self,
        index: ServiceIndex,
        template: &Arc<Template>,
        groups: &Groups,
        candidates: &[Candidate],
        lots: &mut [Lot],
    ) -> u32 {
        let mut order: Vec<_> = candidates
            .iter()
            .map(|candidate| (candidate.existing, candidate.lot, candidate.room))
            .collect();
        order.sort_unstable();
        let mut launched = 0;
        loop {
            let before = launched;
            order.retain_mut(|(existing, position, room)| {
                let Some(service) = self.service(index) else {
                    return false;
                };
                if service.waiting.is_empty() || *room == 0 {
                    return false;
                }
                let placing = Placing::new(self, service, template, groups);
                if !placing.allows_now(&lots[*position]) {
                    return true; // The next task elsewhere may allow it again.
                }
                if !self.launch_next(index, template, &mut lots[*position]) {
                    return false;
                }
                launched += 1;
                *existing += 1;
                *room -= 1;
                true
            });
            if launched == before {
                return launched;
            }
        }
    }

    /// Launches the lowest waiting instance of a service on an offer. False when the offer has
    /// no room after all.
    fn launch_next(
        &mut self,
        index: ServiceIndex,
        template: &Arc<Template>,
        lot: &mut Lot,
    ) -> bool {
        let limit = self.settings.starting_per_agent_max;
        if self
            .starting
            .get(&lot.offer.agent.id)
            .is_some_and(|starting| *starting >= limit)
        {
            return false;
        }
        let Some(service) = self.service(index) else {
            return false;
        };
        // Another offer of the same agent may have been used a moment ago.
        if template.placement.unique_hosts && service.on_agent.contains_key(&lot.offer.agent.id) {
            return false;
        }
        let Some(number) = service.waiting.first().copied() else {
            return false;
        };
        let Some((pieces, ports)) = lot.carve(&template.demand, &self.fixed_ports) else {
            return false;
        };
        let uuid = self.ids.uuid();
        let environment = self.admission.take(index, number);
        let Some(service) = self.service(index) else {
            return false;
        };
        let revision = service.state.revision;
        let workload = service.state.task_name.clone();
        let agent = lot.offer.agent.clone();
        let id = crate::TaskId::from_parts(&self.settings.framework, &workload, number, uuid);
        let task = self.new_task(uuid, revision, agent.clone(), &ports);
        let name = service.state.name.clone();
        let record = service.task_record(id.clone(), number, &task);
        self.out.writes.push(Write::Put(record));
        self.edit(index, number, |instance| {
            instance.waiting = None;
            instance.tasks.push(task);
        });
        if let Some(service) = self.service_mut(index) {
            service.enter_task(&agent, revision);
        }
        let deadline = self.now + self.settings.launch_deadline;
        let run = run_of(uuid);
        self.timers.set(
            deadline,
            Timer::Launch {
                service: index,
                number,
                run,
            },
        );
        self.counters.launched += 1;
        self.notice(Notice::Task {
            task: id.clone(),
            workload: name,
            number,
            state: TaskState::Launching,
            healthy: None,
            reason: None,
            message: None,
        });
        lot.launches.push(Launch {
            task: id,
            instance: format!("{workload}-{number}").into(),
            workload,
            template: template.clone(),
            agent,
            ports,
            pieces,
            environment,
        });
        true
    }

    fn new_task(&self, uuid: Uuid, revision: u32, agent: Arc<AgentAddress>, ports: &[u16]) -> Task {
        Task {
            uuid,
            revision,
            agent,
            ports: ports.into(),
            state: TaskState::Launching,
            goal: Goal::Run,
            healthy: None,
            readiness: None,
            heard_in: self.connection.subscription,
            launched_at: self.now,
            started_at: None,
            running_at: None,
            changed_at: self.now,
            kills_sent: 0,
            kill_again_at: None,
            message: None,
        }
    }

    fn answer(&mut self, lots: Vec<Lot>) {
        let mut idle = Vec::new();
        let mut busy = Vec::new();
        let mut look_again: Option<Timestamp> = None;
        let answers_soon = self.admission.answers_soon(self.now);
        for lot in lots {
            let Lot {
                arrival,
                since,
                offer,
                launches,
                wanted_by_blocked,
                ..
            } = lot;
            let wanted_by_blocked = wanted_by_blocked || answers_soon;
            if !launches.is_empty() {
                self.counters.accepted += 1;
                // The rest is refused for as long as nothing wants it, and not at all otherwise.
                let refuse = if wanted_by_blocked {
                    Duration::ZERO
                } else {
                    self.settings.refuse_idle
                };
                self.offers.refused |= !wanted_by_blocked;
                self.send(Call::Accept {
                    offer: offer.id,
                    agent: offer.agent.id.clone(),
                    launches,
                    refuse,
                    offered_at: since,
                });
            } else if wanted_by_blocked && self.now.since(since) < self.settings.hold_max {
                look_again = Some(self.now + BATCH_WAIT);
                self.offers.hold(arrival, HeldOffer { offer, since });
            } else if wanted_by_blocked {
                busy.push(offer.id);
            } else {
                idle.push(offer.id);
            }
        }
        if let Some(at) = look_again {
            self.timers.set(at, Timer::Offers);
        }
        self.decline(busy, REFUSE_BUSY);
        self.decline(idle, self.settings.refuse_idle);
    }

    fn decline(&mut self, offers: Vec<OfferId>, refuse: Duration) {
        if !offers.is_empty() {
            self.counters.declined += offers.len() as u64;
            self.offers.refused = true;
            self.send(Call::Decline { offers, refuse });
        }
    }
}

/// The smallest level at which the candidates together take at least `waiting` tasks.
fn level_for(candidates: &[Candidate], waiting: u64) -> u32 {
    let taken = |level: u32| -> u64 {
        candidates
            .iter()
            .map(|candidate| {
                u64::from(level.saturating_sub(candidate.existing).min(candidate.room))
            })
            .sum()
    };
    let highest = candidates
        .iter()
        .map(|candidate| candidate.existing.saturating_add(candidate.room))
        .max();
    let (mut low, mut high) = (0, highest.unwrap_or(0));
    while low < high {
        let middle = low + (high - low) / 2;
        if taken(middle) >= waiting {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

/// Ports that some service insists on.
type FixedPorts = BTreeSet<u16>;
