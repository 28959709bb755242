//! Running other programs.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command},
};

use anyhow::{Context, Result, bail};

/// The project's folder.
pub(crate) fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// Runs cargo in the project's folder.
pub(crate) fn cargo<S: AsRef<str>>(arguments: &[S]) -> Result<()> {
    cargo_with(arguments, &[])
}

/// The same with further variables.
pub(crate) fn cargo_with<S: AsRef<str>>(
    arguments: &[S],
    variables: &[(&str, String)],
) -> Result<()> {
    let mut command = Command::new(std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()));
    command
        .args(arguments.iter().map(AsRef::as_ref))
        .envs(variables.iter().map(|(name, value)| (name, value)))
        .current_dir(project());
    run(&mut command)
}

/// Runs a command to its end; anything but success is an error that names it.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = format!("{command:?}");
    let status = command
        .status()
        .with_context(|| format!("cannot start {shown}"))?;
    if !status.success() {
        bail!("{shown} ended with {status}");
    }
    Ok(())
}

/// A process that is ended when this is dropped.
pub(crate) struct Background(pub(crate) Child);

impl Drop for Background {
    fn drop(&mut self) {
        // SIGTERM first, so that it can stop its own children.
        let pid = self.0.id().to_string();
        let asked = Command::new("kill").args(["-TERM", &pid]).status().is_ok();
        for _ in 0..100 {
            if asked && matches!(self.0.try_wait(), Ok(Some(_))) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
