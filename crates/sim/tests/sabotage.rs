//! The simulator finds what is done wrong on purpose: a test that it can fail.

use gantry_sim::{Sabotage, run};

/// Within so many worlds each fault must be found. Most are found in the first few.
const SEEDS: u64 = 1_000;

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
fn a_panic_is_found() {
    assert_found(Sabotage::Panic, &["it panics: on purpose"]);
}

// === kill -9 between any two effects: same desired state, no orphan, no second copy ===

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
fn a_lost_deletion_is_found() {
    let explained = ["still stored as live", "it is not stored so"];
    assert_found(Sabotage::ForgetDeletion, &explained);
}

#[test]
fn a_commit_out_of_order_is_found() {
    assert_found(Sabotage::CommitOutOfOrder, &["is stored, and"]);
}

#[test]
fn a_second_copy_is_found() {
    let explained = ["2 of them to stay", "is launched beside"];
    assert_found(Sabotage::LaunchTwice, &explained);
}

#[test]
fn a_count_that_is_forgotten_is_found() {
    let explained = [
        "which nobody asked for",
        "are wanted, and stored are",
        "(Retired) for no reason",
        "instances, and not",
        "is acknowledged, but it is not stored",
    ];
    assert_found(Sabotage::ForgetScale, &explained);
}

// === Master failover, agents slow to return: no kill, no relaunch before the time-out ===

#[test]
fn a_kill_on_doubt_is_found() {
    let explained = ["killed though nobody decided it", "killed as unknown"];
    assert_found(Sabotage::KillOnDoubt, &explained);
}

#[test]
fn an_early_replacement_of_an_unreachable_task_is_found() {
    let explained = ["is launched beside", "is given up after"];
    assert_found(Sabotage::RelaunchEarly, &explained);
}

#[test]
fn a_return_that_nobody_hears_of_is_found() {
    assert_found(Sabotage::IgnoreReturn, &["has taken back"]);
}

#[test]
fn a_doubt_that_is_not_shown_is_found() {
    assert_found(Sabotage::HideUnconfirmed, &["nobody has heard of it"]);
}

#[test]
fn a_new_leader_that_asks_nobody_is_found() {
    assert_found(Sabotage::NoReconciliation, &["are unconfirmed"]);
}

// === Agent lost and back with its tasks: one copy by rule, never a surprise kill ===

#[test]
fn a_kill_of_returning_tasks_is_found() {
    let explained = ["killed though nobody decided it", "killed as unknown"];
    assert_found(Sabotage::KillReturned, &explained);
}

#[test]
fn a_second_copy_that_stays_is_found() {
    // Or somebody has all copies killed, and is told that they are, or wants fewer instances.
    let explained = [
        "in the end",
        "is acknowledged, but it is not stored",
        "instances, and not",
    ];
    assert_found(Sabotage::KeepSurplus, &explained);
}

// === ZooKeeper expiry or partition: never two leaders acting, never a false 200 ===

#[test]
fn a_deposed_leader_that_can_write_is_found() {
    assert_found(Sabotage::NoEpochCheck, &["has begun"]);
}

#[test]
fn a_leader_that_does_not_look_at_its_lease_is_found() {
    assert_found(Sabotage::NoLeaseTest, &["has begun"]);
}

#[test]
fn a_lease_that_a_frozen_process_outlives_is_found() {
    assert_found(Sabotage::LeaseIgnoresFreeze, &["has begun"]);
}

#[test]
fn an_early_answer_is_found() {
    assert_found(Sabotage::AnswerFirst, &["but it is not stored"]);
}

#[test]
fn a_silent_new_framework_id_is_found() {
    let explained = ["the framework id was lost", "is replaced by"];
    assert_found(Sabotage::NewFrameworkId, &explained);
}

// === Lost ACCEPT, KILL, REVIVE ===

#[test]
fn a_launch_that_is_never_asked_about_is_found() {
    assert_found(Sabotage::NeverAskAgain, &["is known as"]);
}

#[test]
fn a_kill_that_is_not_repeated_is_found() {
    assert_found(
        Sabotage::KillOnce,
        &["still has", "is unknown and not killed"],
    );
}

#[test]
fn offers_that_are_never_revived_are_found() {
    assert_found(Sabotage::ForgetRevive, &["run, and not"]);
}

#[test]
fn a_missed_wake_up_is_found() {
    assert_found(
        Sabotage::Oversleep,
        &["in the end", "neither used nor declined"],
    );
}

// === Offers ===

#[test]
fn hoarded_offers_are_found() {
    assert_found(Sabotage::HoardOffers, &["neither used nor declined"]);
}

#[test]
fn a_rescinded_offer_that_is_used_is_found() {
    assert_found(Sabotage::IgnoreRescind, &["which is void"]);
}

#[test]
fn a_launch_into_maintenance_is_found() {
    assert_found(Sabotage::IgnoreMaintenance, &["is launched into"]);
}

#[test]
fn an_agent_that_is_never_used_again_is_found() {
    assert_found(Sabotage::EndlessMaintenance, &["tasks of"]);
}

// === Duplicate, late, reordered updates: a terminal state never reverts ===

#[test]
fn an_ended_task_that_is_stored_again_is_found() {
    let explained = ["after its end was acknowledged", "still stored as live"];
    assert_found(Sabotage::Revert, &explained);
}

#[test]
fn an_early_kill_of_unknown_tasks_is_found() {
    let explained = ["as unknown too early", "killed though nobody decided it"];
    assert_found(Sabotage::KillUnknownEarly, &explained);
}

// === Crash-looping task ===

#[test]
fn a_missing_back_off_is_found() {
    assert_found(Sabotage::NoBackOff, &["too early after"]);
}

#[test]
fn a_failure_that_counts_twice_is_found() {
    assert_found(Sabotage::FailTwice, &["has failed"]);
}

#[test]
fn a_back_off_without_an_end_is_found() {
    assert_found(Sabotage::NeverStable, &["after a stable run"]);
}

// === What cannot be read ===

#[test]
fn unreadable_records_that_are_ignored_are_found() {
    // Or a number is given again that a deployment has which could not be read.
    let explained = ["could not be read", "has ended, and is"];
    assert_found(Sabotage::IgnoreUnreadable, &explained);
}

// === Deployments ===

#[test]
fn an_update_beyond_its_limits_is_found() {
    let explained = ["are moved at once", "instances are ready and not"];
    assert_found(Sabotage::NoLimits, &explained);
}

#[test]
fn a_paused_deployment_that_goes_on_is_found() {
    assert_found(
        Sabotage::MoveWhilePaused,
        &["though no deployment is at work"],
    );
}

#[test]
fn a_deployment_that_never_ends_is_found() {
    assert_found(
        Sabotage::EndlessDeployments,
        &["a deployment is not over", "in the end"],
    );
}

#[test]
fn a_deployment_that_is_done_early_is_found() {
    let explained = ["is done and has left", "is done with"];
    assert_found(Sabotage::DoneEarly, &explained);
}

#[test]
fn a_deployment_that_fails_early_is_found() {
    assert_found(Sabotage::HastyDeployments, &["has failed after"]);
}

#[test]
fn an_update_that_begins_again_after_its_rollback_is_found() {
    let explained = ["which was rolled back", "(Restarted) for no reason"];
    assert_found(Sabotage::ForgetRollback, &explained);
}

// === Mass failure ===

#[test]
fn a_missing_brake_is_found() {
    assert_found(Sabotage::NoBrake, &["but the brake is off"]);
}

#[test]
fn a_brake_without_a_cause_is_found() {
    assert_found(Sabotage::EagerBrake, &["the brake goes on, though"]);
}

#[test]
fn a_stop_while_the_brake_is_on_is_found() {
    // Or it looks like a deployment that does not wait until enough are ready, or that is not there.
    let explained = [
        "though the brake is on",
        "instances are ready and not",
        "though no deployment is at work",
    ];
    assert_found(Sabotage::StopWhileBraked, &explained);
}

#[test]
fn a_launch_while_the_brake_is_on_is_found() {
    assert_found(Sabotage::LaunchWhileBraked, &["though the brake is on"]);
}

#[test]
fn a_brake_that_goes_off_early_is_found() {
    let explained = ["the brake went off by itself", "but the brake is off"];
    assert_found(Sabotage::HastyBrake, &explained);
}
