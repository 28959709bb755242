//! Who may do what.

mod access;

pub(crate) use access::{Access, Caller};
