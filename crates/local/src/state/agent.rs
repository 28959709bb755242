//! Agents as the master sees them, and what runs on them.

use std::collections::BTreeSet;
use std::net::IpAddr;

use gantry_mesos::v1;

use super::{Bag, ExecutorKey, State, TaskKey};
use crate::options::AgentOptions;

/// Index of an agent. Agents are never forgotten, so that it stays valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct AgentKey(pub(super) u32);

impl AgentKey {
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// How the master and an agent stand.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Link {
    Connected,
    /// The connection broke; the master still waits.
    Disconnected,
    /// The master gave it up at this Unix time. It may return.
    Unreachable {
        since: f64,
    },
    /// Marked gone by the operator. It may not return.
    Gone,
    /// Shut down cleanly. It may not return.
    Removed,
    /// Known from before a master failover and not back yet.
    Recovered,
}

#[derive(Clone, Debug)]
pub(crate) struct Drain {
    pub(crate) config: v1::DrainConfig,
    pub(crate) started: f64,
    pub(crate) done: bool,
}

#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) key: AgentKey,
    pub(crate) id: String,
    pub(crate) hostname: String,
    pub(crate) ip: IpAddr,
    /// Port of its own listener; the master's where agents have none.
    pub(crate) port: u16,
    pub(crate) attributes: Vec<v1::Attribute>,
    pub(crate) total: Bag,
    /// What is neither used nor offered.
    pub(crate) available: Bag,
    pub(crate) link: Link,
    /// Counts the changes of `link`.
    pub(crate) epoch: u64,
    pub(crate) registered: f64,
    pub(crate) reregistered: Option<f64>,
    pub(crate) deactivated: bool,
    pub(crate) drain: Option<Drain>,
    /// Counts restarts of the agent's process.
    pub(crate) restarts: u64,
    /// The executor API answers 503.
    pub(crate) recovering: bool,
    pub(crate) tasks: BTreeSet<TaskKey>,
    pub(crate) executors: BTreeSet<ExecutorKey>,
    pub(crate) offers: BTreeSet<u64>,
}

impl Agent {
    /// Whether the master and the agent can talk.
    pub(crate) fn is_connected(&self) -> bool {
        self.link == Link::Connected
    }

    /// Whether the master counts it among its agents.
    pub(crate) fn is_registered(&self) -> bool {
        matches!(self.link, Link::Connected | Link::Disconnected)
    }

    pub(crate) fn may_offer(&self) -> bool {
        self.is_connected() && !self.deactivated && self.drain.is_none()
    }

    pub(crate) fn pid(&self) -> String {
        format!("slave(1)@{}:{}", self.ip, self.port)
    }

    pub(crate) fn info(&self) -> v1::AgentInfo {
        v1::AgentInfo {
            hostname: self.hostname.clone(),
            resources: self.total.to_resources(None, true),
            attributes: self.attributes.clone(),
            id: Some(v1::AgentId {
                value: self.id.clone(),
            }),
            port: Some(i32::from(self.port)),
            domain: None,
        }
    }

    pub(crate) fn url(&self) -> v1::Url {
        v1::Url {
            scheme: "http".to_owned(),
            address: v1::Address {
                hostname: Some(self.hostname.clone()),
                ip: Some(self.ip.to_string()),
                port: i32::from(self.port),
            },
            path: Some("/slave(1)".to_owned()),
            ..v1::Url::default()
        }
    }
}

impl State {
    /// Registers a new agent and offers what it has.
    pub(crate) fn add_agent(&mut self, options: &AgentOptions, ip: IpAddr, port: u16) -> AgentKey {
        let number = u32::try_from(self.agents.len()).unwrap_or(u32::MAX);
        let key = AgentKey(number);
        let id = format!("{}-S{number}", self.master_id);
        let total = Bag::parse(&options.resources);
        self.agent_ids.insert(id.clone(), key);
        self.agents.push(Agent {
            key,
            id,
            hostname: options.hostname.clone(),
            ip,
            port,
            attributes: options.attributes.clone(),
            available: total.clone(),
            total,
            link: Link::Connected,
            epoch: 0,
            registered: self.unix(),
            reregistered: None,
            deactivated: false,
            drain: None,
            restarts: 0,
            recovering: false,
            tasks: BTreeSet::new(),
            executors: BTreeSet::new(),
            offers: BTreeSet::new(),
        });
        self.candidates.insert(key);
        self.announce_agent(key);
        key
    }

    /// Finds an agent by its id.
    pub(crate) fn agent_by_id(&self, id: &str) -> Option<AgentKey> {
        self.agent_ids.get(id).copied()
    }

    pub(super) fn agent(&self, key: AgentKey) -> &Agent {
        &self.agents[key.index()]
    }

    pub(super) fn agent_mut(&mut self, key: AgentKey) -> &mut Agent {
        &mut self.agents[key.index()]
    }

    /// Changes how master and agent stand; timers of the former state become void.
    pub(super) fn relink(&mut self, key: AgentKey, link: Link) -> u64 {
        let agent = self.agent_mut(key);
        agent.link = link;
        agent.epoch += 1;
        agent.epoch
    }
}
