//! Where variables come from: the process, or a map in tests, `check --env-file` and `dev`; with
//! those of [`super::credentials`] laid over them.

use std::{collections::BTreeMap, ffi::OsString};

/// Named texts.
pub trait Variables {
    /// The variable's value, `None` when it is not set.
    ///
    /// # Errors
    /// The value is not UTF-8.
    fn get(&self, name: &str) -> Result<Option<&str>, NotUnicode>;

    /// The names of all variables, ascending. Names that are not UTF-8 are left out: none of ours is.
    fn names(&self) -> Vec<&str>;

    /// Whether the value of this variable is never to be shown, whichever it is.
    fn is_hidden(&self, _name: &str) -> bool {
        false
    }
}

/// The value of a variable is not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not valid UTF-8")]
pub struct NotUnicode;

/// The environment of this process at one moment.
#[derive(Clone)]
pub struct ProcessEnvironment(BTreeMap<String, OsString>);

impl ProcessEnvironment {
    /// Takes it down as it is now.
    pub fn snapshot() -> Self {
        Self::from_raw(std::env::vars_os())
    }

    fn from_raw(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        Self(
            variables
                .into_iter()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
                .collect(),
        )
    }
}

impl Variables for ProcessEnvironment {
    fn get(&self, name: &str) -> Result<Option<&str>, NotUnicode> {
        self.0
            .get(name)
            .map(|value| value.to_str().ok_or(NotUnicode))
            .transpose()
    }

    fn names(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }
}

impl Variables for BTreeMap<String, String> {
    fn get(&self, name: &str) -> Result<Option<&str>, NotUnicode> {
        Ok(BTreeMap::get(self, name).map(String::as_str))
    }

    fn names(&self) -> Vec<&str> {
        self.keys().map(String::as_str).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn bytes_that_are_no_text_are_an_error_of_that_variable_alone() {
        let broken = OsString::from_vec(vec![b'a', 0xff]);
        let environment = ProcessEnvironment::from_raw([
            ("GOOD".into(), "1".into()),
            ("BAD".into(), broken.clone()),
            (broken, "x".into()),
        ]);
        assert_eq!(environment.get("GOOD"), Ok(Some("1")));
        assert_eq!(environment.get("BAD"), Err(NotUnicode));
        assert_eq!(environment.get("NONE"), Ok(None));
        assert_eq!(environment.names(), ["BAD", "GOOD"]);
    }
}
