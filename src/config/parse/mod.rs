//! Pure parsers: text in; a typed value, or what is wrong and what to do, out.

mod access;
mod address;
mod constraint;
mod container;
mod json;
mod number;
mod text;
mod units;
mod update;
mod zookeeper;

pub(crate) use access::is_mail;
pub(super) use access::{
    basic_users, callback, cookie_key, domains, filter, groups, networks, provider, rules,
    url_prefix, user_names,
};
pub(super) use address::{Home, host, listen, origins, port, roles, store};
pub(super) use constraint::constraints;
pub(super) use container::{
    Mode, Runtime, mode, parameters, port_mappings, runtime, uri, uris, volumes,
};
pub(super) use json::{object, strings};
pub(super) use number::{
    boolean, cpus, definitions, factor, fixed_ports, instances, integer_in, whole_prefix,
};
pub(super) use text::{base_url, colour, framework_name, line, task_type, url, user};
pub(crate) use units::in_words;
pub(super) use units::{duration_in, megabytes, size_in};
pub(super) use update::{brake_share, on_failure, order, share};
pub(super) use zookeeper::{Servers, auth, not_a_path, prefix, servers};

/// A value, and what should be said about how it was read.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Parsed<T> {
    pub(super) value: T,
    pub(super) warning: Option<Wrong>,
}

/// Why a text is no such value, and what to do. Neither repeats the text, which may be secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    pub(super) reason: String,
    pub(super) remedy: String,
}

pub(super) type Outcome<T> = Result<Parsed<T>, Wrong>;

impl Wrong {
    pub(super) fn new(reason: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            remedy: remedy.into(),
        }
    }
}

/// A value read without doubt.
pub(super) fn plain<T>(value: T) -> Outcome<T> {
    Ok(Parsed {
        value,
        warning: None,
    })
}

/// A value that may not be what was meant.
pub(super) fn doubtful<T>(
    value: T,
    reason: impl Into<String>,
    remedy: impl Into<String>,
) -> Outcome<T> {
    Ok(Parsed {
        value,
        warning: Some(Wrong::new(reason, remedy)),
    })
}

pub(super) fn wrong<T>(reason: impl Into<String>, remedy: impl Into<String>) -> Outcome<T> {
    Err(Wrong::new(reason, remedy))
}
