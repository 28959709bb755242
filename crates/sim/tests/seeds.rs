//! Worlds of many seeds keep every promise, and a run can be repeated.

use std::sync::atomic::{AtomicU64, Ordering};

use gantry_sim::{Summary, run};

/// How many worlds every test run goes through. `cargo xtask sim` goes through more.
const SEEDS: u64 = 2_000;

/// Virtual time that every world takes at least.
const MILLIS: u64 = 30 * 60_000;

#[test]
fn every_world_keeps_every_promise() {
    let next = AtomicU64::new(0);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let mut sum = Summary::default();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| scope.spawn(|| run_some(&next)))
            .collect();
        for worker in workers {
            sum += worker.join().expect("no world is broken");
        }
    });
    // What keeps its promises has had the occasion to break them.
    let Summary {
        crashes,
        terms,
        depositions,
        freezes,
        dropped,
        fenced,
        decayed,
        acknowledged,
        launches,
        ..
    } = sum;
    assert!(crashes > 5 * SEEDS, "{sum:#?}");
    assert!(terms > 5 * SEEDS && depositions > 2 * SEEDS, "{sum:#?}");
    assert!(freezes > SEEDS && dropped > SEEDS / 4, "{sum:#?}");
    assert!(fenced > 0 && decayed > SEEDS / 4, "{sum:#?}");
    assert!(
        acknowledged > 5 * SEEDS && launches > 50 * SEEDS,
        "{sum:#?}"
    );
}

fn run_some(next: &AtomicU64) -> Summary {
    let mut sum = Summary::default();
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= SEEDS {
            return sum;
        }
        match run(seed, None) {
            Ok(summary) => {
                assert!(summary.millis >= MILLIS, "{summary:?}");
                sum += summary;
            }
            Err(failure) => {
                // The others need not go on.
                next.store(SEEDS, Ordering::Relaxed);
                panic!("{failure}\nagain: cargo xtask sim --one {seed}");
            }
        }
    }
}

#[test]
fn a_seed_makes_the_same_world_each_time() {
    for seed in 0..10 {
        let first = run(seed, None).expect("a world without a fault");
        let second = run(seed, None).expect("a world without a fault");
        assert_eq!(first, second);
        let other = run(seed + 1, None).expect("a world without a fault");
        assert_ne!(first.fingerprint, other.fingerprint);
    }
}
