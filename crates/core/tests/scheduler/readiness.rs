//! Modules say when a task is ready.

use std::{collections::BTreeSet, time::Duration};

use gantry_core::*;

use crate::bench::*;

/// Subscribed; tasks of `web` have to be reported ready.
fn needing(services: Vec<ServiceSpec>) -> Bench {
    let mut settings = Settings::new(FRAMEWORK);
    settings.readiness = Workloads::Named(BTreeSet::from([WorkloadName::new("web")]));
    let mut bench = Bench::with_settings(services, settings);
    bench.subscribe();
    bench.forget_calls();
    bench
}

fn report(bench: &mut Bench, task: &TaskId, ready: bool) {
    let task = task.clone();
    bench.step(vec![Input::Readiness { task, ready }]);
}

fn ready(bench: &Bench, name: &str) -> u32 {
    bench.workload(name).counts.ready
}

#[test]
fn what_waits_for_healthy_instances_waits_for_the_report() {
    let mut web = service("web", 1);
    web.wait_healthy = true;
    web.priority = 0;
    let mut bench = needing(vec![web, service("next", 1)]);
    let tasks = bench.run_all();
    assert_eq!(tasks.keys().collect::<Vec<_>>(), ["web-1"]);
    assert_eq!(ready(&bench, "web"), 0);
    report(&mut bench, &tasks["web-1"], false);
    assert_eq!(bench.run_all().len(), 0);
    report(&mut bench, &tasks["web-1"], true);
    assert_eq!(ready(&bench, "web"), 1);
    let task = &bench.instance("web", 1).tasks[0];
    assert_eq!(task.readiness, Some(true));
    // Other workloads need no report.
    assert_eq!(bench.run_all().len(), 1);
    assert_eq!(ready(&bench, "next"), 1);
    report(&mut bench, &TaskId::new("fw.web-9.nobody"), true);
    bench.nothing_else();
}

#[test]
fn a_restart_stops_the_old_task_when_the_new_one_is_reported_ready() {
    let mut bench = needing(vec![service("web", 1)]);
    let old = bench.run_all().remove("web-1").unwrap();
    report(&mut bench, &old, true);
    bench
        .command(Command::Restart { task: old.clone() })
        .unwrap();
    bench.forget_calls();
    let host = agent("b", &[]);
    bench.offer(&[&host], 4.0);
    let new = bench.accepted().remove(0).task;
    bench.forget_calls();
    report(&mut bench, &new, true); // It does not even run yet.
    report(&mut bench, &new, false);
    bench.tell(&new, TaskState::Running);
    bench.advance(Duration::from_secs(30));
    bench.nothing_else();
    report(&mut bench, &new, true);
    assert_eq!(bench.killed(), old);
    bench.tell(&old, TaskState::Killed);

    // One that is never reported ready does not replace anything.
    bench
        .command(Command::Restart { task: new.clone() })
        .unwrap();
    bench.forget_calls();
    bench.offer(&[&host], 4.0);
    let third = bench.accepted().remove(0).task;
    bench.tell(&third, TaskState::Running);
    bench.forget_calls();
    bench.advance(bench.settings.replace_deadline);
    assert_eq!(bench.killed(), third);
    assert_eq!(ready(&bench, "web"), 1);
}

#[test]
fn without_modules_what_runs_is_ready() {
    let mut bench = needing(vec![service("web", 2), service("other", 1)]);
    let tasks = bench.run_all();
    assert_eq!(ready(&bench, "web"), 0);
    let old = tasks["web-1"].clone();
    bench
        .command(Command::Restart { task: old.clone() })
        .unwrap();
    bench.forget_calls();
    let host = agent("b", &[]);
    bench.offer(&[&host], 4.0);
    let new = bench.accepted().remove(0).task;
    bench.tell(&new, TaskState::Running);
    bench.forget_calls();
    bench.step(vec![Input::ReadinessNeeded(Workloads::None)]);
    assert_eq!(bench.killed(), old);
    assert_eq!(ready(&bench, "web"), 2);
    bench.step(vec![Input::ReadinessNeeded(Workloads::All)]);
    assert_eq!((ready(&bench, "web"), ready(&bench, "other")), (0, 0));
    bench.nothing_else();
}

#[test]
fn an_update_moves_on_with_the_report_and_goes_on_under_the_next_leader() {
    let mut web = service("web", 2);
    web.update.monitor = Duration::from_secs(5);
    let mut bench = needing(vec![web]);
    let tasks = bench.run_all();
    bench.advance(Duration::from_secs(60));
    bench.services[0].template.command = TaskCommand::Shell("sleep 2000".into());
    bench.restart();
    bench.subscribe();
    for task in tasks.values() {
        bench.tell(task, TaskState::Running);
        report(&mut bench, task, true);
    }
    bench.advance(Duration::from_secs(6));
    let host = agent("b", &[]);
    for _ in 0..2 {
        bench.forget_calls();
        bench.offer(&[&host], 4.0);
        let new = bench.accepted().remove(0).task;
        bench.forget_calls();
        bench.tell(&new, TaskState::Running);
        bench.advance(Duration::from_secs(20));
        bench.nothing_else(); // It runs for long enough, and is not ready.
        report(&mut bench, &new, true);
        let old = bench.killed();
        bench.tell(&old, TaskState::Killed);
    }
    let view = bench.scheduler.view();
    assert!(matches!(
        view.deployments[0].status,
        DeploymentStatus::Done { .. }
    ));
}

#[test]
fn reports_that_are_missing_after_a_takeover_set_no_brake() {
    let mut settings = Settings::new(FRAMEWORK);
    settings.readiness = Workloads::All;
    settings.starting_per_agent_max = 100;
    let mut bench = Bench::with_settings(vec![service("web", 100)], settings);
    bench.subscribe();
    let tasks = bench.run_all();
    assert_eq!(tasks.len(), 100);
    bench.advance(Duration::from_secs(60));
    bench.restart();
    bench.subscribe();
    for task in tasks.values() {
        bench.tell(task, TaskState::Running);
    }
    bench.forget_calls();
    assert_eq!(ready(&bench, "web"), 0);
    for task in tasks.values().take(20) {
        bench.tell(task, TaskState::Unreachable);
    }
    assert!(bench.scheduler.view().brake.is_none());
    for task in tasks.values().skip(20).take(40) {
        bench.tell(task, TaskState::Unreachable);
    }
    assert!(bench.scheduler.view().brake.is_some());
}
