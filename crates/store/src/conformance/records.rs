//! Random records of every kind.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use gantry_core::{
    AccessRecord, Actor, AgentAddress, AgentId, Amount, AuditEntry, BackOff, Brake, CheckedPort,
    Constraint, Container, Demand, Deployment, DeploymentId, DeploymentKind, DeploymentStatus,
    EndedTask, EnvironmentValue, EnvironmentVariable, FrameworkId, FrameworkRecord, Goal,
    HealthCheck, InstanceRecord, ModuleValue, Network, OnFailure, Operator, Parameter, Pattern,
    Placement, PortMapping, Probe, Record, RevisionRecord, Secret, Share, StopReason, TaskCommand,
    TaskId, TaskRecord, TaskState, Template, Timestamp, UpdateOrder, UpdatePolicy, Uri, Uuid,
    Volume, WorkloadName, WorkloadRecord,
};
use proptest::{collection::vec, option, prelude::*, sample::select};

/// A plain task of an instance, the same for the same arguments.
pub fn task(workload: &str, number: u32) -> Record {
    let workload = WorkloadName::new(workload);
    let uuid = Uuid::from_bits(u128::from(number));
    Record::Task(TaskRecord {
        id: TaskId::from_parts("test", &workload.in_task_ids(), number, uuid),
        workload,
        number,
        uuid,
        revision: 1,
        agent: Arc::new(AgentAddress {
            id: AgentId::new(format!("agent-{}", number % 100)),
            hostname: format!("node-{}.example.net", number % 100),
            ip: "10.0.0.1".to_owned(),
            port: 5051,
            attributes: vec![("rack".to_owned(), "r1".to_owned())],
        }),
        ports: [31_000, 31_001].into_iter().collect(),
        state: TaskState::Launching,
        goal: Goal::Run,
        launched_at: Timestamp::from_millis(1_700_000_000_000),
        started_at: None,
        running_at: None,
    })
}

/// Any record.
pub fn record() -> impl Strategy<Value = Record> {
    prop_oneof![
        framework().prop_map(Record::Framework),
        workload().prop_map(Record::Workload),
        revision().prop_map(Record::Revision),
        instance().prop_map(Record::Instance),
        any_task().prop_map(Record::Task),
        deployment().prop_map(Record::Deployment),
        audit().prop_map(Record::Audit),
        brake().prop_map(Record::Brake),
        module_value().prop_map(Record::ModuleValue),
        access().prop_map(Record::Access),
    ]
}

// === Kinds ===

fn framework() -> impl Strategy<Value = FrameworkRecord> {
    (text(), time()).prop_map(|(id, registered_at)| FrameworkRecord {
        id: FrameworkId::new(id),
        registered_at,
    })
}

fn workload() -> impl Strategy<Value = WorkloadRecord> {
    let counts = (any::<u32>(), any::<u32>(), any::<u32>(), any::<i32>());
    let flags = (any::<bool>(), any::<bool>(), any::<bool>());
    let back_off = (duration(), any::<u32>(), duration(), duration());
    let update = (any::<u32>(), update_policy());
    (name(), counts, flags, back_off, update).prop_map(
        |(name, (declared, desired, revision, priority), flags, back_off, update)| WorkloadRecord {
            name,
            declared,
            desired,
            revision,
            declared_revision: update.0,
            update: update.1,
            priority,
            wait_healthy: flags.0,
            allow_scaling: flags.1,
            removed: flags.2,
            back_off: BackOff {
                initial: back_off.0,
                factor_thousandths: back_off.1,
                max: back_off.2,
                stable_after: back_off.3,
            },
        },
    )
}

fn revision() -> impl Strategy<Value = RevisionRecord> {
    (name(), any::<u32>(), time(), template()).prop_map(
        |(workload, number, created_at, template)| RevisionRecord {
            workload,
            number,
            created_at,
            template: Arc::new(template),
        },
    )
}

fn instance() -> impl Strategy<Value = InstanceRecord> {
    let history = vec(ended_task(), 0..4);
    (
        name(),
        any::<u32>(),
        any::<u32>(),
        option::of(time()),
        history,
    )
        .prop_map(
            |(workload, number, failures, not_before, history)| InstanceRecord {
                workload,
                number,
                failures,
                not_before,
                history,
            },
        )
}

fn ended_task() -> impl Strategy<Value = EndedTask> {
    let run = (uuid(), any::<u32>(), agent(), state());
    let ports = vec(any::<u16>(), 0..6);
    let why = (option::of(text()), option::of(text()), option::of(stop()));
    let when = (time(), option::of(time()), time(), option::of(time()));
    (run, ports, why, when, any::<bool>()).prop_map(|(run, ports, why, when, unhealthy)| {
        EndedTask {
            uuid: run.0,
            revision: run.1,
            agent: run.2,
            ports: ports.into_iter().collect(),
            state: run.3,
            reason: why.0,
            message: why.1,
            unhealthy,
            stopped: why.2,
            stopped_at: when.3,
            launched_at: when.0,
            running_at: when.1,
            ended_at: when.2,
        }
    })
}

fn any_task() -> impl Strategy<Value = TaskRecord> {
    let run = (text(), name(), any::<u32>(), uuid(), any::<u32>());
    let place = (agent(), vec(any::<u16>(), 0..6));
    let when = (time(), option::of(time()), option::of(time()));
    (run, place, state(), goal(), when).prop_map(|(run, place, state, goal, when)| TaskRecord {
        id: TaskId::new(run.0),
        workload: run.1,
        number: run.2,
        uuid: run.3,
        revision: run.4,
        agent: place.0,
        ports: place.1.into_iter().collect(),
        state,
        goal,
        launched_at: when.0,
        started_at: when.1,
        running_at: when.2,
    })
}

fn deployment() -> impl Strategy<Value = Deployment> {
    let restart = (option::of(name()), time()).prop_map(|(workload, launched_before)| {
        DeploymentKind::RollingRestart {
            workload,
            launched_before,
        }
    });
    let update = (name(), any::<u32>(), any::<u32>())
        .prop_map(|(workload, from, to)| DeploymentKind::Update { workload, from, to });
    let kind = prop_oneof![restart, update];
    let why = || (time(), option::of(text()));
    let status = prop_oneof![
        Just(DeploymentStatus::Running),
        why().prop_map(|(at, reason)| DeploymentStatus::Paused { at, reason }),
        why().prop_map(|(at, reason)| DeploymentStatus::RollingBack { at, reason }),
        why().prop_map(|(at, reason)| DeploymentStatus::RolledBack { at, reason }),
        time().prop_map(|at| DeploymentStatus::Done { at }),
        (time(), text()).prop_map(|(at, reason)| DeploymentStatus::Failed { at, reason }),
        why().prop_map(|(at, reason)| DeploymentStatus::Aborted { at, reason }),
    ];
    let counts = (any::<u64>(), any::<u32>(), any::<u32>());
    (kind, status, time(), counts).prop_map(|(kind, status, started_at, (id, total, done))| {
        Deployment {
            id: DeploymentId(id),
            kind,
            status,
            started_at,
            total,
            done,
            resumed: None,
        }
    })
}

fn audit() -> impl Strategy<Value = AuditEntry> {
    let actor = (text(), text(), option::of(text()));
    let change = (text(), option::of(text()), option::of(text()));
    (any::<u64>(), time(), actor, change).prop_map(|(sequence, at, actor, change)| AuditEntry {
        sequence,
        at,
        actor: Actor {
            name: actor.0,
            address: actor.1,
            reason: actor.2,
        },
        action: change.0,
        before: change.1,
        after: change.2,
    })
}

fn brake() -> impl Strategy<Value = Brake> {
    (time(), any::<u32>(), any::<u32>()).prop_map(|(since, troubled, of)| Brake {
        since,
        troubled,
        of,
    })
}

fn module_value() -> impl Strategy<Value = ModuleValue> {
    (text(), text(), text()).prop_map(|(module, key, value)| ModuleValue {
        module: module.into(),
        key: key.into(),
        value: value.into(),
    })
}

fn access() -> impl Strategy<Value = AccessRecord> {
    let users = proptest::collection::btree_map(text(), time(), 0..4);
    (time(), users).prop_map(|(all_sessions_end_before, users)| AccessRecord {
        all_sessions_end_before,
        users,
    })
}

fn update_policy() -> impl Strategy<Value = UpdatePolicy> {
    let share = || {
        option::of(prop_oneof![
            any::<u32>().prop_map(Share::Count),
            any::<u8>().prop_map(Share::Percent),
        ])
    };
    let order = select(vec![UpdateOrder::StartFirst, UpdateOrder::StopFirst]);
    let on_failure = select(vec![OnFailure::Pause, OnFailure::Rollback]);
    let how = (any::<u32>(), order, on_failure);
    (how, (share(), share()), (duration(), duration())).prop_map(|(how, shares, times)| {
        UpdatePolicy {
            parallelism: how.0,
            order: how.1,
            min_healthy: shares.0,
            max_over: shares.1,
            deadline: times.0,
            on_failure: how.2,
            monitor: times.1,
        }
    })
}

// === Templates ===

fn template() -> impl Strategy<Value = Template> {
    let command = prop_oneof![
        text().prop_map(TaskCommand::Shell),
        vec(text(), 0..3).prop_map(TaskCommand::Arguments),
    ];
    let environment = vec((text(), environment_value()), 0..4).prop_map(|variables| {
        let variable = |(name, value)| EnvironmentVariable { name, value };
        variables.into_iter().map(variable).collect::<Vec<_>>()
    });
    let labels = proptest::collection::btree_map(text(), text(), 0..3);
    let what = (demand(), placement(), command, container());
    let extras = (environment, vec(uri(), 0..3), labels, option::of(text()));
    let life = (option::of(health_check()), option::of(duration()));
    (what, extras, life).prop_map(|(what, extras, life): (_, (_, _, BTreeMap<_, _>, _), _)| {
        Template {
            demand: what.0,
            placement: what.1,
            command: what.2,
            container: what.3,
            environment: extras.0,
            uris: extras.1,
            labels: extras.2,
            user: extras.3,
            health_check: life.0,
            kill_grace: life.1,
        }
    })
}

fn demand() -> impl Strategy<Value = Demand> {
    let amount = || any::<u64>().prop_map(Amount::from_thousandths);
    let scalars = (amount(), amount(), amount(), amount());
    (scalars, vec(any::<u16>(), 0..3), any::<u16>()).prop_map(
        |(scalars, fixed_ports, dynamic_ports)| Demand {
            cpus: scalars.0,
            mem: scalars.1,
            disk: scalars.2,
            gpus: scalars.3,
            fixed_ports,
            dynamic_ports,
        },
    )
}

fn placement() -> impl Strategy<Value = Placement> {
    let pattern = || {
        select(vec!["", "rack-[0-9]+", "a|b", "(x"])
            .prop_filter_map("compiles", |text| Pattern::new(text).ok())
    };
    let operator = prop_oneof![
        Just(Operator::Unique),
        option::of(text()).prop_map(Operator::Cluster),
        any::<u32>().prop_map(Operator::GroupBy),
        pattern().prop_map(Operator::Like),
        pattern().prop_map(Operator::Unlike),
        any::<u32>().prop_map(Operator::MaxPer),
        text().prop_map(Operator::Is),
    ];
    let constraint =
        (text(), operator).prop_map(|(field, operator)| Constraint { field, operator });
    (any::<bool>(), any::<bool>(), vec(constraint, 0..4)).prop_map(
        |(avoid_scheduler_host, unique_hosts, constraints)| Placement {
            avoid_scheduler_host,
            unique_hosts,
            constraints,
        },
    )
}

fn container() -> impl Strategy<Value = Container> {
    let parameter = (text(), text()).prop_map(|(key, value)| Parameter { key, value });
    prop_oneof![
        Just(Container::None),
        (
            (text(), network(), any::<bool>(), any::<bool>()),
            vec(parameter, 0..3),
            vec(volume(), 0..3)
        )
            .prop_map(|(what, parameters, volumes)| Container::Docker {
                image: what.0,
                network: what.1,
                privileged: what.2,
                force_pull: what.3,
                parameters,
                volumes,
            }),
        (
            option::of(text()),
            network(),
            any::<bool>(),
            vec(volume(), 0..3)
        )
            .prop_map(|(image, network, force_pull, volumes)| Container::Mesos {
                image,
                network,
                force_pull,
                volumes,
            }),
    ]
}

fn network() -> impl Strategy<Value = Network> {
    let mappings = || {
        let mapping = (any::<u16>(), text()).prop_map(|(container_port, protocol)| PortMapping {
            container_port,
            protocol,
        });
        vec(mapping, 0..3)
    };
    prop_oneof![
        Just(Network::Host),
        mappings().prop_map(|port_mappings| Network::Bridge { port_mappings }),
        (text(), mappings()).prop_map(|(name, port_mappings)| Network::Named {
            name,
            port_mappings
        }),
    ]
}

fn volume() -> impl Strategy<Value = Volume> {
    (text(), text(), any::<bool>()).prop_map(|(container_path, host_path, read_only)| Volume {
        container_path,
        host_path,
        read_only,
    })
}

fn uri() -> impl Strategy<Value = Uri> {
    let flag = || option::of(any::<bool>());
    (text(), flag(), flag(), flag(), option::of(text())).prop_map(
        |(value, executable, extract, cache, output_file)| Uri {
            value,
            executable,
            extract,
            cache,
            output_file,
        },
    )
}

fn environment_value() -> impl Strategy<Value = EnvironmentValue> {
    prop_oneof![
        text().prop_map(EnvironmentValue::Plain),
        (text(), any::<u32>()).prop_map(|(value, fingerprint)| EnvironmentValue::Secret(
            Secret::new(value, fingerprint)
        )),
    ]
}

fn health_check() -> impl Strategy<Value = HealthCheck> {
    let port = || {
        prop_oneof![
            any::<u16>().prop_map(CheckedPort::Index),
            any::<u16>().prop_map(CheckedPort::Number),
        ]
    };
    let probe = prop_oneof![
        (text(), text(), port()).prop_map(|(scheme, path, port)| Probe::Http {
            scheme,
            path,
            port
        }),
        port().prop_map(|port| Probe::Tcp { port }),
        text().prop_map(|command| Probe::Command { command }),
    ];
    let times = (duration(), duration(), duration(), duration());
    (probe, times, any::<u32>()).prop_map(|(probe, times, consecutive_failures)| HealthCheck {
        probe,
        delay: times.0,
        interval: times.1,
        timeout: times.2,
        consecutive_failures,
        grace_period: times.3,
    })
}

// === Parts ===

fn goal() -> impl Strategy<Value = Goal> {
    prop_oneof![
        Just(Goal::Run),
        (time(), time(), any::<bool>()).prop_map(|(since, deadline, by_hand)| Goal::Replace {
            since,
            deadline,
            by_hand
        }),
        (stop(), time()).prop_map(|(reason, since)| Goal::Stop { reason, since }),
    ]
}

fn stop() -> impl Strategy<Value = StopReason> {
    select(vec![
        StopReason::Retired,
        StopReason::Killed,
        StopReason::Restarted,
        StopReason::ReplacementFailed,
        StopReason::Surplus,
    ])
}

fn state() -> impl Strategy<Value = TaskState> {
    select(TaskState::ALL.to_vec())
}

fn agent() -> impl Strategy<Value = Arc<AgentAddress>> {
    let attributes = vec((text(), text()), 0..3);
    (text(), text(), text(), any::<u16>(), attributes).prop_map(
        |(id, hostname, ip, port, attributes)| {
            Arc::new(AgentAddress {
                id: AgentId::new(id),
                hostname,
                ip,
                port,
                attributes,
            })
        },
    )
}

fn uuid() -> impl Strategy<Value = Uuid> {
    any::<u128>().prop_map(Uuid::from_bits)
}

fn time() -> impl Strategy<Value = Timestamp> {
    any::<u64>().prop_map(Timestamp::from_millis)
}

fn duration() -> impl Strategy<Value = Duration> {
    any::<u64>().prop_map(Duration::from_millis)
}

/// Names as people write them, and names that would break out of a path.
fn name() -> impl Strategy<Value = WorkloadName> {
    text().prop_map(WorkloadName::new)
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z][a-z0-9-]{0,12}",
        "[a-z]{1,5}(/[a-z]{1,5}){1,3}",
        select(vec![
            "",
            ".",
            "..",
            "/",
            "%",
            "%2F",
            "a/../b",
            "\0",
            "é ü",
            "\u{10ffff}"
        ])
        .prop_map(str::to_owned),
        vec(any::<char>(), 0..8).prop_map(String::from_iter),
    ]
}
