//! The master: subscription, offers, what it knows of tasks, and what it says.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use gantry_core::{
    AgentId, FrameworkId, Key, MesosEvent, Offer, OfferId, StatusUpdate, TaskId, TaskState,
    Unavailability,
};

use crate::{
    agents::{Standing, Update},
    bundle::Bundle,
    world::{Event, Happening, World},
};

/// What the master holds in memory; a new master begins with nothing but `framework_ids` and the
/// standing of agents (the registry).
#[derive(Debug)]
pub(crate) struct Master {
    pub(crate) up: bool,
    /// The connection on which the framework is subscribed.
    pub(crate) link: Option<u64>,
    /// When the last event arrives: events do not overtake one another.
    arrives_at: u64,
    framework_ids: u64,
    pub(crate) framework_id: Option<FrameworkId>,
    /// Ids that are never taken again.
    pub(crate) removed: BTreeSet<FrameworkId>,
    /// An operator has had the id forgotten: another one is not a loss.
    pub(crate) forgotten: bool,
    pub(crate) suppressed: bool,
    pub(crate) offers: BTreeMap<OfferId, Offered>,
    /// Every offer ever made.
    pub(crate) ever_offered: BTreeMap<OfferId, Made>,
    filters: Vec<Filter>,
    pub(crate) tasks: BTreeMap<TaskId, MasterTask>,
    /// Every task ever launched.
    pub(crate) ever_launched: BTreeSet<TaskId>,
}

/// An outstanding offer.
#[derive(Debug)]
pub(crate) struct Offered {
    pub(crate) agent: usize,
    pub(crate) bundle: Arc<Bundle>,
    at: u64,
}

/// What an offer said.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) agent: usize,
    pub(crate) bundle: Arc<Bundle>,
    pub(crate) unavailable: Option<Unavailability>,
}

/// Refused resources: nothing that is a part of them is offered before the time is over.
#[derive(Debug)]
struct Filter {
    agent: usize,
    bundle: Bundle,
    until: u64,
}

/// A task as the master knows it.
#[derive(Clone, Debug)]
pub(crate) struct MasterTask {
    pub(crate) agent: usize,
    /// The last state that was passed on; STAGING before the first.
    pub(crate) forwarded: TaskState,
    pub(crate) healthy: Option<bool>,
    /// What the agent said last, ahead of what is passed on.
    pub(crate) latest: TaskState,
    pub(crate) bundle: Bundle,
    /// KILL came while the agent was not connected.
    pub(crate) kill_wanted: bool,
}

impl Default for Master {
    fn default() -> Self {
        Self {
            up: true,
            link: None,
            arrives_at: 0,
            framework_ids: 0,
            framework_id: None,
            removed: BTreeSet::new(),
            forgotten: false,
            suppressed: false,
            offers: BTreeMap::new(),
            ever_offered: BTreeMap::new(),
            filters: Vec::new(),
            tasks: BTreeMap::new(),
            ever_launched: BTreeSet::new(),
        }
    }
}

impl World {
    // === Subscription ===

    pub(crate) fn master_hears_subscribe(&mut self, link: u64, id: Option<FrameworkId>) {
        let (gantry, _, epoch) = self.link_of(link);
        if id.is_none() && epoch < self.keeper.epoch && self.master.framework_id.is_some() {
            // A late word of a leader that was deposed before it had an id: another framework to
            // the master, which gets nothing to do.
            return self.note(|| format!("G{gantry} registers another framework"));
        }
        if !self.master.up {
            let delay = self.dice.around(300);
            return self.soon(delay, gantry, Happening::LinkSeenDown { link });
        }
        if id
            .as_ref()
            .is_some_and(|id| self.master.removed.contains(id))
        {
            self.note(|| format!("G{gantry} is told that its framework has been removed"));
            let delay = self.latency();
            return self.soon(delay, gantry, Happening::LinkSeenDown { link });
        }
        let known = self.master.framework_id.clone();
        let id = match (id, known) {
            (Some(id), Some(known)) if id != known => {
                return self.violate(format!("subscribed as {id} and not as {known}"));
            }
            (Some(id), _) => id,
            // A framework whose id was lost before it was stored must have nothing running.
            (None, _) => {
                let recorded = |key: &Key| matches!(key, Key::Task(_));
                let lost = self.agents.iter().any(|agent| !agent.tasks.is_empty())
                    || self.keeper.records.keys().any(recorded);
                if lost && !std::mem::take(&mut self.master.forgotten) {
                    return self.violate("the framework id was lost while tasks exist".to_owned());
                }
                self.master.framework_ids += 1;
                self.memory.id_since = self.now;
                FrameworkId::new(format!("framework-{}", self.master.framework_ids))
            }
        };
        let before = self.master.link;
        let takeover = before.is_some();
        if let Some(before) = before {
            // The older stream is closed ("Framework failed over"): nothing that comes on it is taken
            // any more, and whoever may still act subscribes again.
            let (other, ..) = self.link_of(before);
            let delay = self.latency();
            self.soon(delay, other, Happening::LinkSeenDown { link: before });
        }
        self.note(|| format!("G{gantry} subscribed on link {link} (takeover: {takeover})"));
        self.master.framework_id = Some(id.clone());
        self.master.offers.clear();
        if !takeover {
            self.master.filters.clear();
        }
        self.master.suppressed = false;
        self.master.link = Some(link);
        self.master.arrives_at = self.now;
        self.say(MesosEvent::Subscribed { framework_id: id });
        for agent in 0..self.agents.len() {
            self.resend_updates(agent);
        }
    }

    pub(crate) fn master_loses_link(&mut self, link: u64) {
        if self.master.link == Some(link) {
            self.master.link = None;
            self.master.offers.clear();
            self.master.filters.clear();
        }
    }

    /// Sends an event to the framework, if it is there.
    pub(crate) fn say(&mut self, event: MesosEvent) {
        let Some(link) = self.master.link else {
            return;
        };
        let arrives = (self.now + self.latency()).max(self.master.arrives_at);
        self.master.arrives_at = arrives;
        let (gantry, ..) = self.link_of(link);
        self.queue.put(
            arrives,
            Event::At {
                gantry,
                what: Happening::Hears { link, event },
            },
        );
    }

    /// ERROR "Framework has been removed", and all its tasks are stopped.
    pub(crate) fn remove_framework(&mut self) {
        let Some(id) = self.master.framework_id.clone().filter(|_| self.master.up) else {
            return;
        };
        if !self.master.removed.insert(id) {
            return;
        }
        self.note(|| "the FRAMEWORK is removed");
        if let Some(link) = self.master.link {
            let (gantry, ..) = self.link_of(link);
            let delay = self.latency();
            self.soon(delay, gantry, Happening::LinkSeenDown { link });
            self.master_loses_link(link);
        }
        self.master.tasks.clear();
        for agent in &mut self.agents {
            agent.session += 1;
            agent.tasks.clear();
        }
    }

    // === Failover ===

    pub(crate) fn master_fails_over(&mut self) {
        self.note(|| "MASTER fails over");
        if let Some(link) = self.master.link {
            let (gantry, ..) = self.link_of(link);
            self.break_link(gantry, false);
        }
        let old = std::mem::take(&mut self.master);
        self.master = Master {
            up: false,
            framework_ids: old.framework_ids,
            framework_id: old.framework_id,
            removed: old.removed,
            forgotten: old.forgotten,
            ever_offered: old.ever_offered,
            ever_launched: old.ever_launched,
            ..Master::default()
        };
        for agent in &mut self.agents {
            agent.session += 1;
            if matches!(
                agent.standing,
                Standing::Registered | Standing::Disconnected
            ) {
                agent.standing = Standing::Recovered;
            }
        }
        let delay = self.dice.around(3_000);
        self.after(delay, Event::MasterUp);
    }

    pub(crate) fn master_up(&mut self) {
        if self.master.up {
            return;
        }
        self.note(|| "a master leads again");
        self.master.up = true;
        for agent in 0..self.agents.len() {
            let delay = if self.settled {
                self.dice.around(500)
            } else {
                self.dice.around(6_000)
            };
            self.after(delay, Event::Register { agent });
            if self.agents[agent].standing == Standing::Recovered {
                self.expect_agent(agent);
            }
        }
    }

    // === Offers ===

    pub(crate) fn allocate(&mut self) {
        self.after(1_000, Event::Allocate);
        self.allocate_now();
    }

    /// Offers everything that is free and not refused.
    pub(crate) fn allocate_now(&mut self) {
        let now = self.now;
        if !self.master.up || self.master.link.is_none() {
            return;
        }
        if let Some(timeout) = self.plan.offer_timeout {
            let offers = self.master.offers.iter();
            let stale = offers.filter(|(_, offered)| now > offered.at + timeout);
            let stale: Vec<_> = stale.map(|(id, _)| id.clone()).collect();
            for id in stale {
                self.rescind(&id);
            }
        }
        if self.master.suppressed {
            return;
        }
        self.master.filters.retain(|filter| filter.until > now);
        let mut offers = Vec::new();
        let first = self.dice.below(self.agents.len() as u64) as usize;
        for index in 0..self.agents.len() {
            let agent = (first + index) % self.agents.len();
            let current = &self.agents[agent];
            if current.standing != Standing::Registered || current.drained {
                continue;
            }
            let unavailable = current.unavailable;
            let free = self.free(agent);
            let refused = self
                .master
                .filters
                .iter()
                .any(|filter| filter.agent == agent && filter.bundle.contains(&free));
            if !free.is_allocatable() || refused {
                continue;
            }
            let id = OfferId::new(format!("offer-{}", self.master.ever_offered.len() + 1));
            let bundle = Arc::new(free);
            offers.push(Offer {
                id: id.clone(),
                agent: self.agents[agent].address.clone(),
                role: "sim".into(),
                entries: bundle.entries(),
                unavailable,
            });
            self.master.ever_offered.insert(
                id.clone(),
                Made {
                    agent,
                    bundle: bundle.clone(),
                    unavailable,
                },
            );
            let at = now;
            self.master.offers.insert(id, Offered { agent, bundle, at });
        }
        if !offers.is_empty() {
            self.note(|| {
                let ids: Vec<_> = offers
                    .iter()
                    .map(|offer| format!("{} of {}", offer.id, offer.agent.id))
                    .collect();
                format!("offers: {}", ids.join(", "))
            });
            self.say(MesosEvent::Offers(offers));
        }
    }

    /// What neither tasks nor offers hold of an agent.
    fn free(&self, agent: usize) -> Bundle {
        let mut free = self.agents[agent].total.clone();
        for task in self.master.tasks.values() {
            if task.agent == agent && !task.latest.is_terminal() {
                free.remove(&task.bundle);
            }
        }
        for offered in self.master.offers.values() {
            if offered.agent == agent {
                free.remove(&offered.bundle);
            }
        }
        free
    }

    pub(crate) fn refuse(&mut self, agent: usize, bundle: Bundle, millis: u64) {
        if millis > 0 {
            self.master.filters.push(Filter {
                agent,
                bundle,
                until: self.now + millis.max(1_000),
            });
        }
    }

    pub(crate) fn forget_filters(&mut self, agent: Option<usize>) {
        self.master
            .filters
            .retain(|filter| agent.is_some_and(|agent| filter.agent != agent));
    }

    pub(crate) fn rescind(&mut self, id: &OfferId) {
        if self.master.offers.remove(id).is_some() {
            self.say(MesosEvent::Rescinded(id.clone()));
        }
    }

    pub(crate) fn rescind_all_of(&mut self, agent: usize) {
        let ids: Vec<_> = self
            .master
            .offers
            .iter()
            .filter(|(_, offered)| offered.agent == agent)
            .map(|(id, _)| id.clone())
            .collect();
        for id in ids {
            self.rescind(&id);
        }
    }

    // === Tasks ===

    /// A task that the master knows without having launched it for anybody here.
    pub(crate) fn know_task(&mut self, task: TaskId, agent: usize) {
        let task_of_master = MasterTask {
            agent,
            forwarded: TaskState::Running,
            healthy: None,
            latest: TaskState::Running,
            bundle: Bundle::default(),
            kill_wanted: false,
        };
        self.master.tasks.insert(task, task_of_master);
    }

    /// An update of the agent, passed on as it is. Without a session it is a straggler that went
    /// round some other way.
    pub(crate) fn master_hears_update(
        &mut self,
        agent: usize,
        session: Option<u64>,
        task: TaskId,
        update: Update,
    ) {
        let current = &self.agents[agent];
        let from_now = session.is_none_or(|session| session == current.session);
        if !self.master.up || current.standing != Standing::Registered || !from_now {
            return;
        }
        let latest = self.agents[agent]
            .tasks
            .get(&task)
            .map_or(update.state, |known| known.state);
        // A straggler is news only when nothing later was heard.
        if let Some(known) = self.master.tasks.get_mut(&task)
            && (session.is_some() || update.state > known.forwarded)
        {
            if !known.forwarded.is_terminal() {
                known.forwarded = update.state;
                known.healthy = update.healthy;
            }
            if !known.latest.is_terminal() {
                known.latest = latest;
            }
        }
        let agent_id = self.agents[agent].address.id.clone();
        self.tell(StatusUpdate {
            task,
            agent: Some(agent_id),
            state: update.state,
            uuid: Some(update.uuid),
            reason: update.reason.map(Arc::from),
            message: None,
            healthy: update.healthy,
        });
    }

    /// Says what the master itself has to say of a task.
    pub(crate) fn tell_own(
        &mut self,
        task: TaskId,
        agent: Option<AgentId>,
        state: TaskState,
        healthy: Option<bool>,
        reason: &str,
    ) {
        self.tell(StatusUpdate {
            task,
            agent,
            state,
            uuid: None,
            reason: Some(reason.into()),
            message: None,
            healthy,
        });
    }

    fn tell(&mut self, update: StatusUpdate) {
        if update.state == TaskState::Unreachable {
            self.memory.unreachable(&update.task, self.now);
        }
        // What an agent says of a task is so; what is concluded from an agent's absence may not be.
        let concluded = matches!(
            update.state,
            TaskState::Unreachable
                | TaskState::Unknown
                | TaskState::Lost
                | TaskState::Gone
                | TaskState::GoneByOperator
        );
        if concluded {
            self.memory.doubted(&update.task);
            for agent in &mut self.agents {
                if let Some(task) = agent.tasks.get_mut(&update.task) {
                    task.excused |= task.alive;
                }
            }
        }
        self.say(MesosEvent::Status(update));
    }
}
