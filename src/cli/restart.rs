//! `gantry restart`: other tasks in the place of those that run.

use std::io::Write;

use clap::Args;
use reqwest::Method;
use serde_json::json;

use super::{
    leader::{Remote, segment},
    output::{self, Output, clean},
    preview,
};

/// Options of `gantry restart`.
#[derive(Args, Debug)]
#[group(id = "what", required = true, multiple = false, args = ["workload", "task", "all"])]
pub struct RestartOptions {
    /// All tasks of this workload, one after the other
    #[arg(value_name = "WORKLOAD")]
    pub workload: Option<String>,
    /// This one task
    #[arg(long, value_name = "ID")]
    pub task: Option<String>,
    /// All tasks of all workloads, one after the other
    #[arg(long)]
    pub all: bool,
    /// Only say what would happen
    #[arg(long)]
    pub dry_run: bool,
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Who is asked.
    #[command(flatten)]
    pub remote: Remote,
}

/// Has the restart begun, and says how to follow it.
///
/// # Errors
/// Gantry refuses or does not answer, or `out` cannot be written to.
pub async fn run(options: &RestartOptions, out: &mut dyn Write) -> anyhow::Result<()> {
    let (path, body) = match (&options.task, &options.workload) {
        (Some(id), _) => (format!("/api/v2/tasks/{}/restart", segment(id)), json!({})),
        (None, Some(name)) => (
            "/api/v2/rolling-restarts".to_owned(),
            json!({"workload": name}),
        ),
        (None, None) => ("/api/v2/rolling-restarts".to_owned(), json!({})),
    };
    let dry = if options.dry_run { "?dry_run=true" } else { "" };
    let path = format!("{path}{dry}");
    let leader = options.remote.leader()?;
    let answer = leader
        .change(Method::POST, &path, body, options.reason.as_deref())
        .await?;
    if options.remote.output == Output::Json {
        return Ok(output::json(out, &answer)?);
    }
    if options.dry_run {
        return preview::write(out, &answer);
    }
    if let Some(id) = &options.task {
        writeln!(out, "{}: restarting", clean(id))?;
    } else {
        let id = &answer["deployment"];
        writeln!(out, "deployment {id}")?;
        eprintln!("`gantry deploy status {id} --wait` follows it");
    }
    Ok(())
}
