//! Texts that must have a certain form.

use gantry_core::WorkloadName;

use super::{Outcome, plain, wrong};

/// Longest name of a task type, in bytes.
const TYPE_MAX: usize = 128;
/// Longest name of a framework, in bytes.
const FRAMEWORK_MAX: usize = 128;
/// Longest text of one line, in bytes.
const LINE_MAX: usize = 64 << 10;

/// A text without control characters at its ends cut of blanks.
pub(in crate::config) fn line(text: &str) -> Outcome<String> {
    let text = text.trim();
    if text.len() > LINE_MAX {
        return wrong(
            format!("is longer than {LINE_MAX} bytes"),
            "write a shorter one",
        );
    }
    if text.contains('\0') {
        return wrong("has a NUL character", "remove it");
    }
    plain(text.to_owned())
}

/// What Mesos refuses in ids of tasks, whether it is written by hand or by accident.
fn bad_in_ids(c: char) -> bool {
    c.is_control() || c == '\\'
}

/// `FRAMEWORK_NAME`, as written.
pub(in crate::config) fn framework_name(text: &str) -> Outcome<String> {
    let remedy = "write a name such as my-framework";
    if text.len() > FRAMEWORK_MAX {
        return wrong(format!("is longer than {FRAMEWORK_MAX} bytes"), remedy);
    }
    if text.contains('/') || text.chars().any(bad_in_ids) {
        return wrong(
            "has '/', '\\' or a control character, which Mesos refuses in task ids",
            remedy,
        );
    }
    plain(text.to_owned())
}

/// `TASK#_NAME`.
pub(in crate::config) fn task_type(text: &str) -> Outcome<WorkloadName> {
    let remedy = "write a name such as web";
    if text.len() > TYPE_MAX {
        return wrong(format!("is longer than {TYPE_MAX} bytes"), remedy);
    }
    if text.chars().any(char::is_whitespace) {
        return wrong("has a blank", remedy);
    }
    if text.chars().any(bad_in_ids) {
        return wrong(
            "has '\\' or a control character, which Mesos refuses in task ids",
            remedy,
        );
    }
    plain(WorkloadName::new(text))
}

/// A Unix user.
pub(in crate::config) fn user(text: &str) -> Outcome<String> {
    let text = text.trim();
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '$');
    if text.len() > 256 || text.starts_with('-') || !text.chars().all(allowed) {
        return wrong("is not the name of a Unix user", "write one such as nobody");
    }
    plain(text.to_owned())
}

/// An address beginning with `http://` or `https://`.
pub(in crate::config) fn url(text: &str) -> Outcome<String> {
    let text = text.trim();
    let rest = text
        .strip_prefix("http://")
        .or_else(|| text.strip_prefix("https://"));
    match rest {
        Some(rest)
            if !rest.is_empty()
                && !rest.starts_with('/')
                && !text.chars().any(|c| c.is_whitespace() || c.is_control()) =>
        {
            plain(text.to_owned())
        }
        _ => wrong(
            "is not an http:// or https:// address",
            "write one such as http://gantry.example:3000",
        ),
    }
}

/// An address to which paths are added: as [`url`], without a slash at the end, query or fragment.
pub(in crate::config) fn base_url(text: &str) -> Outcome<String> {
    let mut parsed = url(text)?;
    if parsed.value.contains(['?', '#', '@']) {
        return wrong(
            "has '?', '#' or '@', and paths are to follow it",
            "write one such as http://10.0.0.1:3000",
        );
    }
    parsed
        .value
        .truncate(parsed.value.trim_end_matches('/').len());
    Ok(parsed)
}

/// A CSS colour; it goes into a style sheet, so nothing may end the rule.
pub(in crate::config) fn colour(text: &str) -> Outcome<String> {
    let text = text.trim();
    let allowed = |c: char| c.is_ascii_alphanumeric() || "#(),.%-/ +".contains(c);
    if text.len() > 100 || !text.chars().all(allowed) {
        return wrong("is not a CSS colour", "write one such as green or #003459");
    }
    plain(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_mesos_would_refuse_are_refused_here() {
        assert_eq!(framework_name("my fw").unwrap().value, "my fw");
        assert_eq!(task_type("a/b-2").unwrap().value.as_str(), "a/b-2");
        for bad in ["a\\b", "a\nb", "a\u{7f}", &"x".repeat(129)] {
            assert!(
                framework_name(bad).is_err() && task_type(bad).is_err(),
                "{bad}"
            );
        }
        assert!(framework_name("a/b").is_err());
        assert!(task_type("a b").is_err());
    }

    #[test]
    fn colours_cannot_break_out_of_their_rule() {
        for good in ["green", "#003459", "rgb(0 52 89 / 50%)", "hsl(1,2%,3%)"] {
            assert_eq!(colour(good).unwrap().value, good);
        }
        assert!(colour("red;} body{display:none").is_err());
    }

    #[test]
    fn addresses_and_users() {
        assert!(url("https://a.example/x").is_ok() && user("www-data").is_ok());
        for bad in ["a.example", "http://", "http:///x", "ftp://a", "http://a b"] {
            assert!(url(bad).is_err(), "{bad}");
        }
        assert_eq!(base_url("http://a:1/x/").unwrap().value, "http://a:1/x");
        assert!(base_url("http://a/?x").is_err() && base_url("http://u:p@a").is_err());
        assert!(user("root; rm").is_err() && user("-x").is_err());
    }
}
