//! The whole program from outside: real processes, real connections, signals.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on should say where"
)]

mod access;
mod cli;
mod crash;
mod dev;
mod ha;
mod identity;
mod maintenance;
mod modules;
mod output;
mod packaging;
mod serve;
mod support;
