//! Where tasks may go.

use gantry_core::{Constraint, Launch, Operator, TaskState, Timestamp, Workload};

use crate::world::World;

impl World {
    pub(super) fn check_placement(
        &self,
        workload: &Workload,
        launch: &Launch,
        at: Timestamp,
    ) -> Result<(), String> {
        let placement = &launch.template.placement;
        let agent = &launch.agent;
        let hosts = &self.plan.settings.scheduler_hosts;
        if placement.avoid_scheduler_host && hosts.contains(&agent.hostname) {
            return Err("is the scheduler's host".to_owned());
        }
        let on_agent = workload
            .tasks()
            .filter(|(_, task)| task.agent.id == agent.id);
        if placement.unique_hosts && on_agent.count() > 1 {
            return Err("is not the only one there".to_owned());
        }
        for constraint in &placement.constraints {
            self.check_constraint(workload, launch, constraint, at)?;
        }
        Ok(())
    }

    /// What a constraint demands of the agent of a launch, given all tasks as they lie after it. One
    /// that was given up keeps nobody from its place.
    fn check_constraint(
        &self,
        workload: &Workload,
        launch: &Launch,
        constraint: &Constraint,
        at: Timestamp,
    ) -> Result<(), String> {
        let patience = self.plan.settings.unreachable_after;
        let value = launch.agent.field(&constraint.field);
        let fields = || {
            workload
                .tasks()
                .filter(|(_, task)| {
                    task.state != TaskState::Unreachable || at.since(task.changed_at) < patience
                })
                .map(|(_, task)| task.agent.field(&constraint.field))
        };
        let same = fields().filter(|other| *other == value).count();
        let holds = match (&constraint.operator, value) {
            (Operator::Unlike(pattern), value) => value.is_none_or(|value| !pattern.matches(value)),
            (_, None) => false,
            (Operator::Unique, _) => same == 1,
            (Operator::MaxPer(limit), _) => same <= *limit as usize,
            (Operator::Like(pattern), Some(value)) => pattern.matches(value),
            (Operator::Is(wanted), Some(value)) => value == wanted,
            (Operator::Cluster(wanted), Some(value)) => {
                wanted.as_deref().is_none_or(|wanted| wanted == value)
                    && fields().all(|other| other.is_none_or(|other| other == value))
            }
            // Which groups are known is the scheduler's to find out.
            (Operator::GroupBy(_), Some(_)) => true,
        };
        if holds {
            Ok(())
        } else {
            Err(format!("violates {constraint:?}"))
        }
    }
}
