//! Deployments and agents that were away for long: what comes back is moved like the rest, and
//! nothing is held against the deployment.

use std::{collections::BTreeMap, time::Duration};

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

const PATIENCE: Duration = Duration::from_secs(900);

/// An update of `web` that stops first, where patience with agents is longer than with a move.
fn patient(instances: u32) -> (Bench, BTreeMap<String, TaskId>) {
    let mut web = service("web", instances);
    web.update = UpdatePolicy {
        order: UpdateOrder::StopFirst,
        ..policy()
    };
    assert!(web.update.deadline < PATIENCE);
    let mut settings = Settings::new(FRAMEWORK);
    settings.unreachable_after = PATIENCE;
    let mut bench = Bench::with_settings(vec![web], settings);
    bench.subscribe();
    let tasks = bench.run_all();
    bench.services[0].template.command = TaskCommand::Shell("sleep 2000".into());
    bench.restart();
    bench.subscribe();
    (bench, tasks)
}

/// Ends the move that waits for room, and takes the stop of the next instance, if there is one.
fn replace(bench: &mut Bench) {
    let fresh = launch(bench);
    bench.tell(&fresh, TaskState::Running);
    bench.advance(MONITOR);
}

fn is_done(bench: &Bench) {
    let status = update(bench).status;
    assert!(
        matches!(status, DeploymentStatus::Done { .. }),
        "{status:?}"
    );
    assert!(revisions(bench).contains(&2));
}

#[test]
fn a_move_waits_for_a_task_that_can_neither_be_stopped_nor_given_up() {
    let (mut bench, tasks) = patient(2);
    let (one, two) = (&tasks["web-1"], &tasks["web-2"]);
    bench.answered(one, TaskState::Unreachable);
    bench.answered(two, TaskState::Running);
    bench.advance(PATIENCE - Duration::from_secs(1));
    assert_eq!(update(&bench).status, DeploymentStatus::Running);
    assert_eq!(launch_all(&mut bench, 2), []);
    bench.advance(Duration::from_secs(1));
    // From here on the new task has its whole time.
    bench.advance(Duration::from_secs(590));
    replace(&mut bench);
    assert_eq!(bench.all_sent().1, std::slice::from_ref(two));
    bench.tell(two, TaskState::Killed);
    replace(&mut bench);
    is_done(&bench);
}

#[test]
fn a_move_waits_for_a_task_whose_agent_went_away_before_it_ended() {
    let (mut bench, tasks) = patient(1);
    let one = &tasks["web-1"];
    bench.answered(one, TaskState::Running);
    bench.advance(Duration::from_secs(6));
    assert_eq!(bench.all_sent().1, std::slice::from_ref(one));
    bench.tell(one, TaskState::Unreachable);
    bench.advance(PATIENCE - Duration::from_secs(10));
    assert_eq!(update(&bench).status, DeploymentStatus::Running);
    // It is back, and is stopped after all.
    bench.forget_calls();
    bench.tell(one, TaskState::Running);
    assert_eq!(bench.killed(), *one);
    bench.tell(one, TaskState::Killed);
    replace(&mut bench);
    is_done(&bench);
}

#[test]
fn an_update_waits_for_agents_when_too_few_instances_are_ready() {
    let (mut bench, tasks) = patient(2);
    for task in tasks.values() {
        bench.answered(task, TaskState::Running);
    }
    bench.advance(Duration::from_secs(6));
    let (_, killed) = bench.all_sent();
    bench.tell(&killed[0], TaskState::Killed);
    let fresh = launch(&mut bench);
    bench.tell(&fresh, TaskState::Running);
    // What was moved is out of reach before the next one can be.
    bench.tell(&fresh, TaskState::Unreachable);
    bench.advance(PATIENCE - Duration::from_secs(10));
    assert_eq!(update(&bench).status, DeploymentStatus::Running);
    bench.forget_calls();
    bench.tell(&fresh, TaskState::Running);
    bench.advance(MONITOR);
    let (_, killed) = bench.all_sent();
    assert_eq!(killed.len(), 1);
    bench.tell(&killed[0], TaskState::Killed);
    replace(&mut bench);
    is_done(&bench);
}
