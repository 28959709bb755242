//! `gantry explain`: why a workload is not as it is wanted.

use std::io::Write;

use clap::Args;
use serde::Deserialize;

use super::{
    leader::{Remote, segment},
    output::{self, Output, Table, ago, clean, colours},
    status::{Counts, in_words},
};

/// Options of `gantry explain`.
#[derive(Args, Debug)]
pub struct ExplainOptions {
    /// Which workload
    #[arg(value_name = "WORKLOAD")]
    pub workload: String,
    /// Who is asked.
    #[command(flatten)]
    pub remote: Remote,
}

#[derive(Deserialize)]
struct Explanation {
    workload: String,
    condition: String,
    wanted: u32,
    counts: Counts,
    sentences: Vec<String>,
    funnel: Option<Funnel>,
    instances: Vec<Waiting>,
}

#[derive(Deserialize)]
struct Funnel {
    at: u64,
    offers: u32,
    launched: u32,
    stages: Vec<Stage>,
    nearest: Option<Nearest>,
}

#[derive(Deserialize)]
struct Stage {
    name: String,
    left: u32,
    ruled_out: u32,
}

#[derive(Deserialize)]
struct Nearest {
    hostname: String,
    lacks: String,
}

#[derive(Deserialize)]
struct Waiting {
    name: String,
    waits_for: String,
    since: u64,
    until: Option<u64>,
    failures: u32,
    last: Option<Ended>,
}

#[derive(Deserialize)]
struct Ended {
    state: String,
    reason: Option<String>,
    message: Option<String>,
}

/// Asks and writes.
///
/// # Errors
/// There is no answer that could be used, or `out` cannot be written to.
pub async fn run(options: &ExplainOptions, out: &mut dyn Write) -> anyhow::Result<()> {
    let path = format!("/api/v2/workloads/{}/explain", segment(&options.workload));
    let answer = options.remote.leader()?.json(&path).await?;
    if options.remote.output == Output::Json {
        return Ok(output::json(out, &answer)?);
    }
    let explanation: Explanation = serde_json::from_value(answer)?;
    writeln!(
        out,
        "{} is {}: {} wanted, {}",
        clean(&explanation.workload),
        clean(&explanation.condition),
        explanation.wanted,
        in_words(&explanation.counts)
    )?;
    for sentence in &explanation.sentences {
        writeln!(out, "  {}", clean(sentence))?;
    }
    if explanation.sentences.is_empty() {
        writeln!(out, "  nothing keeps it from being as it is wanted")?;
    }
    // The funnel of a cycle long past explains nothing when nothing waits.
    if explanation.counts.waiting > 0
        && let Some(funnel) = &explanation.funnel
    {
        told(funnel, out)?;
    }
    if !explanation.instances.is_empty() {
        writeln!(out)?;
        waiting(&explanation.instances).write(out, colours())?;
    }
    Ok(())
}

fn told(funnel: &Funnel, out: &mut dyn Write) -> std::io::Result<()> {
    writeln!(out)?;
    let mut table = Table::new(["TEST", "LEFT", "RULED OUT"]);
    table.row([
        "offers".to_owned(),
        funnel.offers.to_string(),
        "-".to_owned(),
    ]);
    for stage in &funnel.stages {
        table.row([
            stage.name.clone(),
            stage.left.to_string(),
            stage.ruled_out.to_string(),
        ]);
    }
    table.write(out, colours())?;
    let (launched, at) = (funnel.launched, ago(funnel.at));
    writeln!(out, "launched {launched} when last tried, {at} ago")?;
    if let Some(nearest) = &funnel.nearest {
        let (hostname, lacks) = (clean(&nearest.hostname), clean(&nearest.lacks));
        writeln!(out, "nearest miss: {hostname} lacks {lacks}")?;
    }
    Ok(())
}

fn waiting(instances: &[Waiting]) -> Table<5> {
    let mut table = Table::new(["INSTANCE", "WAITS FOR", "SINCE", "FAILURES", "LAST TASK"]);
    for instance in instances {
        let waits_for = match (instance.waits_for.as_str(), instance.until) {
            ("offer", _) => "an offer".to_owned(),
            ("back_off", Some(until)) => format!("its back-off, to {}", output::moment(until)),
            ("reconciliation", _) => "Mesos, to say what runs".to_owned(),
            ("brake", _) => "the brake".to_owned(),
            ("admission", None) => "modules".to_owned(),
            ("admission", Some(until)) => {
                format!("modules, which refuse, to {}", output::moment(until))
            }
            (other, _) => other.to_owned(),
        };
        let last = instance.last.as_ref().map(|last| {
            let more = [&last.reason, &last.message];
            let more = more.into_iter().flatten().map(|text| format!(", {text}"));
            format!("{}{}", last.state, more.collect::<String>())
        });
        table.row([
            instance.name.clone(),
            waits_for,
            ago(instance.since),
            instance.failures.to_string(),
            last.unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    table
}
