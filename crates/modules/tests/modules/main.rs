//! Modules from outside: what they can do, and that nothing they do hurts.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a failed expectation is a failed test"
)]

mod abilities;
mod examples;
mod limits;
mod support;
