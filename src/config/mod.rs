//! The environment as typed configuration.

mod model;

pub use model::*;
