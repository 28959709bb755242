//! Agents: tasks and their lives, updates until they are acknowledged; loss and return.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use gantry_core::{
    AgentAddress, AgentId, Amount, MesosEvent, Reservation, Reservations, Scalar, TaskId,
    TaskState, Unavailability,
};

use crate::{
    bundle::Bundle,
    master::MasterTask,
    plan::PORTS_FROM,
    types::Behaviour,
    world::{Event, World},
};

/// An agent with its machine.
#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) address: Arc<AgentAddress>,
    pub(crate) host: u64,
    pub(crate) total: Bundle,
    /// The machine runs.
    pub(crate) up: bool,
    /// Agent and master do not hear each other.
    pub(crate) cut: bool,
    /// It will never be back under this id.
    pub(crate) retired: bool,
    /// What the master thinks of it.
    pub(crate) standing: Standing,
    /// An operator drains it, or has done so: nothing is offered of it.
    pub(crate) drained: bool,
    /// What the schedule of maintenance says of it, be it over or not.
    pub(crate) unavailable: Option<Unavailability>,
    /// Counts registrations; messages of an older one are void.
    pub(crate) session: u64,
    /// Counts silences; the time-out of an older one is void.
    silence: u64,
    /// When the last message of the master arrives: they do not overtake one another.
    pub(crate) arrives_at: u64,
    pub(crate) tasks: BTreeMap<TaskId, AgentTask>,
}

/// What the master thinks of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Registered,
    /// Its connection broke; it has some time to be back.
    Disconnected,
    /// In the registry, but not heard of since the failover of the master.
    Recovered,
    Unreachable,
    /// Marked as gone by an operator.
    Gone,
    /// Unreachable for so long that it was forgotten; it may be back all the same.
    Forgotten,
    /// Another agent has its address now.
    Removed,
}

/// A task on its agent, until its end is acknowledged.
#[derive(Debug)]
pub(crate) struct AgentTask {
    /// In truth.
    pub(crate) alive: bool,
    pub(crate) state: TaskState,
    pub(crate) healthy: Option<bool>,
    pub(crate) behaviour: Behaviour,
    pub(crate) checked: bool,
    pub(crate) killing: bool,
    /// Its machine died; the agent will say so when it is back.
    lost: bool,
    /// The master once said that it has ended or cannot be reached, while it was alive: a second
    /// copy may have been started by right.
    pub(crate) excused: bool,
    pub(crate) updates: VecDeque<Update>,
    pub(crate) attempt: u32,
}

/// An update on its way, the same each time it is sent.
#[derive(Clone, Debug)]
pub(crate) struct Update {
    pub(crate) uuid: [u8; 16],
    pub(crate) state: TaskState,
    pub(crate) healthy: Option<bool>,
    pub(crate) reason: Option<&'static str>,
}

/// What a task does next.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Stage {
    Starting,
    Running,
    Healthy(bool),
    /// Becomes the other of healthy and unhealthy.
    Flips,
    /// Ends by itself, unless its kind stays alive once the faults are over.
    Ends(TaskState, Option<&'static str>),
    Killed,
}

impl World {
    // === Coming and going ===

    pub(crate) fn join(&mut self, host: u64) {
        let number = self.agents.len() + 1;
        let mut attributes = Vec::new();
        // Some are told only later where they stand.
        if self.dice.chance(850) {
            attributes.push(rack_of(host));
        }
        if host.is_multiple_of(2) {
            attributes.push(("ssd".to_owned(), "yes".to_owned()));
        }
        let address = Arc::new(AgentAddress {
            id: AgentId::new(format!("agent-{number}")),
            hostname: format!("node-{host}"),
            ip: format!("10.0.0.{host}"),
            port: 5051,
            attributes,
        });
        self.note(|| format!("{} joins as {}", address.hostname, address.id));
        for old in 0..self.agents.len() {
            if self.agents[old].host != host {
                continue;
            }
            // Nobody else can have its address while it lives.
            self.shut_down(old);
            let registered = matches!(
                self.agents[old].standing,
                Standing::Registered | Standing::Disconnected
            );
            if registered && self.master.up {
                let reason = "REASON_AGENT_REMOVED";
                self.drop_agent(old, Standing::Removed, TaskState::Lost, reason);
            }
        }
        let total = self.resources(host);
        let agent = self.agents.len();
        self.agents.push(Agent {
            address,
            host,
            total,
            up: true,
            cut: false,
            retired: false,
            standing: Standing::Removed,
            drained: false,
            unavailable: None,
            session: 0,
            silence: 0,
            arrives_at: 0,
            tasks: BTreeMap::new(),
        });
        // What the registry never heard of is as good as disconnected.
        self.agents[agent].standing = Standing::Disconnected;
        self.after(0, Event::Register { agent });
    }

    fn resources(&mut self, host: u64) -> Bundle {
        let reserved = |dynamic| {
            Arc::new(Reservations(vec![Reservation {
                dynamic,
                role: "sim".to_owned(),
                principal: dynamic.then(|| "owner".to_owned()),
                labels: Vec::new(),
            }]))
        };
        let mut kinds = vec![Arc::new(Reservations::default())];
        if host.is_multiple_of(3) {
            kinds.push(reserved(false));
        }
        if host.is_multiple_of(4) {
            kinds.push(reserved(true));
        }
        let (cpus, mem) = if self.plan.ample {
            (150_000, 40_000)
        } else {
            (self.dice.between(5, 30) * 100, self.dice.between(100, 800))
        };
        let parts = kinds.len() as u64;
        let mut total = Bundle::default();
        for (index, kind) in kinds.iter().enumerate() {
            let cpus = Amount::from_thousandths(cpus / parts);
            total.add_scalar(kind, Scalar::Cpus, cpus);
            total.add_scalar(kind, Scalar::Mem, Amount::from_units(mem / parts));
            for port in (0..120_u16).filter(|port| *port as usize % kinds.len() == index) {
                // A fresh bundle holds no port yet.
                let _ = total.add_port(kind, PORTS_FROM + port);
            }
        }
        total
    }

    /// The agent says who it is and what it runs.
    pub(crate) fn register(&mut self, agent: usize) {
        let current = &mut self.agents[agent];
        if !self.master.up || !current.up || current.cut {
            return;
        }
        let before = current.standing;
        if matches!(before, Standing::Gone | Standing::Removed) {
            return self.shut_down(agent);
        }
        current.standing = Standing::Registered;
        current.session += 1;
        current.silence += 1;
        let id = current.address.id.clone();
        self.note(|| format!("{id} registers, was {before:?}"));
        let unknown: Vec<_> = self
            .master
            .tasks
            .iter()
            .filter(|(task, known)| {
                known.agent == agent && !self.agents[agent].tasks.contains_key(*task)
            })
            .map(|(task, _)| task.clone())
            .collect();
        for task in unknown {
            let mut dropped = AgentTask::new(Behaviour::Steady, false);
            dropped.alive = false;
            self.agents[agent].tasks.insert(task.clone(), dropped);
            self.push_update(
                agent,
                &task,
                TaskState::Dropped,
                Some("REASON_RECONCILIATION"),
            );
        }
        for (task, known) in &self.agents[agent].tasks {
            let bundle = || self.memory.bundle_of(task);
            let forwarded = known.updates.front().map_or(known.state, |head| head.state);
            self.master
                .tasks
                .entry(task.clone())
                .or_insert_with(|| MasterTask {
                    agent,
                    forwarded,
                    healthy: known.healthy,
                    latest: known.state,
                    bundle: bundle(),
                    kill_wanted: false,
                });
        }
        let tasks: Vec<_> = self.agents[agent].tasks.keys().cloned().collect();
        for task in tasks {
            let state = self.agents[agent].tasks[&task].state;
            let healthy = self.agents[agent].tasks[&task].healthy;
            let returned = matches!(before, Standing::Unreachable | Standing::Forgotten);
            if returned && !state.is_terminal() {
                let reason = "REASON_AGENT_REREGISTERED";
                self.tell_own(task.clone(), Some(id.clone()), state, healthy, reason);
            }
            let known = self.master.tasks.get_mut(&task);
            if known.is_some_and(|known| std::mem::take(&mut known.kill_wanted)) {
                self.send_kill(agent, task);
            }
        }
        self.resend_updates(agent);
        self.allocate_now();
    }

    /// Agent and master lose each other; the master may notice at once or wait for an answer.
    pub(crate) fn lose(&mut self, agent: usize, noticed: bool) {
        let current = &mut self.agents[agent];
        if current.standing != Standing::Registered {
            return;
        }
        if noticed {
            current.standing = Standing::Disconnected;
            current.session += 1;
            self.rescind_all_of(agent);
        }
        self.expect_agent(agent);
    }

    /// The agent has some time to be back.
    pub(crate) fn expect_agent(&mut self, agent: usize) {
        self.agents[agent].silence += 1;
        let silence = self.agents[agent].silence;
        let patience = self.dice.between(15_000, 80_000);
        self.after(patience, Event::AgentTimeout { agent, silence });
    }

    pub(crate) fn agent_timeout(&mut self, agent: usize, silence: u64) {
        let current = &self.agents[agent];
        let awaited = matches!(
            current.standing,
            Standing::Registered | Standing::Disconnected | Standing::Recovered
        );
        if silence != current.silence || !awaited || !self.master.up {
            return;
        }
        let reason = "REASON_AGENT_REMOVED";
        self.drop_agent(agent, Standing::Unreachable, TaskState::Unreachable, reason);
    }

    /// The master gives an agent up: updates for its tasks, then RESCIND, then FAILURE.
    pub(crate) fn drop_agent(
        &mut self,
        agent: usize,
        standing: Standing,
        state: TaskState,
        reason: &str,
    ) {
        let id = self.agents[agent].address.id.clone();
        self.note(|| format!("{id} is {standing:?} now"));
        let mut known: Vec<_> = Vec::new();
        self.master.tasks.retain(|task, entry| {
            if entry.agent == agent {
                known.push(task.clone());
            }
            entry.agent != agent
        });
        // Also of those whose end is not acknowledged yet.
        for task in known {
            self.tell_own(task, Some(id.clone()), state, None, reason);
        }
        self.rescind_all_of(agent);
        self.say(MesosEvent::AgentRemoved(id));
        self.forget_filters(Some(agent));
        self.agents[agent].standing = standing;
        self.agents[agent].session += 1;
        self.agents[agent].silence += 1;
    }

    /// The machine dies; what ran on it is dead.
    pub(crate) fn machine_dies(&mut self, agent: usize) {
        let current = &mut self.agents[agent];
        current.up = false;
        for task in current.tasks.values_mut() {
            task.lost |= task.alive;
            task.alive = false;
        }
        self.lose(agent, true);
    }

    /// The agent is told that it is not wanted any more.
    pub(crate) fn shut_down(&mut self, agent: usize) {
        let current = &mut self.agents[agent];
        current.up = false;
        current.retired = true;
        current.tasks.clear();
    }

    pub(crate) fn heal(&mut self, agent: usize) {
        let current = &mut self.agents[agent];
        if current.retired || (current.up && !current.cut) {
            return;
        }
        current.up = true;
        current.cut = false;
        let lost: Vec<_> = current
            .tasks
            .iter_mut()
            .filter_map(|(id, task)| std::mem::take(&mut task.lost).then(|| id.clone()))
            .collect();
        let id = current.address.id.clone();
        self.note(|| format!("{id} is back"));
        for task in lost {
            let reason = Some("REASON_EXECUTOR_TERMINATED");
            self.push_update(agent, &task, TaskState::Failed, reason);
        }
        let delay = self.dice.around(200);
        self.after(delay, Event::Register { agent });
    }
}

/// The attribute that says where a machine stands.
pub(crate) fn rack_of(host: u64) -> (String, String) {
    ("rack".to_owned(), format!("r{}", host % 3 + 1))
}

impl AgentTask {
    pub(crate) fn new(behaviour: Behaviour, checked: bool) -> Self {
        Self {
            alive: true,
            state: TaskState::Staging,
            healthy: None,
            behaviour,
            checked,
            killing: false,
            lost: false,
            excused: false,
            updates: VecDeque::new(),
            attempt: 0,
        }
    }
}
