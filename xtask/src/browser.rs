//! `cargo xtask browser`: the dashboard in a real Chromium, driven from Node.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{commands, system};

/// What the packages are installed from.
const DECLARED: [&str; 2] = ["package.json", "package-lock.json"];

/// Most test files at once: each has a browser and a cluster of its own, and mostly waits.
const AT_ONCE_MAX: usize = 3;

/// Builds the program and runs the tests whose files have one of `only` in their names; all if
/// there is none.
pub(crate) fn run(only: &[String]) -> Result<()> {
    system::install_packages()?;
    commands::cargo(&["build", "--package", "gantry", "--bin", "gantry"])?;
    test(only)
}

/// The same with the program that is there.
pub(crate) fn test(only: &[String]) -> Result<()> {
    let tests = commands::project().join("tests/browser");
    // This program lies beside the one under test, wherever the target directory is.
    let program = std::env::current_exe()?.with_file_name("gantry");
    let target = program.ancestors().nth(2).context("no target directory")?;
    let packages = target.join("browser");
    install(&tests, &packages)?;

    let mut files: Vec<PathBuf> = fs::read_dir(&tests)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()?;
    files.retain(|file| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let asked = only.is_empty() || only.iter().any(|part| name.contains(part));
        name.ends_with(".test.mjs") && asked
    });
    files.sort();
    if files.is_empty() {
        bail!("no file of tests/browser has {only:?} in its name");
    }
    let screenshots = target.join("screenshots");
    if screenshots.exists() {
        fs::remove_dir_all(&screenshots)?;
    }
    commands::run(
        Command::new(system::node(&packages)?)
            .args(["--test", "--test-reporter=spec"])
            .arg(format!("--test-concurrency={}", at_once()))
            .args(files)
            .env("GANTRY_PROGRAM", &program)
            .env("GANTRY_CHROMIUM", system::chromium()?)
            .env("GANTRY_TEST_PACKAGES", &packages)
            .env("GANTRY_SCREENSHOTS", screenshots)
            .current_dir(commands::project()),
    )
}

fn at_once() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, |processors| processors.get());
    (processors + 1).min(AT_ONCE_MAX)
}

/// `npm ci` into a folder below the target directory, unless it has been done for what is declared.
fn install(tests: &Path, packages: &Path) -> Result<()> {
    let modules = packages.join("node_modules");
    let is_current = DECLARED
        .iter()
        .all(|file| same(&tests.join(file), &packages.join(file)));
    // npm writes this file last.
    if is_current && modules.join(".package-lock.json").exists() {
        return Ok(());
    }
    if modules.exists() {
        fs::remove_dir_all(&modules)?;
    }
    fs::create_dir_all(packages)?;
    for file in DECLARED {
        fs::copy(tests.join(file), packages.join(file)).context(file)?;
    }
    commands::run(
        Command::new("npm")
            .args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .current_dir(packages),
    )
}

fn same(one: &Path, other: &Path) -> bool {
    matches!((fs::read(one), fs::read(other)), (Ok(one), Ok(other)) if one == other)
}
