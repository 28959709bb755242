//! The agents of the cluster, as the master counts them.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use gantry_core::{AgentAddress, AgentId};
use gantry_mesos::{
    address::{HostPort, MASTER_PORT},
    v1::{self, master::response::get_agents},
};

use super::Cluster;
use crate::runtime::agent_attributes;

/// A look at the agents is good for so long: the master is asked once for everybody who asks.
const FRESH: Duration = Duration::from_secs(3);

/// All agents that the master knows.
#[derive(Debug, Default)]
pub(crate) struct Inventory {
    pub(crate) agents: Vec<KnownAgent>,
}

/// An agent as the master counts it.
#[derive(Debug)]
pub(crate) struct KnownAgent {
    pub(crate) address: AgentAddress,
    pub(crate) state: AgentState,
    /// Of the Mesos that runs there.
    pub(crate) version: String,
    /// In milliseconds since 1970.
    pub(crate) registered_at: Option<u64>,
    pub(crate) total: Amounts,
    /// Held by tasks and executors of all frameworks.
    pub(crate) used: Amounts,
}

/// Whether an agent takes tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AgentState {
    /// It does.
    Active,
    /// The master has lost the connection to it, or waits for it after a failover.
    Disconnected,
    /// An operator has taken it out of service.
    Deactivated,
    /// Its tasks are being moved away.
    Draining,
    /// They have been.
    Drained,
}

/// Sums of resources.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Amounts {
    pub(crate) cpus: f64,
    pub(crate) mem: f64,
    pub(crate) disk: f64,
    pub(crate) gpus: f64,
    pub(crate) ports: u64,
}

#[derive(Default)]
pub(super) struct Kept(Option<Look>);

struct Look {
    at: Instant,
    master: String,
    found: Result<Arc<Inventory>, String>,
}

impl Cluster {
    /// The agents as they were at most 3 s ago; the error says in a clause why the master did not
    /// tell.
    pub(crate) async fn agents(&self, master: Option<&str>) -> Result<Arc<Inventory>, String> {
        let master = master.ok_or("no Mesos master is known at the moment")?;
        // Whoever comes meanwhile waits for the same answer.
        let mut kept = self.0.inventory.lock().await;
        if let Some(look) = &kept.0
            && look.at.elapsed() < FRESH
            && look.master == master
        {
            return look.found.clone();
        }
        let found = self.ask(master).await;
        kept.0 = Some(Look {
            at: Instant::now(),
            master: master.to_owned(),
            found: found.clone(),
        });
        found
    }

    async fn ask(&self, master: &str) -> Result<Arc<Inventory>, String> {
        let client = self.client().map_err(|error| error.to_string())?;
        let master = HostPort::parse(master, MASTER_PORT).map_err(|error| error.to_string())?;
        let answer = client.get_agents(&master).await;
        let answer = answer.map_err(|error| error.to_string())?;
        let waited_for = answer.recovered_agents.into_iter().map(|info| KnownAgent {
            total: Amounts::of(&info.resources),
            used: Amounts::default(),
            address: address(info, None),
            state: AgentState::Disconnected,
            version: String::new(),
            registered_at: None,
        });
        let agents = answer.agents.into_iter().map(KnownAgent::from);
        Ok(Arc::new(Inventory {
            agents: agents.chain(waited_for).collect(),
        }))
    }
}

impl From<get_agents::Agent> for KnownAgent {
    fn from(agent: get_agents::Agent) -> Self {
        let drain = agent.drain_info.map(|drain| drain.state());
        let state = match drain {
            Some(v1::DrainState::Drained) => AgentState::Drained,
            Some(v1::DrainState::Draining) => AgentState::Draining,
            _ if agent.deactivated() => AgentState::Deactivated,
            _ if agent.active => AgentState::Active,
            _ => AgentState::Disconnected,
        };
        let registered = agent
            .registered_time
            .map(|time| time.nanoseconds / 1_000_000);
        Self {
            total: Amounts::of(&agent.total_resources),
            used: Amounts::of(&agent.allocated_resources),
            state,
            registered_at: registered.and_then(|millis| u64::try_from(millis).ok()),
            version: agent.version,
            address: address(agent.agent_info, agent.pid.as_deref()),
        }
    }
}

/// `pid` is `slave(1)@10.0.0.7:5051`, where the agent listens.
fn address(info: v1::AgentInfo, pid: Option<&str>) -> AgentAddress {
    const AGENT_PORT: u16 = 5051;
    let listens = pid
        .and_then(|pid| pid.rsplit_once('@'))
        .and_then(|(_, address)| HostPort::parse(address, AGENT_PORT).ok());
    let port = info.port.and_then(|port| u16::try_from(port).ok());
    AgentAddress {
        id: AgentId::new(info.id.unwrap_or_default().value),
        attributes: agent_attributes(&info.attributes),
        ip: listens
            .as_ref()
            .map_or_else(String::new, |at| at.host.clone()),
        port: listens.map(|at| at.port).or(port).unwrap_or(AGENT_PORT),
        hostname: info.hostname,
    }
}

impl Amounts {
    /// Sums over all roles and reservations; what can be taken back at any time is left out.
    fn of(resources: &[v1::Resource]) -> Self {
        let mut sums = Self::default();
        for resource in resources.iter().filter(|r| r.revocable.is_none()) {
            let scalar = resource.scalar.as_ref().map_or(0.0, |scalar| scalar.value);
            match resource.name.as_str() {
                "cpus" => sums.cpus += scalar,
                "mem" => sums.mem += scalar,
                "disk" => sums.disk += scalar,
                "gpus" => sums.gpus += scalar,
                "ports" => {
                    let ranges = resource.ranges.iter().flat_map(|ranges| &ranges.range);
                    let counts = ranges.map(|r| r.end.saturating_sub(r.begin).saturating_add(1));
                    sums.ports = counts.fold(sums.ports, u64::saturating_add);
                }
                _ => {}
            }
        }
        sums
    }

    /// What is left of it when `used` is taken; never less than nothing.
    pub(crate) fn without(self, used: Self) -> Self {
        let left = |total: f64, used: f64| (((total - used) * 1000.0).round() / 1000.0).max(0.0);
        Self {
            cpus: left(self.cpus, used.cpus),
            mem: left(self.mem, used.mem),
            disk: left(self.disk, used.disk),
            gpus: left(self.gpus, used.gpus),
            ports: self.ports.saturating_sub(used.ports),
        }
    }
}
