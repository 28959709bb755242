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

fn goals(bench: &Bench) -> Vec<(u32, u32, Goal)> {
    let web = bench.workload("web");
    let goals = web.tasks();
    goals
        .map(|(number, task)| (number, task.revision, task.goal))
        .collect()
}

/// As many instances of revision 1 run on, and nothing is to become of them.
fn all_stay(bench: &Bench, instances: u32) {
    let stay: Vec<_> = goals(bench)
        .into_iter()
        .filter(|(_, revision, goal)| *revision == 1 && *goal == Goal::Run)
        .map(|(number, ..)| number)
        .collect();
    let all: Vec<_> = (1..=instances).collect();
    assert_eq!(stay, all, "{:?}", goals(bench));
}

/// An update of `web` to which there is no way back: it changes a secret, too.
fn without_a_way_back(instances: u32, update: UpdatePolicy) -> Bench {
    let secret = |value: &str, fingerprint| EnvironmentVariable {
        name: "TOKEN".to_owned(),
        value: EnvironmentValue::Secret(Secret::new(value, fingerprint)),
    };
    let mut web = service("web", instances);
    web.template.environment = vec![secret("one", 1)];
    web.update = update;
    let mut bench = Bench::new(vec![web]);
    let tasks = bench.run_all();
    bench.advance(Duration::from_secs(60));
    bench.services[0].template.environment = vec![secret("two", 2)];
    let revision = Key::Revision(WorkloadName::new("web"), 1);
    let Some(Record::Revision(record)) = bench.store.get_mut(&revision) else {
        panic!("not stored");
    };
    std::sync::Arc::make_mut(&mut record.template).environment = vec![EnvironmentVariable {
        name: "TOKEN".to_owned(),
        value: EnvironmentValue::Secret(forgotten(1)),
    }];
    come_back(&mut bench, &tasks);
    bench
}

#[test]
fn a_pause_takes_back_what_has_begun_though_there_is_no_way_back() {
    let mut bench = without_a_way_back(
        3,
        UpdatePolicy {
            parallelism: 2,
            ..policy()
        },
    );
    let fresh = launch_all(&mut bench, 2);
    // Both run, and one of them for nearly as long as it has to.
    bench.tell(&fresh[0], TaskState::Running);
    bench.advance(MONITOR - Duration::from_secs(1));
    bench.tell(&fresh[1], TaskState::Starting);
    bench
        .command(Command::PauseDeployment(DeploymentId(1)))
        .unwrap();
    let (launched, mut killed) = bench.all_sent();
    killed.sort();
    let mut begun = fresh.clone();
    begun.sort();
    assert_eq!((launched.len(), killed), (0, begun));
    for task in &fresh {
        bench.tell(task, TaskState::Killed);
    }
    bench.advance(Duration::from_secs(600));
    assert!(launch_all(&mut bench, 4).is_empty());
    all_stay(&bench, 3);
    bench
        .command(Command::ResumeDeployment(DeploymentId(1)))
        .unwrap();
    assert_eq!(launch_all(&mut bench, 4).len(), 2);
}

#[test]
fn what_fails_without_a_way_back_is_launched_no_more() {
    let mut bench = without_a_way_back(2, policy());
    for _ in 0..3 {
        bench.advance(Duration::from_secs(10));
        let fresh = launch(&mut bench);
        bench.tell(&fresh, TaskState::Failed);
    }
    let DeploymentStatus::Paused { reason, .. } = update(&bench).status else {
        panic!("{:?}", update(&bench));
    };
    assert!(reason.unwrap().contains("TOKEN"));
    bench.advance(Duration::from_secs(700));
    assert!(launch_all(&mut bench, 4).is_empty());
    all_stay(&bench, 2);
}

#[test]
fn an_abort_leaves_every_old_task_that_no_proven_one_replaces() {
    for starts in [TaskState::Starting, TaskState::Running] {
        let (mut bench, _) = changed(
            4,
            UpdatePolicy {
                parallelism: 3,
                ..policy()
            },
        );
        let fresh = launch_all(&mut bench, 3);
        bench.tell(&fresh[0], starts);
        bench
            .command(Command::AbortDeployment(DeploymentId(1)))
            .unwrap();
        for task in &fresh {
            bench.tell(task, TaskState::Killed);
        }
        bench.advance(Duration::from_secs(700));
        assert!(launch_all(&mut bench, 4).is_empty());
        all_stay(&bench, 4);
    }
}

#[test]
fn what_only_the_end_of_a_deployment_was_stored_of_is_called_off() {
    let (mut bench, tasks) = changed(2, policy());
    let begun = bench.store.clone();
    let id = DeploymentId(1);
    bench.command(Command::AbortDeployment(id)).unwrap();
    let ended = bench.store[&Key::Deployment(id)].clone();
    bench.store = begun;
    bench.store.insert(Key::Deployment(id), ended);
    come_back(&mut bench, &tasks);
    assert!(launch_all(&mut bench, 4).is_empty());
    all_stay(&bench, 2);
}

#[test]
fn after_an_abort_a_failed_update_returns_to_what_worked() {
    let stop_first = UpdatePolicy {
        order: UpdateOrder::StopFirst,
        ..policy()
    };
    let (mut bench, all) = changed(4, stop_first);
    // The fourth is stopped for a revision that fails again and again.
    bench.tell(&all["web-4"], TaskState::Killed);
    let fails = |bench: &mut Bench| {
        let fresh = launch(bench);
        bench.tell(&fresh, TaskState::Running);
        bench.advance(Duration::from_secs(1));
        assert!(bench.all_sent().1.is_empty(), "{:?}", goals(bench));
        fresh
    };
    let fresh = fails(&mut bench);
    bench.tell(&fresh, TaskState::Failed);
    bench
        .command(Command::AbortDeployment(DeploymentId(1)))
        .unwrap();
    bench.advance(Duration::from_secs(2));
    let fresh = fails(&mut bench);
    // Its successor finds it running, as it does for a moment each time.
    declare(&mut bench, "sleep 3000");
    bench.restart();
    bench.subscribe();
    for task in ["web-1", "web-2", "web-3"] {
        bench.tell(&all[task], TaskState::Running);
    }
    bench.tell(&fresh, TaskState::Running);
    assert_eq!(
        update(&bench).kind,
        DeploymentKind::Update {
            workload: WorkloadName::new("web"),
            from: 1,
            to: 3
        }
    );
    bench.advance(Duration::from_secs(1));
    let stay = |bench: &Bench| {
        let mut goals = goals(bench);
        goals.retain(|(number, ..)| *number < 4);
        assert_eq!(goals.len(), 3);
        assert!(
            goals.iter().all(|(_, _, goal)| *goal == Goal::Run),
            "{goals:?}"
        );
    };
    stay(&bench);
    bench.tell(&fresh, TaskState::Failed);
    for _ in 0..3 {
        bench.advance(Duration::from_secs(10));
        let fresh = fails(&mut bench);
        stay(&bench);
        bench.tell(&fresh, TaskState::Failed);
    }
    let status = update(&bench).status;
    assert!(
        matches!(
            status,
            DeploymentStatus::RolledBack { .. } | DeploymentStatus::RollingBack { .. }
        ),
        "{status:?}"
    );
    stay(&bench);
    bench.advance(Duration::from_secs(10));
    let back = launch(&mut bench);
    bench.tell(&back, TaskState::Running);
    bench.advance(MONITOR);
    all_stay(&bench, 4);
    let status = update(&bench).status;
    assert!(
        matches!(status, DeploymentStatus::RolledBack { .. }),
        "{status:?}"
    );
}

#[test]
fn one_that_has_just_started_is_not_counted_among_those_that_stay_ready() {
    let (mut bench, tasks) = changed(
        3,
        UpdatePolicy {
            order: UpdateOrder::StopFirst,
            ..policy()
        },
    );
    bench.tell(&tasks["web-3"], TaskState::Killed);
    let fresh = launch(&mut bench);
    bench.tell(&fresh, TaskState::Running);
    bench.advance(MONITOR);
    assert_eq!(bench.killed(), tasks["web-2"]);
    // While that goes, the other one starts anew by itself, and fails again after a second.
    bench.tell(&tasks["web-2"], TaskState::Killed);
    bench.tell(&tasks["web-1"], TaskState::Failed);
    bench.advance(Duration::from_secs(2));
    let fresh = launch_all(&mut bench, 4);
    assert_eq!(fresh.len(), 2);
    for task in &fresh {
        bench.tell(task, TaskState::Running);
    }
    bench.nothing_else();
    bench.advance(MONITOR);
    let status = update(&bench).status;
    assert!(
        matches!(status, DeploymentStatus::Done { .. }),
        "{status:?}"
    );
}

#[test]
fn a_restart_waits_for_what_fails_again_and_again() {
    let mut web = service("web", 3);
    web.update = UpdatePolicy {
        order: UpdateOrder::StopFirst,
        ..policy()
    };
    let mut bench = Bench::new(vec![web]);
    let tasks = bench.run_all();
    bench.tell(&tasks["web-1"], TaskState::Failed);
    bench.advance(Duration::from_secs(2));
    let fresh = launch(&mut bench);
    let workload = Some(WorkloadName::new("web"));
    bench.command(Command::RollingRestart { workload }).unwrap();
    bench.tell(&fresh, TaskState::Running);
    assert!(bench.all_sent().1.is_empty());
    bench.advance(MONITOR);
    assert_eq!(bench.all_sent().1, [tasks["web-3"].clone()]);
    // What has not failed counts at once.
    bench.tell(&tasks["web-3"], TaskState::Killed);
    let fresh = launch(&mut bench);
    bench.tell(&fresh, TaskState::Running);
    assert_eq!(bench.all_sent().1, [tasks["web-2"].clone()]);
}

#[test]
fn going_back_half_way_and_failing_returns_to_nothing_unproven() {
    let (mut bench, _) = changed(3, policy());
    move_one(&mut bench);
    declare(&mut bench, "sleep 1000");
    let there = tasks(&bench);
    come_back(&mut bench, &there);
    for _ in 0..3 {
        bench.advance(Duration::from_secs(10));
        let fresh = launch(&mut bench);
        bench.tell(&fresh, TaskState::Failed);
    }
    let DeploymentStatus::Paused { reason, .. } = update(&bench).status else {
        panic!("{:?}", update(&bench));
    };
    assert!(reason.unwrap().contains("revision 2 was never done"));
    assert_eq!(bench.workload("web").revision, 1);
    let goals = goals(&bench);
    assert!(
        goals.iter().all(|(.., goal)| *goal == Goal::Run),
        "{goals:?}"
    );
}

/// `web-1` fails until it has to wait for long.
fn fail_for_long(bench: &mut Bench) {
    for _ in 0..6 {
        bench.advance(Duration::from_secs(40));
        let fresh = launch(bench);
        bench.tell(&fresh, TaskState::Failed);
    }
    let instance = bench.instance("web", 1);
    assert_eq!(
        instance.not_before,
        Some(bench.now + Duration::from_secs(32))
    );
}

#[test]
fn what_is_mended_does_not_wait_for_what_failed() {
    let mut bench = Bench::new(vec![service("web", 1)]);
    fail_for_long(&mut bench);
    // The same again waits on.
    bench.restart();
    bench.subscribe();
    bench.advance(Duration::from_secs(6));
    assert!(launch_all(&mut bench, 1).is_empty());
    declare(&mut bench, "sleep 2000");
    bench.restart();
    bench.subscribe();
    bench.advance(Duration::from_secs(6));
    let fresh = launch(&mut bench);
    bench.tell(&fresh, TaskState::Failed);
    assert_eq!(bench.instance("web", 1).failures, 1);
}

#[test]
fn a_restart_by_an_operator_does_not_wait_for_what_failed() {
    let mut bench = Bench::new(vec![service("web", 1)]);
    fail_for_long(&mut bench);
    let workload = Some(WorkloadName::new("web"));
    bench.command(Command::RollingRestart { workload }).unwrap();
    launch(&mut bench);
    let Some(Record::Instance(record)) =
        bench.store.get(&Key::Instance(WorkloadName::new("web"), 1))
    else {
        panic!("not stored");
    };
    assert_eq!((record.failures, record.not_before), (6, None));
}
