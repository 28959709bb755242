//! Rolling restarts.

use std::time::Duration;

use gantry_core::*;

use crate::bench::*;

fn status(bench: &Bench, id: DeploymentId) -> Deployment {
    let view = bench.scheduler.view();
    Deployment::clone(
        view.deployments
            .iter()
            .find(|deployment| deployment.id == id)
            .unwrap(),
    )
}

fn rolling(bench: &mut Bench) -> DeploymentId {
    match bench.command(Command::RollingRestart { workload: None }) {
        Ok(Answer::Deployment(id)) => id,
        other => panic!("{other:?}"),
    }
}

/// Finishes the replacement under way: offers room, runs the new task, ends the old one.
fn move_one(bench: &mut Bench) -> (TaskId, TaskId) {
    let host = agent("b", &[]);
    bench.offer(&[&host], 1.0);
    let launch = bench.accepted().remove(0);
    bench.suppressed();
    bench.tell(&launch.task, TaskState::Running);
    let old = bench.killed();
    bench.nothing_else();
    bench.now = bench.now + Duration::from_secs(2);
    bench.tell(&old, TaskState::Killed);
    (old, launch.task)
}

#[test]
fn instances_are_replaced_one_at_a_time_the_youngest_first() {
    let mut bench = Bench::new(vec![service("web", 3)]);
    let tasks = bench.run_all();
    bench.advance(Duration::from_secs(5));
    let id = rolling(&mut bench);
    for instance in ["web-3", "web-2", "web-1"] {
        bench.revived();
        bench.nothing_else();
        let (old, _) = move_one(&mut bench);
        assert_eq!(old, tasks[instance]);
    }
    bench.nothing_else();
    let deployment = status(&bench, id);
    assert_eq!((deployment.total, deployment.done), (3, 3));
    assert!(matches!(deployment.status, DeploymentStatus::Done { .. }));
}

#[test]
fn a_second_rolling_restart_of_the_same_tasks_is_refused() {
    let mut bench = Bench::new(vec![service("web", 1)]);
    bench.run_all();
    bench.advance(Duration::from_secs(5));
    let id = rolling(&mut bench);
    let again = bench.command(Command::RollingRestart {
        workload: Some(WorkloadName::new("web")),
    });
    assert_eq!(again, Err(Refusal::DeploymentRunning(id)));
}

#[test]
fn it_goes_on_after_a_crash_of_the_scheduler() {
    let mut bench = Bench::new(vec![service("web", 2)]);
    let tasks = bench.run_all();
    bench.advance(Duration::from_secs(5));
    let id = rolling(&mut bench);
    bench.revived();
    let (_, fresh) = move_one(&mut bench);
    bench.restart();
    bench.subscribe();
    bench.reconciled();
    bench.nothing_else();
    bench.tell(&fresh, TaskState::Running);
    bench.tell(&tasks["web-1"], TaskState::Running);
    let (old, _) = move_one(&mut bench);
    assert_eq!(old, tasks["web-1"]);
    assert!(matches!(
        status(&bench, id).status,
        DeploymentStatus::Done { .. }
    ));
}

#[test]
fn what_a_restart_has_begun_before_is_moved_too() {
    let mut bench = Bench::new(vec![service("web", 1)]);
    let first = bench.run_all().remove("web-1").unwrap();
    bench
        .command(Command::Restart {
            task: first.clone(),
        })
        .unwrap();
    bench.revived();
    let host = agent("b", &[]);
    bench.offer(&[&host], 1.0);
    let second = bench.accepted().remove(0).task;
    bench.suppressed();
    bench.advance(Duration::from_secs(1));
    let id = rolling(&mut bench);
    bench.nothing_else();
    bench.tell(&second, TaskState::Running);
    assert_eq!(bench.killed(), first);
    bench.tell(&first, TaskState::Killed);
    bench.revived();
    // It is older than the rolling restart.
    let (old, _) = move_one(&mut bench);
    assert_eq!(old, second);
    assert!(matches!(
        status(&bench, id).status,
        DeploymentStatus::Done { .. }
    ));
}

#[test]
fn it_fails_when_a_replacement_does_not_become_ready() {
    let mut bench = Bench::new(vec![service("web", 2)]);
    bench.run_all();
    bench.advance(Duration::from_secs(5));
    let id = rolling(&mut bench);
    bench.revived();
    bench.advance(Duration::from_secs(400));
    let DeploymentStatus::Failed { reason, .. } = status(&bench, id).status else {
        panic!("not failed")
    };
    assert!(reason.contains("web-2"), "{reason}");
    assert_eq!(bench.workload("web").counts.running, 2);
}

#[test]
fn it_can_be_paused_resumed_and_aborted() {
    let mut bench = Bench::new(vec![service("web", 3)]);
    bench.run_all();
    bench.advance(Duration::from_secs(5));
    let id = rolling(&mut bench);
    bench.revived();
    bench.command(Command::PauseDeployment(id)).unwrap();
    let nothing_moves = |bench: &mut Bench| {
        bench.suppressed();
        bench.nothing_else();
        let web = bench.workload("web");
        assert!(web.tasks().all(|(_, task)| task.goal == Goal::Run));
    };
    nothing_moves(&mut bench);
    let refused = bench.command(Command::PauseDeployment(id));
    assert_eq!(
        refused,
        Err(Refusal::DeploymentState {
            id,
            status: "paused",
            wanted: "paused"
        })
    );
    bench.command(Command::ResumeDeployment(id)).unwrap();
    bench.revived();
    bench.command(Command::AbortDeployment(id)).unwrap();
    nothing_moves(&mut bench);
    assert!(matches!(
        status(&bench, id).status,
        DeploymentStatus::Aborted { .. }
    ));
    let unknown = bench.command(Command::AbortDeployment(DeploymentId(99)));
    assert_eq!(unknown, Err(Refusal::UnknownDeployment(DeploymentId(99))));
}

#[test]
fn what_an_aborted_one_had_begun_counts_toward_the_limits_of_the_next() {
    let mut web = service("web", 3);
    web.update.order = UpdateOrder::StopFirst;
    let mut bench = Bench::new(vec![web]);
    let tasks = bench.run_all();
    bench.advance(Duration::from_secs(5));
    let moving = |bench: &Bench| -> Vec<u32> {
        bench
            .workload("web")
            .tasks()
            .filter(|(_, task)| task.goal != Goal::Run)
            .map(|(number, _)| number)
            .collect()
    };
    let first = rolling(&mut bench);
    assert_eq!(moving(&bench), [3]);
    bench.command(Command::AbortDeployment(first)).unwrap();
    // Another instance gets the youngest task of all.
    bench.tell(&tasks["web-1"], TaskState::Failed);
    bench.advance(Duration::from_secs(2));
    bench.forget_calls();
    let host = agent("b", &[]);
    bench.offer(&[&host], 2.0);
    let launched = bench.launched().remove(0);
    assert_eq!(&*launched.instance, "web-1");
    bench.tell(&launched.task, TaskState::Running);
    bench.advance(Duration::from_secs(10));
    rolling(&mut bench);
    assert_eq!(moving(&bench), [3], "the old task has not ended");
    bench.tell(&tasks["web-3"], TaskState::Killed);
    assert!(moving(&bench).is_empty(), "the new one does not run");
}

#[test]
fn a_task_that_can_be_reached_is_moved_before_its_unreachable_predecessor() {
    let mut bench = Bench::new(vec![service("web", 1)]);
    let lost = bench.run_all().remove("web-1").unwrap();
    bench.tell(&lost, TaskState::Unreachable);
    bench.advance(Duration::from_secs(61));
    bench.forget_calls();
    let host = agent("b", &[]);
    bench.offer(&[&host], 1.0);
    let running = bench.launched().remove(0).task;
    bench.tell(&running, TaskState::Starting);
    // A new leader does not know yet that the first was given up.
    bench.restart();
    bench.subscribe();
    bench.tell(&lost, TaskState::Unreachable);
    bench.tell(&running, TaskState::Starting);
    bench.advance(Duration::from_secs(1));
    let id = rolling(&mut bench);
    bench.advance(Duration::from_secs(1));
    assert_eq!(status(&bench, id).status, DeploymentStatus::Running);
    let view = bench.workload("web");
    let moved = view
        .tasks()
        .filter(|(_, task)| task.goal != Goal::Run)
        .map(|(number, task)| view.task_id(FRAMEWORK, number, task));
    assert_eq!(moved.collect::<Vec<_>>(), [running]);
}

#[test]
fn a_move_that_has_begun_counts_beside_a_predecessor_that_ended_unheard() {
    let mut bench = Bench::new(vec![service("web", 2)]);
    let mut tasks = bench.run_all();
    let lost = tasks.remove("web-2").unwrap();
    bench.tell(&lost, TaskState::Unreachable);
    bench.advance(Duration::from_secs(61));
    bench.forget_calls();
    let host = agent("b", &[]);
    bench.offer(&[&host], 1.0);
    let running = bench.launched().remove(0).task;
    bench.tell(&running, TaskState::Running);
    // The other instance has the younger task, and would be next.
    bench.tell(&tasks["web-1"], TaskState::Failed);
    bench.advance(Duration::from_secs(2));
    bench.offer(&[&host], 1.0);
    bench.forget_calls();
    let young = bench.instance("web", 1).tasks[0].clone();
    let young = bench.workload("web").task_id(FRAMEWORK, 1, &young);
    bench
        .command(Command::Restart {
            task: running.clone(),
        })
        .unwrap();
    bench.advance(Duration::from_secs(1));
    rolling(&mut bench);
    bench.restart();
    bench.subscribe();
    bench.tell(&young, TaskState::Running);
    bench.tell(&lost, TaskState::Gone);
    bench.tell(&running, TaskState::Running);
    bench.advance(Duration::from_secs(1));
    let view = bench.workload("web");
    let moved: Vec<_> = view
        .tasks()
        .filter(|(_, task)| task.goal != Goal::Run)
        .map(|(number, task)| view.task_id(FRAMEWORK, number, task))
        .collect();
    assert_eq!(moved, [running]);
}

#[test]
fn a_move_is_not_over_because_a_lost_predecessor_is_back() {
    let mut web = service("web", 2);
    web.update.order = UpdateOrder::StopFirst;
    let mut bench = Bench::new(vec![web]);
    let lost = bench.run_all().remove("web-2").unwrap();
    bench.tell(&lost, TaskState::Unreachable);
    bench.advance(Duration::from_secs(61));
    bench.forget_calls();
    let host = agent("b", &[]);
    bench.offer(&[&host], 1.0);
    let running = bench.launched().remove(0).task;
    bench.tell(&running, TaskState::Running);
    bench.advance(Duration::from_secs(1));
    rolling(&mut bench);
    bench.tell(&lost, TaskState::Running);
    bench.advance(Duration::from_secs(1));
    let web = bench.workload("web");
    let moved: Vec<_> = web
        .tasks()
        .filter(|(_, task)| task.goal != Goal::Run)
        .map(|(number, _)| number)
        .collect();
    assert_eq!(moved, [2]);
}
