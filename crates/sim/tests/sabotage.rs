//! The simulator finds what is done wrong on purpose: a test that it can fail.

use gantry_sim::{Sabotage, run};

/// Within so many worlds each fault must be found.
const SEEDS: u64 = 40;

/// The first violation that is found, which must be one that the fault explains.
fn assert_found(sabotage: Sabotage, explained: &[&str]) {
    let failure = (0..SEEDS)
        .find_map(|seed| run(seed, Some(sabotage)).err())
        .unwrap_or_else(|| panic!("{sabotage:?} was not found in {SEEDS} worlds"));
    assert!(
        explained
            .iter()
            .any(|part| failure.violation.contains(part)),
        "{sabotage:?} was found as something else: {}",
        failure.violation
    );
    assert!(!failure.trace.is_empty(), "there is an account of it");
    let Err(again) = run(failure.seed, Some(sabotage)) else {
        panic!("seed {} failed but once", failure.seed);
    };
    assert_eq!(
        (again.event, &again.violation),
        (failure.event, &failure.violation)
    );
    assert_eq!(again.trace, failure.trace);
}

#[test]
fn calls_that_overtake_their_writes_are_found() {
    let explained = [
        "without a stored intent",
        "before the framework id is stored",
    ];
    assert_found(Sabotage::CallsBeforeWrites, &explained);
}

#[test]
fn a_lost_intent_is_found() {
    let explained = ["without a stored intent", "nothing of it is stored"];
    assert_found(Sabotage::DropIntent, &explained);
}

#[test]
fn an_early_acknowledgement_is_found() {
    let explained = ["it is not stored so", "still stored as live"];
    assert_found(Sabotage::AcknowledgeFirst, &explained);
}

#[test]
fn a_second_copy_is_found() {
    let explained = ["2 of them to stay", "is launched beside"];
    assert_found(Sabotage::LaunchTwice, &explained);
}

#[test]
fn a_kill_on_doubt_is_found() {
    assert_found(Sabotage::KillOnDoubt, &["killed though nobody decided it"]);
}

#[test]
fn hoarded_offers_are_found() {
    assert_found(Sabotage::HoardOffers, &["neither used nor declined"]);
}

#[test]
fn a_missed_wake_up_is_found() {
    assert_found(
        Sabotage::Oversleep,
        &["in the end", "neither used nor declined"],
    );
}

#[test]
fn a_lost_deletion_is_found() {
    assert_found(Sabotage::ForgetDeletion, &["still stored as live"]);
}
