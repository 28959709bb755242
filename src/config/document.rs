//! The reference of all variables, written from the table.

use std::fmt::Write;

use serde_json::json;

use super::table::{self, Kind, Required, Scope, Section, Variable};

/// How the reference is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For a terminal.
    Text,
    /// For a web page.
    Markdown,
    /// For programs: an array of objects.
    Json,
}

const INTRODUCTION: &str = "\
Everything about Gantry is set in environment variables. `TASK#_…` stands for `TASK0_…`, `TASK1_…`
and so on up to `TASK_DEF_NUM`. A variable that is empty or blank counts as not set.

`gantry check` reads the environment, or a file with `--env-file`, and lists every problem at once
without starting anything.

- A **boolean** is true for `true`, `1` and every other number but 0; every other text is false.
- A **duration** is whole numbers with `ms`, `s`, `m`, `h`, `d` or `w`: `30s`, `1h30m`.
- A **size** is a number with `KiB`, `MiB`, `GiB` or `TiB`. A kilobyte is 1024 bytes, however it is
  spelt, because Mesos counts so.
- *Compatibility* compares with mesos-framework-boilerplate, here called the original.
- The value of a **secret** is never shown. It can also be put in a file that `<NAME>_FILE` names.
";

/// The whole reference.
pub fn reference(format: Format) -> String {
    match format {
        Format::Text => text(),
        Format::Markdown => markdown(),
        Format::Json => json(),
    }
}

/// The variables by chapters.
fn chapters() -> Vec<(Section, Vec<&'static Variable>)> {
    let mut chapters: Vec<(Section, Vec<&'static Variable>)> = Vec::new();
    for variable in table::all() {
        // GLOBAL_ENV is set once but belongs to the chapter on the tasks' environment.
        match chapters
            .iter_mut()
            .find(|(section, _)| *section == variable.section)
        {
            Some((_, variables)) => variables.push(variable),
            None => chapters.push((variable.section, vec![variable])),
        }
    }
    chapters.sort_by_key(|(section, _)| *section);
    chapters
}

fn required(variable: &Variable) -> Option<String> {
    match (variable.required, variable.scope) {
        (Required::No, _) => None,
        (Required::Yes, _) => Some("required".to_owned()),
        (Required::Unless(other), Scope::Framework) => Some(format!("required without `{other}`")),
        (Required::Unless(other), Scope::TaskType) => {
            Some(format!("required without `TASK#_{other}`"))
        }
    }
}

fn default(variable: &Variable) -> Option<String> {
    match (variable.default_words, variable.default) {
        (Some(words), _) => Some(words.to_owned()),
        (None, Some(text)) => Some(format!("`{text}`")),
        (None, None) => None,
    }
}

/// Kind, whether required, default, and so on, in one line.
fn facts(variable: &Variable) -> String {
    let mut facts = vec![match variable.kind {
        Kind::Choice(words) => words
            .iter()
            .map(|word| format!("`{word}`"))
            .collect::<Vec<_>>()
            .join(" or "),
        kind => kind.words(),
    }];
    facts.extend(required(variable));
    if let Some(default) = default(variable) {
        facts.push(format!("default {default}"));
    }
    if variable.secret {
        facts.push("secret".to_owned());
    }
    if variable.since != Variable::ORIGINAL {
        facts.push(format!("new in {}", variable.since));
    }
    facts.join("; ")
}

fn also(variable: &Variable) -> Option<String> {
    let names: Vec<_> = variable
        .aliases
        .iter()
        .map(|alias| match variable.scope {
            Scope::Framework => format!("`{alias}`"),
            Scope::TaskType => format!("`TASK#_{alias}`"),
        })
        .collect();
    (!names.is_empty()).then(|| format!("Also accepted, with a warning: {}.", names.join(", ")))
}

fn paragraph(variable: &Variable) -> String {
    let mut paragraph = variable.help.to_owned();
    if !variable.note.is_empty() {
        let _ = write!(paragraph, " *Compatibility:* {}", variable.note);
    }
    if let Some(also) = also(variable) {
        let _ = write!(paragraph, " {also}");
    }
    paragraph
}

fn markdown() -> String {
    let mut page = format!(
        "# Environment variables\n\n\
         <!-- Written by `gantry env --format markdown`; a test keeps it current. -->\n\n\
         {INTRODUCTION}"
    );
    for (section, variables) in chapters() {
        let _ = write!(page, "\n## {}\n", section.title());
        for variable in variables {
            let _ = write!(
                page,
                "\n### `{}`\n\n{}\n\n{}\n",
                variable.shown_name(),
                facts(variable),
                paragraph(variable)
            );
        }
    }
    page
}

fn text() -> String {
    let mut page = INTRODUCTION.replace(['`', '*'], "");
    for (section, variables) in chapters() {
        let _ = write!(page, "\n{}\n", section.title().to_uppercase());
        for variable in variables {
            let _ = writeln!(page, "\n  {}", variable.shown_name());
            for line in [facts(variable), paragraph(variable)] {
                for row in wrapped(&line.replace(['`', '*'], ""), 90) {
                    let _ = writeln!(page, "      {row}");
                }
            }
        }
    }
    page
}

/// Breaks a text at blanks into rows of at most `width` characters where it can.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut rows: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match rows.last_mut() {
            Some(row) if row.chars().count() + 1 + word.chars().count() <= width => {
                row.push(' ');
                row.push_str(word);
            }
            _ => rows.push(word.to_owned()),
        }
    }
    rows
}

fn json() -> String {
    let variables: Vec<_> = chapters()
        .into_iter()
        .flat_map(|(_, variables)| variables)
        .map(|variable| {
            json!({
                "name": variable.shown_name(),
                "perTaskType": variable.scope == Scope::TaskType,
                "section": variable.section.title(),
                "kind": variable.kind.words(),
                "required": required(variable).map(|words| words.replace('`', "")),
                "default": variable.default,
                "defaultWords": variable.default_words.map(|words| words.replace('`', "")),
                "secret": variable.secret,
                "help": variable.help,
                "compatibility": variable.note,
                "aliases": variable.aliases,
                "since": variable.since,
            })
        })
        .collect();
    let mut text = serde_json::to_string_pretty(&variables).unwrap_or_default();
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    /// `UPDATE_DOCS=1 cargo test` writes the page anew.
    #[test]
    fn the_page_is_current() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/environment.md");
        let page = reference(Format::Markdown);
        if std::env::var_os("UPDATE_DOCS").is_some() {
            fs::write(&path, &page).unwrap();
        }
        let stored = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            stored == page,
            "docs/environment.md is not what the table says; run the test with UPDATE_DOCS=1"
        );
    }

    #[test]
    fn every_form_names_every_variable() {
        let json = reference(Format::Json);
        let listed: Vec<serde_json::Value> = serde_json::from_str(&json).unwrap();
        assert_eq!(listed.len(), table::all().count());
        let text = reference(Format::Text);
        for variable in table::all() {
            assert!(text.contains(&format!("\n  {}\n", variable.shown_name())));
        }
        assert!(text.lines().all(|line| line.chars().count() <= 110));
    }
}
