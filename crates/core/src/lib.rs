//! The scheduler of Gantry as a pure state machine.
//!
//! Everything that decides lives here: which instances are wanted, where they fit, when a task is
//! started, stopped, replaced or waited for. Nothing here performs I/O, reads a clock or spawns a
//! task: time and randomness are handed in, and what is to be done comes back as [`Effects`].
//!
//! ```text
//! inputs (Mesos events, operator commands) ──▶ Scheduler::step(now, inputs) ──▶ Effects
//!                                                                 writes ▸ calls ▸ replies ▸ notices
//! ```
//!
//! The one rule the caller must keep: the writes of an [`Effects`] are durable before its calls,
//! replies and notices leave, and the effects of one step leave before those of the next. All that
//! Gantry promises about crashes follows from that order.

mod access;
mod admission;
mod effects;
mod id;
mod input;
mod record;
mod resources;
mod scheduler;
mod settings;
mod state;
mod task;
mod time;
mod workload;

pub use access::*;
pub use admission::*;
pub use effects::*;
pub use id::*;
pub use input::*;
pub use record::*;
pub use resources::*;
pub use scheduler::{
    Change, Declared, DeclaredSettings, Plan, Scheduler, WorkloadPlan, plan, stored_view,
};
pub use settings::*;
pub use state::*;
pub use task::*;
pub use time::*;
pub use workload::*;
