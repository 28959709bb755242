//! `cargo xtask bench`: what docs/performance.md claims, measured again.
//!
//! The machine is shared and noisy, so what can be compared is run side by side in one run, and
//! ratios count more than figures.

mod api;
pub(crate) mod http;
mod launches;
mod modules;
mod peer;
mod process;
mod store;
mod takeover;

use anyhow::Result;

use crate::commands;

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let only = arguments.first().map(String::as_str);
    let chosen = |name: &str| only.is_none() || only == Some(name);
    commands::cargo(&["build", "--release", "--package", "gantry"])?;
    if chosen("core") {
        println!("\n== the matching core alone ==");
        for tasks in ["100000", "1000000"] {
            commands::cargo(&[
                "run",
                "--release",
                "--quiet",
                "--package",
                "gantry-core",
                "--example",
                "placements",
                "--",
                "10000",
                tasks,
            ])?;
        }
    }
    if chosen("launches") {
        println!("\n== launches end to end, simulated cluster, durable intents ==");
        let rest = arguments.get(1..).unwrap_or_default();
        launches::run(rest)?;
    }
    if chosen("api") {
        println!("\n== pages and events while tasks are launched ==");
        api::run()?;
    }
    if chosen("takeover") {
        println!("\n== a stand-by takes over from a leader that is killed ==");
        let rest = arguments.get(1..).unwrap_or_default();
        takeover::run(rest)?;
    }
    if chosen("modules") {
        println!("\n== launches with a module that is told of every change, and without ==");
        modules::run()?;
    }
    if chosen("peer") {
        println!("\n== the same job for Gantry and for mesos-framework 0.5.3 ==");
        peer::run()?;
    }
    Ok(())
}
