//! The environment that a command looks at: that of the process, or a file.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use clap::Args;

use crate::config::{Config, ProcessEnvironment, Variables, credentials, env_file};

/// Where the declarations are.
#[derive(Args, Clone, Debug, Default)]
pub struct EnvironmentOptions {
    /// Read this file of NAME=value lines instead of the environment of the process
    #[arg(long, value_name = "FILE")]
    pub env_file: Option<PathBuf>,
}

impl EnvironmentOptions {
    /// The variables, with those that `CREDENTIALS_URL` names; or what is wrong, one text each.
    pub(super) fn variables(&self) -> Result<Box<dyn Variables>, Vec<String>> {
        let given: Box<dyn Variables> = match &self.env_file {
            None => Box::new(ProcessEnvironment::snapshot()),
            Some(path) => Box::new(file(path)?),
        };
        credentials::complete(given)
            .map_err(|report| report.errors.iter().map(ToString::to_string).collect())
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

fn file(path: &Path) -> Result<BTreeMap<String, String>, Vec<String>> {
    let text =
        read(path).map_err(|error| vec![format!("{} cannot be read: {error}", path.display())])?;
    env_file::parse(&text).map_err(|errors| {
        let errors = errors.iter();
        errors
            .map(|error| format!("{} {error}", path.display()))
            .collect()
    })
}

/// A file's text; one that is too large is cut where [`env_file::parse`] refuses it.
fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?
        .take(env_file::FILE_MAX as u64 + 1)
        .read_to_string(&mut text)?;
    Ok(text)
}
