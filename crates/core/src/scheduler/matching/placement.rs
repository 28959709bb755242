//! Whether a service's tasks may go to an agent, and how many.

use std::collections::BTreeSet;

use super::{
    super::{
        Scheduler,
        services::{Service, Spread},
    },
    MAINTENANCE_LEAD,
    lot::{FieldValues, Lot},
};
use crate::{Constraint, Operator, Template, Timestamp};

/// What is asked of an agent on behalf of one service.
pub(super) struct Placing<'a> {
    scheduler: &'a Scheduler,
    service: &'a Service,
    template: &'a Template,
    groups: &'a Groups,
}

/// For each constraint that spreads over groups, the values that known agents have.
pub(super) struct Groups(Vec<BTreeSet<String>>);

impl Groups {
    pub(super) fn of(scheduler: &Scheduler, template: &Template) -> Self {
        let known = |constraint: &Constraint| match constraint.operator {
            Operator::GroupBy(_) => {
                let seen = scheduler.offers.agents_seen.values();
                seen.filter_map(|agent| agent.field(&constraint.field))
                    .map(str::to_owned)
                    .collect()
            }
            _ => BTreeSet::new(),
        };
        Self(template.placement.constraints.iter().map(known).collect())
    }
}

/// The outcome of looking at one offer, by the first test it fails.
#[derive(Debug, PartialEq)]
pub(super) enum Verdict {
    /// The agent does not satisfy a constraint.
    Constraints,
    /// The agent's maintenance is near or under way.
    Maintenance,
    /// A colocation rule forbids the agent.
    Colocation,
    /// Too little cpus, mem, disk or gpus.
    Resources {
        /// How far from enough; see [`Lot::lack`].
        lack: u64,
    },
    /// Not the ports.
    Ports,
    /// It fits so many times, starting places aside.
    Fits {
        /// How many times.
        room: u32,
    },
}

impl<'a> Placing<'a> {
    pub(super) fn new(
        scheduler: &'a Scheduler,
        service: &'a Service,
        template: &'a Template,
        groups: &'a Groups,
    ) -> Self {
        Self {
            scheduler,
            service,
            template,
            groups,
        }
    }

    /// Whether each task placed changes what the constraints allow.
    pub(super) fn is_counted(&self) -> bool {
        self.template
            .placement
            .constraints
            .iter()
            .any(|constraint| is_counted(&constraint.operator))
    }

    /// How many tasks of the service the agent has.
    pub(super) fn existing(&self, lot: &Lot) -> u32 {
        self.service
            .on_agent
            .get(&lot.offer.agent.id)
            .copied()
            .unwrap_or(0)
    }

    pub(super) fn judge(&self, lot: &Lot, now: Timestamp) -> Verdict {
        if !self.allows_now(lot) {
            return Verdict::Constraints;
        }
        let unavailable = lot.offer.unavailable;
        if unavailable.is_some_and(|window| window.is_near(now, MAINTENANCE_LEAD)) {
            return Verdict::Maintenance;
        }
        if !self.allows_beside(lot) {
            return Verdict::Colocation;
        }
        let demand = &self.template.demand;
        let by_scalars = lot.room_by_scalars(demand);
        if by_scalars == 0 {
            return Verdict::Resources {
                lack: lot.lack(demand),
            };
        }
        let by_ports = lot.room_by_ports(demand);
        if by_ports == 0 {
            return Verdict::Ports;
        }
        let room = by_scalars.min(by_ports);
        Verdict::Fits {
            room: if self.template.placement.unique_hosts {
                room.min(1)
            } else {
                room
            },
        }
    }

    fn allows_beside(&self, lot: &Lot) -> bool {
        let placement = &self.template.placement;
        let agent = &lot.offer.agent;
        if placement.unique_hosts && self.existing(lot) > 0 {
            return false;
        }
        let hosts = &self.scheduler.settings.scheduler_hosts;
        !(placement.avoid_scheduler_host
            && hosts
                .iter()
                .any(|host| *host == agent.hostname || *host == agent.ip))
    }

    /// Whether the constraints allow one more task on the agent, as tasks lie at this moment.
    pub(super) fn allows_now(&self, lot: &Lot) -> bool {
        let constraints = &self.template.placement.constraints;
        let agent = &lot.offer.agent;
        let values: FieldValues<'_> = constraints
            .iter()
            .map(|constraint| agent.field(&constraint.field))
            .collect();
        constraints
            .iter()
            .zip(values)
            .enumerate()
            .all(|(position, (constraint, value))| self.allows(position, constraint, value))
    }

    fn allows(&self, position: usize, constraint: &Constraint, value: Option<&str>) -> bool {
        let Some(value) = value else {
            return matches!(constraint.operator, Operator::Unlike(_));
        };
        let spread = &self.service.spread[position];
        let count = || spread.get(value).copied().unwrap_or(0);
        match &constraint.operator {
            Operator::Is(wanted) => value == wanted,
            Operator::Like(pattern) => pattern.matches(value),
            Operator::Unlike(pattern) => !pattern.matches(value),
            Operator::Unique => count() == 0,
            Operator::MaxPer(limit) => count() < *limit,
            Operator::Cluster(Some(wanted)) => value == wanted,
            Operator::Cluster(None) => spread
                .iter()
                .all(|(other, tasks)| *tasks == 0 || other == value),
            Operator::GroupBy(groups) => {
                count() <= fewest_in_a_group(&self.groups.0[position], spread, *groups)
            }
        }
    }
}

/// The number of tasks in the group that has the fewest. When fewer groups are known than there
/// are said to be, an empty one is out there.
fn fewest_in_a_group(known: &BTreeSet<String>, spread: &Spread, groups: u32) -> u32 {
    if (known.len() as u32) < groups {
        return 0;
    }
    known
        .iter()
        .map(|value| spread.get(value).copied().unwrap_or(0))
        .min()
        .unwrap_or(0)
}

fn is_counted(operator: &Operator) -> bool {
    matches!(
        operator,
        Operator::Unique | Operator::MaxPer(_) | Operator::Cluster(None) | Operator::GroupBy(_)
    )
}
