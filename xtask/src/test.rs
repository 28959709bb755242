//! `cargo xtask test`: everything that must hold.

use anyhow::Result;

use crate::{commands, system};

pub(crate) fn run() -> Result<()> {
    system::install_packages()?;
    commands::cargo(&["test", "--workspace", "--no-fail-fast"])
}
