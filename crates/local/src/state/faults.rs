//! Faults on demand.

use std::collections::BTreeMap;
use std::time::Duration;

use gantry_mesos::v1::scheduler::call;
use serde::{Deserialize, Serialize};

use super::{Action, AgentKey, State};
use crate::wire::End;

/// Something that goes wrong because a test wants it to.
///
/// The JSON form, for `POST /local/faults`, has the name in `fault` and the fields
/// beside it: `{"fault": "drop_updates", "count": 3}`. Agents are named by their
/// number, counted from 0 in the order of the options.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Fault {
    /// Closes the TCP connection of every scheduler's stream in the middle of the body.
    DropStreams,
    /// The same without closing anything: the streams are silent for ever, the frameworks
    /// count as disconnected.
    FreezeStreams,
    /// No more HEARTBEAT events (`true`), or again (`false`).
    StopHeartbeats {
        /// Whether they stop.
        stop: bool,
    },
    /// Every status update is sent this many milliseconds late. 0 ends it.
    DelayUpdates {
        /// The delay.
        milliseconds: u64,
    },
    /// The next updates are sent twice.
    DuplicateUpdates {
        /// How many.
        count: u32,
    },
    /// The next updates to a framework are exchanged in pairs.
    ReorderUpdates {
        /// How many pairs.
        count: u32,
    },
    /// The next updates are not sent. Those with a uuid are repeated by the agent later.
    DropUpdates {
        /// How many.
        count: u32,
    },
    /// The next calls of a type are answered 202 and forgotten.
    DropCalls {
        /// The type, e.g. `ACCEPT`, `KILL`, `REVIVE`, `ACKNOWLEDGE`.
        call: String,
        /// How many.
        count: u32,
    },
    /// The master answers 503 to everything but `/local/faults`.
    Unavailable {
        /// For how long.
        milliseconds: u64,
    },
    /// Breaks the connection between the master and an agent. After `agent_timeout` it is
    /// unreachable; what runs on it goes on.
    DisconnectAgent {
        /// Number of the agent.
        agent: usize,
    },
    /// Makes an agent unreachable at once.
    LoseAgent {
        /// Number of the agent.
        agent: usize,
    },
    /// A disconnected or unreachable agent is back.
    ReturnAgent {
        /// Number of the agent.
        agent: usize,
    },
    /// The operator marks an agent gone.
    MarkAgentGone {
        /// Number of the agent.
        agent: usize,
    },
    /// The agent unregisters, as on SIGUSR1.
    ShutdownAgent {
        /// Number of the agent.
        agent: usize,
    },
    /// The agent's process dies and starts again; tasks live on, executors have to subscribe
    /// again.
    RestartAgent {
        /// Number of the agent.
        agent: usize,
        /// How long the agent is away.
        milliseconds: u64,
    },
    /// Another master is elected: all streams are cut, offers are void, agents are
    /// "recovered" for the cluster's `recovery_time`. With a standby the two change places.
    MasterFailover,
    /// Allocates now instead of at the next interval.
    Allocate,
    /// No more allocations (`true`), or again (`false`).
    StopAllocation {
        /// Whether they stop.
        stop: bool,
    },
    /// SIGKILL to the process group of a task, as if from outside.
    CrashTask {
        /// Id of the framework.
        framework: String,
        /// Id of the task.
        task: String,
    },
    /// Switches off every fault that lasts.
    Clear,
}

/// Why a fault could not be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FaultError {
    /// There are fewer agents.
    #[error("there is no agent number {0}: they are counted from 0")]
    NoSuchAgent(usize),
    /// The framework has no such task now.
    #[error("framework '{framework}' has no live task '{task}'")]
    NoSuchTask {
        /// Id of the framework.
        framework: String,
        /// Id of the task.
        task: String,
    },
    /// Not a call of the scheduler API.
    #[error("'{0}' is no call type of the scheduler API: use its name, such as ACCEPT")]
    NoSuchCall(String),
    /// A master failover to a standby needs one.
    #[error("the cluster is shutting down")]
    Closed,
}

/// The faults that last.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    pub(super) heartbeats_stopped: bool,
    pub(super) allocation_stopped: bool,
    pub(super) update_delay: Duration,
    pub(super) duplicate_updates: u32,
    pub(super) reorder_updates: u32,
    pub(super) drop_updates: u32,
    drop_calls: BTreeMap<i32, u32>,
    unavailable_until: Duration,
}

impl Faults {
    pub(super) fn drops_call(&mut self, kind: call::Type) -> bool {
        match self.drop_calls.get_mut(&(kind as i32)) {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        }
    }
}

impl State {
    /// Whether the master answers 503 to everything.
    pub(crate) fn is_unavailable(&self) -> bool {
        self.now < self.faults.unavailable_until
    }

    /// Carries a fault out. [`Fault::MasterFailover`] needs the standby's address and is the
    /// caller's.
    pub(crate) fn inject(&mut self, fault: Fault) -> Result<(), FaultError> {
        match fault {
            Fault::DropStreams => self.cut_streams(End::Abort),
            Fault::FreezeStreams => self.cut_streams(End::Silence),
            Fault::StopHeartbeats { stop } => self.faults.heartbeats_stopped = stop,
            Fault::DelayUpdates { milliseconds } => {
                self.faults.update_delay = Duration::from_millis(milliseconds);
            }
            Fault::DuplicateUpdates { count } => self.faults.duplicate_updates = count,
            Fault::ReorderUpdates { count } => self.faults.reorder_updates = count,
            Fault::DropUpdates { count } => self.faults.drop_updates = count,
            Fault::DropCalls { call, count } => {
                let kind = call::Type::from_str_name(&call).ok_or(FaultError::NoSuchCall(call))?;
                self.faults.drop_calls.insert(kind as i32, count);
            }
            Fault::Unavailable { milliseconds } => {
                self.faults.unavailable_until =
                    self.now.saturating_add(Duration::from_millis(milliseconds));
            }
            Fault::DisconnectAgent { agent } => {
                let key = self.agent_number(agent)?;
                self.agent_disconnects(key);
            }
            Fault::LoseAgent { agent } => {
                let key = self.agent_number(agent)?;
                self.agent_disconnects(key);
                self.agent_unreachable(key);
            }
            Fault::ReturnAgent { agent } => {
                let key = self.agent_number(agent)?;
                self.agent_returns(key);
            }
            Fault::MarkAgentGone { agent } => {
                let key = self.agent_number(agent)?;
                let id = self.agent(key).id.clone();
                self.mark_agent_gone(&id);
            }
            Fault::ShutdownAgent { agent } => {
                let key = self.agent_number(agent)?;
                self.agent_shuts_down(key);
            }
            Fault::RestartAgent {
                agent,
                milliseconds,
            } => {
                let key = self.agent_number(agent)?;
                self.restart_agent(key, Duration::from_millis(milliseconds));
            }
            Fault::Allocate => {
                self.consider_all_agents();
                self.allocate();
            }
            Fault::StopAllocation { stop } => {
                self.faults.allocation_stopped = stop;
                self.consider_all_agents();
            }
            Fault::CrashTask { framework, task } => {
                let key = self
                    .framework_ids
                    .get(&*framework)
                    .and_then(|key| self.frameworks.get(key))
                    .and_then(|f| f.tasks.get(&*task))
                    .copied();
                let Some(key) = key else {
                    return Err(FaultError::NoSuchTask { framework, task });
                };
                if self.simulated().is_some() {
                    self.simulated_crash(key);
                } else {
                    self.actions.push(Action::Crash { task: key });
                }
            }
            Fault::Clear => self.faults = Faults::default(),
            Fault::MasterFailover => {
                let recovery = self.options.recovery_time;
                self.master_failover(self.address, recovery);
            }
        }
        Ok(())
    }

    fn agent_number(&self, number: usize) -> Result<AgentKey, FaultError> {
        self.agents
            .get(number)
            .map(|a| a.key)
            .ok_or(FaultError::NoSuchAgent(number))
    }

    fn cut_streams(&mut self, end: End) {
        let connected: Vec<_> = self
            .frameworks
            .iter()
            .filter(|(_, f)| f.is_connected())
            .map(|(k, _)| *k)
            .collect();
        for key in connected {
            self.disconnect_framework(key, end);
        }
    }
}
