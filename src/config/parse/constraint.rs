//! Constraints in Marathon's words, as JSON or in the short form.

use gantry_core::{Constraint, Operator, Pattern};
use serde_json::Value;

use super::{Outcome, Wrong, json, plain, wrong};

/// Most constraints of one task type.
const CONSTRAINTS_MAX: usize = 100;
/// Longest field or value, in bytes.
const TEXT_MAX: usize = 4096;

const REMEDY: &str = "write hostname:UNIQUE;rack:GROUP_BY:2, or the same as JSON, [[\"hostname\",\"UNIQUE\"],[\"rack\",\"GROUP_BY\",\"2\"]]";

/// `field:OPERATOR[:value]` separated by `;`, or a JSON array of Marathon's arrays. In the short
/// form a value may hold `:` but not `;`.
pub(in crate::config) fn constraints(text: &str) -> Outcome<Vec<Constraint>> {
    let text = text.trim();
    let words: Vec<Vec<String>> = if text.starts_with('[') {
        from_json(text)?
    } else {
        text.split(';')
            .map(str::trim)
            .filter(|constraint| !constraint.is_empty())
            .map(|constraint| {
                constraint
                    .splitn(3, ':')
                    .map(|word| word.trim().to_owned())
                    .collect()
            })
            .collect()
    };
    if words.len() > CONSTRAINTS_MAX {
        return wrong(
            format!("has more than {CONSTRAINTS_MAX} constraints"),
            REMEDY,
        );
    }
    let constraints = words
        .iter()
        .map(|words| constraint(words))
        .collect::<Result<Vec<_>, _>>()?;
    plain(constraints)
}

fn from_json(text: &str) -> Result<Vec<Vec<String>>, Wrong> {
    let no_arrays = || Wrong::new("is not an array of arrays of texts", REMEDY);
    let Value::Array(constraints) = json::value(text)?.value else {
        return Err(no_arrays());
    };
    constraints
        .into_iter()
        .map(|constraint| {
            constraint
                .as_array()
                .ok_or_else(no_arrays)?
                .iter()
                .map(|word| Ok(json::scalar_text(word).ok_or_else(no_arrays)?.value))
                .collect()
        })
        .collect()
}

fn constraint(words: &[String]) -> Result<Constraint, Wrong> {
    let at = |reason: String| {
        let shown = crate::config::report::shown(&words.join(":"), false);
        Wrong::new(
            format!("has the constraint {shown}, which {reason}"),
            REMEDY,
        )
    };
    let (field, operator, value) = match words {
        [field, operator] => (field, operator, None),
        [field, operator, value] => (field, operator, Some(value.as_str())),
        _ => {
            return Err(at(
                "is not a field, an operator and perhaps a value".to_owned()
            ));
        }
    };
    if field.is_empty() {
        return Err(at("names no field".to_owned()));
    }
    if field.len() > TEXT_MAX || value.is_some_and(|value| value.len() > TEXT_MAX) {
        return Err(at(format!("is longer than {TEXT_MAX} bytes")));
    }
    let needed = || {
        value
            .filter(|value| !value.is_empty())
            .ok_or_else(|| at("needs a value".to_owned()))
    };
    let count = |value: &str| match value.parse::<u32>() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(at("needs a whole number from 1 on".to_owned())),
    };
    let pattern = |value: &str| {
        Pattern::new(value).map_err(|_| at("is not a usable regular expression".to_owned()))
    };
    let operator = match operator.to_ascii_uppercase().as_str() {
        "UNIQUE" if value.is_none_or(str::is_empty) => Operator::Unique,
        "UNIQUE" => return Err(at("takes no value".to_owned())),
        "CLUSTER" => Operator::Cluster(value.filter(|v| !v.is_empty()).map(str::to_owned)),
        "GROUP_BY" => Operator::GroupBy(value.map_or(Ok(1), count)?),
        "LIKE" => Operator::Like(pattern(needed()?)?),
        "UNLIKE" => Operator::Unlike(pattern(needed()?)?),
        "MAX_PER" => Operator::MaxPer(count(needed()?)?),
        "IS" => Operator::Is(needed()?.to_owned()),
        _ => {
            return Err(at(
                "has no operator of UNIQUE, CLUSTER, GROUP_BY, LIKE, UNLIKE, MAX_PER, IS"
                    .to_owned(),
            ));
        }
    };
    Ok(Constraint {
        field: field.clone(),
        operator,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_say_the_same() {
        let short = "hostname:UNIQUE; rack:GROUP_BY:2;zone:like:eu-(a|b):.*;disk:IS:ssd;a:CLUSTER;b:MAX_PER:3;c:GROUP_BY;d:UNLIKE:x";
        let json = r#"[["hostname","UNIQUE"],["rack","GROUP_BY",2],["zone","LIKE","eu-(a|b):.*"],
            ["disk","IS","ssd"],["a","CLUSTER"],["b","MAX_PER","3"],["c","GROUP_BY"],["d","UNLIKE","x"]]"#;
        let parsed = constraints(short).unwrap().value;
        assert_eq!(parsed, constraints(json).unwrap().value);
        assert_eq!(parsed.len(), 8);
        assert_eq!(parsed[0].operator, Operator::Unique);
        assert_eq!(parsed[1].operator, Operator::GroupBy(2));
        let Operator::Like(pattern) = &parsed[2].operator else {
            panic!("{parsed:?}")
        };
        assert!(pattern.matches("eu-b:9") && !pattern.matches("x-eu-b:9"));
        assert_eq!(constraints(";").unwrap().value, []);
    }

    #[test]
    fn bad_constraints_are_named() {
        for (bad, why) in [
            ("hostname", "is not a field"),
            (":UNIQUE", "names no field"),
            ("a:ALONE", "has no operator"),
            ("a:UNIQUE:1", "takes no value"),
            ("a:LIKE", "needs a value"),
            ("a:LIKE:(", "regular expression"),
            ("a:MAX_PER:0", "whole number"),
            ("a:GROUP_BY:x", "whole number"),
            (r#"["hostname","UNIQUE"]"#, "array of arrays"),
            (r#"[["a","IS",null]]"#, "array of arrays"),
            (r#"[["a","IS","b","c"]]"#, "is not a field"),
            ("[[", "is not JSON"),
        ] {
            let reason = constraints(bad).unwrap_err().reason;
            assert!(reason.contains(why), "{bad}: {reason}");
        }
    }
}
