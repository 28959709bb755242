//! What the seed makes of the world.

use std::time::Duration;

use gantry_core::{BrakePolicy, ServiceSpec, Settings};

use crate::{
    dice::Dice,
    rates::{Fault, Rates},
    types::{TypePlan, type_plan},
};

/// First port that agents offer.
pub(crate) const PORTS_FROM: u16 = 31_000;

/// After the faults everything must come right in so many milliseconds.
pub(crate) const SETTLING: u64 = 14 * 60_000;

/// A world before it begins, and what its owners change about it.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) settings: Settings,
    /// How many Gantrys there are. One alone keeps its records itself, several in ZooKeeper.
    pub(crate) gantrys: usize,
    /// In milliseconds, as all times here.
    pub(crate) session_timeout: u64,
    /// Most writes of a transaction.
    pub(crate) transaction_max: u64,
    pub(crate) agents: u64,
    /// After so long the master rescinds what nobody has answered (`--offer_timeout`). Without it, as is
    /// usual, an offer is outstanding for as long as the subscription.
    pub(crate) offer_timeout: Option<u64>,
    /// Whether agents have room for everything: then everything must run in the end.
    pub(crate) ample: bool,
    pub(crate) types: Vec<TypePlan>,
    /// Counts changes of the declaration, and versions of templates.
    pub(crate) declaration: u64,
    /// The declaration of the last leader.
    pub(crate) led: u64,
    pub(crate) versions: u64,
    pub(crate) redeclares: bool,
    pub(crate) rates: Rates,
    /// Which larger faults happen in this world at all.
    faults: Vec<Fault>,
    pub(crate) weather_every: u64,
    /// When the faults stop.
    pub(crate) faults_until: u64,
    /// Whether clocks of Gantrys were ever off.
    pub(crate) skews: bool,
}

impl Plan {
    pub(crate) fn new(dice: &mut Dice) -> Self {
        let gantrys = *dice.pick(&[1, 1, 2, 2, 3]).unwrap_or(&1);
        let agents = dice.between(1, 8);
        let types = (0..dice.between(1, 4))
            .map(|index| type_plan(dice, index))
            .collect();
        let faults: Vec<_> = Fault::all().filter(|_| dice.chance(600)).collect();
        Self {
            settings: settings(dice),
            gantrys,
            session_timeout: dice.between(6, 15) * 1_000,
            transaction_max: *dice.pick(&[1, 3, 10, 1_000]).unwrap_or(&1),
            agents,
            offer_timeout: dice.chance(300).then_some(90_000),
            ample: dice.chance(850),
            types,
            declaration: 0,
            led: 0,
            versions: 0,
            redeclares: dice.chance(500),
            rates: Rates::new(dice, &faults),
            faults,
            weather_every: dice.between(2, 6) * 60_000,
            faults_until: dice.between(16, 20) * 60_000,
            skews: false,
        }
    }

    /// A single Gantry that keeps its records itself.
    pub(crate) const fn is_single(&self) -> bool {
        self.gantrys == 1
    }

    pub(crate) fn change_weather(&mut self, dice: &mut Dice) {
        self.rates = if dice.chance(300) {
            Rates::default()
        } else {
            Rates::new(dice, &self.faults)
        };
    }

    /// What the environment declares at this moment.
    pub(crate) fn declared(&self) -> Vec<ServiceSpec> {
        self.types
            .iter()
            .filter(|plan| plan.declared)
            .map(|plan| plan.spec.clone())
            .collect()
    }
}

fn settings(dice: &mut Dice) -> Settings {
    let seconds = |dice: &mut Dice, low, high| Duration::from_secs(dice.between(low, high));
    Settings {
        scheduler_hosts: vec!["node-1".to_owned()],
        instances_max: 50,
        starting_per_agent_max: dice.between(1, 12) as u32,
        refuse_idle: seconds(dice, 30, 3600),
        launch_deadline: seconds(dice, 20, 90),
        reconcile_max: seconds(dice, 10, 60),
        // Rare in half of the worlds, so that everything else must do without it.
        reconcile_every: if dice.chance(500) {
            Duration::from_secs(3600)
        } else {
            seconds(dice, 60, 300)
        },
        unreachable_after: seconds(dice, 5, 60),
        kill_initial: seconds(dice, 2, 10),
        kill_max: seconds(dice, 20, 60),
        replace_deadline: seconds(dice, 20, 60),
        brake: dice.chance(400).then(|| BrakePolicy {
            share_thousandths: dice.between(200, 700) as u32,
            window: seconds(dice, 20, 60),
            tasks_min: dice.between(2, 6) as u32,
        }),
        kill_unknown: dice.chance(350).then(|| seconds(dice, 10, 40)),
        ..Settings::new("sim")
    }
}
