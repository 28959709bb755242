//! What a change would do, for `--dry-run`.

use std::io::{self, Write};

use anyhow::Context as _;
use serde::Deserialize;
use serde_json::Value;

use super::output::clean;

#[derive(Deserialize)]
struct Preview {
    creates: Vec<String>,
    stops: Vec<String>,
    replaces: Vec<String>,
    at_once: u32,
    notes: Vec<String>,
}

/// Most names in a line.
const NAMED_MAX: usize = 20;

/// Writes it as lines: `creates 2: web-4, web-5`.
pub(super) fn write(out: &mut dyn Write, answer: &Value) -> anyhow::Result<()> {
    let preview = Preview::deserialize(answer)
        .context("the answer is not understood: is that Gantry of another version?")?;
    let lists = [
        ("creates", &preview.creates),
        ("stops", &preview.stops),
        ("replaces", &preview.replaces),
    ];
    if lists.iter().all(|(_, names)| names.is_empty()) {
        writeln!(out, "nothing would change")?;
    }
    for (what, names) in lists {
        line(out, what, names)?;
    }
    let touched = preview.creates.len() + preview.stops.len() + preview.replaces.len();
    if touched > 1 {
        writeln!(out, "{} at once", preview.at_once)?;
    }
    for note in &preview.notes {
        writeln!(out, "note: {}", clean(note))?;
    }
    Ok(())
}

fn line(out: &mut dyn Write, what: &str, names: &[String]) -> io::Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let shown: Vec<_> = names
        .iter()
        .take(NAMED_MAX)
        .map(|name| clean(name))
        .collect();
    let more = names.len().saturating_sub(NAMED_MAX);
    let more = if more > 0 {
        format!(" and {more} more")
    } else {
        String::new()
    };
    writeln!(out, "{what} {}: {}{more}", names.len(), shown.join(", "))
}
