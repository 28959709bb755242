//! `gantry serve`: the framework that the environment declares.

use std::process::ExitCode;

use clap::Args;
use gantry_core::FrameworkId;

use super::fail;
use crate::{
    config::{Config, ProcessEnvironment, Report, credentials},
    logging,
    service::{Service, Signals, StartOptions},
};

/// Options of `gantry serve`.
#[derive(Args, Clone, Debug, Default)]
pub struct ServeOptions {
    /// Register as a new framework in place of this one, which the Mesos master has removed with its
    /// tasks; no other id is ever forgotten, so that the option may stay where it is
    #[arg(long, value_name = "ID", require_equals = true)]
    pub forget_framework_id: Option<String>,
}

/// Runs until a signal or a fault. Exit code 0 after a signal or a restart by an operator, 1 when
/// the start failed or Gantry cannot go on.
pub fn run(options: ServeOptions) -> ExitCode {
    let environment = credentials::complete(Box::new(ProcessEnvironment::snapshot()));
    let read = environment.and_then(|environment| Config::read(environment.as_ref()));
    let (config, report) = match read {
        Ok(read) => read,
        Err(report) => {
            // Scripts look for the original's line.
            if let Some(line) = report.missing_line() {
                eprintln!("{line}");
            }
            eprint!("{report}");
            return ExitCode::FAILURE;
        }
    };
    let secrets = logging::secrets_of(&config);
    let _log = match logging::start(&config.logging, config.logging.level, secrets) {
        Ok(log) => log,
        Err(error) => return fail(error),
    };
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        framework = config.framework.task_name,
        services = config.services.len(),
        "starting"
    );
    tell(&report);
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(error),
    };
    let outcome = runtime.block_on(serve(&config, options));
    // What still blocks a thread does not hold up the exit.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(config: &Config, options: ServeOptions) -> anyhow::Result<()> {
    let mut signals = Signals::catch()?;
    let options = StartOptions {
        forget_framework_id: options.forget_framework_id.map(FrameworkId::new),
    };
    let service = Service::start(config, options).await?;
    service.run(&mut signals).await?;
    Ok(())
}

fn tell(report: &Report) {
    for warning in &report.warnings {
        tracing::warn!("{}", one_line(&warning.to_string()));
    }
    for notice in &report.notices {
        tracing::info!("{}", one_line(&notice.to_string()));
    }
}

/// A problem is written with its remedy on a line of its own.
fn one_line(problem: &str) -> String {
    let parts: Vec<_> = problem.lines().map(str::trim).collect();
    parts.join("; ")
}
