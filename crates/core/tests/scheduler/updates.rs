//! Rolling updates: a changed declaration moves the tasks of a service within its limits.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use gantry_core::*;

use crate::bench::*;

pub(crate) const MONITOR: Duration = Duration::from_secs(5);

pub(crate) fn policy() -> UpdatePolicy {
    UpdatePolicy {
        monitor: MONITOR,
        ..UpdatePolicy::default()
    }
}

/// `web` with all its tasks running as revision 1, then started again under a changed declaration.
pub(crate) fn changed(instances: u32, update: UpdatePolicy) -> (Bench, BTreeMap<String, TaskId>) {
    let mut web = service("web", instances);
    web.update = update;
    let mut bench = Bench::new(vec![web]);
    let tasks = bench.run_all();
    bench.advance(Duration::from_secs(60));
    bench.services[0].template.command = TaskCommand::Shell("sleep 2000".into());
    come_back(&mut bench, &tasks);
    (bench, tasks)
}

/// Starts the scheduler again; every task is still there.
pub(crate) fn come_back(bench: &mut Bench, tasks: &BTreeMap<String, TaskId>) {
    bench.restart();
    bench.subscribe();
    for task in tasks.values() {
        bench.tell(task, TaskState::Running);
    }
    // The reconciliation has come to its end.
    bench.advance(Duration::from_secs(6));
    bench.forget_calls();
}

pub(crate) fn update(bench: &Bench) -> Deployment {
    let view = bench.scheduler.view();
    Deployment::clone(view.deployments.last().expect("there is a deployment"))
}

/// Offers room for one, and takes the launch.
pub(crate) fn launch(bench: &mut Bench) -> TaskId {
    launch_all(bench, 1).remove(0)
}

pub(crate) fn launch_all(bench: &mut Bench, room: u32) -> Vec<TaskId> {
    let host: Arc<_> = agent("b", &[]);
    bench.forget_calls();
    bench.offer(&[&host], f64::from(room));
    let launched = bench.launched();
    bench.forget_calls();
    launched.into_iter().map(|launch| launch.task).collect()
}

/// Moves the next instance as far as it goes and returns the task that was stopped for it.
pub(crate) fn move_one(bench: &mut Bench) -> TaskId {
    let fresh = launch(bench);
    bench.tell(&fresh, TaskState::Running);
    bench.nothing_else(); // It must prove itself first.
    bench.advance(MONITOR);
    let old = bench.killed();
    bench.nothing_else();
    bench.tell(&old, TaskState::Killed);
    old
}

pub(crate) fn revisions(bench: &Bench) -> Vec<u32> {
    let workload = bench.workload("web");
    workload.tasks().map(|(_, task)| task.revision).collect()
}

#[test]
fn a_changed_template_moves_one_instance_after_the_other_the_new_task_first() {
    let (mut bench, tasks) = changed(3, policy());
    let deployment = update(&bench);
    assert_eq!(
        deployment.kind,
        DeploymentKind::Update {
            workload: WorkloadName::new("web"),
            from: 1,
            to: 2
        }
    );
    assert_eq!((deployment.total, deployment.done), (3, 0));
    for instance in ["web-3", "web-2", "web-1"] {
        assert_eq!(move_one(&mut bench), tasks[instance]);
    }
    assert_eq!(revisions(&bench), [2, 2, 2]);
    let deployment = update(&bench);
    assert!(matches!(deployment.status, DeploymentStatus::Done { .. }));
    assert_eq!((deployment.total, deployment.done), (3, 3));
    bench.advance(Duration::from_secs(700));
    assert_eq!(bench.workload("web").counts.ready, 3);
}

#[test]
fn parallelism_bounds_what_is_moved_at_once() {
    let (mut bench, _) = changed(
        5,
        UpdatePolicy {
            parallelism: 2,
            ..policy()
        },
    );
    assert_eq!(launch_all(&mut bench, 5).len(), 2);
    assert_eq!(bench.workload("web").counts.replacing, 2);
}

#[test]
fn max_over_bounds_the_tasks_beyond_the_count() {
    let (mut bench, _) = changed(
        10,
        UpdatePolicy {
            parallelism: 8,
            max_over: Some(Share::Percent(25)),
            ..policy()
        },
    );
    assert_eq!(launch_all(&mut bench, 10).len(), 3);
}

#[test]
fn stop_first_stops_and_waits_for_the_end() {
    let (mut bench, tasks) = changed(
        2,
        UpdatePolicy {
            order: UpdateOrder::StopFirst,
            ..policy()
        },
    );
    let stopping: Vec<_> = bench
        .workload("web")
        .tasks()
        .filter(|(_, task)| task.goal.is_stop())
        .map(|(number, _)| number)
        .collect();
    assert_eq!(stopping, [2]);
    bench.tell(&tasks["web-2"], TaskState::Killed);
    let fresh = launch(&mut bench);
    bench.tell(&fresh, TaskState::Running);
    bench.nothing_else();
    bench.advance(MONITOR);
    assert_eq!(bench.killed(), tasks["web-1"]);
}

#[test]
fn so_many_instances_stay_ready() {
    let (mut bench, tasks) = changed(
        4,
        UpdatePolicy {
            parallelism: 4,
            order: UpdateOrder::StopFirst,
            min_healthy: Some(Share::Percent(50)),
            ..policy()
        },
    );
    let stopping = |bench: &Bench| {
        let workload = bench.workload("web");
        workload
            .tasks()
            .filter(|(_, task)| task.goal.is_stop())
            .count()
    };
    assert_eq!(stopping(&bench), 2);
    // One of the others fails by itself: nothing more is taken down, and it comes back as new.
    bench.tell(&tasks["web-1"], TaskState::Failed);
    assert_eq!(stopping(&bench), 2);
    assert_eq!(bench.workload("web").counts.ready, 1);
}

#[test]
fn what_is_not_ready_is_moved_first_and_without_regard_to_the_limit() {
    let (mut bench, tasks) = changed(
        3,
        UpdatePolicy {
            min_healthy: Some(Share::Percent(100)),
            ..policy()
        },
    );
    bench
        .command(Command::PauseDeployment(DeploymentId(1)))
        .unwrap();
    let mut sick = bench.update(&tasks["web-1"], TaskState::Running);
    sick.healthy = Some(false);
    bench.tell_update(sick);
    bench.tell(&tasks["web-1"], TaskState::Failed);
    let again = {
        bench.advance(Duration::from_secs(2));
        launch(&mut bench) // As before: the update is paused.
    };
    bench.tell(&again, TaskState::Starting);
    bench
        .command(Command::ResumeDeployment(DeploymentId(1)))
        .unwrap();
    let replaced: Vec<_> = bench
        .workload("web")
        .tasks()
        .filter(|(_, task)| matches!(task.goal, Goal::Replace { .. }))
        .map(|(number, _)| number)
        .collect();
    assert_eq!(replaced, [1]);
}

#[test]
fn a_new_task_that_fails_again_and_again_rolls_the_update_back() {
    let (mut bench, tasks) = changed(3, policy());
    move_one(&mut bench);
    for _ in 0..3 {
        bench.advance(Duration::from_secs(10));
        let fresh = launch(&mut bench);
        let mut failed = bench.update(&fresh, TaskState::Failed);
        failed.message = Some("no such image".to_owned());
        bench.tell_update(failed);
    }
    let deployment = update(&bench);
    let DeploymentStatus::RollingBack { reason, .. } = &deployment.status else {
        panic!("{deployment:?}");
    };
    let reason = reason.clone().unwrap();
    assert!(
        reason.contains("web-2") && reason.contains("no such image"),
        "{reason}"
    );
    assert_eq!(bench.workload("web").revision, 1);
    // web-3 goes back; the others never left.
    bench.advance(Duration::from_secs(10));
    move_one(&mut bench);
    let deployment = update(&bench);
    assert!(
        matches!(
            &deployment.status,
            DeploymentStatus::RolledBack {
                reason: Some(_),
                ..
            }
        ),
        "{deployment:?}"
    );
    assert_eq!(revisions(&bench), [1, 1, 1]);
    assert!(bench.workload("web").tasks().any(|(number, task)| {
        number == 1 && tasks["web-1"] == bench.workload("web").task_id(FRAMEWORK, 1, task)
    }));
    // The same declaration does not start it again.
    bench.restart();
    bench.subscribe();
    assert_eq!(bench.scheduler.view().deployments.len(), 1);
    assert_eq!(bench.workload("web").revision, 1);
}

#[test]
fn an_update_that_does_not_get_ready_in_time_pauses_when_told_so() {
    let (mut bench, _) = changed(
        2,
        UpdatePolicy {
            on_failure: OnFailure::Pause,
            deadline: Duration::from_secs(100),
            ..policy()
        },
    );
    bench.advance(Duration::from_secs(101));
    let deployment = update(&bench);
    let DeploymentStatus::Paused { reason, .. } = &deployment.status else {
        panic!("{deployment:?}");
    };
    assert!(reason.as_ref().unwrap().contains("web-2"), "{reason:?}");
    assert_eq!(bench.workload("web").counts.replacing, 0);
    assert_eq!(bench.workload("web").revision, 1);
    // An operator who mends the cause lets it go on.
    bench
        .command(Command::ResumeDeployment(deployment.id))
        .unwrap();
    move_one(&mut bench);
    move_one(&mut bench);
    assert!(matches!(
        update(&bench).status,
        DeploymentStatus::Done { .. }
    ));
}

#[test]
fn a_new_task_that_is_being_stopped_has_proven_nothing() {
    let (mut bench, tasks) = changed(
        1,
        UpdatePolicy {
            on_failure: OnFailure::Pause,
            deadline: Duration::from_secs(100),
            ..policy()
        },
    );
    // Too late to prove itself, so it is stopped in favour of the old one, which then fails.
    let late = launch(&mut bench);
    bench.advance(Duration::from_secs(98));
    bench.tell(&late, TaskState::Running);
    bench.advance(Duration::from_secs(3));
    assert_eq!(bench.killed(), late);
    bench.tell(&tasks["web-1"], TaskState::Failed);
    bench.advance(MONITOR);
    bench
        .command(Command::ResumeDeployment(DeploymentId(1)))
        .unwrap();
    bench.advance(Duration::from_secs(1));
    assert_eq!(update(&bench).status, DeploymentStatus::Running);
    bench.tell(&late, TaskState::Killed);
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
fn one_that_stays_short_of_ready_instances_ends() {
    let (mut bench, tasks) = changed(
        2,
        UpdatePolicy {
            min_healthy: Some(Share::Count(2)),
            deadline: Duration::from_secs(100),
            ..policy()
        },
    );
    move_one(&mut bench);
    // What was moved breaks later, and there is no room to start it again.
    let moved = bench.workload("web");
    let (number, task) = moved.tasks().find(|(_, task)| task.revision == 2).unwrap();
    let id = moved.task_id(FRAMEWORK, number, task);
    bench.tell(&id, TaskState::Failed);
    bench.advance(Duration::from_secs(400));
    let status = update(&bench).status;
    assert!(!matches!(status, DeploymentStatus::Running), "{status:?}");
    assert_eq!(tasks.len(), 2);
}

#[test]
fn an_operator_rolls_back_what_is_done() {
    let (mut bench, _) = changed(1, policy());
    move_one(&mut bench);
    bench
        .command(Command::RollbackDeployment(DeploymentId(1)))
        .unwrap();
    move_one(&mut bench);
    assert_eq!(revisions(&bench), [1]);
    assert!(matches!(
        update(&bench).status,
        DeploymentStatus::RolledBack { reason: None, .. }
    ));
    let again = bench.command(Command::RollbackDeployment(DeploymentId(1)));
    assert!(
        matches!(again, Err(Refusal::DeploymentState { .. })),
        "{again:?}"
    );
}

#[test]
fn it_goes_on_after_a_crash() {
    let (mut bench, tasks) = changed(2, policy());
    move_one(&mut bench);
    let moved = bench.workload("web");
    let (number, task) = moved.tasks().find(|(_, task)| task.revision == 2).unwrap();
    let there = BTreeMap::from([
        ("web-1".to_owned(), tasks["web-1"].clone()),
        ("web-2".to_owned(), moved.task_id(FRAMEWORK, number, task)),
    ]);
    come_back(&mut bench, &there);
    assert_eq!(move_one(&mut bench), tasks["web-1"]);
    assert!(matches!(
        update(&bench).status,
        DeploymentStatus::Done { .. }
    ));
    assert_eq!(bench.scheduler.view().deployments.len(), 1);
}

#[test]
fn a_later_declaration_takes_the_place_of_an_update() {
    let (mut bench, tasks) = changed(2, policy());
    bench.services[0].template.command = TaskCommand::Shell("sleep 3000".into());
    come_back(&mut bench, &tasks);
    let view = bench.scheduler.view();
    let DeploymentStatus::Aborted { reason, .. } = &view.deployments[0].status else {
        panic!("{:?}", view.deployments);
    };
    assert!(reason.as_ref().unwrap().contains("deployment 2"));
    assert_eq!(update(&bench).status, DeploymentStatus::Running);
    move_one(&mut bench);
    move_one(&mut bench);
    assert_eq!(revisions(&bench), [3, 3]);
    assert_eq!(
        bench
            .workload("web")
            .revisions
            .keys()
            .copied()
            .collect::<Vec<_>>(),
        [1, 3],
        "the one that a rollback returns to is kept, the one in between is not"
    );
}

#[test]
fn an_old_declaration_is_an_old_revision() {
    let (mut bench, _) = changed(1, policy());
    move_one(&mut bench);
    let workload = bench.workload("web");
    let (number, task) = workload.tasks().next().unwrap();
    let there = BTreeMap::from([(
        "web-1".to_owned(),
        workload.task_id(FRAMEWORK, number, task),
    )]);
    bench.services[0].template.command = TaskCommand::Shell("sleep 1000".into());
    come_back(&mut bench, &there);
    assert_eq!(
        update(&bench).kind,
        DeploymentKind::Update {
            workload: WorkloadName::new("web"),
            from: 2,
            to: 1
        }
    );
}

#[test]
fn an_unreachable_agent_does_not_hold_an_update_up() {
    let (mut bench, tasks) = changed(2, policy());
    bench.tell(&tasks["web-2"], TaskState::Unreachable);
    let fresh = launch(&mut bench);
    bench.tell(&fresh, TaskState::Running);
    bench.advance(MONITOR);
    assert_eq!(bench.killed(), tasks["web-2"]);
    assert_eq!(move_one(&mut bench), tasks["web-1"]);
    assert!(matches!(
        update(&bench).status,
        DeploymentStatus::Done { .. }
    ));
}

#[test]
fn a_revision_with_an_unknown_secret_is_no_way_back() {
    let secret = |value: &str, fingerprint| EnvironmentVariable {
        name: "TOKEN".to_owned(),
        value: EnvironmentValue::Secret(Secret::new(value, fingerprint)),
    };
    let mut web = service("web", 1);
    web.template.environment = vec![secret("one", 1)];
    web.update = policy();
    let mut bench = Bench::new(vec![web]);
    let tasks = bench.run_all();
    bench.services[0].template.environment = vec![secret("two", 2)];
    // The store keeps no secret.
    let revision = Key::Revision(WorkloadName::new("web"), 1);
    let Some(Record::Revision(record)) = bench.store.get_mut(&revision) else {
        panic!("not stored");
    };
    Arc::make_mut(&mut record.template).environment = vec![EnvironmentVariable {
        name: "TOKEN".to_owned(),
        value: EnvironmentValue::Secret(forgotten(1)),
    }];
    come_back(&mut bench, &tasks);
    let refused = bench.command(Command::RollbackDeployment(DeploymentId(1)));
    let Err(Refusal::NoWayBack { reason, .. }) = refused else {
        panic!("{refused:?}");
    };
    assert!(reason.contains("TOKEN"), "{reason}");
}

/// A secret as it comes from the store.
pub(crate) fn forgotten(fingerprint: u32) -> Secret {
    let text = format!("{{\"fingerprint\":{fingerprint}}}");
    serde_json::from_str(&text).unwrap()
}

#[test]
fn services_without_tasks_change_without_a_deployment() {
    let mut bench = Bench::new(vec![service("web", 2)]);
    bench.services[0].template.command = TaskCommand::Shell("sleep 2000".into());
    bench.restart();
    assert!(bench.scheduler.view().deployments.is_empty());
    assert_eq!(bench.workload("web").revision, 2);
}

#[test]
fn a_plan_says_what_a_start_does() {
    let (bench, _) = changed(3, policy());
    let mut services = bench.services.clone();
    services[0].template.command = TaskCommand::Shell("sleep 3000".into());
    services[0].instances = 2;
    services.push(service("new", 2));
    let records: Vec<_> = bench.store.values().cloned().collect();
    let plan = plan(
        bench.now,
        &bench.settings,
        services.clone(),
        records.clone().into(),
    );
    let [web, new] = plan.workloads.as_slice() else {
        panic!("{plan:?}");
    };
    let Change::Changed { before, after } = &web.change else {
        panic!("{web:?}");
    };
    assert_eq!((before.revision, after.revision), (2, 3));
    assert_eq!((before.desired, after.desired), (3, 2));
    assert_eq!(
        (web.replaced.as_slice(), web.stopped.as_slice()),
        (&[1, 2][..], &[3][..])
    );
    assert_eq!(
        (&new.change, new.created.as_slice()),
        (&Change::New, &[1, 2][..])
    );

    let nothing = gantry_core::plan(
        bench.now,
        &bench.settings,
        bench.services.clone(),
        records.clone().into(),
    );
    assert!(nothing.is_empty(), "{nothing:?}");
    let all_gone = gantry_core::plan(bench.now, &bench.settings, Vec::new(), records.into());
    assert_eq!(all_gone.workloads[0].change, Change::Removed);
    assert_eq!(all_gone.workloads[0].stopped, [1, 2, 3]);
}

#[test]
fn tasks_that_were_lost_meanwhile_must_prove_the_new_revision_too() {
    let (mut bench, tasks) = changed(2, policy());
    for task in tasks.values() {
        bench.tell(task, TaskState::Lost);
    }
    for _ in 0..3 {
        bench.advance(Duration::from_secs(10));
        let fresh = launch_all(&mut bench, 2);
        assert_eq!(update(&bench).status, DeploymentStatus::Running);
        for task in fresh {
            bench.tell(&task, TaskState::Failed);
        }
    }
    bench.advance(Duration::from_secs(10));
    // No task is left that would have to be moved back.
    let deployment = update(&bench);
    assert!(
        matches!(&deployment.status, DeploymentStatus::RolledBack { reason: Some(reason), .. }
            if reason.contains("failed 3 times")),
        "{deployment:?}"
    );
    launch_all(&mut bench, 2);
    assert_eq!(revisions(&bench), [1, 1]);
}
