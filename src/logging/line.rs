//! One line of the log.

use std::fmt::{self, Write as _};

use jiff::Timestamp;
use serde_json::{Map, Value};
use tracing::{
    Event, Level,
    field::{Field, Visit},
};

/// Longest value of one field, in bytes; the rest is cut off.
const VALUE_MAX: usize = 8_192;

/// What an event says.
pub(super) struct Line {
    at: Timestamp,
    level: Level,
    target: &'static str,
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Line {
    pub(super) fn of(event: &Event<'_>) -> Self {
        let mut line = Self {
            at: Timestamp::now(),
            level: *event.metadata().level(),
            target: event.metadata().target(),
            message: String::new(),
            fields: Vec::new(),
        };
        event.record(&mut line);
        line
    }

    /// Puts `****` in the place of every secret.
    pub(super) fn redact(&mut self, secrets: &[String]) {
        let texts = self.fields.iter_mut().map(|(_, value)| value);
        for text in texts.chain([&mut self.message]) {
            for secret in secrets {
                if text.contains(secret.as_str()) {
                    *text = text.replace(secret.as_str(), "****");
                }
            }
        }
    }

    /// As on the console of the original: `info: …`
    pub(super) fn console(&self) -> String {
        let mut line = format!("{}: ", self.level_name());
        self.push_text(&mut line);
        line
    }

    /// As in the file of the original: `2026-01-31T12:00:00.000Z - info: …`
    pub(super) fn file(&self) -> String {
        let mut line = format!("{} - {}: ", self.time(), self.level_name());
        self.push_text(&mut line);
        line
    }

    /// One JSON object.
    pub(super) fn json(&self) -> String {
        let mut object = Map::new();
        object.insert("time".to_owned(), Value::String(self.time()));
        object.insert("level".to_owned(), self.level_name().into());
        object.insert("message".to_owned(), self.message.as_str().into());
        object.insert("target".to_owned(), self.target.into());
        for (name, value) in &self.fields {
            object.insert((*name).to_owned(), value.as_str().into());
        }
        format!("{}\n", Value::Object(object))
    }

    fn time(&self) -> String {
        self.at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
    }

    /// With the names of the original.
    fn level_name(&self) -> &'static str {
        match self.level {
            Level::ERROR => "error",
            Level::WARN => "warn",
            Level::INFO => "info",
            Level::DEBUG => "debug",
            Level::TRACE => "silly",
        }
    }

    /// The message, then ` name=value` for each field, in one line whatever they hold.
    fn push_text(&self, line: &mut String) {
        push_escaped(line, &self.message);
        for (name, value) in &self.fields {
            line.push(' ');
            line.push_str(name);
            line.push('=');
            if value.is_empty() || value.contains([' ', '"', '=']) {
                // Debug quotes and escapes.
                let _ = write!(line, "{value:?}");
            } else {
                push_escaped(line, value);
            }
        }
        line.push('\n');
    }
}

/// Control characters are escaped: what others say must not look like lines of ours.
fn push_escaped(line: &mut String, text: &str) {
    for c in text.chars() {
        if c.is_control() {
            line.extend(c.escape_default());
        } else {
            line.push(c);
        }
    }
}

impl Line {
    fn put(&mut self, field: &Field, mut value: String) {
        if value.len() > VALUE_MAX {
            let end = value.floor_char_boundary(VALUE_MAX);
            value.truncate(end);
            value.push('…');
        }
        match field.name() {
            "message" => self.message = value,
            name => self.fields.push((name, value)),
        }
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Line {
        Line {
            at: "2026-01-31T12:00:00.0009Z".parse().unwrap(),
            level: Level::WARN,
            target: "gantry::x",
            message: "a task\nfailed".to_owned(),
            fields: vec![
                ("task", "web-1".to_owned()),
                ("error", "key hunter2 was \"wrong\"".to_owned()),
            ],
        }
    }

    #[test]
    fn forms() {
        let mut line = line();
        assert_eq!(
            line.file(),
            "2026-01-31T12:00:00.000Z - warn: a task\\nfailed task=web-1 error=\"key hunter2 was \\\"wrong\\\"\"\n"
        );
        line.redact(&["hunter2".to_owned()]);
        assert_eq!(
            line.console(),
            "warn: a task\\nfailed task=web-1 error=\"key **** was \\\"wrong\\\"\"\n"
        );
        assert_eq!(
            serde_json::from_str::<Value>(&line.json()).unwrap(),
            serde_json::json!({
                "time": "2026-01-31T12:00:00.000Z",
                "level": "warn",
                "message": "a task\nfailed",
                "target": "gantry::x",
                "task": "web-1",
                "error": "key **** was \"wrong\"",
            })
        );
    }
}
