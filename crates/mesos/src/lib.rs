//! The Apache Mesos v1 protocol in Rust.
//!
//! * [`v1`]: the messages of the scheduler, executor and operator APIs;
//!   [`calls`]: short constructors of the scheduler's calls.
//! * [`json`]: Mesos' own JSON form of these messages (it is not the one of
//!   proto3).
//! * [`required`]: the check of proto2 `required` fields that prost leaves out.
//! * [`recordio`]: the framing of Mesos' streams.
//! * [`scheduler`]: a client that keeps a framework subscribed.
//! * [`operator`]: a client for the operator API and the files of a sandbox.
//! * [`address`], [`detect`], [`credentials`], [`tls`], [`http`]: how the leading
//!   master is found and reached.

pub mod address;
pub mod calls;
pub mod credentials;
pub mod descriptor;
pub mod detect;
pub mod http;
pub mod json;
pub mod operator;
pub mod recordio;
pub mod required;
pub mod scheduler;
pub mod tls;
pub mod v1;
