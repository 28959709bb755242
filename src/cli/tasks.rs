//! `gantry tasks`: the live tasks.

use std::io::Write;

use anyhow::{Context as _, bail};
use clap::Args;
use serde::Deserialize;

use super::{
    leader::{Leader, Remote, segment},
    output::{self, Output, Table, ago, clean, colours},
    task_output::instance as instance_parts,
};

/// Options of `gantry tasks`.
#[derive(Args, Debug)]
pub struct TasksOptions {
    /// Only those of this workload
    #[arg(value_name = "WORKLOAD")]
    pub workload: Option<String>,
    /// One instance, `web-3`, with its last tasks
    #[arg(long, value_name = "INSTANCE", conflicts_with_all = ["workload", "state", "query", "sort"])]
    pub instance: Option<String>,
    /// Only those in this state: staging, starting, running, killing, unreachable, unhealthy or
    /// trouble; unknown: those of which there is no record
    #[arg(long, value_name = "STATE")]
    pub state: Option<String>,
    /// Only those whose instance, id, host, address or agent has this text in it
    #[arg(long, short = 'q', value_name = "TEXT")]
    pub query: Option<String>,
    /// By state, health, host, launched or running; with `-` in front the other way round
    #[arg(long, value_name = "BY", allow_hyphen_values = true)]
    pub sort: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub limit: u32,
    /// Who is asked.
    #[command(flatten)]
    pub remote: Remote,
}

#[derive(Deserialize)]
struct Task {
    id: String,
    name: String,
    state: String,
    goal: String,
    healthy: Option<bool>,
    hostname: String,
    agent_id: String,
    ports: Vec<u16>,
    revision: Option<u32>,
    changed_at: Option<u64>,
}

impl Task {
    fn host(&self) -> String {
        match self.hostname.as_str() {
            "" => self.agent_id.clone(),
            name => name.to_owned(),
        }
    }

    fn revision(&self) -> String {
        let revision = self.revision.map(|revision| revision.to_string());
        revision.unwrap_or_else(|| "-".to_owned())
    }

    fn since(&self) -> String {
        self.changed_at.map_or_else(|| "-".to_owned(), ago)
    }
}

/// Asks and writes.
///
/// # Errors
/// There is no answer that could be used, or `out` cannot be written to.
pub async fn run(options: &TasksOptions, out: &mut dyn Write) -> anyhow::Result<()> {
    let leader = options.remote.leader()?;
    if let Some(name) = &options.instance {
        return instance(&leader, name, options.remote.output, out).await;
    }
    let mut path = "/api/v2/tasks".to_owned();
    for (name, value) in [
        ("workload", &options.workload),
        ("state", &options.state),
        ("q", &options.query),
        ("sort", &options.sort),
    ] {
        if let Some(value) = value {
            let mark = if path.contains('?') { '&' } else { '?' };
            path.push_str(&format!("{mark}{name}={}", segment(value)));
        }
    }
    let limit = usize::try_from(options.limit).unwrap_or(usize::MAX);
    let listed = leader.list(&path, limit).await?;
    if options.remote.output == Output::Json {
        return Ok(output::json(out, &listed)?);
    }
    let tasks: Vec<Task> = listed.entries()?;
    let mut table = Table::new([
        "INSTANCE", "STATE", "HEALTHY", "GOAL", "HOST", "PORTS", "REVISION", "SINCE", "ID",
    ]);
    for task in &tasks {
        let ports: Vec<_> = task.ports.iter().map(u16::to_string).collect();
        let ports = if ports.is_empty() {
            "-".to_owned()
        } else {
            ports.join(",")
        };
        let healthy = match task.healthy {
            None => "-",
            Some(true) => "yes",
            Some(false) => "no",
        };
        table.row([
            task.name.clone(),
            task.state.clone(),
            healthy.to_owned(),
            task.goal.clone(),
            task.host(),
            ports,
            task.revision(),
            task.since(),
            task.id.clone(),
        ]);
    }
    table.write(out, colours())?;
    if tasks.len() < listed.total {
        eprintln!("these are {} of {}: see --limit", tasks.len(), listed.total);
    }
    Ok(())
}

#[derive(Deserialize)]
struct Instance {
    waiting: Option<Waiting>,
    failures: u32,
    tasks: Vec<Task>,
    history: Vec<Ended>,
}

#[derive(Deserialize)]
struct Waiting {
    #[serde(rename = "for")]
    waits_for: String,
    since: u64,
}

#[derive(Deserialize)]
struct Ended {
    id: String,
    state: String,
    reason: Option<String>,
    message: Option<String>,
    stopped: Option<String>,
    hostname: String,
    revision: u32,
    ended_at: u64,
}

/// Writes the live tasks of an instance, then those it had.
async fn instance(
    leader: &Leader,
    name: &str,
    format: Output,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let Some((workload, number)) = instance_parts(name) else {
        bail!("'{}' is no instance: write one such as web-3", clean(name));
    };
    let path = format!("/api/v2/workloads/{}/instances/{number}", segment(workload));
    let answer = leader.json(&path).await?;
    if format == Output::Json {
        return Ok(output::json(out, &answer)?);
    }
    let instance = Instance::deserialize(&answer)
        .context("the answer is not understood: is that Gantry of another version?")?;
    if let Some(waiting) = &instance.waiting {
        let (what, since) = (clean(&waiting.waits_for), ago(waiting.since));
        writeln!(
            out,
            "waits for {what} since {since}, {} failures",
            instance.failures
        )?;
    }
    let mut table = Table::new(["STATE", "HOST", "REVISION", "SINCE", "WHY", "ID"]);
    for task in &instance.tasks {
        table.row([
            task.state.clone(),
            task.host(),
            task.revision(),
            task.since(),
            "-".to_owned(),
            task.id.clone(),
        ]);
    }
    for ended in &instance.history {
        let why = [&ended.stopped, &ended.message, &ended.reason];
        let why = why.into_iter().flatten().next().cloned();
        table.row([
            ended.state.clone(),
            ended.hostname.clone(),
            ended.revision.to_string(),
            ago(ended.ended_at),
            why.unwrap_or_else(|| "-".to_owned()),
            ended.id.clone(),
        ]);
    }
    Ok(table.write(out, colours())?)
}
