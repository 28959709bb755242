//! The environment that a command looks at: that of the process, or a file.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use clap::Args;

use crate::config::{Config, ProcessEnvironment, Variables, env_file};

/// Where the declarations are.
#[derive(Args, Clone, Debug, Default)]
pub struct EnvironmentOptions {
    /// Read this file of NAME=value lines instead of the environment of the process
    #[arg(long, value_name = "FILE")]
    pub env_file: Option<PathBuf>,
}

impl EnvironmentOptions {
    /// The variables; or what is wrong with the file, one line each.
    pub(super) fn variables(&self) -> Result<Box<dyn Variables>, Vec<String>> {
        let Some(path) = &self.env_file else {
            return Ok(Box::new(ProcessEnvironment::snapshot()));
        };
        let text = read(path)
            .map_err(|error| vec![format!("{} cannot be read: {error}", path.display())])?;
        match env_file::parse(&text) {
            Ok(variables) => Ok(Box::new(variables)),
            Err(errors) => Err(errors
                .iter()
                .map(|error| format!("{} {error}", path.display()))
                .collect()),
        }
    }

    /// The configuration; everything that is wrong or doubtful about it is told on stderr.
    pub(super) fn config(&self) -> anyhow::Result<Config> {
        let variables = self
            .variables()
            .map_err(|errors| anyhow::anyhow!(errors.join("\n")))?;
        match Config::read(variables.as_ref()) {
            Ok((config, report)) => {
                for warning in &report.warnings {
                    eprintln!("warning: {warning}");
                }
                Ok(config)
            }
            Err(report) => {
                eprint!("{report}");
                anyhow::bail!("the environment has to be mended first");
            }
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
