//! What is wrong with an environment, all of it at once.

use std::fmt;

/// Longest part of a value that is shown.
const SHOWN_MAX: usize = 80;

/// Everything found while reading an environment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// What keeps Gantry from starting.
    pub errors: Vec<Problem>,
    /// What is probably not meant so.
    pub warnings: Vec<Problem>,
    /// What was decided in the operator's place.
    pub notices: Vec<Problem>,
    /// Required variables that are not set; each is also among the errors.
    pub missing: Vec<String>,
}

/// One variable and what is to be said about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Its name.
    pub variable: String,
    /// Its value fit to be shown: cut, without control characters, `****` when secret. `None` when
    /// it is not set or the value does not matter.
    pub value: Option<String>,
    /// What is wrong, as a lowercase clause.
    pub reason: String,
    /// What to do, as a lowercase clause; may be empty for a notice.
    pub remedy: String,
}

impl Report {
    /// Whether Gantry can start.
    pub fn is_ok(&self) -> bool {
        self.errors.is_empty()
    }

    /// The boilerplate's line for missing variables, `Environment variables needed: ["A","B"]`.
    pub fn missing_line(&self) -> Option<String> {
        if self.missing.is_empty() {
            return None;
        }
        let names: Vec<_> = self
            .missing
            .iter()
            .map(|name| format!("\"{name}\""))
            .collect();
        Some(format!(
            "Environment variables needed: [{}]",
            names.join(",")
        ))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (word, problems) in [
            ("error", &self.errors),
            ("warning", &self.warnings),
            ("notice", &self.notices),
        ] {
            for problem in problems {
                writeln!(f, "{word}: {problem}")?;
            }
        }
        let count = |number: usize, word: &str| match number {
            1 => format!("1 {word}"),
            _ => format!("{number} {word}s"),
        };
        writeln!(
            f,
            "{}, {}, {}",
            count(self.errors.len(), "error"),
            count(self.warnings.len(), "warning"),
            count(self.notices.len(), "notice"),
        )
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.variable)?;
        if let Some(value) = &self.value {
            write!(f, "={value}")?;
        }
        write!(f, " {}", self.reason)?;
        if !self.remedy.is_empty() {
            write!(f, "\n       {}", self.remedy)?;
        }
        Ok(())
    }
}

/// A value as it may be shown in a report.
pub(super) fn shown(value: &str, secret: bool) -> String {
    if secret {
        return "****".to_owned();
    }
    let mut clean: String = value
        .chars()
        .take(SHOWN_MAX)
        .flat_map(|c| {
            let escaped = c.is_control().then(|| c.escape_default());
            let plain = escaped.is_none().then_some(c);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect();
    if value.chars().nth(SHOWN_MAX).is_some() {
        clean.push('…');
    }
    format!("'{clean}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_cut_cleaned_and_masked() {
        assert_eq!(shown("a\nb\u{1b}[31m", false), "'a\\nb\\u{1b}[31m'");
        assert_eq!(shown("hush", true), "****");
        let long = shown(&"é".repeat(81), false);
        assert_eq!(long, format!("'{}…'", "é".repeat(80)));
    }

    #[test]
    fn the_line_for_missing_variables_is_the_originals() {
        let mut report = Report::default();
        assert_eq!(report.missing_line(), None);
        report.missing = vec!["A".to_owned(), "B".to_owned()];
        assert_eq!(
            report.missing_line().as_deref(),
            Some(r#"Environment variables needed: ["A","B"]"#)
        );
    }
}
