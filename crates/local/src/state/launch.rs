//! LAUNCH and LAUNCH_GROUP: from a valid TaskInfo to something that runs.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gantry_mesos::v1::framework_info::capability::Type as Capability;
use gantry_mesos::v1::offer::operation;
use gantry_mesos::v1::task_status::Reason;
use gantry_mesos::v1::{ExecutorInfo, FrameworkId, TaskInfo, TaskState};
use prost::Message as _;

use super::accept::{Acceptance, allocate_to};
use super::executors::{Executor, ExecutorKind, Queued};
use super::task::{Place, Task};
use super::timers::Timer;
use super::{AgentKey, Bag, ExecutorKey, FrameworkKey, Report, State, TaskKey};

/// What the processes are asked to do.
#[derive(Debug)]
pub(crate) enum Action {
    /// Start the process of a command task or of a task in a pod.
    Launch(Box<Launch>),
    /// SIGTERM, then SIGKILL. `grace` overrides the task's own.
    Kill {
        task: TaskKey,
        grace: Option<Duration>,
    },
    /// Give a launch up that was not reported as started; say nothing.
    Cancel { task: TaskKey },
    /// SIGKILL at once, as if from outside.
    Crash { task: TaskKey },
    /// Start the process of a custom executor.
    LaunchExecutor(Box<ExecutorLaunch>),
    /// SIGKILL to a custom executor.
    DestroyExecutor { executor: ExecutorKey },
}

/// Where something runs and for whom.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    pub(crate) agent_id: String,
    pub(crate) agent_address: String,
    pub(crate) framework_id: String,
    pub(crate) executor_id: String,
    /// Container of the executor; its run directory has this name.
    pub(crate) container: String,
    /// Container of the task below that, in a pod.
    pub(crate) nested: Option<String>,
    pub(crate) user: String,
    pub(crate) role: String,
    pub(crate) checkpoint: bool,
    pub(crate) shutdown_grace: Duration,
    /// How long executors may take to come back after an agent restart.
    pub(crate) resubscription: Duration,
    /// Persistent volumes: id, path in the sandbox, role.
    pub(crate) volumes: Vec<(String, String)>,
}

#[derive(Debug)]
pub(crate) struct Launch {
    pub(crate) task: TaskKey,
    pub(crate) site: Site,
    pub(crate) info: TaskInfo,
    /// Whether the framework wants TASK_KILLING.
    pub(crate) says_killing: bool,
}

#[derive(Debug)]
pub(crate) struct ExecutorLaunch {
    pub(crate) executor: ExecutorKey,
    pub(crate) site: Site,
    pub(crate) info: ExecutorInfo,
}

impl State {
    pub(super) fn launch(&mut self, acceptance: &mut Acceptance, mut info: TaskInfo) {
        let key = acceptance.framework;
        allocate_to(&mut info.resources, &acceptance.role);
        if let Some(executor) = &mut info.executor {
            allocate_to(&mut executor.resources, &acceptance.role);
            if executor.framework_id.is_none() {
                let id = self
                    .frameworks
                    .get(&key)
                    .map_or_else(String::new, |f| f.id.to_string());
                executor.framework_id = Some(FrameworkId { value: id });
            }
            if executor.r#type.is_none() && executor.command.is_some() {
                executor.r#type = Some(gantry_mesos::v1::executor_info::Type::Custom as i32);
            }
        }
        derive_check_type(&mut info);
        if let Err(text) = self.validate_task(acceptance, &info) {
            self.refuse_tasks(key, &[info], Reason::TaskInvalid, &text);
            return;
        }
        let resources = Bag::parse(&info.resources);
        // Without processes every executor is one of ours.
        let own_kind = if self.simulated().is_some() {
            ExecutorKind::Pod
        } else {
            ExecutorKind::Custom
        };
        let executor = info
            .executor
            .clone()
            .map(|e| self.use_executor(acceptance, e, own_kind));
        acceptance.use_up(&resources);
        let task = self.add_task(acceptance, &info, resources, executor, None);
        if self.simulated().is_some() {
            self.simulated_launch(task);
            return;
        }
        match executor {
            Some(executor) => self.queue_for_executor(executor, Queued::Task(task)),
            None => self.start_command_task(task, info),
        }
    }

    pub(super) fn launch_group(
        &mut self,
        acceptance: &mut Acceptance,
        mut group: operation::LaunchGroup,
    ) {
        let key = acceptance.framework;
        allocate_to(&mut group.executor.resources, &acceptance.role);
        for task in &mut group.task_group.tasks {
            allocate_to(&mut task.resources, &acceptance.role);
            if task.executor.is_none() {
                task.executor = Some(group.executor.clone());
            } else if let Some(executor) = &mut task.executor {
                allocate_to(&mut executor.resources, &acceptance.role);
            }
            derive_check_type(task);
        }
        if group.task_group.tasks.is_empty() {
            return;
        }
        if let Err(text) = self.validate_group(acceptance, &group) {
            self.refuse_tasks(
                key,
                &group.task_group.tasks,
                Reason::TaskGroupInvalid,
                &text,
            );
            return;
        }
        let kind = match group.executor.r#type() {
            gantry_mesos::v1::executor_info::Type::Custom if self.simulated().is_none() => {
                ExecutorKind::Custom
            }
            _ => ExecutorKind::Pod,
        };
        let executor = self.use_executor(acceptance, group.executor, kind);
        let number = self.random();
        let mut tasks = Vec::with_capacity(group.task_group.tasks.len());
        for info in &group.task_group.tasks {
            let resources = Bag::parse(&info.resources);
            acceptance.use_up(&resources);
            tasks.push(self.add_task(acceptance, info, resources, Some(executor), Some(number)));
        }
        if self.simulated().is_some() {
            for task in tasks {
                self.simulated_launch(task);
            }
        } else if kind == ExecutorKind::Pod {
            for (task, info) in tasks.into_iter().zip(group.task_group.tasks) {
                self.start_command_task(task, info);
            }
        } else {
            self.queue_for_executor(executor, Queued::Group(tasks));
        }
    }

    fn add_task(
        &mut self,
        acceptance: &Acceptance,
        info: &TaskInfo,
        resources: Bag,
        executor: Option<ExecutorKey>,
        group: Option<u64>,
    ) -> TaskKey {
        let key = TaskKey(self.next_task);
        self.next_task += 1;
        let id: Arc<str> = Arc::from(info.task_id.value.as_str());
        let container = self.uuid();
        let task = Task {
            framework: acceptance.framework,
            agent: acceptance.agent,
            id: Arc::clone(&id),
            role: Arc::clone(&acceptance.role),
            resources,
            info: Bytes::from(info.encode_to_vec()),
            executor,
            group,
            container,
            pid: None,
            place: Place::Active,
            latest: TaskState::TaskStaging,
            visible: TaskState::TaskStaging,
            freed: false,
            delivered: false,
            kill_on_return: false,
            killing: false,
            draining: false,
            updates: std::collections::VecDeque::new(),
            attempts: 0,
            sent: 0,
            seen: Vec::new(),
        };
        self.counters.launched += 1;
        self.agent_mut(acceptance.agent).tasks.insert(key);
        if let Some(executor) = executor.and_then(|e| self.executors.get_mut(&e)) {
            executor.tasks.insert(key);
            executor.records += 1;
        }
        if let Some(framework) = self.frameworks.get_mut(&acceptance.framework) {
            framework.tasks.insert(id, key);
        }
        self.tasks.insert(key, task);
        self.announce_task(key);
        key
    }

    fn start_command_task(&mut self, key: TaskKey, info: TaskInfo) {
        let Some(task) = self.tasks.get(&key) else {
            return;
        };
        if let Some(report) = refused_by_agent(&info) {
            self.report(key, report);
            return;
        }
        let executor = task.executor.and_then(|e| self.executors.get(&e));
        let (executor_id, container, nested) = match executor {
            Some(pod) => (
                pod.id.clone(),
                pod.container.clone(),
                Some(task.container_text()),
            ),
            None => (task.id.to_string(), task.container_text(), None),
        };
        let Some(framework) = self.frameworks.get(&task.framework) else {
            return;
        };
        let user = info.command.as_ref().and_then(|c| c.user.clone());
        let mut site = self.site(task.framework, task.agent, &executor_id, &container);
        site.nested = nested;
        site.role = task.role.to_string();
        site.user = user.unwrap_or_else(|| framework.info.user.clone());
        site.volumes = task.resources.volumes();
        let says_killing = framework.can(Capability::TaskKillingState);
        self.actions.push(Action::Launch(Box::new(Launch {
            task: key,
            site,
            info,
            says_killing,
        })));
    }

    fn site(
        &self,
        framework: FrameworkKey,
        agent: AgentKey,
        executor: &str,
        container: &str,
    ) -> Site {
        let agent = self.agent(agent);
        let framework = self.frameworks.get(&framework);
        Site {
            agent_id: agent.id.clone(),
            agent_address: format!("{}:{}", agent.ip, agent.port),
            framework_id: framework.map_or_else(String::new, |f| f.id.to_string()),
            executor_id: executor.to_owned(),
            container: container.to_owned(),
            nested: None,
            user: framework.map_or_else(String::new, |f| f.info.user.clone()),
            role: String::new(),
            checkpoint: framework.is_some_and(super::Framework::checkpoints),
            shutdown_grace: self.options.executor_shutdown_grace,
            resubscription: self.options.executor_reregistration_timeout,
            volumes: Vec::new(),
        }
    }

    /// The executor of this id on the agent, started if it is not there.
    fn use_executor(
        &mut self,
        acceptance: &mut Acceptance,
        info: ExecutorInfo,
        kind: ExecutorKind,
    ) -> ExecutorKey {
        let (framework, agent) = (acceptance.framework, acceptance.agent);
        if let Some(present) = self.find_executor(framework, agent, &info.executor_id.value) {
            return present;
        }
        let resources = Bag::parse(&info.resources);
        acceptance.use_up(&resources);
        let key = ExecutorKey::new(self.next_executor);
        self.next_executor += 1;
        let container = uuid::Uuid::from_bytes(self.uuid()).to_string();
        let id = info.executor_id.value.clone();
        self.executors.insert(
            key,
            Executor::new(
                framework,
                agent,
                id.clone(),
                info.clone(),
                kind,
                container.clone(),
                resources,
            ),
        );
        self.agent_mut(agent).executors.insert(key);
        if kind == ExecutorKind::Custom {
            let mut site = self.site(framework, agent, &id, &container);
            site.role = acceptance.role.to_string();
            if let Some(user) = info.command.as_ref().and_then(|c| c.user.clone()) {
                site.user = user;
            }
            if let Some(grace) = info.shutdown_grace_period.as_ref() {
                site.shutdown_grace =
                    Duration::from_nanos(u64::try_from(grace.nanoseconds).unwrap_or_default());
            }
            let launch = ExecutorLaunch {
                executor: key,
                site,
                info,
            };
            self.actions.push(Action::LaunchExecutor(Box::new(launch)));
            let timeout = self.options.executor_registration_timeout;
            self.after(timeout, Timer::ExecutorRegistration { executor: key });
        }
        key
    }
}

/// A health check without type gets the one its content names.
fn derive_check_type(info: &mut TaskInfo) {
    use gantry_mesos::v1::health_check::Type;
    if let Some(check) = &mut info.health_check
        && check.r#type.is_none()
    {
        if check.command.is_some() {
            check.set_type(Type::Command);
        } else if check.http.is_some() {
            check.set_type(Type::Http);
        } else if check.tcp.is_some() {
            check.set_type(Type::Tcp);
        }
    }
}

/// What an agent with the Mesos containerizer and POSIX isolators refuses.
fn refused_by_agent(info: &TaskInfo) -> Option<Report> {
    use gantry_mesos::v1::container_info::Type;
    let failed = |message: &str| {
        let text = format!("Failed to launch container: {message}");
        Some(Report::agent(
            TaskState::TaskFailed,
            Reason::ContainerLaunchFailed,
            text,
        ))
    };
    if !info.limits.is_empty() {
        let what = if info.limits.contains_key("cpus") {
            ("CPU", "cpu")
        } else {
            ("Memory", "mem")
        };
        return Some(Report::agent(
            TaskState::TaskDropped,
            Reason::GcError,
            format!(
                "{} limits can only be set on tasks launched in Mesos containers when the agent has \
                 loaded the 'cgroups/{}' isolator",
                what.0, what.1
            ),
        ));
    }
    let container = info.container.as_ref()?;
    if container.r#type() == Type::Docker {
        return Some(Report::agent(
            TaskState::TaskFailed,
            Reason::ExecutorTerminated,
            "Abnormal executor termination: unknown container (the local cluster runs tasks as plain \
             processes and has no Docker: use a command without a DOCKER container)",
        ));
    }
    if let Some(image) = container.mesos.as_ref().and_then(|m| m.image.as_ref()) {
        let kind = image.r#type().as_str_name();
        return failed(&format!("Unsupported container image type: {kind}"));
    }
    if container.volumes.iter().any(|v| v.host_path.is_some()) {
        return failed("Volumes in ContainerInfo is not supported");
    }
    if let Some(name) = container
        .network_infos
        .iter()
        .find_map(|n| n.name.as_deref())
    {
        return failed(&format!("Unknown CNI network '{name}'"));
    }
    None
}
