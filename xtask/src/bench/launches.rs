//! Launches end to end: `gantry serve` with durable intents against a simulated cluster, both
//! real processes, through the real HTTP API; on the embedded store and on ZooKeeper, one after
//! the other.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::{http, process, store::Place};

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let number = |position: usize, default: usize| {
        arguments
            .get(position)
            .and_then(|text| text.parse().ok())
            .unwrap_or(default)
    };
    let sizes = if arguments.is_empty() {
        vec![(100, 1_000), (1_000, 100_000)]
    } else {
        vec![(number(0, 1_000), number(1, 100_000))]
    };
    for (agents, tasks) in sizes {
        measure(agents, tasks, &Place::embedded()?)?;
        match Place::zookeeper()? {
            Some(place) => measure(agents, tasks, &place)?,
            None => println!("no ZooKeeper on this machine: nothing is measured on it"),
        }
    }
    Ok(())
}

fn measure(agents: usize, tasks: usize, place: &Place) -> Result<()> {
    let per_agent = tasks.div_ceil(agents) + 1;
    let (cluster, master) = process::cluster(
        agents,
        &per_agent.to_string(),
        &format!("{}", per_agent * 32),
    )?;
    let port = process::free_port()?;
    let address = format!("127.0.0.1:{port}");
    let mut command = process::serve(port, &master, tasks);
    place.apply(&mut command);
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
        "{tasks} tasks on {agents} agents, {}: {:.2} s, {:.0} launches/s; first tenth {:.2} s, last tenth {:.2} s",
        place.name(),
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
