//! How answers are written: data to the output, talk to standard error.

use std::{
    io::{self, IsTerminal as _, Write},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use clap::ValueEnum;
use serde::Serialize;

/// How an answer is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people
    Text,
    /// For programs
    Json,
}

/// Writes a value as JSON.
pub(super) fn json(out: &mut dyn Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, value)?;
    writeln!(out)
}

/// What a text means, shown by its colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Plain,
    Good,
    Doubtful,
    Bad,
}

impl Tone {
    /// That of a workload's condition, a task's state or a deployment's status.
    pub(super) fn of(word: &str) -> Self {
        match word {
            "steady" | "TASK_RUNNING" | "yes" | "done" => Self::Good,
            "backing_off" | "unreachable" | "unhealthy" | "waiting" | "TASK_UNREACHABLE"
            | "TASK_UNKNOWN" | "no" | "failed" | "rolling_back" | "rolled_back" => Self::Bad,
            "unconfirmed" | "changing" | "paused" | "aborted" | "running" => Self::Doubtful,
            _ => Self::Plain,
        }
    }

    const fn colour(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Good => "\x1b[32m",
            Self::Doubtful => "\x1b[33m",
            Self::Bad => "\x1b[1;31m",
        }
    }
}

/// Whether colours are wanted: only by a terminal, and not when NO_COLOR is set.
pub(super) fn colours() -> bool {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    io::stdout().is_terminal()
        && set("NO_COLOR").is_none()
        && set("TERM").is_some_and(|terminal| terminal != "dumb")
}

/// A text without what a terminal would obey.
pub(super) fn clean(text: &str) -> String {
    let cleaned = text.chars().map(|c| match c {
        '\t' | '\n' => ' ',
        c if c.is_control() => '\u{fffd}',
        c => c,
    });
    cleaned.collect()
}

/// A text, or a hyphen for none.
pub(super) fn or_none(text: Option<&str>) -> &str {
    text.filter(|text| !text.is_empty()).unwrap_or("-")
}

/// Rows below the names of their columns, which are never renamed, moved or left out.
pub(super) struct Table<const N: usize> {
    columns: [&'static str; N],
    rows: Vec<[(String, Tone); N]>,
}

impl<const N: usize> Table<N> {
    pub(super) fn new(columns: [&'static str; N]) -> Self {
        let rows = Vec::new();
        Self { columns, rows }
    }

    /// Adds a row; the words that have a tone are coloured.
    pub(super) fn row(&mut self, cells: [String; N]) {
        self.rows.push(cells.map(|cell| {
            let tone = Tone::of(&cell);
            (clean(&cell), tone)
        }));
    }

    pub(super) fn write(&self, out: &mut dyn Write, colours: bool) -> io::Result<()> {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].0.chars().count());
            cells.fold(self.columns[column].len(), usize::max)
        };
        let widths: [usize; N] = std::array::from_fn(width);
        let header = self.columns.map(|name| (name.to_owned(), Tone::Plain));
        for row in std::iter::once(&header).chain(&self.rows) {
            let mut line = String::new();
            let mut blanks = 0;
            for ((text, tone), width) in row.iter().zip(widths) {
                line.extend(std::iter::repeat_n(' ', blanks));
                if colours && *tone != Tone::Plain {
                    line.push_str(&format!("{}{text}\x1b[0m", tone.colour()));
                } else {
                    line.push_str(text);
                }
                blanks = width + 2 - text.chars().count();
            }
            writeln!(out, "{line}")?;
        }
        Ok(())
    }
}

// === Time ===

/// How long ago a moment was, in its largest unit.
pub(super) fn ago(millis: u64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now = now.unwrap_or(Duration::ZERO).as_millis();
    span(
        u64::try_from(now)
            .unwrap_or(u64::MAX)
            .saturating_sub(millis),
    )
}

/// Milliseconds in their largest unit.
pub(super) fn span(millis: u64) -> String {
    let seconds = millis / 1_000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A moment, as `2026-01-31T23:59:59Z`.
pub(super) fn moment(millis: u64) -> String {
    i64::try_from(millis)
        .ok()
        .and_then(|millis| jiff::Timestamp::from_millisecond(millis).ok())
        .map_or_else(
            || "-".to_owned(),
            |at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_wide_enough_and_nothing_reaches_the_terminal() {
        let mut table = Table::new(["NAME", "STATE", "X"]);
        table.row(["wéb".to_owned(), "steady".to_owned(), "\x1b[2J".to_owned()]);
        table.row(["a-longer-one".to_owned(), "-".to_owned(), String::new()]);
        let written = |colours| {
            let mut out = Vec::new();
            table.write(&mut out, colours).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(
            written(false),
            "NAME          STATE   X\n\
             wéb           steady  \u{fffd}[2J\n\
             a-longer-one  -       \n"
        );
        assert!(written(true).contains("  \x1b[32msteady\x1b[0m  \u{fffd}[2J\n"));
    }

    #[test]
    fn times_are_short() {
        for (millis, words) in [
            (999, "0s"),
            (59_999, "59s"),
            (60_000, "1m"),
            (7_200_000, "2h"),
            (90_000_000, "1d"),
        ] {
            assert_eq!(span(millis), words);
        }
        assert_eq!(moment(1_700_000_000_123), "2023-11-14T22:13:20Z");
        assert_eq!(moment(u64::MAX), "-");
    }
}
