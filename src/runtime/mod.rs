//! The loop around the scheduler: inputs in, steps, a durable store, and effects out in order.

mod connection;
mod events;
mod handle;
mod metrics;
mod translate;

pub use connection::{ConnectionState, ConnectionStatus, StoreState};
pub use events::{Delivery, EVENTS_KEPT, Event, EventKind, EventStream};
pub use handle::{CommandError, Handle, QUEUE_MAX};
pub use metrics::{Durations, Metrics, Number};
