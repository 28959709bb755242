//! Launches with a module that is told of every change of a task, and without: side by side, in turns.

use std::{fs, path::Path, time::Duration};

use anyhow::Result;

use super::{http, process, store::Place};

const AGENTS: usize = 500;
const TASKS: usize = 10_000;
const TURNS: usize = 3;

/// Counts what it is told, and shows it.
const MODULE: &str = "export default (gantry) => {
  const seen = {};
  gantry.onStatus(({ state, type }) => { const key = `${type} ${state}`; seen[key] = (seen[key] ?? 0) + 1; });
};";

pub(crate) fn run() -> Result<()> {
    let folder = std::env::temp_dir().join(format!("gantry-bench-modules-{}", std::process::id()));
    let module = folder.join("count-module");
    fs::create_dir_all(&module)?;
    fs::write(module.join("index.js"), MODULE)?;
    for turn in 1..=TURNS {
        for (name, modules) in [("without", folder.join("none")), ("with", folder.clone())] {
            let (took, cpu, told) = launches(&modules)?;
            println!(
                "turn {turn}, {name:<7} a module: {TASKS} tasks in {:.2} s, {:.0} launches/s, {:.2} s cpu; {told}",
                took.as_secs_f64(),
                TASKS as f64 / took.as_secs_f64(),
                cpu.as_secs_f64(),
            );
        }
    }
    fs::remove_dir_all(folder)?;
    Ok(())
}

fn launches(modules: &Path) -> Result<(Duration, Duration, String)> {
    let per_agent = TASKS.div_ceil(AGENTS) + 1;
    let (cluster, master) = process::cluster(
        AGENTS,
        &per_agent.to_string(),
        &format!("{}", per_agent * 32),
    )?;
    let port = process::free_port()?;
    let address = format!("127.0.0.1:{port}");
    let mut command = process::serve(port, &master, TASKS);
    command.env("MODULES_DIR", modules);
    let place = Place::embedded()?;
    place.apply(&mut command);
    let serve = process::start(&mut command)?;
    let took = process::until(Duration::from_secs(300), "all tasks run", || {
        let overview = http::get(&address, "/api/v2/workloads/web");
        let running = overview.map(|overview| overview["counts"]["running"].as_u64());
        Ok(running.is_ok_and(|running| running >= Some(TASKS as u64)))
    })?;
    let (_, cpu) = process::cost(&serve);
    let all = http::get(&address, "/api/v2/modules")?;
    let told = match all.get(0) {
        None => "no modules".to_owned(),
        Some(module) => format!(
            "{} calls, {} events dropped, {} ms in the module, {}",
            module["calls"], module["events_dropped"], module["processor_ms"], module["state"]
        ),
    };
    drop(serve);
    drop(cluster);
    Ok((took, cpu, told))
}
