//! One record that cannot be read costs no task its life, and makes no second copy of one.

use std::time::Duration;

use gantry_core::*;

use crate::{
    bench::*,
    updates::{changed, move_one, policy, update},
};

fn name() -> WorkloadName {
    WorkloadName::new("web")
}

fn workload_key() -> Key {
    Key::Workload(name())
}

#[test]
fn without_its_workload_every_task_stays_and_nothing_is_written_over_it() {
    let mut bench = Bench::new(vec![service("web", 3)]);
    bench.scale("web", 10).unwrap();
    let tasks = bench.run_all();
    assert_eq!(tasks.len(), 10);
    // One of them is being started anew.
    bench.tell(&tasks["web-4"], TaskState::Failed);
    bench.spoil(&workload_key());
    for _ in 0..2 {
        bench.restart();
        bench.subscribe();
        assert_eq!(bench.workload("web").desired, 10);
        assert_eq!(bench.reconciled().len(), 9);
        for (instance, task) in &tasks {
            if instance != "web-4" {
                bench.answered(task, TaskState::Running);
            }
        }
        bench.advance(Duration::from_secs(60));
        let (launched, killed) = bench.all_sent();
        assert_eq!((launched.len(), killed.len()), (0, 0));
        assert!(!bench.store.contains_key(&workload_key()));
        assert_eq!(bench.scheduler.view().unreadable.len(), 1);
    }
    // An operator knows how many there should be.
    bench.scale("web", 10).unwrap();
    assert!(bench.store.contains_key(&workload_key()));
    assert!(bench.scheduler.view().unreadable.is_empty());
    bench.scale("web", 2).unwrap();
    assert_eq!(bench.all_sent().1.len(), 7);
}

#[test]
fn a_changed_declaration_still_moves_what_runs_without_its_workload() {
    let mut bench = Bench::new(vec![service("web", 1)]);
    let task = bench.run_all().remove("web-1").unwrap();
    bench.spoil(&workload_key());
    bench.services[0].template.command = TaskCommand::Shell("sleep 2".into());
    bench.restart();
    bench.subscribe();
    bench.answered(&task, TaskState::Running);
    let view = bench.scheduler.view();
    assert!(
        matches!(
            view.deployments[..],
            [ref one] if matches!(one.kind, DeploymentKind::Update { from: 1, to: 2, .. })
        ),
        "{:?}",
        view.deployments
    );
}

#[test]
fn a_backup_without_the_workload_keeps_what_runs() {
    let mut bench = Bench::new(vec![service("web", 1)]);
    bench.scale("web", 3).unwrap();
    let tasks = bench.run_all();
    bench.store.remove(&workload_key());
    bench.restart();
    bench.subscribe();
    assert_eq!(bench.reconciled().len(), tasks.len());
    bench.suppressed();
    bench.nothing_else();
    assert_eq!(bench.workload("web").desired, 3);
    assert!(bench.store.contains_key(&workload_key()));
}

#[test]
fn an_instance_whose_task_cannot_be_read_is_not_filled_again_before_mesos_has_answered() {
    let mut settings = Settings::new(FRAMEWORK);
    settings.kill_unknown = Some(Duration::from_secs(1));
    let mut bench = Bench::with_settings(vec![service("web", 2)], settings);
    bench.subscribe();
    let tasks = bench.run_all();
    let (task, other) = (&tasks["web-1"], &tasks["web-2"]);
    bench.spoil(&Key::Task(task.clone()));
    bench.restart();
    bench.subscribe();
    assert_eq!(bench.reconciled(), [task.clone(), other.clone()]);
    bench.suppressed();
    bench.answered(other, TaskState::Running);
    let host = agent("b", &[]);
    for _ in 0..5 {
        bench.offer(&[&host], 4.0);
        bench.advance(Duration::from_secs(60));
    }
    let (launched, killed) = bench.all_sent();
    assert_eq!((launched.len(), killed.len()), (0, 0));
    assert!(!bench.store.contains_key(&Key::Task(task.clone())));
    // Now it is known where it is, and written down.
    bench.answered(task, TaskState::Running);
    let instance = bench.instance("web", 1);
    assert_eq!(instance.tasks[0].state, TaskState::Running);
    assert_eq!(instance.tasks[0].agent.hostname, "big");
    let Some(Record::Task(record)) = bench.store.get(&Key::Task(task.clone())) else {
        panic!("it is not written down");
    };
    assert_eq!((record.revision, record.state), (1, TaskState::Running));
    assert!(bench.scheduler.view().unreadable.is_empty());
}

#[test]
fn an_instance_whose_unreadable_task_is_gone_is_filled_again() {
    let mut bench = Bench::new(vec![service("web", 1)]);
    let task = bench.run_all().remove("web-1").unwrap();
    bench.spoil(&Key::Task(task.clone()));
    bench.restart();
    bench.subscribe();
    bench.advance(Duration::from_secs(4));
    bench.forget_calls();
    bench.answered(&task, TaskState::Gone);
    assert!(bench.scheduler.view().unreadable.is_empty());
    bench.revived();
    bench.offer(&[&agent("b", &[])], 4.0);
    assert_eq!(bench.accepted().len(), 1);
}

#[test]
fn a_brake_that_cannot_be_read_is_on_until_it_is_released() {
    let mut bench = Bench::new(vec![service("web", 20)]);
    let tasks = bench.run_all();
    for task in tasks.values().take(15) {
        bench.tell(task, TaskState::Lost);
    }
    bench.spoil(&Key::Brake);
    bench.restart();
    bench.subscribe();
    assert!(bench.scheduler.view().brake.is_some());
    bench.offer(&[&agent("b", &[])], 100.0);
    assert!(bench.all_sent().0.is_empty());
    bench.command(Command::ReleaseBrake).unwrap();
    assert!(bench.scheduler.view().unreadable.is_empty());
    assert!(bench.scheduler.view().brake.is_none());
}

#[test]
fn without_its_revision_nothing_is_moved_until_the_declaration_changes() {
    let mut bench = Bench::new(vec![service("web", 1)]);
    let task = bench.run_all().remove("web-1").unwrap();
    bench.spoil(&Key::Revision(name(), 1));
    bench.restart();
    bench.subscribe();
    bench.answered(&task, TaskState::Running);
    let workload = bench.workload("web");
    assert_eq!(workload.revision, 2);
    assert_eq!(bench.instance("web", 1).tasks[0].revision, 1);
    assert!(bench.scheduler.view().deployments.is_empty());
    bench.services[0].template.command = TaskCommand::Shell("sleep 2".into());
    bench.restart();
    assert_eq!(bench.workload("web").revision, 3);
    assert_eq!(bench.scheduler.view().deployments.len(), 1);
    assert_eq!(bench.unreadable.len(), 1);
}

#[test]
fn numbers_of_deployments_are_not_used_again_and_ended_sessions_stay_ended() {
    let mut bench = Bench::new(vec![service("web", 1)]);
    bench.run_all();
    let workload = Some(name());
    bench.command(Command::RollingRestart { workload }).unwrap();
    bench.command(Command::EndSessions { user: None }).unwrap();
    let ended = bench.now;
    bench.spoil(&Key::Deployment(DeploymentId(1)));
    bench.spoil(&Key::Access);
    bench.advance(Duration::from_secs(1));
    bench.restart();
    assert!(bench.scheduler.view().access.has_ended("somebody", ended));
    assert!(bench.store.contains_key(&Key::Access));
    let workload = Some(name());
    let answer = bench.command(Command::RollingRestart { workload });
    assert_eq!(answer, Ok(Answer::Deployment(DeploymentId(2))));
}

#[test]
fn what_was_rolled_back_is_not_tried_again_because_its_update_cannot_be_read() {
    let (mut bench, _) = changed(1, policy());
    move_one(&mut bench);
    bench.advance(Duration::from_secs(60));
    bench.services[0].template.command = TaskCommand::Shell("sleep 3000".into());
    bench.restart();
    bench.subscribe();
    let rolled_back = update(&bench).id;
    assert_eq!(rolled_back, DeploymentId(2));
    bench
        .command(Command::RollbackDeployment(rolled_back))
        .unwrap();
    bench.advance(Duration::from_secs(60));
    let status = update(&bench).status;
    assert!(
        matches!(status, DeploymentStatus::RolledBack { .. }),
        "{status:?}"
    );
    bench.spoil(&Key::Deployment(rolled_back));
    bench.restart();
    bench.subscribe();
    assert_eq!(bench.workload("web").revision, 2);
    assert_eq!(update(&bench).id, DeploymentId(1));
}
