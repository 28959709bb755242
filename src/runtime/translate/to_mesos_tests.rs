use std::{collections::BTreeMap, sync::Arc};

use gantry_core::{
    AddedEnvironment, AgentAddress, AgentId, Amount, Demand, EnvironmentVariable, HealthCheck,
    OfferId, Parameter, Placement, Reservation, Scalar, Secret, TaskId, Uri, Volume,
};
use gantry_mesos::json::to_json;
use serde_json::{Value, json};

use super::*;

fn template(command: TaskCommand, container: Container) -> Template {
    Template {
        demand: Demand::default(),
        placement: Placement::default(),
        command,
        container,
        environment: Vec::new(),
        uris: Vec::new(),
        labels: BTreeMap::new(),
        user: None,
        health_check: None,
        kill_grace: None,
    }
}

fn docker(network: Network) -> Container {
    Container::Docker {
        image: "nginx:1".to_owned(),
        network,
        privileged: false,
        force_pull: true,
        parameters: Vec::new(),
        volumes: Vec::new(),
    }
}

/// The task of an ACCEPT that launches `template`, in Mesos' JSON form.
fn launched(template: Template, ports: &[u16], pieces: Vec<Piece>) -> Value {
    let launch = Launch {
        task: TaskId::new("fw.web-3.3f1e2d4c-0000-4000-8000-000000000000"),
        instance: "web-3".into(),
        workload: "web".into(),
        template: Arc::new(template),
        agent: Arc::new(AgentAddress {
            id: AgentId::new("m-S1"),
            hostname: "one.example".to_owned(),
            ip: "10.0.0.1".to_owned(),
            port: 5051,
            attributes: Vec::new(),
        }),
        ports: ports.to_vec(),
        pieces,
        environment: AddedEnvironment::new(vec![
            ("COLOUR".to_owned(), "blue".to_owned()),
            ("HOST".to_owned(), "not ours".to_owned()),
        ])
        .unwrap(),
    };
    let call = call(core::Call::Accept {
        offer: OfferId::new("m-O1"),
        agent: AgentId::new("m-S1"),
        launches: vec![launch],
        refuse: Duration::from_millis(500),
        offered_at: gantry_core::Timestamp::ZERO,
    });
    let mut call = to_json(&call);
    let task = call["accept"]["operations"][0]["launch"]["task_infos"][0].take();
    assert_eq!(
        call,
        json!({"type": "ACCEPT", "accept": {
            "offer_ids": [{"value": "m-O1"}],
            "filters": {"refuse_seconds": 0.5},
            "operations": [{"type": "LAUNCH", "launch": {"task_infos": [null]}}],
        }})
    );
    task
}

fn scalar(scalar: Scalar, thousandths: u64) -> Piece {
    Piece::Scalar {
        scalar,
        amount: Amount::from_thousandths(thousandths),
        reservations: Arc::default(),
    }
}

fn port(port: u16) -> Piece {
    Piece::Port {
        port,
        reservations: Arc::default(),
    }
}

fn variable(name: &str, value: &str) -> Value {
    json!({"name": name, "value": value, "type": "VALUE"})
}

/// What the boilerplate's contract sends for a Docker task with ports, and what we add.
#[test]
fn a_task_of_the_boilerplate() {
    let mut template = template(
        TaskCommand::Arguments(vec!["-g".to_owned(), "daemon off;".to_owned()]),
        Container::Docker {
            image: "nginx:1".to_owned(),
            network: Network::Host,
            privileged: true,
            force_pull: true,
            parameters: vec![Parameter {
                key: "hostname".to_owned(),
                value: "a.b".to_owned(),
            }],
            volumes: Vec::new(),
        },
    );
    template.environment = vec![
        EnvironmentVariable {
            name: "Z".to_owned(),
            value: EnvironmentValue::Plain("1".to_owned()),
        },
        EnvironmentVariable {
            name: "A".to_owned(),
            value: EnvironmentValue::Secret(Secret::new("hush", 1)),
        },
    ];
    template.uris = vec![Uri {
        value: "http://example.com/a.tgz".to_owned(),
        executable: None,
        extract: None,
        cache: None,
        output_file: None,
    }];
    template.health_check = Some(HealthCheck {
        probe: Probe::Http {
            scheme: "http".to_owned(),
            path: "/health".to_owned(),
            port: CheckedPort::Index(1),
        },
        delay: Duration::from_secs(15),
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(20),
        consecutive_failures: 3,
        grace_period: Duration::from_secs(10),
    });
    let pieces = vec![
        scalar(Scalar::Cpus, 500),
        scalar(Scalar::Mem, 64_000),
        scalar(Scalar::Disk, 0),
        port(8080),
        port(31007),
        port(31000),
    ];
    assert_eq!(
        launched(template, &[8080, 31007, 31000], pieces),
        json!({
            "name": "web",
            "task_id": {"value": "fw.web-3.3f1e2d4c-0000-4000-8000-000000000000"},
            "agent_id": {"value": "m-S1"},
            "resources": [
                {"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.5}},
                {"name": "mem", "type": "SCALAR", "scalar": {"value": 64.0}},
                {"name": "ports", "type": "RANGES", "ranges": {"range": [
                    {"begin": 8080, "end": 8080},
                    {"begin": 31007, "end": 31007},
                    {"begin": 31000, "end": 31000},
                ]}},
            ],
            "command": {
                "shell": false,
                "arguments": ["-g", "daemon off;"],
                "uris": [{"value": "http://example.com/a.tgz", "extract": true}],
                "environment": {"variables": [
                    variable("Z", "1"),
                    variable("A", "hush"),
                    variable("COLOUR", "blue"),
                    variable("HOST", "not ours"),
                    variable("PORT0", "8080"),
                    variable("PORT1", "31007"),
                    variable("PORT2", "31000"),
                    variable("HOST", "10.0.0.1"),
                    variable("GANTRY_WORKLOAD", "web"),
                    variable("GANTRY_INSTANCE", "web-3"),
                ]},
            },
            "container": {"type": "DOCKER", "docker": {
                "image": "nginx:1",
                "network": "HOST",
                "privileged": true,
                "force_pull_image": true,
                "parameters": [{"key": "hostname", "value": "a.b"}],
            }},
            "health_check": {
                "type": "HTTP",
                "http": {"port": 31007, "path": "/health", "scheme": "http", "protocol": "IPv4"},
                "delay_seconds": 15.0,
                "interval_seconds": 10.0,
                "timeout_seconds": 20.0,
                "consecutive_failures": 3,
                "grace_period_seconds": 10.0,
            },
            "labels": {"labels": [
                {"key": "gantry.workload", "value": "web"},
                {"key": "gantry.instance", "value": "web-3"},
            ]},
            "discovery": {
                "visibility": "FRAMEWORK",
                "name": "web",
                "ports": {"ports": [
                    {"number": 8080, "name": "port0", "protocol": "tcp"},
                    {"number": 31007, "name": "port1", "protocol": "tcp"},
                    {"number": 31000, "name": "port2", "protocol": "tcp"},
                ]},
            },
        })
    );
}

#[test]
fn commands_without_an_image() {
    let shell = template(TaskCommand::Shell("sleep 1".to_owned()), Container::None);
    let shell = launched(shell, &[], Vec::new());
    assert_eq!(shell["command"]["value"], "sleep 1");
    assert_eq!(shell["command"]["shell"], true);
    assert_eq!(shell["container"], Value::Null);
    assert_eq!(shell["discovery"], Value::Null);

    let arguments = TaskCommand::Arguments(vec!["sleep".to_owned(), "1".to_owned()]);
    let program = launched(template(arguments, Container::None), &[], Vec::new());
    assert_eq!(program["command"]["value"], "sleep");
    assert_eq!(program["command"]["arguments"], json!(["sleep", "1"]));
    assert_eq!(program["command"]["shell"], false);
}

#[test]
fn networks_map_the_nth_host_port() {
    let mappings = vec![
        PortMapping {
            container_port: 80,
            protocol: "tcp".to_owned(),
        },
        PortMapping {
            container_port: 0,
            protocol: "udp".to_owned(),
        },
    ];
    let mapped = json!([
        {"host_port": 31000, "container_port": 80, "protocol": "tcp"},
        {"host_port": 31001, "container_port": 31001, "protocol": "udp"},
    ]);
    let command = || TaskCommand::Arguments(Vec::new());
    let mut bridge = template(
        command(),
        docker(Network::Bridge {
            port_mappings: mappings.clone(),
        }),
    );
    bridge.health_check = Some(HealthCheck {
        probe: Probe::Tcp {
            port: CheckedPort::Index(0),
        },
        delay: Duration::ZERO,
        interval: Duration::from_millis(1500),
        timeout: Duration::from_secs(1),
        consecutive_failures: 1,
        grace_period: Duration::ZERO,
    });
    bridge.kill_grace = Some(Duration::from_millis(2500));
    let bridge = launched(bridge, &[31000, 31001], Vec::new());
    let info = &bridge["container"]["docker"];
    assert_eq!(info["network"], "BRIDGE");
    assert_eq!(info["port_mappings"], mapped);
    assert_eq!(bridge["health_check"]["tcp"]["port"], 80);
    assert_eq!(bridge["health_check"]["interval_seconds"], 1.5);
    assert_eq!(
        bridge["kill_policy"],
        json!({"grace_period": {"nanoseconds": 2_500_000_000_i64}})
    );

    let named = docker(Network::Named {
        name: "blue".to_owned(),
        port_mappings: mappings.clone(),
    });
    let named = launched(template(command(), named), &[31000, 31001], Vec::new());
    assert_eq!(named["container"]["docker"]["network"], "USER");
    assert_eq!(named["container"]["docker"]["port_mappings"], mapped);
    assert_eq!(
        named["container"]["network_infos"],
        json!([{"name": "blue"}])
    );

    let mesos = Container::Mesos {
        image: Some("nginx:1".to_owned()),
        network: Network::Bridge {
            port_mappings: mappings,
        },
        force_pull: true,
        volumes: vec![Volume {
            container_path: "/data".to_owned(),
            host_path: "data".to_owned(),
            read_only: true,
        }],
    };
    let mesos = launched(template(command(), mesos), &[31000, 31001], Vec::new());
    assert_eq!(
        mesos["container"],
        json!({
            "type": "MESOS",
            "mesos": {"image": {"type": "DOCKER", "docker": {"name": "nginx:1"}, "cached": false}},
            "network_infos": [{"name": "mesos-bridge", "port_mappings": mapped}],
            "volumes": [{"container_path": "/data", "host_path": "data", "mode": "RO"}],
        })
    );
}

#[test]
fn reserved_resources_go_back_as_they_were_offered() {
    let reserved = Arc::new(Reservations(vec![Reservation {
        dynamic: true,
        role: "web".to_owned(),
        principal: Some("p".to_owned()),
        labels: vec![("a".to_owned(), Some("1".to_owned()))],
    }]));
    let pieces = vec![
        Piece::Scalar {
            scalar: Scalar::Cpus,
            amount: Amount::from_thousandths(300),
            reservations: Arc::clone(&reserved),
        },
        scalar(Scalar::Cpus, 200),
        Piece::Port {
            port: 8080,
            reservations: reserved,
        },
        port(31000),
    ];
    let task = launched(
        template(TaskCommand::Shell("true".to_owned()), Container::None),
        &[8080, 31000],
        pieces,
    );
    let stack = json!([{"type": "DYNAMIC", "role": "web", "principal": "p",
                        "labels": {"labels": [{"key": "a", "value": "1"}]}}]);
    assert_eq!(
        task["resources"],
        json!([
            {"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.3}, "reservations": stack},
            {"name": "cpus", "type": "SCALAR", "scalar": {"value": 0.2}},
            {"name": "ports", "type": "RANGES", "reservations": stack,
             "ranges": {"range": [{"begin": 8080, "end": 8080}]}},
            {"name": "ports", "type": "RANGES",
             "ranges": {"range": [{"begin": 31000, "end": 31000}]}},
        ])
    );
}

#[test]
fn the_other_calls() {
    let offers = vec![OfferId::new("o1"), OfferId::new("o2")];
    for (ours, theirs) in [
        (
            core::Call::Decline {
                offers: offers.clone(),
                refuse: Duration::from_secs(3600),
            },
            json!({"type": "DECLINE", "decline": {"offer_ids": [{"value": "o1"}, {"value": "o2"}],
                   "filters": {"refuse_seconds": 3600.0}}}),
        ),
        (
            core::Call::DeclineInverse { offers },
            json!({"type": "DECLINE_INVERSE_OFFERS", "decline_inverse_offers":
                   {"inverse_offer_ids": [{"value": "o1"}, {"value": "o2"}]}}),
        ),
        (
            core::Call::Kill {
                task: TaskId::new("t"),
                agent: Some(AgentId::new("a")),
                grace: Some(Duration::from_secs(1)),
            },
            json!({"type": "KILL", "kill": {"task_id": {"value": "t"}, "agent_id": {"value": "a"},
                   "kill_policy": {"grace_period": {"nanoseconds": 1_000_000_000}}}}),
        ),
        (
            core::Call::Acknowledge {
                task: TaskId::new("t"),
                agent: AgentId::new("a"),
                uuid: [0; 16],
            },
            json!({"type": "ACKNOWLEDGE", "acknowledge": {"task_id": {"value": "t"},
                   "agent_id": {"value": "a"}, "uuid": "AAAAAAAAAAAAAAAAAAAAAA=="}}),
        ),
        (
            core::Call::Reconcile {
                tasks: vec![(TaskId::new("t"), None)],
            },
            json!({"type": "RECONCILE", "reconcile": {"tasks": [{"task_id": {"value": "t"}}]}}),
        ),
        (
            core::Call::Suppress,
            json!({"type": "SUPPRESS", "suppress": {}}),
        ),
        (core::Call::Revive, json!({"type": "REVIVE", "revive": {}})),
    ] {
        assert_eq!(to_json(&call(ours)), theirs);
    }
}
