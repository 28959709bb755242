//! What tests need of the system they run on.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::commands;

const CHROMIUM: &str = "/usr/bin/chromium";

/// Debian packages and the file by which each is recognised.
const PACKAGES: [(&str, &str); 8] = [
    ("zookeeper", "/usr/share/java/zookeeper.jar"),
    ("chromium", CHROMIUM),
    ("nodejs", "/usr/bin/node"),
    ("npm", "/usr/bin/npm"),
    ("curl", "/usr/bin/curl"),
    ("openssl", "/usr/bin/openssl"),
    ("unzip", "/usr/bin/unzip"),
    ("python3-venv", "/usr/share/doc/python3-venv"),
];

/// Installs the Debian packages that are missing.
pub(crate) fn install_packages() -> Result<()> {
    let missing: Vec<&str> = PACKAGES
        .iter()
        .filter(|(_, file)| found(file).is_none())
        .map(|(name, _)| *name)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    println!("installing {}", missing.join(", "));
    let as_root = |arguments: &[&str]| {
        let mut command = match Command::new("id").arg("-u").output() {
            Ok(output) if output.stdout.trim_ascii() == b"0" => Command::new("apt-get"),
            _ => {
                let mut command = Command::new("sudo");
                command.arg("apt-get");
                command
            }
        };
        command
            .args(arguments)
            .env("DEBIAN_FRONTEND", "noninteractive");
        commands::run(&mut command)
    };
    as_root(&["update", "-qq"])?;
    let mut install = vec!["install", "-y", "-qq", "--no-install-recommends"];
    install.extend(&missing);
    as_root(&install)?;
    for (name, file) in PACKAGES {
        if found(file).is_none() {
            bail!("package {name} is installed but {file} is not there");
        }
    }
    Ok(())
}

/// This file, or a program of its name from elsewhere than Debian.
fn found(file: &str) -> Option<PathBuf> {
    let file = Path::new(file);
    if file.exists() {
        return Some(file.to_owned());
    }
    let name = file.strip_prefix("/usr/bin").ok()?;
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|program| program.is_file())
}

/// The browser that the dashboard is tested in.
pub(crate) fn chromium() -> Result<PathBuf> {
    found(CHROMIUM).context("there is no chromium")
}

/// What the packages of the browser tests need; Debian 12 has 18.
const NODE_AT_LEAST: u32 = 20;

/// The version taken from the npm registry where the system's is too old.
const NODE_VERSION: &str = "22.23.3";

/// A Node that is new enough: the system's, or else one installed below `packages`.
pub(crate) fn node(packages: &Path) -> Result<PathBuf> {
    let output = Command::new("node").arg("--version").output()?;
    let version = String::from_utf8_lossy(&output.stdout);
    let major = version.trim_start_matches('v').split('.').next();
    if major.and_then(|major| major.parse().ok()) >= Some(NODE_AT_LEAST) {
        return Ok(PathBuf::from("node"));
    }
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => bail!("install Node {NODE_AT_LEAST} or newer: it is not packaged for {other}"),
    };
    let name = format!("node-linux-{architecture}");
    let own = packages.join("node");
    let program = own.join("node_modules").join(&name).join("bin/node");
    if !program.exists() {
        std::fs::create_dir_all(&own)?;
        commands::run(
            Command::new("npm")
                .args(["install", "--no-save", "--ignore-scripts", "--no-audit"])
                .arg(format!("{name}@{NODE_VERSION}"))
                .args(["--no-fund", "--prefix"])
                .arg(&own),
        )
        .with_context(|| format!("Node {NODE_AT_LEAST} or newer is needed"))?;
    }
    Ok(program)
}
