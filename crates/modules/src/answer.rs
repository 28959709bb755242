//! What modules answer, read strictly: what is not an answer is garbage, and counts as a failure.

use std::{collections::BTreeMap, time::Duration};

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::limits::cut;

/// Most variables that one module may add to a launch.
const ENVIRONMENT_MAX: usize = 64;

/// Bytes of all of them.
const ENVIRONMENT_BYTES_MAX: usize = 16 << 10;

/// Longest reason, in bytes.
const REASON_MAX: usize = 512;

/// Longest text in a column, in bytes.
const CELL_MAX: usize = 256;

/// When a vetoed launch is asked about again, when the module does not say.
const RETRY_DEFAULT: Duration = Duration::from_secs(10);

/// The longest such time.
const RETRY_MAX: Duration = Duration::from_secs(3600);

/// What a module answered.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// Nothing was asked for, or it has nothing to say.
    None,
    /// To a route.
    Response(Response),
    /// To `beforeLaunch`.
    Launch(Launch),
    /// To `beforeRestart`, `beforeRollingRestart`, `beforeKill`: it refuses, for this reason.
    Refused(String),
    /// To `restartCheck`: whether the task is ready.
    Ready(bool),
    /// About each of the tasks it was asked about, in their order.
    Annotations(Vec<Annotation>),
}

/// The answer of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// 200 to 599.
    pub status: u16,
    /// The type of the body.
    pub content_type: String,
    /// The body.
    pub body: String,
}

/// The answer to `beforeLaunch`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Launch {
    /// Yes, with these variables besides its own.
    Admitted {
        /// Name and value, by name.
        environment: BTreeMap<String, String>,
    },
    /// Not now.
    Vetoed {
        /// Why, for people.
        reason: String,
        /// When to ask again.
        retry_after: Duration,
    },
}

/// What a module has to say of a task in lists.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Annotation {
    /// Its columns, by key: each `null`, a boolean, a number or a short text.
    pub columns: Map<String, Value>,
    /// `healthy` of the module.
    pub healthy: Option<bool>,
    /// `leader` of the module.
    pub leader: Option<bool>,
}

/// What kind of answer is expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Expected {
    Nothing,
    Response,
    Launch,
    Permission,
    Ready,
    /// About so many tasks.
    Annotations(usize),
}

impl Expected {
    /// Reads an answer. The error is a clause that says what is wrong with it.
    pub(crate) fn read(self, json: Option<&str>) -> Result<Answer, String> {
        let value: Value = match json {
            Some(json) => serde_json::from_str(json)
                .map_err(|error| format!("what it answered is not JSON: {error}"))?,
            None => Value::Null,
        };
        match self {
            Self::Nothing => Ok(Answer::None),
            Self::Response => response(value).map(Answer::Response),
            _ if value.is_null() => Ok(Answer::None),
            Self::Launch => launch(value).map(Answer::Launch),
            Self::Permission => permission(value),
            Self::Ready => value
                .as_bool()
                .map(Answer::Ready)
                .ok_or_else(|| garbage("true or false", &value)),
            Self::Annotations(count) => annotations(value, count).map(Answer::Annotations),
        }
    }
}

fn garbage(wanted: &str, value: &Value) -> String {
    let shown = cut(value.to_string(), 100);
    format!("it must answer {wanted}, and answered {shown}")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawResponse {
    status: Option<u16>,
    json: Option<Value>,
    text: Option<String>,
    html: Option<String>,
    r#type: Option<String>,
}

fn response(value: Value) -> Result<Response, String> {
    const WANTED: &str = "{status, json | text | html, type}";
    if value.is_null() {
        return Ok(Response {
            status: 204,
            content_type: "text/plain; charset=utf-8".to_owned(),
            body: String::new(),
        });
    }
    let shown = garbage(WANTED, &value);
    let raw: RawResponse = serde_json::from_value(value).map_err(|_| shown.clone())?;
    let status = raw.status.unwrap_or(200);
    if !(200..600).contains(&status) {
        return Err(format!("status {status} is not one of 200 to 599"));
    }
    let (default_type, body) = match (raw.json, raw.text, raw.html) {
        (Some(json), None, None) => ("application/json", json.to_string()),
        (None, Some(text), None) => ("text/plain; charset=utf-8", text),
        (None, None, Some(html)) => ("text/html; charset=utf-8", html),
        (None, None, None) => ("text/plain; charset=utf-8", String::new()),
        _ => return Err(shown),
    };
    let content_type = raw.r#type.unwrap_or_else(|| default_type.to_owned());
    let visible = |c: char| c == ' ' || c.is_ascii_graphic();
    if content_type.len() > 100 || !content_type.chars().all(visible) {
        return Err("its type is not the type of a body".to_owned());
    }
    Ok(Response {
        status,
        content_type,
        body,
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct RawLaunch {
    env: Option<BTreeMap<String, Value>>,
    veto: Option<String>,
    retry_after: Option<f64>,
}

fn launch(value: Value) -> Result<Launch, String> {
    const WANTED: &str = "{env: {…}} or {veto: \"why\", retryAfter: seconds} or nothing";
    let shown = garbage(WANTED, &value);
    let raw: RawLaunch = serde_json::from_value(value).map_err(|_| shown.clone())?;
    match (raw.veto, raw.env) {
        (Some(_), Some(_)) => Err(shown),
        (Some(reason), None) => {
            let after = match raw.retry_after {
                None => RETRY_DEFAULT,
                Some(seconds) => Duration::try_from_secs_f64(seconds.max(1.0))
                    .unwrap_or(RETRY_MAX)
                    .min(RETRY_MAX),
            };
            Ok(Launch::Vetoed {
                reason: cut(reason, REASON_MAX),
                retry_after: after,
            })
        }
        (None, environment) => {
            let environment = environment.unwrap_or_default();
            let environment = environment
                .into_iter()
                .map(|(name, value)| variable(&name, value).map(|value| (name, value)))
                .collect::<Result<BTreeMap<_, _>, _>>()?;
            bounded(&environment)?;
            Ok(Launch::Admitted { environment })
        }
    }
}

fn variable(name: &str, value: Value) -> Result<String, String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(fits)
    {
        return Err(format!("`{name}` is not a name of an environment variable"));
    }
    match value {
        Value::String(text) if !text.contains('\0') => Ok(text),
        Value::Bool(_) | Value::Number(_) => Ok(value.to_string()),
        _ => Err(format!("variable `{name}` must be a text")),
    }
}

fn bounded(environment: &BTreeMap<String, String>) -> Result<(), String> {
    let bytes: usize = environment
        .iter()
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if environment.len() > ENVIRONMENT_MAX || bytes > ENVIRONMENT_BYTES_MAX {
        return Err(format!(
            "at most {ENVIRONMENT_MAX} variables of together {ENVIRONMENT_BYTES_MAX} bytes may be \
             added to a launch"
        ));
    }
    Ok(())
}

fn permission(value: Value) -> Result<Answer, String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Raw {
        refuse: Option<String>,
    }
    let shown = garbage("{refuse: \"why\"} or nothing", &value);
    let raw: Raw = serde_json::from_value(value).map_err(|_| shown)?;
    Ok(match raw.refuse {
        Some(reason) => Answer::Refused(cut(reason, REASON_MAX)),
        None => Answer::None,
    })
}

fn annotations(value: Value, count: usize) -> Result<Vec<Annotation>, String> {
    #[derive(Deserialize)]
    struct Raw {
        columns: Map<String, Value>,
        healthy: Option<bool>,
        leader: Option<bool>,
    }
    let raw: Vec<Raw> = serde_json::from_value(value)
        .map_err(|_| "healthy and leader must answer true, false or null".to_owned())?;
    if raw.len() != count {
        return Err("it must say something of every task".to_owned());
    }
    Ok(raw
        .into_iter()
        .map(|raw| Annotation {
            columns: raw
                .columns
                .into_iter()
                .map(|(key, value)| (key, cell(value)))
                .collect(),
            healthy: raw.healthy,
            leader: raw.leader,
        })
        .collect())
}

/// Columns show short texts: what is longer is cut, what is not a text is shown as its JSON.
fn cell(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(cut(text, CELL_MAX)),
        Value::Array(_) | Value::Object(_) => Value::String(cut(value.to_string(), CELL_MAX)),
        plain => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_answers_are_answers() {
        let launch = |json| Expected::Launch.read(Some(json));
        assert_eq!(Expected::Launch.read(None), Ok(Answer::None));
        assert_eq!(
            launch(r#"{"env":{"A":"b","N":1}}"#),
            Ok(Answer::Launch(Launch::Admitted {
                environment: [("A", "b"), ("N", "1")]
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
                    .into()
            }))
        );
        assert_eq!(
            launch(r#"{"veto":"not yet","retryAfter":1e300}"#),
            Ok(Answer::Launch(Launch::Vetoed {
                reason: "not yet".to_owned(),
                retry_after: RETRY_MAX
            }))
        );
        for bad in [
            "true",
            r#"{"veto":1}"#,
            r#"{"vetto":"x"}"#,
            r#"{"env":{"A=B":"x"}}"#,
            r#"{"env":{"A":{}}}"#,
            r#"{"env":{},"veto":"x"}"#,
        ] {
            assert!(launch(bad).is_err(), "{bad}");
        }
        let many: Map<_, _> = (0..65).map(|n| (format!("V{n}"), "".into())).collect();
        let many = serde_json::json!({ "env": many }).to_string();
        assert!(launch(&many).unwrap_err().contains("at most 64"));

        assert!(Expected::Response.read(Some("[1]")).is_err());
        assert!(Expected::Response.read(Some(r#"{"status":99}"#)).is_err());
        assert!(Expected::Response.read(Some(r#"{"type":"a\nb"}"#)).is_err());
        assert!(Expected::Ready.read(Some("1")).is_err());
        assert!(Expected::Permission.read(Some(r#"{"refuse":7}"#)).is_err());
        assert!(Expected::Annotations(2).read(Some("[]")).is_err());
    }
}
