//! URIs into the sandbox, as the Mesos fetcher does it.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;

use futures_util::StreamExt as _;
use gantry_mesos::v1::command_info::Uri;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

use super::Shop;
use super::sandbox::{Account, Sandbox};

/// Fetches all URIs. The error names the one that failed; it belongs into `stderr`.
pub(super) async fn all(shop: &Shop, uris: &[Uri], sandbox: &Sandbox) -> Result<(), String> {
    for uri in uris {
        one(shop, uri, sandbox)
            .await
            .map_err(|e| format!("Failed to fetch '{}': {e}", uri.value))?;
    }
    Ok(())
}

async fn one(shop: &Shop, uri: &Uri, sandbox: &Sandbox) -> io::Result<()> {
    let value = uri.value.trim();
    let name = value.split(['?', '#']).next().unwrap_or_default();
    let name = name.rsplit('/').next().filter(|n| !n.is_empty());
    let name = uri
        .output_file
        .as_deref()
        .or(name)
        .ok_or_else(|| io::Error::other("no file name in the URI"))?;
    let target = sandbox.directory.join(name);
    if let Some(parent) = target.parent() {
        fs::create_dir_all(parent)?;
    }
    if value.starts_with("http://") || value.starts_with("https://") {
        download(shop, value, &target).await?;
    } else {
        let path = value.strip_prefix("file://").unwrap_or(value);
        if !path.starts_with('/') {
            return Err(io::Error::other(
                "a relative path needs a frameworks home, which is not set",
            ));
        }
        tokio::fs::copy(path, &target).await?;
    }
    own(&target, sandbox.account)?;
    if uri.executable() {
        return fs::set_permissions(&target, fs::Permissions::from_mode(0o755));
    }
    if uri.extract() {
        extract(name, &target, sandbox).await?;
    }
    Ok(())
}

fn own(path: &Path, account: Option<Account>) -> io::Result<()> {
    match account {
        Some(account) => std::os::unix::fs::chown(path, Some(account.uid), Some(account.gid)),
        None => Ok(()),
    }
}

async fn download(shop: &Shop, url: &str, target: &Path) -> io::Result<()> {
    let response = shop.http.get(url).send().await.map_err(io::Error::other)?;
    let response = response.error_for_status().map_err(io::Error::other)?;
    let mut file = tokio::fs::File::create(target).await?;
    let mut body = response.bytes_stream();
    while let Some(chunk) = body.next().await {
        file.write_all(&chunk.map_err(io::Error::other)?).await?;
    }
    file.flush().await
}

/// Unpacks the kinds of archive the Mesos fetcher knows; others stay as they are.
async fn extract(name: &str, archive: &Path, sandbox: &Sandbox) -> io::Result<()> {
    const TAR: [&str; 8] = [
        ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tz2",
    ];
    let mut command = if TAR.iter().any(|end| name.ends_with(end)) {
        let mut tar = Command::new("tar");
        tar.arg("-C")
            .arg(&sandbox.directory)
            .arg("-xf")
            .arg(archive);
        tar
    } else if name.ends_with(".zip") {
        let mut unzip = Command::new("unzip");
        unzip
            .arg("-o")
            .arg("-d")
            .arg(&sandbox.directory)
            .arg(archive);
        unzip
    } else if let Some(plain) = name.strip_suffix(".gz") {
        let mut gzip = Command::new("gzip");
        gzip.arg("-dc").arg(archive);
        gzip.stdout(fs::File::create(sandbox.directory.join(plain))?);
        gzip
    } else {
        return Ok(());
    };
    if let Some(account) = sandbox.account {
        command.uid(account.uid).gid(account.gid);
    }
    let status = command
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .status()
        .await?;
    if status.success() {
        Ok(())
    } else {
        Err(io::Error::other(format!("unpacking ended with {status}")))
    }
}
