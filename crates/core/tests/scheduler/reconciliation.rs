//! What Mesos says of tasks, what it does not say, and what follows.

use std::time::Duration;

use gantry_core::*;

use crate::bench::*;

#[test]
fn silence_is_asked_again_with_growing_patience_and_never_a_reason_to_act() {
    let mut bench = Bench::new(vec![service("web", 1)]);
    let task = bench.run_all().remove("web-1").unwrap();
    bench.restart();
    bench.subscribe();
    assert_eq!(bench.reconciled(), std::slice::from_ref(&task));
    bench.suppressed();
    assert_eq!(bench.scheduler.view().framework.unconfirmed, 1);
    for pause in [5, 10, 20, 40, 60, 60] {
        bench.advance(Duration::from_secs(pause - 1));
        bench.nothing_else();
        bench.advance(Duration::from_secs(1));
        assert_eq!(bench.reconciled(), std::slice::from_ref(&task));
        bench.nothing_else();
    }
    bench.answered(&task, TaskState::Running);
    assert_eq!(bench.scheduler.view().framework.unconfirmed, 0);
    bench.advance(Duration::from_secs(60));
    assert!(bench.reconciled().is_empty()); // All known are heard of: are there others?
    bench.nothing_else();
}

#[test]
fn an_intent_whose_launch_was_lost_is_launched_anew() {
    let mut bench = Bench::new(vec![service("web", 1)]);
    let host = agent("a", &[]);
    bench.offer(&[&host], 4.0);
    let lost = bench.accepted().remove(0).task;
    bench.suppressed();
    bench.advance(Duration::from_secs(120));
    assert_eq!(bench.reconciled(), std::slice::from_ref(&lost));
    bench.nothing_else();
    bench.answered(&lost, TaskState::Gone);
    bench.revived();
    bench.offer(&[&host], 4.0);
    let fresh = bench.accepted().remove(0).task;
    assert_ne!(fresh, lost);
    assert_eq!(bench.instance("web", 1).failures, 0);
}

#[test]
fn late_and_repeated_updates_change_nothing_and_are_acknowledged() {
    let mut bench = Bench::new(vec![service("web", 1)]);
    let task = bench.run_all().remove("web-1").unwrap();
    bench.tell(&task, TaskState::Starting);
    assert_eq!(bench.instance("web", 1).tasks[0].state, TaskState::Running);
    bench.tell(&task, TaskState::Finished);
    bench.advance(Duration::from_secs(2));
    bench.revived();
    // An end never reverts, whoever says so.
    bench.tell(&task, TaskState::Running);
    bench.answered(&task, TaskState::Running);
    assert!(bench.instance("web", 1).tasks.is_empty());
    assert!(bench.scheduler.view().unknown_tasks.is_empty());
    bench.nothing_else();
}

#[test]
fn an_update_without_uuid_is_not_acknowledged() {
    let mut bench = Bench::new(vec![service("web", 1)]);
    let task = bench.run_all().remove("web-1").unwrap();
    bench.answered(&task, TaskState::Running);
    bench.nothing_else();
}

#[test]
fn an_unreachable_task_is_replaced_after_a_while_and_one_copy_stays_when_it_returns() {
    let mut bench = Bench::new(vec![service("web", 1)]);
    let old = bench.run_all().remove("web-1").unwrap();
    bench.tell(&old, TaskState::Unreachable);
    bench.advance(Duration::from_secs(59));
    bench.nothing_else();
    bench.advance(Duration::from_secs(1));
    bench.revived();
    let host = agent("b", &[]);
    bench.offer(&[&host], 4.0);
    let new = bench.accepted().remove(0).task;
    bench.suppressed();
    bench.tell(&new, TaskState::Running);
    bench.nothing_else();
    bench.tell(&old, TaskState::Running);
    // Both run: the older one is kept, by rule.
    assert_eq!(bench.killed(), new);
    bench.nothing_else();
}

#[test]
fn an_unreachable_task_that_returns_in_time_is_left_alone() {
    let mut bench = Bench::new(vec![service("web", 1)]);
    let task = bench.run_all().remove("web-1").unwrap();
    bench.tell(&task, TaskState::Unreachable);
    bench.advance(Duration::from_secs(30));
    bench.tell(&task, TaskState::Running);
    bench.advance(Duration::from_secs(300));
    bench.nothing_else();
}

#[test]
fn a_task_concluded_lost_that_is_alive_is_taken_back() {
    let mut web = service("web", 1);
    web.template.demand.dynamic_ports = 2;
    let mut bench = Bench::new(vec![web]);
    let task = bench.run_all().remove("web-1").unwrap();
    let ports = bench.instance("web", 1).tasks[0].ports.clone();
    assert_eq!(ports.len(), 2);
    bench.tell(&task, TaskState::Lost);
    bench.advance(Duration::from_secs(1));
    bench.revived();
    bench.tell(&task, TaskState::Running);
    assert_eq!(bench.reconciled(), std::slice::from_ref(&task));
    bench.suppressed();
    bench.nothing_else();
    assert_eq!(bench.instance("web", 1).tasks.len(), 1);
    let Some(Record::Task(record)) = bench.store.get(&Key::Task(task)) else {
        panic!("not stored")
    };
    assert_eq!(record.ports, ports);
}

#[test]
fn a_task_without_a_record_is_adopted_when_its_instance_is_empty_and_shown_otherwise() {
    let mut bench = Bench::new(vec![service("web", 1)]);
    let uuid = IdGenerator::new([9, 9, 9, 9]).uuid();
    let orphan = TaskId::from_parts(FRAMEWORK, "web", 1, uuid);
    bench.answered(&orphan, TaskState::Running);
    assert_eq!(bench.reconciled(), std::slice::from_ref(&orphan));
    bench.suppressed();
    assert_eq!(bench.instance("web", 1).tasks[0].uuid, uuid);

    let stranger = TaskId::from_parts(FRAMEWORK, "web", 7, uuid);
    bench.answered(&stranger, TaskState::Running);
    bench.nothing_else();
    assert!(bench.scheduler.view().unknown_tasks.contains_key(&stranger));
    bench
        .command(Command::KillUnknown {
            task: stranger.clone(),
        })
        .unwrap();
    assert_eq!(bench.killed(), stranger);
    bench.tell(&stranger, TaskState::Killed);
    assert!(bench.scheduler.view().unknown_tasks.is_empty());
}

#[test]
fn killing_unknown_tasks_waits_for_every_known_one() {
    let mut settings = Settings::new(FRAMEWORK);
    settings.kill_unknown = Some(Duration::from_secs(60));
    let mut bench = Bench::with_settings(vec![service("web", 1)], settings);
    bench.subscribe();
    let task = bench.run_all().remove("web-1").unwrap();
    bench.restart();
    bench.subscribe();
    bench.reconciled();
    bench.suppressed();
    let stranger = TaskId::new("fw.other-1.x");
    bench.answered(&stranger, TaskState::Running);
    bench.advance(Duration::from_secs(61));
    while bench.wake_at.is_some() {
        // Only questions, as long as one known task is silent.
        if bench.scheduler.view().counters.reconciliations > 8 {
            break;
        }
        bench.advance(Duration::from_secs(60));
    }
    assert_eq!(bench.scheduler.view().counters.kills, 0);
    bench.answered(&task, TaskState::Running);
    bench.advance(Duration::from_secs(301));
    assert!(bench.scheduler.view().counters.kills > 0);
}

#[test]
fn the_framework_id_is_stored_and_kept() {
    let mut bench = Bench::unsubscribed(vec![]);
    bench.subscribe();
    let Some(Record::Framework(record)) = bench.store.get(&Key::Framework) else {
        panic!("not stored")
    };
    assert_eq!(record.id.as_str(), "id-0001");
    bench.restart();
    assert_eq!(
        bench.scheduler.view().framework.id,
        Some(FrameworkId::new("id-0001"))
    );
}

#[test]
fn a_task_that_was_stopped_is_stopped_the_moment_it_is_back() {
    let mut bench = Bench::new(vec![service("web", 1)]);
    let task = bench.run_all().remove("web-1").unwrap();
    bench.tell(&task, TaskState::Unreachable);
    bench.scale("web", 0).unwrap();
    bench.advance(Duration::from_secs(1000));
    bench.forget_calls();
    bench.tell(&task, TaskState::Running);
    assert_eq!(bench.killed(), task);
    bench.nothing_else();

    // Also when it was thought to be gone.
    let mut bench = Bench::new(vec![service("web", 1)]);
    let task = bench.run_all().remove("web-1").unwrap();
    let launched_at = bench.instance("web", 1).tasks[0].launched_at;
    bench.advance(Duration::from_secs(5));
    bench.command(Command::KillAll { workload: None }).unwrap();
    bench.tell(&task, TaskState::Lost);
    bench.forget_calls();
    bench.tell(&task, TaskState::Running);
    assert_eq!(bench.all_sent().1, [task]);
    assert_eq!(bench.instance("web", 1).tasks[0].launched_at, launched_at);
}

#[test]
fn what_is_stored_as_unreachable_is_given_up_when_mesos_has_said_so_again() {
    let mut bench = Bench::new(vec![service("web", 1)]);
    let tasks = bench.run_all();
    let task = &tasks["web-1"];
    bench.tell(task, TaskState::Unreachable);
    bench.restart();
    bench.subscribe();
    let host = agent("b", &[]);
    let room = |bench: &mut Bench| {
        bench.forget_calls();
        bench.offer(&[&host], 1.0);
        let launched = bench.launched().len();
        bench.forget_calls();
        launched
    };
    bench.advance(Duration::from_secs(600));
    assert_eq!(
        room(&mut bench),
        0,
        "it may be back, and nobody has said so"
    );
    bench.answered(task, TaskState::Unreachable);
    bench.advance(Duration::from_secs(1));
    assert_eq!(room(&mut bench), 1);
}
