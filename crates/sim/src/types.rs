//! Task types: what is declared, and how tasks behave in truth.

use std::time::Duration;

use gantry_core::{
    Amount, BackOff, CheckedPort, Constraint, Container, Demand, EnvironmentValue,
    EnvironmentVariable, HealthCheck, OnFailure, Operator, Pattern, Placement, Probe, Secret,
    ServiceSpec, Share, TaskCommand, Template, UpdateOrder, UpdatePolicy, WorkloadName,
};

use crate::{dice::Dice, plan::PORTS_FROM};

/// A task type. How its tasks behave is in their template.
#[derive(Clone, Debug)]
pub(crate) struct TypePlan {
    pub(crate) spec: ServiceSpec,
    /// Whether the next start of the scheduler declares it.
    pub(crate) declared: bool,
}

/// How the tasks of a revision behave while there are faults. It is the command that they run.
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
    const ALL: [(Self, &str); 6] = [
        (Self::Steady, "steady"),
        (Self::Ends, "ends"),
        (Self::Flaps, "flaps"),
        (Self::CrashLoop, "crash"),
        (Self::NeverStarts, "hang"),
        (Self::Sick, "sick"),
    ];

    /// Of the tasks that are made of a template.
    pub(crate) fn of(template: &Template) -> Self {
        Self::ALL
            .into_iter()
            .find(|(_, text)| template.command == TaskCommand::Shell((*text).to_owned()))
            .map_or(Self::Steady, |(behaviour, _)| behaviour)
    }

    fn command(self) -> TaskCommand {
        let mut all = Self::ALL.into_iter();
        let text = all
            .find(|(own, _)| *own == self)
            .map_or("", |(_, text)| text);
        TaskCommand::Shell(text.to_owned())
    }

    /// Whether its tasks run in the end.
    pub(crate) fn can_run(self) -> bool {
        matches!(self, Self::Steady | Self::Ends | Self::Flaps)
    }

    /// Whether none of its tasks is ever ready.
    pub(crate) fn is_never_ready(self) -> bool {
        matches!(self, Self::NeverStarts | Self::Sick)
    }

    /// Whether its tasks need a health check for it to show.
    const fn is_checked(self) -> bool {
        matches!(self, Self::Flaps | Self::Sick)
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
    let checked = behaviour.is_checked() || dice.chance(300);
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
    let may_wait_for =
        behaviour == Behaviour::Steady && free_of_rules && !fixed_port && dice.chance(600);
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
            template: template(demand, placement, behaviour, checked),
        },
        declared: true,
    }
}

pub(crate) fn update_policy(dice: &mut Dice) -> UpdatePolicy {
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

/// Another version of a type: an environment, and now and then resources, a check, or a program
/// that does better or worse.
pub(crate) fn change_template(dice: &mut Dice, spec: &mut ServiceSpec, number: u64) {
    let template = &mut spec.template;
    template.environment[0] = version(number);
    // To what used another secret there is no way back.
    if dice.chance(250) {
        template.environment.truncate(1);
        template.environment.push(token(number));
    }
    match dice.below(6) {
        0 => template.demand.mem = Amount::from_units(dice.between(16, 256)),
        1 if !Behaviour::of(template).is_checked() => {
            template.health_check = match template.health_check {
                Some(_) => None,
                None => Some(health_check()),
            };
        }
        // What others wait for must come in the end.
        2..=4 if spec.priority == 9 => {
            let behaviour = *dice
                .pick(&[
                    Behaviour::Steady,
                    Behaviour::Steady,
                    Behaviour::Flaps,
                    Behaviour::CrashLoop,
                    Behaviour::NeverStarts,
                    Behaviour::Sick,
                ])
                .unwrap_or(&Behaviour::Steady);
            template.command = behaviour.command();
            if behaviour.is_checked() {
                template.health_check = Some(health_check());
            }
        }
        _ => {}
    }
}

fn template(demand: Demand, placement: Placement, behaviour: Behaviour, checked: bool) -> Template {
    Template {
        demand,
        placement,
        command: behaviour.command(),
        container: Container::None,
        environment: vec![version(0)],
        uris: Vec::new(),
        labels: Default::default(),
        user: None,
        health_check: checked.then(health_check),
        kill_grace: None,
    }
}

fn health_check() -> HealthCheck {
    HealthCheck {
        probe: Probe::Tcp {
            port: CheckedPort::Index(0),
        },
        delay: Duration::from_secs(1),
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(5),
        consecutive_failures: 3,
        grace_period: Duration::from_secs(5),
    }
}

/// What tells one revision of a template from another.
fn version(number: u64) -> EnvironmentVariable {
    EnvironmentVariable {
        name: "VERSION".to_owned(),
        value: EnvironmentValue::Plain(number.to_string()),
    }
}

/// A secret, of which only the fingerprint is stored.
fn token(number: u64) -> EnvironmentVariable {
    EnvironmentVariable {
        name: "TOKEN".to_owned(),
        value: EnvironmentValue::Secret(Secret::new(number.to_string(), number as u32)),
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
