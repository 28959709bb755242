//! What tests need of the system they run on.

use std::{path::Path, process::Command};

use anyhow::{Result, bail};

use crate::commands;

/// Debian packages and the file by which each is recognised.
const PACKAGES: [(&str, &str); 5] = [
    ("zookeeper", "/usr/share/java/zookeeper.jar"),
    ("chromium", "/usr/bin/chromium"),
    ("chromium-driver", "/usr/bin/chromedriver"),
    ("openssl", "/usr/bin/openssl"),
    ("unzip", "/usr/bin/unzip"),
];

/// Installs the Debian packages that are missing.
pub(crate) fn install_packages() -> Result<()> {
    let missing: Vec<&str> = PACKAGES
        .iter()
        .filter(|(_, file)| !Path::new(file).exists())
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
        if !Path::new(file).exists() {
            bail!("package {name} is installed but {file} is not there");
        }
    }
    Ok(())
}
