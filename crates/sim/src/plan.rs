//! What the seed makes of the world.

use std::time::Duration;

use gantry_core::{
    Amount, BackOff, CheckedPort, Constraint, Container, Demand, EnvironmentValue,
    EnvironmentVariable, HealthCheck, OnFailure, Operator, Pattern, Placement, Probe, ServiceSpec,
    Settings, Share, TaskCommand, Template, UpdateOrder, UpdatePolicy, WorkloadName,
};

use crate::dice::Dice;

/// First port that agents offer.
pub(crate) const PORTS_FROM: u16 = 31_000;

/// After the faults everything must come right in so many milliseconds.
pub(crate) const SETTLING: u64 = 14 * 60_000;

/// A world before it begins.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) settings: Settings,
    pub(crate) agents: u64,
    /// Whether agents have room for everything: then everything must run in the end.
    pub(crate) ample: bool,
    pub(crate) types: Vec<TypePlan>,
    pub(crate) rates: Rates,
    /// When the faults stop, in milliseconds.
    pub(crate) faults_until: u64,
}

/// A task type and how its tasks behave.
#[derive(Clone, Debug)]
pub(crate) struct TypePlan {
    pub(crate) spec: ServiceSpec,
    pub(crate) behaviour: Behaviour,
    /// Whether the next start of the scheduler declares it.
    pub(crate) declared: bool,
}

/// How the tasks of a type behave while there are faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// They run on.
    Steady,
    /// They end now and then; after the faults they run on.
    Ends,
    /// They become unhealthy now and then; after the faults they stay healthy.
    Flaps,
    /// They end soon after their start, always.
    CrashLoop,
    /// They never start: fail, or hang and then fail.
    NeverStarts,
    /// They run, but are never healthy.
    Sick,
}

impl Behaviour {
    /// Whether its tasks run in the end.
    pub(crate) fn can_run(self) -> bool {
        matches!(self, Self::Steady | Self::Ends | Self::Flaps)
    }
}

/// How often what goes wrong. Per mille, but for the means, which are in milliseconds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rates {
    /// The connection breaks on a call, which is executed or not.
    pub(crate) call_breaks: u64,
    /// A call is taken (202) and has no effect.
    pub(crate) call_vanishes: u64,
    /// An update is lost on the way to the master; the agent repeats it.
    pub(crate) update_lost: u64,
    /// An update comes twice, the second time after any delay.
    pub(crate) update_repeated: u64,
    /// The scheduler dies before, or after, a commit.
    pub(crate) crash_at_commit: u64,
    /// The scheduler dies between two calls.
    pub(crate) crash_between_calls: u64,
    /// A commit fails with unknown outcome.
    pub(crate) commit_fails: u64,
    /// A commit takes seconds.
    pub(crate) commit_slow: u64,
    /// A launched task fails at once, or is dropped by the agent.
    pub(crate) launch_fails: u64,
    /// Between two faults of the larger kind; 0 for none.
    pub(crate) fault_mean: u64,
    /// Between two commands; 0 for none.
    pub(crate) operator_mean: u64,
    /// Which larger faults happen, by position in [`Fault::ALL`].
    pub(crate) faults: Vec<Fault>,
    /// Whether calls of an old subscription leave in a new one, or are dropped.
    pub(crate) stale_calls_leave: bool,
    /// Whether the declaration changes when the scheduler starts anew.
    pub(crate) redeclares: bool,
}

/// The larger kinds of faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The scheduler dies.
    Crash,
    /// The connection between scheduler and master breaks.
    Disconnect,
    /// Another master takes over.
    MasterFailover,
    /// Agent and master do not hear each other for some time.
    Partition,
    /// An agent's machine dies and is back later.
    Reboot,
    /// An agent dies and comes back as another one.
    Replace,
    /// An operator marks an agent as gone.
    Gone,
    /// The master forgets an agent that has been unreachable for long; it may still be back.
    Forget,
    /// Offers are rescinded.
    Rescind,
    /// A task ends.
    TaskEnds,
}

impl Fault {
    pub(crate) const ALL: [Self; 10] = [
        Self::Crash,
        Self::Disconnect,
        Self::MasterFailover,
        Self::Partition,
        Self::Reboot,
        Self::Replace,
        Self::Gone,
        Self::Forget,
        Self::Rescind,
        Self::TaskEnds,
    ];
}

impl Plan {
    pub(crate) fn new(dice: &mut Dice) -> Self {
        let agents = dice.between(1, 8);
        let types = (0..dice.between(1, 4))
            .map(|index| type_plan(dice, index))
            .collect();
        Self {
            settings: settings(dice),
            agents,
            ample: dice.chance(850),
            types,
            rates: rates(dice),
            faults_until: dice.between(1, 5) * 60_000,
        }
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
        brake: None,
        kill_unknown: dice.chance(250).then(|| seconds(dice, 20, 60)),
        ..Settings::new("sim")
    }
}

fn rates(dice: &mut Dice) -> Rates {
    // Each family of faults is there in most worlds and missing in some, as one hides another.
    let rate = |dice: &mut Dice, most: u64| {
        if dice.chance(600) {
            dice.between(1, most)
        } else {
            0
        }
    };
    Rates {
        call_breaks: rate(dice, 30),
        call_vanishes: rate(dice, 60),
        update_lost: rate(dice, 200),
        update_repeated: rate(dice, 200),
        crash_at_commit: rate(dice, 40),
        crash_between_calls: rate(dice, 20),
        commit_fails: rate(dice, 100),
        commit_slow: rate(dice, 50),
        launch_fails: rate(dice, 100),
        fault_mean: if dice.chance(850) {
            dice.between(3_000, 30_000)
        } else {
            0
        },
        operator_mean: if dice.chance(850) {
            dice.between(2_000, 40_000)
        } else {
            0
        },
        faults: Fault::ALL
            .into_iter()
            .filter(|_| dice.chance(600))
            .collect(),
        stale_calls_leave: dice.chance(500),
        redeclares: dice.chance(500),
    }
}

/// A type of this number; numbers are never used twice in a world.
pub(crate) fn type_plan(dice: &mut Dice, index: u64) -> TypePlan {
    let behaviour = *dice
        .pick(&[
            Behaviour::Steady,
            Behaviour::Steady,
            Behaviour::Steady,
            Behaviour::Ends,
            Behaviour::Flaps,
            Behaviour::CrashLoop,
            Behaviour::NeverStarts,
            Behaviour::Sick,
        ])
        .unwrap_or(&Behaviour::Steady);
    let placement = placement(dice);
    let checked = match behaviour {
        Behaviour::Flaps | Behaviour::Sick => true,
        _ => dice.chance(300),
    };
    let free_of_rules = placement == Placement::default();
    let fixed_port = dice.chance(150);
    let demand = Demand {
        cpus: Amount::from_thousandths(dice.between(1, 10) * 100),
        mem: Amount::from_units(dice.between(16, 256)),
        fixed_ports: fixed_port
            .then_some(PORTS_FROM + index as u16)
            .into_iter()
            .collect(),
        dynamic_ports: dice.below(2) as u16,
        ..Demand::default()
    };
    let may_wait_for = behaviour == Behaviour::Steady && free_of_rules && !fixed_port;
    TypePlan {
        spec: ServiceSpec {
            name: WorkloadName::new(if dice.chance(200) {
                format!("group/t{index}")
            } else {
                format!("t{index}")
            }),
            instances: dice.below(8) as u32,
            // What may never be placed must not hold back others by its priority.
            priority: if may_wait_for {
                dice.below(2) as i32
            } else {
                9
            },
            wait_healthy: may_wait_for && dice.chance(300),
            allow_scaling: dice.chance(900),
            back_off: BackOff {
                max: Duration::from_secs(dice.between(5, 60)),
                stable_after: Duration::from_secs(dice.between(5, 60)),
                ..BackOff::default()
            },
            update: update_policy(dice),
            template: template(demand, placement, checked),
        },
        behaviour,
        declared: true,
    }
}

fn update_policy(dice: &mut Dice) -> UpdatePolicy {
    let share = |dice: &mut Dice| match dice.below(3) {
        0 => None,
        1 => Some(Share::Percent(dice.between(0, 100) as u8)),
        _ => Some(Share::Count(dice.between(1, 4) as u32)),
    };
    UpdatePolicy {
        parallelism: dice.between(1, 4) as u32,
        order: if dice.chance(500) {
            UpdateOrder::StartFirst
        } else {
            UpdateOrder::StopFirst
        },
        min_healthy: share(dice),
        max_over: share(dice),
        deadline: Duration::from_secs(dice.between(20, 60)),
        on_failure: if dice.chance(500) {
            OnFailure::Pause
        } else {
            OnFailure::Rollback
        },
        monitor: Duration::from_secs(dice.below(5)),
    }
}

fn template(demand: Demand, placement: Placement, checked: bool) -> Template {
    Template {
        demand,
        placement,
        command: TaskCommand::Shell("run".to_owned()),
        container: Container::None,
        environment: vec![version(0)],
        uris: Vec::new(),
        labels: Default::default(),
        user: None,
        health_check: checked.then(|| HealthCheck {
            probe: Probe::Tcp {
                port: CheckedPort::Index(0),
            },
            delay: Duration::from_secs(1),
            interval: Duration::from_secs(10),
            timeout: Duration::from_secs(5),
            consecutive_failures: 3,
            grace_period: Duration::from_secs(5),
        }),
        kill_grace: None,
    }
}

/// What tells one revision of a template from another.
pub(crate) fn version(number: u64) -> EnvironmentVariable {
    EnvironmentVariable {
        name: "VERSION".to_owned(),
        value: EnvironmentValue::Plain(number.to_string()),
    }
}

fn placement(dice: &mut Dice) -> Placement {
    let pattern = |text: &str| Pattern::new(text).ok();
    let rule = |field: &str, operator: Option<Operator>| Placement {
        constraints: operator
            .map(|operator| Constraint {
                field: field.to_owned(),
                operator,
            })
            .into_iter()
            .collect(),
        ..Placement::default()
    };
    match dice.below(20) {
        0 => Placement {
            unique_hosts: true,
            ..Placement::default()
        },
        1 => Placement {
            avoid_scheduler_host: true,
            ..Placement::default()
        },
        2 => rule("rack", Some(Operator::Unique)),
        3 => rule("hostname", Some(Operator::MaxPer(2))),
        4 => rule("rack", pattern("r[12]").map(Operator::Like)),
        5 => rule("ssd", pattern("yes").map(Operator::Unlike)),
        6 => rule("rack", Some(Operator::Is("r1".to_owned()))),
        7 => rule("rack", Some(Operator::Cluster(None))),
        8 => rule("rack", Some(Operator::GroupBy(1))),
        _ => Placement::default(),
    }
}
