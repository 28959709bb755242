//! What a successor finds: a commit that was cut short, and decisions half carried out.

use std::time::Duration;

use gantry_core::*;

use crate::bench::*;

#[test]
fn nobody_who_only_looks_calls_a_task_unconfirmed() {
    let mut bench = Bench::new(vec![service("web", 3)]);
    bench.run_all();
    let records = bench.store.values().cloned().collect::<Vec<_>>();
    let view = stored_view(bench.now, &bench.settings, records.into());
    assert_eq!(view.workloads[0].counts.tasks(), 3);
    assert_eq!(view.workloads[0].counts.unconfirmed, 0);
    assert_eq!(view.framework.unconfirmed, 0);
}

#[test]
fn a_commit_cut_short_leaves_no_two_tasks_that_are_to_stay() {
    let mut web = service("web", 1);
    web.template.health_check = Some(health_check());
    let mut bench = Bench::new(vec![web]);
    let old = bench.run_all().remove("web-1").unwrap();
    bench
        .command(Command::Restart { task: old.clone() })
        .unwrap();
    bench.revived();
    let host = agent("b", &[]);
    bench.offer(&[&host], 4.0);
    let new = bench.accepted().remove(0).task;
    bench.tell(&new, TaskState::Running);
    let late = bench.now + Duration::from_secs(301);
    let effects = bench.scheduler.step(late, Vec::new());
    let written: Vec<_> = effects
        .writes
        .iter()
        .filter_map(|write| match write {
            Write::Put(Record::Task(task)) => Some((task.id.clone(), task.goal.is_stop())),
            _ => None,
        })
        .collect();
    assert_eq!(written, [(new, true), (old, false)]);
}

#[test]
fn an_instance_whose_task_is_going_is_let_go_first() {
    let mut web = service("web", 2);
    web.template.demand.fixed_ports = vec![31_000];
    let mut bench = Bench::new(vec![web]);
    let hosts = [agent("a", &[]), agent("b", &[])];
    bench.offer(&[&hosts[0], &hosts[1]], 4.0);
    let launched = bench.launched();
    for launch in &launched {
        bench.tell(&launch.task, TaskState::Running);
    }
    bench.forget_calls();
    let going = launched
        .iter()
        .find(|launch| &*launch.instance == "web-1")
        .map(|launch| launch.task.clone())
        .unwrap();
    bench
        .command(Command::Restart {
            task: going.clone(),
        })
        .unwrap();
    assert_eq!(bench.killed(), going);
    bench.scale("web", 1).unwrap();
    bench.nothing_else();
    bench.tell(&going, TaskState::Killed);
    bench.nothing_else();
    assert_eq!(bench.workload("web").instances.len(), 1);
    assert_eq!(bench.instance("web", 2).tasks.len(), 1);
}

#[test]
fn a_successor_counts_the_patience_with_an_unreachable_task_anew() {
    let mut bench = Bench::new(vec![service("web", 1)]);
    let task = bench.run_all().remove("web-1").unwrap();
    bench.advance(Duration::from_secs(500));
    bench.tell(&task, TaskState::Unreachable);
    // Something about the task is written while it is unreachable.
    bench.command(Command::KillAll { workload: None }).unwrap();
    bench.restart();
    bench.subscribe();
    bench.tell(&task, TaskState::Unreachable);
    assert_eq!(bench.instance("web", 1).waiting, None);
    bench.advance(Duration::from_secs(59));
    assert_eq!(bench.instance("web", 1).waiting, None);
    bench.advance(Duration::from_secs(1));
    assert!(bench.instance("web", 1).waiting.is_some());
}
