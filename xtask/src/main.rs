//! Chores of the project: `cargo xtask test`, `browser`, `bench`, `sim`, `ha`, `fuzz`.

use anyhow::{Result, bail};

mod api;
mod bench;
mod browser;
mod commands;
mod fuzz;
mod ha;
mod system;
mod test;

const USAGE: &str = "\
cargo xtask test                      install what the tests need and run all of them
cargo xtask browser [PART...]         the dashboard in a real browser; files with PART in their names
cargo xtask api                       ask a Gantry what can be made up from docs/openapi.json
cargo xtask bench [core|launches|api|modules|takeover|peer] measure, side by side where two things can be compared
cargo xtask sim [--seeds N] [--from S] drive Gantrys through seeded faults; --one SEED shows what happened
cargo xtask ha [--rounds N] [--seed S]  rounds of faults on real processes, with figures
cargo xtask fuzz [TARGET] [SECONDS]    fuzz the decoders (default: all, 60 s each)";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = match arguments.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", &[][..]),
    };
    match command {
        "test" => test::run(),
        "browser" => browser::run(rest),
        "api" => api::run(),
        "bench" => bench::run(rest),
        "sim" => commands::cargo(
            &["run", "--profile", "sim", "--package", "gantry-sim", "--"]
                .iter()
                .map(|word| (*word).to_owned())
                .chain(rest.iter().cloned())
                .collect::<Vec<_>>(),
        ),
        "ha" => ha::run(rest),
        "fuzz" => fuzz::run(rest),
        "help" | "--help" | "-h" => {
            println!("{USAGE}");
            Ok(())
        }
        other => bail!("there is no chore `{other}`\n{USAGE}"),
    }
}
