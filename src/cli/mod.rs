//! The command line: one file for each subcommand.

pub mod backup;
pub mod check;
pub mod dev;
pub mod env;
pub mod environment;
mod home;
pub mod leader;
pub mod local;
pub mod plan;
pub mod restore;
pub mod sample_web;
pub mod serve;
pub mod uninstall;

use std::{io::stdout, process::ExitCode};

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::config::{ProcessEnvironment, Variables as _, sample};

/// Gantry runs services on Apache Mesos. What runs is declared in environment variables
/// (TASK0_NAME, TASK0_CMD or TASK0_IMAGE, ...); `gantry env` lists them all.
#[derive(Debug, Parser)]
#[command(name = "gantry", version, max_term_width = 100)]
pub struct Cli {
    /// What to do; `serve` when work is declared in the environment
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the framework that the environment declares
    Serve(serve::ServeOptions),
    /// Run everything in one process: a cluster of this machine, and Gantry on it
    Dev(dev::DevOptions),
    /// Run a Mesos-compatible cluster of this machine alone
    Local(local::LocalOptions),
    /// Say what is wrong with the environment, without starting anything
    Check(check::CheckOptions),
    /// List all environment variables
    Env(env::EnvOptions),
    /// Say what a start would change: exit code 0 for nothing, 1 for something, 255 for an error
    Plan(plan::PlanOptions),
    /// Write everything that is stored to a file
    Backup(backup::BackupOptions),
    /// Bring a backup back into the store, while no Gantry runs
    Restore(restore::RestoreOptions),
    /// End the framework: all its tasks, and all that is stored
    Uninstall(uninstall::UninstallOptions),
    /// The sample service of `gantry dev`: a small HTTP server on $PORT0
    #[command(hide = true)]
    SampleWeb,
}

/// Does what the command line says; the exit code is 0 when it was done.
pub fn run(cli: Cli) -> ExitCode {
    let command = cli.command.or_else(|| {
        // Within Marathon there is nobody to name a subcommand.
        let environment = ProcessEnvironment::snapshot();
        let declared = environment
            .get("FRAMEWORK_NAME")
            .is_ok_and(|name| name.is_some())
            || sample::declares_work(&environment);
        declared.then(|| Command::Serve(serve::ServeOptions::default()))
    });
    let Some(command) = command else {
        eprintln!("{}", Cli::command().render_help());
        eprintln!("Nothing is declared in the environment. Try `gantry dev`.");
        return ExitCode::from(2);
    };
    let written = match command {
        Command::Serve(options) => return serve::run(options),
        Command::Dev(options) => return dev::run(&options),
        Command::Local(options) => return local::run(&options),
        Command::SampleWeb => return sample_web::run(),
        Command::Backup(options) => return backup::run(&options),
        Command::Restore(options) => return restore::run(&options),
        Command::Uninstall(options) => return uninstall::run(&options),
        Command::Plan(options) => plan::run(&options, &mut stdout().lock()),
        Command::Check(options) => check::run(&options, &mut stdout().lock()),
        Command::Env(options) => {
            env::run(&options, &mut stdout().lock()).map(|()| ExitCode::SUCCESS)
        }
    };
    // A reader that closed the pipe has seen enough.
    written.unwrap_or(ExitCode::SUCCESS)
}

/// Runs a command that waits for others.
fn block_on<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Runtime::new()?;
    let outcome = runtime.block_on(command);
    // What still blocks a thread does not hold up the exit.
    runtime.shutdown_background();
    outcome
}

/// Prints why something could not be done.
fn fail(error: impl std::fmt::Display) -> ExitCode {
    eprintln!("gantry: {error}");
    ExitCode::FAILURE
}
