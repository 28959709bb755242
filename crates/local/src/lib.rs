//! A Mesos-compatible master and any number of agents in one process.
//!
//! The cluster speaks the v1 HTTP APIs of Apache Mesos 1.12 (scheduler, executor and the
//! operator calls a dashboard needs) in JSON and protobuf, on loopback. Its tasks are
//! processes with sandboxes, or entries in a table for clusters of thousands of agents. It
//! behaves like recordings of a real master and agent, and misbehaves on demand
//! ([`Fault`]).
//!
//! ```no_run
//! # async fn example() -> Result<(), gantry_local::StartError> {
//! use gantry_local::{AgentOptions, Cluster, ClusterOptions};
//!
//! let agents = AgentOptions::many(2, 2.0, 2048.0, 10_000.0);
//! let cluster = Cluster::start(ClusterOptions::real("/var/tmp/cluster", agents)).await?;
//! println!("master at {}", cluster.master_address());
//! cluster.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! # What it is not
//!
//! No containers: a DOCKER task or an image ends in TASK_FAILED, limits in TASK_DROPPED, as
//! on an agent without those isolators. A task that leaves its process group (`setsid`)
//! escapes the kill. Offer constraints are checked for form but not applied. There are no
//! inverse offers, quotas, revocable resources, resource providers or v0 drivers.
//!
//! # Processes never outlive the cluster
//!
//! Every process group is written to a guardian, a small shell that reads a pipe whose other
//! end the cluster holds. When the cluster ends in whatever way, also by SIGKILL, the
//! kernel closes the pipe and the guardian kills every group that is left. A task's
//! command is executed only after its group stands in the guardian's book, so there is no
//! gap.

mod cluster;
mod http;
mod hub;
mod options;
mod process;
mod state;
mod wire;

pub use cluster::{Cluster, ClusterHandle, StartError};
pub use options::{AgentOptions, ClusterOptions, SimulatedTasks, TaskMode};
pub use state::faults::{Fault, FaultError};
