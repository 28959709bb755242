//! What a cluster consists of.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use gantry_mesos::v1::{Attribute, Resource, value};
use secrecy::SecretString;

/// Everything that can be chosen about a [`Cluster`](crate::Cluster).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ClusterOptions {
    /// Where the master listens; port 0 takes a free one. Must be a loopback address
    /// unless credentials are set, as whoever can reach it can run commands.
    pub listen: SocketAddr,
    /// Where a second master listens. It redirects to the leader (307) until it is made the
    /// leader with [`Fault::MasterFailover`](crate::Fault::MasterFailover).
    pub standby: Option<SocketAddr>,
    /// The agents.
    pub agents: Vec<AgentOptions>,
    /// Whether tasks are processes.
    pub mode: TaskMode,
    /// Time between allocations (Mesos `--allocation_interval`).
    pub allocation_interval: Duration,
    /// Time between HEARTBEAT events; 15 s in a real Mesos.
    pub heartbeat_interval: Duration,
    /// After this an unanswered offer is rescinded (Mesos `--offer_timeout`); never if absent.
    pub offer_timeout: Option<Duration>,
    /// How long a disconnected agent may stay away before it is unreachable (Mesos: 75 s).
    pub agent_timeout: Duration,
    /// How long agents stay "recovered" after a master failover before they are back.
    pub recovery_time: Duration,
    /// First time after which an unacknowledged update is repeated; it doubles from there.
    pub update_retry_min: Duration,
    /// Longest time between two repetitions.
    pub update_retry_max: Duration,
    /// How long a custom executor may take to subscribe (Mesos
    /// `--executor_registration_timeout`, 1 min).
    pub executor_registration_timeout: Duration,
    /// How long executors may take to return after an agent restart (Mesos
    /// `--executor_reregistration_timeout`, 2 s).
    pub executor_reregistration_timeout: Duration,
    /// Time between SHUTDOWN and SIGKILL of an executor (Mesos
    /// `--executor_shutdown_grace_period`, 5 s).
    pub executor_shutdown_grace: Duration,
    /// Ended tasks remembered for each framework (Mesos `--max_completed_tasks_per_framework`).
    pub completed_tasks_max: usize,
    /// Principals and secrets. If there are any, every call needs Basic authentication.
    pub credentials: BTreeMap<String, SecretString>,
    /// Bytes that may wait for a slow reader of a stream before it is cut off.
    pub stream_bytes_max: usize,
    /// Largest request body, in bytes.
    pub body_bytes_max: usize,
    /// Threads that serve HTTP.
    pub threads: usize,
}

/// Whether tasks are processes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TaskMode {
    /// Tasks are processes with sandboxes below `work_dir`. Each agent has its own
    /// listener, on a free port.
    Real {
        /// Parent of all sandboxes; created if absent, never removed.
        work_dir: PathBuf,
    },
    /// Tasks are entries in a table; see [`SimulatedTasks`]. Agents have no listeners.
    Simulated(SimulatedTasks),
}

/// How simulated tasks behave. A task's labels override it:
/// `gantry.local/run` (how long it runs: `30s`, `500ms`, `2m`, `1h`),
/// `gantry.local/exit` (its exit status; 0 is TASK_FINISHED),
/// `gantry.local/start` (how long it is starting) and
/// `gantry.local/healthy` (`false`: its health check fails).
///
/// Without labels a shell command `sleep N` ends after N seconds with status 0, `true`, `false`
/// and `exit N` end at once, and everything else runs for ever.
/// A task with a health check becomes healthy as soon as it runs.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct SimulatedTasks {
    /// From launch to TASK_STARTING.
    pub staging: Duration,
    /// From TASK_STARTING to TASK_RUNNING.
    pub starting: Duration,
    /// From KILL to TASK_KILLED.
    pub killing: Duration,
}

/// One agent.
#[derive(Clone, Debug)]
pub struct AgentOptions {
    /// Name the agent gives for itself; its address is always the loopback one.
    pub hostname: String,
    /// What it offers, in the post-refinement format. Static reservations are `reservations`
    /// of type STATIC.
    pub resources: Vec<Resource>,
    /// Its attributes.
    pub attributes: Vec<Attribute>,
}

impl Default for ClusterOptions {
    /// No agents yet, processes below the system's temporary directory, port 5050.
    fn default() -> Self {
        let work_dir = std::env::temp_dir().join("gantry-local");
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 5050)),
            standby: None,
            agents: Vec::new(),
            mode: TaskMode::Real { work_dir },
            allocation_interval: Duration::from_secs(1),
            heartbeat_interval: Duration::from_secs(15),
            offer_timeout: None,
            agent_timeout: Duration::from_secs(75),
            recovery_time: Duration::from_secs(2),
            update_retry_min: Duration::from_secs(10),
            update_retry_max: Duration::from_secs(600),
            executor_registration_timeout: Duration::from_secs(60),
            executor_reregistration_timeout: Duration::from_secs(2),
            executor_shutdown_grace: Duration::from_secs(5),
            completed_tasks_max: 1000,
            credentials: BTreeMap::new(),
            stream_bytes_max: 256 << 20,
            body_bytes_max: 64 << 20,
            threads: 1,
        }
    }
}

impl ClusterOptions {
    /// A cluster of processes on a free port.
    #[must_use]
    pub fn real(work_dir: impl Into<PathBuf>, agents: Vec<AgentOptions>) -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            agents,
            mode: TaskMode::Real {
                work_dir: work_dir.into(),
            },
            ..Self::default()
        }
    }

    /// A cluster of simulated tasks on a free port.
    #[must_use]
    pub fn simulated(agents: Vec<AgentOptions>) -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            agents,
            mode: TaskMode::Simulated(SimulatedTasks::default()),
            ..Self::default()
        }
    }
}

impl AgentOptions {
    /// An agent with nothing.
    #[must_use]
    pub fn new(hostname: impl Into<String>) -> Self {
        Self {
            hostname: hostname.into(),
            resources: Vec::new(),
            attributes: Vec::new(),
        }
    }

    /// `count` agents that share one machine: each has `cpus` cores, `mem` and `disk`
    /// megabytes and 1,000 ports of its own (31000–31999, 32000–32999, …; from the
    /// 30th agent on the ranges repeat). Hostnames are `agent-1.local`, …; the
    /// attributes `rack` (a, b, c) and `zone` (z1, z2) rotate.
    #[must_use]
    pub fn many(count: usize, cpus: f64, mem: f64, disk: f64) -> Vec<Self> {
        (0..count)
            .map(|i| {
                let first = 31000 + 1000 * (i as u64 % 30);
                Self::new(format!("agent-{}.local", i + 1))
                    .scalar("cpus", cpus)
                    .scalar("mem", mem)
                    .scalar("disk", disk)
                    .ranges("ports", &[(first, first + 999)])
                    .attribute("rack", ["a", "b", "c"][i % 3])
                    .attribute("zone", ["z1", "z2"][i % 2])
            })
            .collect()
    }

    /// Adds an unreserved scalar resource.
    #[must_use]
    pub fn scalar(mut self, name: &str, value: f64) -> Self {
        let mut resource = Resource {
            name: name.to_owned(),
            ..Resource::default()
        };
        resource.set_type(value::Type::Scalar);
        resource.scalar = Some(value::Scalar { value });
        self.resources.push(resource);
        self
    }

    /// Adds an unreserved resource of inclusive ranges.
    #[must_use]
    pub fn ranges(mut self, name: &str, ranges: &[(u64, u64)]) -> Self {
        let mut resource = Resource {
            name: name.to_owned(),
            ..Resource::default()
        };
        resource.set_type(value::Type::Ranges);
        let range = ranges
            .iter()
            .map(|&(begin, end)| value::Range { begin, end })
            .collect();
        resource.ranges = Some(value::Ranges { range });
        self.resources.push(resource);
        self
    }

    /// Makes the resource added last a static reservation for a role.
    #[must_use]
    pub fn reserved(mut self, role: &str) -> Self {
        use gantry_mesos::v1::resource::{ReservationInfo, reservation_info};
        if let Some(resource) = self.resources.last_mut() {
            let mut reservation = ReservationInfo {
                role: Some(role.to_owned()),
                ..ReservationInfo::default()
            };
            reservation.set_type(reservation_info::Type::Static);
            resource.reservations = vec![reservation];
        }
        self
    }

    /// Adds a text attribute.
    #[must_use]
    pub fn attribute(mut self, name: &str, text: &str) -> Self {
        let mut attribute = Attribute {
            name: name.to_owned(),
            ..Attribute::default()
        };
        attribute.set_type(value::Type::Text);
        attribute.text = Some(value::Text {
            value: text.to_owned(),
        });
        self.attributes.push(attribute);
        self
    }
}
