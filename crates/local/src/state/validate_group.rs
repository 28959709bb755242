//! What makes a LAUNCH_GROUP invalid as a whole (Mesos
//! `src/master/validation.cpp: task::group::validate`).

use gantry_mesos::v1::offer::operation::LaunchGroup;
use gantry_mesos::v1::{self, TaskInfo, container_info, executor_info};

use super::State;
use super::accept::{Acceptance, allocated_role};
use super::resources::Bag;
use super::validate::Valid;

impl State {
    pub(super) fn validate_group(&self, acceptance: &Acceptance, group: &LaunchGroup) -> Valid {
        let tasks = &group.task_group.tasks;
        let executor = &group.executor;
        for (i, task) in tasks.iter().enumerate() {
            self.validate_group_task(acceptance, task)
                .map_err(|e| format!("Task '{}' is invalid: {e}", task.task_id.value))?;
            // The real master aborts here.
            if tasks[..i]
                .iter()
                .any(|earlier| earlier.task_id == task.task_id)
            {
                return Err(format!(
                    "Task '{0}' is invalid: Task has duplicate ID: {0}",
                    task.task_id.value
                ));
            }
        }
        self.validate_group_executor(acceptance, group)?;
        for task in tasks {
            if task.executor.as_ref().is_some_and(|own| own != executor) {
                return Err(format!(
                    "The `ExecutorInfo` of task '{}' is different from executor '{}'",
                    task.task_id.value, executor.executor_id.value
                ));
            }
        }
        self.validate_group_fit(acceptance, group)
    }

    fn validate_group_task(&self, acceptance: &Acceptance, task: &TaskInfo) -> Valid {
        let plain = TaskInfo {
            executor: None,
            command: Some(v1::CommandInfo::default()),
            ..task.clone()
        };
        self.validate_common(acceptance, &plain)?;
        if let Some(command) = &task.command {
            super::validate::validate_command(command)
                .map_err(|e| format!("Task's `CommandInfo` is invalid: {e}"))?;
        }
        if let Some(container) = &task.container {
            if container.r#type() == container_info::Type::Docker {
                return Err("Docker ContainerInfo is not supported on the task".into());
            }
            let checks_network = task.health_check.as_ref().is_some_and(|check| {
                use v1::health_check::Type;
                matches!(check.r#type(), Type::Http | Type::Tcp)
            });
            if !container.network_infos.is_empty() && checks_network {
                return Err(
                    "HTTP and TCP health checks are not supported for nested containers not joining \
                     parent's network"
                        .into(),
                );
            }
        }
        let shares = task
            .container
            .as_ref()
            .and_then(|c| c.linux_info.as_ref())
            .and_then(|l| l.share_cgroups)
            .unwrap_or(true);
        if shares && !task.limits.is_empty() {
            return Err(
                "Resource limits may only be set for tasks within a task group when the 'share_cgroups' \
                 field is set to 'false'."
                    .into(),
            );
        }
        Ok(())
    }

    fn validate_group_executor(&self, acceptance: &Acceptance, group: &LaunchGroup) -> Valid {
        let executor = &group.executor;
        match executor
            .r#type
            .and_then(|t| executor_info::Type::try_from(t).ok())
        {
            None => return Err("'ExecutorInfo.type' must be set".into()),
            Some(executor_info::Type::Unknown) => {
                return Err("Unknown executor type".into());
            }
            Some(executor_info::Type::Default) => {
                if executor.command.is_some() {
                    return Err(
                        "'ExecutorInfo.command' must not be set for 'DEFAULT' executor".into(),
                    );
                }
                if let Some(container) = &executor.container {
                    if container.r#type() != container_info::Type::Mesos {
                        return Err(
                            "'ExecutorInfo.container.type' must be 'MESOS' for 'DEFAULT' executor"
                                .into(),
                        );
                    }
                    if container.mesos.as_ref().is_some_and(|m| m.image.is_some()) {
                        return Err(
                            "'ExecutorInfo.container.mesos.image' must not be set for 'DEFAULT' executor".into(),
                        );
                    }
                }
            }
            Some(executor_info::Type::Custom) => {
                if executor
                    .container
                    .as_ref()
                    .is_some_and(|c| c.r#type() == container_info::Type::Docker)
                {
                    return Err("Docker ContainerInfo is not supported on the executor".into());
                }
            }
        }
        if executor.framework_id.is_none() {
            return Err("'ExecutorInfo.framework_id' must be set".into());
        }
        self.validate_executor(acceptance, executor)?;
        let id = &executor.executor_id.value;
        let resources = Bag::parse(&executor.resources);
        let amount = |name: &str, unit: &str| {
            let found = resources.scalars().into_iter().find(|(n, _)| n == name);
            found.map_or_else(|| "None".to_owned(), |(_, value)| format!("{value}{unit}"))
        };
        if resources.total("cpus") < 10 {
            return Err(format!(
                "Executor '{id}' uses less CPUs ({}) than the minimum required (0.01)",
                amount("cpus", "")
            ));
        }
        if resources.total("mem") < 32_000 {
            return Err(format!(
                "Executor '{id}' uses less memory ({}) than the minimum required (32MB)",
                amount("mem", "MB")
            ));
        }
        if !resources.has("disk") {
            return Err(format!("Executor '{id}' uses no disk"));
        }
        Ok(())
    }

    fn validate_group_fit(&self, acceptance: &Acceptance, group: &LaunchGroup) -> Valid {
        let mut total = Bag::default();
        let mut foreign = None;
        for task in &group.task_group.tasks {
            total.add(&Bag::parse(&task.resources));
            let role = allocated_role(&task.resources, &acceptance.role)?;
            if role != &*acceptance.role {
                foreign = Some(role);
            }
        }
        let id = &group.executor.executor_id.value;
        if self
            .find_executor(acceptance.framework, acceptance.agent, id)
            .is_none()
        {
            total.add(&Bag::parse(&group.executor.resources));
        }
        if foreign.is_none() && acceptance.left.contains(&total) {
            return Ok(());
        }
        Err(format!(
            "Total resources {} required by task group and its executor are more than available {}",
            total.text(Some(foreign.unwrap_or(&acceptance.role))),
            acceptance.left.text(Some(&acceptance.role))
        ))
    }
}
