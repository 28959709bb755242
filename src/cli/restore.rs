//! `gantry restore`: a backup back into the store, while no Gantry runs.

use std::{
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, bail};
use clap::Args;
use gantry_core::Record;
use gantry_store::{Loaded, Store};

use super::{environment::EnvironmentOptions, home::Home};
use crate::backup::{BYTES_MAX, Backup, BackupError, contents};

/// Options of `gantry restore`.
#[derive(Args, Debug)]
pub struct RestoreOptions {
    /// What `gantry backup` wrote
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Replace what is stored; without it, only an empty store is filled
    #[arg(long)]
    pub replace: bool,
    /// Whose store.
    #[command(flatten)]
    pub environment: EnvironmentOptions,
}

/// Exit code 0 when the store holds what the backup does, else 1.
pub fn run(options: &RestoreOptions) -> ExitCode {
    match super::block_on(restore(options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => super::fail(format_args!("{error:#}")),
    }
}

async fn restore(options: &RestoreOptions) -> anyhow::Result<()> {
    let config = options.environment.config()?;
    let file = options.file.display();
    let text = read(&options.file).with_context(|| format!("{file} cannot be read"))?;
    let backup = match Backup::parse(&text) {
        Ok(backup) => backup,
        Err(error) => {
            if let BackupError::Rejected(rejected) = &error {
                for rejected in rejected {
                    eprintln!("error: {}: {}", rejected.key, rejected.reason);
                }
            }
            bail!("{file}: {error}");
        }
    };
    let name = &config.framework.task_name;
    if backup.framework != *name {
        bail!(
            "{file} is of the framework '{}', and this is '{name}': its tasks and its framework id are that one's; set FRAMEWORK_NAME",
            backup.framework
        );
    }
    let home = Home::of(&config, "restore");
    let leading = home.lead().await?;
    let outcome = fill(&*leading, &backup, options.replace).await;
    // The next Gantry may begin at once.
    leading.resign().await;
    let replaced = outcome.with_context(|| format!("{home} does not hold the backup"))?;
    super::tell(format_args!(
        "{home} holds the backup of {}: {}",
        backup.taken_at,
        backup.contents()
    ));
    if let Some(replaced) = replaced {
        super::tell(format_args!("it replaces {replaced}"));
    }
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    File::open(path)?
        .take(BYTES_MAX as u64 + 1)
        .read_to_string(&mut text)?;
    if text.len() > BYTES_MAX {
        bail!("it is larger than {BYTES_MAX} bytes");
    }
    Ok(text)
}

/// What was replaced, if anything.
async fn fill(store: &dyn Store, backup: &Backup, replace: bool) -> anyhow::Result<Option<String>> {
    let before = store.salvage().await?;
    let is_empty = before.records.is_empty() && before.rejected.is_empty();
    if !is_empty && !replace {
        bail!(
            "it is not empty, but holds {}: give --replace to lose that",
            told(&before)
        );
    }
    let expected = backup.records_after(&before.records);
    let replaced = store.replace(expected.clone()).await;
    replaced.context("it may hold a part of it; repeat with --replace")?;

    let mut after = store.load().await?.records;
    let mut expected = expected;
    after.sort_by_key(Record::key);
    expected.sort_by_key(Record::key);
    if after != expected {
        bail!(
            "it holds {} instead of {}: did something else write it?",
            contents(&after),
            backup.contents()
        );
    }
    Ok((!is_empty).then(|| told(&before)))
}

fn told(loaded: &Loaded) -> String {
    let mut text = contents(&loaded.records);
    if !loaded.rejected.is_empty() {
        let count = loaded.rejected.len();
        text.push_str(&format!(", {count} that cannot be understood"));
    }
    text
}
