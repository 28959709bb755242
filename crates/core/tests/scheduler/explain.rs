//! Why an instance waits is data.

use gantry_core::*;

use crate::bench::*;

#[test]
fn the_funnel_names_the_test_that_fails_and_the_nearest_miss() {
    let mut web = service("web", 1);
    web.template.demand.cpus = Amount::from_units(4);
    let mut bench = Bench::new(vec![web]);
    let (near, far) = (agent("near", &[]), agent("far", &[]));
    let offers = vec![
        bench.offer_of(&far, entries(1.0, 4096, &[])),
        bench.offer_of(&near, entries(3.7, 4096, &[])),
    ];
    bench.event(MesosEvent::Offers(offers));
    assert_eq!(bench.declined(), 2);
    bench.nothing_else();
    let funnel = bench.workload("web").funnel.clone().unwrap();
    assert_eq!(
        (
            funnel.offers,
            funnel.after_colocation,
            funnel.after_resources
        ),
        (2, 2, 0)
    );
    assert_eq!(
        funnel.nearest,
        Some(NearMiss {
            hostname: "near".into(),
            lacks: "0.3 cpus".into()
        })
    );
}
