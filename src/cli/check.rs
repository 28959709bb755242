//! `gantry check`: what is wrong with the environment, all of it, without starting anything.

use std::{
    fs::File,
    io::{self, Read, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;

use crate::config::{Config, ProcessEnvironment, Variables, env_file};

/// Options of `gantry check`.
#[derive(Args, Debug)]
pub struct CheckOptions {
    /// Read this file of NAME=value lines instead of the environment of the process
    #[arg(long, value_name = "FILE")]
    pub env_file: Option<PathBuf>,
}

/// Writes the report to `out`. Exit code 0 when Gantry could start with it, else 1.
///
/// # Errors
/// `out` cannot be written to.
pub fn run(options: &CheckOptions, out: &mut dyn Write) -> io::Result<ExitCode> {
    let variables: Box<dyn Variables> = match &options.env_file {
        None => Box::new(ProcessEnvironment::snapshot()),
        Some(path) => match read(path) {
            Ok(text) => match env_file::parse(&text) {
                Ok(variables) => Box::new(variables),
                Err(errors) => {
                    for error in errors {
                        writeln!(out, "error: {} {error}", path.display())?;
                    }
                    return Ok(ExitCode::FAILURE);
                }
            },
            Err(error) => {
                writeln!(out, "error: {} cannot be read: {error}", path.display())?;
                return Ok(ExitCode::FAILURE);
            }
        },
    };
    match Config::read(variables.as_ref()) {
        Ok((config, report)) => {
            write!(out, "{report}")?;
            summary(&config, out)?;
            Ok(ExitCode::SUCCESS)
        }
        Err(report) => {
            write!(out, "{report}")?;
            Ok(ExitCode::FAILURE)
        }
    }
}

/// A file's text; one that is too large is cut where [`env_file::parse`] refuses it.
fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?
        .take(env_file::FILE_MAX as u64 + 1)
        .read_to_string(&mut text)?;
    Ok(text)
}

fn summary(config: &Config, out: &mut dyn Write) -> io::Result<()> {
    let framework = &config.framework;
    writeln!(
        out,
        "framework {} on {}",
        framework.task_name, config.http.listen
    )?;
    for service in &config.services {
        let demand = &service.template.demand;
        writeln!(
            out,
            "  {} x {}: {} cpus, {} MB, {} ports",
            service.name,
            service.instances,
            demand.cpus,
            demand.mem,
            demand.port_count()
        )?;
    }
    Ok(())
}
