//! `gantry status`: how the framework is, or one workload.

use std::io::Write;

use clap::Args;
use serde::Deserialize;

use super::{
    leader::{Leader, Remote, segment},
    output::{self, Output, Table, ago, clean, colours, or_none},
};

/// Most workloads that are listed.
const WORKLOADS_MAX: usize = 10_000;

/// Options of `gantry status`.
#[derive(Args, Debug)]
pub struct StatusOptions {
    /// One workload, more closely
    #[arg(value_name = "WORKLOAD")]
    pub workload: Option<String>,
    /// Who is asked.
    #[command(flatten)]
    pub remote: Remote,
}

#[derive(Deserialize)]
struct Overview {
    framework: Framework,
    connection: Connection,
    leadership: Leadership,
    brake: Option<Brake>,
    totals: Totals,
    deployments_at_work: usize,
    #[serde(default)]
    deployments_paused: usize,
    unknown_tasks: usize,
    warnings: Vec<String>,
}

#[derive(Deserialize)]
struct Framework {
    name: String,
    id: Option<String>,
    version: String,
}

#[derive(Deserialize)]
struct Connection {
    state: String,
    since: u64,
    master: Option<String>,
    problem: Option<String>,
}

#[derive(Deserialize)]
struct Leadership {
    role: String,
    leader: Option<Member>,
    as_of: Option<u64>,
    fault: Option<String>,
    read_fault: Option<String>,
    #[serde(default)]
    would_change: Option<String>,
}

#[derive(Deserialize)]
struct Member {
    host: String,
    url: Option<String>,
}

#[derive(Deserialize)]
struct Brake {
    since: u64,
    reason: String,
}

#[derive(Deserialize)]
struct Totals {
    wanted: u64,
    counts: Counts,
}

/// Of instances that wait, and of tasks.
#[derive(Deserialize)]
pub(super) struct Counts {
    #[serde(default)]
    pub(super) admitting: u32,
    pub(super) waiting: u32,
    pub(super) backing_off: u32,
    pub(super) starting: u32,
    pub(super) running: u32,
    pub(super) healthy: u32,
    pub(super) unhealthy: u32,
    pub(super) killing: u32,
    pub(super) unreachable: u32,
}

#[derive(Deserialize)]
struct Workload {
    name: String,
    condition: String,
    wanted: u32,
    declared: u32,
    counts: Counts,
    revision: u32,
    priority: i32,
    image: Option<String>,
    demand: Demand,
    sentences: Vec<String>,
}

#[derive(Deserialize)]
struct Demand {
    cpus: f64,
    mem: f64,
    disk: f64,
    gpus: f64,
    ports: usize,
}

/// Asks and writes.
///
/// # Errors
/// There is no answer that could be used, or `out` cannot be written to.
pub async fn run(options: &StatusOptions, out: &mut dyn Write) -> anyhow::Result<()> {
    let leader = options.remote.leader()?;
    match &options.workload {
        Some(name) => one(&leader, name, options.remote.output, out).await,
        None => all(&leader, options.remote.output, out).await,
    }
}

async fn all(leader: &Leader, written: Output, out: &mut dyn Write) -> anyhow::Result<()> {
    let overview = leader.json("/api/v2/overview").await?;
    if written == Output::Json {
        return Ok(output::json(out, &overview)?);
    }
    let listed = leader.list("/api/v2/workloads", WORKLOADS_MAX).await?;
    let workloads: Vec<Workload> = listed.entries()?;
    about(&serde_json::from_value(overview)?, out)?;
    let mut table = Table::new([
        "WORKLOAD",
        "CONDITION",
        "WANTED",
        "RUNNING",
        "HEALTHY",
        "WAITING",
        "REVISION",
        "IMAGE",
    ]);
    for workload in &workloads {
        let counts = &workload.counts;
        table.row([
            workload.name.clone(),
            workload.condition.clone(),
            workload.wanted.to_string(),
            counts.running.to_string(),
            counts.healthy.to_string(),
            (counts.admitting + counts.waiting + counts.backing_off).to_string(),
            workload.revision.to_string(),
            or_none(workload.image.as_deref()).to_owned(),
        ]);
    }
    writeln!(out)?;
    table.write(out, colours())?;
    for workload in &workloads {
        for sentence in &workload.sentences {
            writeln!(out, "{}: {}", clean(&workload.name), clean(sentence))?;
        }
    }
    if workloads.len() < listed.total {
        eprintln!("these are {} of {}", workloads.len(), listed.total);
    }
    Ok(())
}

fn about(overview: &Overview, out: &mut dyn Write) -> std::io::Result<()> {
    let Overview {
        framework,
        connection,
        leadership,
        totals,
        ..
    } = overview;
    writeln!(
        out,
        "framework    {} ({}), Gantry {}",
        clean(&framework.name),
        clean(framework.id.as_deref().unwrap_or("not registered yet")),
        clean(&framework.version)
    )?;
    write!(out, "role         {}", clean(&leadership.role))?;
    if leadership.role != "leader"
        && let Some(leader) = &leadership.leader
    {
        write!(out, " of {}", clean(&leader.host))?;
        if let Some(url) = &leader.url {
            write!(out, " ({})", clean(url))?;
        }
    }
    match leadership.as_of {
        // Of what is not stored it knows nothing.
        Some(at) => writeln!(
            out,
            ", shows its copy of {} ago: which tasks are healthy and reachable the leader knows",
            ago(at)
        )?,
        None => writeln!(out)?,
    }
    if let Some(fault) = &leadership.fault {
        writeln!(out, "cannot lead  {}", clean(fault))?;
    }
    if let Some(fault) = &leadership.read_fault {
        writeln!(out, "cannot read  {}", clean(fault))?;
    }
    if let Some(what) = &leadership.would_change {
        writeln!(out, "warning      {}", clean(what))?;
    }
    if connection.state == "stand_by" {
        writeln!(out, "master       the leader is connected, not this one")?;
    } else {
        let state = clean(&connection.state).replace('_', " ");
        write!(out, "master       {state}")?;
        if let Some(master) = &connection.master {
            write!(out, " at {}", clean(master))?;
        }
        writeln!(out, " for {}", ago(connection.since))?;
    }
    if let Some(problem) = &connection.problem {
        writeln!(out, "problem      {}", clean(problem))?;
    }
    if let Some(brake) = &overview.brake {
        writeln!(
            out,
            "brake        on for {}: {}; `gantry brake release` lets it go",
            ago(brake.since),
            clean(&brake.reason)
        )?;
    }
    writeln!(
        out,
        "tasks        {} wanted: {}",
        totals.wanted,
        in_words(&totals.counts)
    )?;
    if overview.unknown_tasks > 0 {
        writeln!(
            out,
            "unknown      {} tasks: `gantry tasks --state unknown` lists them",
            overview.unknown_tasks
        )?;
    }
    let warnings = overview.warnings.iter();
    for warning in warnings.filter(|text| !text.starts_with("open access")) {
        writeln!(out, "warning      {}", clean(warning))?;
    }
    let paused = overview.deployments_paused;
    match (overview.deployments_at_work, paused) {
        (0, _) => Ok(()),
        (all, 0) => writeln!(out, "deployments  {all} at work, see `gantry deploy list`"),
        (all, paused) => writeln!(
            out,
            "deployments  {all} not over, {paused} of them paused, see `gantry deploy list`"
        ),
    }
}

/// The counts that say something.
pub(super) fn in_words(counts: &Counts) -> String {
    let words = [
        (counts.running, "running"),
        (counts.healthy, "healthy"),
        (counts.unhealthy, "unhealthy"),
        (counts.starting, "starting"),
        (counts.killing, "stopping"),
        (counts.unreachable, "unreachable"),
        (counts.admitting, "waiting for modules"),
        (counts.waiting, "waiting"),
        (counts.backing_off, "backing off"),
    ];
    let words = words.iter().filter(|(count, _)| *count > 0);
    let words: Vec<_> = words
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    if words.is_empty() {
        "none".to_owned()
    } else {
        words.join(", ")
    }
}

async fn one(
    leader: &Leader,
    name: &str,
    written: Output,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let path = format!("/api/v2/workloads/{}", segment(name));
    let answer = leader.json(&path).await?;
    if written == Output::Json {
        return Ok(output::json(out, &answer)?);
    }
    let workload: Workload = serde_json::from_value(answer)?;
    let demand = &workload.demand;
    writeln!(out, "workload     {}", clean(&workload.name))?;
    writeln!(out, "condition    {}", clean(&workload.condition))?;
    writeln!(
        out,
        "instances    {} wanted, {} declared",
        workload.wanted, workload.declared
    )?;
    writeln!(out, "tasks        {}", in_words(&workload.counts))?;
    writeln!(out, "revision     {}", workload.revision)?;
    writeln!(out, "priority     {}", workload.priority)?;
    writeln!(
        out,
        "image        {}",
        clean(or_none(workload.image.as_deref()))
    )?;
    write!(out, "each takes   {} cpus, {} MB", demand.cpus, demand.mem)?;
    for (amount, unit) in [(demand.disk, "MB of disk"), (demand.gpus, "gpus")] {
        if amount > 0.0 {
            write!(out, ", {amount} {unit}")?;
        }
    }
    match demand.ports {
        0 => writeln!(out)?,
        1 => writeln!(out, ", 1 port")?,
        many => writeln!(out, ", {many} ports")?,
    }
    for sentence in &workload.sentences {
        writeln!(out, "{}: {}", clean(&workload.name), clean(sentence))?;
    }
    Ok(())
}
