//! Who asks, and what they may do.
//!
//! One question ([`Gate::identify`], asked before every route) turns what a request brings (the cookie of a session, a token, a
//! password) into a [`Caller`]; one function, [`Caller::may`], says whether that is enough for the
//! route that was matched. Nothing else lets anybody in.

mod access;
mod attempt;
mod basic;
mod cookies;
mod failures;
mod gate;
mod person;
mod provider;
mod sender;
mod session;
mod tokens;

pub(crate) use access::{Access, Caller, Identity};
pub(crate) use attempt::own_path;
pub(crate) use gate::{Callback, Gate, Known, Problem, too_little};
pub(crate) use person::Via;
pub(crate) use sender::{Proxies, Sender};
pub(crate) use session::Session;
pub(crate) use tokens::{NewToken, TokenFile, TokenUse};

/// Log target of everything that says who was let in or refused.
pub(crate) const AUDIT: &str = "gantry::audit";
