//! One process in a group of its own.

use std::io;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;

use gantry_mesos::v1::CommandInfo;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};

use super::Shop;
use super::sandbox::Account;

/// Waits for leave before it becomes the command: if the cluster dies between the fork and
/// the guardian's note, the read fails and nothing is run.
const STUB: &str = "read -r _ || exit 125
command -v \"$1\" >/dev/null 2>&1 || exit 1
exec \"$@\" </dev/null";

/// A live process group and its leader.
#[derive(Debug)]
pub(super) struct Group {
    shop: Arc<Shop>,
    child: Child,
    id: u32,
}

/// Program and arguments of a command; `None` without value.
pub(super) fn arguments(command: &CommandInfo) -> Option<Vec<String>> {
    let value = command.value.clone()?;
    Some(if command.shell() {
        vec!["/bin/sh".to_owned(), "-c".to_owned(), value]
    } else {
        // The first argument is the name the program is given for itself, which a shell
        // cannot set.
        std::iter::once(value)
            .chain(command.arguments.iter().skip(1).cloned())
            .collect()
    })
}

impl Group {
    /// Starts a program in a directory. Its output is appended to `stdout` and `stderr` there,
    /// or thrown away.
    pub(super) async fn start(
        shop: &Arc<Shop>,
        arguments: &[String],
        environment: &[(String, String)],
        directory: &Path,
        account: Option<Account>,
        keep_output: bool,
    ) -> io::Result<Self> {
        let output = |name: &str| -> io::Result<Stdio> {
            if !keep_output {
                return Ok(Stdio::null());
            }
            let path = directory.join(name);
            let file = std::fs::OpenOptions::new()
                .create(true)
                .append(true)
                .open(&path)?;
            if let Some(account) = account {
                std::os::unix::fs::chown(&path, Some(account.uid), Some(account.gid))?;
            }
            Ok(file.into())
        };
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", STUB, "sh"])
            .args(arguments)
            .env_clear()
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .current_dir(directory)
            .stdin(Stdio::piped())
            .stdout(output("stdout")?)
            .stderr(output("stderr")?)
            .process_group(0);
        if let Some(account) = account {
            command.uid(account.uid).gid(account.gid);
        }
        let mut child = command.spawn()?;
        let id = child.id().ok_or(io::ErrorKind::NotFound)?;
        let stdin = child.stdin.take();
        let group = Self {
            shop: Arc::clone(shop),
            child,
            id,
        };
        shop.guardian.enter(id)?;
        if let Some(mut stdin) = stdin {
            stdin.write_all(b"\n").await?;
        }
        Ok(group)
    }

    /// Id of the leader and of the group.
    pub(super) fn id(&self) -> u32 {
        self.id
    }

    /// Signals the whole group; one that is gone is no error.
    pub(super) fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.id).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            let _ = kill_process_group(pid, signal);
        }
    }

    /// Waits for the leader, then ends what it left behind. Cancel safe.
    pub(super) async fn wait(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await?;
        self.signal(Signal::KILL);
        Ok(status)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
        self.shop.guardian.strike(self.id);
    }
}
