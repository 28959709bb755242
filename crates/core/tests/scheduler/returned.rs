//! Deployments and agents that were away for long: what comes back is moved like the rest, and
//! nothing is held against the deployment.

use std::time::Duration;

use gantry_core::*;

use crate::{bench::*, updates::*};

#[test]
fn a_task_that_was_given_up_and_is_back_is_moved_after_all() {
    let (mut bench, tasks) = changed(2, policy());
    let (one, two) = (&tasks["web-1"], &tasks["web-2"]);
    bench.tell(one, TaskState::Unreachable);
    bench.advance(Duration::from_secs(60));
    let fresh = launch_all(&mut bench, 2);
    let of_instance = |number: u32| {
        let fresh = fresh.iter();
        let mut own = fresh.filter(|task| task.parts(FRAMEWORK).unwrap().number == number);
        own.next().expect("it is launched").clone()
    };
    let (instead_of_one, instead_of_two) = (of_instance(1), of_instance(2));
    bench.tell(&instead_of_one, TaskState::Starting);
    bench.tell(&instead_of_two, TaskState::Running);
    bench.advance(MONITOR);
    assert_eq!(bench.killed(), *two);
    bench.tell(two, TaskState::Killed);
    assert_eq!(update(&bench).status, DeploymentStatus::Running);

    // The agent is back while the update waits for what was launched instead.
    bench.tell(one, TaskState::Running);
    assert_eq!(bench.killed(), instead_of_one, "one copy by rule");
    bench.tell(&instead_of_one, TaskState::Killed);
    assert_eq!(update(&bench).status, DeploymentStatus::Running);
    bench.forget_calls();
    assert_eq!(move_one(&mut bench), *one);
    let status = update(&bench).status;
    assert!(
        matches!(status, DeploymentStatus::Done { .. }),
        "{status:?}"
    );
    assert_eq!(revisions(&bench), [2, 2]);
}

#[test]
fn a_task_that_was_lost_while_it_was_moved_and_is_back_is_moved_again() {
    let (mut bench, tasks) = changed(1, policy());
    let old = &tasks["web-1"];
    let fresh = launch(&mut bench);
    bench.tell(&fresh, TaskState::Starting);
    bench.tell(old, TaskState::Lost);
    bench.tell(old, TaskState::Running);
    let (_, killed) = bench.all_sent();
    assert_eq!(killed, std::slice::from_ref(&fresh), "one copy by rule");
    assert_eq!(update(&bench).status, DeploymentStatus::Running);
    bench.tell(&fresh, TaskState::Killed);
    bench.advance(Duration::from_secs(10)); // A loss without a reason has a back-off.
    bench.forget_calls();
    assert_eq!(move_one(&mut bench), *old);
    let status = update(&bench).status;
    assert!(
        matches!(status, DeploymentStatus::Done { .. }),
        "{status:?}"
    );
}
