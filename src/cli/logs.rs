//! `gantry logs`: what a task writes, or Gantry's own log.

use std::{io::Write, time::Duration};

use clap::Args;

use super::{
    leader::{Address, Leader},
    task_output,
};

/// Longest answer: as much of its log as Gantry gives.
const LOG_BYTES_MAX: usize = 2 << 20;

/// How often the log is looked at while it is followed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How much of what was shown last is looked for in the next look, in bytes.
const REMEMBERED: usize = 16 << 10;

/// Options of `gantry logs`.
#[derive(Args, Debug)]
pub struct LogsOptions {
    /// A task by its id, or an instance (`web-3`), whose newest task is meant; Gantry itself when
    /// not given
    #[arg(value_name = "TASK")]
    pub task: Option<String>,
    /// Of a task: what it writes to standard error
    #[arg(long, requires = "task")]
    pub stderr: bool,
    /// So many lines from the end
    #[arg(long, short = 'n', visible_alias = "tail", value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..))]
    pub lines: u32,
    /// Go on with what is written from now on
    #[arg(long, short)]
    pub follow: bool,
    /// Who is asked.
    #[command(flatten)]
    pub address: Address,
}

/// Asks and writes, for ever with `--follow`.
///
/// # Errors
/// There is no answer that could be used, or `out` cannot be written to.
pub async fn run(options: &LogsOptions, out: &mut dyn Write) -> anyhow::Result<()> {
    let leader = options.address.leader()?;
    if let Some(task) = &options.task {
        let stream = if options.stderr { "stderr" } else { "stdout" };
        let lines = usize::try_from(options.lines)?;
        return task_output::run(&leader, task, stream, lines, options.follow, out).await;
    }
    let text = tail(&leader, &format!("lines={}", options.lines)).await?;
    out.write_all(shown(&text).as_bytes())?;
    out.flush()?;
    if !options.follow {
        return Ok(());
    }
    let mut last = end(&text).to_owned();
    let mut away = false;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let text = match since(&leader, &last).await {
            Ok(text) => text,
            Err(error) => {
                if !away {
                    eprintln!("gantry: {error:#}; trying again");
                }
                away = true;
                continue;
            }
        };
        away = false;
        let new = after(&text, &last);
        if new.is_empty() {
            continue;
        }
        out.write_all(shown(new).as_bytes())?;
        out.flush()?;
        end(&text).clone_into(&mut last);
    }
}

async fn tail(leader: &Leader, query: &str) -> anyhow::Result<String> {
    let bytes = leader
        .get(&format!("/api/v1/logs?{query}"), LOG_BYTES_MAX)
        .await?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Enough of the log's end to have `last` in it, if that is possible.
async fn since(leader: &Leader, last: &str) -> anyhow::Result<String> {
    let text = tail(leader, &format!("bytes={}", 4 * REMEMBERED)).await?;
    if text.contains(last) {
        return Ok(text);
    }
    tail(leader, &format!("bytes={LOG_BYTES_MAX}")).await
}

/// What a text ends with, by whole lines.
fn end(text: &str) -> &str {
    let from = text.len().saturating_sub(REMEMBERED);
    let line = text
        .char_indices()
        .find(|(at, c)| *at >= from && (*at == 0 || *c == '\n'));
    match line {
        Some((0, _)) => text,
        Some((at, _)) if at + 1 < text.len() => &text[at + 1..],
        _ => text,
    }
}

/// What follows `last` in the text; all of it when that is not there, as a day's file begins anew.
fn after<'a>(text: &'a str, last: &str) -> &'a str {
    match text.rfind(last) {
        Some(at) if !last.is_empty() => &text[at + last.len()..],
        _ => text,
    }
}

/// Without what a terminal would obey.
pub(super) fn shown(text: &str) -> String {
    let shown = text.chars().map(|c| match c {
        '\n' | '\t' => c,
        c if c.is_control() => '\u{fffd}',
        c => c,
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_shown_is_not_shown_again() {
        let first = "one\ntwo\n";
        assert_eq!(after("one\ntwo\nthree\n", end(first)), "three\n");
        assert_eq!(after("two\nthree\n", "two\n"), "three\n");
        assert_eq!(after(first, end(first)), "");
        assert_eq!(after("a new day\n", end(first)), "a new day\n");
        assert_eq!(after("begun\n", end("")), "begun\n");
        let long = "é23456789\n".repeat(10_000);
        let remembered = end(&long);
        assert!(remembered.len() <= REMEMBERED && remembered.starts_with('é'));
        assert_eq!(end(&"x".repeat(50_000)).len(), 50_000, "one long line");
        assert_eq!(shown("a\x1b[2J\tb\n"), "a\u{fffd}[2J\tb\n");
    }
}
