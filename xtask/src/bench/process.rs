//! Starting what is measured, and what it costs.

use std::{
    net::TcpListener,
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

use super::http;
use crate::commands::{self, Background};

/// The release build of the program.
pub(crate) fn gantry() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| commands::project().join("target"), PathBuf::from);
    target.join("release/gantry")
}

/// A port that is free at the moment.
pub(crate) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// Starts a simulated cluster and waits until it answers.
pub(crate) fn cluster(agents: usize, cpus: &str, mem: &str) -> Result<(Background, String)> {
    let address = format!("127.0.0.1:{}", free_port()?);
    let mut command = Command::new(gantry());
    command
        .args([
            "local",
            "--simulated",
            "--listen",
            &address,
            "--agents",
            &agents.to_string(),
        ])
        .args(["--cpus", cpus, "--mem", mem]);
    let process = start(&mut command)?;
    until(Duration::from_secs(30), "the cluster answers", || {
        Ok(http::request(&address, "GET", "/health", "").is_ok())
    })?;
    Ok((process, address))
}

/// `gantry serve` with one service of so many tasks; where it keeps its records is to be added.
pub(crate) fn serve(port: u16, master: &str, tasks: usize) -> Command {
    let mut command = Command::new(gantry());
    command
        .arg("serve")
        .env("FRAMEWORK_NAME", "bench")
        .env("HOST", "127.0.0.1")
        .env("PORT0", port.to_string())
        .env("MESOS_MASTER", master)
        .env("TASK_DEF_NUM", "1")
        .env("TASK0_NAME", "web")
        .env("TASK0_NUM_INSTANCES", tasks.to_string())
        .env("TASK0_CPUS", "1")
        .env("TASK0_MEM", "32")
        .env("TASK0_CMD", "sleep 100000");
    command
}

/// Starts a program in the background; its output goes nowhere.
pub(crate) fn start(command: &mut Command) -> Result<Background> {
    let shown = format!("{command:?}");
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot start {shown}"))?;
    Ok(Background(child))
}

/// Asks again and again until it holds.
pub(crate) fn until(
    limit: Duration,
    what: &str,
    mut holds: impl FnMut() -> Result<bool>,
) -> Result<Duration> {
    let begin = Instant::now();
    while begin.elapsed() < limit {
        if holds()? {
            return Ok(begin.elapsed());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    bail!("waited {} s in vain: {what}", limit.as_secs())
}

/// Resident memory in kB, and processor time.
pub(crate) fn cost(process: &Background) -> (u64, Duration) {
    let pid = process.0.id();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let resident = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap_or(0);
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // Fields 14 and 15 (utime, stime) in ticks of 10 ms; the name before them may hold blanks.
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap_or("")
        .split_whitespace()
        .collect();
    let ticks: u64 = [11, 12]
        .iter()
        .filter_map(|field| fields.get(*field)?.parse::<u64>().ok())
        .sum();
    (resident, Duration::from_millis(ticks * 10))
}
