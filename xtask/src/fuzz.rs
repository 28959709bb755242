//! `cargo xtask fuzz`: the decoders against arbitrary bytes.

use std::process::Command;

use anyhow::{Result, bail};

use crate::commands;

/// Where the fuzz targets are; each is a package of its own beside what it fuzzes.
const FOLDER: &str = "crates/mesos/fuzz";

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    if Command::new("cargo")
        .args(["fuzz", "--version"])
        .output()
        .is_ok_and(|output| !output.status.success())
    {
        commands::cargo(&["install", "--locked", "cargo-fuzz"])?;
    }
    let folder = commands::project().join(FOLDER);
    let seconds = arguments.get(1).map_or("60", String::as_str);
    let targets = match arguments.first() {
        Some(target) => vec![target.clone()],
        None => targets(&folder)?,
    };
    for target in targets {
        println!("fuzzing {target} for {seconds} s");
        let limit = format!("-max_total_time={seconds}");
        // cargo-fuzz wants the unstable sanitizer flags; the stable compiler takes them so.
        commands::run(
            Command::new("cargo")
                .args(["fuzz", "run", &target, "--", &limit])
                .env("RUSTC_BOOTSTRAP", "1")
                .current_dir(folder.parent().unwrap_or(&folder)),
        )?;
    }
    Ok(())
}

fn targets(folder: &std::path::Path) -> Result<Vec<String>> {
    let mut targets = Vec::new();
    for entry in std::fs::read_dir(folder.join("fuzz_targets"))? {
        let path = entry?.path();
        if let Some(name) = path.file_stem().and_then(|name| name.to_str()) {
            targets.push(name.to_owned());
        }
    }
    targets.sort();
    if targets.is_empty() {
        bail!("no fuzz targets in {}", folder.display());
    }
    Ok(targets)
}
