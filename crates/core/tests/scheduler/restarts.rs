//! Restarting one task.

use std::time::Duration;

use gantry_core::*;

use crate::bench::*;

#[test]
fn the_new_task_is_started_before_the_old_one_is_stopped() {
    let mut web = service("web", 1);
    web.template.health_check = Some(health_check());
    let mut bench = Bench::new(vec![web]);
    let old = bench.run_all().remove("web-1").unwrap();
    assert_eq!(
        bench.command(Command::Restart { task: old.clone() }),
        Ok(Answer::Restarting)
    );
    bench.revived();
    let again = bench.command(Command::Restart { task: old.clone() });
    assert_eq!(again, Err(Refusal::AlreadyChanging(old.clone())));
    let host = agent("b", &[]);
    bench.offer(&[&host], 4.0);
    let new = bench.accepted().remove(0).task;
    bench.suppressed();
    bench.tell(&new, TaskState::Running);
    bench.nothing_else(); // Running is not healthy.
    let mut healthy = bench.update(&new, TaskState::Running);
    healthy.healthy = Some(true);
    bench.tell_update(healthy);
    assert_eq!(bench.killed(), old);
    bench.tell(&old, TaskState::Killed);
    bench.nothing_else();
    assert_eq!(bench.instance("web", 1).tasks.len(), 1);
}

#[test]
fn fixed_ports_stop_the_old_task_first() {
    let mut web = service("web", 1);
    web.template.demand.fixed_ports = vec![31_000];
    let mut bench = Bench::new(vec![web]);
    let old = bench.run_all().remove("web-1").unwrap();
    bench
        .command(Command::Restart { task: old.clone() })
        .unwrap();
    assert_eq!(bench.killed(), old);
    bench.nothing_else();
    bench.tell(&old, TaskState::Killed);
    bench.revived();
    let host = agent("b", &[]);
    bench.offer(&[&host], 4.0);
    assert_eq!(bench.accepted().len(), 1);
}

#[test]
fn a_replacement_that_does_not_become_ready_is_given_up_and_the_old_task_stays() {
    let mut web = service("web", 1);
    web.template.health_check = Some(health_check());
    let mut bench = Bench::new(vec![web]);
    let old = bench.run_all().remove("web-1").unwrap();
    bench.command(Command::Restart { task: old }).unwrap();
    bench.revived();
    let host = agent("b", &[]);
    bench.offer(&[&host], 4.0);
    let new = bench.accepted().remove(0).task;
    bench.suppressed();
    bench.tell(&new, TaskState::Running);
    bench.advance(Duration::from_secs(301));
    assert_eq!(bench.killed(), new);
    bench.tell(&new, TaskState::Killed);
    let instance = bench.instance("web", 1);
    assert_eq!(instance.tasks.len(), 1);
    assert_eq!(instance.tasks[0].goal, Goal::Run);
    assert_eq!(instance.waiting, None);
}

#[test]
fn a_restart_survives_a_crash_of_the_scheduler() {
    let mut bench = Bench::new(vec![service("web", 1)]);
    let old = bench.run_all().remove("web-1").unwrap();
    bench
        .command(Command::Restart { task: old.clone() })
        .unwrap();
    let host = agent("b", &[]);
    bench.revived();
    bench.offer(&[&host], 4.0);
    let new = bench.accepted().remove(0).task;
    bench.restart();
    bench.subscribe();
    assert_eq!(bench.reconciled().len(), 2);
    bench.suppressed();
    bench.tell(&old, TaskState::Running);
    bench.nothing_else();
    bench.tell(&new, TaskState::Running);
    assert_eq!(bench.killed(), old);
    bench.nothing_else();
}

#[test]
fn an_unknown_task_cannot_be_restarted() {
    let mut bench = Bench::new(vec![service("web", 1)]);
    let id = TaskId::new("fw.web-1.nonsense");
    assert_eq!(
        bench.command(Command::Restart { task: id.clone() }),
        Err(Refusal::UnknownTask(id))
    );
    bench.nothing_else();
}

#[test]
fn kills_are_repeated_with_growing_patience() {
    let mut bench = Bench::new(vec![service("web", 1)]);
    let task = bench.run_all().remove("web-1").unwrap();
    bench.scale("web", 0).unwrap();
    let mut kills = 0;
    for _ in 0..65 {
        while bench.instance("web", 1).tasks[0].kills_sent > kills {
            assert_eq!(bench.killed(), task);
            kills += 1;
        }
        bench.advance(Duration::from_secs(1));
    }
    assert_eq!(kills, 3); // At 0, 10 and 30 seconds.
    bench.tell(&task, TaskState::Killed);
    bench.advance(Duration::from_secs(600));
    bench.nothing_else();
}

#[test]
fn the_end_of_the_old_task_does_not_forgive_the_failure_of_the_new_one() {
    let mut bench = Bench::new(vec![service("web", 1)]);
    let old = bench.run_all().remove("web-1").unwrap();
    bench
        .command(Command::Restart { task: old.clone() })
        .unwrap();
    let host = agent("b", &[]);
    bench.forget_calls();
    bench.advance(Duration::from_secs(1));
    bench.offer(&[&host], 4.0);
    bench.forget_calls();
    let new = bench
        .workload("web")
        .tasks()
        .map(|(number, task)| bench.workload("web").task_id(FRAMEWORK, number, task))
        .find(|id| *id != old)
        .unwrap();
    bench.tell(&new, TaskState::Running);
    assert_eq!(bench.killed(), old);
    bench.tell(&new, TaskState::Failed);
    bench.tell(&old, TaskState::Killed);
    let waiting = bench.instance("web", 1).waiting;
    assert!(
        matches!(waiting, Some(Waiting::BackOff { .. })),
        "{waiting:?}"
    );
}
