//! The Gantry service: what the program `gantry` is made of.

pub mod cli;
pub mod config;
pub mod dashboard;
pub mod http;
pub mod logging;
pub mod runtime;
pub mod service;
