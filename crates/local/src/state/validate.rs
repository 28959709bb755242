//! What makes a TASK_ERROR (Mesos `src/master/validation.cpp: task::validate`), in
//! the order and with the texts of the real master.

use gantry_mesos::v1::{self, CommandInfo, ContainerInfo, ExecutorInfo, TaskInfo};

use super::accept::{Acceptance, allocated_role, validate_all};
use super::framework::validate_id;
use super::resources::{Bag, thousandths};
use super::{ExecutorKey, FrameworkKey, State};

pub(super) type Valid = Result<(), String>;

impl State {
    /// A task of a LAUNCH, against what is left of the offers.
    pub(super) fn validate_task(&self, acceptance: &Acceptance, task: &TaskInfo) -> Valid {
        self.validate_common(acceptance, task)?;
        let running = match &task.executor {
            None => None,
            Some(executor) => {
                use v1::executor_info::Type;
                if executor.r#type.and_then(|t| Type::try_from(t).ok()) == Some(Type::Default) {
                    if executor.command.is_some() {
                        return Err(
                            "'ExecutorInfo.command' must not be set for 'DEFAULT' executor".into(),
                        );
                    }
                    return Err("'ExecutorInfo.type' must be 'CUSTOM'".into());
                }
                if executor.r#type.and_then(|t| Type::try_from(t).ok()) == Some(Type::Unknown) {
                    return Err("'ExecutorInfo.type' must be 'CUSTOM'".into());
                }
                self.validate_executor(acceptance, executor)?;
                self.find_executor(
                    acceptance.framework,
                    acceptance.agent,
                    &executor.executor_id.value,
                )
            }
        };
        self.validate_fit(acceptance, task, running)?;
        let shares = linux_info(task.container.as_ref()).and_then(|l| l.share_cgroups);
        if shares == Some(false) {
            return Err(
                "Only tasks in a task group may have 'share_cgroups' set to 'false'".into(),
            );
        }
        Ok(())
    }

    /// What holds for tasks of both kinds of launch.
    pub(super) fn validate_common(&self, acceptance: &Acceptance, task: &TaskInfo) -> Valid {
        let id = &*task.task_id.value;
        validate_id(id)?;
        if let Some(framework) = self.frameworks.get(&acceptance.framework) {
            if framework.tasks.contains_key(id) {
                return Err(format!("Task has duplicate ID: {id}"));
            }
            if framework.unreachable.contains_key(id) {
                return Err(format!("Task reuses the ID of an unreachable task: {id}"));
            }
        }
        let agent = &self.agent(acceptance.agent).id;
        if task.agent_id.value != *agent {
            return Err(format!(
                "Task uses invalid agent {} while agent {agent} is expected",
                task.agent_id.value
            ));
        }
        let negative = |d: Option<&v1::DurationInfo>| d.is_some_and(|d| d.nanoseconds < 0);
        if negative(
            task.kill_policy
                .as_ref()
                .and_then(|k| k.grace_period.as_ref()),
        ) {
            return Err("Task's 'kill_policy.grace_period' must be non-negative".into());
        }
        if negative(task.max_completion_time.as_ref()) {
            return Err("Task's `max_completion_time` must be non-negative".into());
        }
        if let Some(check) = &task.check {
            validate_check(check).map_err(|e| format!("Task uses invalid check: {e}"))?;
        }
        if let Some(check) = &task.health_check {
            validate_health_check(check)
                .map_err(|e| format!("Task uses invalid health check: {e}"))?;
        }
        if task.resources.is_empty() {
            return Err("Task uses no resources".into());
        }
        validate_all(&task.resources)?;
        allocated_role(&task.resources, &acceptance.role)?;
        let mut volumes = Bag::parse(&task.resources).volume_ids();
        volumes.sort_unstable();
        if let Some(pair) = volumes.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(format!("Task uses duplicate persistence ID: {}", pair[0]));
        }
        if let Some(command) = &task.command {
            validate_command(command)
                .map_err(|e| format!("Task's `CommandInfo` is invalid: {e}"))?;
        }
        if let Some(container) = &task.container {
            validate_container(container)
                .map_err(|e| format!("Task's `ContainerInfo` is invalid: {e}"))?;
        }
        validate_limits(task)?;
        if task.executor.is_some() == task.command.is_some() && !self.is_group_task(task) {
            return Err(
                "Task should have at least one (but not both) of CommandInfo or ExecutorInfo present"
                    .into(),
            );
        }
        Ok(())
    }

    /// Tasks of a group have both a command and the group's executor.
    fn is_group_task(&self, task: &TaskInfo) -> bool {
        task.executor
            .as_ref()
            .is_some_and(|e| e.r#type() == v1::executor_info::Type::Default && e.command.is_none())
    }

    pub(super) fn validate_executor(
        &self,
        acceptance: &Acceptance,
        executor: &ExecutorInfo,
    ) -> Valid {
        use v1::executor_info::Type;
        if executor.r#type() != Type::Default && executor.command.is_none() {
            return Err("'ExecutorInfo.command' must be set for 'CUSTOM' executor".into());
        }
        validate_id(&executor.executor_id.value)?;
        let expected = self
            .frameworks
            .get(&acceptance.framework)
            .map_or("", |f| &*f.id);
        let actual = executor.framework_id.as_ref().map_or("", |id| &id.value);
        if actual != expected {
            return Err(format!(
                "ExecutorInfo has an invalid FrameworkID (Actual: {actual} vs Expected: {expected})"
            ));
        }
        if executor
            .shutdown_grace_period
            .as_ref()
            .is_some_and(|d| d.nanoseconds < 0)
        {
            return Err("ExecutorInfo's 'shutdown_grace_period' must be non-negative".into());
        }
        validate_all(&executor.resources)?;
        if let Some(command) = &executor.command {
            validate_command(command)
                .map_err(|e| format!("Executor's `CommandInfo` is invalid: {e}"))?;
        }
        let key = self.find_executor(
            acceptance.framework,
            acceptance.agent,
            &executor.executor_id.value,
        );
        if let Some(present) = key.and_then(|key| self.executors.get(&key))
            && present.info != *executor
        {
            let rule = "------------------------------------------------------------";
            return Err(format!(
                "ExecutorInfo is not compatible with existing ExecutorInfo with same ExecutorID.\n{rule}\n\
                 Existing ExecutorInfo:\n{}\n{rule}\nTask's ExecutorInfo:\n{}\n{rule}\n",
                gantry_mesos::json::to_json(&present.info),
                gantry_mesos::json::to_json(executor)
            ));
        }
        Ok(())
    }

    /// The task, and its executor unless that is running, must fit in what is left.
    fn validate_fit(
        &self,
        acceptance: &Acceptance,
        task: &TaskInfo,
        running: Option<ExecutorKey>,
    ) -> Valid {
        let mut total = Bag::parse(&task.resources);
        if let (Some(executor), None) = (&task.executor, running) {
            total.add(&Bag::parse(&executor.resources));
        }
        let role = allocated_role(&task.resources, &acceptance.role)?;
        if role == &*acceptance.role && acceptance.left.contains(&total) {
            return Ok(());
        }
        Err(format!(
            "Total resources {} required by task and its executor is more than available {}",
            total.text(Some(role)),
            acceptance.left.text(Some(&acceptance.role))
        ))
    }

    /// The live executor of an id on an agent.
    pub(super) fn find_executor(
        &self,
        framework: FrameworkKey,
        agent: super::AgentKey,
        id: &str,
    ) -> Option<ExecutorKey> {
        self.agent(agent).executors.iter().copied().find(|key| {
            self.executors
                .get(key)
                .is_some_and(|e| e.framework == framework && e.id == id)
        })
    }
}

fn linux_info(container: Option<&ContainerInfo>) -> Option<&v1::LinuxInfo> {
    container?.linux_info.as_ref()
}

fn times(delay: f64, interval: f64, timeout: f64) -> Valid {
    for (name, value) in [
        ("delay_seconds", delay),
        ("interval_seconds", interval),
        ("timeout_seconds", timeout),
    ] {
        if value < 0.0 || value.is_nan() {
            return Err(format!("Expecting '{name}' to be non-negative"));
        }
    }
    Ok(())
}

fn validate_check(check: &v1::CheckInfo) -> Valid {
    use v1::check_info::Type;
    match check.r#type.and_then(|t| Type::try_from(t).ok()) {
        None => return Err("CheckInfo must specify 'type'".into()),
        Some(Type::Unknown) => return Err("'UNKNOWN' is not a valid check type".into()),
        Some(Type::Command) => {
            let Some(command) = &check.command else {
                return Err("Expecting 'command' to be set for COMMAND check".into());
            };
            validate_check_command(&command.command, "Command check")?;
        }
        Some(Type::Http) => {
            let Some(http) = &check.http else {
                return Err("Expecting 'http' to be set for HTTP check".into());
            };
            if let Some(path) = http.path.as_ref().filter(|p| !p.starts_with('/')) {
                return Err(format!(
                    "The path '{path}' of HTTP check must start with '/'"
                ));
            }
        }
        Some(Type::Tcp) => {
            if check.tcp.is_none() {
                return Err("Expecting 'tcp' to be set for TCP check".into());
            }
        }
    }
    times(
        check.delay_seconds(),
        check.interval_seconds(),
        check.timeout_seconds(),
    )
}

fn validate_health_check(check: &v1::HealthCheck) -> Valid {
    use v1::health_check::Type;
    match check.r#type.and_then(|t| Type::try_from(t).ok()) {
        None => return Err("HealthCheck must specify 'type'".into()),
        Some(Type::Unknown) => return Err("'UNKNOWN' is not a valid health check type".into()),
        Some(Type::Command) => {
            let Some(command) = &check.command else {
                return Err("Expecting 'command' to be set for COMMAND health check".into());
            };
            validate_check_command(command, "Command health check")?;
        }
        Some(Type::Http) => {
            let Some(http) = &check.http else {
                return Err("Expecting 'http' to be set for HTTP health check".into());
            };
            if let Some(scheme) = http
                .scheme
                .as_ref()
                .filter(|s| *s != "http" && *s != "https")
            {
                return Err(format!("Unsupported HTTP health check scheme: '{scheme}'"));
            }
            if let Some(path) = http.path.as_ref().filter(|p| !p.starts_with('/')) {
                return Err(format!(
                    "The path '{path}' of HTTP health check must start with '/'"
                ));
            }
        }
        Some(Type::Tcp) => {
            if check.tcp.is_none() {
                return Err("Expecting 'tcp' to be set for TCP health check".into());
            }
        }
    }
    times(
        check.delay_seconds(),
        check.interval_seconds(),
        check.timeout_seconds(),
    )?;
    if check.grace_period_seconds() < 0.0 {
        return Err("Expecting 'grace_period_seconds' to be non-negative".into());
    }
    Ok(())
}

fn validate_check_command(command: &CommandInfo, what: &str) -> Valid {
    if command.value.is_none() {
        let kind = if command.shell() {
            "shell command"
        } else {
            "executable path"
        };
        return Err(format!("{what} must contain '{kind}'"));
    }
    validate_command(command).map_err(|e| format!("{what}'s `CommandInfo` is invalid: {e}"))
}

pub(super) fn validate_command(command: &CommandInfo) -> Valid {
    use v1::environment::variable::Type;
    for variable in command.environment.iter().flat_map(|e| &e.variables) {
        let name = &variable.name;
        match variable.r#type() {
            Type::Secret => {
                if variable.secret.is_none() {
                    return Err(format!(
                        "Environment variable '{name}' of type 'SECRET' must have a secret set"
                    ));
                }
                if variable.value.is_some() {
                    return Err(format!(
                        "Environment variable '{name}' of type 'SECRET' must not have a value set"
                    ));
                }
            }
            Type::Value => {
                if variable.secret.is_some() {
                    return Err(format!(
                        "Environment variable '{name}' of type 'VALUE' must not have a secret set"
                    ));
                }
                if variable.value.is_none() {
                    return Err(format!(
                        "Environment variable '{name}' of type 'VALUE' must have a value set"
                    ));
                }
            }
            Type::Unknown => {
                return Err("Environment variable of type 'UNKNOWN' is not allowed".into());
            }
        }
    }
    Ok(())
}

fn validate_container(container: &ContainerInfo) -> Valid {
    for volume in &container.volumes {
        let sources = [
            volume.host_path.is_some(),
            volume.image.is_some(),
            volume.source.is_some(),
        ];
        if sources.iter().filter(|s| **s).count() != 1 {
            return Err(
                "Invalid volume: Only one of them should be set: 'host_path', 'image' and 'source'"
                    .into(),
            );
        }
    }
    if container.r#type() == v1::container_info::Type::Docker {
        let Some(docker) = &container.docker else {
            return Err("DockerInfo 'docker' is not set for DOCKER typed ContainerInfo".into());
        };
        if docker.parameters.iter().any(|p| p.key == "name") {
            return Err("Parameter in DockerInfo must not be 'name'".into());
        }
    }
    Ok(())
}

fn validate_limits(task: &TaskInfo) -> Valid {
    if task
        .limits
        .keys()
        .any(|name| name != "cpus" && name != "mem")
    {
        return Err("Only cpus and mem may be included in a task's resource limits".into());
    }
    let requested = Bag::parse(&task.resources);
    for (name, upper, lower) in [("cpus", "CPU", "cpu"), ("mem", "memory", "memory")] {
        let Some(limit) = task.limits.get(name) else {
            continue;
        };
        let request = requested.total(name);
        if request == 0 {
            return Err(format!(
                "When a {upper} limit is specified, a {upper} request must also be specified"
            ));
        }
        if limit.value.is_finite() && thousandths(limit.value) < request {
            return Err(format!(
                "The {lower} limit must be greater than or equal to the {lower} request"
            ));
        }
    }
    Ok(())
}
