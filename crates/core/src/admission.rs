//! Admission: modules have a say in what is launched.
//!
//! While admission is needed ([`crate::Settings::admission`]), an instance that is to be launched is
//! asked about first ([`crate::Effects::questions`]), and launched only after it was admitted
//! ([`crate::Input::Admission`]). An admission is used by one launch. Nothing of this is stored:
//! whoever leads next asks anew.

use std::{fmt, sync::Arc, time::Duration};

use thiserror::Error;

use crate::{Timestamp, WorkloadName};

/// Most questions that wait for an answer at once, of all workloads together.
pub const QUESTIONS_MAX: usize = 1_000;

/// No more instances of a workload are asked about while so many of it are admitted and not
/// launched.
pub const UNUSED_ADMISSIONS_MAX: usize = 1_000;

/// A question without an answer is asked again after so long.
pub const ASK_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// Bounds of the time after which an instance that was refused is asked about again.
pub const REFUSED_FOR: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(3600);

/// Longest reason of a refusal that is kept, in bytes.
pub const REFUSAL_BYTES_MAX: usize = 256;

/// Most variables that modules may add to one launch.
pub const ADDED_VARIABLES_MAX: usize = 64;

/// Most bytes of their names and values.
pub const ADDED_BYTES_MAX: usize = 16 * 1024;

/// May this instance be launched?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Whose.
    pub workload: WorkloadName,
    /// Which instance.
    pub number: u32,
    /// The revision that it would be launched as.
    pub revision: u32,
    /// Goes with the answer. The same when the question is asked again; an answer with another is
    /// void, as the instance is no longer wanted, would be another revision, or was answered for.
    pub asked: Timestamp,
}

/// The answer of all modules together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may.
    Admitted {
        /// What to add to its environment, in place of variables of the same name in its template.
        environment: AddedEnvironment,
    },
    /// It may not.
    Refused {
        /// By which module; cut to [`crate::MODULE_NAME_BYTES_MAX`].
        module: Arc<str>,
        /// Why, as a clause for people; cut to [`REFUSAL_BYTES_MAX`].
        reason: Arc<str>,
        /// When to ask again; brought within [`REFUSED_FOR`].
        again_after: Duration,
    },
}

/// A refusal, as long as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Veto {
    /// By which module.
    pub module: Arc<str>,
    /// Why, as a clause for people.
    pub reason: Arc<str>,
    /// Since when.
    pub at: Timestamp,
    /// When it is asked again.
    pub until: Timestamp,
}

/// Variables that modules add to one launch. Not stored, and not shown by `Debug`: they may hold
/// secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct AddedEnvironment(Arc<[(String, String)]>);

/// Why variables cannot be added.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum AddedEnvironmentError {
    /// Too many.
    #[error("{0} variables are more than the limit of {ADDED_VARIABLES_MAX}")]
    TooMany(usize),
    /// Too long.
    #[error("variables of {0} bytes are more than the limit of {ADDED_BYTES_MAX}")]
    TooLong(usize),
    /// No variable can be named so.
    #[error("`{0}` is no name of a variable: it is empty, or has a `=` or a zero byte")]
    Name(String),
    /// No variable can hold it.
    #[error("the value of {0} has a zero byte")]
    Value(String),
}

impl AddedEnvironment {
    /// Takes names and values. Of a name that stands twice the last counts.
    ///
    /// # Errors
    /// See [`AddedEnvironmentError`].
    pub fn new(variables: Vec<(String, String)>) -> Result<Self, AddedEnvironmentError> {
        if variables.len() > ADDED_VARIABLES_MAX {
            return Err(AddedEnvironmentError::TooMany(variables.len()));
        }
        let bytes = variables
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        if bytes > ADDED_BYTES_MAX {
            return Err(AddedEnvironmentError::TooLong(bytes));
        }
        for (name, value) in &variables {
            if name.is_empty() || name.contains(['=', '\0']) {
                return Err(AddedEnvironmentError::Name(name.clone()));
            }
            if value.contains('\0') {
                return Err(AddedEnvironmentError::Value(name.clone()));
            }
        }
        Ok(Self(variables.into()))
    }

    /// Names and values, in their order.
    pub fn variables(&self) -> &[(String, String)] {
        &self.0
    }
}

impl fmt::Debug for AddedEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set()
            .entries(self.0.iter().map(|(name, _)| name))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn added_variables_are_bounded_and_not_shown() {
        let one = |name: &str, value: &str| vec![(name.to_owned(), value.to_owned())];
        let added = AddedEnvironment::new(one("TOKEN", "sesame")).unwrap();
        assert_eq!(format!("{added:?}"), r#"{"TOKEN"}"#);
        for (variables, why) in [
            (vec![("A".to_owned(), String::new()); 65], "65 variables"),
            (one("A", &"x".repeat(ADDED_BYTES_MAX)), "16385 bytes"),
            (one("", "x"), "no name"),
            (one("A=B", "x"), "no name"),
            (one("A\0", "x"), "no name"),
            (one("A", "\0"), "zero byte"),
        ] {
            let error = AddedEnvironment::new(variables).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
        assert!(AddedEnvironment::new(one("A", &"x".repeat(ADDED_BYTES_MAX - 1))).is_ok());
    }
}
