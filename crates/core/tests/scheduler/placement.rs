//! Where tasks go.

use std::{collections::BTreeMap, time::Duration};

use gantry_core::*;

use crate::bench::*;

fn constrained(field: &str, operator: Operator, instances: u32) -> Bench {
    let mut web = service("web", instances);
    web.template.placement.constraints = vec![Constraint {
        field: field.into(),
        operator,
    }];
    Bench::new(vec![web])
}

/// Launches per value of `field`.
fn spread(bench: &mut Bench, field: &str) -> BTreeMap<String, u32> {
    let mut spread = BTreeMap::new();
    for launch in bench.launched() {
        *spread
            .entry(launch.agent.field(field).unwrap().to_owned())
            .or_default() += 1;
    }
    spread
}

fn racks() -> Vec<std::sync::Arc<AgentAddress>> {
    [("a1", "a"), ("a2", "a"), ("b1", "b"), ("c1", "c")]
        .into_iter()
        .map(|(host, rack)| agent(host, &[("rack", rack)]))
        .collect()
}

fn offer_all(bench: &mut Bench) {
    let racks = racks();
    let all: Vec<_> = racks.iter().collect();
    bench.offer(&all, 16.0);
}

#[test]
fn tasks_are_spread_over_agents() {
    let mut bench = Bench::new(vec![service("web", 6)]);
    offer_all(&mut bench);
    let spread = spread(&mut bench, "hostname");
    assert_eq!(spread.values().copied().collect::<Vec<_>>(), [2, 2, 1, 1]);
}

#[test]
fn unique_allows_one_on_a_value() {
    let mut bench = constrained("rack", Operator::Unique, 5);
    offer_all(&mut bench);
    assert_eq!(
        spread(&mut bench, "rack"),
        BTreeMap::from([("a".into(), 1), ("b".into(), 1), ("c".into(), 1)])
    );
    assert_eq!(bench.declined(), 1);
    offer_all(&mut bench);
    assert_eq!(bench.declined(), 4);
    bench.nothing_else();
}

#[test]
fn max_per_limits_a_value() {
    let mut bench = constrained("rack", Operator::MaxPer(2), 10);
    offer_all(&mut bench);
    assert_eq!(
        spread(&mut bench, "rack"),
        BTreeMap::from([("a".into(), 2), ("b".into(), 2), ("c".into(), 2)])
    );
}

#[test]
fn cluster_without_a_value_stays_where_the_first_went() {
    let mut bench = constrained("rack", Operator::Cluster(None), 4);
    offer_all(&mut bench);
    let spread = spread(&mut bench, "rack");
    assert_eq!(spread.len(), 1);
    assert_eq!(spread.values().sum::<u32>(), 4);
}

#[test]
fn cluster_with_a_value_is_like_is() {
    for operator in [
        Operator::Cluster(Some("b".into())),
        Operator::Is("b".into()),
    ] {
        let mut bench = constrained("rack", operator, 3);
        offer_all(&mut bench);
        assert_eq!(
            spread(&mut bench, "rack"),
            BTreeMap::from([("b".into(), 3)])
        );
    }
}

#[test]
fn group_by_spreads_evenly() {
    let mut bench = constrained("rack", Operator::GroupBy(3), 9);
    offer_all(&mut bench);
    assert_eq!(
        spread(&mut bench, "rack"),
        BTreeMap::from([("a".into(), 3), ("b".into(), 3), ("c".into(), 3)])
    );
}

#[test]
fn group_by_waits_for_the_groups_it_was_promised() {
    let mut bench = constrained("rack", Operator::GroupBy(4), 9);
    offer_all(&mut bench);
    assert_eq!(
        spread(&mut bench, "rack")
            .values()
            .copied()
            .collect::<Vec<_>>(),
        [1, 1, 1]
    );
}

#[test]
fn like_and_unlike_match_from_end_to_end() {
    let pattern = Pattern::new("a|b").unwrap();
    let mut bench = constrained("rack", Operator::Like(pattern.clone()), 4);
    offer_all(&mut bench);
    assert!(!spread(&mut bench, "rack").contains_key("c"));
    let mut bench = constrained("rack", Operator::Unlike(pattern), 4);
    offer_all(&mut bench);
    assert_eq!(
        spread(&mut bench, "rack"),
        BTreeMap::from([("c".into(), 4)])
    );
    // A missing attribute satisfies UNLIKE and nothing else.
    let mut bench = constrained("gone", Operator::Unlike(Pattern::new("x").unwrap()), 1);
    offer_all(&mut bench);
    assert_eq!(bench.launched().len(), 1);
    let mut bench = constrained("gone", Operator::Unique, 1);
    offer_all(&mut bench);
    assert_eq!(bench.declined(), 4);
}

#[test]
fn unique_hosts_and_the_schedulers_own_host() {
    let mut web = service("web", 4);
    web.template.placement.unique_hosts = true;
    web.template.placement.avoid_scheduler_host = true;
    let mut settings = Settings::new(FRAMEWORK);
    settings.scheduler_hosts = vec!["a1".into()];
    let mut bench = Bench::with_settings(vec![web, service("other", 1)], settings);
    bench.subscribe();
    bench.reconciled();
    offer_all(&mut bench);
    let launches = bench.launched();
    let web: Vec<_> = launches
        .iter()
        .filter(|launch| &*launch.workload == "web")
        .map(|launch| launch.agent.hostname.as_str())
        .collect();
    assert_eq!(web.len(), 3);
    assert!(!web.contains(&"a1"));
    assert!(launches.iter().any(|launch| &*launch.workload == "other"));
}

#[test]
fn constraints_are_counted_again_after_a_restart_of_the_scheduler() {
    let mut bench = constrained("rack", Operator::Unique, 3);
    offer_all(&mut bench);
    assert_eq!(bench.launched().len(), 3);
    bench.services[0].instances = 4;
    bench.restart();
    bench.subscribe();
    bench.reconciled();
    offer_all(&mut bench);
    assert_eq!(bench.declined(), 4);
    bench.nothing_else();
}

fn launched_on(bench: &mut Bench, host: &str, rack: &str) -> Vec<TaskId> {
    let host = agent(host, &[("rack", rack)]);
    bench.forget_calls();
    bench.offer(&[&host], 16.0);
    let launched = bench.launched();
    launched.into_iter().map(|launch| launch.task).collect()
}

#[test]
fn what_was_given_up_keeps_nobody_from_its_place() {
    for (operator, tasks) in [
        (Operator::Cluster(None), 2),
        (Operator::Unique, 1),
        (Operator::MaxPer(2), 2),
    ] {
        let cluster = matches!(operator, Operator::Cluster(_));
        let mut bench = constrained("rack", operator, tasks);
        let lost = launched_on(&mut bench, "a1", "a");
        assert_eq!(lost.len(), tasks as usize);
        for task in &lost {
            bench.tell(task, TaskState::Running);
            bench.tell(task, TaskState::Unreachable);
        }
        bench.advance(Duration::from_secs(59));
        assert!(launched_on(&mut bench, "b1", "b").is_empty());
        bench.advance(Duration::from_secs(2));
        // Elsewhere, or, where each place is to be used, in its place.
        let (host, rack) = if cluster { ("b1", "b") } else { ("a2", "a") };
        assert_eq!(launched_on(&mut bench, host, rack).len(), tasks as usize);
        // It counts again when it is back.
        bench.tell(&lost[0], TaskState::Running);
        bench.scale("web", tasks + 1).unwrap();
        assert!(launched_on(&mut bench, host, rack).is_empty());
    }
}

#[test]
fn groups_that_are_gone_are_not_waited_for() {
    let mut bench = constrained("rack", Operator::GroupBy(1), 3);
    offer_all(&mut bench);
    let launched = bench.launched();
    for launch in &launched {
        bench.tell(&launch.task, TaskState::Running);
    }
    let of = |rack: &str| {
        let mut launched = launched.iter();
        let launch = launched.find(|launch| launch.agent.field("rack") == Some(rack));
        launch.unwrap().task.clone()
    };
    bench.scale("web", 4).unwrap();
    bench.tell(&of("c"), TaskState::GoneByOperator);
    assert_eq!(launched_on(&mut bench, "a1", "a").len(), 1);

    // One that cannot be reached for long.
    let mut bench = constrained("rack", Operator::GroupBy(1), 2);
    let hosts = [("a1", "a"), ("b1", "b")].map(|(host, rack)| agent(host, &[("rack", rack)]));
    bench.offer(&[&hosts[0], &hosts[1]], 16.0);
    for launch in bench.launched() {
        bench.tell(&launch.task, TaskState::Running);
        if launch.agent.field("rack") == Some("b") {
            bench.tell(&launch.task, TaskState::Unreachable);
        }
    }
    bench.advance(Duration::from_secs(61));
    assert_eq!(launched_on(&mut bench, "a1", "a").len(), 1);

    // One that was only offered, before the subscription.
    let mut bench = constrained("rack", Operator::GroupBy(1), 2);
    offer_all(&mut bench);
    for launch in bench.launched() {
        bench.tell(&launch.task, TaskState::Running);
    }
    bench.event(MesosEvent::Disconnected);
    bench.subscribe();
    bench.scale("web", 3).unwrap();
    assert_eq!(launched_on(&mut bench, "a1", "a").len(), 1);
}

#[test]
fn none_of_equal_priority_takes_all_starting_places() {
    let mut bench = Bench::new(vec![service("many", 100), service("one", 1)]);
    let host = agent("a", &[]);
    bench.offer(&[&host], 100.0);
    let first = bench.launched();
    assert!(first.iter().all(|launch| &*launch.workload == "many"));
    for launch in &first[..10] {
        bench.tell(&launch.task, TaskState::Running);
    }
    bench.forget_calls();
    bench.offer(&[&host], 100.0);
    let next = bench.launched();
    assert!(next.iter().any(|launch| &*launch.workload == "one"));
}
