//! Every offer is answered; offers are asked for when they are needed and only then.

use std::time::Duration;

use gantry_core::*;

use crate::bench::*;

#[test]
fn with_nothing_waiting_offers_are_suppressed_and_declined_for_long() {
    let mut bench = Bench::unsubscribed(vec![service("web", 0)]);
    bench.subscribe();
    assert!(bench.reconciled().is_empty());
    bench.suppressed();
    let host = agent("a", &[]);
    bench.offer(&[&host], 8.0);
    assert_eq!(bench.declined(), 1);
    bench.suppressed();
    bench.nothing_else();
}

#[test]
fn at_most_so_many_tasks_are_starting_on_an_agent_and_the_offer_is_held_meanwhile() {
    let mut bench = Bench::new(vec![service("web", 50)]);
    let host = agent("a", &[]);
    bench.offer(&[&host], 100.0);
    let first = bench.accepted();
    assert_eq!(first.len(), 20);
    bench.nothing_else();
    bench.offer(&[&host], 80.0);
    bench.nothing_else();
    for launch in &first[..10] {
        bench.tell(&launch.task, TaskState::Running);
    }
    // Half of the places are free: the held offer carries a batch, in the step that frees the tenth.
    let second = bench.accepted();
    assert_eq!(second.len(), 10);
    bench.revived();
    bench.nothing_else();
}

#[test]
fn a_held_offer_is_given_back_in_the_end() {
    let mut bench = Bench::new(vec![service("web", 50)]);
    let host = agent("a", &[]);
    bench.offer(&[&host], 100.0);
    bench.accepted();
    bench.offer(&[&host], 80.0);
    bench.advance(Duration::from_secs(6));
    assert_eq!(bench.declined(), 1);
    bench.nothing_else();
    assert_eq!(bench.scheduler.view().framework.offers_held, 0);
}

#[test]
fn a_rescinded_offer_is_not_used() {
    let mut bench = Bench::new(vec![service("web", 50)]);
    let host = agent("a", &[]);
    bench.offer(&[&host], 100.0);
    let first = bench.accepted();
    bench.offer(&[&host], 80.0);
    bench.event(MesosEvent::Rescinded(OfferId::new("O2")));
    for launch in &first {
        bench.tell(&launch.task, TaskState::Running);
    }
    assert!(bench.launched().is_empty());
}

#[test]
fn a_thousand_tasks_on_a_hundred_agents_take_one_round() {
    let mut bench = Bench::new(vec![service("web", 1000)]);
    let agents: Vec<_> = (0..100)
        .map(|number| agent(&format!("h{number}"), &[]))
        .collect();
    let all: Vec<_> = agents.iter().collect();
    bench.offer(&all, 32.0);
    let mut per_agent = Vec::new();
    for _ in 0..100 {
        per_agent.push(bench.accepted().len());
    }
    assert_eq!(per_agent, vec![10; 100]);
    bench.suppressed();
    bench.nothing_else();
}

#[test]
fn new_work_revives_and_repeats_while_it_waits() {
    let mut bench = Bench::new(vec![service("web", 1)]);
    bench.run_all();
    bench.scale("web", 2).unwrap();
    bench.revived();
    bench.nothing_else();
    bench.advance(Duration::from_secs(31));
    bench.revived();
    bench.nothing_else();
}

#[test]
fn offers_of_agents_about_to_be_maintained_are_not_used_until_that_is_over() {
    let mut bench = Bench::new(vec![service("web", 1)]);
    let host = agent("a", &[]);
    let from = bench.now + Duration::from_secs(900);
    let window = Unavailability {
        from,
        until: Some(from + Duration::from_secs(300)),
    };
    // The operator has left it on the schedule, so that it stays in every offer.
    let offer = |bench: &mut Bench, until| {
        bench.forget_calls();
        let mut offer = bench.offer_of(&host, entries(8.0, 1024, &[]));
        offer.unavailable = Some(Unavailability { until, ..window });
        bench.event(MesosEvent::Offers(vec![offer]));
    };
    bench.advance(Duration::from_secs(301));
    for _ in 0..2 {
        offer(&mut bench, window.until);
        assert_eq!(bench.declined(), 1);
        bench.nothing_else();
        let funnel = bench.workload("web").funnel.clone().unwrap();
        assert_eq!((funnel.after_constraints, funnel.after_maintenance), (1, 0));
        bench.advance(Duration::from_secs(898)); // Before it, and just before its end.
    }
    bench.advance(Duration::from_secs(1));
    offer(&mut bench, None);
    assert_eq!(bench.declined(), 1, "nobody has said when it ends");
    offer(&mut bench, window.until);
    assert_eq!(bench.accepted().len(), 1);
}

#[test]
fn an_agent_is_used_while_its_maintenance_is_far() {
    let mut bench = Bench::new(vec![service("web", 1)]);
    let host = agent("a", &[]);
    let mut offer = bench.offer_of(&host, entries(8.0, 1024, &[]));
    offer.unavailable = Some(Unavailability {
        from: bench.now + Duration::from_secs(601),
        until: None,
    });
    bench.event(MesosEvent::Offers(vec![offer]));
    assert_eq!(bench.accepted().len(), 1);
}

#[test]
fn a_new_subscription_voids_all_offers() {
    let mut bench = Bench::new(vec![service("web", 50)]);
    let host = agent("a", &[]);
    bench.offer(&[&host], 100.0);
    let first = bench.accepted();
    bench.offer(&[&host], 80.0);
    bench.event(MesosEvent::Disconnected);
    bench.nothing_else();
    bench.subscribe();
    assert_eq!(bench.reconciled().len(), 20);
    for launch in &first {
        bench.tell(&launch.task, TaskState::Running);
    }
    assert!(bench.launched().is_empty());
}

#[test]
fn a_master_that_kept_refusals_from_before_the_subscription_is_asked_for_offers() {
    let mut bench = Bench::new(vec![service("web", 1)]);
    bench.nothing_else(); // A subscription brings all offers by itself…
    bench.advance(Duration::from_secs(5));
    bench.revived(); // …and when it has not, they are asked for.
    bench.nothing_else();
}
