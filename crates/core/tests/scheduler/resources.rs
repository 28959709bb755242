//! Amounts, ports, and packing pieces back in the kinds they were offered in.

use std::sync::Arc;

use gantry_core::*;
use proptest::prelude::*;

use crate::bench::*;

fn reserved(role: &str) -> Arc<Reservations> {
    Arc::new(Reservations(vec![Reservation {
        dynamic: true,
        role: role.into(),
        principal: Some("p".into()),
        labels: vec![("k".into(), None)],
    }]))
}

fn scalar(reservations: &Arc<Reservations>, scalar: Scalar, amount: f64) -> OfferEntry {
    OfferEntry {
        reservations: reservations.clone(),
        value: EntryValue::Scalar(scalar, Amount::from_f64(amount)),
    }
}

#[test]
fn ten_tenths_are_one() {
    let sum = (0..10).fold(Amount::ZERO, |sum, _| sum + Amount::from_f64(0.1));
    assert_eq!(sum, Amount::from_units(1));
}

#[test]
fn reserved_resources_are_used_first_and_pieces_keep_their_kind() {
    let mut web = service("web", 1);
    web.template.demand.cpus = Amount::from_f64(1.5);
    let mut bench = Bench::new(vec![web]);
    let (ours, free) = (reserved("web"), Arc::new(Reservations::default()));
    let host = agent("a", &[]);
    let entries = vec![
        scalar(&free, Scalar::Cpus, 4.0),
        scalar(&ours, Scalar::Cpus, 1.0),
        scalar(&free, Scalar::Mem, 1024.0),
    ];
    let offer = bench.offer_of(&host, entries);
    bench.event(MesosEvent::Offers(vec![offer]));
    let launch = bench.accepted().remove(0);
    assert_eq!(
        launch.pieces,
        [
            Piece::Scalar {
                scalar: Scalar::Cpus,
                amount: Amount::from_f64(1.0),
                reservations: ours
            },
            Piece::Scalar {
                scalar: Scalar::Cpus,
                amount: Amount::from_f64(0.5),
                reservations: free.clone()
            },
            Piece::Scalar {
                scalar: Scalar::Mem,
                amount: Amount::from_units(64),
                reservations: free
            },
        ]
    );
}

#[test]
fn fixed_ports_come_first_and_dynamic_ones_avoid_those_of_others() {
    let mut fixed = service("fixed", 1);
    fixed.template.demand.fixed_ports = vec![31_000, 31_002];
    fixed.template.demand.dynamic_ports = 1;
    let mut dynamic = service("dynamic", 1);
    dynamic.template.demand.dynamic_ports = 2;
    dynamic.priority = 0;
    let mut bench = Bench::new(vec![fixed, dynamic]);
    let host = agent("a", &[]);
    bench.offer(&[&host], 8.0);
    let launches = bench.accepted();
    assert_eq!(
        (&*launches[0].instance, launches[0].ports.as_slice()),
        ("dynamic-1", &[31_001, 31_003][..])
    );
    assert_eq!(
        (&*launches[1].instance, launches[1].ports.as_slice()),
        ("fixed-1", &[31_000, 31_002, 31_004][..])
    );
}

#[test]
fn a_fixed_port_outside_the_offer_is_a_reason_to_decline() {
    let mut web = service("web", 1);
    web.template.demand.fixed_ports = vec![80];
    let mut bench = Bench::new(vec![web]);
    let host = agent("a", &[]);
    bench.offer(&[&host], 8.0);
    assert_eq!(bench.declined(), 1);
    bench.nothing_else();
    let funnel = bench.workload("web").funnel.clone().unwrap();
    assert_eq!(
        (funnel.offers, funnel.after_resources, funnel.after_ports),
        (1, 1, 0)
    );
    assert_eq!(funnel.nearest.as_ref().unwrap().lacks, "port 80");
}

proptest! {
    #[test]
    fn a_port_set_behaves_like_a_set(ranges in prop::collection::vec((0u16..200, 0u16..20), 0..8), removed in prop::collection::vec(0u16..220, 0..40)) {
        let ranges: Vec<_> = ranges.into_iter().map(|(begin, length)| (begin, begin + length)).collect();
        let mut set = PortSet::from_ranges(ranges.iter().copied());
        let mut model: std::collections::BTreeSet<u16> = ranges.iter().flat_map(|(begin, end)| *begin..=*end).collect();
        for port in removed {
            prop_assert_eq!(set.remove(port), model.remove(&port));
            prop_assert_eq!(set.len(), model.len());
            let listed: Vec<u16> = set.ranges().iter().flat_map(|(begin, end)| *begin..=*end).collect();
            prop_assert_eq!(&listed, &model.iter().copied().collect::<Vec<_>>());
            let disjoint = set.ranges().windows(2).all(|pair| u32::from(pair[0].1) + 1 < u32::from(pair[1].0));
            prop_assert!(disjoint);
        }
        prop_assert_eq!(set.pop_first(), model.pop_first());
    }

    #[test]
    fn launches_never_exceed_the_offers(
        cpus in prop::collection::vec(0u64..8_000, 1..6),
        reserved_cpus in prop::collection::vec(0u64..3_000, 6),
        port_count in 0u16..30,
        demand_cpus in 1u64..2_500,
        dynamic_ports in 0u16..4,
        wanted in 1u32..40,
    ) {
        let mut web = service("web", wanted);
        web.template.demand.cpus = Amount::from_thousandths(demand_cpus);
        web.template.demand.dynamic_ports = dynamic_ports;
        let mut bench = Bench::new(vec![web]);
        let ours = reserved("web");
        let free = Arc::new(Reservations::default());
        let mut total = 0;
        let offers: Vec<_> = cpus.iter().zip(&reserved_cpus).enumerate().map(|(number, (open, own))| {
            let host = agent(&format!("h{number}"), &[]);
            total += (open + own) / demand_cpus;
            let mut all = vec![
                scalar(&free, Scalar::Cpus, *open as f64 / 1000.0),
                scalar(&ours, Scalar::Cpus, *own as f64 / 1000.0),
                scalar(&free, Scalar::Mem, 1e6),
            ];
            if port_count > 0 {
                all.push(OfferEntry {
                    reservations: free.clone(),
                    value: EntryValue::Ports(PortSet::from_ranges([(31_000, 31_000 + port_count - 1)])),
                });
            }
            bench.offer_of(&host, all)
        }).collect();
        let by_id: std::collections::BTreeMap<_, _> = offers.iter().cloned().map(|offer| (offer.agent.id.clone(), offer)).collect();
        bench.event(MesosEvent::Offers(offers));
        let mut used: std::collections::BTreeMap<_, (u64, u64, Vec<u16>)> = std::collections::BTreeMap::new();
        for launch in bench.launched() {
            let entry = used.entry(launch.agent.id.clone()).or_default();
            let mut of_task = 0;
            for piece in &launch.pieces {
                match piece {
                    Piece::Scalar { scalar: Scalar::Cpus, amount, reservations } => {
                        of_task += amount.thousandths();
                        if reservations.0.is_empty() { entry.0 += amount.thousandths() } else { entry.1 += amount.thousandths() }
                    }
                    Piece::Scalar { .. } => {}
                    Piece::Port { port, .. } => entry.2.push(*port),
                }
            }
            prop_assert_eq!(of_task, demand_cpus);
            prop_assert_eq!(launch.ports.len(), usize::from(dynamic_ports));
        }
        for (agent, (open, own, mut ports)) in used {
            let index: usize = by_id[&agent].agent.hostname[1..].parse().unwrap();
            prop_assert!(open <= cpus[index] && own <= reserved_cpus[index]);
            let count = ports.len();
            ports.sort_unstable();
            ports.dedup();
            prop_assert_eq!(ports.len(), count);
            prop_assert!(ports.iter().all(|port| (31_000..31_000 + port_count).contains(port)));
        }
    }
}
