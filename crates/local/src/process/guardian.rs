//! Sees to it that no process outlives the cluster.

use std::io::{self, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use std::os::unix::process::CommandExt as _;

/// Keeps a book of process groups and kills what stands in it when its input ends, which
/// the kernel brings about however the cluster dies. It has a group of its own, so that a
/// ^C at the terminal does not end it before its work is done.
///
/// The signal is named with `-s`, as the `kill` of dash knows `--` in no other form.
const SCRIPT: &str = "trap '' INT TERM HUP QUIT
live=' '
while read -r op id; do
  case $op in
    +) live=\"$live$id \";;
    -) case $live in *\" $id \"*) live=\"${live%% $id *} ${live#* $id }\";; esac;;
  esac
done
for id in $live; do kill -s KILL -- \"-$id\" 2>/dev/null; done";

/// The guardian's process.
#[derive(Debug)]
pub(super) struct Guardian {
    inner: Mutex<(Option<ChildStdin>, Child)>,
}

impl Guardian {
    pub(super) fn start() -> io::Result<Self> {
        let mut child = Command::new("/bin/sh")
            .args(["-c", SCRIPT])
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let stdin = child.stdin.take();
        Ok(Self {
            inner: Mutex::new((stdin, child)),
        })
    }

    /// Enters a group. The error says that it would be unguarded.
    pub(super) fn enter(&self, group: u32) -> io::Result<()> {
        self.write(&format!("+ {group}\n"))
    }

    /// Strikes a group out that has ended.
    pub(super) fn strike(&self, group: u32) {
        if let Err(error) = self.write(&format!("- {group}\n")) {
            tracing::warn!(%error, "the guardian of the processes is gone");
        }
    }

    fn write(&self, line: &str) -> io::Result<()> {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut inner.0 {
            Some(stdin) => stdin.write_all(line.as_bytes()),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        inner.0 = None;
        let _ = inner.1.wait();
    }
}
