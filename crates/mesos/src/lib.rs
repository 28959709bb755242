//! The Apache Mesos v1 protocol in Rust.
//!
//! * [`v1`]: the messages of the scheduler, executor and operator APIs.
//! * [`json`]: Mesos' own JSON form of these messages (it is not the one of
//!   proto3).
//! * [`required`]: the check of proto2 `required` fields that prost leaves out.

pub mod descriptor;
pub mod json;
pub mod required;
pub mod v1;
