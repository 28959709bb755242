//! To Mesos: the scheduler's calls as messages. The one place where secrets are revealed.

use std::time::Duration;

use gantry_core::{
    self as core, CheckedPort, Container, EnvironmentValue, Launch, Network, Piece, PortMapping,
    Probe, Reservations, TaskCommand, Template,
};
use gantry_mesos::{
    calls::refuse_for,
    v1::{self, scheduler::Call},
};

/// The CNI network that stands for Docker's bridge in the Mesos containerizer, as in Marathon.
const MESOS_BRIDGE: &str = "mesos-bridge";

/// A call as it is sent, without the framework's id.
pub(crate) fn call(call: core::Call) -> Call {
    match call {
        core::Call::Accept {
            offer,
            launches,
            refuse,
            ..
        } => {
            let tasks = launches.iter().map(task).collect();
            Call::accept_offers(
                vec![offer.as_str().into()],
                vec![v1::offer::Operation::launch_tasks(tasks)],
                Some(refuse_for(refuse.as_secs_f64())),
            )
        }
        core::Call::Decline { offers, refuse } => {
            let offers = offers.iter().map(|offer| offer.as_str().into()).collect();
            Call::decline_offers(offers, Some(refuse_for(refuse.as_secs_f64())))
        }
        core::Call::DeclineInverse { offers } => {
            let offers = offers.iter().map(|offer| offer.as_str().into()).collect();
            Call::decline_inverse(offers, None)
        }
        core::Call::Kill { task, agent, grace } => Call::kill_task(
            task.as_str().into(),
            agent.map(|agent| agent.as_str().into()),
            grace.map(kill_policy),
        ),
        core::Call::Acknowledge { task, agent, uuid } => {
            Call::acknowledge_update(agent.as_str().into(), task.as_str().into(), uuid.to_vec())
        }
        core::Call::Reconcile { tasks } => {
            Call::reconcile_tasks(tasks.into_iter().map(|(task, agent)| {
                let agent = agent.map(|agent| agent.as_str().into());
                (task.as_str().into(), agent)
            }))
        }
        core::Call::Suppress => Call::suppress_roles(Vec::new()),
        core::Call::Revive => Call::revive_roles(Vec::new()),
    }
}

fn task(launch: &Launch) -> v1::TaskInfo {
    let template = &*launch.template;
    v1::TaskInfo {
        name: launch.workload.to_string(),
        task_id: launch.task.as_str().into(),
        agent_id: launch.agent.id.as_str().into(),
        resources: resources(&launch.pieces),
        command: Some(command(launch)),
        container: container(template, &launch.ports),
        health_check: health_check(template, &launch.ports),
        labels: Some(labels(launch)),
        discovery: discovery(launch),
        kill_policy: template.kill_grace.map(kill_policy),
        ..v1::TaskInfo::default()
    }
}

// === Resources ===

fn resources(pieces: &[Piece]) -> Vec<v1::Resource> {
    let mut resources = Vec::with_capacity(pieces.len());
    // Ports of one kind become one resource with a range for each, in the order of their use.
    let mut ports: Vec<(&Reservations, Vec<v1::value::Range>)> = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Scalar { amount, .. } if amount.is_zero() => {}
            Piece::Scalar {
                scalar,
                amount,
                reservations: kind,
            } => resources.push(v1::Resource {
                name: scalar.name().to_owned(),
                r#type: v1::value::Type::Scalar.into(),
                scalar: Some(v1::value::Scalar {
                    value: amount.as_f64(),
                }),
                reservations: reservations(kind),
                ..v1::Resource::default()
            }),
            Piece::Port {
                port,
                reservations: kind,
            } => {
                let range = v1::value::Range {
                    begin: u64::from(*port),
                    end: u64::from(*port),
                };
                match ports.iter_mut().find(|(known, _)| *known == &**kind) {
                    Some((_, ranges)) => ranges.push(range),
                    None => ports.push((kind, vec![range])),
                }
            }
        }
    }
    resources.extend(ports.into_iter().map(|(kind, range)| v1::Resource {
        name: "ports".to_owned(),
        r#type: v1::value::Type::Ranges.into(),
        ranges: Some(v1::value::Ranges { range }),
        reservations: reservations(kind),
        ..v1::Resource::default()
    }));
    resources
}

fn reservations(kind: &Reservations) -> Vec<v1::resource::ReservationInfo> {
    use v1::resource::reservation_info::Type;
    let infos = kind.0.iter().map(|level| v1::resource::ReservationInfo {
        r#type: Some(
            if level.dynamic {
                Type::Dynamic
            } else {
                Type::Static
            }
            .into(),
        ),
        role: Some(level.role.clone()),
        principal: level.principal.clone(),
        labels: (!level.labels.is_empty()).then(|| v1::Labels {
            labels: level
                .labels
                .iter()
                .map(|(key, value)| v1::Label {
                    key: key.clone(),
                    value: value.clone(),
                })
                .collect(),
        }),
    });
    infos.collect()
}

// === Command ===

fn command(launch: &Launch) -> v1::CommandInfo {
    let template = &*launch.template;
    let uris = template.uris.iter().map(|uri| v1::command_info::Uri {
        value: uri.value.clone(),
        executable: uri.executable,
        extract: uri.extract,
        cache: uri.cache,
        output_file: uri.output_file.clone(),
    });
    let base = v1::CommandInfo {
        uris: uris.collect(),
        environment: Some(environment(launch)),
        user: template.user.clone(),
        ..v1::CommandInfo::default()
    };
    match &template.command {
        TaskCommand::Shell(text) => v1::CommandInfo {
            shell: Some(true),
            value: Some(text.clone()),
            ..base
        },
        TaskCommand::Arguments(arguments) => v1::CommandInfo {
            shell: Some(false),
            // Without an image there is no entry point: the first argument is the program, and
            // stands in the list too, as `argv[0]`.
            value: match template.container {
                Container::None | Container::Mesos { image: None, .. } => {
                    arguments.first().cloned()
                }
                Container::Docker { .. } | Container::Mesos { image: Some(_), .. } => None,
            },
            arguments: arguments.clone(),
            ..base
        },
    }
}

/// The user's variables in their order, those of modules, then ours; of a name that stands twice
/// Mesos takes the last.
fn environment(launch: &Launch) -> v1::Environment {
    let template = &*launch.template;
    let mut variables = Vec::with_capacity(template.environment.len() + launch.ports.len() + 4);
    let mut add = |name: String, value: &str| {
        variables.push(v1::environment::Variable {
            name,
            value: Some(value.to_owned()),
            r#type: Some(v1::environment::variable::Type::Value.into()),
            secret: None,
        });
    };
    for variable in &template.environment {
        match &variable.value {
            EnvironmentValue::Plain(value) => add(variable.name.clone(), value),
            EnvironmentValue::Secret(secret) => match secret.reveal() {
                Some(value) => add(variable.name.clone(), value),
                None => tracing::error!(
                    task = %launch.task,
                    variable = variable.name,
                    "launched without a secret variable: its declaration is gone"
                ),
            },
        }
    }
    for (name, value) in launch.environment.variables() {
        add(name.clone(), value);
    }
    for (index, port) in launch.ports.iter().enumerate() {
        add(format!("PORT{index}"), &port.to_string());
    }
    add("HOST".to_owned(), &launch.agent.ip);
    add("GANTRY_WORKLOAD".to_owned(), &launch.workload);
    add("GANTRY_INSTANCE".to_owned(), &launch.instance);
    v1::Environment { variables }
}

// === Container ===

fn container(template: &Template, ports: &[u16]) -> Option<v1::ContainerInfo> {
    match &template.container {
        Container::None => None,
        Container::Docker {
            image,
            network,
            privileged,
            force_pull,
            parameters,
            volumes: mounts,
        } => {
            use v1::container_info::docker_info;
            let (mode, mappings, name) = match network {
                Network::Host => (docker_info::Network::Host, &[][..], None),
                Network::Bridge { port_mappings } => {
                    (docker_info::Network::Bridge, &port_mappings[..], None)
                }
                Network::Named {
                    name,
                    port_mappings,
                } => (docker_info::Network::User, &port_mappings[..], Some(name)),
            };
            let mappings =
                mapped(mappings, ports).map(|(mapping, host_port)| docker_info::PortMapping {
                    host_port: u32::from(host_port),
                    container_port: u32::from(container_port(mapping, host_port)),
                    protocol: Some(mapping.protocol.clone()),
                });
            let parameters = parameters.iter().map(|parameter| v1::Parameter {
                key: parameter.key.clone(),
                value: parameter.value.clone(),
            });
            let network_infos = name.map(|name| v1::NetworkInfo {
                name: Some(name.clone()),
                ..v1::NetworkInfo::default()
            });
            Some(v1::ContainerInfo {
                r#type: v1::container_info::Type::Docker.into(),
                volumes: volumes(mounts),
                docker: Some(v1::container_info::DockerInfo {
                    image: image.clone(),
                    network: Some(mode.into()),
                    port_mappings: mappings.collect(),
                    privileged: Some(*privileged),
                    parameters: parameters.collect(),
                    force_pull_image: Some(*force_pull),
                    ..v1::container_info::DockerInfo::default()
                }),
                network_infos: network_infos.into_iter().collect(),
                ..v1::ContainerInfo::default()
            })
        }
        Container::Mesos {
            image,
            network,
            force_pull,
            volumes: mounts,
        } => {
            let (name, mappings) = match network {
                Network::Host => (None, &[][..]),
                Network::Bridge { port_mappings } => (Some(MESOS_BRIDGE), &port_mappings[..]),
                Network::Named {
                    name,
                    port_mappings,
                } => (Some(name.as_str()), &port_mappings[..]),
            };
            let network_infos = name.map(|name| v1::NetworkInfo {
                name: Some(name.to_owned()),
                port_mappings: mapped(mappings, ports)
                    .map(|(mapping, host_port)| v1::network_info::PortMapping {
                        host_port: u32::from(host_port),
                        container_port: u32::from(container_port(mapping, host_port)),
                        protocol: Some(mapping.protocol.clone()),
                    })
                    .collect(),
                ..v1::NetworkInfo::default()
            });
            let image = image.as_ref().map(|name| v1::Image {
                r#type: v1::image::Type::Docker.into(),
                docker: Some(v1::image::Docker {
                    name: name.clone(),
                    ..v1::image::Docker::default()
                }),
                cached: Some(!force_pull),
                ..v1::Image::default()
            });
            Some(v1::ContainerInfo {
                r#type: v1::container_info::Type::Mesos.into(),
                volumes: volumes(mounts),
                mesos: Some(v1::container_info::MesosInfo { image }),
                network_infos: network_infos.into_iter().collect(),
                ..v1::ContainerInfo::default()
            })
        }
    }
}

/// Each mapping with the host port of its index.
fn mapped<'a>(
    mappings: &'a [PortMapping],
    ports: &'a [u16],
) -> impl Iterator<Item = (&'a PortMapping, u16)> {
    mappings.iter().zip(ports.iter().copied())
}

fn container_port(mapping: &PortMapping, host_port: u16) -> u16 {
    match mapping.container_port {
        0 => host_port,
        port => port,
    }
}

fn volumes(volumes: &[core::Volume]) -> Vec<v1::Volume> {
    use v1::volume::Mode;
    let volumes = volumes.iter().map(|volume| v1::Volume {
        container_path: volume.container_path.clone(),
        host_path: Some(volume.host_path.clone()),
        mode: if volume.read_only { Mode::Ro } else { Mode::Rw }.into(),
        ..v1::Volume::default()
    });
    volumes.collect()
}

// === Health, labels, discovery ===

fn health_check(template: &Template, ports: &[u16]) -> Option<v1::HealthCheck> {
    use v1::health_check::{HttpCheckInfo, TcpCheckInfo, Type};
    let check = template.health_check.as_ref()?;
    let base = v1::HealthCheck {
        delay_seconds: Some(check.delay.as_secs_f64()),
        interval_seconds: Some(check.interval.as_secs_f64()),
        timeout_seconds: Some(check.timeout.as_secs_f64()),
        consecutive_failures: Some(check.consecutive_failures),
        grace_period_seconds: Some(check.grace_period.as_secs_f64()),
        ..v1::HealthCheck::default()
    };
    Some(match &check.probe {
        Probe::Http { scheme, path, port } => v1::HealthCheck {
            r#type: Some(Type::Http.into()),
            http: Some(HttpCheckInfo {
                port: checked_port(*port, template, ports)?,
                path: Some(path.clone()),
                scheme: Some(scheme.clone()),
                ..HttpCheckInfo::default()
            }),
            ..base
        },
        Probe::Tcp { port } => v1::HealthCheck {
            r#type: Some(Type::Tcp.into()),
            tcp: Some(TcpCheckInfo {
                port: checked_port(*port, template, ports)?,
                ..TcpCheckInfo::default()
            }),
            ..base
        },
        Probe::Command { command } => v1::HealthCheck {
            r#type: Some(Type::Command.into()),
            command: Some(v1::CommandInfo {
                shell: Some(true),
                value: Some(command.clone()),
                ..v1::CommandInfo::default()
            }),
            ..base
        },
    })
}

/// The port that a check asks. The agent checks inside the container's network, where a mapped
/// port has its own number (Mesos `src/checks/checker_process.cpp`).
fn checked_port(port: CheckedPort, template: &Template, ports: &[u16]) -> Option<u32> {
    let index = match port {
        CheckedPort::Number(number) => return Some(u32::from(number)),
        CheckedPort::Index(index) => usize::from(index),
    };
    let host_port = *ports.get(index)?;
    let network = match &template.container {
        Container::None => &Network::Host,
        Container::Docker { network, .. } | Container::Mesos { network, .. } => network,
    };
    let mapping = match network {
        Network::Host => None,
        Network::Bridge { port_mappings } | Network::Named { port_mappings, .. } => {
            port_mappings.get(index)
        }
    };
    let port = mapping.map_or(host_port, |mapping| container_port(mapping, host_port));
    Some(u32::from(port))
}

fn kill_policy(grace: Duration) -> v1::KillPolicy {
    v1::KillPolicy {
        grace_period: Some(v1::DurationInfo {
            nanoseconds: i64::try_from(grace.as_nanos()).unwrap_or(i64::MAX),
        }),
    }
}

/// The user's labels, then ours, by which a task is recognised without the store.
fn labels(launch: &Launch) -> v1::Labels {
    let label = |key: &str, value: &str| v1::Label {
        key: key.to_owned(),
        value: Some(value.to_owned()),
    };
    let user = launch.template.labels.iter();
    let user = user.map(|(key, value)| label(key, value));
    let ours = [
        label("gantry.workload", &launch.workload),
        label("gantry.instance", &launch.instance),
    ];
    v1::Labels {
        labels: user.chain(ours).collect(),
    }
}

/// Tells service discovery the ports, under the workload's name.
fn discovery(launch: &Launch) -> Option<v1::DiscoveryInfo> {
    if launch.ports.is_empty() {
        return None;
    }
    let ports = launch
        .ports
        .iter()
        .enumerate()
        .map(|(index, port)| v1::Port {
            number: u32::from(*port),
            name: Some(format!("port{index}")),
            protocol: Some("tcp".to_owned()),
            ..v1::Port::default()
        });
    Some(v1::DiscoveryInfo {
        visibility: v1::discovery_info::Visibility::Framework.into(),
        name: Some(launch.workload.to_string()),
        ports: Some(v1::Ports {
            ports: ports.collect(),
        }),
        ..v1::DiscoveryInfo::default()
    })
}

#[cfg(test)]
#[path = "to_mesos_tests.rs"]
mod tests;
