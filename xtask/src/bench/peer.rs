//! The same job for Gantry and for the library it replaces, one after the other against the same
//! kind of cluster: time until n tasks run, memory, processor time.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use anyhow::Result;
use serde_json::Value;

use super::{http, process};
use crate::commands::{self, Background};

const AGENTS: usize = 50;

pub(crate) fn run() -> Result<()> {
    let peer = install()?;
    for tasks in [100, 1_000] {
        let ours = measure("gantry", tasks, |master, folder| {
            gantry(master, folder, tasks)
        })?;
        let theirs = measure("mesos-framework 0.5.3", tasks, |master, folder| {
            node(&peer, master, folder, tasks)
        });
        match theirs {
            Ok(theirs) => println!(
                "  ratio for {tasks} tasks: time {:.1}, memory {:.1}, cpu {:.1}",
                theirs.time.as_secs_f64() / ours.time.as_secs_f64(),
                theirs.resident as f64 / ours.resident as f64,
                theirs.cpu.as_secs_f64() / ours.cpu.as_secs_f64().max(0.01),
            ),
            Err(error) => println!("mesos-framework 0.5.3: {tasks} tasks: not reached: {error}"),
        }
    }
    Ok(())
}

struct Outcome {
    time: Duration,
    resident: u64,
    cpu: Duration,
}

fn measure(
    name: &str,
    tasks: usize,
    start: impl FnOnce(&str, &Path) -> Result<Background>,
) -> Result<Outcome> {
    let (_cluster, master) = process::cluster(AGENTS, "100", "10000")?;
    let folder = std::env::temp_dir().join(format!("gantry-peer-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let begin = Instant::now();
    let framework = start(&master, &folder)?;
    let reached = process::until(Duration::from_secs(120), "all tasks run", || {
        Ok(running(&master)? >= tasks)
    });
    let time = begin.elapsed();
    let (resident, cpu) = process::cost(&framework);
    drop(framework);
    std::fs::remove_dir_all(&folder)?;
    reached?;
    println!(
        "{name}: {tasks} tasks run after {:.2} s; {:.1} MB resident, {:.2} s cpu",
        time.as_secs_f64(),
        resident as f64 / 1024.0,
        cpu.as_secs_f64()
    );
    Ok(Outcome {
        time,
        resident,
        cpu,
    })
}

/// How many tasks run, as the cluster sees it: the same judge for both.
fn running(master: &str) -> Result<usize> {
    let state: Value = http::get(master, "/state")?;
    let frameworks = state["frameworks"].as_array().cloned().unwrap_or_default();
    Ok(frameworks
        .iter()
        .flat_map(|framework| framework["tasks"].as_array().into_iter().flatten())
        .filter(|task| task["state"] == "TASK_RUNNING")
        .count())
}

fn gantry(master: &str, folder: &Path, tasks: usize) -> Result<Background> {
    process::start(
        Command::new(process::gantry())
            .arg("serve")
            .env("FRAMEWORK_NAME", "peer")
            .env("HOST", "127.0.0.1")
            .env("PORT0", process::free_port()?.to_string())
            .env("MESOS_SANDBOX", folder)
            .env("MESOS_MASTER", master)
            .env(
                "STORE",
                format!("embedded:{}", folder.join("store").display()),
            )
            .env("TASK_DEF_NUM", "1")
            .env("TASK0_NAME", "web")
            .env("TASK0_NUM_INSTANCES", tasks.to_string())
            .env("TASK0_CPUS", "0.1")
            .env("TASK0_MEM", "32")
            .env("TASK0_CMD", "sleep 100000"),
    )
}

fn node(peer: &Path, master: &str, folder: &Path, tasks: usize) -> Result<Background> {
    let (host, port) = master.split_once(':').unwrap_or((master, "5050"));
    process::start(
        Command::new("node")
            .arg("services.js")
            .args([host, port, &tasks.to_string()])
            .arg(folder)
            .current_dir(peer),
    )
}

fn install() -> Result<PathBuf> {
    let peer = commands::project().join("benches/peer");
    if !peer.join("node_modules").exists() {
        commands::run(
            Command::new("npm")
                .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
                .current_dir(&peer),
        )?;
    }
    Ok(peer)
}
