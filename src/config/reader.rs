//! Reads variables by the table and gathers what is wrong, without stopping at the first.

use std::{fs::File, io::Read};

use super::{
    Variables,
    parse::Wrong,
    report::{Problem, Report, shown},
    table::{Required, Scope, Typed, Variable},
};

/// Largest file that a `…_FILE` variable may name.
const FILE_MAX: u64 = 1 << 20;

pub(super) struct Reader<'a> {
    pub(super) variables: &'a dyn Variables,
    pub(super) report: Report,
}

/// A text and the variable that it came from.
struct Found {
    source: String,
    text: String,
}

/// The full name of a variable; `index` counts for those of a task type.
pub(super) fn full_name(about: &Variable, index: u32) -> String {
    named(about.scope, about.name, index)
}

fn named(scope: Scope, name: &str, index: u32) -> String {
    match scope {
        Scope::Framework => name.to_owned(),
        Scope::TaskType => format!("TASK{index}_{name}"),
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(variables: &'a dyn Variables) -> Self {
        Self {
            variables,
            report: Report::default(),
        }
    }

    /// The value of a variable that is set once; see [`Reader::task`].
    pub(super) fn framework<T>(&mut self, variable: &Typed<T>) -> Option<T> {
        self.task(0, variable)
    }

    /// The value of a variable of the task type of this index, or its default. `None` when there
    /// is neither, or when an error was reported.
    pub(super) fn task<T>(&mut self, index: u32, variable: &Typed<T>) -> Option<T> {
        let about = &variable.about;
        let errors = self.report.errors.len();
        let Some(found) = self.find(about, index) else {
            if self.report.errors.len() == errors {
                self.demand(about, index);
            }
            return about
                .default
                .and_then(|text| Some((variable.parse)(text).ok()?.value));
        };
        let value = self.shown(&found.source, &found.text, about.secret);
        match (variable.parse)(&found.text) {
            Ok(parsed) => {
                if let Some(doubt) = parsed.warning {
                    let problem = problem(&found.source, Some(value), doubt);
                    self.report.warnings.push(problem);
                }
                Some(parsed.value)
            }
            Err(wrong) => {
                let problem = problem(&found.source, Some(value), wrong);
                self.report.errors.push(problem);
                None
            }
        }
    }

    /// Whether the variable, or another name of it, has a text.
    pub(super) fn is_set(&self, about: &Variable, index: u32) -> bool {
        let file = about.secret.then(|| format!("{}_FILE", about.name));
        about
            .aliases
            .iter()
            .copied()
            .chain([about.name])
            .chain(file.as_deref())
            .any(|name| self.has_text(&named(about.scope, name, index)))
    }

    pub(super) fn has_text(&self, name: &str) -> bool {
        !matches!(self.variables.get(name), Ok(text) if text.is_none_or(|text| text.trim().is_empty()))
    }

    /// Reports an error about a variable whose value, if it is to be shown, is taken from the
    /// environment.
    pub(super) fn error(
        &mut self,
        about: &Variable,
        index: u32,
        reason: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let found = self.about(about, index, Wrong::new(reason, remedy));
        self.report.errors.push(found);
    }

    pub(super) fn warning(
        &mut self,
        about: &Variable,
        index: u32,
        reason: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let found = self.about(about, index, Wrong::new(reason, remedy));
        self.report.warnings.push(found);
    }

    pub(super) fn notice(&mut self, about: &Variable, reason: impl Into<String>, remedy: &str) {
        let found = self.about(about, 0, Wrong::new(reason, remedy));
        self.report.notices.push(found);
    }

    fn about(&self, about: &Variable, index: u32, wrong: Wrong) -> Problem {
        let name = full_name(about, index);
        let value = match self.variables.get(&name) {
            Ok(Some(text)) => Some(self.shown(&name, text, about.secret)),
            _ => None,
        };
        problem(&name, value, wrong)
    }

    /// A value as it may be shown.
    fn shown(&self, name: &str, text: &str, secret: bool) -> String {
        shown(text, secret || self.variables.is_hidden(name))
    }

    fn demand(&mut self, about: &Variable, index: u32) {
        let remedy = match about.required {
            Required::No => return,
            Required::Yes => format!("set it: {}", about.help),
            Required::Unless(other) => {
                let other = named(about.scope, other, index);
                if self.has_text(&other) {
                    return;
                }
                format!("set it, or {other}: {}", about.help)
            }
        };
        let name = full_name(about, index);
        self.report
            .errors
            .push(problem(&name, None, Wrong::new("is not set", remedy)));
        self.report.missing.push(name);
    }

    /// The text of a variable, from itself, from its file or under another name.
    fn find(&mut self, about: &Variable, index: u32) -> Option<Found> {
        let name = full_name(about, index);
        let mut found = self.text(&name).map(|text| Found {
            source: name.clone(),
            text,
        });
        if about.secret {
            let source = format!("{name}_FILE");
            if let Some(path) = self.text(&source) {
                if found.is_some() {
                    let wrong = Wrong::new(
                        format!("is set beside {name}"),
                        "keep one of the two".to_owned(),
                    );
                    let problem = problem(&source, Some(self.shown(&source, &path, false)), wrong);
                    self.report.errors.push(problem);
                    return None;
                }
                found = self.file(source, &path);
            }
        }
        for alias in about.aliases {
            let alias = named(about.scope, alias, index);
            let Some(text) = self.text(&alias) else {
                continue;
            };
            let (reason, remedy) = match found {
                None => ("is an old name".to_owned(), format!("call it {name}")),
                Some(_) => (
                    format!("is ignored, as {name} is set too"),
                    "remove it".to_owned(),
                ),
            };
            let value = Some(self.shown(&alias, &text, about.secret));
            let problem = problem(&alias, value, Wrong::new(reason, remedy));
            self.report.warnings.push(problem);
            found = found.or(Some(Found {
                source: alias,
                text,
            }));
        }
        found
    }

    /// The text of this very variable, `None` when it is blank.
    fn text(&mut self, name: &str) -> Option<String> {
        match self.variables.get(name) {
            Ok(text) => text
                .filter(|text| !text.trim().is_empty())
                .map(str::to_owned),
            Err(error) => {
                let wrong = Wrong::new(error.to_string(), "write it anew");
                self.report.errors.push(problem(name, None, wrong));
                None
            }
        }
    }

    fn file(&mut self, source: String, path: &str) -> Option<Found> {
        match read_file(path) {
            Ok(text) => Some(Found { source, text }),
            Err(reason) => {
                let wrong = Wrong::new(reason, "name a file that holds the value and nothing else");
                let problem = problem(&source, Some(self.shown(&source, path, false)), wrong);
                self.report.errors.push(problem);
                None
            }
        }
    }
}

/// The text of a file named by a variable, without the line end at its end.
///
/// # Errors
/// Why it cannot be had, as a clause.
pub(super) fn read_file(path: &str) -> Result<String, String> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(FILE_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| format!("names a file that cannot be read: {error}"))?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(format!("names a file of more than {FILE_MAX} bytes"));
    }
    let mut text =
        String::from_utf8(bytes).map_err(|_| "names a file that is not UTF-8".to_owned())?;
    text.truncate(text.trim_end_matches(['\r', '\n']).len());
    if text.trim().is_empty() {
        return Err("names an empty file".to_owned());
    }
    Ok(text)
}

fn problem(variable: &str, value: Option<String>, wrong: Wrong) -> Problem {
    Problem {
        variable: variable.to_owned(),
        value,
        reason: wrong.reason,
        remedy: wrong.remedy,
    }
}
