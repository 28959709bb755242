//! The disaster brake.

use std::{collections::BTreeMap, time::Duration};

use gantry_core::*;

use crate::bench::*;

fn running(instances: u32) -> (Bench, BTreeMap<String, TaskId>) {
    let mut bench = Bench::new(vec![service("web", instances)]);
    let tasks = bench.run_all();
    bench.advance(Duration::from_secs(120));
    bench.forget_calls();
    (bench, tasks)
}

fn lose(bench: &mut Bench, tasks: &BTreeMap<String, TaskId>, how_many: usize, state: TaskState) {
    for task in tasks.values().take(how_many) {
        bench.tell(task, state);
    }
}

fn braked(bench: &Bench) -> bool {
    bench.scheduler.view().brake.is_some()
}

/// Offers room for everything: nothing may be launched on it.
fn offer_room(bench: &mut Bench) -> usize {
    bench.forget_calls();
    let host = agent("b", &[]);
    bench.offer(&[&host], 100.0);
    let launched = bench.launched().len();
    bench.forget_calls();
    launched
}

#[test]
fn many_lost_tasks_set_it_and_nothing_is_started_again() {
    let (mut bench, tasks) = running(19);
    lose(&mut bench, &tasks, 9, TaskState::Unreachable);
    assert!(!braked(&bench), "9 of 19 are less than half");
    lose(&mut bench, &tasks, 10, TaskState::Unreachable);
    assert!(braked(&bench));
    bench.advance(Duration::from_secs(300)); // Longer than the patience with unreachable tasks.
    assert_eq!(offer_room(&mut bench), 0);
    let counts = bench.workload("web").counts;
    assert_eq!((counts.braked, counts.unreachable), (10, 10));
    assert!(bench.store.contains_key(&Key::Brake));

    // What was lost is there again: after some calm it goes off by itself.
    for task in tasks.values() {
        bench.tell(task, TaskState::Running);
    }
    bench.advance(Duration::from_secs(30));
    assert!(braked(&bench));
    bench.advance(Duration::from_secs(31));
    assert!(!braked(&bench));
    assert!(!bench.store.contains_key(&Key::Brake));
    assert_eq!(bench.workload("web").counts.ready, 19);
    bench.nothing_else();
}

#[test]
fn lost_tasks_are_started_again_when_it_is_released() {
    let (mut bench, tasks) = running(10);
    lose(&mut bench, &tasks, 10, TaskState::Unreachable);
    bench.advance(Duration::from_secs(300));
    assert_eq!(offer_room(&mut bench), 0);
    assert_eq!(bench.command(Command::ReleaseBrake), Ok(Answer::Released));
    assert_eq!(offer_room(&mut bench), 10);
    assert_eq!(
        bench.command(Command::ReleaseBrake),
        Err(Refusal::BrakeNotOn)
    );
}

#[test]
fn it_holds_through_a_restart_of_the_scheduler() {
    let (mut bench, tasks) = running(10);
    lose(&mut bench, &tasks, 10, TaskState::Gone);
    assert!(braked(&bench));
    bench.restart();
    bench.subscribe();
    assert_eq!(offer_room(&mut bench), 0);
    assert_eq!(bench.workload("web").counts.braked, 10);
    // All that was lost has ended for certain: nothing is in doubt any more.
    bench.advance(Duration::from_secs(120));
    assert!(!braked(&bench));
    assert_eq!(offer_room(&mut bench), 10);
}

#[test]
fn tasks_that_end_by_themselves_do_not_set_it() {
    let (mut bench, tasks) = running(20);
    lose(&mut bench, &tasks, 20, TaskState::Failed);
    assert!(!braked(&bench));
}

#[test]
fn few_tasks_and_old_trouble_do_not_set_it() {
    let (mut bench, tasks) = running(9);
    lose(&mut bench, &tasks, 9, TaskState::Lost);
    assert!(!braked(&bench));

    let (mut bench, tasks) = running(12);
    for task in tasks.values() {
        bench.tell(task, TaskState::Unreachable);
        bench.advance(Duration::from_secs(10));
    }
    assert!(!braked(&bench), "never more than half within the window");
}

#[test]
fn what_an_operator_asks_for_is_done_with_the_brake_on() {
    let (mut bench, tasks) = running(12);
    lose(&mut bench, &tasks, 10, TaskState::Unreachable);
    bench.scale("web", 14).unwrap();
    assert_eq!(offer_room(&mut bench), 2, "what is new was asked for");
    bench.scale("web", 1).unwrap();
    assert!(
        bench
            .workload("web")
            .tasks()
            .filter(|(_, task)| task.goal.is_stop())
            .count()
            > 10
    );
}

#[test]
fn deployments_wait_for_it() {
    let (mut bench, tasks) = running(12);
    bench
        .command(Command::RollingRestart { workload: None })
        .unwrap();
    lose(&mut bench, &tasks, 10, TaskState::Unreachable);
    bench.advance(Duration::from_secs(1000));
    assert_eq!(offer_room(&mut bench), 0);
    let view = bench.scheduler.view();
    assert_eq!(view.deployments[0].status, DeploymentStatus::Running);
}

/// `web` with so many tasks, all healthy.
fn healthy(instances: u32) -> (Bench, BTreeMap<String, TaskId>) {
    let mut web = service("web", instances);
    web.template.health_check = Some(health_check());
    let mut bench = Bench::new(vec![web]);
    let tasks = bench.run_all();
    for task in tasks.values() {
        say(&mut bench, task, TaskState::Running, true);
    }
    bench.advance(Duration::from_secs(120));
    bench.forget_calls();
    (bench, tasks)
}

fn say(bench: &mut Bench, task: &TaskId, state: TaskState, healthy: bool) {
    let mut update = bench.update(task, state);
    update.healthy = Some(healthy);
    bench.tell_update(update);
}

#[test]
fn what_failed_its_check_until_mesos_ended_it_has_not_recovered() {
    let (mut bench, tasks) = healthy(10);
    for task in tasks.values() {
        say(&mut bench, task, TaskState::Running, false);
    }
    for task in tasks.values() {
        say(&mut bench, task, TaskState::Failed, false);
    }
    bench.advance(Duration::from_secs(600));
    assert!(braked(&bench));
    assert_eq!(offer_room(&mut bench), 0);
    bench.restart();
    bench.subscribe();
    bench.advance(Duration::from_secs(600));
    assert!(braked(&bench));
    bench.command(Command::ReleaseBrake).unwrap();
    bench.advance(Duration::from_secs(10));
    assert_eq!(offer_room(&mut bench), 10);
}

#[test]
fn it_goes_off_when_few_of_them_were_ended() {
    let (mut bench, tasks) = healthy(20);
    let tasks: Vec<_> = tasks.into_values().collect();
    for task in &tasks[..12] {
        say(&mut bench, task, TaskState::Running, false);
    }
    assert!(braked(&bench));
    for task in &tasks[..3] {
        say(&mut bench, task, TaskState::Killed, false);
    }
    for task in &tasks[3..12] {
        say(&mut bench, task, TaskState::Running, true);
    }
    bench.advance(Duration::from_secs(61));
    assert!(!braked(&bench));
    bench.advance(Duration::from_secs(10));
    assert_eq!(offer_room(&mut bench), 3);
}

#[test]
fn an_end_by_the_check_is_trouble_also_without_a_word_before() {
    let (mut bench, tasks) = healthy(10);
    for task in tasks.values() {
        say(&mut bench, task, TaskState::Killed, false);
    }
    assert!(braked(&bench));
}

#[test]
fn restarts_that_operators_ask_for_are_done_with_the_brake_on() {
    let mut fixed = service("fixed", 1);
    fixed.template.demand.fixed_ports = vec![31_000];
    let mut bench = Bench::new(vec![service("web", 12), service("cache", 1), fixed]);
    let tasks = bench.run_all();
    bench.advance(Duration::from_secs(120));
    for number in 1..=12 {
        bench.tell(&tasks[&format!("web-{number}")], TaskState::Unreachable);
    }
    assert!(braked(&bench));
    bench.forget_calls();
    let (fixed, cache) = (&tasks["fixed-1"], &tasks["cache-1"]);
    for task in [fixed, cache] {
        let task = task.clone();
        bench.command(Command::Restart { task }).unwrap();
    }
    assert_eq!(bench.all_sent().1, std::slice::from_ref(fixed));
    bench.tell(fixed, TaskState::Killed);
    let host = agent("b", &[]);
    bench.offer(&[&host], 100.0);
    let (launched, _) = bench.all_sent();
    let of = |launch: &Launch| launch.instance.to_string();
    assert_eq!(
        launched.iter().map(of).collect::<Vec<_>>(),
        ["cache-1", "fixed-1"]
    );
    bench.tell(&launched[0].task, TaskState::Running);
    assert_eq!(bench.all_sent().1, std::slice::from_ref(cache));
    // What is lost afterwards waits like the rest.
    bench.tell(cache, TaskState::Killed);
    bench.tell(&launched[0].task, TaskState::Lost);
    bench.advance(Duration::from_secs(30));
    assert_eq!(offer_room(&mut bench), 0);
}

/// What was recorded as running may have been lost long ago, while nobody listened, and its checks are
/// not known before Mesos has spoken of each.
#[test]
fn few_that_are_told_first_are_few() {
    let mut web = service("web", 10);
    web.template.health_check = Some(health_check());
    let mut bench = Bench::new(vec![service("gpu", 10), web]);
    let tasks = bench.run_all();
    bench.restart();
    bench.subscribe();
    for number in 1..=10 {
        bench.answered(&tasks[&format!("gpu-{number}")], TaskState::Unreachable);
    }
    assert!(!braked(&bench), "10 of 20 are not more than half");
    bench.answered(&tasks["web-1"], TaskState::Unreachable);
    assert!(braked(&bench));
}

#[test]
fn what_a_leader_before_knew_to_be_lost_is_no_news() {
    let (mut bench, tasks) = running(12);
    for task in tasks.values() {
        bench.tell(task, TaskState::Unreachable);
        bench.advance(Duration::from_secs(10));
    }
    let back = &tasks["web-1"];
    bench.tell(back, TaskState::Running);
    bench.restart();
    bench.subscribe();
    assert_eq!(bench.instance("web", 1).tasks[0].state, TaskState::Running);
    for task in tasks.values().filter(|task| *task != back) {
        bench.answered(task, TaskState::Unreachable);
    }
    assert!(!braked(&bench));
}

#[test]
fn tasks_that_a_framework_left_behind_with_its_id_were_not_lost() {
    let (mut bench, tasks) = running(12);
    bench.store.remove(&Key::Framework).expect("it is stored");
    bench.restart();
    bench.event(MesosEvent::Subscribed {
        framework_id: FrameworkId::new("id-0002"),
    });
    for task in tasks.values() {
        bench.answered(task, TaskState::Gone);
    }
    assert!(!braked(&bench));
    bench.advance(Duration::from_secs(10));
    assert_eq!(offer_room(&mut bench), 12);

    // What is launched under the new id is its own.
    for number in 1..=12 {
        let instance = bench.instance("web", number);
        let task = bench
            .workload("web")
            .task_id(FRAMEWORK, number, &instance.tasks[0]);
        bench.tell(&task, TaskState::Running);
        bench.answered(&task, TaskState::Gone);
    }
    assert!(braked(&bench));
}

#[test]
fn one_that_was_stored_goes_off_where_none_is_wanted_any_more() {
    let (mut bench, tasks) = running(10);
    lose(&mut bench, &tasks, 10, TaskState::Gone);
    assert!(bench.store.contains_key(&Key::Brake));
    bench.settings.brake = None;
    bench.restart();
    assert!(!bench.store.contains_key(&Key::Brake));
    let audit = bench.scheduler.view().audit;
    assert_eq!(audit.last().expect("it is told").action, "brake off");
    bench.subscribe();
    bench.advance(Duration::from_secs(10));
    assert_eq!(offer_room(&mut bench), 10);
}
