//! `gantry scale`: how many instances a workload is to have.

use std::io::Write;

use clap::Args;
use reqwest::Method;
use serde_json::json;

use super::{
    leader::{Remote, segment},
    output::{self, Output, clean},
    preview,
};

/// Options of `gantry scale`.
#[derive(Args, Debug)]
pub struct ScaleOptions {
    /// Which workload
    #[arg(value_name = "WORKLOAD")]
    pub workload: String,
    /// How many instances; this stays until the declared number changes
    #[arg(value_name = "N")]
    pub instances: u32,
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

/// Has it scaled, and says from what to what.
///
/// # Errors
/// Gantry refuses or does not answer, or `out` cannot be written to.
pub async fn run(options: &ScaleOptions, out: &mut dyn Write) -> anyhow::Result<()> {
    let dry = if options.dry_run { "?dry_run=true" } else { "" };
    let path = format!(
        "/api/v2/workloads/{}/scale{dry}",
        segment(&options.workload)
    );
    let body = json!({"instances": options.instances});
    let leader = options.remote.leader()?;
    let answer = leader
        .change(Method::PUT, &path, body, options.reason.as_deref())
        .await?;
    if options.remote.output == Output::Json {
        return Ok(output::json(out, &answer)?);
    }
    if options.dry_run {
        return preview::write(out, &answer);
    }
    let (from, to) = (&answer["from"], &answer["to"]);
    writeln!(out, "{}: {from} -> {to}", clean(&options.workload))?;
    Ok(())
}
