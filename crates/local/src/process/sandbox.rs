//! Sandboxes: directories laid out as an agent does it.

use std::fs;
use std::io;
use std::os::unix::fs::{chown, symlink};
use std::path::{Path, PathBuf};

use crate::state::Site;

/// Whom a process runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// Where a task or an executor runs.
#[derive(Debug)]
pub(super) struct Sandbox {
    pub(super) directory: PathBuf,
    /// `None`: as the cluster itself.
    pub(super) account: Option<Account>,
}

/// Creates the sandbox of a site. The error is the text of a TASK_DROPPED.
pub(super) fn create(work_dir: &Path, site: &Site) -> Result<Sandbox, String> {
    let executor = work_dir
        .join("slaves")
        .join(&site.agent_id)
        .join("frameworks")
        .join(&site.framework_id)
        .join("executors")
        .join(&site.executor_id);
    let run = executor.join("runs").join(&site.container);
    let directory = match &site.nested {
        Some(nested) => run.join("containers").join(nested),
        None => run.clone(),
    };
    let failed = |reason: String| {
        format!(
            "Failed to create executor directory '{}': {reason}",
            run.display()
        )
    };
    let account = account(&site.user).map_err(failed)?;
    fs::create_dir_all(&directory).map_err(|e| failed(e.to_string()))?;
    let latest = executor.join("runs").join("latest");
    let _ = fs::remove_file(&latest);
    symlink(&run, &latest).map_err(|e| failed(e.to_string()))?;
    if let Some(account) = account {
        chown(&directory, Some(account.uid), Some(account.gid))
            .map_err(|e| failed(format!("Failed to chown directory to '{}': {e}", site.user)))?;
    }
    volumes(work_dir, site, &directory, account).map_err(|e| failed(e.to_string()))?;
    Ok(Sandbox { directory, account })
}

/// Persistent volumes are directories of the agent, linked into the sandbox.
fn volumes(
    work_dir: &Path,
    site: &Site,
    directory: &Path,
    account: Option<Account>,
) -> io::Result<()> {
    for (id, path) in &site.volumes {
        let volume = work_dir
            .join("slaves")
            .join(&site.agent_id)
            .join("volumes")
            .join("roles")
            .join(site.role.replace('/', " "))
            .join(id);
        fs::create_dir_all(&volume)?;
        if let Some(account) = account {
            chown(&volume, Some(account.uid), Some(account.gid))?;
        }
        let inside = Path::new(path)
            .components()
            .all(|c| matches!(c, std::path::Component::Normal(_)));
        if !inside {
            return Err(io::Error::other(format!(
                "volume path '{path}' is not inside the sandbox"
            )));
        }
        let link = directory.join(path);
        if let Some(parent) = link.parent() {
            fs::create_dir_all(parent)?;
        }
        symlink(&volume, &link)?;
    }
    Ok(())
}

/// Links `tasks/<task id>` of a pod's sandbox to the nested container.
pub(super) fn link_task(work_dir: &Path, site: &Site, task_id: &str) -> io::Result<()> {
    let Some(nested) = &site.nested else {
        return Ok(());
    };
    let run = work_dir
        .join("slaves")
        .join(&site.agent_id)
        .join("frameworks")
        .join(&site.framework_id)
        .join("executors")
        .join(&site.executor_id)
        .join("runs")
        .join(&site.container);
    fs::create_dir_all(run.join("tasks"))?;
    symlink(
        run.join("containers").join(nested),
        run.join("tasks").join(task_id),
    )
}

/// The account of a user, if it is another one than ours and we may become it. Only root may;
/// everyone else runs tasks as themselves.
fn account(user: &str) -> Result<Option<Account>, String> {
    let own = rustix::process::geteuid();
    if !own.is_root() || user.is_empty() {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd").map_err(|e| e.to_string())?;
    let found = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        (name == user).then_some(Account { uid, gid })
    });
    match found {
        Some(account) if account.uid == own.as_raw() => Ok(None),
        Some(account) => Ok(Some(account)),
        None => Err(format!(
            "Failed to chown directory to '{user}': No such user '{user}'"
        )),
    }
}
