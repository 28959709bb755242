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

/// As the boilerplate leaves them: tasks that run, of which nobody knows what they were launched as.
fn left_by_the_original(names: &[(&str, u32)]) -> Vec<Record> {
    let mut ids = IdGenerator::new([7; 4]);
    let framework = Record::Framework(FrameworkRecord {
        id: FrameworkId::new("id-0001"),
        registered_at: Timestamp::from_millis(1),
    });
    let tasks = names.iter().map(|(name, number)| {
        let uuid = ids.uuid();
        Record::Task(TaskRecord {
            id: TaskId::from_parts(FRAMEWORK, name, *number, uuid),
            workload: WorkloadName::new(*name),
            number: *number,
            uuid,
            revision: 0,
            agent: agent("big", &[]),
            ports: Default::default(),
            state: TaskState::Running,
            goal: Goal::Run,
            launched_at: Timestamp::from_millis(2),
            started_at: Some(Timestamp::from_millis(3)),
            running_at: Some(Timestamp::from_millis(3)),
        })
    });
    std::iter::once(framework).chain(tasks).collect()
}

/// A scheduler that has adopted them, and their ids.
fn adopted(services: Vec<ServiceSpec>, names: &[(&str, u32)]) -> (Bench, Vec<TaskId>) {
    let mut bench = Bench::unsubscribed(Vec::new());
    let records = left_by_the_original(names);
    let tasks = records.iter().filter_map(|record| match record {
        Record::Task(task) => Some(task.id.clone()),
        _ => None,
    });
    let tasks = tasks.collect();
    bench.store = records
        .into_iter()
        .map(|record| (record.key(), record))
        .collect();
    bench.services = services;
    bench.restart();
    bench.subscribe();
    (bench, tasks)
}

#[test]
fn a_changed_declaration_replaces_what_was_adopted() {
    let (mut bench, tasks) = adopted(vec![service("web", 1)], &[("web", 1)]);
    bench.answered(&tasks[0], TaskState::Running);
    let Some(Record::Task(task)) = bench.store.get(&Key::Task(tasks[0].clone())) else {
        panic!("it is not stored");
    };
    assert_eq!(task.revision, 1, "it is written down as what adopted it");
    // Also where the one who adopted it did not write that down.
    let mut old = task.clone();
    for revision in [1, 0] {
        old.revision = revision;
        bench
            .store
            .insert(Key::Task(old.id.clone()), Record::Task(old.clone()));
        let command = format!("sleep {}", 2 - revision);
        let before = bench.store.clone();
        bench.services[0].template.command = TaskCommand::Shell(command);
        let records: Vec<_> = bench.store.values().cloned().collect();
        let plan = plan(
            bench.now,
            &bench.settings,
            bench.services.clone(),
            records.into(),
        );
        assert_eq!(plan.workloads[0].replaced, [1]);
        bench.restart();
        let view = bench.scheduler.view();
        assert_eq!(view.deployments.len(), 1, "{:?}", view.deployments);
        bench.store = before;
    }
}

#[test]
fn a_plan_tells_what_is_adopted_stopped_and_set_aside() {
    let names: Vec<_> = (1..=5).map(|number| ("web", number)).collect();
    let mut names = names;
    names.push(("old", 1));
    let services = vec![service("web", 3)];
    let bench = Bench::unsubscribed(Vec::new());
    let records = left_by_the_original(&names);
    let plan = plan(bench.now, &bench.settings, services.clone(), records.into());
    let web = &plan.workloads[0];
    assert_eq!(web.adopted, [1, 2, 3]);
    assert!(web.created.is_empty());
    assert_eq!(web.stopped, [4, 5]);
    assert_eq!(plan.set_aside.len(), 1);
    assert!(plan.set_aside[0].as_str().starts_with("fw.old-1."));
    // And so it happens: the count is the declared one, as the original has it.
    let (mut bench, tasks) = adopted(services, &names);
    let (launched, killed) = bench.all_sent();
    assert!(launched.is_empty());
    assert_eq!(killed, [tasks[3].clone(), tasks[4].clone()]);
}
