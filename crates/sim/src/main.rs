//! Runs worlds: `gantry-sim [--seeds N] [--from S] [--one S]`.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut seeds = 1_000;
    let mut from = 0;
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = arguments.next().and_then(|text| text.parse::<u64>().ok());
        match (argument.as_str(), value) {
            ("--seeds", Some(number)) => seeds = number,
            ("--from", Some(number)) => from = number,
            _ => {
                eprintln!("usage: gantry-sim [--seeds <how many>] [--from <first seed>]");
                return ExitCode::from(64);
            }
        }
    }
    let begin = std::time::Instant::now();
    let mut sum = gantry_sim::Summary::default();
    let mut failed: u64 = 0;
    for seed in from..from.saturating_add(seeds) {
        match gantry_sim::run(seed, None) {
            Ok(summary) => {
                sum.events += summary.events;
                sum.steps += summary.steps;
                sum.commits += summary.commits;
                sum.crashes += summary.crashes;
                sum.launches += summary.launches;
                sum.kills += summary.kills;
                sum.millis += summary.millis;
            }
            Err(failure) => {
                failed += 1;
                println!("{failure}");
                println!("again: cargo xtask sim --seeds 1 --from {seed}\n");
            }
        }
    }
    println!(
        "{seeds} worlds in {:.1} s, {failed} failed: {:.0} virtual hours, {} events, {} steps, {} commits, {} deaths of the scheduler, {} launches, {} kills",
        begin.elapsed().as_secs_f64(),
        sum.millis as f64 / 3_600_000.0,
        sum.events,
        sum.steps,
        sum.commits,
        sum.crashes,
        sum.launches,
        sum.kills
    );
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
