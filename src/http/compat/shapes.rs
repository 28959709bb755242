//! Tasks and their definitions as the original's JSON has them: numeric enumerations, explicit
//! nulls, and keys in its order.

use std::{borrow::Cow, ops::AddAssign};

use gantry_core::{
    Amount, CheckedPort, Container, Goal, HealthCheck, Network, PortMapping, Probe, StopReason,
    Task, TaskCommand, Template, Timestamp, Uri, Volume, Workload,
};
use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::{http::mask, modules::TaskSaid};

/// An amount as JavaScript writes it: whole numbers without a fraction.
#[derive(Clone, Copy, Default)]
pub(crate) struct Number(pub(crate) Amount);

impl AddAssign for Number {
    fn add_assign(&mut self, other: Self) {
        self.0 += other.0;
    }
}

impl Serialize for Number {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let thousandths = self.0.thousandths();
        if thousandths.is_multiple_of(1000) {
            serializer.serialize_u64(thousandths / 1000)
        } else {
            serializer.serialize_f64(self.0.as_f64())
        }
    }
}

/// A JSON object with its keys in this order.
pub(crate) struct InOrder<'a, T>(pub(crate) Vec<(&'a str, T)>);

impl<T: Serialize> Serialize for InOrder<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

/// Whether the original would still list the task: one that is stopped for good leaves its list at
/// once, one that is killed or restarted when it has ended.
pub(crate) const fn is_launched(task: &Task) -> bool {
    !matches!(
        task.goal,
        Goal::Stop {
            reason: StopReason::Retired | StopReason::Surplus | StopReason::ReplacementFailed,
            ..
        }
    )
}

/// Whether the original would have flagged the task as `restarting`.
pub(crate) const fn is_restarting(task: &Task) -> bool {
    matches!(
        task.goal,
        Goal::Replace { .. }
            | Goal::Stop {
                reason: StopReason::Restarted,
                ..
            }
    )
}

/// Sorts tasks by launch, and those launched at one moment by number.
pub(crate) const fn launch_order(number: u32, task: &Task) -> (Timestamp, u32) {
    (task.launched_at, number)
}

/// A definition, or a launched task, which is a definition with more in it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TaskObject<'a> {
    priority: i32,
    allow_scaling: bool,
    instances: Cow<'a, str>,
    executor_info: (),
    container_info: Option<ContainerInfo<'a>>,
    command_info: CommandInfo<'a>,
    resources: Resources<'a>,
    health_check: Option<Check<'a>>,
    no_colocation: bool,
    labels: Option<Labels<'a>>,
    is_submitted: bool,
    name: Cow<'a, str>,
    #[serde(flatten)]
    launched: Option<Launched<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Launched<'a> {
    task_id: String,
    mesos_name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    mesos_health_check: Option<Check<'a>>,
    runtime_info: RuntimeInfo<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RuntimeInfo<'a> {
    agent_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    executor_id: Option<String>,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_time: Option<u64>,
    network: NetworkAddress<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    restarting: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    healthy: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    leader: Option<bool>,
}

#[derive(Serialize)]
struct NetworkAddress<'a> {
    hostname: &'a str,
    ip: &'a str,
    #[serde(skip_serializing_if = "<[u16]>::is_empty")]
    ports: &'a [u16],
}

impl<'a> TaskObject<'a> {
    /// The definition of a workload's current revision.
    pub(crate) fn definition(
        workload: &'a Workload,
        template: &'a Template,
        declared_counts: &'a [(String, String)],
    ) -> Self {
        // The original leaves the name of the last instance it made in the definition, and the
        // bare one once it has made more by scaling up.
        let name = if workload.declared == 0 || workload.desired > workload.declared {
            Cow::Borrowed(workload.name.as_str())
        } else {
            Cow::Owned(format!("{}-{}", workload.name, workload.declared))
        };
        Self::new(
            workload,
            template,
            declared_counts,
            name,
            user_variables(template),
        )
    }

    /// A launched task, with what modules say of it.
    pub(crate) fn launched(
        workload: &'a Workload,
        template: &'a Template,
        declared_counts: &'a [(String, String)],
        framework: &str,
        number: u32,
        task: &'a Task,
        said: Option<&TaskSaid>,
    ) -> Self {
        let mut variables = user_variables(template);
        let ports = task.ports.iter().enumerate();
        variables.extend(ports.map(|(index, port)| Variable {
            name: Cow::Owned(format!("PORT{index}")),
            value: Cow::Owned(port.to_string()),
        }));
        variables.push(Variable {
            name: Cow::Borrowed("HOST"),
            value: Cow::Borrowed(&task.agent.ip),
        });
        let name = Cow::Owned(format!("{}-{number}", workload.name));
        let id = workload.task_id(framework, number, task);
        let mut object = Self::new(workload, template, declared_counts, name, variables);
        object.is_submitted = true;
        object.launched = Some(Launched {
            mesos_name: &workload.task_name,
            mesos_health_check: template
                .health_check
                .as_ref()
                .map(|check| Check::new(check, |port| actual_port(port, &task.ports))),
            runtime_info: RuntimeInfo {
                agent_id: task.agent.id.as_str(),
                // Tasks with a command run in Mesos' own executors, which take the task's id.
                executor_id: task.started_at.map(|_| id.as_str().to_owned()),
                state: task.state.mesos_name(),
                start_time: task.started_at.map(Timestamp::as_millis),
                network: NetworkAddress {
                    hostname: &task.agent.hostname,
                    ip: &task.agent.ip,
                    ports: &task.ports,
                },
                restarting: is_restarting(task).then_some(true),
                healthy: said.and_then(|said| said.healthy).or(task.healthy),
                leader: said.and_then(|said| said.leader),
            },
            task_id: id.as_str().to_owned(),
        });
        object
    }

    fn new(
        workload: &'a Workload,
        template: &'a Template,
        declared_counts: &'a [(String, String)],
        name: Cow<'a, str>,
        variables: Vec<Variable<'a>>,
    ) -> Self {
        let declared = declared_counts
            .iter()
            .find(|(declared, _)| declared == workload.name.as_str());
        let demand = &template.demand;
        Self {
            priority: workload.priority,
            allow_scaling: workload.allow_scaling,
            instances: match declared {
                Some((_, text)) => Cow::Borrowed(text),
                None => Cow::Owned(workload.declared.to_string()),
            },
            executor_info: (),
            container_info: ContainerInfo::new(&template.container),
            command_info: CommandInfo::new(template, variables),
            resources: Resources {
                cpus: Number(demand.cpus),
                mem: Number(demand.mem),
                ports: demand.port_count(),
                disk: Number(demand.disk),
                static_ports: non_empty(&demand.fixed_ports),
            },
            health_check: template
                .health_check
                .as_ref()
                .map(|check| Check::new(check, declared_port)),
            no_colocation: template.placement.avoid_scheduler_host,
            labels: (!template.labels.is_empty()).then(|| Labels {
                labels: template
                    .labels
                    .iter()
                    .map(|(key, value)| KeyValue {
                        key,
                        value: Cow::Borrowed(value.as_str()),
                    })
                    .collect(),
            }),
            is_submitted: false,
            name,
            launched: None,
        }
    }
}

fn non_empty<T>(list: &[T]) -> Option<&[T]> {
    (!list.is_empty()).then_some(list)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Resources<'a> {
    cpus: Number,
    mem: Number,
    ports: usize,
    disk: Number,
    static_ports: Option<&'a [u16]>,
}

#[derive(Serialize)]
struct Labels<'a> {
    labels: Vec<KeyValue<'a>>,
}

#[derive(Serialize)]
struct KeyValue<'a> {
    key: &'a str,
    value: Cow<'a, str>,
}

// === container ===

#[derive(Serialize)]
struct ContainerInfo<'a> {
    r#type: u8,
    volumes: Option<Vec<VolumeInfo<'a>>>,
    hostname: (),
    docker: Option<Docker<'a>>,
    mesos: Option<Mesos<'a>>,
    network_infos: Vec<NetworkInfo<'a>>,
}

#[derive(Serialize)]
struct Docker<'a> {
    image: &'a str,
    network: u8,
    port_mappings: Option<&'a [PortMapping]>,
    privileged: bool,
    parameters: Option<Vec<KeyValue<'a>>>,
    force_pull_image: bool,
    volume_driver: (),
}

#[derive(Serialize)]
struct Mesos<'a> {
    image: Option<&'a str>,
}

#[derive(Serialize)]
struct NetworkInfo<'a> {
    name: &'a str,
}

#[derive(Serialize)]
struct VolumeInfo<'a> {
    container_path: &'a str,
    host_path: &'a str,
    /// 1 = RW, 2 = RO
    mode: u8,
}

impl<'a> ContainerInfo<'a> {
    fn new(container: &'a Container) -> Option<Self> {
        let (r#type, volumes, network) = match container {
            Container::None => return None,
            Container::Docker {
                volumes, network, ..
            } => (1, volumes, network),
            Container::Mesos {
                volumes, network, ..
            } => (2, volumes, network),
        };
        let docker = match container {
            Container::Docker {
                image,
                network,
                privileged,
                force_pull,
                parameters,
                ..
            } => {
                let (network, port_mappings) = match network {
                    Network::Host => (1, None),
                    Network::Bridge { port_mappings } => (2, non_empty(port_mappings)),
                    Network::Named { port_mappings, .. } => (4, non_empty(port_mappings)),
                };
                let parameters: Vec<_> = parameters
                    .iter()
                    .map(|parameter| KeyValue {
                        key: &parameter.key,
                        value: mask::parameter(&parameter.key, &parameter.value),
                    })
                    .collect();
                Some(Docker {
                    image,
                    network,
                    port_mappings,
                    privileged: *privileged,
                    parameters: (!parameters.is_empty()).then_some(parameters),
                    force_pull_image: *force_pull,
                    volume_driver: (),
                })
            }
            _ => None,
        };
        let mesos = match container {
            Container::Mesos { image, .. } => Some(Mesos {
                image: image.as_deref(),
            }),
            _ => None,
        };
        let volumes: Vec<_> = volumes.iter().map(VolumeInfo::new).collect();
        Some(Self {
            r#type,
            volumes: (!volumes.is_empty()).then_some(volumes),
            hostname: (),
            docker,
            mesos,
            network_infos: match network {
                Network::Named { name, .. } => vec![NetworkInfo { name }],
                _ => Vec::new(),
            },
        })
    }
}

impl<'a> VolumeInfo<'a> {
    fn new(volume: &'a Volume) -> Self {
        Self {
            container_path: &volume.container_path,
            host_path: &volume.host_path,
            mode: if volume.read_only { 2 } else { 1 },
        }
    }
}

// === command ===

#[derive(Serialize)]
struct CommandInfo<'a> {
    uris: Option<Vec<UriInfo<'a>>>,
    environment: Environment<'a>,
    shell: bool,
    value: Option<&'a str>,
    arguments: Option<&'a [String]>,
    user: Option<&'a str>,
}

#[derive(Serialize)]
struct UriInfo<'a> {
    value: Cow<'a, str>,
    executable: Option<bool>,
    extract: Option<bool>,
    cache: Option<bool>,
    output_file: Option<&'a str>,
}

#[derive(Serialize)]
struct Environment<'a> {
    variables: Vec<Variable<'a>>,
}

#[derive(Serialize)]
struct Variable<'a> {
    name: Cow<'a, str>,
    value: Cow<'a, str>,
}

impl<'a> CommandInfo<'a> {
    fn new(template: &'a Template, variables: Vec<Variable<'a>>) -> Self {
        let uris: Vec<_> = template.uris.iter().map(UriInfo::new).collect();
        let (value, arguments) = match &template.command {
            TaskCommand::Shell(text) => (Some(text.as_str()), None),
            TaskCommand::Arguments(arguments) => (None, non_empty(arguments)),
        };
        Self {
            uris: (!uris.is_empty()).then_some(uris),
            environment: Environment { variables },
            shell: value.is_some(),
            value,
            arguments,
            user: template.user.as_deref(),
        }
    }
}

impl<'a> UriInfo<'a> {
    fn new(uri: &'a Uri) -> Self {
        Self {
            value: mask::uri(&uri.value),
            executable: uri.executable,
            extract: uri.extract,
            cache: uri.cache,
            output_file: uri.output_file.as_deref(),
        }
    }
}

fn user_variables(template: &Template) -> Vec<Variable<'_>> {
    template
        .environment
        .iter()
        .map(|variable| Variable {
            name: Cow::Borrowed(&variable.name),
            value: Cow::Borrowed(mask::variable(&variable.value)),
        })
        .collect()
}

// === health check ===

#[derive(Serialize)]
struct Check<'a> {
    http: Option<HttpCheck<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp: Option<TcpCheck>,
    delay_seconds: Option<f64>,
    interval_seconds: Option<f64>,
    timeout_seconds: Option<f64>,
    consecutive_failures: Option<u32>,
    grace_period_seconds: Option<f64>,
    command: Option<CheckCommand<'a>>,
}

#[derive(Serialize)]
struct HttpCheck<'a> {
    port: Option<u16>,
    path: &'a str,
    statuses: [u16; 1],
}

#[derive(Serialize)]
struct TcpCheck {
    port: Option<u16>,
}

#[derive(Serialize)]
struct CheckCommand<'a> {
    value: &'a str,
}

impl<'a> Check<'a> {
    /// The times that Mesos takes when nothing is said are shown as the nothing that was said.
    fn new(check: &'a HealthCheck, port: impl Fn(CheckedPort) -> Option<u16>) -> Self {
        let said = |duration: std::time::Duration, default: u64| {
            let seconds = duration.as_secs_f64();
            (duration != std::time::Duration::from_secs(default)).then_some(seconds)
        };
        let (http, tcp, command) = match &check.probe {
            Probe::Http {
                path,
                port: checked,
                ..
            } => {
                let http = HttpCheck {
                    port: port(*checked),
                    path,
                    statuses: [200],
                };
                (Some(http), None, None)
            }
            Probe::Tcp { port: checked } => (
                None,
                Some(TcpCheck {
                    port: port(*checked),
                }),
                None,
            ),
            Probe::Command { command } => (None, None, Some(CheckCommand { value: command })),
        };
        Self {
            http,
            tcp,
            delay_seconds: said(check.delay, 15),
            interval_seconds: said(check.interval, 10),
            timeout_seconds: said(check.timeout, 20),
            consecutive_failures: (check.consecutive_failures != 3)
                .then_some(check.consecutive_failures),
            grace_period_seconds: said(check.grace_period, 10),
            command,
        }
    }
}

/// The definition's port: by the original, an index into the task's ports.
const fn declared_port(port: CheckedPort) -> Option<u16> {
    match port {
        CheckedPort::Index(port) | CheckedPort::Number(port) => Some(port),
    }
}

fn actual_port(port: CheckedPort, ports: &[u16]) -> Option<u16> {
    match port {
        CheckedPort::Index(index) => ports.get(usize::from(index)).copied(),
        CheckedPort::Number(port) => Some(port),
    }
}
