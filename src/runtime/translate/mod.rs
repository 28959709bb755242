//! Between the messages of Mesos and the scheduler's own types: one file each way.

mod from_mesos;
mod to_mesos;

pub(crate) use from_mesos::{Unusable, agent_attributes, offer, status};
pub(crate) use to_mesos::call;
