//! How many instances there are, and which.

use std::time::Duration;

use gantry_core::*;

use crate::bench::*;

#[test]
fn wanted_instances_are_launched_and_offers_are_suppressed() {
    let mut bench = Bench::new(vec![service("web", 3)]);
    let host = agent("a", &[]);
    bench.offer(&[&host], 8.0);
    let launches = bench.accepted();
    let names: Vec<_> = launches
        .iter()
        .map(|launch| launch.instance.to_string())
        .collect();
    assert_eq!(names, ["web-1", "web-2", "web-3"]);
    let id = launches[0].task.parts(FRAMEWORK).unwrap();
    assert_eq!((id.workload, id.number), ("web", 1));
    bench.suppressed();
    bench.nothing_else();
    for launch in &launches {
        bench.tell(&launch.task, TaskState::Starting);
        bench.tell(&launch.task, TaskState::Running);
    }
    bench.nothing_else();
    let counts = bench.workload("web").counts;
    assert_eq!((counts.running, counts.tasks(), counts.waiting), (3, 3, 0));
}

#[test]
fn scaling_takes_the_lowest_free_numbers_and_lets_go_of_the_youngest() {
    let mut bench = Bench::new(vec![service("web", 3)]);
    let tasks = bench.run_all();
    assert_eq!(bench.scale("web", 1), Ok(Answer::Scaled { from: 3, to: 1 }));
    // All were launched at once: the highest number counts as the youngest.
    assert_eq!(bench.killed(), tasks["web-3"]);
    assert_eq!(bench.killed(), tasks["web-2"]);
    bench.nothing_else();
    bench.tell(&tasks["web-2"], TaskState::Killed);
    bench.tell(&tasks["web-3"], TaskState::Killed);
    bench.nothing_else();
    assert_eq!(bench.workload("web").instances.len(), 1);

    assert_eq!(bench.scale("web", 2), Ok(Answer::Scaled { from: 1, to: 2 }));
    bench.revived();
    let host = agent("a", &[]);
    bench.offer(&[&host], 8.0);
    let launches = bench.accepted();
    assert_eq!(&*launches[0].instance, "web-2");
    assert_eq!(launches.len(), 1);
    bench.suppressed();
    bench.nothing_else();
}

#[test]
fn unhealthy_instances_go_first() {
    let mut web = service("web", 3);
    web.template.health_check = Some(health_check());
    let mut bench = Bench::new(vec![web]);
    let tasks = bench.run_all();
    let mut sick = bench.update(&tasks["web-1"], TaskState::Running);
    sick.healthy = Some(false);
    bench.tell_update(sick);
    bench.scale("web", 2).unwrap();
    assert_eq!(bench.killed(), tasks["web-1"]);
    bench.nothing_else();
}

#[test]
fn what_may_not_be_scaled_is_refused_and_nothing_changes() {
    let mut fixed = service("db", 1);
    fixed.allow_scaling = false;
    let mut bench = Bench::new(vec![fixed, service("web", 1)]);
    assert_eq!(
        bench.scale("db", 2),
        Err(Refusal::NotScalable(WorkloadName::new("db")))
    );
    assert_eq!(
        bench.scale("nope", 2),
        Err(Refusal::UnknownWorkload(WorkloadName::new("nope")))
    );
    assert_eq!(
        bench.scale("web", 2_000_000),
        Err(Refusal::TooManyInstances {
            asked: 2_000_000,
            limit: 1_000_000
        })
    );
    assert_eq!(bench.workload("web").desired, 1);
    bench.nothing_else();
}

#[test]
fn a_crash_loop_is_slowed_down_and_a_stable_run_forgives_it() {
    let mut bench = Bench::new(vec![service("web", 1)]);
    let host = agent("a", &[]);
    let mut delays = Vec::new();
    for _ in 0..4 {
        bench.forget_calls();
        bench.offer(&[&host], 8.0);
        let task = bench.accepted().remove(0).task;
        bench.tell(&task, TaskState::Running);
        bench.tell(&task, TaskState::Failed);
        let Some(Waiting::BackOff { until, .. }) = bench.instance("web", 1).waiting else {
            panic!("it should wait");
        };
        delays.push(until.since(bench.now).as_secs());
        bench.advance(until.since(bench.now));
    }
    assert_eq!(delays, [1, 2, 4, 8]);
    bench.offer(&[&host], 8.0);
    while bench.workload("web").counts.starting == 0 {
        bench.advance(Duration::from_secs(1));
    }
    let task = bench
        .workload("web")
        .tasks()
        .next()
        .map(|(number, task)| bench.workload("web").task_id(FRAMEWORK, number, task));
    let task = task.unwrap();
    bench.tell(&task, TaskState::Running);
    bench.advance(Duration::from_secs(61));
    bench.tell(&task, TaskState::Failed);
    let instance = bench.instance("web", 1);
    assert_eq!(instance.failures, 1);
    assert_eq!(instance.history.len(), HISTORY_LENGTH);
    assert_eq!(instance.history[0].state, TaskState::Failed);
}

#[test]
fn a_failure_that_an_answer_tells_counts_and_the_agent_tells_its_cause() {
    let mut bench = Bench::new(vec![service("web", 1)]);
    let task = bench.run_all().remove("web-1").unwrap();
    bench.restart();
    bench.subscribe();
    bench.reconciled();
    bench.suppressed();
    // The answer comes before the update that nobody has acknowledged.
    bench.answered(&task, TaskState::Failed);
    bench.nothing_else();
    let instance = bench.instance("web", 1);
    assert_eq!(instance.failures, 1);
    assert!(instance.not_before > Some(bench.now));
    for _ in 0..2 {
        let mut update = bench.update(&task, TaskState::Failed);
        update.reason = Some("REASON_COMMAND_EXECUTOR_FAILED".into());
        update.message = Some("exited with status 1".into());
        bench.tell_update(update);
        let instance = bench.instance("web", 1);
        assert_eq!((instance.failures, instance.history.len()), (1, 1));
        let ended = &instance.history[0];
        assert_eq!(
            ended.reason.as_deref(),
            Some("REASON_COMMAND_EXECUTOR_FAILED")
        );
        assert_eq!(ended.message.as_deref(), Some("exited with status 1"));
    }
    let stored = bench.store.get(&Key::Instance(WorkloadName::new("web"), 1));
    let Some(Record::Instance(record)) = stored else {
        panic!("not stored: {stored:?}")
    };
    assert_eq!(record.history, bench.instance("web", 1).history.to_vec());
}

#[test]
fn what_an_answer_leaves_open_is_held_against_a_task_when_its_agent_says_so() {
    for (answer, state, reason, failures) in [
        (
            TaskState::Killed,
            TaskState::Killed,
            "REASON_AGENT_DRAINING",
            0,
        ),
        (
            TaskState::Gone,
            TaskState::Failed,
            "REASON_CONTAINER_LIMITATION_MEMORY",
            1,
        ),
        (
            TaskState::Lost,
            TaskState::Dropped,
            "REASON_AGENT_RESTARTED",
            0,
        ),
    ] {
        let mut bench = Bench::new(vec![service("web", 1)]);
        let task = bench.run_all().remove("web-1").unwrap();
        bench.answered(&task, answer);
        assert_eq!(bench.instance("web", 1).failures, 0, "{answer:?}");
        let waiting = bench.instance("web", 1).waiting;
        assert!(
            matches!(waiting, Some(Waiting::Offer { .. })),
            "{waiting:?}"
        );
        let mut update = bench.update(&task, state);
        update.reason = Some(reason.into());
        bench.tell_update(update);
        let instance = bench.instance("web", 1);
        assert_eq!(instance.failures, failures, "{reason}");
        let backs_off = matches!(instance.waiting, Some(Waiting::BackOff { .. }));
        assert_eq!(backs_off, failures > 0);
        assert_eq!(instance.history[0].reason.as_deref(), Some(reason));
    }
}

#[test]
fn worse_priorities_wait_until_all_better_ones_are_launched() {
    let mut late = service("late", 1);
    late.priority = 2;
    let mut bench = Bench::new(vec![late, service("early", 2)]);
    let host = agent("a", &[]);
    bench.offer(&[&host], 1.0);
    assert_eq!(&*bench.accepted()[0].instance, "early-1");
    bench.nothing_else();
    assert_eq!(
        bench.workload("late").waits_for,
        Some(WorkloadName::new("early"))
    );
    bench.offer(&[&host], 2.0);
    let names: Vec<_> = bench
        .accepted()
        .iter()
        .map(|launch| launch.instance.to_string())
        .collect();
    assert_eq!(names, ["early-2", "late-1"]);
    bench.suppressed();
    bench.nothing_else();
}

#[test]
fn waiting_for_health_holds_the_next_priority() {
    let mut first = service("first", 1);
    first.wait_healthy = true;
    first.template.health_check = Some(health_check());
    let mut second = service("second", 1);
    second.priority = 2;
    let mut bench = Bench::new(vec![first, second]);
    let host = agent("a", &[]);
    bench.offer(&[&host], 8.0);
    let launches = bench.accepted();
    assert_eq!(launches.len(), 1);
    bench.tell(&launches[0].task, TaskState::Running);
    bench.offer(&[&host], 8.0);
    assert_eq!(bench.declined(), 1);
    bench.nothing_else();
    let mut healthy = bench.update(&launches[0].task, TaskState::Running);
    healthy.healthy = Some(true);
    bench.tell_update(healthy);
    bench.revived();
    bench.offer(&[&host], 8.0);
    assert_eq!(&*bench.accepted()[0].instance, "second-1");
}

#[test]
fn removed_services_are_stopped_and_forgotten() {
    let mut bench = Bench::new(vec![service("web", 1), service("old", 1)]);
    let tasks = bench.run_all();
    bench
        .services
        .retain(|service| service.name.as_str() == "web");
    bench.restart();
    bench.subscribe();
    let mut asked = bench.reconciled();
    asked.sort();
    let mut all: Vec<_> = tasks.values().cloned().collect();
    all.sort();
    assert_eq!(asked, all);
    assert_eq!(bench.killed(), tasks["old-1"]);
    bench.suppressed();
    bench.nothing_else();
    bench.tell(&tasks["old-1"], TaskState::Killed);
    assert!(bench.scheduler.view().workload("old").is_none());
    let left = bench
        .store
        .keys()
        .filter(|key| format!("{key:?}").contains("old"))
        .count();
    assert_eq!(left, 0);
}

#[test]
fn a_changed_count_of_the_declaration_replaces_the_operators() {
    let mut bench = Bench::new(vec![service("web", 1)]);
    bench.scale("web", 4).unwrap();
    bench.restart();
    assert_eq!(bench.workload("web").desired, 4);
    bench.services[0].instances = 2;
    bench.restart();
    assert_eq!(bench.workload("web").desired, 2);
}

#[test]
fn kill_all_stops_every_task_and_starts_it_again_at_once() {
    let mut bench = Bench::new(vec![service("web", 2)]);
    let tasks = bench.run_all();
    assert_eq!(
        bench.command(Command::KillAll { workload: None }),
        Ok(Answer::Stopping { tasks: 2 })
    );
    assert_eq!(bench.killed(), tasks["web-1"]);
    assert_eq!(bench.killed(), tasks["web-2"]);
    bench.nothing_else();
    bench.tell(&tasks["web-1"], TaskState::Killed);
    bench.revived();
    assert_eq!(bench.instance("web", 1).failures, 0);
    let host = agent("a", &[]);
    bench.offer(&[&host], 8.0);
    assert_eq!(&*bench.accepted()[0].instance, "web-1");
    bench.suppressed();
    bench.nothing_else();
}

#[test]
fn the_rest_of_the_tasks_is_the_list_without_its_beginning() {
    let mut bench = Bench::new(vec![service("web", 150)]);
    let agents: Vec<_> = (0..10)
        .map(|number| agent(&format!("a{number}"), &[]))
        .collect();
    bench.offer(&agents.iter().collect::<Vec<_>>(), 20.0);
    assert_eq!(bench.launched().len(), 150);
    let web = bench.workload("web");
    for skip in [0, 1, 63, 64, 65, 127, 128, 149, 150, 1_000] {
        let rest: Vec<_> = web.tasks_after(skip).map(|(number, _)| number).collect();
        let all: Vec<_> = web.tasks().map(|(number, _)| number).collect();
        assert_eq!(rest, all[skip.min(150)..], "{skip}");
    }
}

#[test]
fn what_cannot_be_reached_goes_before_what_runs() {
    let mut bench = Bench::new(vec![service("web", 3)]);
    let tasks = bench.run_all();
    bench.tell(&tasks["web-1"], TaskState::Unreachable);
    bench.scale("web", 2).unwrap();
    assert_eq!(bench.killed(), tasks["web-1"]);
    bench.nothing_else();
}

#[test]
fn what_is_remembered_of_an_instance_without_a_task_keeps_its_number() {
    let mut bench = Bench::new(vec![service("web", 3)]);
    let tasks = bench.run_all();
    bench.tell(&tasks["web-3"], TaskState::Failed);
    // Nothing is remembered of the first.
    bench.store.remove(&Key::Task(tasks["web-1"].clone()));
    bench.services[0].instances = 2;
    bench.restart();
    assert_eq!(bench.instance("web", 3).failures, 1);
    assert!(bench.workload("web").instances.get(1).is_none());
}

#[test]
fn a_service_may_take_the_name_in_task_ids_of_one_that_is_going() {
    let mut bench = Bench::new(vec![service("a/b", 1)]);
    let old = bench.run_all().remove("a_b-1").unwrap();
    bench.services = vec![service("a_b", 1)];
    bench.restart();
    bench.subscribe();
    bench.advance(Duration::from_secs(20)); // There are no others.
    bench.forget_calls();
    let host = agent("b", &[]);
    bench.offer(&[&host], 4.0);
    let new = bench.launched().remove(0).task;
    bench.tell(&old, TaskState::Running);
    bench.tell(&new, TaskState::Running);
    bench.tell(&old, TaskState::Killed);
    assert_eq!(bench.scheduler.view().workloads.len(), 1);
    assert_eq!(bench.workload("a_b").counts.running, 1);
    bench.scale("a_b", 2).unwrap();
    bench.tell(&new, TaskState::Failed);
    assert_eq!(bench.workload("a_b").counts.running, 0);
}
