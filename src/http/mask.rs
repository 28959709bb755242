//! Secrets are shown as [`MASK`], wherever they stand.

use std::borrow::Cow;

use gantry_core::EnvironmentValue;

/// What is shown instead of a secret.
pub(crate) const MASK: &str = "****";

/// The value of an environment variable.
pub(crate) fn variable(value: &EnvironmentValue) -> &str {
    match value {
        EnvironmentValue::Plain(value) => value,
        EnvironmentValue::Secret(_) => MASK,
    }
}

/// A URI without the user's name and password, if it has them.
pub(crate) fn uri(uri: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = uri.split_once("://") else {
        return Cow::Borrowed(uri);
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match authority.rfind('@') {
        Some(at) => Cow::Owned(format!("{scheme}://{MASK}{}", &rest[at..])),
        None => Cow::Borrowed(uri),
    }
}

/// The value of a `docker run` parameter; of an environment variable only its name.
pub(crate) fn parameter<'a>(key: &str, value: &'a str) -> Cow<'a, str> {
    match value.split_once('=') {
        Some((name, _)) if matches!(key, "env" | "e") => Cow::Owned(format!("{name}={MASK}")),
        _ => Cow::Borrowed(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_in_uris_and_parameters_are_masked() {
        for (given, shown) in [
            ("http://u:p@host/x@y", "http://****@host/x@y"),
            ("http://host/a@b", "http://host/a@b"),
            ("http://u:p@host?q=1", "http://****@host?q=1"),
            ("/local/path@x", "/local/path@x"),
        ] {
            assert_eq!(uri(given), shown);
        }
        assert_eq!(parameter("env", "TOKEN=a=b"), "TOKEN=****");
        assert_eq!(parameter("volume", "/a=b"), "/a=b");
    }
}
