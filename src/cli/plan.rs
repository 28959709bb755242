//! `gantry plan`: what a start with this environment would change.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::Args;
use gantry_core::Found;

use super::{
    environment::EnvironmentOptions,
    home::Home,
    leader::LeaderOptions,
    output::{self, Output},
};
use crate::{
    config::Config,
    plan::{Declaration, Report},
    runtime::identity,
};

/// Longest answer of a leader: some thousand task types.
const REPORT_BYTES_MAX: usize = 256 << 20;

/// Options of `gantry plan`.
#[derive(Args, Debug)]
pub struct PlanOptions {
    /// What would be started.
    #[command(flatten)]
    pub environment: EnvironmentOptions,
    /// What it is compared with.
    #[command(flatten)]
    pub leader: LeaderOptions,
    /// How it is written
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// Exit code 0 when nothing would change, 1 when something would, 255 when that cannot be said.
pub fn run(options: &PlanOptions, out: &mut dyn Write) -> io::Result<ExitCode> {
    let worked_out = super::block_on(report(options));
    let report = match worked_out {
        Ok(report) => report,
        Err(error) => {
            super::fail(format_args!("{error:#}"));
            return Ok(ExitCode::from(255));
        }
    };
    let written = match options.output {
        Output::Text => write!(out, "{report}"),
        Output::Json => output::json(out, &report),
    };
    match written.and_then(|()| out.flush()) {
        // A reader that closed the pipe has seen enough; the code speaks of the plan all the same.
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error),
        _ => {}
    }
    Ok(ExitCode::from(u8::from(report.changes)))
}

async fn report(options: &PlanOptions) -> anyhow::Result<Report> {
    let config = options.environment.config()?;
    if let Some(leader) = options.leader.leader()? {
        let declaration = Declaration::of(&config.framework.task_name, &config.services);
        let answer = leader
            .post("/api/v2/plan", &declaration, REPORT_BYTES_MAX)
            .await?;
        return serde_json::from_slice(&answer).context("the answer is not a plan");
    }
    stored(config).await
}

async fn stored(config: Config) -> anyhow::Result<Report> {
    let home = Home::of(&config, "plan");
    let mut found = match home.read().await? {
        None => {
            eprintln!(
                "note: nothing is stored yet in {home}, as FRAMEWORK_NAME, STORE, ZK_URL and ZK_PATH name it"
            );
            Found::default()
        }
        Some(loaded) => loaded.into(),
    };
    // A start would do nothing at all.
    identity::establish(&mut found, &config.scheduler.framework, None)
        .with_context(|| format!("with {home}, a start would not lead"))?;
    for record in identity::strange(&found, &config.scheduler.framework) {
        eprintln!("warning: {}: {}", record.id, identity::STRANGE);
    }
    Ok(Report::of(&config.scheduler, config.services, found))
}
