//! `gantry agents`: the agents that run tasks of the framework.

use std::{collections::BTreeMap, io::Write};

use clap::Args;
use serde::Deserialize;

use super::{
    leader::{Remote, segment},
    output::{self, Output, Table, colours},
};

/// Options of `gantry agents`.
#[derive(Args, Debug)]
pub struct AgentsOptions {
    /// Only those whose host, address or id has this text in it
    #[arg(long, short = 'q', value_name = "TEXT")]
    pub query: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub limit: u32,
    /// Who is asked.
    #[command(flatten)]
    pub remote: Remote,
}

#[derive(Deserialize)]
struct Agent {
    id: String,
    hostname: String,
    ip: String,
    tasks: usize,
    workloads: BTreeMap<String, usize>,
    cpus: f64,
    mem: f64,
    state: Option<String>,
    free: Option<Free>,
}

#[derive(Deserialize)]
struct Free {
    cpus: f64,
    mem: f64,
}

/// Asks and writes.
///
/// # Errors
/// There is no answer that could be used, or `out` cannot be written to.
pub async fn run(options: &AgentsOptions, out: &mut dyn Write) -> anyhow::Result<()> {
    let query = options.query.as_deref().map(segment);
    let query = query.map(|query| format!("?q={query}")).unwrap_or_default();
    let limit = usize::try_from(options.limit).unwrap_or(usize::MAX);
    let leader = options.remote.leader()?;
    let listed = leader
        .list(&format!("/api/v2/agents{query}"), limit)
        .await?;
    if options.remote.output == Output::Json {
        return Ok(output::json(out, &listed)?);
    }
    let agents: Vec<Agent> = listed.entries()?;
    let mut table = Table::new([
        "HOST",
        "ADDRESS",
        "TASKS",
        "CPUS",
        "MEM",
        "WORKLOADS",
        "ID",
        "STATE",
        "FREE CPUS",
        "FREE MEM",
    ]);
    let amount = |free: Option<f64>| free.map_or_else(|| "-".to_owned(), |free| free.to_string());
    for agent in &agents {
        let workloads = agent.workloads.iter();
        let workloads: Vec<_> = workloads
            .map(|(name, count)| format!("{name}:{count}"))
            .collect();
        table.row([
            agent.hostname.clone(),
            agent.ip.clone(),
            agent.tasks.to_string(),
            agent.cpus.to_string(),
            agent.mem.to_string(),
            workloads.join(","),
            agent.id.clone(),
            agent.state.clone().unwrap_or_else(|| "-".to_owned()),
            amount(agent.free.as_ref().map(|free| free.cpus)),
            amount(agent.free.as_ref().map(|free| free.mem)),
        ]);
    }
    table.write(out, colours())?;
    if agents.len() < listed.total {
        eprintln!(
            "these are {} of {}: see --limit",
            agents.len(),
            listed.total
        );
    }
    Ok(())
}
