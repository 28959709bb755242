//! What a task writes, for `gantry logs TASK`.

use std::{
    io::{self, IsTerminal as _, Write},
    time::Duration,
};

use anyhow::{Context as _, bail};
use serde_json::Value;

use super::{
    leader::{AskError, Leader, Part, segment},
    logs::shown,
};

/// How often it is looked at while it is followed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Most that Gantry gives at once, in bytes.
const PART_BYTES_MAX: usize = 256 << 10;

/// Writes the last lines of a task's output, and with `follow` what comes, until the task has ended.
pub(super) async fn run(
    leader: &Leader,
    task: &str,
    stream: &str,
    lines: usize,
    follow: bool,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let id = task_id(leader, task).await?;
    let output = format!("/api/v2/tasks/{}/output/{stream}", segment(&id));
    let last = leader
        .part(&format!("{output}?tail={PART_BYTES_MAX}"))
        .await?;
    let mut screen = Screen::new(out);
    screen.write(last_lines(&last.bytes, lines))?;
    if follow {
        let at = last.offset + last.bytes.len() as u64;
        follow_from(leader, &id, &output, at, &mut screen).await?;
    }
    screen.end()?;
    Ok(())
}

/// Writes what comes after `at`, until the task has ended.
async fn follow_from(
    leader: &Leader,
    id: &str,
    output: &str,
    mut at: u64,
    screen: &mut Screen<'_>,
) -> anyhow::Result<()> {
    let mut away = false;
    loop {
        // Asked before the output, so that what was written at the end is not missed.
        let ended = standing(leader, id).await;
        let part = read_on(leader, output, at, screen).await;
        match (ended, part) {
            (Ok(ended), Ok(next)) => {
                away = false;
                if ended && next == at {
                    return Ok(());
                }
                at = next;
            }
            (Err(error), _) | (_, Err(error)) => {
                if !is_passing(&error) {
                    return Err(error);
                }
                if !away {
                    eprintln!("gantry: {error:#}; trying again");
                }
                away = true;
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// Writes all that there is from `at` on, and says where it ends.
async fn read_on(
    leader: &Leader,
    output: &str,
    mut at: u64,
    screen: &mut Screen<'_>,
) -> anyhow::Result<u64> {
    loop {
        let path = format!("{output}?offset={at}&limit={PART_BYTES_MAX}");
        let Part { bytes, size, .. } = leader.part(&path).await?;
        if size < at {
            eprintln!("gantry: the file was begun anew");
            at = 0;
            continue;
        }
        screen.write(&bytes)?;
        at += bytes.len() as u64;
        if bytes.is_empty() || at >= size {
            return Ok(at);
        }
    }
}

/// Whether to ask again may help.
fn is_passing(error: &anyhow::Error) -> bool {
    let asked = error.downcast_ref::<AskError>();
    asked.is_some_and(
        |error| !matches!(error, AskError::Refused { status, .. } if status.is_client_error()),
    )
}

/// Whether the task has ended.
async fn standing(leader: &Leader, id: &str) -> anyhow::Result<bool> {
    let task = leader
        .json(&format!("/api/v2/tasks/{}", segment(id)))
        .await?;
    Ok(task["standing"] == "ended")
}

/// The id of a task, or of the newest task of an instance.
async fn task_id(leader: &Leader, name: &str) -> anyhow::Result<String> {
    let Some((workload, number)) = instance(name) else {
        return Ok(name.to_owned());
    };
    let path = format!("/api/v2/workloads/{}/instances/{number}", segment(workload));
    let instance: Value = leader.json(&path).await?;
    let newest = |list: &str| instance[list].as_array().cloned().unwrap_or_default();
    let live = newest("tasks").into_iter().next_back();
    let task = live.or_else(|| newest("history").into_iter().next());
    let Some(task) = task else {
        bail!("no task of {name} has been launched yet: `gantry explain {workload}` says why");
    };
    let id = task["id"].as_str().context("the answer names no task")?;
    Ok(id.to_owned())
}

/// Workload and number of `web-3`. Ids of tasks end in the id of a run, which has more dashes and
/// is no number.
pub(super) fn instance(name: &str) -> Option<(&str, u32)> {
    let (workload, number) = name.rsplit_once('-')?;
    let plain = number.bytes().all(|byte| byte.is_ascii_digit());
    let number = number
        .parse()
        .ok()
        .filter(|_| plain && number.len() <= 10)?;
    (!workload.contains('.')).then_some((workload, number))
}

/// The end of a text, by lines.
fn last_lines(text: &[u8], lines: usize) -> &[u8] {
    let whole = text.strip_suffix(b"\n").unwrap_or(text);
    let mut breaks = whole
        .iter()
        .enumerate()
        .rev()
        .filter(|(_, byte)| **byte == b'\n');
    match breaks.nth(lines.saturating_sub(1)) {
        Some((at, _)) => &text[at + 1..],
        None => text,
    }
}

/// Where it is written: as it is, but to a terminal without what it would obey.
struct Screen<'a> {
    out: &'a mut dyn Write,
    terminal: bool,
    /// The beginning of a character whose end has not come yet.
    cut: Vec<u8>,
}

impl<'a> Screen<'a> {
    fn new(out: &'a mut dyn Write) -> Self {
        Self {
            out,
            terminal: io::stdout().is_terminal(),
            cut: Vec::new(),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.terminal {
            self.cut.extend_from_slice(bytes);
            let cut = self.cut.split_off(whole_characters(&self.cut));
            let text = std::mem::replace(&mut self.cut, cut);
            self.out
                .write_all(shown(&String::from_utf8_lossy(&text)).as_bytes())?;
        } else {
            self.out.write_all(bytes)?;
        }
        self.out.flush()
    }

    fn end(self) -> io::Result<()> {
        let rest = String::from_utf8_lossy(&self.cut);
        self.out.write_all(rest.as_bytes())?;
        self.out.flush()
    }
}

/// How many bytes are without a character that is cut at the end.
fn whole_characters(bytes: &[u8]) -> usize {
    match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        // What is no character at all is no beginning of one either.
        Err(error) => {
            let from = error.valid_up_to() + error.error_len().unwrap_or(1);
            from + whole_characters(&bytes[from..])
        }
        Ok(_) => bytes.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_whole() {
        for (text, lines, last) in [
            ("a\nb\nc\n", 2, "b\nc\n"),
            ("a\nb\nc", 2, "b\nc"),
            ("a\nb\n", 5, "a\nb\n"),
            ("", 1, ""),
            ("\n\n\n", 2, "\n\n"),
        ] {
            assert_eq!(
                last_lines(text.as_bytes(), lines),
                last.as_bytes(),
                "{text:?}"
            );
        }
    }

    #[test]
    fn instances_are_told_from_ids() {
        assert_eq!(instance("web-3"), Some(("web", 3)));
        assert_eq!(instance("group/a-b-12"), Some(("group/a-b", 12)));
        for id in [
            "shop.web-3.6c1f0e6a-0000-4000-8000-000000000001",
            "web",
            "web-x",
            "web-",
        ] {
            assert_eq!(instance(id), None, "{id}");
        }
    }

    #[test]
    fn no_character_is_cut() {
        assert_eq!(whole_characters("a\u{fc}".as_bytes()), 3);
        assert_eq!(whole_characters(b"a\xc3"), 1);
        assert_eq!(whole_characters(b"a\xff\xc3"), 2);
        assert_eq!(whole_characters(b"\xf0\x9f\x98"), 0);
    }
}
