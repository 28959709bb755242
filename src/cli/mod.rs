//! The command line: one file for each subcommand.

pub mod agents;
pub mod audit;
pub mod backup;
pub mod brake;
pub mod check;
pub mod completions;
pub mod deploy;
pub mod dev;
pub mod env;
pub mod environment;
pub mod events;
pub mod explain;
mod home;
pub mod leader;
pub mod local;
pub mod logs;
pub mod module;
pub mod output;
pub mod plan;
mod preview;
pub mod restart;
pub mod restore;
pub mod sample_web;
pub mod scale;
pub mod serve;
pub mod status;
mod task_output;
pub mod tasks;
pub mod token;
pub mod uninstall;

use std::{
    io::{self, Write as _, stdout},
    process::ExitCode,
};

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::config::{ProcessEnvironment, Variables as _, sample};

/// Gantry runs services on Apache Mesos. What runs is declared in environment variables
/// (TASK0_NAME, TASK0_CMD or TASK0_IMAGE, ...); `gantry env` lists them all.
///
/// Exit codes: 0 done, 1 refused or failed, 2 the command line is wrong, 3 the Gantry that was asked
/// does not answer or cannot at the moment. `gantry plan` has its own.
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
    /// How the framework is, or one workload
    Status(status::StatusOptions),
    /// The live tasks
    Tasks(tasks::TasksOptions),
    /// Change how many instances a workload has
    Scale(scale::ScaleOptions),
    /// Put other tasks in the place of those that run
    Restart(restart::RestartOptions),
    /// Say why a workload is not as it is wanted
    Explain(explain::ExplainOptions),
    /// Rolling updates and restarts: list, status, pause, resume, abort, rollback
    Deploy(deploy::DeployOptions),
    /// What a task writes, or Gantry's own log
    Logs(logs::LogsOptions),
    /// What happens, as it happens
    Events(events::EventsOptions),
    /// The agents, what runs there, and what is free
    Agents(agents::AgentsOptions),
    /// What operators did
    Audit(audit::AuditOptions),
    /// The brake for mass failures
    Brake(brake::BrakeOptions),
    /// Tokens for programs
    Token(token::TokenOptions),
    /// Try out a module
    Module(module::ModuleOptions),
    /// Write what a shell needs to complete this command line
    Completions(completions::CompletionsOptions),
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
    let unwritten = match command {
        // 0 and 1 would say something of the plan.
        Command::Plan(_) => ExitCode::from(255),
        _ => ExitCode::FAILURE,
    };
    // Not locked: what serves writes to it from other threads.
    let out = &mut stdout();
    let written = match command {
        Command::Serve(options) => return serve::run(options),
        Command::Dev(options) => return dev::run(&options),
        Command::Local(options) => return local::run(&options),
        Command::SampleWeb => return sample_web::run(),
        Command::Backup(options) => return backup::run(&options),
        Command::Restore(options) => return restore::run(&options),
        Command::Uninstall(options) => return uninstall::run(&options),
        Command::Status(options) => return asked(status::run(&options, out)),
        Command::Tasks(options) => return asked(tasks::run(&options, out)),
        Command::Scale(options) => return asked(scale::run(&options, out)),
        Command::Restart(options) => return asked(restart::run(&options, out)),
        Command::Explain(options) => return asked(explain::run(&options, out)),
        Command::Logs(options) => return asked(logs::run(&options, out)),
        Command::Events(options) => return asked(events::run(&options, out)),
        Command::Agents(options) => return asked(agents::run(&options, out)),
        Command::Audit(options) => return asked(audit::run(&options, out)),
        Command::Brake(options) => return asked(brake::run(&options, out)),
        Command::Deploy(options) => return ended(block_on(deploy::run(&options, out))),
        Command::Module(options) => return ended(block_on(module::run(&options, out))),
        Command::Plan(options) => plan::run(&options, out),
        Command::Check(options) => check::run(&options, out),
        Command::Token(options) => token::run(&options, out, &mut io::stderr()),
        Command::Env(options) => env::run(&options, out).map(|()| ExitCode::SUCCESS),
        Command::Completions(options) => completions::run(options, out).map(|()| ExitCode::SUCCESS),
    };
    match written.and_then(|code| out.flush().map(|()| code)) {
        Ok(code) => code,
        // A reader that closed the pipe has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            fail(format_args!("the output cannot be written: {error}"));
            unwritten
        }
    }
}

/// Runs a command that waits for others.
fn block_on<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Runtime::new()?;
    let outcome = runtime.block_on(command);
    // What still blocks a thread does not hold up the exit.
    runtime.shutdown_background();
    outcome
}

/// Runs a question to a running Gantry.
fn asked(question: impl Future<Output = anyhow::Result<()>>) -> ExitCode {
    ended(block_on(question).map(|()| ExitCode::SUCCESS))
}

/// The exit code of a question to a running Gantry; an error is printed.
fn ended(outcome: anyhow::Result<ExitCode>) -> ExitCode {
    let error = match outcome {
        Ok(code) => return code,
        Err(error) => error,
    };
    // A reader that closed the pipe has seen enough.
    if error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
    {
        return ExitCode::SUCCESS;
    }
    fail(format_args!("{error:#}"));
    let asked = error.downcast_ref::<leader::AskError>();
    asked.map_or(ExitCode::FAILURE, leader::AskError::exit_code)
}

/// Prints what was done, where somebody reads it: not to be read does not undo it.
fn tell(text: std::fmt::Arguments<'_>) {
    let _ = writeln!(stdout(), "{text}");
}

/// Prints why something could not be done.
fn fail(error: impl std::fmt::Display) -> ExitCode {
    eprintln!("gantry: {error}");
    ExitCode::FAILURE
}
