//! Tasks that run although there is no record of them are taken in, and not launched a second time.

use std::time::Duration;

use gantry_core::*;

use crate::bench::*;

/// A store that knows nothing of its only task, and the task.
fn forgetful() -> (Bench, TaskId) {
    let mut bench = Bench::new(vec![service("web", 1)]);
    let task = bench.run_all().remove("web-1").unwrap();
    bench.store.remove(&Key::Task(task.clone()));
    bench.restart();
    (bench, task)
}

fn offer(bench: &mut Bench) {
    bench.offer(&[&agent("b", &[])], 4.0);
}

#[test]
fn a_task_without_a_record_is_taken_in_before_its_instance_is_filled() {
    let (mut bench, task) = forgetful();
    bench.subscribe();
    offer(&mut bench);
    assert!(matches!(
        bench.instance("web", 1).waiting,
        Some(Waiting::Reconciliation { .. })
    ));
    bench.answered(&task, TaskState::Running);
    bench.advance(Duration::from_secs(60));
    offer(&mut bench);
    let (launched, killed) = bench.all_sent();
    assert_eq!((launched.len(), killed.len()), (0, 0));
    assert_eq!(bench.instance("web", 1).tasks.len(), 1);
    assert!(bench.store.contains_key(&Key::Task(task)));
}

#[test]
fn a_task_takes_the_place_of_the_one_that_an_older_backup_knows() {
    let mut bench = Bench::new(vec![service("web", 1)]);
    let before = bench.run_all().remove("web-1").unwrap();
    let backup = bench.store.clone();
    bench.tell(&before, TaskState::Failed);
    bench.advance(Duration::from_secs(60));
    let since = bench.run_all().remove("web-1").unwrap();
    bench.store = backup;
    bench.restart();
    bench.subscribe();
    bench.answered(&since, TaskState::Running);
    offer(&mut bench);
    bench.answered(&before, TaskState::Gone);
    offer(&mut bench);
    bench.advance(Duration::from_secs(60));
    offer(&mut bench);
    let (launched, killed) = bench.all_sent();
    assert_eq!((launched.len(), killed.len()), (0, 0));
    let instance = bench.instance("web", 1);
    assert_eq!(instance.tasks.len(), 1);
    assert!(bench.store.contains_key(&Key::Task(since)));
}

#[test]
fn what_is_vacant_waits_a_few_seconds_and_what_is_asked_for_does_not() {
    let (mut bench, _) = forgetful();
    bench.subscribe();
    bench.scale("web", 2).unwrap();
    bench.forget_calls();
    offer(&mut bench);
    let launched = bench.accepted();
    assert_eq!(launched.len(), 1);
    assert_eq!(&*launched[0].instance, "web-2");
    bench.advance(Duration::from_millis(2_900));
    assert!(
        bench
            .instance("web", 1)
            .waiting
            .is_some_and(|waiting| { matches!(waiting, Waiting::Reconciliation { .. }) })
    );
    bench.advance(Duration::from_millis(200));
    bench.forget_calls();
    offer(&mut bench);
    assert_eq!(&*bench.accepted()[0].instance, "web-1");
}

#[test]
fn when_every_recorded_task_has_answered_half_a_second_of_silence_is_enough() {
    let mut bench = Bench::new(vec![service("web", 2)]);
    let tasks = bench.run_all();
    bench.store.remove(&Key::Task(tasks["web-2"].clone()));
    bench.restart();
    bench.subscribe();
    bench.answered(&tasks["web-1"], TaskState::Running);
    bench.advance(Duration::from_millis(499));
    offer(&mut bench);
    assert!(bench.all_sent().0.is_empty());
    bench.advance(Duration::from_millis(100));
    bench.forget_calls();
    offer(&mut bench);
    assert_eq!(bench.accepted().len(), 1);
}

#[test]
fn a_new_framework_has_no_tasks_to_wait_for() {
    let (mut bench, _) = forgetful();
    bench.event(MesosEvent::Subscribed {
        framework_id: FrameworkId::new("another"),
    });
    bench.forget_calls();
    offer(&mut bench);
    assert_eq!(bench.accepted().len(), 1);
    let mut first = Bench::new(vec![service("web", 1)]);
    offer(&mut first);
    assert_eq!(first.accepted().len(), 1);
}

#[test]
fn an_answer_that_was_lost_with_the_connection_is_waited_for_again() {
    let (mut bench, task) = forgetful();
    bench.subscribe();
    bench.event(MesosEvent::Disconnected);
    bench.advance(Duration::from_secs(60));
    bench.subscribe();
    assert!(bench.reconciled().is_empty());
    offer(&mut bench);
    assert!(bench.all_sent().0.is_empty());
    bench.answered(&task, TaskState::Running);
    bench.advance(Duration::from_secs(60));
    assert_eq!(bench.instance("web", 1).tasks.len(), 1);
}

#[test]
fn more_instances_take_in_the_unknown_tasks_that_belong_there() {
    let mut bench = Bench::new(vec![service("web", 3)]);
    let tasks = bench.run_all();
    // An older backup, that knows of one instance.
    for number in 2..=3 {
        let task = tasks[&format!("web-{number}")].clone();
        bench.store.remove(&Key::Task(task));
        bench
            .store
            .remove(&Key::Instance(WorkloadName::new("web"), number));
    }
    let key = Key::Workload(WorkloadName::new("web"));
    let Some(Record::Workload(web)) = bench.store.get_mut(&key) else {
        panic!("not stored");
    };
    web.desired = 1;
    bench.restart();
    bench.subscribe();
    for task in tasks.values() {
        bench.answered(task, TaskState::Running);
    }
    bench.advance(Duration::from_secs(60));
    assert_eq!(bench.scheduler.view().unknown_tasks.len(), 2);
    // What a task says of itself afterwards changes nothing.
    bench.tell(&tasks["web-3"], TaskState::Running);
    bench.scale("web", 4).unwrap();
    bench.forget_calls();
    bench.offer(&[&agent("b", &[])], 8.0);
    let (launched, killed) = bench.all_sent();
    let launched: Vec<_> = launched.iter().map(|launch| &*launch.instance).collect();
    assert_eq!((launched, killed.len()), (vec!["web-4"], 0));
    assert!(bench.scheduler.view().unknown_tasks.is_empty());
    for task in tasks.values() {
        assert!(bench.store.contains_key(&Key::Task(task.clone())));
    }
}
