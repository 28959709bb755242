//! `gantry backup`: everything that is stored, in one file.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, anyhow, bail};
use clap::Args;

use super::{environment::EnvironmentOptions, home::Home, leader::LeaderOptions};
use crate::backup::{BYTES_MAX, Backup};

/// Options of `gantry backup`.
#[derive(Args, Debug)]
pub struct BackupOptions {
    /// Where it is written, readable by its owner alone; to the output when not given. Where records
    /// have to be left out it goes to FILE.partial, and FILE stays as it is
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Whose store.
    #[command(flatten)]
    pub environment: EnvironmentOptions,
    /// Who is asked for it.
    #[command(flatten)]
    pub leader: LeaderOptions,
}

/// Exit code 0 when everything is in the backup, 3 when the Gantry that was asked is silent, else 1.
pub fn run(options: &BackupOptions) -> ExitCode {
    super::ended(super::block_on(backup(options)))
}

async fn backup(options: &BackupOptions) -> anyhow::Result<ExitCode> {
    let (backup, whole) = match options.leader.leader()? {
        Some(leader) => {
            let answer = leader.get("/api/v2/backup", BYTES_MAX).await?;
            let text = String::from_utf8(answer).context("the answer is not text")?;
            let backup = Backup::parse(&text)?;
            if backup.records.is_empty() {
                bail!("the Gantry that was asked has nothing stored");
            }
            (backup, true)
        }
        None => {
            let config = options.environment.config()?;
            let home = Home::of(&config, "backup");
            let Some(loaded) = home.read().await? else {
                bail!(
                    "there is nothing stored in {home}: FRAMEWORK_NAME, STORE, ZK_URL and ZK_PATH say where it is"
                );
            };
            for rejected in &loaded.rejected {
                eprintln!("error: {}: {}", rejected.key, rejected.reason);
            }
            let whole = loaded.rejected.is_empty();
            (Backup::of(&config.framework.task_name, loaded), whole)
        }
    };
    let text = backup.to_text()?;
    let contents = backup.contents();
    match &options.file {
        None => {
            let mut out = io::stdout().lock();
            let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
            // Half of a backup is none, also for a reader that has seen enough.
            written.map_err(|error| anyhow!("the backup cannot be written: {error}"))?;
        }
        Some(path) => {
            let path = &if whole { path.clone() } else { partial(path) };
            write(path, &text).with_context(|| format!("{} cannot be written", path.display()))?;
            super::tell(format_args!("{}: {contents}", path.display()));
        }
    }
    if whole {
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!("gantry: the records above cannot be understood, and are not in the backup");
    Ok(ExitCode::FAILURE)
}

/// Where a part of what is stored goes, which must not take the place of an older whole.
fn partial(path: &Path) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(".partial");
    PathBuf::from(path)
}

/// Either the whole file is there afterwards, or what was there before.
fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".new");
    let unfinished = PathBuf::from(unfinished);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&unfinished)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&unfinished, path)?;
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => File::open(parent)?.sync_all(),
        _ => Ok(()),
    }
}
