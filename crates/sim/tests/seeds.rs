//! Worlds of many seeds keep every promise, and a run can be repeated.

use gantry_sim::run;

/// How many worlds every test run goes through. `cargo xtask sim` goes through more.
const SEEDS: u64 = 1_000;

#[test]
fn every_world_keeps_every_promise() {
    let mut crashes = 0;
    let mut launches = 0;
    for seed in 0..SEEDS {
        match run(seed, None) {
            Ok(summary) => {
                crashes += summary.crashes;
                launches += summary.launches;
            }
            Err(failure) => panic!("{failure}\nagain: cargo xtask sim --seeds 1 --from {seed}"),
        }
    }
    assert!(crashes > SEEDS, "the scheduler died often: {crashes}");
    assert!(launches > 10 * SEEDS, "much was launched: {launches}");
}

#[test]
fn a_seed_makes_the_same_world_each_time() {
    for seed in 0..20 {
        let first = run(seed, None).expect("a world without a fault");
        let second = run(seed, None).expect("a world without a fault");
        assert_eq!(first, second);
        let other = run(seed + 1, None).expect("a world without a fault");
        assert_ne!(first.fingerprint, other.fingerprint);
    }
}
