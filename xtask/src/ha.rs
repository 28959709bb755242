//! `cargo xtask ha`: rounds of faults on real processes, with figures.

use anyhow::{Context as _, Result, bail};

use crate::{commands, system};

const ROUNDS: u32 = 50;

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let mut variables = vec![("GANTRY_HA_ROUNDS", ROUNDS.to_string())];
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let variable = match argument.as_str() {
            "--rounds" => "GANTRY_HA_ROUNDS",
            "--seed" => "GANTRY_HA_SEED",
            other => bail!("`{other}` is not one of --rounds N and --seed N"),
        };
        let value = arguments.next().context("a number is missing")?;
        let value: u64 = value.parse().context("it is not a number")?;
        variables.push((variable, value.to_string()));
    }
    system::install_packages()?;
    commands::cargo_with(
        &[
            "test",
            "--test",
            "program",
            "ha::rounds",
            "--",
            "--nocapture",
        ],
        &variables,
    )
}
