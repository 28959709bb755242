//! The scheduler alone: every test says what goes in and proves that nothing came out but what it
//! names.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test that cannot go on should stop"
)]

mod admission;
mod bench;
mod brake;
mod deployments;
mod explain;
mod identity;
mod instances;
mod interrupted;
mod keeping;
mod offers;
mod placement;
mod readiness;
mod reconciliation;
mod resources;
mod restarts;
mod returned;
mod strangers;
mod takeover;
mod unreadable;
mod updates;
mod withdrawn;
