//! Whole environments: what is read from them, and what is said about them.

mod access;
mod store;
mod update;

use std::{collections::BTreeMap, path::Path, time::Duration};

use gantry_core::{
    Amount, CheckedPort, Container, EnvironmentValue, Network, Probe, Settings, TaskCommand,
};

use super::*;

type Environment = BTreeMap<String, String>;

fn environment(pairs: &[(&str, &str)]) -> Environment {
    pairs
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
        .collect()
}

/// One complete definition, and what is changed in it; an empty text removes a variable.
fn with(changes: &[(&str, &str)]) -> Environment {
    let mut variables = environment(&[
        ("FRAMEWORK_NAME", "my fw"),
        ("HOST", "10.0.0.1"),
        ("PORT0", "31000"),
        ("MESOS_SANDBOX", "/sandbox"),
        ("STORE", "memory"),
        ("TASK_DEF_NUM", "1"),
        ("TASK0_NAME", "web"),
        ("TASK0_NUM_INSTANCES", "3"),
        ("TASK0_CPUS", "0.5"),
        ("TASK0_MEM", "64"),
        ("TASK0_IMAGE", "alpine"),
    ]);
    for (name, value) in changes {
        if value.is_empty() {
            variables.remove(*name);
        } else {
            variables.insert((*name).to_owned(), (*value).to_owned());
        }
    }
    variables
}

fn good(changes: &[(&str, &str)]) -> Config {
    Config::read(&with(changes))
        .unwrap_or_else(|report| panic!("{changes:?}: {report}"))
        .0
}

fn warned(changes: &[(&str, &str)]) -> Vec<String> {
    let (_, report) = Config::read(&with(changes)).unwrap_or_else(|report| panic!("{report}"));
    report.warnings.iter().map(ToString::to_string).collect()
}

fn bad(changes: &[(&str, &str)]) -> Vec<String> {
    match Config::read(&with(changes)) {
        Ok((_, report)) => panic!("{changes:?} is accepted: {report}"),
        Err(report) => report.errors.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn a_definition_that_no_store_could_keep_is_refused() {
    // Each variable is short enough, and all together are not, as they are written down.
    let command = format!("echo {}", "\u{1}".repeat(65_000));
    let json = format!(r#"{{"A":"{}"}}"#, "x".repeat(65_000));
    let much = [
        ("TASK0_CMD", &*command),
        ("TASK0_ENV", &*json),
        ("TASK0_LABELS", &*json),
        ("GLOBAL_ENV", &*json.replace("\"A\"", "\"B\"")),
    ];
    good(&much[..3]);
    let errors = bad(&much);
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].contains("TASK0_NAME"), "{errors:?}");
    assert!(errors[0].contains("more than the limit of 524288"));
}

#[test]
fn missing_variables_are_named_exactly() {
    let report = Config::read(&with(&[("TASK0_IMAGE", "")])).unwrap_err();
    assert_eq!(
        report.missing_line().as_deref(),
        Some(r#"Environment variables needed: ["TASK0_IMAGE"]"#)
    );
    assert_eq!(report.errors.len(), 1);
    let report = Config::read(&Environment::new()).unwrap_err();
    assert_eq!(report.missing, ["FRAMEWORK_NAME", "TASK_DEF_NUM"]);
    let blank = [
        ("FRAMEWORK_NAME", " "),
        ("TASK0_NAME", "\t"),
        ("TASK0_MEM", ""),
    ];
    let report = Config::read(&with(&blank)).unwrap_err();
    assert_eq!(
        report.missing,
        ["FRAMEWORK_NAME", "TASK0_NAME", "TASK0_MEM"]
    );
    let two = [("TASK_DEF_NUM", "2")];
    let report = Config::read(&with(&two)).unwrap_err();
    let needed = ["NAME", "NUM_INSTANCES", "CPUS", "MEM", "IMAGE"];
    let mut missing = report.missing;
    missing.sort_by_key(|name| needed.iter().position(|needed| name.ends_with(needed)));
    assert_eq!(missing, needed.map(|name| format!("TASK1_{name}")));
}

#[test]
fn a_count_of_zero_needs_no_definition() {
    let variables = environment(&[("FRAMEWORK_NAME", "f"), ("TASK_DEF_NUM", "0")]);
    let (config, report) = Config::read(&variables).unwrap();
    assert!(config.services.is_empty());
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:3000");
    assert_eq!(config.logging.directory, Path::new("./logs"));
    assert_eq!(config.store.to_string(), "./gantry.redb");
    let noticed: Vec<_> = report.notices.iter().map(|n| n.variable.as_str()).collect();
    assert_eq!(noticed, ["HOST", "PORT0", "MESOS_SANDBOX"]);
    assert_eq!(report.warnings.len(), 1, "STORE: {report}");
}

#[test]
fn the_framework_is_read() {
    let config = good(&[]);
    let framework = &config.framework;
    assert_eq!(
        (framework.name.as_str(), framework.task_name.as_str()),
        ("my fw", "my-fw")
    );
    assert_eq!(framework.webui_url, "http://10.0.0.1:31000");
    assert_eq!(framework.failover_timeout, Duration::from_secs(604_800));
    assert_eq!(
        (framework.user.as_str(), &framework.roles[..]),
        ("root", &["*".to_owned()][..])
    );
    let listen = [("LISTEN", "0.0.0.0:8080")];
    assert_eq!(good(&listen).framework.webui_url, "http://10.0.0.1:31000");
    let by_hand = [("LISTEN", "0.0.0.0:8080"), ("PORT0", "")];
    assert_eq!(good(&by_hand).framework.webui_url, "http://10.0.0.1:8080");
    assert_eq!(config.mesos.master_shown.url, "leader.mesos");
    assert_eq!(config.mesos.master_shown.port, 5050);
    assert!(config.mesos.credentials.is_none());
    assert_eq!(config.logging.directory, Path::new("/sandbox/logs"));
    assert_eq!(config.logging.file_name, "my fw.log");
    assert_eq!(config.logging.level, LogLevel::Info);
}

#[test]
fn the_defaults_of_the_scheduler_are_its_own() {
    let expected = Settings {
        scheduler_hosts: vec!["10.0.0.1".to_owned()],
        ..Settings::new("my-fw")
    };
    assert_eq!(
        format!("{:?}", good(&[]).scheduler),
        format!("{expected:?}")
    );
    let changed = good(&[("KILL_UNKNOWN_TASKS", "1"), ("RECONCILE_EVERY", "30m")]).scheduler;
    assert_eq!(changed.kill_unknown, Some(Duration::from_secs(900)));
    assert_eq!(changed.reconcile_every, Duration::from_secs(1800));
    let template = &good(&[]).services[0];
    assert_eq!(template.back_off, gantry_core::BackOff::default());
}

#[test]
fn masters_and_credentials() {
    let shown = |changes: &[(&str, &str)]| {
        let mesos = good(changes).mesos;
        format!("{} {}", mesos.master_shown.url, mesos.master_shown.port)
    };
    assert_eq!(shown(&[("MASTER_IP", "10.1.1.1")]), "10.1.1.1 5050");
    assert_eq!(shown(&[("MESOS_MASTER", "a:1,b:2")]), "a:1,b:2 1");
    let zookeeper = [("MESOS_MASTER", "zk://u:hush@z:1,y/mesos")];
    assert_eq!(shown(&zookeeper), "zk://z:1,y:2181/mesos 5050");
    assert!(!format!("{:?}", good(&zookeeper)).contains("hush"));
    let both = [("MESOS_MASTER", "a"), ("MASTER_IP", "b")];
    assert_eq!(shown(&both), "a 5050");
    assert!(warned(&both)[0].starts_with("MASTER_IP='b' is ignored"));

    let in_file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&in_file, "hush\n").unwrap();
    let path = in_file.path().to_str().unwrap();
    let config = good(&[("MESOS_PRINCIPAL", "me"), ("MESOS_SECRET_FILE", path)]);
    assert!(config.mesos.credentials.is_some());
    for (changes, why) in [
        (
            &[("MESOS_SECRET", "hush")][..],
            "MESOS_SECRET=**** is set without MESOS_PRINCIPAL",
        ),
        (
            &[("MESOS_PRINCIPAL", "me"), ("MESOS_SECRET", "hu:sh")],
            "must not contain ':'",
        ),
        (
            &[
                ("MESOS_PRINCIPAL", "me"),
                ("MESOS_SECRET", "hush"),
                ("MESOS_AUTHORIZATION", "x"),
            ],
            "only one",
        ),
        (&[("MESOS_AUTHORIZATION", "a\nb")], "one line"),
        (&[("MESOS_SECRET_FILE", "/no/such/file")], "cannot be read"),
        (
            &[("MESOS_SECRET", "hush"), ("MESOS_SECRET_FILE", path)],
            "is set beside MESOS_SECRET",
        ),
        (&[("MESOS_CA_FILE", path)], "without a PEM certificate"),
        (
            &[("MESOS_MASTER", "ftp://hush:hush@a")],
            "MESOS_MASTER=****",
        ),
    ] {
        let errors = bad(changes);
        assert!(
            errors.iter().any(|error| error.contains(why)),
            "{changes:?}: {errors:?}"
        );
        assert!(!errors.concat().contains("hush"), "{errors:?}");
    }
}

#[test]
fn the_boilerplates_definition_makes_its_container() {
    let config = good(&[
        ("TASK0_ARGS", r#"["sleep","100000"]"#),
        ("TASK0_ENV", r#"{"Z":"1","A":"2"}"#),
        ("TASK0_URI", "http://a/b.tgz"),
        (
            "TASK0_CONTAINER_PARAMS",
            r#"[{"key":"cap-add","value":"ALL"}]"#,
        ),
        ("TASK0_CONTAINER_PRIVILEGED", "true"),
        ("TASK0_PORT_NUM", "3"),
        ("TASK0_FIXED_PORTS", "10000,9999"),
        ("TASK0_HEALTHCHECK", "/health"),
        ("TASK0_HEALTHCHECK_PORT", "2"),
        ("TASK0_NOCOLOCATION", "true"),
        ("TASK0_ALLOW_SCALING", "no"),
    ]);
    let service = &config.services[0];
    assert_eq!(
        (service.name.as_str(), service.instances, service.priority),
        ("web", 3, 1)
    );
    assert!(!service.allow_scaling && !service.wait_healthy);
    let template = &service.template;
    assert_eq!(template.demand.cpus, Amount::from_f64(0.5));
    assert_eq!(template.demand.mem, Amount::from_units(64));
    assert_eq!(template.demand.fixed_ports, [9999, 10000]);
    assert_eq!(template.demand.dynamic_ports, 1);
    assert!(template.placement.avoid_scheduler_host && !template.placement.unique_hosts);
    let arguments = vec!["sleep".to_owned(), "100000".to_owned()];
    assert_eq!(template.command, TaskCommand::Arguments(arguments));
    let Container::Docker {
        image,
        network,
        privileged,
        force_pull,
        parameters,
        volumes,
    } = &template.container
    else {
        panic!("{:?}", template.container)
    };
    assert_eq!((image.as_str(), network), ("alpine", &Network::Host));
    assert!(*privileged && *force_pull && volumes.is_empty() && parameters.len() == 1);
    let names: Vec<_> = template
        .environment
        .iter()
        .map(|v| v.name.as_str())
        .collect();
    assert_eq!(names, ["Z", "A"]);
    assert_eq!(template.uris[0].value, "http://a/b.tgz");
    let check = template.health_check.as_ref().unwrap();
    let Probe::Http { scheme, path, port } = &check.probe else {
        panic!("{check:?}")
    };
    assert_eq!(
        (scheme.as_str(), path.as_str(), *port),
        ("http", "/health", CheckedPort::Index(2))
    );
    assert_eq!(
        (
            check.delay.as_secs(),
            check.interval.as_secs(),
            check.timeout.as_secs()
        ),
        (15, 10, 20)
    );
    assert_eq!(
        (check.consecutive_failures, check.grace_period.as_secs()),
        (3, 10)
    );
}

#[test]
fn instance_counts_keep_their_text() {
    for (text, count) in [("0", 0), ("2.7", 2), ("-1", 0), ("many", 0), ("3", 3)] {
        let config = good(&[("TASK0_NUM_INSTANCES", text)]);
        assert_eq!(config.services[0].instances, count, "{text}");
        assert_eq!(config.declarations[0].instances, text);
    }
    assert!(warned(&[("TASK0_NUM_INSTANCES", "many")])[0].contains("no task is started"));
    let changes = [("TASK0_NUM_INSTANCES", "11"), ("INSTANCES_MAX", "10")];
    assert!(bad(&changes)[0].contains("INSTANCES_MAX=10"));
}

#[test]
fn other_containers() {
    let container = |changes: &[(&str, &str)]| good(changes).services[0].template.container.clone();
    let shell = [("TASK0_IMAGE", ""), ("TASK0_CMD", "sleep 1")];
    assert_eq!(container(&shell), Container::None);
    let mesos = [
        ("TASK0_CONTAINERIZER", "mesos"),
        ("TASK0_FORCE_PULL", "0"),
        ("TASK0_NETWORK", "weave"),
    ];
    assert!(matches!(
        container(&mesos),
        Container::Mesos {
            image: Some(_),
            network: Network::Named { .. },
            force_pull: false,
            ..
        }
    ));
    let bridge = [
        ("TASK0_NETWORK", "BRIDGE"),
        ("TASK0_PORT_NUM", "2"),
        ("TASK0_PORT_MAPPINGS", "80"),
    ];
    let Container::Docker {
        network: Network::Bridge { port_mappings },
        ..
    } = container(&bridge)
    else {
        panic!("no bridge")
    };
    let ports: Vec<_> = port_mappings.iter().map(|m| m.container_port).collect();
    assert_eq!(ports, [80, 0], "a port without a mapping keeps its number");
}

#[test]
fn environments_are_merged_and_secrets_hidden() {
    let config = good(&[
        ("GLOBAL_ENV", r#"{"A":"global","B":"global","G":1}"#),
        ("TASK0_ENV", r#"{"B":"own","C":"own","DB_PASSWORD":"hush"}"#),
        ("TASK0_SECRET_ENV", r#"{"C":"hush2"}"#),
    ]);
    let environment = &config.services[0].template.environment;
    let shown: Vec<_> = environment
        .iter()
        .map(|variable| match &variable.value {
            EnvironmentValue::Plain(text) => format!("{}={text}", variable.name),
            EnvironmentValue::Secret(secret) => {
                format!("{}=****{}", variable.name, secret.reveal().unwrap().len())
            }
        })
        .collect();
    assert_eq!(
        shown,
        ["A=global", "G=1", "B=own", "DB_PASSWORD=****4", "C=****5"]
    );
    assert!(!format!("{config:?}").contains("hush"));
    assert!(warned(&[("TASK0_ENV", r#"{"PORT0":"1"}"#)])[0].contains("sets PORT0"));
    assert!(warned(&[("GLOBAL_TASKS_VARS", "{}")])[0].contains("call it GLOBAL_ENV"));
    let one = good(&[("TASK0_SECRET_ENV", r#"{"A":"x"}"#)]);
    let other = good(&[("TASK0_SECRET_ENV", r#"{"A":"y"}"#)]);
    assert_ne!(one.services[0].template, other.services[0].template);
    assert_eq!(one.services[0].template, one.clone().services[0].template);
}

#[test]
fn definitions_that_cannot_work_are_refused_with_a_remedy() {
    for (changes, why) in [
        (
            &[("TASK0_FIXED_PORTS", "80")][..],
            "static ports must be included in the general port count",
        ),
        (&[("TASK0_FIXED_PORTS", "<PORTS>")], "placeholder"),
        (
            &[("TASK0_HEALTHCHECK", "/h")],
            "needs a port to check, and TASK0_PORT_NUM is 0",
        ),
        (
            &[
                ("TASK0_HEALTHCHECK", "/h"),
                ("TASK0_PORT_NUM", "1"),
                ("TASK0_HEALTHCHECK_PORT", "2"),
            ],
            "the only port has index 0",
        ),
        (
            &[("TASK0_HEALTHCHECK", "h"), ("TASK0_PORT_NUM", "1")],
            "does not begin with '/'",
        ),
        (
            &[
                ("TASK0_HEALTHCHECK", "/h"),
                ("TASK0_HEALTHCHECK_TCP", "1"),
                ("TASK0_PORT_NUM", "1"),
            ],
            "one health check",
        ),
        (&[("TASK0_ENV", r#"{"A":null}"#)], "null"),
        (
            &[("TASK0_ENV", "{'A':'hush'}")],
            "TASK0_ENV=**** is not JSON",
        ),
        (&[("TASK0_ARGS", "sleep 1")], "is not JSON"),
        (&[("TASK0_ARGS", "[1]")], "not a text"),
        (
            &[("TASK0_ARGS", "[]"), ("TASK0_CMD", "x")],
            "is set beside TASK0_CMD",
        ),
        (&[("TASK0_CPUS", "half")], "is not a number"),
        (&[("TASK0_CPUS", "0"), ("TASK0_MEM", "0")], "needs nothing"),
        (&[("TASK0_MEM", "much")], "is not a size"),
        (&[("TASK0_NAME", "a b")], "blank"),
        (&[("TASK_DEF_NUM", "one")], "is not a number"),
        (
            &[
                ("TASK0_CONTAINERIZER", "mesos"),
                ("TASK0_CONTAINER_PRIVILEGED", "1"),
            ],
            "only for the Docker",
        ),
        (
            &[
                ("TASK0_CONTAINERIZER", "mesos"),
                ("TASK0_NETWORK", "BRIDGE"),
            ],
            "only Docker has",
        ),
        (
            &[
                ("TASK0_CONTAINERIZER", "docker"),
                ("TASK0_IMAGE", ""),
                ("TASK0_CMD", "x"),
            ],
            "needs TASK0_IMAGE",
        ),
        (
            &[
                ("TASK0_IMAGE", ""),
                ("TASK0_CMD", "x"),
                ("TASK0_VOLUMES", "/a:/b"),
            ],
            "needs a container",
        ),
        (&[("TASK0_PORT_MAPPINGS", "80")], "host's network"),
        (
            &[("TASK0_PORT_MAPPINGS", "80"), ("TASK0_NETWORK", "BRIDGE")],
            "TASK0_PORT_NUM is 0",
        ),
        (&[("TASK0_BACKOFF", "10m")], "contradict"),
        (&[("TASK0_KILL_GRACE", "30")], "has no unit"),
        (
            &[("TASK0_CONSTRAINTS", "hostname:ALONE")],
            "has no operator",
        ),
        (
            &[("RECONCILE_INITIAL", "2m")],
            "is shorter than RECONCILE_INITIAL",
        ),
        (&[("FRAMEWORK_NAME_BACKGROUND", "red;}")], "CSS colour"),
        (&[("LISTEN", "3000")], "has no port"),
        (&[("FRAMEWORK_NAME", "a/b")], "refuses in task ids"),
    ] {
        let errors = bad(changes);
        assert!(
            errors.len() == 1 && errors[0].contains(why),
            "{changes:?}: {errors:?}"
        );
        assert!(
            errors[0].contains("\n       ") && !errors[0].contains("hush"),
            "{errors:?}"
        );
    }
    let long = "x".repeat(128);
    assert!(bad(&[("FRAMEWORK_NAME", &long), ("TASK0_NAME", &long)])[0].contains("255"));
}

#[test]
fn names_must_differ_also_in_task_ids() {
    let second = [
        ("TASK_DEF_NUM", "2"),
        ("TASK0_NAME", "a/b"),
        ("TASK1_NAME", "a_b"),
        ("TASK1_NUM_INSTANCES", "1"),
        ("TASK1_CPUS", "wrong too"),
        ("TASK1_MEM", "1"),
        ("TASK1_IMAGE", "x"),
    ];
    let errors = bad(&second);
    assert!(
        errors
            .iter()
            .any(|e| e.starts_with("TASK1_NAME='a_b' is the same as TASK0_NAME")),
        "{errors:?}"
    );
    assert_eq!(errors.len(), 2);
}

#[test]
fn every_problem_is_reported_at_once() {
    let report = Config::read(&with(&[
        ("FRAMEWORK_NAME", ""),
        ("FRAMWORK_NAME", "x"),
        ("LOG_LEVEL", "loud"),
        ("LAUNCH_DEADLINE", "5"),
        ("TASK0_IMAGE", ""),
        ("TASK0_IMGE", "alpine"),
        ("TASK0_CPUS", "half"),
        ("TASK0_ENV", "[]"),
        ("TASK7_NAME", "x"),
    ]))
    .unwrap_err();
    let errors: Vec<_> = report.errors.iter().map(|e| e.variable.as_str()).collect();
    assert_eq!(
        errors,
        [
            "FRAMEWORK_NAME",
            "LOG_LEVEL",
            "LAUNCH_DEADLINE",
            "TASK0_CPUS",
            "TASK0_IMAGE",
            "TASK0_ENV"
        ]
    );
    assert_eq!(report.missing, ["FRAMEWORK_NAME", "TASK0_IMAGE"]);
    assert!(report.errors[0].remedy.starts_with("rename FRAMWORK_NAME,"));
    assert!(report.errors[4].remedy.starts_with("rename TASK0_IMGE,"));
    let warnings: Vec<_> = report
        .warnings
        .iter()
        .map(|w| w.variable.as_str())
        .collect();
    assert_eq!(warnings, ["FRAMWORK_NAME", "TASK0_IMGE", "TASK7_NAME"]);
    let text = report.to_string();
    assert!(
        text.ends_with("6 errors, 3 warnings, 0 notices\n"),
        "{text}"
    );

    let without_count = [("TASK_DEF_NUM", ""), ("TASK0_CPUS", "half")];
    let errors = bad(&without_count);
    assert_eq!(
        errors.len(),
        2,
        "what is declared is looked at even without its count: {errors:?}"
    );
}

#[test]
fn the_sample_is_a_declaration_like_any_other() {
    let mut variables = sample::work(Path::new("/opt/it's/gantry"));
    assert!(sample::declares_work(&variables));
    assert!(!sample::declares_work(&environment(&[
        ("PATH", "/bin"),
        ("TASK_DEF_NUM", " ")
    ])));
    assert!(sample::declares_work(&environment(&[("TASK3_IMAGE", "x")])));
    variables.extend(environment(&[
        ("FRAMEWORK_NAME", "dev"),
        ("STORE", "memory"),
    ]));
    let copied = env_file::parse(&env_file::render(&variables)).unwrap();
    assert_eq!(copied, variables);
    let (config, report) = Config::read(&copied).unwrap_or_else(|report| panic!("{report}"));
    assert!(report.warnings.is_empty(), "{report}");
    let shown: Vec<_> = config
        .services
        .iter()
        .map(|service| (service.name.as_str(), service.instances, service.priority))
        .collect();
    assert_eq!(shown, [("web", 3, 1), ("worker", 2, 2)]);
    assert_eq!(
        config.services[0].template.command,
        TaskCommand::Shell(r"exec '/opt/it'\''s/gantry' sample-web".to_owned())
    );
}

#[test]
fn any_single_value_of_any_variable_is_read_without_a_panic() {
    let values = [
        "x",
        "0",
        "-1",
        "1e999",
        "[",
        "{}",
        "[]",
        "\"",
        "::",
        "é\u{0}",
        "99999999999999999999",
        "9w9",
        "{\"a\":{}}",
        "[[[[",
        ",",
        ";",
        "a:b:c:d",
        "\u{feff}1",
    ];
    for variable in table::all() {
        let name = variable.shown_name().replace('#', "0");
        for value in values {
            let _ = Config::read(&with(&[(&name, value)]));
        }
    }
}
