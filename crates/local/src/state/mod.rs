//! The cluster as a state machine: frameworks, agents, offers, tasks and timers.
//!
//! Nothing in here reads a clock or touches a process or a socket: time is handed in
//! ([`State::at`]), processes are asked for with [`Action`]s, and events go to
//! [`Outbox`]es that the HTTP side empties.

mod accept;
mod agent;
mod agent_api;
mod allocator;
mod calls;
mod executors;
pub(crate) mod faults;
mod framework;
mod launch;
mod legacy;
mod loss;
mod operations;
mod operator;
mod reconcile;
mod resources;
mod seen;
mod simulate;
mod subscribe;
mod task;
mod timers;
mod updates;
mod validate;
mod validate_group;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gantry_mesos::v1::{self, scheduler};
use uuid::Uuid;

use crate::options::ClusterOptions;
use crate::wire::{End, Outbox};
pub(crate) use agent::{Agent, AgentKey, Link};
pub(crate) use calls::{Reply, validate as validate_scheduler_call};
pub(crate) use executors::{
    Executor, ExecutorKey, ExecutorKind, duration_text, validate as validate_executor_call,
};
pub(crate) use framework::{Framework, FrameworkKey};
pub(crate) use launch::{Action, ExecutorLaunch, Launch, Site};
pub(crate) use operator::version_info;
pub(crate) use resources::Bag;
pub(crate) use task::{Report, Status, Task, TaskKey};
use timers::{Timer, Timers};

/// Version the cluster says it is.
pub(crate) const VERSION: &str = "1.12.0";

/// An offer that a framework holds.
#[derive(Debug)]
pub(crate) struct Offer {
    pub(crate) framework: FrameworkKey,
    pub(crate) agent: AgentKey,
    pub(crate) role: Arc<str>,
    pub(crate) resources: Bag,
}

/// Numbers for `/metrics/snapshot`, counted since the start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) calls: u64,
    pub(crate) launched: u64,
    pub(crate) updates_sent: u64,
    pub(crate) acknowledged: u64,
    pub(crate) offers_sent: u64,
    pub(crate) declined: u64,
    pub(crate) ended: BTreeMap<&'static str, u64>,
}

/// The whole cluster.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) options: Arc<ClusterOptions>,
    /// Time since the cluster started.
    now: Duration,
    /// Unix time at the start, in seconds.
    started: f64,
    /// Unix time of the last election, in seconds.
    elected: f64,
    /// Id of the leading master; changes at failover.
    master_id: String,
    /// Where the leading master listens.
    address: SocketAddr,
    frameworks: BTreeMap<FrameworkKey, Framework>,
    framework_ids: HashMap<Arc<str>, FrameworkKey>,
    completed_frameworks: VecDeque<Framework>,
    pub(crate) agents: Vec<Agent>,
    agent_ids: HashMap<String, AgentKey>,
    tasks: HashMap<TaskKey, Task>,
    executors: HashMap<ExecutorKey, Executor>,
    offers: HashMap<u64, Offer>,
    next_framework_number: u64,
    next_framework_key: u64,
    next_offer: u64,
    next_task: u64,
    next_executor: u64,
    /// Agents the next allocation has to look at.
    candidates: BTreeSet<AgentKey>,
    timers: Timers,
    actions: Vec<Action>,
    operators: Vec<Arc<Outbox>>,
    operations: operations::Operations,
    pub(crate) faults: faults::Faults,
    pub(crate) counters: Counters,
    pub(crate) seen: seen::SeenCalls,
    random: u64,
}

impl State {
    /// A cluster without agents. `unix_seconds` is the time of the start.
    pub(crate) fn new(
        options: Arc<ClusterOptions>,
        address: SocketAddr,
        unix_seconds: f64,
    ) -> Self {
        let id = Uuid::new_v4();
        let mut state = Self {
            now: Duration::ZERO,
            started: unix_seconds,
            elected: unix_seconds,
            master_id: id.to_string(),
            address,
            frameworks: BTreeMap::new(),
            framework_ids: HashMap::new(),
            completed_frameworks: VecDeque::new(),
            agents: Vec::new(),
            agent_ids: HashMap::new(),
            tasks: HashMap::new(),
            executors: HashMap::new(),
            offers: HashMap::new(),
            next_framework_number: 0,
            next_framework_key: 0,
            next_offer: 0,
            next_task: 0,
            next_executor: 0,
            candidates: BTreeSet::new(),
            timers: Timers::default(),
            actions: Vec::new(),
            operators: Vec::new(),
            operations: operations::Operations::default(),
            faults: faults::Faults::default(),
            counters: Counters::default(),
            seen: seen::SeenCalls::default(),
            random: id.as_u64_pair().0 | 1,
            options,
        };
        let interval = state.options.allocation_interval;
        state.after(interval, Timer::Allocate);
        let heartbeat = state.options.heartbeat_interval;
        state.after(heartbeat, Timer::OperatorHeartbeat);
        state
    }

    /// Moves the clock, running every timer that became due.
    pub(crate) fn at(&mut self, now: Duration) {
        while let Some((due, timer)) = self.timers.pop_due(now) {
            self.now = self.now.max(due);
            self.fire(timer);
        }
        self.now = self.now.max(now);
    }

    /// When the next timer is due.
    pub(crate) fn next_wake(&mut self) -> Option<Duration> {
        self.timers.next()
    }

    /// What the processes are asked to do since the last time.
    pub(crate) fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    fn after(&mut self, delay: Duration, timer: Timer) {
        self.timers.push(self.now.saturating_add(delay), timer);
    }

    /// Unix time in seconds.
    pub(crate) fn unix(&self) -> f64 {
        self.started + self.now.as_secs_f64()
    }

    /// A number that is random enough for ids and orders; not for secrets.
    fn random(&mut self) -> u64 {
        // xorshift64*
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        self.random.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A version 4 UUID. Cheaper than asking the system for each of a million updates.
    fn uuid(&mut self) -> [u8; 16] {
        let (high, low) = (self.random(), self.random());
        let bytes = (u128::from(high) << 64 | u128::from(low)).to_be_bytes();
        uuid::Builder::from_random_bytes(bytes)
            .into_uuid()
            .into_bytes()
    }

    pub(crate) fn master_info(&self) -> v1::MasterInfo {
        use v1::master_info::capability::Type;
        let ip = self.address.ip();
        let host = ip.to_string();
        let number = match ip {
            std::net::IpAddr::V4(ip) => u32::from_le_bytes(ip.octets()),
            std::net::IpAddr::V6(_) => 0,
        };
        let port = self.address.port();
        let capabilities = [Type::AgentUpdate, Type::AgentDraining, Type::QuotaV2];
        v1::MasterInfo {
            id: self.master_id.clone(),
            ip: number,
            port: u32::from(port),
            pid: Some(format!("master@{host}:{port}")),
            hostname: Some(host.clone()),
            version: Some(VERSION.to_owned()),
            address: Some(v1::Address {
                hostname: Some(host.clone()),
                ip: Some(host),
                port: i32::from(port),
            }),
            domain: None,
            capabilities: capabilities
                .into_iter()
                .map(|c| v1::master_info::Capability {
                    r#type: Some(c as i32),
                })
                .collect(),
        }
    }

    /// The address clients are redirected to.
    pub(crate) fn leader(&self) -> SocketAddr {
        self.address
    }

    fn offer_id(&self, number: u64) -> v1::OfferId {
        v1::OfferId {
            value: format!("{}-O{number}", self.master_id),
        }
    }

    /// The number of an offer id of this master.
    fn offer_number(&self, id: &str) -> Option<u64> {
        id.strip_prefix(&self.master_id)?
            .strip_prefix("-O")?
            .parse()
            .ok()
    }

    /// Sends an event to a framework if it is connected; says whether it was.
    fn send(&self, framework: FrameworkKey, event: &scheduler::Event) -> bool {
        let Some(stream) = self
            .frameworks
            .get(&framework)
            .and_then(|f| f.stream.as_ref())
        else {
            return false;
        };
        stream.outbox.send(event);
        true
    }

    /// Ends every stream, as at shutdown.
    pub(crate) fn close_all(&mut self) {
        for framework in self.frameworks.values_mut() {
            if let Some(stream) = framework.stream.take() {
                stream.outbox.end(End::Abort);
            }
        }
        for executor in self.executors.values_mut() {
            if let Some(outbox) = executor.outbox.take() {
                outbox.end(End::Abort);
            }
        }
        for operator in self.operators.drain(..) {
            operator.end(End::Abort);
        }
    }
}

pub(crate) fn time_info(unix_seconds: f64) -> v1::TimeInfo {
    #[allow(clippy::cast_possible_truncation)]
    let nanoseconds = (unix_seconds * 1e6).round() as i64 * 1000;
    v1::TimeInfo { nanoseconds }
}

/// A scheduler event of one type.
fn event(r#type: scheduler::event::Type) -> scheduler::Event {
    scheduler::Event {
        r#type: Some(r#type as i32),
        ..scheduler::Event::default()
    }
}

fn error_event(message: &str) -> scheduler::Event {
    scheduler::Event {
        error: Some(scheduler::event::Error {
            message: message.to_owned(),
        }),
        ..event(scheduler::event::Type::Error)
    }
}
