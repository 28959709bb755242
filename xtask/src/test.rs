//! `cargo xtask test`: everything that must hold.

use anyhow::Result;

use crate::{api, browser, commands, system};

pub(crate) fn run() -> Result<()> {
    system::install_packages()?;
    let program = commands::cargo(&["test", "--workspace", "--no-fail-fast"]);
    // A failure there is no reason not to know what the browser says, and the other way round.
    let dashboard = browser::test(&[]);
    let api = api::test();
    let mut failures = [program, dashboard, api]
        .into_iter()
        .filter_map(Result::err);
    let Some(first) = failures.next() else {
        return Ok(());
    };
    Err(failures.fold(first, |error, other| {
        error.context(format!("and {other:#}"))
    }))
}
