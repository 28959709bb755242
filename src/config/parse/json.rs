//! JSON texts. Objects keep the order of their members, because the environment of a task does.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor},
};
use serde_json::Value;

use super::{Outcome, Parsed, Wrong, doubtful, plain, wrong};

/// Most members of an object or array.
const MEMBERS_MAX: usize = 1_000;

/// Any JSON.
pub(in crate::config) fn value(text: &str) -> Outcome<Value> {
    serde_json::from_str(text).map_or_else(|error| Err(not_json(&error)), plain)
}

/// The error says where, never what: the text may be secret.
fn not_json(error: &serde_json::Error) -> Wrong {
    Wrong::new(
        format!("is not JSON from column {} on", error.column()),
        "write JSON, with double quotes around names and texts",
    )
}

/// A JSON array of texts; a single text stands for an array of one.
pub(in crate::config) fn strings(text: &str) -> Outcome<Vec<String>> {
    let remedy = "write a JSON array of texts such as [\"sleep\",\"1000\"]";
    let elements = match serde_json::from_str(text) {
        Ok(Value::String(single)) => return plain(vec![single]),
        Ok(Value::Array(elements)) => elements,
        Ok(_) => return wrong("is not an array of texts", remedy),
        Err(error) => return wrong(not_json(&error).reason, remedy),
    };
    if elements.len() > MEMBERS_MAX {
        return wrong(format!("has more than {MEMBERS_MAX} elements"), remedy);
    }
    let mut texts = Vec::with_capacity(elements.len());
    for (position, element) in elements.into_iter().enumerate() {
        match element {
            Value::String(element) => texts.push(element),
            _ => {
                return wrong(
                    format!(
                        "has an element, number {}, that is not a text",
                        position + 1
                    ),
                    "put every element in double quotes, numbers too",
                );
            }
        }
    }
    plain(texts)
}

/// A JSON object of texts, in order. Numbers and booleans are taken as their texts, with a warning.
pub(in crate::config) fn object(text: &str) -> Outcome<Vec<(String, String)>> {
    let remedy = "write a JSON object of texts such as {\"COLOUR\":\"green\"}";
    if !text.trim_start().starts_with('{') {
        return match serde_json::from_str::<Value>(text) {
            Ok(_) => wrong("is not a JSON object", remedy),
            Err(error) => wrong(not_json(&error).reason, remedy),
        };
    }
    let Members(members) = match serde_json::from_str(text) {
        Ok(members) => members,
        Err(error) => return wrong(not_json(&error).reason, remedy),
    };
    if members.len() > MEMBERS_MAX {
        return wrong(format!("has more than {MEMBERS_MAX} members"), remedy);
    }
    let mut pairs: Vec<(String, String)> = Vec::with_capacity(members.len());
    let mut converted = Vec::new();
    for (name, member) in members {
        if name.is_empty() || name.contains(['=', '\0']) {
            return wrong("has a name that is empty or has '=' in it", remedy);
        }
        if pairs.iter().any(|(known, _)| *known == name) {
            return wrong(format!("names {name} twice"), "keep one of them");
        }
        match scalar_text(&member) {
            None => {
                return wrong(
                    format!("has no text for {name}"),
                    format!(
                        "put the value of {name} in double quotes; null, arrays and objects cannot be passed on"
                    ),
                );
            }
            Some(Parsed { value, warning }) => {
                if value.contains('\0') {
                    return wrong(format!("has a NUL character in {name}"), "remove it");
                }
                if warning.is_some() {
                    converted.push(name.clone());
                }
                pairs.push((name, value));
            }
        }
    }
    if converted.is_empty() {
        plain(pairs)
    } else {
        doubtful(
            pairs,
            format!(
                "has numbers or booleans, which are passed on as texts: {}",
                converted.join(", ")
            ),
            "put their values in double quotes",
        )
    }
}

/// A text, or the text of a number or boolean (then with a warning). `None` for anything else.
pub(in crate::config) fn scalar_text(value: &Value) -> Option<Parsed<String>> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Bool(boolean) => boolean.to_string(),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    Some(Parsed {
        value: text,
        warning: (!value.is_string())
            .then(|| Wrong::new("is not a text", "put it in double quotes")),
    })
}

/// The members of an object in the order in which they stand.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    if members.len() > MEMBERS_MAX {
                        return Err(A::Error::custom("too many members"));
                    }
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(InOrder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_keep_their_order_and_take_numbers_as_texts() {
        let parsed = object(r#"{"Z":"1","A":2,"M":true,"F":1.50}"#).unwrap();
        let pairs: Vec<_> = parsed
            .value
            .iter()
            .map(|(n, v)| format!("{n}={v}"))
            .collect();
        assert_eq!(pairs, ["Z=1", "A=2", "M=true", "F=1.5"]);
        assert!(parsed.warning.unwrap().reason.ends_with("texts: A, M, F"));
        assert_eq!(object(" {} ").unwrap().value, []);
    }

    #[test]
    fn what_is_no_object_of_texts_is_refused_without_showing_it() {
        for bad in [
            r#"{"hush":null}"#,
            r#"{"hush":["x"]}"#,
            r#"{"":"x"}"#,
            r#"{"a=b":"x"}"#,
            r#"{"hush":"x","hush":"y"}"#,
            r#"["hush"]"#,
            "sesame",
            r#"{"a":"sesame""#,
            r#"{"a":sesame}"#,
            r#"{"a":"sesame"} x"#,
        ] {
            let wrong = object(bad).unwrap_err();
            assert!(!wrong.reason.contains("sesame"), "{wrong:?}");
        }
        let many: Vec<_> = (0..1001).map(|n| format!("\"a{n}\":\"\"")).collect();
        assert!(object(&format!("{{{}}}", many.join(","))).is_err());
    }

    #[test]
    fn arguments_are_an_array_or_one_text() {
        assert_eq!(strings(r#"["sleep","1"]"#).unwrap().value, ["sleep", "1"]);
        assert_eq!(strings(r#""sleep""#).unwrap().value, ["sleep"]);
        for bad in ["sleep 1", r#"["sleep",1]"#, "{}", "3", "[", ""] {
            assert!(strings(bad).is_err(), "{bad}");
        }
    }
}
