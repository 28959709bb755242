//! Plans as they are told.

use std::{collections::BTreeMap, sync::Arc};

use gantry_core::{
    AgentAddress, Brake, Found, Goal, IdGenerator, Key, Record, Scheduler, ServiceSpec, Settings,
    TaskId, TaskRecord, TaskState, Timestamp, Unreadable, WorkloadName, Write,
};

use super::{Action, Declaration, Report, as_stored, wire::sealed_records, would_change};
use crate::config::Config;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// What these variables declare.
fn declared(changes: &[(&str, &str)]) -> Vec<ServiceSpec> {
    let mut variables: BTreeMap<String, String> = [
        ("FRAMEWORK_NAME", "f"),
        ("STORE", "memory"),
        ("TASK_DEF_NUM", "2"),
        ("TASK0_NAME", "web"),
        ("TASK0_NUM_INSTANCES", "3"),
        ("TASK0_CPUS", "0.5"),
        ("TASK0_MEM", "64"),
        ("TASK0_IMAGE", "nginx:1.24"),
        ("TASK0_ENV", r#"{"COLOUR":"red","OLD":"x"}"#),
        ("TASK0_SECRET_ENV", r#"{"TOKEN":"sesame"}"#),
        ("TASK0_URI", "http://me:sesame@files/a.tgz"),
        ("TASK1_NAME", "old"),
        ("TASK1_NUM_INSTANCES", "2"),
        ("TASK1_CPUS", "1"),
        ("TASK1_MEM", "32"),
        ("TASK1_CMD", "sleep 1000"),
    ]
    .iter()
    .chain(changes)
    .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
    .collect();
    variables.retain(|_, value| !value.is_empty());
    let read = Config::read(&variables);
    read.unwrap_or_else(|report| panic!("{report}")).0.services
}

/// What is stored once these services have been started; secrets as they come from a store.
fn stored(services: Vec<ServiceSpec>) -> Vec<Record> {
    let settings = Settings::new("f");
    let ids = IdGenerator::new([1; 4]);
    let (_, effects) =
        Scheduler::start(NOW, settings, ids, services, gantry_core::Found::default());
    let records = effects.writes.into_iter().map(|write| match write {
        Write::Put(Record::Revision(mut revision)) => {
            let json = serde_json::to_string(&*revision.template).unwrap();
            revision.template = Arc::new(serde_json::from_str(&json).unwrap());
            Record::Revision(revision)
        }
        Write::Put(record) => record,
        Write::Delete(key) => panic!("{key:?}"),
    });
    records.collect()
}

fn report(services: Vec<ServiceSpec>, records: Vec<Record>) -> Report {
    Report::of(&Settings::new("f"), services, records.into())
}

#[test]
fn a_plan_is_told_field_by_field() {
    let records = stored(declared(&[]));
    let changed = declared(&[
        ("TASK0_IMAGE", "nginx:1.25"),
        ("TASK0_NUM_INSTANCES", "5"),
        ("TASK0_ENV", r#"{"COLOUR":"a red and\na green","NEW":"y"}"#),
        ("TASK0_SECRET_ENV", r#"{"TOKEN":"open"}"#),
        ("TASK0_URI", "http://me:open@files/a.tgz"),
        ("TASK0_UPDATE_PARALLELISM", "2"),
        ("TASK0_KILL_GRACE", "1m30s"),
        ("TASK1_NAME", "cache"),
        ("TASK1_HEALTHCHECK_CMD", "true"),
        ("TASK1_UPDATE_ORDER", "stop-first"),
    ]);
    assert!(!as_stored(&changed, &records));
    let report = report(changed, records);
    assert!(report.changes);
    let expected = r#"f: 1 new, 1 changed, 1 removed
~ web
    num_instances: 3 -> 5
    update_parallelism: 1 -> 2
    image: nginx:1.24 -> nginx:1.25
    env.COLOUR: red -> "a red and\na green"
    env.NEW: y
    env.TOKEN: **** -> ****
    uris: **** -> ****
    kill_grace: 1m30s
    env.OLD: x -> not set
    creates 2 instances: 4-5
+ cache
    num_instances: 2
    update_order: stop-first
    cmd: "sleep 1000"
    cpus: 1
    mem: "32 MB"
    healthcheck_cmd: true
    healthcheck_delay: 15s
    healthcheck_interval: 10s
    healthcheck_timeout: 20s
    healthcheck_failures: 3
    healthcheck_grace: 10s
    creates 2 instances: 1-2
- old
    stops 2 instances: 1-2
"#;
    let text = report.to_string();
    assert_eq!(text, expected, "\n{text}");

    // Programs read the same, and read it back.
    let json = serde_json::to_string(&report).unwrap();
    assert!(!json.contains("sesame") && !json.contains("open"), "{json}");
    assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
}

#[test]
fn of_long_values_the_difference_is_shown() {
    let long = |word: &str| format!("echo {} {word} {}", "a".repeat(300), "b".repeat(300));
    let records = stored(declared(&[("TASK1_CMD", &long("before"))]));
    let text = report(declared(&[("TASK1_CMD", &long("after"))]), records.clone()).to_string();
    let line = text.lines().find(|line| line.contains("cmd:")).unwrap();
    assert!(line.starts_with("    cmd: \"…aaa"), "{line}");
    assert!(
        line.contains("aa before bb") && line.contains("aa after bb"),
        "{line}"
    );
    assert!(
        line.contains("b…\" -> \"…a") && line.ends_with("b…\""),
        "{line}"
    );
    assert!(line.chars().count() < 450, "{line}");

    // The end alone, and one that is the beginning of the other.
    let cut = long("before");
    let cut = &cut[..cut.len() - 1];
    let text = report(declared(&[("TASK1_CMD", cut)]), records).to_string();
    let (one, other) = ("b".repeat(51), "b".repeat(50));
    assert!(
        text.contains(&format!("cmd: …{one} -> …{other}\n")),
        "{text}"
    );
}

#[test]
fn nothing_changes_when_all_is_as_stored() {
    let records = stored(declared(&[]));
    assert!(as_stored(&declared(&[]), &records));
    let same = report(declared(&[]), records.clone());
    assert!(!same.changes);
    assert!(same.workloads.iter().all(|one| one.action == Action::Keep));
    assert_eq!(same.to_string(), "f: 2 as before\n");
    // What is found without a plan and what the plan finds is the same.
    for change in [
        ("TASK0_PRIORITY", "2"),
        ("TASK0_SECRET_ENV", r#"{"TOKEN":"open"}"#),
        ("TASK0_UPDATE_MONITOR", "1s"),
        ("TASK0_BACKOFF", "2s"),
        ("TASK1_NUM_INSTANCES", "1"),
        ("TASK_DEF_NUM", "1"),
    ] {
        let services = declared(&[change]);
        assert!(!as_stored(&services, &records), "{change:?}");
        let report = report(services, records.clone());
        assert!(report.changes, "{change:?}");
        let told = report
            .workloads
            .iter()
            .any(|one| one.action == Action::Remove || !one.fields.is_empty());
        assert!(told, "{change:?}: {report}");
    }
    assert!(!as_stored(&declared(&[]), &[]));
    // The order of variables is part of what a task is started with.
    let other_order = declared(&[("TASK0_ENV", r#"{"OLD":"x","COLOUR":"red"}"#)]);
    let text = report(other_order, records).to_string();
    assert!(
        text.contains("order of env: \"COLOUR, OLD, TOKEN\" -> \"OLD, COLOUR, TOKEN\""),
        "{text}"
    );
}

#[test]
fn a_sealed_declaration_holds_no_secret_and_gives_the_same_plan() {
    let records = stored(declared(&[]));
    let parameters = r#"[{"key":"env","value":"PASSWORD=sesame"}]"#;
    for changes in [
        &[][..],
        &[("TASK0_SECRET_ENV", r#"{"TOKEN":"open"}"#)],
        &[("TASK0_URI", "http://me:open@files/a.tgz")],
        &[("TASK0_URI", "http://me:sesame@files/a.tgz?token=open")],
        &[("TASK0_CONTAINER_PARAMS", parameters)],
        &[("TASK0_IMAGE", "nginx:1.25"), ("TASK0_NUM_INSTANCES", "1")],
    ] {
        let plain = report(declared(changes), records.clone());
        let json = serde_json::to_string(&Declaration::of("f", &declared(changes))).unwrap();
        assert!(!json.contains("sesame") && !json.contains("open"), "{json}");
        let received: Declaration = serde_json::from_str(&json).unwrap();
        let sealed = sealed_records("f", records.clone());
        assert_eq!(
            report(received.into_services(), sealed),
            plain,
            "{changes:?}"
        );
    }
}

#[test]
fn a_stand_by_with_another_environment_knows_what_it_would_change() {
    let stored = Found::from(stored(declared(&[])));
    assert_eq!(would_change(&declared(&[]), &stored), None);
    let other = [("TASK0_IMAGE", "nginx:1.25"), ("TASK1_NAME", "fresh")];
    assert_eq!(
        would_change(&declared(&other), &stored).unwrap(),
        "this Gantry declares something else than what runs, and would begin fresh; change web; end old \
         as soon as it leads: give all of them the same environment"
    );
}

#[test]
fn a_record_that_cannot_be_read_is_told_and_makes_nothing_new() {
    let mut records = stored(declared(&[]));
    let web = Key::Workload(WorkloadName::new("web"));
    records.retain(|record| record.key() != web);
    let uuid = IdGenerator::new([3; 4]).uuid();
    records.extend((1..=5).map(|number| {
        Record::Task(TaskRecord {
            id: TaskId::from_parts("f", "web", number, uuid),
            workload: WorkloadName::new("web"),
            number,
            uuid,
            revision: 1,
            agent: Arc::new(AgentAddress::unknown()),
            ports: Default::default(),
            state: TaskState::Running,
            goal: Goal::Run,
            launched_at: NOW,
            started_at: None,
            running_at: None,
        })
    }));
    let found = Found {
        records,
        unreadable: vec![Unreadable {
            place: "workloads/web".into(),
            key: Some(web),
            reason: "it is not readable".into(),
        }],
    };
    let report = Report::of(&Settings::new("f"), declared(&[]), found);
    assert!(!report.changes, "{report}");
    let text = report.to_string();
    assert!(
        text.contains("its stored record cannot be read: 5 instances stay wanted"),
        "{text}"
    );
    assert!(
        text.contains("! 1 stored record that cannot be read is left alone\n    workloads/web: it is not readable\n"),
        "{text}"
    );
    assert!(
        !text.contains("new") && !text.contains("num_instances"),
        "{text}"
    );
}

#[test]
fn what_another_system_left_and_a_brake_are_told_and_counts_set_by_hand_are_kept() {
    let mut records = stored(declared(&[]));
    for record in &mut records {
        if let Record::Workload(workload) = record
            && workload.name.as_str() == "web"
        {
            workload.desired = 7;
        }
    }
    records.push(Record::Brake(Brake {
        since: NOW,
        troubled: 12,
        of: 20,
    }));
    let uuid = IdGenerator::new([3; 4]).uuid();
    let running = |name: &str, number| {
        Record::Task(TaskRecord {
            id: TaskId::from_parts("f", name, number, uuid),
            workload: WorkloadName::new(name),
            number,
            uuid,
            revision: 0,
            agent: Arc::new(AgentAddress::unknown()),
            ports: Default::default(),
            state: TaskState::Running,
            goal: Goal::Run,
            launched_at: NOW,
            started_at: None,
            running_at: None,
        })
    };
    records.push(running("gone", 1));
    assert!(!as_stored(&declared(&[]), &records));
    let kept = report(declared(&[]), records.clone());
    assert!(!kept.changes);
    assert_eq!(kept.workloads[0].instances, 7);
    let text = kept.to_string();
    assert!(
        text.contains("! 1 task of types that are neither declared nor stored"),
        "{text}"
    );
    assert!(text.contains(&format!("f.gone-1.{uuid}")), "{text}");
    assert!(
        text.contains("! the brake is on (12 of 20 tasks failed at once)"),
        "{text}"
    );

    let left: Vec<_> = (1..=5).map(|number| running("web", number)).collect();
    let text = report(declared(&[]), left).to_string();
    assert!(
        text.contains("    adopts 3 instances: 1-3\n    stops 2 instances: 4-5\n"),
        "{text}"
    );
}
