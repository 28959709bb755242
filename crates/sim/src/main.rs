//! Runs worlds: `gantry-sim [--seeds N] [--from S] [--one SEED]`.

use std::{
    process::ExitCode,
    sync::atomic::{AtomicU64, Ordering},
    time::Instant,
};

use gantry_sim::Summary;

const USAGE: &str = "usage: gantry-sim [--seeds <how many>] [--from <first seed>]
       gantry-sim --one <seed>    with an account of what happened";

fn main() -> ExitCode {
    let mut seeds = 1_000;
    let mut from = 0;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = arguments.next().and_then(|text| text.parse::<u64>().ok());
        match (argument.as_str(), value) {
            ("--seeds", Some(number)) => seeds = number,
            ("--from", Some(number)) => from = number,
            ("--one", Some(seed)) => return run_one(seed),
            _ => {
                eprintln!("{USAGE}");
                return ExitCode::from(64);
            }
        }
    }
    run_many(from, seeds)
}

fn run_one(seed: u64) -> ExitCode {
    let (trace, result) = gantry_sim::run_traced(seed);
    for line in trace {
        println!("{line}");
    }
    match result {
        Ok(summary) => {
            println!("seed {seed} kept every promise: {summary:#?}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("{}", failure.headline());
            ExitCode::FAILURE
        }
    }
}

fn run_many(from: u64, seeds: u64) -> ExitCode {
    let begin = Instant::now();
    let next = AtomicU64::new(from);
    let end = from.saturating_add(seeds);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let outcomes: Vec<(Summary, u64)> = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|_| scope.spawn(|| run_until(&next, end)))
            .collect();
        workers
            .into_iter()
            // A worker that dies has lost count of its worlds.
            .map(|worker| worker.join().unwrap_or_else(|_| (Summary::default(), 1)))
            .collect()
    });
    let mut sum = Summary::default();
    let mut failed = 0;
    for (summary, failures) in outcomes {
        sum += summary;
        failed += failures;
    }
    let seconds = begin.elapsed().as_secs_f64();
    println!(
        "{seeds} worlds in {seconds:.1} s on {threads} threads ({:.1} a second), {failed} failed; {:.0} virtual hours: {sum:#?}",
        seeds as f64 / seconds,
        sum.millis as f64 / 3_600_000.0,
    );
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn run_until(next: &AtomicU64, end: u64) -> (Summary, u64) {
    let mut sum = Summary::default();
    let mut failed = 0;
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end {
            return (sum, failed);
        }
        match gantry_sim::run(seed, None) {
            Ok(summary) => sum += summary,
            Err(failure) => {
                failed += 1;
                println!("{}", failure.headline());
                println!("  again: cargo xtask sim --one {seed}");
            }
        }
    }
}
