//! `gantry brake`: the brake for mass failures.

use std::io::Write;

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::json;

use super::{
    leader::Remote,
    output::{self, Output},
};

/// Options of `gantry brake`.
#[derive(Args, Debug)]
pub struct BrakeOptions {
    /// What is done.
    #[command(subcommand)]
    pub action: BrakeAction,
}

/// What is done with the brake.
#[derive(Debug, Subcommand)]
pub enum BrakeAction {
    /// Let it go: failed tasks are replaced again, deployments move again
    Release(ReleaseOptions),
}

/// Options of `gantry brake release`.
#[derive(Args, Debug)]
pub struct ReleaseOptions {
    /// Why, for the audit
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
    /// Who is asked.
    #[command(flatten)]
    pub remote: Remote,
}

/// Has the brake released.
///
/// # Errors
/// It is not on, Gantry does not answer, or `out` cannot be written to.
pub async fn run(options: &BrakeOptions, out: &mut dyn Write) -> anyhow::Result<()> {
    let BrakeAction::Release(options) = &options.action;
    let leader = options.remote.leader()?;
    let reason = options.reason.as_deref();
    let path = "/api/v2/brake/release";
    let answer = leader.change(Method::POST, path, json!({}), reason).await?;
    if options.remote.output == Output::Json {
        return Ok(output::json(out, &answer)?);
    }
    writeln!(out, "the brake is released")?;
    Ok(())
}
