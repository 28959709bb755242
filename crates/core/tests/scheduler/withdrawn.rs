//! Updates that are not gone through with: withdrawn by another declaration, held, ended or taken
//! back by operators.

use std::{collections::BTreeMap, time::Duration};

use gantry_core::*;

use crate::{bench::*, updates::*};

fn declare(bench: &mut Bench, command: &str) {
    bench.services[0].template.command = TaskCommand::Shell(command.into());
}

/// The tasks of `web` by instance.
fn tasks(bench: &Bench) -> BTreeMap<String, TaskId> {
    let web = bench.workload("web");
    let named = |(number, task): (u32, &Task)| {
        let id = web.task_id(FRAMEWORK, number, task);
        (format!("web-{number}"), id)
    };
    web.tasks().map(named).collect()
}

#[test]
fn a_withdrawn_revision_is_launched_no_more() {
    let (mut bench, tasks) = changed(1, policy());
    assert_eq!(bench.workload("web").revision, 2);
    declare(&mut bench, "sleep 1000");
    come_back(&mut bench, &tasks);
    assert!(matches!(
        update(&bench).status,
        DeploymentStatus::Aborted { .. }
    ));
    assert_eq!(bench.workload("web").revision, 1);
    // Nor by the next one who finds it so.
    come_back(&mut bench, &tasks);
    bench.tell(&tasks["web-1"], TaskState::Failed);
    bench.advance(Duration::from_secs(2));
    launch(&mut bench);
    assert_eq!(revisions(&bench), [1]);
}

#[test]
fn a_store_in_which_a_withdrawn_revision_is_launched_is_mended() {
    let (mut bench, tasks) = changed(1, policy());
    // As it was written by one that did not go back.
    let key = Key::Workload(WorkloadName::new("web"));
    let Some(Record::Workload(web)) = bench.store.get_mut(&key) else {
        panic!("not stored");
    };
    (web.revision, web.declared_revision) = (2, 1);
    let key = Key::Deployment(DeploymentId(1));
    let Some(Record::Deployment(deployment)) = bench.store.get_mut(&key) else {
        panic!("not stored");
    };
    deployment.status = DeploymentStatus::Aborted {
        at: bench.now,
        reason: None,
    };
    declare(&mut bench, "sleep 1000");
    come_back(&mut bench, &tasks);
    assert_eq!(bench.workload("web").revision, 1);
}

#[test]
fn going_back_half_way_can_be_rolled_back_itself() {
    let (mut bench, _) = changed(2, policy());
    move_one(&mut bench);
    declare(&mut bench, "sleep 1000");
    let there = tasks(&bench);
    come_back(&mut bench, &there);
    assert_eq!(
        update(&bench).kind,
        DeploymentKind::Update {
            workload: WorkloadName::new("web"),
            from: 2,
            to: 1
        }
    );
    let id = update(&bench).id;
    bench.command(Command::RollbackDeployment(id)).unwrap();
    assert_eq!(bench.workload("web").revision, 2);
}

#[test]
fn aborting_what_is_held_or_rolled_back_launches_nothing_new() {
    for roll_back in [false, true] {
        let (mut bench, _) = changed(2, policy());
        move_one(&mut bench);
        let id = update(&bench).id;
        let hold = if roll_back {
            Command::RollbackDeployment(id)
        } else {
            Command::PauseDeployment(id)
        };
        bench.command(hold).unwrap();
        bench.command(Command::AbortDeployment(id)).unwrap();
        assert_eq!(bench.workload("web").revision, 1);
        let there = tasks(&bench);
        come_back(&mut bench, &there);
        assert_eq!(bench.workload("web").revision, 1);
    }
    let (mut bench, _) = changed(2, policy());
    bench
        .command(Command::AbortDeployment(DeploymentId(1)))
        .unwrap();
    assert_eq!(bench.workload("web").revision, 2);
}

#[test]
fn nothing_is_rolled_back_while_it_is_being_restarted() {
    let (mut bench, _) = changed(1, policy());
    move_one(&mut bench);
    bench.advance(Duration::from_secs(1));
    let workload = Some(WorkloadName::new("web"));
    bench.command(Command::RollingRestart { workload }).unwrap();
    assert_eq!(
        bench.command(Command::RollbackDeployment(DeploymentId(1))),
        Err(Refusal::DeploymentRunning(DeploymentId(2)))
    );
}

#[test]
fn what_is_no_longer_declared_is_not_rolled_back_from() {
    let (mut bench, _) = changed(1, policy());
    move_one(&mut bench);
    bench.scale("web", 0).unwrap();
    for task in tasks(&bench).values() {
        bench.tell(task, TaskState::Killed);
    }
    declare(&mut bench, "sleep 3000");
    come_back(&mut bench, &BTreeMap::new());
    let refused = bench.command(Command::RollbackDeployment(DeploymentId(1)));
    assert!(
        matches!(refused, Err(Refusal::NoWayBack { .. })),
        "{refused:?}"
    );
}

#[test]
fn a_pause_does_not_take_back_what_an_operator_asked_for() {
    let (mut bench, tasks) = changed(2, policy());
    bench
        .command(Command::Restart {
            task: tasks["web-1"].clone(),
        })
        .unwrap();
    let replaced = |bench: &Bench| -> Vec<u32> {
        let web = bench.workload("web");
        web.tasks()
            .filter(|(_, task)| matches!(task.goal, Goal::Replace { .. }))
            .map(|(number, _)| number)
            .collect()
    };
    assert_eq!(replaced(&bench), [1, 2]);
    bench
        .command(Command::PauseDeployment(DeploymentId(1)))
        .unwrap();
    assert_eq!(replaced(&bench), [1]);
}
