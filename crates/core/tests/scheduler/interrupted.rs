//! Deployments between subscriptions, and while Mesos has not answered: what nobody could do in time
//! is held against nobody, and there is an end to everything.

use std::time::Duration;

use gantry_core::*;

use crate::{bench::*, updates::*};

fn limited(seconds: u64) -> UpdatePolicy {
    UpdatePolicy {
        deadline: Duration::from_secs(seconds),
        ..policy()
    }
}

fn away(bench: &mut Bench, seconds: u64) {
    bench.event(MesosEvent::Disconnected);
    bench.advance(Duration::from_secs(seconds));
    bench.subscribe();
    bench.forget_calls();
}

#[test]
fn a_deadline_that_passed_while_nobody_listened_stops_no_new_task() {
    let (mut bench, tasks) = changed(1, limited(100));
    let fresh = launch(&mut bench);
    bench.tell(&fresh, TaskState::Starting);
    away(&mut bench, 200);
    bench.tell(&tasks["web-1"], TaskState::Running);
    bench.nothing_else();
    bench.tell(&fresh, TaskState::Running);
    bench.nothing_else();
    bench.advance(Duration::from_secs(6));
    let (_, killed) = bench.all_sent();
    assert_eq!(killed, [tasks["web-1"].clone()]);
    bench.tell(&tasks["web-1"], TaskState::Killed);
    let status = update(&bench).status;
    assert!(
        matches!(status, DeploymentStatus::Done { .. }),
        "{status:?}"
    );
}

#[test]
fn a_deadline_that_passed_meanwhile_ends_the_move_all_the_same() {
    let (mut bench, tasks) = changed(1, limited(100));
    let fresh = launch(&mut bench);
    bench.tell(&fresh, TaskState::Starting);
    away(&mut bench, 200);
    bench.tell(&tasks["web-1"], TaskState::Running);
    bench.tell(&fresh, TaskState::Starting);
    bench.advance(Duration::from_secs(64));
    assert!(bench.all_sent().1.is_empty());
    bench.advance(Duration::from_secs(1));
    assert_eq!(bench.all_sent().1, [fresh]);
    let status = update(&bench).status;
    assert!(!matches!(status, DeploymentStatus::Running), "{status:?}");
}

#[test]
fn no_update_ends_because_mesos_has_yet_to_answer() {
    let (mut bench, tasks) = changed(3, limited(100));
    bench.restart();
    bench.subscribe();
    let move_next = |bench: &mut Bench, old: &TaskId| {
        let fresh = launch(bench);
        bench.tell(&fresh, TaskState::Running);
        bench.advance(MONITOR);
        assert_eq!(bench.all_sent().1, std::slice::from_ref(old));
        bench.tell(old, TaskState::Killed);
    };
    for there in ["web-3", "web-2"] {
        bench.tell(&tasks[there], TaskState::Running);
    }
    move_next(&mut bench, &tasks["web-3"]);
    bench.advance(Duration::from_secs(600));
    assert_eq!(update(&bench).status, DeploymentStatus::Running);
    bench.tell(&tasks["web-1"], TaskState::Running);
    for left in ["web-2", "web-1"] {
        move_next(&mut bench, &tasks[left]);
    }
    let status = update(&bench).status;
    assert!(
        matches!(status, DeploymentStatus::Done { .. }),
        "{status:?}"
    );
}

#[test]
fn an_update_is_not_done_before_what_was_lost_runs_the_new_revision() {
    let (mut bench, tasks) = changed(2, policy());
    let fresh = launch(&mut bench);
    bench.tell(&fresh, TaskState::Running);
    bench.tell(&tasks["web-1"], TaskState::GoneByOperator);
    bench.advance(MONITOR);
    bench.forget_calls();
    bench.tell(&tasks["web-2"], TaskState::Killed);
    assert_eq!(update(&bench).status, DeploymentStatus::Running);
    let fresh = launch(&mut bench);
    bench.tell(&fresh, TaskState::Running);
    assert_eq!(update(&bench).status, DeploymentStatus::Running);
    bench.advance(MONITOR);
    let status = update(&bench).status;
    assert!(
        matches!(status, DeploymentStatus::Done { .. }),
        "{status:?}"
    );
}

#[test]
fn an_instance_that_had_no_place_before_holds_no_update_up() {
    let mut web = service("web", 2);
    web.update = policy();
    let mut bench = Bench::new(vec![web]);
    let mut tasks = bench.run_all();
    bench.tell(&tasks.remove("web-2").unwrap(), TaskState::GoneByOperator);
    bench.advance(Duration::from_secs(60));
    bench.services[0].template.command = TaskCommand::Shell("sleep 2000".into());
    come_back(&mut bench, &tasks);
    let fresh = launch(&mut bench);
    bench.tell(&fresh, TaskState::Running);
    bench.advance(MONITOR);
    bench.tell(&tasks["web-1"], TaskState::Killed);
    let status = update(&bench).status;
    assert!(
        matches!(status, DeploymentStatus::Done { .. }),
        "{status:?}"
    );
    assert_eq!(bench.workload("web").counts.running, 1);
}

#[test]
fn there_is_an_end_to_interruptions() {
    let (mut bench, tasks) = changed(1, limited(100));
    for _ in 0..30 {
        away(&mut bench, 20);
        bench.tell(&tasks["web-1"], TaskState::Running);
        bench.advance(Duration::from_secs(20));
    }
    let DeploymentStatus::RolledBack { reason, .. } = update(&bench).status else {
        panic!("{:?}", update(&bench));
    };
    assert_eq!(
        reason.as_deref(),
        Some("interrupted 20 times without moving an instance")
    );
}

#[test]
fn many_short_interruptions_do_not_end_what_takes_its_time() {
    let (mut bench, tasks) = changed(
        1,
        UpdatePolicy {
            monitor: Duration::from_secs(300),
            ..limited(400)
        },
    );
    let fresh = launch(&mut bench);
    bench.tell(&fresh, TaskState::Running);
    for _ in 0..40 {
        away(&mut bench, 2);
        bench.tell(&tasks["web-1"], TaskState::Running);
        bench.tell(&fresh, TaskState::Running);
        bench.advance(Duration::from_secs(5));
    }
    assert_eq!(update(&bench).status, DeploymentStatus::Running);
    bench.advance(Duration::from_secs(20));
    bench.tell(&tasks["web-1"], TaskState::Killed);
    let status = update(&bench).status;
    assert!(
        matches!(status, DeploymentStatus::Done { .. }),
        "{status:?}"
    );
}

#[test]
fn the_platforms_failures_do_not_count_against_an_update() {
    let (mut bench, _) = changed(1, policy());
    for _ in 0..5 {
        bench.advance(Duration::from_secs(60));
        let fresh = launch(&mut bench);
        let mut failed = bench.update(&fresh, TaskState::Failed);
        failed.reason = Some("REASON_EXECUTOR_REGISTRATION_TIMEOUT".into());
        bench.tell_update(failed);
    }
    assert_eq!(update(&bench).status, DeploymentStatus::Running);
    assert!(bench.instance("web", 1).not_before > Some(bench.now));
}

#[test]
fn an_update_ends_though_its_tasks_come_and_go() {
    let (mut bench, _) = changed(2, policy());
    for _ in 0..4 {
        let fresh = launch_all(&mut bench, 2);
        for task in &fresh {
            bench.tell(task, TaskState::Running);
        }
        bench.advance(MONITOR);
        let (_, killed) = bench.all_sent();
        for old in &killed {
            bench.tell(old, TaskState::Killed);
        }
        // What was moved is lost again, for no fault of its own.
        for task in &fresh {
            bench.tell(task, TaskState::GoneByOperator);
        }
    }
    let status = update(&bench).status;
    assert!(
        matches!(status, DeploymentStatus::Done { .. }),
        "{status:?}"
    );
}
