//! The one table of all variables. It parses, validates, documents and suggests: what is not in it
//! does not exist, and what is in it is documented.

pub(super) mod framework;
pub(super) mod task;

use super::parse::Outcome;

/// What is known of a variable apart from how it is parsed.
#[derive(Debug)]
pub struct Variable {
    /// Its name; for a task type without the `TASK#_` in front.
    pub name: &'static str,
    /// Whether it is set once, or once per task type.
    pub scope: Scope,
    /// The chapter of the reference it belongs to.
    pub section: Section,
    /// What its text looks like.
    pub kind: Kind,
    /// Whether it must be set.
    pub required: Required,
    /// The text that stands for it when it is not set.
    pub default: Option<&'static str>,
    /// The default in words, where it is not a fixed text.
    pub default_words: Option<&'static str>,
    /// Whether its value is never shown. At framework level such a variable can also be given as
    /// a file, in `<NAME>_FILE`.
    pub secret: bool,
    /// What it does.
    pub help: &'static str,
    /// How it differs from the original, or what else people coming from there should know.
    pub note: &'static str,
    /// Other names under which it is accepted, with a warning.
    pub aliases: &'static [&'static str],
    /// Since which version of Gantry; or [`Variable::ORIGINAL`].
    pub since: &'static str,
}

/// Whether a variable is set once, or once per task type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Once.
    Framework,
    /// Once per task type, as `TASK#_<name>`.
    TaskType,
}

/// Chapters of the reference, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Section {
    /// The framework and its place.
    Framework,
    /// The connection to Mesos.
    Mesos,
    /// Where the records are kept.
    Store,
    /// The HTTP server.
    Http,
    /// Modules.
    Modules,
    /// The log.
    Logging,
    /// The scheduler.
    Scheduler,
    /// Login.
    Login,
    /// A task type: what runs.
    Run,
    /// A task type: its environment.
    Environment,
    /// A task type: its container.
    Container,
    /// A task type: resources and placement.
    Placement,
    /// A task type: health.
    Health,
    /// A task type: starting, stopping, order.
    Life,
    /// A task type: moving to a changed declaration.
    Update,
}

impl Section {
    /// The heading.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Framework => "Framework",
            Self::Mesos => "Mesos",
            Self::Store => "Store",
            Self::Http => "HTTP server",
            Self::Modules => "Modules",
            Self::Logging => "Log",
            Self::Scheduler => "Scheduler",
            Self::Login => "Login",
            Self::Run => "Task type: what runs",
            Self::Environment => "Task type: environment",
            Self::Container => "Task type: container",
            Self::Placement => "Task type: resources and placement",
            Self::Health => "Task type: health check",
            Self::Life => "Task type: order, back-off, end",
            Self::Update => "Task type: changes",
        }
    }
}

/// What the text of a variable looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Free text.
    Text,
    /// `true`, `1` or any other number but 0; everything else is false.
    Boolean,
    /// A whole number.
    Integer,
    /// A decimal number.
    Decimal,
    /// Whole numbers with `ms`, `s`, `m`, `h`, `d`, `w`.
    Duration,
    /// A number with `KiB`, `MiB`, `GiB`, `TiB`.
    Size,
    /// As [`Kind::Size`], or a bare number of megabytes.
    Megabytes,
    /// A number, or a percentage.
    Share,
    /// Texts separated by commas.
    List,
    /// JSON.
    Json,
    /// The path of a file.
    Path,
    /// One of these words.
    Choice(&'static [&'static str]),
}

impl Kind {
    /// In words, for the reference.
    pub fn words(self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::Boolean => "boolean".to_owned(),
            Self::Integer => "whole number".to_owned(),
            Self::Decimal => "number".to_owned(),
            Self::Duration => "duration".to_owned(),
            Self::Size => "size".to_owned(),
            Self::Megabytes => "size, or megabytes".to_owned(),
            Self::Share => "whole number, or percentage".to_owned(),
            Self::List => "list".to_owned(),
            Self::Json => "JSON".to_owned(),
            Self::Path => "path".to_owned(),
            Self::Choice(words) => words.join(", "),
        }
    }
}

/// Whether a variable must be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Required {
    /// It need not.
    No,
    /// It must, and not be empty; for a task type: for every index below `TASK_DEF_NUM`.
    Yes,
    /// As [`Required::Yes`], unless this other variable of the same scope is set.
    Unless(&'static str),
}

impl Variable {
    /// [`Variable::since`] of what the boilerplate already had.
    pub const ORIGINAL: &'static str = "boilerplate";

    const NEW: Self = Self {
        name: "",
        scope: Scope::Framework,
        section: Section::Framework,
        kind: Kind::Text,
        required: Required::No,
        default: None,
        default_words: None,
        secret: false,
        help: "",
        note: "",
        aliases: &[],
        since: "0.1",
    };

    /// The name as people write it, `TASK#_…` for a task type's.
    pub fn shown_name(&self) -> String {
        match self.scope {
            Scope::Framework => self.name.to_owned(),
            Scope::TaskType => format!("TASK#_{}", self.name),
        }
    }
}

/// A variable and its parser.
pub(super) struct Typed<T: 'static> {
    pub(super) about: Variable,
    pub(super) parse: fn(&str) -> Outcome<T>,
}

/// Every variable, in the order of the reference.
pub fn all() -> impl Iterator<Item = &'static Variable> {
    framework::ALL.iter().chain(task::ALL).copied()
}

/// Declares the typed variables of one scope and the list of them all.
macro_rules! variables {
    ($scope:ident, $section:ident in $($rest:tt)*) => {
        $crate::config::table::variables!(@items $scope, [] [$section] $($rest)*);
    };
    (@items $scope:ident, [$($done:ident)*] [$section:ident] ) => {
        pub(in crate::config) static ALL: &[&$crate::config::table::Variable] = &[$(&$done.about),*];

        /// Whether the default of every variable is read without complaint.
        #[cfg(test)]
        pub(in crate::config) fn defaults() -> Vec<(&'static str, bool)> {
            vec![$((
                $done.about.name,
                $done.about.default.is_none_or(|text| {
                    ($done.parse)(text).is_ok_and(|parsed| parsed.warning.is_none())
                }),
            )),*]
        }
    };
    (@items $scope:ident, [$($done:ident)*] [$old:ident] section $section:ident; $($rest:tt)*) => {
        $crate::config::table::variables!(@items $scope, [$($done)*] [$section] $($rest)*);
    };
    (
        @items $scope:ident, [$($done:ident)*] [$section:ident]
        $name:ident: $type:ty = $parse:expr, { $($field:ident: $value:expr),* $(,)? }
        $($rest:tt)*
    ) => {
        pub(in crate::config) static $name: $crate::config::table::Typed<$type> = $crate::config::table::Typed {
            about: $crate::config::table::Variable {
                name: stringify!($name),
                scope: $crate::config::table::Scope::$scope,
                section: $crate::config::table::Section::$section,
                $($field: $value,)*
                ..$crate::config::table::Variable::NEW
            },
            parse: $parse,
        };
        $crate::config::table::variables!(@items $scope, [$($done)* $name] [$section] $($rest)*);
    };
}
pub(in crate::config) use variables;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_default_is_a_value_of_its_variable() {
        for (name, good) in framework::defaults().into_iter().chain(task::defaults()) {
            assert!(good, "the default of {name} is refused or doubted");
        }
    }

    #[test]
    fn names_are_unique_and_everything_is_explained() {
        let mut names = BTreeSet::new();
        for variable in all() {
            let aliases = variable.aliases.iter().copied();
            for name in aliases.chain([variable.name]) {
                assert!(names.insert((variable.scope as u8, name)), "{name} twice");
            }
            assert!(variable.help.ends_with('.'), "{}", variable.name);
            assert!(
                variable.note.is_empty() || variable.note.ends_with('.'),
                "{}",
                variable.name
            );
            if let Required::Unless(other) = variable.required {
                assert!(all().any(|v| v.name == other && v.scope == variable.scope));
            }
        }
    }
}
