//! The messages of Mesos v1, generated from the files under `proto/`.
//!
//! Field meanings are those of the Mesos documentation ("Scheduler HTTP API",
//! "Executor HTTP API", "Operator HTTP API"). Two things to know when reading
//! these types:
//!
//! * An enum field holds an `i32`. Its accessor (`status.state()`) turns a
//!   number it does not know into the *first* value, which for a task is
//!   `TASK_STAGING`; use `TaskState::try_from(status.state)` where it matters.
//! * A missing `required` field decodes as its default. Use
//!   [`crate::required::decode`] where that matters.

#![allow(missing_docs, unreachable_pub, clippy::all)]

include!(concat!(env!("OUT_DIR"), "/mesos.v1.rs"));

/// What the allocator knows of answers to inverse offers.
pub mod allocator {
    include!(concat!(env!("OUT_DIR"), "/mesos.v1.allocator.rs"));
}

/// The operator API of the agent (`POST /api/v1` at an agent).
pub mod agent {
    include!(concat!(env!("OUT_DIR"), "/mesos.v1.agent.rs"));
}

/// The executor API (`POST /api/v1/executor` at an agent).
pub mod executor {
    include!(concat!(env!("OUT_DIR"), "/mesos.v1.executor.rs"));
}

/// Maintenance schedules and their state.
pub mod maintenance {
    include!(concat!(env!("OUT_DIR"), "/mesos.v1.maintenance.rs"));
}

/// The operator API of the master (`POST /api/v1` at a master).
pub mod master {
    include!(concat!(env!("OUT_DIR"), "/mesos.v1.master.rs"));
}

/// Quotas of roles.
pub mod quota {
    include!(concat!(env!("OUT_DIR"), "/mesos.v1.quota.rs"));
}

/// The scheduler API (`POST /api/v1/scheduler` at a master).
pub mod scheduler {
    include!(concat!(env!("OUT_DIR"), "/mesos.v1.scheduler.rs"));
}
