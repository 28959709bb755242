//! Where tasks may go.

use gantry_core::{AgentAddress, Constraint, Launch, Operator, Task, TaskState, View, Workload};

use crate::{term::Seen, world::World};

impl World {
    pub(super) fn check_placement(
        &self,
        view: &View,
        workload: &Workload,
        seen: &Seen,
        launch: &Launch,
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
            self.check_constraint(view, workload, seen, launch, constraint)?;
        }
        Ok(())
    }

    /// What a constraint demands of the agent of a launch, given all tasks as they lie after it. One
    /// that was given up keeps nobody from its place.
    fn check_constraint(
        &self,
        view: &View,
        workload: &Workload,
        seen: &Seen,
        launch: &Launch,
        constraint: &Constraint,
    ) -> Result<(), String> {
        let patience = self.plan.settings.unreachable_after;
        let value = launch.agent.field(&constraint.field);
        let given_up = |task: &Task| {
            task.state == TaskState::Unreachable && view.at.since(task.changed_at) >= patience
        };
        let fields = || {
            workload
                .tasks()
                .filter(|(_, task)| !given_up(task))
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
            // Groups are known by the offers of this subscription: after a new one, tasks may be
            // launched before the agents of a group have made an offer, and lie unevenly. Of those
            // that have, none may be passed over, whatever came and went before.
            (Operator::GroupBy(_), Some(_)) => {
                // With a task that was given up, an agent is forgotten until its next offer.
                let lost = |agent: &AgentAddress| {
                    view.workloads
                        .iter()
                        .flat_map(|workload| workload.tasks())
                        .any(|(_, task)| task.agent.id == agent.id && given_up(task))
                };
                let groups = seen
                    .values()
                    .filter(|agent| !lost(agent))
                    .filter_map(|agent| agent.field(&constraint.field));
                let count = |group| fields().filter(|other| *other == Some(group)).count();
                groups
                    .map(count)
                    .min()
                    .is_none_or(|fewest| same <= fewest + 1)
            }
        };
        if holds {
            Ok(())
        } else {
            Err(format!("violates {constraint:?}"))
        }
    }
}
