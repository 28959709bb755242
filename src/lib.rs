//! The Gantry service: what the program `gantry` is made of.

mod auth;
pub mod backup;
pub mod cli;
mod cluster;
pub mod config;
pub mod dashboard;
pub mod http;
pub mod logging;
mod modules;
pub mod plan;
pub mod runtime;
pub mod service;
pub mod store;
