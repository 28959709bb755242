//! Who is offered what, and when (Mesos `src/master/allocator/mesos/hierarchical.cpp`).
//!
//! An agent is looked at only if something about it changed since it was looked at
//! last: resources came back, a filter ran out, a role was revived. So a tick costs
//! nothing on a quiet cluster of ten thousand agents.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gantry_mesos::v1::framework_info::capability::Type as Capability;
use gantry_mesos::v1::{self, scheduler};

use super::framework::{Filter, Shares};
use super::timers::Timer;
use super::{AgentKey, Bag, FrameworkKey, Offer, State, event};

/// Longest filter: 365 days.
const REFUSE_MAX: Duration = Duration::from_secs(365 * 24 * 3600);
/// `Filters.refuse_seconds` where it is absent or negative.
const REFUSE_DEFAULT: Duration = Duration::from_secs(5);

/// The length of a filter: `None` for no filter.
pub(super) fn refusal(filters: Option<&v1::Filters>) -> Option<Duration> {
    let seconds = filters.map_or(5.0, v1::Filters::refuse_seconds);
    if seconds == 0.0 {
        None
    } else if seconds < 0.0 || seconds.is_nan() {
        Some(REFUSE_DEFAULT)
    } else {
        Some(
            Duration::try_from_secs_f64(seconds)
                .unwrap_or(REFUSE_MAX)
                .min(REFUSE_MAX),
        )
    }
}

impl State {
    pub(super) fn consider_all_agents(&mut self) {
        self.candidates.extend(self.agents.iter().map(|a| a.key));
    }

    /// One allocation over the agents that changed: at most one OFFERS event for each framework.
    pub(crate) fn allocate(&mut self) {
        if self.faults.allocation_stopped || self.candidates.is_empty() {
            return;
        }
        let takers: Vec<(FrameworkKey, Arc<str>)> = self
            .frameworks
            .iter()
            .filter(|(_, f)| f.is_connected())
            .flat_map(|(key, f)| {
                f.roles
                    .iter()
                    .filter(|r| !f.is_suppressed(r))
                    .map(|r| (*key, Arc::clone(r)))
            })
            .collect();
        if takers.is_empty() {
            // Every event that could give a taker looks at all agents again.
            self.candidates.clear();
            return;
        }
        let mut shares = if takers.len() > 1 {
            self.shares()
        } else {
            Shares::new()
        };
        let mut order: Vec<AgentKey> = std::mem::take(&mut self.candidates).into_iter().collect();
        self.shuffle(&mut order);

        let mut offers: BTreeMap<FrameworkKey, Vec<v1::Offer>> = BTreeMap::new();
        for agent in order {
            if !self.agent(agent).may_offer() {
                continue;
            }
            let mut takers = takers.clone();
            if takers.len() > 1 {
                takers.sort_by_key(|(key, role)| {
                    (shares.get(role).copied().unwrap_or_default(), *key)
                });
            }
            for (framework, role) in takers {
                if self.agent(agent).available.is_empty() {
                    break;
                }
                if let Some(offer) = self.offer(agent, framework, &role, &mut shares) {
                    offers.entry(framework).or_default().push(offer);
                }
            }
        }
        for (framework, offers) in offers {
            self.counters.offers_sent += offers.len() as u64;
            self.send(
                framework,
                &scheduler::Event {
                    offers: Some(scheduler::event::Offers { offers }),
                    ..event(scheduler::event::Type::Offers)
                },
            );
        }
    }

    fn shuffle(&mut self, order: &mut [AgentKey]) {
        for i in (1..order.len()).rev() {
            let other = usize::try_from(self.random() % (i as u64 + 1)).unwrap_or(0);
            order.swap(i, other);
        }
    }

    /// What the roles hold: cpus and mem of tasks, in thousandths.
    fn shares(&self) -> Shares {
        let mut shares = Shares::new();
        for task in self.tasks.values().filter(|t| !t.freed) {
            let share = shares.entry(Arc::clone(&task.role)).or_default();
            share.0 += task.resources.total("cpus");
            share.1 += task.resources.total("mem");
        }
        shares
    }

    fn offer(
        &mut self,
        agent_key: AgentKey,
        key: FrameworkKey,
        role: &Arc<str>,
        shares: &mut Shares,
    ) -> Option<v1::Offer> {
        let framework = self.frameworks.get(&key)?;
        let agent = &self.agents[agent_key.index()];
        if agent.total.has("gpus") && !framework.can(Capability::GpuResources) {
            return None;
        }
        let refined = framework.can(Capability::ReservationRefinement);
        let resources =
            agent
                .available
                .offerable(role, refined, framework.can(Capability::SharedResources));
        if resources.is_empty() || !framework.is_allocatable(role, &resources) {
            return None;
        }
        let filters = framework.filters.get(&(agent_key, Arc::clone(role)));
        let now = self.now;
        if filters.is_some_and(|all| {
            all.iter()
                .any(|f| f.until > now && f.refused.contains(&resources))
        }) {
            return None;
        }
        let number = self.next_offer;
        self.next_offer += 1;
        let allocated = framework.shown_role(role);
        let message = v1::Offer {
            id: self.offer_id(number),
            framework_id: v1::FrameworkId {
                value: framework.id.to_string(),
            },
            agent_id: v1::AgentId {
                value: agent.id.clone(),
            },
            hostname: agent.hostname.clone(),
            resources: resources.to_resources(allocated, refined),
            executor_ids: agent
                .executors
                .iter()
                .filter_map(|e| self.executors.get(e))
                .filter(|e| e.framework == key)
                .map(|e| v1::ExecutorId {
                    value: e.id.clone(),
                })
                .collect(),
            attributes: agent.attributes.clone(),
            url: Some(agent.url()),
            unavailability: None,
            allocation_info: allocated.map(|role| v1::resource::AllocationInfo {
                role: Some(role.to_owned()),
            }),
            domain: None,
        };
        let share = shares.entry(Arc::clone(role)).or_default();
        share.0 += resources.total("cpus");
        share.1 += resources.total("mem");
        let agent = &mut self.agents[agent_key.index()];
        agent.available.subtract(&resources);
        agent.offers.insert(number);
        if let Some(framework) = self.frameworks.get_mut(&key) {
            framework.offers.insert(number);
        }
        let role = Arc::clone(role);
        self.offers.insert(
            number,
            Offer {
                framework: key,
                agent: agent_key,
                role,
                resources,
            },
        );
        if let Some(timeout) = self.options.offer_timeout {
            self.after(timeout, Timer::OfferTimeout { offer: number });
        }
        Some(message)
    }

    /// Takes an offer out of the books. Its resources are the caller's to place.
    pub(super) fn take_offer(&mut self, number: u64) -> Option<Offer> {
        let offer = self.offers.remove(&number)?;
        self.agent_mut(offer.agent).offers.remove(&number);
        if let Some(framework) = self.frameworks.get_mut(&offer.framework) {
            framework.offers.remove(&number);
        }
        Some(offer)
    }

    /// Takes an offer back without a word.
    pub(super) fn withdraw_offer(&mut self, number: u64) {
        if let Some(offer) = self.take_offer(number) {
            self.recover(offer.agent, &offer.resources);
        }
    }

    /// Takes an offer back and says so.
    pub(super) fn rescind(&mut self, number: u64) {
        let Some(offer) = self.take_offer(number) else {
            return;
        };
        self.recover(offer.agent, &offer.resources);
        self.send(
            offer.framework,
            &scheduler::Event {
                rescind: Some(scheduler::event::Rescind {
                    offer_id: self.offer_id(number),
                }),
                ..event(scheduler::event::Type::Rescind)
            },
        );
    }

    /// Gives resources back to an agent, to be offered at the next allocation.
    pub(super) fn recover(&mut self, agent: AgentKey, resources: &Bag) {
        if !resources.is_empty() {
            self.agent_mut(agent).available.add(resources);
            self.candidates.insert(agent);
        }
    }

    /// Gives resources back that a framework does not want for a while.
    pub(super) fn decline(
        &mut self,
        key: FrameworkKey,
        agent: AgentKey,
        role: &Arc<str>,
        resources: &Bag,
        refuse: Option<Duration>,
    ) {
        self.recover(agent, resources);
        let (Some(refuse), false) = (refuse, resources.is_empty()) else {
            return;
        };
        let refuse = refuse.max(self.options.allocation_interval);
        let now = self.now;
        if let Some(framework) = self.frameworks.get_mut(&key) {
            let filters = framework
                .filters
                .entry((agent, Arc::clone(role)))
                .or_default();
            filters.retain(|f| f.until > now);
            filters.push(Filter {
                refused: resources.clone(),
                until: now.saturating_add(refuse),
            });
            self.after(refuse, Timer::FilterExpired { agent });
        }
    }

    /// SUPPRESS and REVIVE. A call that names a role that is not the framework's is void.
    pub(super) fn suppress(&mut self, key: FrameworkKey, roles: &[String]) {
        let Some(framework) = self.frameworks.get_mut(&key) else {
            return;
        };
        if let Some(chosen) = chosen_roles(&framework.roles, roles) {
            framework
                .suppressed
                .extend(chosen.iter().map(|r| r.to_string()));
        }
    }

    pub(super) fn revive(&mut self, key: FrameworkKey, roles: &[String]) {
        let Some(framework) = self.frameworks.get_mut(&key) else {
            return;
        };
        let Some(chosen) = chosen_roles(&framework.roles, roles) else {
            return;
        };
        framework
            .filters
            .retain(|(_, role), _| !chosen.contains(role));
        framework
            .suppressed
            .retain(|role| !chosen.iter().any(|r| **r == **role));
        self.consider_all_agents();
        self.allocate();
    }
}

/// The roles a call means: all of them if it names none, `None` if it names a foreign one.
fn chosen_roles(own: &[Arc<str>], named: &[String]) -> Option<Vec<Arc<str>>> {
    if named.is_empty() {
        return Some(own.to_vec());
    }
    named
        .iter()
        .map(|name| own.iter().find(|role| ***role == **name).cloned())
        .collect()
}
