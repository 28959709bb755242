//! `cargo xtask test`: everything that must hold.

use anyhow::{Context, Result};

use crate::{browser, commands, system};

pub(crate) fn run() -> Result<()> {
    system::install_packages()?;
    let program = commands::cargo(&["test", "--workspace", "--no-fail-fast"]);
    // A failure there is no reason not to know what the browser says, and the other way round.
    let dashboard = browser::test(&[]);
    match (program, dashboard) {
        (Err(error), Err(other)) => Err(error).context(format!("and {other:#}")),
        (program, dashboard) => program.and(dashboard),
    }
}
