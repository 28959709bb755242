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

/// A URI without the user's name and password, and without the values of its query, if it has them:
/// tokens stand there.
pub(crate) fn uri(uri: &str) -> Cow<'_, str> {
    let Some((scheme, rest)) = uri.split_once("://") else {
        return Cow::Borrowed(uri);
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let user = authority.rfind('@').unwrap_or_default();
    let (address, fragment) = rest.split_at(rest.find('#').unwrap_or(rest.len()));
    let (path, query) = match address.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (address, None),
    };
    if user == 0 && query.is_none() {
        return Cow::Borrowed(uri);
    }
    let mut shown = format!("{scheme}://");
    if user > 0 {
        shown.push_str(MASK);
    }
    shown.push_str(&path[user..]);
    for (number, value) in query
        .into_iter()
        .flat_map(|query| query.split('&'))
        .enumerate()
    {
        shown.push(if number == 0 { '?' } else { '&' });
        if let Some((name, _)) = value.split_once('=') {
            shown.push_str(name);
            shown.push('=');
        }
        shown.push_str(MASK);
    }
    shown.push_str(fragment);
    Cow::Owned(shown)
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
            ("http://u:p@host?q=1", "http://****@host?q=****"),
            ("http://host/x?a=1&key#top", "http://host/x?a=****&****#top"),
            ("http://@host/x#a?b=c", "http://@host/x#a?b=c"),
            ("s3://host/x?token=a@b/c=d", "s3://host/x?token=****"),
            ("/local/path?a=b", "/local/path?a=b"),
            ("/local/path@x", "/local/path@x"),
        ] {
            assert_eq!(uri(given), shown);
        }
        assert_eq!(parameter("env", "TOKEN=a=b"), "TOKEN=****");
        assert_eq!(parameter("volume", "/a=b"), "/a=b");
    }
}
