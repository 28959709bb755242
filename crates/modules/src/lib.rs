//! Runs JavaScript modules beside a service, and lets none of them hurt it.
//!
//! A module is a directory with an `index.js`, run by QuickJS in a runtime of its own on a thread of
//! its own. It is told things and asked things, JSON in and JSON out; what it may ask for itself is
//! what a [`World`] offers. This crate knows nothing of the service around it.
//!
//! ```text
//! service ──tell(event)──▶ bounded inbox ──▶ module's thread ──▶ answers, checked and bounded
//!         ──ask(question)─▶                          └──▶ World: tasks, log, state, commands; fetch
//! ```
//!
//! **Invariant: whoever asks a module gets an answer in time.** [`Module::ask`] ends within the
//! limits whatever the module does; an answer that does not come is no opinion, never a refusal. A
//! module that breaks a limit is stopped, with its error kept for people to read.

mod answer;
mod discover;
mod engine;
mod fetch;
mod host;
mod inbox;
mod limits;
mod module;
mod registration;
mod source;
mod timers;
mod world;

pub use answer::{Annotation, Answer, Launch, Response};
pub use discover::{Found, discover};
pub use fetch::{FetchRules, RuleError};
pub use host::{Admission, Host, Refusal};
pub use limits::Limits;
pub use module::{Module, NoAnswer, Question, Setup, State, Status};
pub use registration::{Column, Hook, Menu, Registration, Route};
pub use world::{Level, Pending, Request, World};
