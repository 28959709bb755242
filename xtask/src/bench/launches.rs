//! Launches end to end: `gantry serve` with durable intents against a simulated cluster, both
//! real processes, through the real HTTP API.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::Result;

use super::{http, process};

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let number = |position: usize, default: usize| {
        arguments
            .get(position)
            .and_then(|text| text.parse().ok())
            .unwrap_or(default)
    };
    if arguments.is_empty() {
        for (agents, tasks) in [(100, 1_000), (1_000, 100_000)] {
            measure(agents, tasks)?;
        }
        Ok(())
    } else {
        measure(number(0, 1_000), number(1, 100_000))
    }
}

fn measure(agents: usize, tasks: usize) -> Result<()> {
    let per_agent = tasks.div_ceil(agents) + 1;
    let (cluster, master) = process::cluster(
        agents,
        &per_agent.to_string(),
        &format!("{}", per_agent * 32),
    )?;
    let folder = std::env::temp_dir().join(format!("gantry-bench-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let port = process::free_port()?;
    let address = format!("127.0.0.1:{port}");
    let mut command = Command::new(process::gantry());
    command
        .arg("serve")
        .env("FRAMEWORK_NAME", "bench")
        .env("HOST", "127.0.0.1")
        .env("PORT0", port.to_string())
        .env("MESOS_SANDBOX", &folder)
        .env("MESOS_MASTER", &master)
        .env(
            "STORE",
            format!("embedded:{}", folder.join("store").display()),
        )
        .env("TASK_DEF_NUM", "1")
        .env("TASK0_NAME", "web")
        .env("TASK0_NUM_INSTANCES", tasks.to_string())
        .env("TASK0_CPUS", "1")
        .env("TASK0_MEM", "32")
        .env("TASK0_CMD", "sleep 100000");
    let begin = Instant::now();
    let serve = process::start(&mut command)?;
    let limit = Duration::from_secs(600);
    // Parts of the whole, to see whether the last is slower than the first.
    let mut marks = Vec::new();
    process::until(limit, "all tasks run", || {
        let running = running(&address).unwrap_or(0);
        while running * 10 >= tasks * (marks.len() + 1) && marks.len() < 10 {
            marks.push(begin.elapsed());
        }
        Ok(running >= tasks)
    })?;
    let took = begin.elapsed();
    let (resident, cpu) = process::cost(&serve);
    let (cluster_resident, cluster_cpu) = process::cost(&cluster);
    println!(
        "{tasks} tasks on {agents} agents: {:.2} s, {:.0} launches/s; first tenth {:.2} s, last tenth {:.2} s",
        took.as_secs_f64(),
        tasks as f64 / took.as_secs_f64(),
        marks.first().map_or(0.0, Duration::as_secs_f64),
        marks
            .last()
            .zip(marks.get(8))
            .map_or(0.0, |(last, before)| (*last - *before).as_secs_f64()),
    );
    println!(
        "  gantry {:.1} MB resident ({} bytes a task), {:.2} s cpu; cluster {:.1} MB, {:.2} s cpu",
        resident as f64 / 1024.0,
        resident * 1024 / tasks as u64,
        cpu.as_secs_f64(),
        cluster_resident as f64 / 1024.0,
        cluster_cpu.as_secs_f64(),
    );
    let metrics = http::request(&address, "GET", "/metrics", "")?;
    println!(
        "  offer to ACCEPT: p50 at most {} s, p99 at most {} s",
        quantile(&metrics, 0.5),
        quantile(&metrics, 0.99)
    );
    drop(serve);
    drop(cluster);
    std::fs::remove_dir_all(&folder)?;
    Ok(())
}

/// How many tasks run, as the service sees it.
fn running(address: &str) -> Result<usize> {
    let overview = http::get(address, "/api/v2/workloads/web")?;
    Ok(overview["counts"]["running"].as_u64().unwrap_or(0) as usize)
}

/// The bound of the histogram bucket that holds this part of all offers.
fn quantile(metrics: &str, part: f64) -> String {
    let buckets: Vec<(&str, f64)> = metrics
        .lines()
        .filter_map(|line| line.strip_prefix("gantry_offer_to_accept_seconds_bucket{le=\""))
        .filter_map(|line| line.split_once("\"} "))
        .filter_map(|(bound, count)| Some((bound, count.trim().parse().ok()?)))
        .collect();
    let all = buckets.last().map_or(0.0, |(_, count)| *count);
    let bound = buckets.iter().find(|(_, count)| *count >= all * part);
    bound.map_or("?", |(bound, _)| bound).to_owned()
}
